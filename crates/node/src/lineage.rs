//! Which data directory a node runs on, and whether it is the one that its peers have seen.
//!
//! A node is believed for the promises that its directory keeps: votes, and entries that it has acknowledged. A directory
//! that was emptied, copied or put back from a backup has forgotten some of them. Each directory therefore draws a number
//! when it is founded and another one at each start, and tells the last of them with every handshake:
//!
//! ```text
//!                         seen by a peer: founding f, start 5 with e
//!                                             ▼
//!   f ─ 1:a ─ 2:b ─ 3:c ─ 4:d ─ 5:e ─ 6:g           the directory goes on: its start 5 is e, it is believed
//!                           └── 5:h ─ 6:i ─ 7:j     a backup of start 4 goes on: its start 5 is h, it is refused
//!   k ─ 1:l ─ 2:m ─ …                               an emptied one goes on: its founding is k, it is refused
//! ```
//!
//! So a branch is refused however often it is started, as long as it still tells of the start that was seen. One that was
//! started [`LINEAGE_STARTS`] times more is known by its founding number alone: an honest node may have been started so
//! often while the peer was down.

use std::collections::BTreeMap;

use althing_codec::wire::{DecodeError, Reader, Writer};
use althing_types::NodeId;

/// Why a node's directory is not believed. Both are final: it must never come again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LineageError {
    /// It went another way than the one that was seen of the node.
    #[error(
        "node {node} runs on a copied or rolled-back data directory (start {offered} does not follow start {seen}, which \
         was seen); remove it from the cluster and add it again with an empty directory"
    )]
    Forked {
        /// The node.
        node: NodeId,
        /// The start that it claims to be.
        offered: u64,
        /// The latest start that was seen.
        seen: u64,
    },
    /// It is another one than the one that was seen of the node.
    #[error(
        "node {node} runs on an emptied data directory, or on another one than before: what it had promised is lost; remove \
         it from the cluster and add it again"
    )]
    Replaced {
        /// The node.
        node: NodeId,
    },
}

/// How many of its last starts a directory remembers and tells.
pub const LINEAGE_STARTS: usize = 32;

/// One run of one data directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Incarnation {
    /// How often the directory has been started, durably counted before the node speaks.
    pub starts: u64,
    /// A random number of this start: two copies of one directory count alike but draw differently.
    pub nonce: u64,
}

/// What a directory tells of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lineage {
    /// A random number that was drawn when the directory was founded.
    founding: u64,
    /// How often it was started.
    starts: u64,
    /// The numbers of its last starts, the oldest first; at most [`LINEAGE_STARTS`].
    nonces: Vec<u64>,
}

impl Lineage {
    /// That of a directory which has never been started.
    #[must_use]
    pub const fn founded(founding: u64) -> Self {
        Self { founding, starts: 0, nonces: Vec::new() }
    }

    /// That of a directory with these last starts, the oldest first and the last one being the `starts`-th. `None` if
    /// they are none although it was started, more than it was started, or more than are kept.
    #[must_use]
    pub fn new(founding: u64, starts: u64, nonces: Vec<u64>) -> Option<Self> {
        let known = nonces.len() as u64;
        let fits = known <= starts && nonces.len() <= LINEAGE_STARTS && (known > 0 || starts == 0);
        fits.then_some(Self { founding, starts, nonces })
    }

    /// Another start.
    pub fn start(&mut self, nonce: u64) {
        self.starts += 1;
        self.nonces.push(nonce);
        let forgotten = self.nonces.len().saturating_sub(LINEAGE_STARTS);
        self.nonces.drain(..forgotten);
    }

    /// The number that was drawn at its founding.
    #[must_use]
    pub const fn founding(&self) -> u64 {
        self.founding
    }

    /// The latest run; zeros before the first one.
    #[must_use]
    pub fn run(&self) -> Incarnation {
        Incarnation { starts: self.starts, nonce: self.nonces.last().copied().unwrap_or_default() }
    }

    /// The runs that it remembers, the oldest first.
    pub fn runs(&self) -> impl Iterator<Item = Incarnation> + '_ {
        let first = self.starts - self.nonces.len() as u64 + 1;
        (first..).zip(&self.nonces).map(|(starts, nonce)| Incarnation { starts, nonce: *nonce })
    }

    /// Whether this is what has become of the directory that was `seen`.
    fn continues(&self, seen: &Sighting) -> Continues {
        if self.founding != seen.founding {
            return Continues::Replaced;
        }
        if self.starts < seen.run.starts {
            return Continues::Forked;
        }
        match self.runs().find(|run| run.starts == seen.run.starts) {
            Some(run) if run != seen.run => Continues::Forked,
            Some(_) | None if self.run() == seen.run => Continues::Same,
            Some(_) | None => Continues::Newer,
        }
    }

    /// Its bytes within a message: founding, starts, count, and the numbers of the starts.
    pub fn write(&self, writer: &mut Writer) {
        writer.fixed_u64(self.founding);
        writer.u64(self.starts);
        writer.u64(self.nonces.len() as u64);
        for nonce in &self.nonces {
            writer.fixed_u64(*nonce);
        }
    }

    /// From its bytes. Only a directory that was started speaks.
    pub fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (founding, starts) = (reader.fixed_u64("founding")?, reader.u64("starts")?);
        let count = reader.u64("count of starts")?;
        let unknown = DecodeError::Unknown { field: "count of starts", value: count };
        if count == 0 || count > LINEAGE_STARTS as u64 {
            return Err(unknown);
        }
        let nonces = (0..count).map(|_| reader.fixed_u64("nonce")).collect::<Result<_, _>>()?;
        Self::new(founding, starts, nonces).ok_or(unknown)
    }
}

/// What a lineage is to one that was seen.
enum Continues {
    /// The same run of the same directory.
    Same,
    /// A later run of it.
    Newer,
    /// It branched off before the run that was seen.
    Forked,
    /// It is another directory.
    Replaced,
}

/// The latest that was seen of a node's directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// Its founding number.
    pub founding: u64,
    /// Its run.
    pub run: Incarnation,
}

/// The directories and runs of other nodes that were seen, so that an older one is recognised. The shell keeps it on disk.
///
/// Nobody is ever forgotten: an id is given to one directory only. A member that was removed and is added again comes
/// with a new id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sightings(pub BTreeMap<NodeId, Sighting>);

/// What the book says to a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// It is the one that was seen before.
    Same,
    /// It is newer: the book has changed and must be made durable before the node is believed.
    Newer,
}

impl Sightings {
    /// Enters a run of `node`, or refuses it.
    pub fn enter(&mut self, node: NodeId, offered: &Lineage) -> Result<Seen, LineageError> {
        let newer = Sighting { founding: offered.founding, run: offered.run() };
        let Some(seen) = self.0.get(&node) else {
            self.0.insert(node, newer);
            return Ok(Seen::Newer);
        };
        match offered.continues(seen) {
            Continues::Same => Ok(Seen::Same),
            Continues::Newer => {
                self.0.insert(node, newer);
                Ok(Seen::Newer)
            }
            Continues::Forked => Err(LineageError::Forked { node, offered: offered.starts, seen: seen.run.starts }),
            Continues::Replaced => Err(LineageError::Replaced { node }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NODE: NodeId = NodeId(3);

    /// A directory of this founding number, started so often; the numbers of its starts follow from `branch`.
    fn started(mut lineage: Lineage, branch: u64, times: usize) -> Lineage {
        for _ in 0..times {
            lineage.start(branch * 1_000_000 + lineage.starts);
        }
        lineage
    }

    fn peer_that_saw(lineage: &Lineage) -> Sightings {
        let mut book = Sightings::default();
        assert_eq!(book.enter(NODE, lineage), Ok(Seen::Newer));
        book
    }

    #[test]
    fn an_emptied_directory_is_refused_however_often_it_is_started() {
        let mut book = peer_that_saw(&started(Lineage::founded(1), 1, 3));
        for times in 1..200 {
            let emptied = started(Lineage::founded(2), 2, times);
            assert_eq!(book.enter(NODE, &emptied), Err(LineageError::Replaced { node: NODE }), "{times}");
        }
    }

    #[test]
    fn a_directory_remembers_its_last_starts() {
        let lineage = started(Lineage::founded(1), 0, 100);
        let runs: Vec<_> = lineage.runs().map(|run| run.starts).collect();
        assert_eq!(runs, (69..=100).collect::<Vec<_>>());
        assert_eq!(lineage.run(), Incarnation { starts: 100, nonce: 99 });
    }

    #[test]
    fn a_lineage_that_cannot_be_does_not_parse() {
        let refused = |founding: u64, starts: u64, count: u64| {
            let mut writer = Writer::default();
            writer.fixed_u64(founding);
            writer.u64(starts);
            writer.u64(count);
            (0..count).for_each(|nonce| writer.fixed_u64(nonce));
            Lineage::read(&mut Reader::new(writer.finish())).is_err()
        };
        assert!(!refused(1, 40, 32));
        assert!(refused(1, 40, 33) && refused(1, 3, 4) && refused(1, 3, 0) && refused(1, 0, 0));
    }

    proptest! {
        /// Whatever a peer has missed: any number of starts, and any number of looks at them.
        #[test]
        fn an_honest_directory_is_always_believed(looks in prop::collection::vec(0_usize..80, 1..10)) {
            let mut lineage = started(Lineage::founded(1), 1, 1);
            let mut book = peer_that_saw(&lineage);
            for times in looks {
                lineage = started(lineage, 1, times);
                let expected = if times == 0 { Seen::Same } else { Seen::Newer };
                prop_assert_eq!(book.enter(NODE, &lineage), Ok(expected));
            }
        }

        /// The directory is copied after `shared` starts; one branch is seen, the other one is then started again.
        #[test]
        fn a_branch_is_refused_by_who_has_seen_the_other_one(
            shared in 0_usize..100, ahead in 1_usize..100, restarts in 1_usize..200,
        ) {
            let trunk = started(Lineage::founded(1), 1, shared);
            let seen = started(trunk.clone(), 2, ahead);
            let branch = started(trunk, 3, restarts);
            let entered = peer_that_saw(&seen).enter(NODE, &branch);
            if restarts < ahead + LINEAGE_STARTS {
                prop_assert!(matches!(entered, Err(LineageError::Forked { .. })), "{:?}", entered);
            } else {
                // It no longer tells of the start that was seen. The peers' refusals before have stopped it for good.
                prop_assert_eq!(entered, Ok(Seen::Newer));
            }
        }

        /// A copy as it was: the trunk itself comes back, with or without further starts seen of it.
        #[test]
        fn a_directory_that_is_put_back_is_refused(shared in 1_usize..100, ahead in 1_usize..100) {
            let old = started(Lineage::founded(1), 1, shared);
            let seen = started(old.clone(), 1, ahead);
            let entered = peer_that_saw(&seen).enter(NODE, &old);
            prop_assert!(matches!(entered, Err(LineageError::Forked { .. })), "{:?}", entered);
        }

        #[test]
        fn what_is_written_is_read(founding: u64, times in 1_usize..100) {
            let lineage = started(Lineage::founded(founding), 7, times);
            let mut writer = Writer::default();
            lineage.write(&mut writer);
            let mut reader = Reader::new(writer.finish());
            prop_assert_eq!(Lineage::read(&mut reader), Ok(lineage));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}
