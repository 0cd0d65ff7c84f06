//! The simulator without the server: `cargo run -p althing-sim --example simulate -- --seeds 0..100`.

use std::io;
use std::process::ExitCode;

use althing_env::Clock;
use althing_sim::Verdict;
use althing_sim::cli::{self, Arguments};
use althing_types::{Instant, WallTime};
use clap::Parser;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
}

/// The only real clock here: it tells how fast the simulator is.
struct Stopwatch(std::time::Instant);

impl Clock for Stopwatch {
    fn now(&self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }

    fn wall(&self) -> WallTime {
        WallTime::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "the speed of the simulator is measured in real time")]
fn main() -> Result<ExitCode, cli::Error> {
    let stopwatch = Stopwatch(std::time::Instant::now());
    let verdict = cli::main(&Program::parse().arguments, &stopwatch, &mut io::stdout())?;
    Ok(match verdict {
        Verdict::Kept => ExitCode::SUCCESS,
        Verdict::Broken => ExitCode::FAILURE,
    })
}
