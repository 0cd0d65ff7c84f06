//! What the two sides of a session say to each other, and its bytes (`docs/formats/merkle.md`).
//!
//! Only the side that asks sends sums, and only the side that answers compares: each sum travels once, and an answer to a
//! comparison is one bit for each sum.

mod bytes;

use crate::place::{Prefix, Range, nodes};

/// Levels that one comparison may span: 256 sums, 4 KB. More are cheaper asked for in two rounds.
pub const MAX_SPAN: u8 = 2;
/// Nodes in one question, so that a short hostile one cannot ask for long work.
pub const MAX_NODES: usize = 4_096;
/// Pages in one question; each makes the other side read.
pub const MAX_PAGES: usize = 4_096;
/// Entries in all pages of one question, and in what is read for its answer.
pub const MAX_ENTRIES: usize = 16_384;

/// A session between two replicas: chosen by the side that asks, never the same for two of its sessions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// From the side that asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Whose it is.
    pub session: SessionId,
    /// Which of its questions, from 0.
    pub step: u32,
    /// What is asked.
    pub question: Question,
}

/// What can be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Are we equal?
    Open {
        /// That of the secret.
        fingerprint: u64,
        /// Levels of the asking tree below its root.
        depth: u8,
        /// The sum of all entries.
        root: u128,
    },
    /// Which of these nodes' descendants differ?
    Compare(Vec<Node>),
    /// Which keys of these differ?
    List(Vec<Listing>),
}

/// A node whose descendants are compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// The node.
    pub prefix: Prefix,
    /// How many levels below it they are: 1 to [`MAX_SPAN`].
    pub span: u8,
    /// Their sums, from the left: 16 for each level that is spanned, multiplied.
    pub sums: Vec<u128>,
}

/// All entries of the asking side in a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// The range.
    pub range: Range,
    /// In order of positions; of digests at one position.
    pub entries: Vec<Short>,
}

/// An entry in a list. 64 bits of its digest are enough: two versions are taken for one with probability 2⁻⁶⁴.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Short {
    /// Where its key lies.
    pub position: u64,
    /// The lower half of its digest.
    pub digest: u64,
}

/// From the side that answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The request's.
    pub session: SessionId,
    /// The request's.
    pub step: u32,
    /// What is answered.
    pub verdict: Verdict,
}

/// What can be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To [`Question::Open`]: the secrets differ, so nothing can be compared.
    OtherSecret,
    /// To [`Question::Open`]: yes, equal.
    Same,
    /// To [`Question::Open`]: not equal, and the answering tree has so many levels below its root.
    Differs {
        /// So many.
        depth: u8,
    },
    /// To [`Question::Compare`]: one for each of its nodes.
    Compared(Vec<Comparison>),
    /// To [`Question::List`]: one for each of its listings.
    Listed(Vec<Difference>),
}

/// Of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// These descendants differ.
    Differing(Bits),
    /// The answering tree is not so deep: the node has to be listed.
    TooDeep,
}

/// Which descendants of a node.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Bits([u64; 4]);

impl Bits {
    /// Adds the descendant with this number, below 256.
    pub fn set(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    /// Whether the descendant with this number, below 256, is among them.
    #[must_use]
    pub const fn has(&self, number: usize) -> bool {
        self.0[number / 64] >> (number % 64) & 1 == 1
    }
}

/// Of one listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    /// It was compared as far as `through`.
    Read {
        /// The last position that was, within the range.
        through: u64,
        /// Positions at which the asking side has something that the answering one has not, in order.
        send: Vec<u64>,
        /// Positions at which the answering side has something that the asking one has not, in order.
        ask: Vec<u64>,
    },
    /// The answer is full: ask again.
    Unread,
}

/// How many sums a node with this span has.
pub(crate) const fn width(span: u8) -> usize {
    nodes(span)
}

impl Node {
    /// Bytes that a node with this span takes at most.
    pub(crate) const fn max_bytes(span: u8) -> usize {
        // Level, number, span, a bit and a sum for each descendant.
        1 + 5 + 1 + width(span) / 8 + width(span) * 16
    }
}

impl Listing {
    /// Bytes that a listing takes at most beside its entries: both ends and the count.
    pub(crate) const OVERHEAD: usize = 8 + 8 + 3;
}

impl Short {
    /// Bytes that an entry takes at most; positions of a well-filled bucket take less.
    pub(crate) const MAX_BYTES: usize = 10 + 8;
}

impl From<crate::Entry> for Short {
    fn from(entry: crate::Entry) -> Self {
        Self { position: entry.position, digest: entry.digest as u64 }
    }
}
