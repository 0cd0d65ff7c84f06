//! Frames that wait for one peer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use althing_types::limits::MAX_PEER_QUEUE_BYTES;
use bytes::Bytes;
use tokio::sync::Notify;

/// Whether there is a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Link {
    /// None: what is sent is dropped. Raft sends again, and better what is true by then.
    #[default]
    Down,
    /// There is one.
    Up,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    link: Link,
}

/// A queue of at most [`MAX_PEER_QUEUE_BYTES`] that drops its oldest frames.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
    arrived: Notify,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame and returns how many were dropped: this one without a connection, the oldest if there are too
    /// many bytes.
    pub fn push(&self, frame: Bytes) -> u64 {
        let mut state = self.lock();
        if state.link == Link::Down {
            return 1;
        }
        state.bytes += frame.len();
        state.frames.push_back(frame);
        let mut dropped = 0;
        while state.bytes > MAX_PEER_QUEUE_BYTES {
            let Some(oldest) = state.frames.pop_front() else { break };
            state.bytes -= oldest.len();
            dropped += 1;
        }
        let wake = state.frames.len() == 1;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        dropped
    }

    /// The connection came or went. What waited for the old one is dropped.
    pub fn set_link(&self, link: Link) {
        *self.lock() = State { link, ..State::default() };
    }

    /// Takes all frames into `taken`, which must be empty.
    pub fn take(&self, taken: &mut VecDeque<Bytes>) {
        let mut state = self.lock();
        state.bytes = 0;
        std::mem::swap(&mut state.frames, taken);
    }

    /// Waits until a frame has arrived since the last [`Outbox::take`].
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Whether there is a connection.
    pub fn link(&self) -> Link {
        self.lock().link
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_connection_frames_are_dropped() {
        let outbox = Outbox::default();
        assert_eq!(outbox.push(Bytes::from_static(b"x")), 1);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn the_oldest_frames_go_when_there_are_too_many_bytes() {
        let outbox = Outbox::default();
        outbox.set_link(Link::Up);
        let frame = Bytes::from(vec![0; MAX_PEER_QUEUE_BYTES / 4]);
        let mut dropped = 0;
        for _ in 0..4 {
            dropped += outbox.push(frame.clone());
        }
        assert_eq!(dropped, 0);
        assert_eq!(outbox.push(Bytes::from_static(b"newest")), 1);
        let mut taken = VecDeque::new();
        outbox.take(&mut taken);
        assert_eq!((taken.len(), taken.back().map(|frame| &frame[..])), (4, Some(&b"newest"[..])));
    }

    #[test]
    fn a_new_connection_starts_with_an_empty_queue() {
        let outbox = Outbox::default();
        outbox.set_link(Link::Up);
        outbox.push(Bytes::from_static(b"stale"));
        outbox.set_link(Link::Down);
        outbox.set_link(Link::Up);
        let mut taken = VecDeque::new();
        outbox.take(&mut taken);
        assert!(taken.is_empty());
    }
}
