//! Space-time diagrams as text: one column per node, time downwards, frames as arrows where they arrive, and in the margin
//! what clients said and what went wrong. (The picture is Lamport's, "Time, clocks, and the ordering of events", 1978.)
//!
//! ```text
//!   time s     1           2           3
//!            F t2        L t2        F t2
//!   3.204118  │           ┃           │        c4 → 2: put r/1 = 57
//!   3.204630  ◀──append───┃───append──▶
//!   3.205007  │           ┃           ╳        ⚡ crash 3
//!   3.205544  ────ack─────▶
//! ```
//!
//! [`Recorder`] takes part in a run and keeps what happens within a window; [`draw`](draw::draw) makes the picture.

pub mod draw;
mod rows;
mod words;

use std::collections::BTreeMap;

use althing_types::{Duration, Instant, NodeId};

use crate::faults::Fault;
use crate::scenario::text::Span;

pub(crate) use words::{ask, label, news};

/// What a node is, as far as its column shows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Standing {
    /// Nothing runs.
    #[default]
    Down,
    /// Its process stands still.
    Paused,
    /// It runs and holds no replica, or one that waits for its state.
    Recovering,
    /// It follows.
    Follower,
    /// It follows without a vote.
    Learner,
    /// It asks whether it could win an election.
    PreCandidate,
    /// It stands for election.
    Candidate,
    /// It leads.
    Leader,
    /// It is no member any more.
    Removed,
}

/// A node at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Column {
    /// What it is.
    pub standing: Standing,
    /// Its term; zero where nothing runs.
    pub term: u64,
}

/// Something that is worth a place in the picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A frame arrives.
    Frame {
        /// From here.
        from: NodeId,
        /// There.
        to: NodeId,
        /// The kinds of its messages, each once.
        label: String,
    },
    /// A node is something else from now on.
    Stands {
        /// Which.
        node: NodeId,
        /// What.
        column: Column,
    },
    /// A client's word arrives at a node.
    Asked {
        /// Whose.
        client: u64,
        /// Where.
        node: NodeId,
        /// What it says.
        words: String,
    },
    /// Something reaches a client.
    Told {
        /// Whom.
        client: u64,
        /// What it says.
        words: String,
    },
    /// A fault begins or ends.
    Fault(Fault),
    /// The run comes to its next phase.
    Phase(String),
    /// A promise is broken.
    Finding(String),
}

/// Something at its moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// A piece of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    /// From when to when, counted from the start of the run.
    pub window: Span,
    /// What the nodes were when it began.
    pub first: BTreeMap<NodeId, Column>,
    /// What happened, in order.
    pub steps: Vec<Step>,
}

/// Keeps what happens within a window.
#[derive(Debug)]
pub struct Recorder {
    recording: Recording,
    now: BTreeMap<NodeId, Column>,
}

impl Recorder {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(window: Span) -> Self {
        Self { recording: Recording { window, first: BTreeMap::new(), steps: Vec::new() }, now: BTreeMap::new() }
    }

    /// Whether it wants to know what happens now.
    #[must_use]
    pub fn is_open(&self, at: Instant) -> bool {
        let Span { least, most } = self.recording.window;
        (least..=most).contains(&since_start(at))
    }

    /// Something happens.
    pub fn add(&mut self, at: Instant, what: What) {
        if self.is_open(at) {
            self.recording.steps.push(Step { at, what });
        }
    }

    /// A node is seen as it is. Only a change is worth a step.
    pub fn sees(&mut self, at: Instant, node: NodeId, column: Column) {
        if self.now.insert(node, column) == Some(column) {
            return;
        }
        if since_start(at) < self.recording.window.least {
            self.recording.first.insert(node, column);
        } else {
            self.add(at, What::Stands { node, column });
        }
    }

    /// What it has kept.
    #[must_use]
    pub fn finish(self) -> Recording {
        self.recording
    }
}

/// A founder's number, or the last digits of the id of a member that joined later.
pub(crate) fn short(node: NodeId) -> String {
    let id = node.to_string();
    let skip = id.chars().count().saturating_sub(4);
    if skip == 0 { id } else { format!("…{}", &id[skip..]) }
}

/// How long after the start of the run.
pub(crate) fn since_start(at: Instant) -> Duration {
    at.since(Instant::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const LEADER: Column = Column { standing: Standing::Leader, term: 2 };

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn recorder() -> Recorder {
        Recorder::new(Span { least: Duration::from_millis(10), most: Duration::from_millis(20) })
    }

    #[test]
    fn only_what_happens_within_the_window_is_kept() {
        let mut recorder = recorder();
        for millis in [5, 10, 20, 21] {
            recorder.add(at(millis), What::Phase("x".into()));
        }
        let times: Vec<Instant> = recorder.finish().steps.iter().map(|step| step.at).collect();
        assert_eq!(times, [at(10), at(20)]);
    }

    #[test]
    fn what_nodes_were_before_the_window_is_remembered_and_only_changes_are_steps() {
        let mut recorder = recorder();
        recorder.sees(at(3), A, Column::default());
        recorder.sees(at(5), A, LEADER);
        recorder.sees(at(12), A, LEADER);
        recorder.sees(at(13), A, Column::default());
        let recording = recorder.finish();
        assert_eq!(recording.first[&A], LEADER);
        assert_eq!(recording.steps.len(), 1);
    }
}
