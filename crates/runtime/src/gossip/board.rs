//! What the node tells the membership of itself while it runs, and hears from it: numbers that may be read and written from
//! any thread, on which nobody waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use althing_types::NodeId;
use tokio::sync::Notify;

use crate::transport::address::Address;

/// How another node looks to the membership.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It answers, or may still refute that it does not.
    Living,
    /// It was declared down.
    Lost,
}

/// A node that serves clients of Redis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// Which.
    pub node: NodeId,
    /// Where clients reach it.
    pub address: Address,
    /// How it looks.
    pub standing: Standing,
}

/// The board between a node and its membership.
#[derive(Debug, Default)]
pub struct Board {
    map_epoch: AtomicU64,
    newest_map_epoch: AtomicU64,
    changed: Notify,
    neighbours: Mutex<Arc<Vec<Neighbour>>>,
}

impl Board {
    /// Tells the others how new this node's map is. They hear of it within some gossip intervals. It only goes up.
    pub fn set_map_epoch(&self, epoch: u64) {
        if self.map_epoch.fetch_max(epoch, Ordering::Relaxed) < epoch {
            self.changed.notify_one();
        }
    }

    /// What was told last; 0 before anything was.
    #[must_use]
    pub fn map_epoch(&self) -> u64 {
        self.map_epoch.load(Ordering::Relaxed)
    }

    /// The newest map that any node says it has, this one included. A hint: if it is newer than one's own, asking for a
    /// newer map is worth while.
    #[must_use]
    pub fn newest_map_epoch(&self) -> u64 {
        self.newest_map_epoch.load(Ordering::Relaxed).max(self.map_epoch())
    }

    /// The nodes that serve clients of Redis as the membership saw them a moment ago, in ascending order; this one among them if it
    /// does. A hint for clients: nothing is decided by it.
    #[must_use]
    pub fn neighbours(&self) -> Arc<Vec<Neighbour>> {
        Arc::clone(&self.neighbours.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The membership has looked again.
    pub(super) fn set_neighbours(&self, neighbours: Vec<Neighbour>) {
        let mut known = self.neighbours.lock().unwrap_or_else(PoisonError::into_inner);
        if **known != neighbours {
            *known = Arc::new(neighbours);
        }
    }

    /// Another node has said how new its map is.
    pub(super) fn heard_map_epoch(&self, epoch: u64) {
        self.newest_map_epoch.fetch_max(epoch, Ordering::Relaxed);
    }

    /// Waits until something was told that is new.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_only_go_up_and_the_newest_is_of_anybody() {
        let board = Board::default();
        board.set_map_epoch(5);
        board.set_map_epoch(3);
        assert_eq!((board.map_epoch(), board.newest_map_epoch()), (5, 5));
        board.heard_map_epoch(9);
        board.heard_map_epoch(7);
        assert_eq!((board.map_epoch(), board.newest_map_epoch()), (5, 9));
    }
}
