//! What a shard is asked, and what it answers.
//!
//! The host numbers its jobs with tickets of its own, which mean nothing here. Every answer says with `index` what it rests on: it
//! leaves the node only when the delta of that index, and all before it, are durable.

use althing_clock::DotContext;
use althing_codec::DecodeError;
use althing_datatypes::{Kind, Op, OpError, Reply};
use bytes::Bytes;

use crate::rounds::{Task, Told};
use crate::survey::{Compared, Finished, Mended};

/// Something to be done by a replica.
#[derive(Clone, PartialEq, Debug)]
pub enum Job {
    /// A write by its coordinator, or a read of this replica alone.
    Execute {
        /// The host's number.
        ticket: u64,
        /// Which key.
        key: Bytes,
        /// What.
        op: Op,
        /// What the writer has seen of the key; `None` is all that this replica holds.
        seen: Option<DotContext>,
        /// The node's wall clock, in milliseconds since 1970.
        now_ms: i64,
        /// Decides what is random.
        seed: u64,
    },
    /// A delta of another replica: a write, a hint, or a repair.
    Join {
        /// The host's number.
        ticket: u64,
        /// What [`Outcome::Executed`], [`Outcome::Removed`] or [`crate::evaluate()`] gave elsewhere, or [`Outcome::Attested`].
        delta: Bytes,
    },
    /// The state of a key, for a read from several replicas or for repair.
    Read {
        /// The host's number.
        ticket: u64,
        /// Which key.
        key: Bytes,
    },
    /// A page of the keys.
    Scan {
        /// The host's number.
        ticket: u64,
        /// Which.
        request: ScanRequest,
    },
    /// Removes keys, whatever they hold: a page of FLUSHALL.
    Flush {
        /// The host's number.
        ticket: u64,
        /// After this key; `None` is from the beginning.
        after: Option<Bytes>,
        /// At most so many keys.
        budget: usize,
        /// The node's wall clock, in milliseconds since 1970.
        now_ms: i64,
    },
    /// Goes on with making the hash tree, if it does not count all keys or is not as deep as they want.
    Plant {
        /// The host's number.
        ticket: u64,
        /// So many keys are read, about.
        budget: usize,
    },
    /// A step of a comparison that this replica makes with another one: see [`crate::survey`].
    Compare {
        /// The host's number.
        ticket: u64,
        /// Which.
        step: Compare,
    },
    /// Another replica's question, of [`crate::survey::Compared::Question`].
    Respond {
        /// The host's number.
        ticket: u64,
        /// The question.
        question: Bytes,
    },
    /// The states of keys that another replica wants, as many as fit.
    States {
        /// The host's number.
        ticket: u64,
        /// Of [`crate::survey::encode_wants`].
        wants: Bytes,
    },
    /// Joins another replica's states.
    Mend {
        /// The host's number.
        ticket: u64,
        /// Of [`Outcome::States`].
        states: Bytes,
    },
    /// The end of a comparison: all keys that it wanted are mended.
    Finish {
        /// The host's number.
        ticket: u64,
    },
    /// What is known here, for whoever repairs himself from here: see [`crate::delta`]. It is asked for before the first key of a
    /// repair is read, and joined after the last.
    Attest {
        /// The host's number.
        ticket: u64,
    },
    /// About keys that are decided by rounds.
    Rounds {
        /// The host's number.
        ticket: u64,
        /// What.
        task: Task,
    },
    /// Removes what has expired for longer than clocks may differ, and what nobody needs any more.
    Tend {
        /// The host's number.
        ticket: u64,
        /// The node's wall clock, in milliseconds since 1970.
        now_ms: i64,
        /// At most so many keys.
        budget: usize,
    },
}

/// A step of a comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compare {
    /// The first one. What was under way is forgotten.
    Begin {
        /// Names the comparison, and none before.
        session: u64,
        /// What the other says that it knows: [`Outcome::Attested`], asked for before.
        attested: Bytes,
    },
    /// The other has answered.
    Go {
        /// Of [`Outcome::Responded`].
        answer: Bytes,
    },
}

/// Which keys a page shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScanRequest {
    /// After this key; `None` is from the beginning.
    pub after: Option<Bytes>,
    /// Only keys that fit this pattern of Redis.
    pub pattern: Option<Bytes>,
    /// Only keys of this type.
    pub kind: Option<Kind>,
    /// Looks at so many keys at most, of which some may not be shown.
    pub count: usize,
    /// The node's wall clock, in milliseconds since 1970: what has expired is not shown.
    pub now_ms: i64,
}

/// Some keys, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// Those that are to be shown, with their types.
    pub keys: Vec<(Bytes, Kind)>,
    /// Where to go on ([`ScanRequest::after`]); `None` after the last key.
    pub next: Option<Bytes>,
}

/// Why one write was not done. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The operation's own answer.
    #[error(transparent)]
    Op(#[from] OpError),
    /// The key holds so many concurrent values that another one is not taken from a writer who has not seen them. Read the key
    /// again, and write with the context of that.
    #[error("{siblings} concurrent values wait to be read: reread")]
    Reread {
        /// How many there are.
        siblings: usize,
    },
    /// The key's state would be larger than [`crate::MAX_STATE_BYTES`]. Spread it over several keys.
    #[error("the key would take {bytes} bytes, of {limit} at most")]
    TooLarge {
        /// How large it would be.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// What an acceptor has for the key is no value: one of the nodes is broken, or of another version.
    #[error("the key's register does not parse")]
    BadRegister,
    /// The key's name is longer than `althing_types::limits::MAX_KEY_BYTES`.
    #[error("a key of {bytes} bytes, of {limit} at most")]
    KeyTooLong {
        /// How long it is.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}

/// Why a delta was not joined. Nothing has changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoinError {
    /// It is none. Whoever sent it is of another version, or broken.
    #[error("the delta does not parse: {0}")]
    Decode(#[from] DecodeError),
    /// It has events of this replica that this replica does not know: it lost its data and came back under its old name. It must
    /// stop, and begin anew under a new actor.
    #[error("the delta has event {counter} of this replica, which knows only {known}")]
    UnknownOwnEvent {
        /// The event's number.
        counter: u64,
        /// The last one that is known here.
        known: u64,
    },
    /// It is of a replica's own log, and nobody sends that.
    #[error("what was sent belongs to a log")]
    NotForOthers,
    /// So many deltas have overtaken others that there is no room to remember which. Send it again when the older ones, or a
    /// repair, have come.
    #[error("{gaps} gaps in what is known here, of {limit} at most")]
    TooManyGaps {
        /// How many there would be.
        gaps: usize,
        /// What is allowed.
        limit: usize,
    },
}

/// When a delta may leave its replica ([`crate::names`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaves {
    /// At once: it is no matter if its replica forgets it.
    AtOnce,
    /// When it is durable there.
    OnceDurable,
}

/// What became of a job. `index` is what must be durable before the answer leaves the node; a delta may leave before, if it says so.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Of [`Job::Execute`].
    Executed {
        /// The job's.
        ticket: u64,
        /// What it rests on; that of the delta, if there is one.
        index: u64,
        /// The answer.
        reply: Result<Reply, Refusal>,
        /// What has changed: to be logged under `index`, and sent to the other replicas.
        delta: Option<Bytes>,
        /// When it may be sent.
        leaves: Leaves,
    },
    /// Of [`Job::Join`].
    Joined {
        /// The job's.
        ticket: u64,
        /// What it rests on; that of what is to be logged, if there is something.
        index: u64,
        /// To be logged under `index`; `None` if all of it was known.
        logged: Option<Bytes>,
        /// Whether it is now known here, or was before.
        result: Result<(), JoinError>,
    },
    /// Of [`Job::Read`].
    State {
        /// The job's.
        ticket: u64,
        /// What it rests on.
        index: u64,
        /// The key's state and what is known here, for [`crate::evaluate()`].
        state: Bytes,
    },
    /// Of [`Job::Scan`].
    Page {
        /// The job's.
        ticket: u64,
        /// What it rests on.
        index: u64,
        /// The keys.
        page: Page,
    },
    /// A key that [`Job::Flush`] or [`Job::Tend`] has removed, or has forgotten something of. One for each, before the job's own answer.
    Removed {
        /// The job's.
        ticket: u64,
        /// That of the delta.
        index: u64,
        /// To be logged under `index`, then sent to the other replicas.
        delta: Bytes,
    },
    /// Of [`Job::Plant`].
    Planted {
        /// The job's.
        ticket: u64,
        /// What it rests on.
        index: u64,
        /// Whether there is more to be done before the replica can compare.
        rest: Rest,
    },
    /// Of [`Job::Compare`].
    Compared {
        /// The job's.
        ticket: u64,
        /// What it rests on.
        index: u64,
        /// What comes next.
        compared: Compared,
    },
    /// Of [`Job::Respond`].
    Responded {
        /// The job's.
        ticket: u64,
        /// What it rests on.
        index: u64,
        /// The answer; nothing while the tree is not there, or to what is no question.
        answer: Option<Bytes>,
    },
    /// Of [`Job::States`].
    States {
        /// The job's.
        ticket: u64,
        /// What it rests on.
        index: u64,
        /// The states, for [`Job::Mend`].
        states: Bytes,
        /// They are of so many of the first of what was wanted: ask for the rest again.
        answered: usize,
    },
    /// What [`Job::Mend`] has joined of a key. One for each that lacked something, before the job's own answer.
    Taken {
        /// The job's.
        ticket: u64,
        /// That of the delta.
        index: u64,
        /// To be logged under `index`.
        delta: Bytes,
    },
    /// Of [`Job::Mend`].
    Mended {
        /// The job's.
        ticket: u64,
        /// What it rests on.
        index: u64,
        /// What came of it.
        mended: Mended,
    },
    /// Of [`Job::Finish`].
    Finished {
        /// The job's.
        ticket: u64,
        /// What it rests on; that of what is to be logged, if there is something.
        index: u64,
        /// Whether it is.
        finished: Finished,
    },
    /// Of [`Job::Attest`].
    Attested {
        /// The job's.
        ticket: u64,
        /// What it rests on.
        index: u64,
        /// For [`Job::Join`] of another replica.
        delta: Bytes,
    },
    /// Of [`Job::Flush`]: the end of the page.
    Flushed {
        /// The job's.
        ticket: u64,
        /// What it rests on.
        index: u64,
        /// Where to go on; `None` after the last key.
        next: Option<Bytes>,
    },
    /// Of [`Job::Rounds`].
    Rounds {
        /// The job's.
        ticket: u64,
        /// What it rests on; that of what is to be logged, if there is something.
        index: u64,
        /// To be logged under `index`.
        logged: Option<Bytes>,
        /// What became of it.
        told: Told,
    },
    /// Of [`Job::Tend`]: the end of the step.
    Tended {
        /// The job's.
        ticket: u64,
        /// What it rests on.
        index: u64,
        /// Whether there is more to be done at once.
        rest: Rest,
    },
}

/// What is left of background work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Nothing, for now.
    None,
    /// More than the budget allowed.
    Some,
}
