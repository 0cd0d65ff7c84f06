//! What the driver hands to a stream that somebody else polls: watch events and snapshot chunks.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Whether more will come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Open,
    Ended,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    source: Source,
    waker: Option<Waker>,
}

/// A queue with one producer and one consumer. What bounds it is the producer: the node stops handing out when the
/// consumer does not take.
#[derive(Debug)]
pub(crate) struct Feed<T>(Mutex<State<T>>);

impl<T> Default for Feed<T> {
    fn default() -> Self {
        Self(Mutex::new(State { items: VecDeque::new(), source: Source::Open, waker: None }))
    }
}

impl<T> Feed<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an item over.
    pub(crate) fn push(&self, item: T) {
        let mut state = self.lock();
        state.items.push_back(item);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// No more will come; what is there can still be taken.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.source = Source::Ended;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next item, or `None` after the last.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.lock();
        match (state.items.pop_front(), state.source) {
            (Some(item), Source::Open | Source::Ended) => Poll::Ready(Some(item)),
            (None, Source::Ended) => Poll::Ready(None),
            (None, Source::Open) => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::Arc;

    #[tokio::test]
    async fn items_come_in_order_and_the_end_after_the_last() {
        let feed = Arc::new(Feed::default());
        let producer = Arc::clone(&feed);
        tokio::spawn(async move {
            producer.push(1);
            tokio::task::yield_now().await;
            producer.push(2);
            producer.end();
        });
        let mut taken = Vec::new();
        while let Some(item) = poll_fn(|cx| feed.poll(cx)).await {
            taken.push(item);
        }
        assert_eq!(taken, [1, 2]);
    }
}
