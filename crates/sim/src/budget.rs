//! The fault budget: what the faults may take away without taking more than the store can lose.
//!
//! A node that is down, slow, cut off or stands still costs progress only, so any number of them may be at once. What a
//! node has synced is another matter: entries that it has acknowledged and votes that it has given. The contract is that a
//! quorum of the voters of every configuration that anybody may act on keeps what it had synced. A machine whose synced
//! bytes have rotted, or that was wiped, put back or lied to by its disk, is *lost* from then on: it never votes again, its
//! member is removed, and another one is added under a new id. The budget allows
//!
//! * one lost machine at a time, until no configuration counts it any more and the voters are as many as before;
//! * none where the voters that are left would not be a quorum of each configuration;
//! * none that nobody could tell from a sound one (docs/bugs-found.md, "Known and open").
//!
//! A fault that would take more is withheld, and counted.

use std::collections::BTreeSet;

use althing_types::{Duration, NodeId};

/// How near the faults came to what the store can survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Faults that were withheld because they would have taken more than the store can lose.
    pub withheld: u64,
    /// Losses after which the voters that were left were just a quorum of some configuration.
    pub tight: u64,
    /// For how long that was so, all together.
    pub tight_for: Duration,
    /// Connections of lost machines that nobody could have told from sound ones and that the world held back.
    pub spared: u64,
}

/// The voters of a configuration.
pub type Voters = BTreeSet<NodeId>;
