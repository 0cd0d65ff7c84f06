//! The hash tree of a shard's keys: what two replicas compare to find the keys in which they differ (`althing_merkle`).
//!
//! It is told of every key that is written to the engine, with the record before and the one after. It is not kept on disk: after a
//! start it is made anew, a page of keys at a time, while the shard serves. A change of a key that was counted already
//! counts; one of a key that was not will be counted as it is then. So it is true again after every start, whatever was wrong.

use althing_merkle::{Entry, Prefix, Secret, Session, SessionId, Tree, TreeError};
use bytes::Bytes;

/// What the replicas of a shard know and its clients need not: 32 bytes, the same on all of them.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeSecret(pub [u8; 32]);

impl std::fmt::Debug for TreeSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TreeSecret(..)")
    }
}

/// The tree, and how much it has of the shard.
#[derive(Debug)]
pub(crate) struct Hashes {
    secret: Secret,
    tree: Tree,
    counted: Counted,
}

/// Which keys the tree counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Counted {
    /// None yet.
    None,
    /// Those up to and with this one.
    Through(Bytes),
    /// All.
    All,
}

impl Hashes {
    /// An empty tree, for so many keys.
    pub(crate) fn new(secret: TreeSecret, keys: u64) -> Self {
        Self { secret: Secret::new(secret.0), tree: Tree::for_keys(keys), counted: Counted::None }
    }

    /// A key's record as the tree sees it.
    pub(crate) fn entry(&self, key: &[u8], record: &[u8]) -> Entry {
        self.secret.entry(key, record)
    }

    /// Where a key lies.
    pub(crate) fn position(&self, key: &[u8]) -> u64 {
        self.secret.position(key)
    }

    /// Another record of a key that lies at a position.
    pub(crate) fn next_entry(&self, position: u64, key: &[u8], record: &[u8]) -> Entry {
        Entry { position, digest: self.secret.digest(key, record) }
    }

    /// A key has changed.
    pub(crate) fn change(&mut self, key: &Bytes, before: Option<Entry>, after: Option<Entry>) {
        let is_counted = match &self.counted {
            Counted::None => false,
            Counted::Through(last) => key <= last,
            Counted::All => true,
        };
        if !is_counted {
            return;
        }
        let told = match (before, after) {
            (Some(before), Some(after)) => self.tree.replace(before, after),
            (Some(before), None) => self.tree.remove(before),
            (None, Some(after)) => self.tree.insert(after),
            (None, None) => Ok(()),
        };
        self.unless_drifted(told);
    }

    /// If tree and store are not of one mind the tree is made anew.
    fn unless_drifted(&mut self, told: Result<(), TreeError>) {
        if told.is_err() {
            self.tree = Tree::for_keys(self.tree.root().count);
            self.counted = Counted::None;
        }
    }

    /// How far it is.
    pub(crate) const fn counted(&self) -> &Counted {
        &self.counted
    }

    /// Takes the next keys in, in their order, the last of which is that.
    pub(crate) fn count(&mut self, entries: &[Entry], counted: Counted) {
        self.counted = counted;
        for entry in entries {
            let told = self.tree.insert(*entry);
            self.unless_drifted(told);
        }
    }

    /// The bucket of which the entries are wanted, for the tree to become as deep as its keys want. One that is much too shallow is
    /// made anew instead.
    pub(crate) fn grow(&mut self) -> Option<Prefix> {
        if self.tree.lacking_levels() > 1 {
            self.tree = Tree::for_keys(self.tree.root().count);
            self.counted = Counted::None;
            return None;
        }
        let bucket = self.tree.grow();
        if bucket.is_none() {
            self.tree.shrink();
        }
        bucket
    }

    /// All entries of the bucket that was wanted.
    pub(crate) fn fill(&mut self, bucket: Prefix, entries: &[Entry]) {
        let told = self.tree.fill(bucket, entries).map(drop);
        self.unless_drifted(told);
    }

    /// Whether it counts all keys, and is as deep as they want: comparing with a shallower one would list what is equal.
    pub(crate) fn is_ready(&self) -> bool {
        self.counted == Counted::All && self.tree.lacking_levels() == 0
    }

    /// The tree, if it counts all keys.
    pub(crate) const fn whole(&self) -> Option<(&Tree, &Secret)> {
        match self.counted {
            Counted::All => Some((&self.tree, &self.secret)),
            Counted::None | Counted::Through(_) => None,
        }
    }

    /// Begins a comparison, if the tree counts all keys: the session and its first question.
    pub(crate) fn open(&self, id: u64) -> Option<(Session, Bytes)> {
        let (tree, secret) = self.whole()?;
        let (session, request) = Session::open(SessionId(id), tree, secret);
        Some((session, request.encode()))
    }
}
