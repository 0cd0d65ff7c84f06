//! Keys that are decided by rounds of Paxos (`althing_paxos`, ADR 19): the acceptor's part and the proposer's next value.
//!
//! In a table that decides conditions by rounds, the string of a key is a register of Paxos, and this replica is one of its acceptors.
//! What a round chooses is a delta like any other, made when the value was computed: its bytes are the register's value, and
//! whoever learns that it is chosen joins them. So the store of every replica comes to the same, in whatever order, and a string is
//! never written in any other way. Hashes, sets and the others converge as in every table.
//!
//! ```text
//!   Task::Propose   register's value + operation ─► delta with dots of its own, logged as issued, and not joined
//!   Task::Answer    Prepare, Accept … of a proposer ─► record of the acceptor, logged; the answer
//!   Job::Join       the chosen delta: joined and logged, as any delta is
//! ```
//!
//! A value that is proposed may never be chosen, so its dots are those of an [actor beside](crate::names::of_rounds) the replica's own. They
//! are issued durably, and remembered with their key until the key's rounds have told what became of them: what was not chosen is then a
//! delta that holds nothing, and leaves no gap in what is known.
//!
//! The delta removes what its value replaces: the dots of the value before, which may not be chosen by itself and so never be committed,
//! with all that this one removes, unless that was taken here already; and whatever string this replica holds. So commits may come in any
//! order, and some never.

use althing_datatypes::{Op, Reply};
pub use althing_paxos::acceptor::Born;
use althing_paxos::acceptor::Shard as Acceptance;
use althing_paxos::config::Stage;
use althing_paxos::proposer::Change;
use althing_paxos::{Answer, Ballot, Peer, Request, Value};
use bytes::Bytes;

use crate::delta::Message;
use crate::job::Refusal;
use crate::keyed::Keyed;

/// A job about rounds.
#[derive(Clone, PartialEq, Debug)]
pub enum Task {
    /// The shard has another configuration.
    Configure {
        /// Its epoch.
        epoch: u64,
        /// Whether it is one of a move.
        stage: Stage,
        /// The epoch since which this replica has had a vote without a break, if it has one.
        since: Option<u64>,
    },
    /// A proposer asks this acceptor.
    Answer {
        /// Who.
        from: Peer,
        /// What.
        request: Request,
    },
    /// What comes next in a register: `althing_paxos::proposer::Effect::Compute`.
    Propose {
        /// Which key.
        key: Bytes,
        /// What is wanted of it.
        wish: Wish,
        /// What the register holds.
        current: Value,
        /// The node's wall clock, in milliseconds since 1970.
        now_ms: i64,
        /// Decides what is random.
        seed: u64,
    },
    /// A page of the registers, for a newcomer.
    Page {
        /// After this key; `None` is from the beginning.
        after: Option<Bytes>,
        /// At most so many.
        count: usize,
    },
    /// A page of another acceptor's registers, for this replica, which is new.
    Copy {
        /// Keys and registers.
        registers: Vec<(Bytes, Bytes)>,
    },
    /// All registers of most of the others were copied: from now on this replica accepts.
    Fill {
        /// The epoch in which that was.
        epoch: u64,
        /// The highest of the others' floors.
        floor: Ballot,
    },
    /// A round of this key, begun after all that was proposed for it here, is over, and what it has found is joined: what was
    /// issued for the key and not joined never will be.
    Resolve {
        /// Which key.
        key: Bytes,
    },
    /// A page of keys whose registers want a look.
    Unsettled {
        /// After this key; `None` is from the beginning.
        after: Option<Bytes>,
        /// Looks at so many registers at the most.
        count: usize,
    },
}

/// What is wanted of a key.
#[derive(Clone, PartialEq, Debug)]
pub enum Wish {
    /// This.
    Operate(Op),
    /// That it goes, if its deadline is past by more than clocks may differ.
    Expire,
    /// That it goes, whether or not its deadline is past.
    Remove,
    /// Nothing, but to know what became of what was proposed.
    Settle,
}

/// What becomes of an operation after its round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// It is done, and answered with its reply.
    Answer,
    /// The key holds no string, or is not to hold one: the operation is done once more, as one that converges.
    Converge,
}

/// What became of a task.
#[derive(Clone, PartialEq, Debug)]
pub enum Told {
    /// Of [`Task::Configure`] and [`Task::Fill`]: what the acceptor goes by; `None` before its first configuration.
    Standing(Option<Acceptance>),
    /// Of [`Task::Answer`]; `None` if it is new and not filled yet.
    Answered(Option<Answer>),
    /// Of [`Task::Propose`].
    Proposed {
        /// What its client is told if the round comes to its end with this change.
        reply: Result<Reply, Refusal>,
        /// What the register is to become.
        change: Change,
        /// What follows.
        then: Then,
    },
    /// Of [`Task::Page`].
    Page {
        /// Keys and registers.
        registers: Vec<(Bytes, Bytes)>,
        /// Where to go on; `None` after the last.
        next: Option<Bytes>,
        /// What the acceptor goes by; `None` if it is itself new.
        standing: Option<Acceptance>,
    },
    /// Of [`Task::Copy`].
    Copied,
    /// Of [`Task::Resolve`]: for the other replicas, if there was something.
    Resolved(Option<Bytes>),
    /// Of [`Task::Unsettled`].
    Unsettled {
        /// Keys whose register has more than the store.
        open: Vec<Bytes>,
        /// Keys whose register is absent, with the removal; the store has it.
        absent: Vec<(Bytes, Bytes)>,
        /// Keys for which something was proposed in an earlier run of this node, which has not told what became of it.
        inherited: Vec<Bytes>,
        /// Where to go on; `None` after the last.
        next: Option<Bytes>,
    },
    /// Of [`crate::Job::Tend`] and [`crate::Job::Flush`], before their own answers: this string is to be removed by a round.
    Due(Bytes),
}

/// The key's state that a register's value stands for; an absent one's is empty.
#[must_use]
pub fn state_of(value: &Value) -> Option<Keyed> {
    let (Value::Present(bytes) | Value::Absent(bytes)) = value;
    if bytes.is_empty() {
        return Some(Keyed::default());
    }
    match Message::decode(bytes.clone()).ok()? {
        Message::Key(delta) => Some(delta.delta.store),
        Message::Attestation(_) | Message::Rounds(_) | Message::Issued(_) => None,
    }
}
