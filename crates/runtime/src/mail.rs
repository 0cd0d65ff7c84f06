//! What the gateways of the nodes tell each other while they run: messages between clients of Redis.
//!
//! Mail travels in the frames between nodes, behind no replica's back: it is told to each other node once at most, in the order in
//! which it was given here, and never kept. So there is a bound on what waits, at which mail is dropped and counted: a bound on what
//! waits for the driver, and one on what waits for each peer, far below the one at which frames of replicas are dropped.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use althing_types::NodeId;
use althing_types::limits::{MAX_FRAME_BYTES, MAX_PEER_QUEUE_BYTES};
use bytes::Bytes;

use crate::driver::Event;
use crate::handle::Shared;

/// Bytes of mail that wait for the driver's next turn: some thousand messages of the usual size, and always one of the largest.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;
/// A peer for whom more bytes wait than this gets no mail: the frames of its replicas are not to be dropped for it.
pub(crate) const MAX_BACKLOG_BYTES: usize = MAX_PEER_QUEUE_BYTES / 4;
/// Bytes of one piece of mail: it must fit into a frame beside what else is in it.
pub const MAX_MAIL_BYTES: usize = MAX_FRAME_BYTES / 4;

const _: () = assert!(MAX_MAIL_BYTES <= MAX_WAITING_BYTES, "one piece always has room");

/// What was counted of the mail of a node since it started.
#[derive(Debug, Default)]
pub struct MailCounters {
    /// Pieces that were handed to the connections, one for each peer.
    pub sent: AtomicU64,
    /// Pieces that were dropped for want of room, one for each peer that did not get them.
    pub dropped: AtomicU64,
    /// Pieces that came from others.
    pub received: AtomicU64,
}

/// Who takes what other nodes tell. It is called on the driver's thread and must not block.
pub type Reader = Box<dyn Fn(NodeId, Bytes) + Send + Sync>;

/// The mail of a node between its gateway and its driver.
#[derive(Default)]
pub(crate) struct Slot {
    waiting: AtomicUsize,
    reader: OnceLock<Reader>,
    pub(crate) counters: Arc<MailCounters>,
}

impl Slot {
    /// Empty, counting there.
    pub(crate) fn new(counters: Arc<MailCounters>) -> Self {
        Self { counters, ..Self::default() }
    }

    /// Whether there is room for so much more; it is then taken.
    fn reserve(&self, bytes: usize) -> bool {
        let room = |waiting: usize| (waiting + bytes <= MAX_WAITING_BYTES).then_some(waiting + bytes);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    /// The driver has taken so much.
    pub(crate) fn taken(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Mail has come.
    pub(crate) fn deliver(&self, from: NodeId, bytes: Bytes) {
        self.counters.received.fetch_add(1, Ordering::Relaxed);
        // A node without such a gateway has nobody to tell.
        if let Some(reader) = self.reader.get() {
            reader(from, bytes);
        }
    }
}

/// The end of it that a gateway holds. Clones are the same.
#[derive(Clone)]
pub struct Mail(pub(crate) Arc<Shared>);

impl Mail {
    /// Tells the gateways of all other nodes something, as well as can be.
    pub fn send(&self, bytes: Bytes) {
        let slot = &self.0.mail;
        if bytes.len() > MAX_MAIL_BYTES || !slot.reserve(bytes.len()) {
            slot.counters.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.0.inbox.push(Event::Mail(bytes));
    }

    /// From now on hands what others tell to `reader`. Only the first call counts.
    pub fn read_by(&self, reader: Reader) {
        let _ = self.0.mail.reader.set(reader);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded() {
        let slot = Slot::default();
        assert!(slot.reserve(MAX_WAITING_BYTES));
        assert!(!slot.reserve(1));
        slot.taken(10);
        assert!(slot.reserve(10) && !slot.reserve(1));
    }

    #[test]
    fn what_comes_goes_to_the_reader_if_there_is_one() {
        let (slot, heard) = (Slot::default(), Arc::new(AtomicU64::new(0)));
        slot.deliver(NodeId(2), Bytes::new());
        let count = Arc::clone(&heard);
        let reader: Reader = Box::new(move |from, _| {
            count.fetch_add(from.get(), Ordering::Relaxed);
        });
        assert!(slot.reader.set(reader).is_ok());
        slot.deliver(NodeId(3), Bytes::new());
        assert_eq!(heard.load(Ordering::Relaxed), 3);
        assert_eq!(slot.counters.received.load(Ordering::Relaxed), 2);
    }
}
