//! Compare-and-set for one key among the replicas of a convergent table, by Paxos.
//!
//! A key is a register that changes. There is no log: a round reads the register from a quorum, computes the next value, and writes
//! it to a quorum (Rystsov, *CASPaxos: Replicated State Machines without logs*, 2018, section 2.2). Each round is
//! the single decree of Lamport's *Paxos Made Simple* (2001, section 2.2) whose value is not chosen by the
//! proposer alone but made of the one before.
//!
//! ```text
//!   proposer                    acceptors (the key's replicas)
//!      │  Prepare(ballot) ───────────►│  promise to refuse lower ballots
//!      │◄─────── Promised(accepted)   │
//!   compute: value ► next value
//!      │  Accept(ballot, next) ──────►│  remember it, unless a higher ballot was promised
//!      │◄────────────── Accepted      │
//!   chosen: commit as a dotted write
//! ```
//!
//! What a round may do beside that:
//!
//! * **one round trip**: an acceptance also promises the proposer's next ballot, if it is the same proposer that goes on;
//! * **reads without writing**: if a quorum has accepted the same ballot, its value is chosen and no later one was chosen when the
//!   read began; otherwise a read is a round with the identity function;
//! * **deletion**: a key that is absent may leave nothing behind ([`acceptor`], ADR 19);
//! * **moves**: while a replica is replaced, quorums of both sets are needed ([`Config`]), and a newcomer copies before it accepts
//!   ([`acceptor::seat`]).
//!
//! # Once, or not at all, or nobody knows
//!
//! A change that was sent and not acknowledged may yet be chosen, by whoever finds it. Trying again must not apply it twice. So
//! a value keeps the ballot at which it was first proposed, its *version*, however often others carry it on, and the version
//! that it was made from, its *parent*. A proposer that tries again looks at what it finds:
//!
//! | version and parent found | what it means | what it does |
//! |---|---|---|
//! | one of the two is its own | its change is there, or right below what is | finishes what it found: *done* |
//! | all of its own are above the parent | they are not in what led here, and a new ballot excludes them | computes again |
//! | one of its own is below the parent | it may have come first | says *maybe done* |
//!
//! An error says which of the two it is: [`Failure::NotDone`] is a promise that nothing was and will be done.
//!
//! # What the host owes
//!
//! 1. A record is part of what [`Acceptor::handle`] is given as soon as it was handed out, and an answer leaves only once the record
//!    that it waits for is durable. What was durable comes back after a restart ([`Acceptor::recall`]); otherwise the replica gets a new
//!    generation. With a record that [forgets all](acceptor::Record::forgets_all) all registers go.
//! 2. An incarnation of a proposer is used once per node, so that no ballot is issued twice.
//! 3. What is [`Effect::Chosen`](proposer::Effect::Chosen) is joined as an ordinary dotted write, the same bytes by whoever learns of it,
//!    before the request is answered. Dot and context are in the value, a removal's too, made when it was computed.
//! 4. No write of such a key goes another way.
//! 5. A register of which the acceptor has more than the store is read by a background round, so that no chosen value
//!    stays uncommitted because its proposer died.
//! 6. A key is forgotten ([`Kind::Forget`](proposer::Kind::Forget)) only once the store of every replica has its removal.

pub mod acceptor;
pub mod ballot;
pub mod config;
pub mod message;
pub mod proposer;
pub mod register;

pub use acceptor::Acceptor;
pub use ballot::{Ballot, Ballots, Peer};
pub use config::Config;
pub use message::{Answer, Request};
pub use proposer::{Failure, Outcome, Proposer};
pub use register::{Accepted, Register, Value};
