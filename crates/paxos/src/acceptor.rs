//! The acceptor: promises, accepts, forgets. It knows the shard; what it remembers of a key is loaded for it.
//!
//! # Forgetting a key
//!
//! A key that was deleted must not leave a register for ever, and forgetting is where such registers lose their safety (CASPaxos,
//! section 3.1): an acceptor that knows nothing any more would accept what a late message brings, or would let an old value on
//! another acceptor come back. Two rules prevent both.
//!
//! * *All before any.* An absence is accepted by **every** acceptor, at one ballot `t`, before the first one forgets. So no older
//!   value is anywhere, and an acceptor that has forgotten says no more than one that has not.
//! * *The floor.* Who forgets raises its floor to `t`, in the same record. A key without a register counts as having promised the
//!   floor. So whatever is older than the absence is refused by an acceptor that has forgotten as it is by one that has not.
//!
//! An acceptor forgets only if `t` is both the last ballot that it promised and the last that it accepted: a round above `t` that
//! is under way keeps the register. The floor belongs to the shard, and it costs a proposer that lags one refusal, after which its
//! ballots are above it; registers that are there do not see it. So no proposer has to be known, asked or aged, as the paper's
//! way needs it. While a replica moves nothing is forgotten, so that the newcomer need not be told of floors between two copies.
//!
//! # Moving
//!
//! In the epochs of a move a quorum is one of both sets. A newcomer is [`Filling`](Standing::Filling): it takes part, and
//! joins what a majority of the old set remembers, each asked after it had entered the epoch of the move
//! ([`floor_for_copy`](Acceptor::floor_for_copy)). Every value that was chosen before lies on one of those. When it has all it is a
//! member ([`filled`](Acceptor::filled)), and only then may the new set stand alone.

use althing_probe::{Mutant, is};
use bytes::Bytes;

use crate::ballot::{Ballot, Peer};
use crate::config::Stage;
use crate::message::{Answer, Ask, Request, Word};
use crate::register::{Accepted, Register};

pub mod record;

pub use record::{Record, Shard};

/// What an acceptor wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Make this durable, in the order of `seq`. From now on it is part of what the acceptor is given.
    Persist {
        /// Counts up from 1 in each run.
        seq: u64,
        /// What.
        record: Record,
    },
    /// Send this once all records up to `after` are durable.
    Send {
        /// The number of a record, or 0 for at once.
        after: u64,
        /// To whom.
        to: Peer,
        /// What.
        answer: Answer,
    },
    /// Somebody goes by a later epoch of the map: fetch it.
    Behind {
        /// The epoch.
        epoch: u64,
    },
}

/// Whether an acceptor has all that it must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Yes.
    Member,
    /// No: it is new, and a majority of the old set is being copied to it.
    Filling,
}

/// Why a change of the set is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigureError {
    /// It is older than what the acceptor goes by.
    #[error("epoch {asked} is not above {current}, by which this acceptor goes already")]
    Stale {
        /// The epoch that was given.
        asked: u64,
        /// The acceptor's.
        current: u64,
    },
    /// A newcomer may not be counted alone before it was filled.
    #[error("this acceptor is not filled yet: end the move when it is")]
    NotFilled,
    /// A copy is taken from one that goes by the epoch of the move, and by no other.
    #[error("a copy for epoch {asked} is not to be had: this acceptor goes by {current}, {stage:?}")]
    WrongEpoch {
        /// The epoch that was given.
        asked: u64,
        /// The acceptor's.
        current: u64,
        /// The acceptor's.
        stage: Stage,
    },
}

/// The acceptor of one replica of a shard.
#[derive(Clone, Debug)]
pub struct Acceptor {
    shard: Shard,
    seq: u64,
}

impl Acceptor {
    /// A replica that remembers nothing and has nothing to remember: the first of a new shard are members, all later ones are
    /// filling. What `shard` says must be durable before it is used.
    #[must_use]
    pub const fn new(epoch: u64, stage: Stage, standing: Standing) -> Self {
        Self::restore(Shard { epoch, stage, standing, floor: Ballot::ZERO })
    }

    /// The acceptor of a replica that comes back with everything that was durable.
    #[must_use]
    pub const fn restore(shard: Shard) -> Self {
        Self { shard, seq: 0 }
    }

    /// What it knows of the shard, for a checkpoint.
    #[must_use]
    pub const fn shard(&self) -> Shard {
        self.shard
    }

    /// A request has come; `stored` is what was remembered last of its key, durable or not.
    pub fn handle(&mut self, from: Peer, request: Request, stored: Option<Register>, out: &mut Vec<Effect>) {
        let Request { epoch, key, ballot, ask } = request;
        let word = if epoch == self.shard.epoch {
            let register = stored.unwrap_or(Register::absent(self.shard.floor));
            self.answer(&key, register, ballot, ask, out)
        } else {
            if epoch > self.shard.epoch {
                out.push(Effect::Behind { epoch });
            }
            Word::WrongEpoch { current: self.shard.epoch }
        };
        // A read may show what is not durable yet, so it waits as well.
        let after = if is(Mutant::PaxosSendBeforeDurable) { 0 } else { self.seq };
        out.push(Effect::Send { after, to: from, answer: Answer { key, ballot, word } });
    }

    fn answer(&mut self, key: &Bytes, register: Register, ballot: Ballot, ask: Ask, out: &mut Vec<Effect>) -> Word {
        let floor = self.shard.floor;
        match ask {
            Ask::Read => Word::Value { accepted: register.accepted, floor },
            Ask::Prepare if ballot < register.promised => Word::Refused { promised: register.promised },
            Ask::Prepare => {
                let accepted = register.accepted.clone().filter(|_| !is(Mutant::PaxosHideAccepted));
                if ballot > register.promised {
                    self.remember(key, Register { promised: ballot, ..register }, out);
                }
                Word::Promised { accepted, floor }
            }
            Ask::Accept { .. } if ballot < register.promised && !is(Mutant::PaxosAcceptBelowPromise) => {
                // It may have come twice: what was accepted at this ballot stays accepted.
                match register.accepted {
                    Some(accepted) if accepted.ballot == ballot => Word::Accepted,
                    Some(_) | None => Word::Refused { promised: register.promised },
                }
            }
            Ask::Accept { version, parent, value, next } => {
                let accepted = Some(Accepted { ballot, version, parent, value });
                let promised = next.map_or(ballot, |next| next.max(ballot)).max(register.promised);
                if register.accepted != accepted || register.promised != promised {
                    self.remember(key, Register { promised, accepted }, out);
                }
                Word::Accepted
            }
            Ask::Erase => self.erase(key, &register, ballot, out),
        }
    }

    fn erase(&mut self, key: &Bytes, register: &Register, ballot: Ballot, out: &mut Vec<Effect>) -> Word {
        let promised = register.promised;
        match (&register.accepted, self.shard.stage) {
            // A register that only promises is not touched; one that is not there has been forgotten, or never was.
            (None, Stage::Stable) if promised == self.shard.floor => Word::Erased,
            (Some(accepted), Stage::Stable)
                if accepted.ballot == ballot && promised == ballot && accepted.value.present().is_none() =>
            {
                if !is(Mutant::PaxosForgetFloor) {
                    self.shard.floor = self.shard.floor.max(ballot);
                }
                self.persist(Record::Erased { key: key.clone(), shard: self.shard }, out);
                Word::Erased
            }
            (Some(_) | None, Stage::Stable | Stage::Moving) => Word::Refused { promised },
        }
    }

    fn remember(&mut self, key: &Bytes, register: Register, out: &mut Vec<Effect>) {
        self.persist(Record::Register { key: key.clone(), register }, out);
    }

    fn persist(&mut self, record: Record, out: &mut Vec<Effect>) {
        self.seq += 1;
        out.push(Effect::Persist { seq: self.seq, record });
    }

    /// The map has a new entry of the shard. It is acknowledged once its record is durable; from now on other epochs are refused.
    ///
    /// # Errors
    ///
    /// [`ConfigureError::Stale`], [`ConfigureError::NotFilled`]; the acceptor stays as it was.
    pub fn configure(&mut self, epoch: u64, stage: Stage, out: &mut Vec<Effect>) -> Result<(), ConfigureError> {
        if epoch <= self.shard.epoch {
            return Err(ConfigureError::Stale { asked: epoch, current: self.shard.epoch });
        }
        match (stage, self.shard.standing) {
            (Stage::Stable, Standing::Filling) => return Err(ConfigureError::NotFilled),
            (Stage::Stable, Standing::Member) | (Stage::Moving, Standing::Member | Standing::Filling) => {}
        }
        self.shard.epoch = epoch;
        self.shard.stage = stage;
        self.persist(Record::Shard(self.shard), out);
        Ok(())
    }

    /// The floor of this acceptor for a newcomer that copies its registers. Those are read after this call.
    ///
    /// # Errors
    ///
    /// [`ConfigureError::WrongEpoch`] unless it goes by this epoch and that is a move.
    pub const fn floor_for_copy(&self, epoch: u64) -> Result<Ballot, ConfigureError> {
        match self.shard.stage {
            Stage::Moving if self.shard.epoch == epoch => Ok(self.shard.floor),
            stage @ (Stage::Moving | Stage::Stable) => {
                Err(ConfigureError::WrongEpoch { asked: epoch, current: self.shard.epoch, stage })
            }
        }
    }

    /// A register of an acceptor of the old set; `stored` is what was remembered of the key here. A member ignores it: the copy is late.
    ///
    /// What is copied counts as accepted even below a promise. A round that got this promise has a quorum of the old set as well,
    /// which has told it of everything that was chosen; and nothing is acknowledged to the proposer whose value is copied.
    pub fn copy(&mut self, key: &Bytes, theirs: Register, stored: Option<Register>, out: &mut Vec<Effect>) {
        match self.shard.standing {
            Standing::Member => {}
            Standing::Filling => {
                let before = stored.clone();
                let mut register = stored.unwrap_or(Register::absent(self.shard.floor));
                register.join(theirs);
                if before.as_ref() != Some(&register) {
                    self.remember(key, register, out);
                }
            }
        }
    }

    /// A majority of the old set was copied, all of it; `floor` is the highest of their floors.
    pub fn filled(&mut self, floor: Ballot, out: &mut Vec<Effect>) {
        self.shard.standing = Standing::Member;
        self.shard.floor = self.shard.floor.max(floor);
        self.persist(Record::Shard(self.shard), out);
    }
}

#[cfg(test)]
mod tests;
