//! Sleep: a group without traffic stops ticking, and so costs nothing.
//!
//! ```text
//!          quiet for hibernate_after_ticks,               all members sleep
//!          all members heard of
//!   Awake ─────────────────────────────────► Settling ─────────────────────► Asleep      the leader
//!     ▲                                         │                              │
//!     └──── an election timeout has passed ─────┘                              │
//!     └──────── anything happens: heartbeats at once ──────────────────────────┘
//!
//!   Awake ────── Hibernate of its leader, and it stands exactly there ───────► Asleep      a follower
//!     ▲                                                                        │
//!     └────────── any other message; Input::Wake also wakes the leader ────────┘
//! ```
//!
//! Sleep is about liveness alone: it changes when a replica ticks, never what it answers. A settling leader still
//! ticks, and its heartbeats say `Hibernate`; whoever misses one goes on ticking, asks for an election in time, and so
//! wakes the leader, whose heartbeat ends that election before it begins (pre-vote disturbs nobody).
//!
//! A sleeping leader's quorum check stands still with its ticks. Whoever wakes, leader or follower, starts a whole election
//! timeout anew: neither does the leader step down, nor a follower campaign, because of silence while both slept. For a
//! woken follower this also means that it refuses its vote for one timeout more; that is the price of the leader's
//! death in its sleep.

use std::collections::BTreeSet;

use althing_probe::Mark;
use althing_types::NodeId;
use raft::StateRole;
use raft::eraftpb::{self, MessageType};

use crate::effects::Effects;
use crate::message::Message;
use crate::replica::Replica;

/// What replicas say to each other about sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    /// From the leader, in place of a heartbeat: all is committed up to here, and I would like to sleep.
    Hibernate { term: u64, commit: u64 },
    /// From a follower that stands exactly there: I sleep.
    Hibernating { term: u64, commit: u64 },
    /// From a follower that was woken: wake up, and let us hear of you.
    Awaken { term: u64 },
}

impl Signal {
    pub(crate) const fn term(self) -> u64 {
        match self {
            Self::Hibernate { term, .. } | Self::Hibernating { term, .. } | Self::Awaken { term } => term,
        }
    }
}

/// How awake a replica is.
#[derive(Clone, Debug)]
pub(crate) enum Activity {
    /// It ticks.
    Awake {
        /// Ticks since the leader last had anything to do.
        quiet_ticks: u32,
    },
    /// A leader that ticks and asks the others to sleep.
    Settling {
        /// Who sleeps already.
        asleep: BTreeSet<NodeId>,
        /// Ticks since it began.
        ticks: u32,
    },
    /// It does not tick.
    Asleep,
}

impl Activity {
    pub(crate) const AWAKE: Self = Self::Awake { quiet_ticks: 0 };
}

impl Replica {
    /// Whether the replica sleeps: it needs no ticks until something happens.
    #[must_use]
    pub const fn is_hibernating(&self) -> bool {
        match self.activity {
            Activity::Asleep => true,
            Activity::Awake { .. } | Activity::Settling { .. } => false,
        }
    }

    /// Changes when the group may sleep, `None` for never: a host whose clients hold leases or watches keeps it awake.
    pub fn set_hibernate_after(&mut self, ticks: Option<u32>) {
        self.config.hibernate_after_ticks = ticks;
        if ticks.is_none() {
            self.wake();
        }
    }

    /// Ends sleep. A leader lets everybody hear of it at once.
    pub(crate) fn wake(&mut self) {
        match std::mem::replace(&mut self.activity, Activity::AWAKE) {
            Activity::Awake { .. } => {}
            Activity::Settling { .. } => self.node.ping(),
            Activity::Asleep => {
                althing_probe::hit(Mark::Woken);
                self.node.raft.election_elapsed = 0;
                self.node.ping();
            }
        }
    }

    /// Somebody on this node wants the group awake. A follower's own wakefulness would end in an election.
    pub(crate) fn wake_group(&mut self, out: &mut Effects) {
        let slept = self.is_hibernating();
        self.wake();
        if let (true, Some(leader)) = (slept, self.leader())
            && leader != self.config.id
        {
            let signal = Signal::Awaken { term: self.term() };
            out.messages.push(Message::signal(self.config.id, leader, signal));
        }
    }

    /// Wakes for a message of Raft, unless it is a late answer to a leader that sleeps already.
    pub(crate) fn wake_for(&mut self, message: &eraftpb::Message) {
        let late_answer = self.node.raft.state == StateRole::Leader
            && message.term == self.term()
            && !message.reject
            && message.context.is_empty()
            && matches!(message.get_msg_type(), MessageType::MsgHeartbeatResponse | MessageType::MsgAppendResponse);
        match self.activity {
            Activity::Asleep | Activity::Settling { .. } if !late_answer => self.wake(),
            Activity::Asleep | Activity::Settling { .. } | Activity::Awake { .. } => {}
        }
    }

    pub(crate) fn step_signal(&mut self, from: NodeId, signal: Signal, out: &mut Effects) {
        match signal {
            Signal::Hibernate { term, commit } => self.hibernate(from, term, commit, out),
            Signal::Hibernating { term, commit } => self.follower_sleeps(from, term, commit),
            Signal::Awaken { term } => {
                if term <= self.term() {
                    self.wake();
                }
            }
        }
    }

    /// A follower's side: the message is a heartbeat first, and then leave to sleep.
    fn hibernate(&mut self, from: NodeId, term: u64, commit: u64, out: &mut Effects) {
        let slept = self.is_hibernating();
        let mut heartbeat = eraftpb::Message {
            from: from.get(),
            to: self.config.id.get(),
            term,
            commit: commit.min(self.last_index()),
            ..eraftpb::Message::default()
        };
        heartbeat.set_msg_type(MessageType::MsgHeartbeat);
        self.step_raft(heartbeat);
        let raft = &self.node.raft;
        let follows = raft.state == StateRole::Follower && raft.term == term && raft.leader_id == from.get();
        let stands_there = raft.raft_log.last_index() == commit
            && raft.raft_log.committed == commit
            && raft.raft_log.persisted == commit
            && self.installing.is_none();
        if follows && stands_there && self.config.hibernate_after_ticks.is_some() {
            self.metrics.hibernations += u64::from(!slept);
            self.activity = Activity::Asleep;
            let signal = Signal::Hibernating { term, commit };
            out.messages.push(Message::signal(self.config.id, from, signal));
        } else {
            self.wake();
        }
    }

    /// The leader's side: one more sleeps.
    fn follower_sleeps(&mut self, from: NodeId, term: u64, commit: u64) {
        let current = term == self.term() && commit == self.commit();
        match &mut self.activity {
            Activity::Settling { asleep, .. } if current => {
                asleep.insert(from);
                self.sleep_if_all_do();
            }
            Activity::Settling { .. } | Activity::Awake { .. } | Activity::Asleep => {}
        }
    }

    fn sleep_if_all_do(&mut self) {
        let Activity::Settling { asleep, .. } = &self.activity else { return };
        let own = self.config.id;
        if self.conf_state().members().iter().all(|node| *node == own || asleep.contains(node)) {
            self.metrics.hibernations += 1;
            althing_probe::hit(Mark::Hibernated);
            self.activity = Activity::Asleep;
        }
    }

    /// After each tick of a replica that is awake.
    pub(crate) fn tick_activity(&mut self) {
        let Some(hibernate_after) = self.config.hibernate_after_ticks else { return };
        let quiet = self.is_quiet();
        match &mut self.activity {
            Activity::Awake { quiet_ticks } if !quiet => *quiet_ticks = 0,
            Activity::Awake { quiet_ticks } => {
                *quiet_ticks = quiet_ticks.saturating_add(1);
                if *quiet_ticks >= hibernate_after && self.all_recently_active() {
                    self.activity = Activity::Settling { asleep: BTreeSet::new(), ticks: 0 };
                    self.node.ping();
                    self.sleep_if_all_do();
                }
            }
            Activity::Settling { ticks, .. } => {
                *ticks += 1;
                if !quiet || *ticks >= self.config.election_timeout.start {
                    self.wake();
                }
            }
            Activity::Asleep => {}
        }
    }

    /// A leader with nothing to do and nothing to wait for, whose followers have all there is.
    fn is_quiet(&self) -> bool {
        let raft = &self.node.raft;
        let log = &raft.raft_log;
        let last = log.last_index();
        raft.state == StateRole::Leader
            && self.transferring().is_none()
            && self.proposals.is_empty()
            && self.waiting_reads.is_empty()
            && raft.pending_read_count() == 0
            && log.committed == last
            && log.persisted == last
            && log.applied == last
            && !self.conf_state().is_joint()
            && raft.prs().iter().all(|(_, progress)| progress.matched == last)
    }

    fn all_recently_active(&self) -> bool {
        let raft = &self.node.raft;
        raft.prs().iter().all(|(id, progress)| *id == raft.id || progress.recent_active)
    }

    /// A settling leader's heartbeat is its proposal to sleep.
    pub(crate) fn as_hibernate(&self, message: &eraftpb::Message) -> Option<Signal> {
        match self.activity {
            Activity::Settling { .. }
                if message.get_msg_type() == MessageType::MsgHeartbeat
                    && message.context.is_empty()
                    && message.commit == self.commit()
                    && message.term == self.term() =>
            {
                Some(Signal::Hibernate { term: message.term, commit: message.commit })
            }
            Activity::Settling { .. } | Activity::Awake { .. } | Activity::Asleep => None,
        }
    }
}
