//! Waiting until the cluster has done what it was told, with its progress on the error stream.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use tokio::time::{sleep, timeout};

use crate::error::CliError;
use crate::screen::{Progress, Screen};

/// Whether and how long to wait.
#[derive(Clone, Copy, Debug, Args)]
pub struct WaitArgs {
    /// Wait until the cluster has made it so.
    #[arg(long)]
    pub wait: bool,
    /// With --wait: how long, in seconds. Then the exit code is 1; what was begun goes on.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
}

/// How far something has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It is done.
    Done,
    /// It is on its way.
    Going {
        /// How much is done, and of how much, if that is known.
        part: Option<(u64, u64)>,
        /// What is still to do, in words.
        words: String,
    },
}

/// How often the cluster is asked how far it has come.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Characters of the bar.
const BAR_WIDTH: u64 = 24;

/// Asks until it is done, or the time is over.
pub async fn until(
    title: &str,
    args: WaitArgs,
    screen: &mut Screen<'_>,
    mut ask: impl AsyncFnMut() -> Result<Stage, CliError>,
) -> Result<(), CliError> {
    let mut bar = Bar::new(title, screen);
    let mut last = String::new();
    let waiting = async {
        loop {
            match ask().await? {
                Stage::Done => return Ok(()),
                Stage::Going { part, words } => {
                    bar.show(part, &words).map_err(CliError::failed)?;
                    last = words;
                }
            }
            sleep(ASK_EVERY).await;
        }
    };
    let ended = timeout(Duration::from_secs(args.timeout), waiting).await;
    bar.clear().map_err(CliError::failed)?;
    match ended {
        Ok(result) => result,
        Err(_) => {
            let reason = if last.is_empty() { "the cluster does not answer" } else { &last };
            Err(CliError::failed(format!("{title}: not done within {} s: {reason}; it goes on", args.timeout)))
        }
    }
}

/// The progress of one thing.
struct Bar<'a> {
    title: String,
    err: &'a mut dyn Write,
    progress: Progress,
    shown: String,
}

impl<'a> Bar<'a> {
    fn new(title: &str, screen: &'a mut Screen<'_>) -> Self {
        Self { title: title.to_owned(), err: &mut *screen.err, progress: screen.progress, shown: String::new() }
    }

    fn show(&mut self, part: Option<(u64, u64)>, words: &str) -> std::io::Result<()> {
        let text = match self.progress {
            Progress::Lines => format!("{}: {words}", self.title),
            Progress::Bar => format!("{} {}{words}", self.title, part.map(bar).unwrap_or_default()),
        };
        if text == self.shown {
            return Ok(());
        }
        match self.progress {
            Progress::Lines => writeln!(self.err, "{text}")?,
            // Back to the beginning of the line, and nothing left of what stood there.
            Progress::Bar => write!(self.err, "\r\x1b[K{text}")?,
        }
        self.shown = text;
        self.err.flush()
    }

    fn clear(&mut self) -> std::io::Result<()> {
        match (self.progress, self.shown.is_empty()) {
            (Progress::Bar, false) => write!(self.err, "\r\x1b[K").and_then(|()| self.err.flush()),
            (Progress::Bar, true) | (Progress::Lines, _) => Ok(()),
        }
    }
}

fn bar((done, all): (u64, u64)) -> String {
    let full = (done.min(all) * BAR_WIDTH).checked_div(all).unwrap_or(BAR_WIDTH);
    let cells = (0..BAR_WIDTH).map(|at| if at < full { '#' } else { '-' });
    format!("[{}] ", cells.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Look;

    fn wait(progress: Progress, stages: &[Stage]) -> (Result<(), CliError>, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut screen = Screen { out: &mut out, err: &mut err, look: Look::Plain, progress };
        let mut stages = stages.iter().cloned();
        let args = WaitArgs { wait: true, timeout: 0 };
        let ended = crate::remote::block_on(async {
            let ask = async || Ok(stages.next().unwrap_or(Stage::Done));
            until("n4", args, &mut screen, ask).await
        });
        (ended, String::from_utf8(err).unwrap())
    }

    #[test]
    fn progress_is_a_line_for_a_file_and_a_bar_for_a_terminal() {
        let going = [Stage::Going { part: Some((1, 4)), words: "3 replicas left".into() }];
        let (ended, said) = wait(Progress::Lines, &going);
        assert_eq!(ended.unwrap_err().to_string(), "n4: not done within 0 s: 3 replicas left; it goes on");
        assert_eq!(said, "n4: 3 replicas left\n");
        let (_, said) = wait(Progress::Bar, &going);
        assert_eq!(said, "\r\x1b[Kn4 [######------------------] 3 replicas left\r\x1b[K");
    }

    #[test]
    fn what_is_done_already_says_nothing() {
        let (ended, said) = wait(Progress::Bar, &[Stage::Done]);
        assert!(ended.is_ok() && said.is_empty());
    }
}
