//! That a key is in a store in this version, or is not, shown to one who knows the secret and a commitment to the whole store.
//!
//! A [`Commitment`] is the root of a Merkle tree over the buckets: sixteen buckets, with their sums and counts, are hashed into
//! one, sixteen of these into the next, up to the root. A [`Proof`] has all keys of the bucket in question with their versions,
//! and on each level what stands beside the path. The verifier makes the digests of the bucket's entries himself.
//!
//! **What a proof is worth.** Without the secret nobody can make one that verifies and is wrong: digests are those of a keyed
//! hash, a bucket is recomputed from keys and versions (a list of digests could be bent: add to one what is taken from the
//! other), and no part of one sum can be moved into another, since each is hashed. One who has the secret
//! could search for other entries with the same sum, which takes about 2²² steps with lists as long as he likes; so a proof is good
//! between replicas, operators and auditors of one table, and is no evidence for third parties against them.
//!
//! Commitments are computed when they are asked for: a hash of all buckets, about two milliseconds for a million keys.

mod bytes;

use ::bytes::Bytes;

use crate::digest::{Entry, Secret};
use crate::place::{FAN_OUT, Prefix};
use crate::tree::{Summary, Tree, TreeError};

/// Entries in a proof; a bucket of a tree that is as deep as it wants to be has 64 in the mean.
pub const MAX_ENTRIES: usize = 16_384;

/// What a whole store is held to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Commitment(pub [u8; 32]);

/// A key with its version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The key.
    pub key: Bytes,
    /// Its version, as it was given to [`Secret::entry`].
    pub version: Bytes,
}

/// What a proof shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Membership {
    /// The key is there in this version.
    Present,
    /// The key is there in another version, which is this.
    OtherVersion(Bytes),
    /// The key is not there.
    Absent,
}

/// Why a proof shows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofError {
    /// It does not lead to the commitment: it was bent, or made of another state of the store.
    #[error("the proof does not lead to the commitment")]
    OtherRoot,
    /// It lists keys that do not lie in the bucket of the key in question, or one twice.
    #[error("the proof is not of this key's bucket")]
    OtherBucket,
}

/// The way from a bucket to the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// All of the bucket, in order of keys.
    items: Vec<Item>,
    path: Path,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Path {
    /// The root is the only bucket.
    Bucket,
    /// The other buckets below the same parent, and from there up what stands beside.
    Above { beside: Box<[Summary; FAN_OUT - 1]>, hashes: Vec<[[u8; 32]; FAN_OUT - 1]> },
}

impl Path {
    fn depth(&self) -> u8 {
        match self {
            Self::Bucket => 0,
            Self::Above { hashes, .. } => hashes.len() as u8 + 1,
        }
    }
}

impl Tree {
    /// The commitment to all entries.
    #[must_use]
    pub fn commitment(&self, secret: &Secret) -> Commitment {
        let levels = self.hashes(secret);
        Commitment(levels[0][0])
    }

    /// The hashes of all levels above the buckets, the root's first. A tree of depth 0 has the root's alone.
    fn hashes(&self, secret: &Secret) -> Vec<Vec<[u8; 32]>> {
        let depth = self.depth();
        let Some(lowest) = depth.checked_sub(1) else {
            return vec![vec![hash_bucket(secret, self.root())]];
        };
        let summaries = |parent: Prefix| parent.descendants(1).filter_map(|child| self.summary(child));
        let hash = |parent: Prefix| hash_buckets(secret, parent, summaries(parent));
        let mut levels = vec![Prefix::ROOT.descendants(lowest).map(hash).collect::<Vec<_>>()];
        for level in (0..lowest).rev() {
            let below = &levels[levels.len() - 1];
            let parents = Prefix::ROOT.descendants(level).zip(below.chunks(FAN_OUT));
            levels.push(parents.map(|(parent, children)| hash_nodes(secret, parent, children)).collect());
        }
        levels.reverse();
        levels
    }
}

impl Proof {
    /// The proof for a key, of all items of its bucket (`tree.bucket(secret.position(key))`).
    ///
    /// # Errors
    ///
    /// [`TreeError::Drift`] and [`TreeError::Misplaced`] if the items are not what the tree was told, as in [`Tree::check`].
    pub fn new(tree: &Tree, secret: &Secret, key: &[u8], mut items: Vec<Item>) -> Result<Self, TreeError> {
        let position = secret.position(key);
        let entries: Vec<Entry> = items.iter().map(|item| secret.entry(&item.key, &item.version)).collect();
        tree.check(tree.bucket(position), &entries)?;
        items.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(Self { items, path: path(tree, secret, position) })
    }

    /// What the proof shows of a key and a version under a commitment.
    ///
    /// # Errors
    ///
    /// [`ProofError`]: it shows nothing.
    pub fn verify(
        &self,
        secret: &Secret,
        commitment: &Commitment,
        key: &[u8],
        version: &[u8],
    ) -> Result<Membership, ProofError> {
        let bucket = Prefix::of(secret.position(key), self.path.depth());
        if !self.items.is_sorted_by(|one, next| one.key < next.key) {
            return Err(ProofError::OtherBucket);
        }
        let entries: Vec<Entry> = self.items.iter().map(|item| secret.entry(&item.key, &item.version)).collect();
        if !entries.iter().all(|entry| bucket.range().contains(entry.position)) {
            return Err(ProofError::OtherBucket);
        }
        if self.root(secret, bucket, Summary::of(&entries)) != commitment.0 {
            return Err(ProofError::OtherRoot);
        }
        let found = self.items.binary_search_by(|item| item.key.as_ref().cmp(key));
        Ok(match found.ok().map(|at| &self.items[at].version) {
            Some(there) if there == version => Membership::Present,
            Some(there) => Membership::OtherVersion(there.clone()),
            None => Membership::Absent,
        })
    }

    /// The root to which the bucket with this summary leads.
    fn root(&self, secret: &Secret, bucket: Prefix, summary: Summary) -> [u8; 32] {
        let Path::Above { beside, hashes } = &self.path else {
            return hash_bucket(secret, summary);
        };
        let mut node = parent(bucket);
        let mut hash = hash_buckets(secret, node, with(beside, place(bucket), summary).into_iter());
        for beside in hashes.iter().rev() {
            let above = parent(node);
            hash = hash_nodes(secret, above, &with(beside, place(node), hash));
            node = above;
        }
        hash
    }
}

fn path(tree: &Tree, secret: &Secret, position: u64) -> Path {
    let Some(lowest) = tree.depth().checked_sub(1) else { return Path::Bucket };
    let bucket = tree.bucket(position);
    let around: Vec<Summary> = parent(bucket).descendants(1).filter_map(|child| tree.summary(child)).collect();
    let levels = tree.hashes(secret);
    let hashes = (1..=lowest).map(|level| {
        let node = Prefix::of(position, level);
        let first = node.index() as usize / FAN_OUT * FAN_OUT;
        without(&levels[usize::from(level)][first..first + FAN_OUT], place(node))
    });
    Path::Above { beside: Box::new(without(&around, place(bucket))), hashes: hashes.collect() }
}

/// The node above one that is not the root.
fn parent(node: Prefix) -> Prefix {
    Prefix::of(node.range().first, node.level() - 1)
}

/// Which child of its parent a node is.
fn place(node: Prefix) -> usize {
    node.index() as usize % FAN_OUT
}

/// All children but the one at `place`.
fn without<T: Copy + Default>(children: &[T], place: usize) -> [T; FAN_OUT - 1] {
    std::array::from_fn(|number| children[if number < place { number } else { number + 1 }])
}

/// All children, the one at `place` being `child`.
fn with<T: Copy>(beside: &[T; FAN_OUT - 1], place: usize, child: T) -> [T; FAN_OUT] {
    std::array::from_fn(|number| match number.cmp(&place) {
        std::cmp::Ordering::Less => beside[number],
        std::cmp::Ordering::Equal => child,
        std::cmp::Ordering::Greater => beside[number - 1],
    })
}

/// What is hashed begins with its kind and place, so that no node can stand for another.
fn header(kind: u8, node: Prefix, room: usize) -> Vec<u8> {
    let mut input = Vec::with_capacity(6 + room);
    input.extend([kind, node.level()]);
    input.extend(node.index().to_le_bytes());
    input
}

fn push_summary(input: &mut Vec<u8>, summary: Summary) {
    input.extend(summary.sum.to_le_bytes());
    input.extend(summary.count.to_le_bytes());
}

fn hash_bucket(secret: &Secret, summary: Summary) -> [u8; 32] {
    let mut input = header(0, Prefix::ROOT, 24);
    push_summary(&mut input, summary);
    secret.commit(&input)
}

fn hash_buckets(secret: &Secret, parent: Prefix, buckets: impl Iterator<Item = Summary>) -> [u8; 32] {
    let mut input = header(1, parent, 24 * FAN_OUT);
    buckets.for_each(|bucket| push_summary(&mut input, bucket));
    secret.commit(&input)
}

fn hash_nodes(secret: &Secret, parent: Prefix, children: &[[u8; 32]]) -> [u8; 32] {
    let mut input = header(2, parent, 32 * FAN_OUT);
    children.iter().for_each(|child| input.extend(child));
    secret.commit(&input)
}

#[cfg(test)]
mod tests;
