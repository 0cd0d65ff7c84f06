//! Hash trees: how two replicas that hold a million keys find the hundred in which they differ without sending the others.
//!
//! ```text
//!   positions 0 ─────────────────────────────────────────────── 2⁶⁴-1
//!   level 0   ┌──────────────────── sum of all ───────────────────┐
//!   level 1   ├──0──┬──1──┬──2──┬── … ──┬──f──┤   the first four bits
//!   level 2   ├┬┬┬┬┬┴┬┬┬┬┬┴┬┬┬┬┬┴─  …  ─┴┬┬┬┬┬┤   the next four
//!   buckets   each the sum of the digests of its entries, modulo 2¹²⁸
//! ```
//!
//! Merkle's tree (*A Digital Signature Based on a Conventional Encryption Function*, CRYPTO 1987) hashes the hashes of its
//! children. Replicas that repair each other with it (DeCandia et al., *Dynamo*, 2007, section 4.7) have to read a bucket again
//! whenever one of its keys changes. Here a node is the *sum* of the digests of the entries below it, so that a change is
//! one addition at each level, the order of changes does not matter, a deeper tree has the same sums on its upper levels,
//! and a replica with a shallow tree can be compared with one with a deep tree wherever both have a level.
//!
//! # Why a sum is safe here
//!
//! Sums of plain hashes are not: whoever chooses the entries finds two sets with one sum, for XOR by solving linear equations
//! (Bellare and Micciancio, *A New Paradigm for Collision-free Hashing*, 1997), for sums modulo 2¹²⁸ in about 2²² steps
//! by Wagner's generalised birthdays (2002), and clients choose keys and values. So the digests are keyed
//! ([`Secret`]): to everyone without the secret they are a random function that he never sees a value of, and two
//! different sets then have equal sums with probability 2⁻¹²⁸, whoever chose them: the difference has at least one
//! term that is uniformly distributed and independent of the others (Clarke et al., *Incremental Multiset Hash Functions*,
//! 2003, section 4). Positions are keyed too, so nobody can fill one bucket on purpose. The secret belongs to a table,
//! and all its replicas know it.
//!
//! For a proof towards somebody who was not there a sum would be too soft, because what is taken out of one addend can be put
//! into another. [`Tree::commitment`] therefore hashes the buckets' sums as Merkle did, and a [`Proof`] carries the
//! keys and versions of a whole bucket, never bare digests.
//!
//! # What there is
//!
//! | | |
//! |---|---|
//! | [`digest`] | the secret, positions, digests of entries |
//! | [`place`] | prefixes and ranges of the space of positions |
//! | [`tree`] | the tree: changes, growth by reading bucket by bucket, drift, bytes for a checkpoint |
//! | [`message`] | questions and answers of a comparison, and their bytes |
//! | [`session`] | who asks: descends, lists, finds the keys to send and to ask for |
//! | [`responder`] | who answers: without any memory of the session |
//! | [`pace`] | how many bytes and buckets an interval may cost |
//! | [`proof`] | that an entry is there, or is not, under a commitment |
//!
//! # What the host owes
//!
//! 1. Every change of the store is told to the tree once, in the same turn, with the version before it.
//! 2. Entries are read in order of their positions; so the store's keys begin with them, or an index does.
//! 3. Messages may be lost, doubled and late. A host that hears nothing for a while sends [`Session::resend`] again, or
//!    gives the session up: nothing is kept on the other side.
//! 4. Keys that are found are sent and joined outside of the session. A key that changes meanwhile is found by a later one.
//!
//! ```
//! use althing_merkle::{Secret, Tree};
//!
//! let secret = Secret::new([7; 32]);
//! let (mut ours, mut theirs) = (Tree::for_keys(2), Tree::for_keys(1_000_000));
//! ours.insert(secret.entry(b"a", b"1"))?;
//! ours.insert(secret.entry(b"b", b"1"))?;
//! theirs.insert(secret.entry(b"b", b"0"))?;
//! theirs.insert(secret.entry(b"a", b"1"))?;
//! assert_ne!(ours.root(), theirs.root());
//! theirs.replace(secret.entry(b"b", b"0"), secret.entry(b"b", b"1"))?;
//! assert_eq!(ours.root(), theirs.root(), "in another order, and in a tree of another depth");
//! # Ok::<(), althing_merkle::TreeError>(())
//! ```

pub mod digest;
pub mod message;
pub mod pace;
pub mod place;
pub mod proof;
pub mod responder;
pub mod session;
pub mod tree;

pub use digest::{Entry, Secret};
pub use message::{Answer, Request, SessionId};
pub use pace::Pace;
pub use place::{Prefix, Range};
pub use proof::{Commitment, Membership, Proof, ProofError};
pub use responder::{Pending, Reply, answer};
pub use session::{Findings, Handled, Next, Page, Progress, Session, SessionError};
pub use tree::{Summary, Tree, TreeError};
