//! Who takes part, and the numbers of rounds.

use std::fmt;

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::NodeId;

/// A replica as an acceptor. A replica that lost its store comes back under another generation: its promises are gone, and
/// nobody may take the new one for the old.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Peer {
    /// Its node.
    pub node: NodeId,
    /// Which of its stores.
    pub generation: u64,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)
    }
}

/// Counters that a ballot may have from outside: so far from the end of 64 bits that no counting reaches it, whatever it starts from.
const MAX_COUNTER: u64 = 1 << 56;

/// The number of a round. Ballots are ordered by counter, then by node, then by incarnation, and none is issued twice: a
/// proposer counts up, and a proposer that restarts is another incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Ballot {
    /// Counts up beyond all ballots that the proposer has seen.
    pub counter: u64,
    /// The proposer's node.
    pub node: NodeId,
    /// Which run of the proposer.
    pub incarnation: u64,
}

impl Ballot {
    /// Below all that are issued.
    pub const ZERO: Self = Self { counter: 0, node: NodeId(0), incarnation: 0 };

    pub(crate) fn write(self, writer: &mut Writer) {
        writer.u64(self.counter);
        writer.u64(self.node.get());
        writer.u64(self.incarnation);
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let counter = reader.u64("a ballot's counter")?;
        if counter > MAX_COUNTER {
            return Err(DecodeError::Unknown { field: "a ballot's counter", value: counter });
        }
        let node = NodeId(reader.u64("a ballot's node")?);
        Ok(Self { counter, node, incarnation: reader.u64("a ballot's incarnation")? })
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ZERO {
            f.write_str("0")
        } else {
            write!(f, "{}.{}.{}", self.counter, self.node, self.incarnation)
        }
    }
}

/// Issues the ballots of one proposer of one shard.
#[derive(Clone, Debug)]
pub struct Ballots {
    last: Ballot,
}

impl Ballots {
    /// Those of a run of a proposer that there was not before.
    #[must_use]
    pub const fn new(node: NodeId, incarnation: u64) -> Self {
        Self { last: Ballot { counter: 0, node, incarnation } }
    }

    /// The proposer's node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.last.node
    }

    /// A ballot above all that were issued or seen.
    ///
    /// # Panics
    ///
    /// At the end of 64 bits, which counting does not reach.
    pub fn issue(&mut self) -> Ballot {
        self.last.counter =
            self.last.counter.checked_add(1).expect("a counter is read within bounds far below its end");
        self.last
    }

    /// Another proposer's ballot: the next one is above it.
    pub fn see(&mut self, other: Ballot) {
        self.last.counter = self.last.counter.max(other.counter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballots_rise_above_all_that_was_seen_and_differ_between_nodes_and_runs() {
        let mut ballots = Ballots::new(NodeId(2), 1);
        let first = ballots.issue();
        ballots.see(Ballot { counter: 9, node: NodeId(7), incarnation: 4 });
        let second = ballots.issue();
        ballots.see(first);
        assert!(Ballot::ZERO < first && first < second && second < ballots.issue());
        assert_eq!(second.counter, 10);
        assert_ne!(Ballots::new(NodeId(2), 2).issue(), first);
        assert_ne!(Ballots::new(NodeId(3), 1).issue(), first);
    }
}
