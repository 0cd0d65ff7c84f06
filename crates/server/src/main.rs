//! The `althing` binary: takes the command line apart and wires nodes together. It decides nothing else.

mod cut;
mod dev;
mod join;
mod launch;
mod logging;
mod port;
mod redis;
mod server;
mod signals;

use std::io::{self, Write};
use std::process::ExitCode;

use althing_cli::args::{SnapshotCommand, WalCommand};
use althing_cli::screen::{Look, Progress, Screen};
use althing_cli::verbs::context;
use althing_cli::{Cli, CliError, Command, bench, cut as cli_cut, remote, sim, snapshot, status, wal};
use clap::{CommandFactory, Parser};

/// Many small buffers are made on one thread and freed on another, all the time: what the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With standard error closed there is nobody to tell; the exit code still does.
            let _ = writeln!(io::stderr(), "error: {error}");
            error.code()
        }
    }
}

fn run(command: Command) -> Result<(), CliError> {
    let out = &mut io::stdout().lock();
    match command {
        Command::Dev(args) => dev::run(args),
        Command::Server(args) => server::run(*args),
        Command::Objects(verb) => {
            let screen =
                &mut Screen { out, err: &mut io::stderr(), look: Look::of_stdout(), progress: Progress::of_stderr() };
            verb.run(screen)
        }
        Command::Context(command) => context::run(command, out),
        Command::Cut(args) => remote::block_on(cli_cut::cut(args, out)),
        Command::Heal(args) => remote::block_on(cli_cut::heal(args, out)),
        Command::Status(args) => remote::block_on(status::run(args, out)),
        Command::Snapshot(SnapshotCommand::Save(args)) => remote::block_on(snapshot::save(args, out)),
        Command::Snapshot(SnapshotCommand::Restore(args)) => snapshot::restore(&args, out),
        Command::Wal(WalCommand::Inspect(args)) => wal::run(&args, out),
        Command::Bench(options) => bench::run(&options, out),
        Command::Sim(arguments) => sim::run(&arguments, out),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "althing", out);
            Ok(())
        }
    }
}
