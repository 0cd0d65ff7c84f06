//! Queues between the driver and its threads.
//!
//! A [`Mailbox`] wakes a thread, an [`Inbox`] wakes the driver's task. Both hand over everything that has gathered at
//! once, so that a thread which was busy finds one batch waiting: this is the group commit of the log and the turn
//! of the driver. Neither is bounded by itself: what enters is bounded where it enters (requests by the limits on
//! pending ones, frames by the peer's window), which is the only place where somebody can be told to wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Whether a thread should go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Door {
    Open,
    Closed,
}

/// A lock whose holder never panics while it holds it: it only moves items.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A queue that one thread sleeps on.
#[derive(Debug)]
pub struct Mailbox<T> {
    state: Mutex<(Vec<T>, Door)>,
    arrived: Condvar,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { state: Mutex::new((Vec::new(), Door::Open)), arrived: Condvar::new() }
    }
}

impl<T> Mailbox<T> {
    /// Adds one item and wakes the thread if it sleeps.
    pub fn push(&self, item: T) {
        self.extend(std::iter::once(item));
    }

    /// Adds items, in order, and wakes the thread if it sleeps.
    pub fn extend(&self, items: impl IntoIterator<Item = T>) {
        let mut state = lock(&self.state);
        let was_empty = state.0.is_empty();
        state.0.extend(items);
        let wake = was_empty && !state.0.is_empty();
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// No more will come: the thread ends when it has taken what is there.
    pub fn close(&self) {
        lock(&self.state).1 = Door::Closed;
        self.arrived.notify_one();
    }

    /// Sleeps until there is something, then takes all of it into `taken`, which must be empty. `false` when the mailbox
    /// is closed and empty.
    pub fn take(&self, taken: &mut Vec<T>) -> bool {
        let mut state = lock(&self.state);
        while state.0.is_empty() {
            if state.1 == Door::Closed {
                return false;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut state.0, taken);
        true
    }

    /// Like [`Mailbox::take`], but returns without anything after `timeout`.
    pub fn take_within(&self, timeout: std::time::Duration, taken: &mut Vec<T>) -> bool {
        let state = lock(&self.state);
        let idle = |state: &mut (Vec<T>, Door)| state.0.is_empty() && state.1 == Door::Open;
        let (mut state, _) =
            self.arrived.wait_timeout_while(state, timeout, idle).unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.0, taken);
        !taken.is_empty() || state.1 == Door::Open
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        lock(&self.state).0.is_empty()
    }

    /// Whether no more will come.
    pub fn is_closed(&self) -> bool {
        lock(&self.state).1 == Door::Closed
    }
}

/// A queue that the driver's task waits on. Pushing from the driver's own thread takes an uncontended lock.
#[derive(Debug)]
pub struct Inbox<T> {
    state: Mutex<(Vec<T>, Door)>,
    arrived: Notify,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self { state: Mutex::new((Vec::new(), Door::Open)), arrived: Notify::new() }
    }
}

impl<T> Inbox<T> {
    /// Adds one item and wakes the driver if it waits. Once the inbox is closed the item is dropped.
    pub fn push(&self, item: T) {
        let mut state = lock(&self.state);
        if state.1 == Door::Closed {
            drop(state);
            return drop(item);
        }
        state.0.push(item);
        let wake = state.0.len() == 1;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Nobody will take anything any more: what waits and what still comes is dropped.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.1 = Door::Closed;
        let left = std::mem::take(&mut state.0);
        drop(state);
        // Dropping an item may call back into the inbox, so not under the lock.
        drop(left);
    }

    /// Waits until something has been pushed since the last [`Inbox::take`].
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes all that is there into `taken`, which must be empty.
    pub fn take(&self, taken: &mut Vec<T>) {
        std::mem::swap(&mut lock(&self.state).0, taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_thread_takes_everything_that_has_gathered_and_ends_when_the_door_closes() {
        let mailbox = Mailbox::default();
        mailbox.extend([1, 2]);
        mailbox.push(3);
        mailbox.close();
        let mut taken = Vec::new();
        assert!(mailbox.take(&mut taken));
        assert_eq!(taken, [1, 2, 3]);
        taken.clear();
        assert!(!mailbox.take(&mut taken));
    }

    #[test]
    fn waiting_with_a_timeout_returns_without_anything() {
        let mailbox = Mailbox::<u8>::default();
        let mut taken = Vec::new();
        assert!(mailbox.take_within(Duration::from_millis(1), &mut taken));
        assert!(taken.is_empty());
        mailbox.close();
        assert!(!mailbox.take_within(Duration::from_secs(60), &mut taken));
    }

    #[test]
    fn what_comes_after_the_end_is_dropped() {
        let inbox = Inbox::default();
        let item = Arc::new(());
        inbox.push(Arc::clone(&item));
        inbox.close();
        inbox.push(Arc::clone(&item));
        assert_eq!(Arc::strong_count(&item), 1);
    }

    #[test]
    fn a_push_wakes_the_task_that_waits() {
        let inbox = Arc::new(Inbox::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let from_outside = Arc::clone(&inbox);
        let pusher = std::thread::scope(|scope| {
            scope.spawn(move || from_outside.push(7));
            runtime.block_on(inbox.arrived());
            let mut taken = Vec::new();
            inbox.take(&mut taken);
            taken
        });
        assert_eq!(pusher, [7]);
    }
}
