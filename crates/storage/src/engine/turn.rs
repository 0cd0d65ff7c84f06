//! The one writer, held to its word: batches come one after the other, and each is committed.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where the writer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Between two batches.
    Idle,
    /// Within a batch.
    Writing,
    /// A batch was dropped without a commit: half a decision of the state machine is lost, so nothing may follow it.
    Abandoned,
}

/// Hands out one [`Turn`] at a time.
#[derive(Debug)]
pub(super) struct Writer(Mutex<Stage>);

impl Writer {
    /// A writer between two batches.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Stage::Idle))
    }

    /// Starts a batch. Panics within another one and after one that was abandoned.
    pub(super) fn begin(&self) -> Turn<'_> {
        let before = std::mem::replace(&mut *self.stage(), Stage::Writing);
        match before {
            Stage::Idle => Turn { writer: self, end: Stage::Abandoned },
            Stage::Writing => panic!("a batch was begun while another one is open: an engine has one writer"),
            Stage::Abandoned => panic!("a batch was begun after one that was dropped without a commit"),
        }
    }

    /// Panics within a batch: cuts and drops of spaces happen between batches.
    pub(super) fn assert_idle(&self, what: &str) {
        let stage = *self.stage();
        assert!(stage == Stage::Idle, "{what} within a batch ({stage:?})");
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        // The stage is one word, whole at every moment, also when a thread has panicked while it held the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A batch's right to write. Dropped without [`Turn::end`], it leaves the writer unusable.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    writer: &'a Writer,
    end: Stage,
}

impl Turn<'_> {
    /// Ends the batch well.
    pub(super) fn end(mut self) {
        self.end = Stage::Idle;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.writer.stage() = self.end;
    }
}
