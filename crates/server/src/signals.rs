//! How a person or a supervisor asks the program to stop.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C and SIGTERM, and with [`Signals::with_stdin`] the end of standard input.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    stdin: Option<tokio::io::Stdin>,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            stdin: None,
        })
    }

    /// Also takes the end of standard input for a wish to stop.
    #[must_use]
    pub fn with_stdin(mut self) -> Self {
        self.stdin = Some(tokio::io::stdin());
        self
    }

    /// Waits until somebody wants the program to stop; says who.
    pub async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = end_of(&mut self.stdin) => "the end of standard input",
        }
    }
}

/// Waits for the end of standard input; for ever without one.
async fn end_of(stdin: &mut Option<tokio::io::Stdin>) {
    let Some(stdin) = stdin else { return std::future::pending().await };
    let mut ignored = [0; 64];
    // An input that fails has ended as well.
    while stdin.read(&mut ignored).await.is_ok_and(|bytes| bytes > 0) {}
}
