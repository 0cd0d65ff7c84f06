//! The threads beside the driver: one writes the log, one applies, one does what is slow and can wait, one reads.
//!
//! Each takes all that has gathered in its mailbox, does it, and reports to the driver. None of them decides anything and
//! none retries: an error of the disk or of the engine, or a panic, ends the node.

pub(crate) mod applier;
pub(crate) mod log;
pub(crate) mod maintenance;
pub(crate) mod reader;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use althing_storage::engine::EngineError;
use althing_storage::wal::WalError;

/// Why a node stopped by itself. The process must end: what is on disk is known only after a recovery.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fatal {
    /// The log failed. A failed fsync is never tried again: the kernel may have thrown the bytes away and say so once.
    #[error("the write-ahead log failed, so this node stops: {0}")]
    Log(WalError),
    /// The engine failed.
    #[error("the engine failed, so this node stops: {0}")]
    Engine(EngineError),
    /// Applying the log failed.
    #[error("applying the log failed, so this node stops: {0}")]
    Apply(String),
    /// A thread panicked: an invariant is broken.
    #[error("thread {thread} panicked, so this node stops: {message}")]
    Panic {
        /// Its name.
        thread: String,
        /// What it said.
        message: String,
    },
    /// The other nodes refuse this one for good: it was removed, or its data directory has forgotten what it promised.
    #[error("the other nodes refuse this one for good, so it stops: {0}")]
    Dismissed(String),
    /// The system refused something without which the node cannot run.
    #[error("the system refused to {what}: {message}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What it said.
        message: String,
    },
}

/// What a panic said.
fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Starts a thread that runs `body` and hands its end, or its panic, to `ended`.
pub(crate) fn spawn(
    name: String,
    body: impl FnOnce() -> Result<(), Fatal> + Send + 'static,
    ended: impl FnOnce(Result<(), Fatal>) + Send + 'static,
) -> Result<JoinHandle<()>, Fatal> {
    let thread = name.clone();
    let run = move || {
        let result = catch_unwind(AssertUnwindSafe(body))
            .unwrap_or_else(|payload| Err(Fatal::Panic { thread, message: panic_message(&*payload) }));
        ended(result);
    };
    let builder = std::thread::Builder::new().name(name);
    builder.spawn(run).map_err(|error| Fatal::System { what: "start a thread", message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_panic_of_a_thread_is_an_end_that_names_the_thread() {
        let (sender, ends) = channel();
        let thread = spawn("n1-log".into(), || panic!("broken {}", 7), move |end| sender.send(end).unwrap()).unwrap();
        thread.join().unwrap();
        let end = ends.recv().unwrap().unwrap_err();
        assert_eq!(end.to_string(), "thread n1-log panicked, so this node stops: broken 7");
    }
}
