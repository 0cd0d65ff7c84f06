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
//! way needs it. While a replica moves nothing is forgotten, nor while an acceptor is silent, since all must say that they did.
//!
//! # Moving
//!
//! In the epochs of a move a quorum is one of both sets. Who accepts in them, and what a newcomer does first, says [`seat`].

use althing_probe::{Mutant, is};
use bytes::Bytes;

use crate::ballot::{Ballot, Peer};
use crate::config::Stage;
use crate::message::{Answer, Ask, Request, Word};
use crate::register::{Accepted, Register};

pub mod record;
pub mod seat;

pub use record::{Record, Shard};
pub use seat::{Born, Copies, Standing};

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

/// The acceptor of one replica of a shard.
#[derive(Clone, Debug)]
pub struct Acceptor {
    born: Born,
    shard: Option<Shard>,
    seq: u64,
}

impl Acceptor {
    /// That of a replica which was never told of a configuration.
    #[must_use]
    pub const fn new(born: Born) -> Self {
        Self { born, shard: None, seq: 0 }
    }

    /// A record that was durable when the replica was started, in the order in which they were handed out; or what a checkpoint
    /// made of all of them, as one [`Record::Shard`]. One of this run changes nothing.
    pub const fn recall(&mut self, record: &Record) {
        match record {
            Record::Shard(shard) | Record::Erased { shard, .. } => self.shard = Some(*shard),
            Record::Register { .. } => {}
        }
    }

    /// What it knows of the shard, for a checkpoint; `None` before its first configuration.
    #[must_use]
    pub const fn shard(&self) -> Option<Shard> {
        self.shard
    }

    /// A request has come; `stored` is what was remembered last of its key, durable or not. One that is silent says nothing.
    pub fn handle(&mut self, from: Peer, request: Request, stored: Option<Register>, out: &mut Vec<Effect>) {
        let Some(shard) = self.shard.filter(Shard::accepts) else { return };
        let Request { epoch, key, ballot, ask } = request;
        let word = if epoch == shard.epoch {
            let register = stored.unwrap_or(Register::absent(shard.floor));
            self.answer(shard, &key, register, ballot, ask, out)
        } else {
            if epoch > shard.epoch {
                out.push(Effect::Behind { epoch });
            }
            Word::WrongEpoch { current: shard.epoch }
        };
        // A read may show what is not durable yet, so it waits as well.
        let after = if is(Mutant::PaxosSendBeforeDurable) { 0 } else { self.seq };
        out.push(Effect::Send { after, to: from, answer: Answer { key, ballot, word } });
    }

    fn answer(
        &mut self,
        shard: Shard,
        key: &Bytes,
        register: Register,
        ballot: Ballot,
        ask: Ask,
        out: &mut Vec<Effect>,
    ) -> Word {
        let floor = shard.floor;
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
            Ask::Erase => self.erase(shard, key, &register, ballot, out),
        }
    }

    fn erase(&mut self, shard: Shard, key: &Bytes, register: &Register, ballot: Ballot, out: &mut Vec<Effect>) -> Word {
        let promised = register.promised;
        match (&register.accepted, shard.stage) {
            // A register that only promises is not touched; one that is not there has been forgotten, or never was.
            (None, Stage::Stable) if promised == shard.floor => Word::Erased,
            (Some(accepted), Stage::Stable)
                if accepted.ballot == ballot && promised == ballot && accepted.value.present().is_none() =>
            {
                let floor = if is(Mutant::PaxosForgetFloor) { shard.floor } else { shard.floor.max(ballot) };
                let shard = Shard { floor, ..shard };
                self.shard = Some(shard);
                self.persist(Record::Erased { key: key.clone(), shard }, out);
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

    fn go_by(&mut self, shard: Shard, out: &mut Vec<Effect>) {
        self.shard = Some(shard);
        self.persist(Record::Shard(shard), out);
    }
}

#[cfg(test)]
mod tests;
