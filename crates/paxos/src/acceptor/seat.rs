//! The seat of an acceptor: whether it is one of those who accept, and what it does before it is.
//!
//! ```text
//!                    a configuration since which it has had its vote
//!                    without a break, or it is born with the shard
//!      (nothing) ───────────────────────────────────────────────────────► Member
//!          │                                                              │    ▲
//!          │  any other configuration           any other configuration   │    │  copied: one of each majority
//!          ▼                                                              ▼    │  of the others, in this epoch
//!        Filling ◄────────────────────────────────────────────────────────┘    │
//!          └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! *A seat is kept only without a break.* A configuration says since which epoch each voter has had its vote. An acceptor whose last
//! configuration was before that went and came back, though it may have heard of neither: what others chose meanwhile it was not asked
//! for, so a quorum with it could miss it. It is a newcomer as any other. A replica that was born with the shard and has had its vote from then
//! on has promised nothing, as one that was merely away.
//!
//! *A newcomer forgets, and is silent until it has copied.* It forgets with the record that says so ([`Record::forgets_all`]): what it
//! had may be of keys that all others have forgotten since. While it is silent it promises nothing and accepts nothing, and counts as one
//! who is away; the configurations go on without asking for it.
//!
//! *It copies a quorum of the others, each in the newcomer's own epoch.* What was chosen before the configuration that made it a voter
//! was accepted by most of the old set. Those that are copied meet each majority of that, and each takes nothing of former epochs
//! any more when it is read ([`Shard::may_be_copied`]). As a configuration replaces one replica by one, that is so too when the move is
//! over and the old set not known any more: both are majorities of those that stay and of one more. What is chosen meanwhile is
//! accepted by a quorum without the newcomer, which every later quorum meets. In another epoch the copy begins anew, with nothing.
//!
//! The host sees to it that a configuration replaces or adds one replica only while enough of the others accept: with two silent ones of
//! three nobody could copy from a quorum any more.

use std::collections::BTreeSet;

use althing_probe::{Mutant, is};
use bytes::Bytes;

use super::{Acceptor, Effect, Record, Shard};
use crate::ballot::{Ballot, Peer};
use crate::config::{Config, Stage};
use crate::register::Register;

/// Whether an acceptor accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Yes.
    Member,
    /// No: it is new and silent, and copies what the others remember.
    Filling,
}

/// How a replica came to its shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Born {
    /// With it: there is nothing that it would have to remember.
    #[default]
    WithTheShard,
    /// Later: it accepts nothing before it has copied the registers of most of the others.
    Later,
}

impl Shard {
    /// Whether the acceptor is not silent.
    #[must_use]
    pub const fn accepts(&self) -> bool {
        matches!(self.standing, Standing::Member)
    }

    /// Whether a newcomer that goes by this epoch may copy the acceptor's registers, read now.
    #[must_use]
    pub const fn may_be_copied(&self, epoch: u64) -> bool {
        self.epoch == epoch && self.accepts()
    }
}

impl Record {
    /// Whether all registers are forgotten with it.
    #[must_use]
    pub const fn forgets_all(&self) -> bool {
        match self {
            Self::Shard(shard) => !shard.accepts(),
            Self::Register { .. } | Self::Erased { .. } => false,
        }
    }
}

/// What a newcomer has copied in one epoch. It is not kept: who is started again copies again.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    whole: BTreeSet<Peer>,
    floor: Ballot,
}

impl Copies {
    /// A part of the registers of another acceptor has come, which goes by this.
    pub fn part(&mut self, theirs: &Shard) {
        self.floor = self.floor.max(theirs.floor);
    }

    /// All of another acceptor's registers are copied, durably.
    pub fn whole(&mut self, peer: Peer) {
        self.whole.insert(peer);
    }

    /// Whether all of this one's are.
    #[must_use]
    pub fn has(&self, peer: Peer) -> bool {
        self.whole.contains(&peer)
    }

    /// Whether it is enough: one of each majority of the set that a move begins with, or of the present one. Where a replica was added
    /// without a move, the present set is the one before and the newcomer.
    #[must_use]
    pub fn are_enough(&self, config: &Config) -> bool {
        config.meets_majorities_of_old(|peer| self.whole.contains(&peer))
    }

    /// The highest of their floors.
    #[must_use]
    pub const fn floor(&self) -> Ballot {
        self.floor
    }
}

impl Acceptor {
    /// The shard has a configuration of this epoch, in which the replica has had a vote without a break since an epoch, if it has one. It
    /// counts once its record is durable; requests of other epochs are refused from now on. One that is not later than the present
    /// one changes nothing.
    pub fn configure(&mut self, epoch: u64, stage: Stage, since: Option<u64>, out: &mut Vec<Effect>) {
        let held = self.shard();
        if held.is_some_and(|held| epoch <= held.epoch) {
            return;
        }
        let member_at = match (held, self.born) {
            (Some(held), Born::WithTheShard | Born::Later) => held.accepts().then_some(held.epoch),
            (None, Born::WithTheShard) => Some(0),
            (None, Born::Later) => None,
        };
        let standing = match (since, member_at) {
            (Some(since), Some(at)) if at >= since || is(Mutant::PaxosKeepSeat) => Standing::Member,
            (Some(_) | None, Some(_) | None) => Standing::Filling,
        };
        let floor = held.map_or(Ballot::ZERO, |held| held.floor);
        self.go_by(Shard { epoch, stage, standing, floor }, out);
    }

    /// A register of another acceptor; `stored` is what was remembered of the key here. Who accepts ignores it: the copy is late.
    pub fn copy(&mut self, key: &Bytes, theirs: Register, stored: Option<Register>, out: &mut Vec<Effect>) {
        if self.shard().is_none_or(|held| held.accepts()) {
            return;
        }
        let mut register = stored.clone().unwrap_or(Register::absent(Ballot::ZERO));
        register.join(theirs);
        if stored.as_ref() != Some(&register) {
            self.remember(key, register, out);
        }
    }

    /// Enough was copied in the configuration of this epoch ([`Copies::are_enough`]); `floor` is the highest of the others' floors. What
    /// was copied for another one counts for nothing.
    pub fn filled(&mut self, epoch: u64, floor: Ballot, out: &mut Vec<Effect>) {
        match self.shard() {
            Some(held) if held.epoch == epoch && !held.accepts() => {
                let floor = held.floor.max(floor);
                self.go_by(Shard { standing: Standing::Member, floor, ..held }, out);
            }
            Some(_) | None => {}
        }
    }
}
