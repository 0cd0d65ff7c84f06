//! Queues between the driver and its threads.
//!
//! A [`Mailbox`] wakes a thread, an [`Inbox`] wakes the driver's task. Both hand over everything that has gathered at
//! once, so that a thread which was busy finds one batch waiting: this is the group commit of the log and the turn
//! of the driver. Neither is bounded by itself: what enters is bounded where it enters (requests by the doors of `admission`,
//! frames by the peer's window), which is the only place where somebody can be told to wait. But the driver takes no more of
//! what clients want into one turn than fits, and what concerns consensus before it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use althing_resilience::Work;
use tokio::sync::Notify;

/// What clients want that the driver takes into one turn. More waits for the next one, so that ticks, frames and reports are
/// never further away than this: at some microseconds each, a few milliseconds.
const CLIENTS_PER_TURN: usize = 512;
/// What can wait, of which a turn takes this much: each may be a chunk of a snapshot.
const BACKGROUND_PER_TURN: usize = 4;

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

/// What comes into an [`Inbox`] is one kind of work or another.
pub trait Lane {
    /// Which.
    fn work(&self) -> Work;
}

/// Whether something was left for the next turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "what was left wakes nobody"]
pub enum Left {
    /// All was taken.
    Nothing,
    /// There is more than a turn takes.
    Something,
}

/// One queue for each kind of work.
#[derive(Debug)]
struct Lanes<T> {
    consensus: Vec<T>,
    clients: VecDeque<T>,
    background: VecDeque<T>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { consensus: Vec::new(), clients: VecDeque::new(), background: VecDeque::new() }
    }
}

impl<T> Lanes<T> {
    fn is_empty(&self) -> bool {
        self.consensus.is_empty() && self.clients.is_empty() && self.background.is_empty()
    }
}

/// A queue that the driver's task waits on. Pushing from the driver's own thread takes an uncontended lock.
///
/// A turn takes all that concerns consensus, first, and of the rest no more than fits into a turn.
#[derive(Debug)]
pub struct Inbox<T> {
    state: Mutex<(Lanes<T>, Door)>,
    arrived: Notify,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self { state: Mutex::new((Lanes::default(), Door::Open)), arrived: Notify::new() }
    }
}

impl<T: Lane> Inbox<T> {
    /// Adds one item and wakes the driver if it waits. Once the inbox is closed the item is dropped.
    pub fn push(&self, item: T) {
        let mut state = lock(&self.state);
        if state.1 == Door::Closed {
            drop(state);
            return drop(item);
        }
        let wake = state.0.is_empty();
        match item.work() {
            Work::Consensus => state.0.consensus.push(item),
            Work::Clients => state.0.clients.push_back(item),
            Work::Background => state.0.background.push_back(item),
        }
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

    /// Waits until something has been pushed into the empty inbox.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes a turn's worth into `taken`, which must be empty, the most urgent first and each kind in its order.
    pub fn take(&self, taken: &mut Vec<T>) -> Left {
        let mut state = lock(&self.state);
        let lanes = &mut state.0;
        std::mem::swap(&mut lanes.consensus, taken);
        let (clients, background) =
            (lanes.clients.len().min(CLIENTS_PER_TURN), lanes.background.len().min(BACKGROUND_PER_TURN));
        taken.extend(lanes.clients.drain(..clients));
        taken.extend(lanes.background.drain(..background));
        if lanes.is_empty() { Left::Nothing } else { Left::Something }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    impl Lane for u32 {
        fn work(&self) -> Work {
            Work::ALL[*self as usize % 3]
        }
    }

    impl Lane for Arc<()> {
        fn work(&self) -> Work {
            Work::Clients
        }
    }

    #[test]
    fn a_turn_begins_with_consensus_and_leaves_what_is_too_much_for_the_next() {
        let inbox = Inbox::<u32>::default();
        (0..6_000).for_each(|number| inbox.push(number));
        let mut taken = Vec::new();
        assert_eq!(inbox.take(&mut taken), Left::Something);
        assert_eq!(taken.len(), 2_000 + CLIENTS_PER_TURN + BACKGROUND_PER_TURN);
        assert!(taken[..2_000].is_sorted() && taken[..2_000].iter().all(|number| number % 3 == 0));
        assert_eq!(taken[2_000..2_003], [1, 4, 7]);
        taken.clear();
        inbox.push(0);
        let _ = inbox.take(&mut taken);
        assert_eq!(taken[..2], [0, 1 + 3 * CLIENTS_PER_TURN as u32]);
    }

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
        let inbox = Arc::new(Inbox::<u32>::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let from_outside = Arc::clone(&inbox);
        let pusher = std::thread::scope(|scope| {
            scope.spawn(move || from_outside.push(7));
            runtime.block_on(inbox.arrived());
            let mut taken = Vec::new();
            assert_eq!(inbox.take(&mut taken), Left::Nothing);
            taken
        });
        assert_eq!(pusher, [7]);
    }
}
