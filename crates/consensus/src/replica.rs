//! The replica itself: its parts, how inputs come in, and what can be asked of it.

use std::ops::Range;

use althing_probe::{Mark, Mutant};
use althing_types::{Instant, NodeId, limits};
use raft::eraftpb::{self, MessageType};
use raft::{RawNode, SnapshotStatus, StateRole};

use crate::config::{Config, Recovered, RecoveryError};
use crate::effects::{Effects, Metrics};
use crate::hibernation::Activity;
use crate::input::{Input, Refused};
use crate::log::Log;
use crate::logger::logger;
use crate::message::{Body, Message};
use crate::proposals::Proposals;
use crate::reads::WaitingReads;
use crate::role::{Progress, ProgressState, Role};
use crate::snapshot::Installing;
use crate::turn::Syncs;
use crate::types::{ConfState, Entry, HardState, LogPosition};

/// One replica of one group.
///
/// The driver calls, in this order: [`new`](Self::new) once; then per turn any number of [`handle`](Self::handle),
/// [`install_snapshot`](Self::install_snapshot) and [`apply_conf_change`](Self::apply_conf_change), and
/// [`ready`](Self::ready) at its end. Everything else only looks.
pub struct Replica {
    pub(crate) config: Config,
    pub(crate) node: RawNode<Log>,
    pub(crate) proposals: Proposals,
    pub(crate) waiting_reads: WaitingReads,
    pub(crate) syncs: Syncs,
    pub(crate) installing: Option<Installing>,
    pub(crate) activity: Activity,
    pub(crate) metrics: Metrics,
    seen: Seen,
}

/// The role as the host last heard of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    role: Role,
    term: u64,
}

impl Replica {
    /// Builds a replica from what its log and its state machine hold. Committed entries above `applied` come out again
    /// with the first turns.
    pub fn new(config: Config, recovered: Recovered) -> Result<Self, RecoveryError> {
        let recovered = recovered.checked()?;
        let applied = recovered.applied;
        let term = recovered.hard_state.term;
        let Recovered { hard_state, conf_state, truncated, entries, .. } = recovered;
        let log = Log::new(truncated, entries, applied, hard_state, conf_state);
        let node = RawNode::new(&config.to_raft(applied)?, log, &logger(&config))
            .map_err(|error| RecoveryError::Config(error.to_string()))?;
        let mut replica = Self {
            config,
            node,
            proposals: Proposals::default(),
            waiting_reads: WaitingReads::default(),
            syncs: Syncs::new(hard_state),
            installing: None,
            activity: Activity::AWAKE,
            metrics: Metrics::default(),
            seen: Seen { role: Role::Recovering, term },
        };
        replica.seen.role = replica.role();
        replica.redraw_election_timeout();
        Ok(replica)
    }

    /// Takes one input in. A refusal means that nothing happened; inputs that cannot be refused always answer `Ok`.
    pub fn handle(&mut self, _now: Instant, input: Input, out: &mut Effects) -> Result<(), Refused> {
        let mut answer = Ok(());
        match input {
            Input::Tick => self.tick(),
            Input::Step(message) => self.step(message, out),
            Input::Propose { data } => answer = self.propose(data),
            Input::ProposeConfChange { change, data } => answer = self.propose_conf_change(&change, &data),
            Input::ReadIndex { context } => self.read_index(context),
            Input::TransferLeader { to } => answer = self.transfer_leader(to),
            Input::Campaign => self.campaign(),
            Input::Persisted { seq } => self.persisted(seq, out),
            Input::Applied { index } => self.advance_applied(index),
            Input::Unreachable(peer) => self.node.report_unreachable(peer.get()),
            Input::SnapshotSent { to, ok } => self.snapshot_sent(to, ok),
            Input::Truncate { index } => self.truncate(index),
            Input::Wake => self.wake_group(out),
        }
        self.metrics.refused += u64::from(answer.is_err());
        self.finish_input(out);
        answer
    }

    fn tick(&mut self) {
        match self.activity {
            Activity::Asleep => {}
            Activity::Awake { .. } | Activity::Settling { .. } if !self.may_campaign() => {
                althing_probe::hit(Mark::ElectionPutOff);
            }
            Activity::Awake { .. } | Activity::Settling { .. } => {
                self.flush_proposals();
                let led = self.node.raft.state == StateRole::Leader;
                let term = self.node.raft.term;
                self.node.tick();
                if led && self.node.raft.state == StateRole::Follower && self.node.raft.term == term {
                    althing_probe::hit(Mark::QuorumLost);
                }
                self.tick_activity();
            }
        }
    }

    /// Whether the raft crate can hold an election without breaking an assertion of its own: see [`Installing`]; and a
    /// sole voter, who wins at once, must have made durable all that it holds.
    fn may_campaign(&self) -> bool {
        let raft = &self.node.raft;
        let sole_voter = raft.prs().is_singleton() && raft.state != StateRole::Leader;
        let all_durable = self.syncs.is_idle() && raft.raft_log.persisted == raft.raft_log.last_index();
        self.installing.is_none() && (!sole_voter || all_durable)
    }

    fn step(&mut self, message: Message, out: &mut Effects) {
        if message.to != self.config.id || message.from == self.config.id {
            return;
        }
        if message.term() > self.term() {
            self.flush_proposals();
        }
        match message.body {
            Body::Signal(signal) => self.step_signal(message.from, signal, out),
            Body::Raft(raft) if self.is_stale_rejection(&raft) => {}
            Body::Raft(raft) => {
                self.wake_for(&raft);
                let kind = raft.get_msg_type();
                if kind == MessageType::MsgReadIndex {
                    self.step_read(raft);
                } else if kind != MessageType::MsgTimeoutNow {
                    self.step_raft(mutated(raft));
                    self.commit_by_counting();
                } else if self.may_campaign() {
                    althing_probe::hit(Mark::HandoverReceived);
                    self.step_raft(raft);
                }
            }
        }
    }

    /// Gives a message to Raft, which answers with an error if it comes from a stranger or cannot be served: then it is
    /// as if it had been lost, which every message may be.
    pub(crate) fn step_raft(&mut self, message: eraftpb::Message) {
        if let Err(error) = self.node.step(message) {
            tracing::trace!(group = %self.config.group, %error, "a message has no effect");
        }
    }

    /// What figure 8 of the Raft paper forbids, as a mutant: an entry of an earlier term that a quorum holds counts as
    /// committed.
    fn commit_by_counting(&mut self) {
        if althing_probe::is(Mutant::CommitEarlierTerm) && self.node.raft.state == StateRole::Leader {
            let (index, _) = self.node.raft.mut_prs().maximal_committed_index();
            self.node.raft.raft_log.commit_to(index);
        }
    }

    /// A rejection of what the follower is known to hold came late or twice. The raft crate would believe it while it
    /// probes (tikv/raft-rs#555): it would send again what is there, and where the log no longer has that, a snapshot.
    fn is_stale_rejection(&self, message: &eraftpb::Message) -> bool {
        message.get_msg_type() == MessageType::MsgAppendResponse
            && message.reject
            && message.request_snapshot == raft::INVALID_INDEX
            && self.node.raft.prs().get(message.from).is_some_and(|progress| message.index <= progress.matched)
    }

    fn transfer_leader(&mut self, to: NodeId) -> Result<(), Refused> {
        self.flush_proposals();
        self.check_leader()?;
        if !self.conf_state().voters.contains(&to) {
            return Err(Refused::NotVoter { node: to });
        }
        self.wake();
        self.node.transfer_leader(to.get());
        Ok(())
    }

    fn campaign(&mut self) {
        self.wake();
        let promotable = self.node.raft.promotable();
        if promotable && self.may_campaign() {
            // Refused while a committed change of the configuration waits to be applied: the next timeout tries again.
            if let Err(error) = self.node.campaign() {
                tracing::debug!(group = %self.config.group, %error, "no election is held");
            }
        }
    }

    /// The state machine stands at `index`. What it had before a snapshot was installed may still be reported after.
    pub(crate) fn advance_applied(&mut self, index: u64) {
        if self.installing.is_none() && index > self.node.raft.raft_log.applied {
            self.flush_proposals();
            self.node.mut_store().set_applied(index);
            self.node.advance_apply_to(index);
        }
    }

    fn snapshot_sent(&mut self, to: NodeId, ok: bool) {
        let status = if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.node.report_snapshot(to.get(), status);
    }

    fn truncate(&mut self, index: u64) {
        if self.installing.is_none() {
            let applied = self.applied();
            self.node.mut_store().truncate(index.min(applied));
        }
    }

    /// After everything that the raft crate was told: its random draw is replaced by ours, and the host hears of a new
    /// role.
    pub(crate) fn finish_input(&mut self, out: &mut Effects) {
        self.redraw_election_timeout();
        let seen = Seen { role: self.role(), term: self.term() };
        if seen != self.seen {
            self.count_role(self.seen.role, seen.role);
            self.seen = seen;
            out.role_changed = Some(seen.role);
        }
    }

    fn count_role(&mut self, before: Role, after: Role) {
        let campaigns = |role| matches!(role, Role::PreCandidate | Role::Candidate);
        let led_by = |role| match role {
            Role::Leader { .. } => Some(self.config.id),
            Role::Follower { leader } | Role::Learner { leader } => leader,
            Role::Recovering | Role::PreCandidate | Role::Candidate | Role::Removed => None,
        };
        let leads = |role| matches!(role, Role::Leader { .. });
        let metrics = &mut self.metrics;
        metrics.role_changes += 1;
        metrics.elections_started += u64::from(campaigns(after) && !campaigns(before));
        metrics.elections_won += u64::from(leads(after) && !leads(before));
        metrics.leader_changes += u64::from(led_by(after).is_some() && led_by(after) != led_by(before));
    }

    /// The raft crate draws election timeouts from the thread's random generator whenever it likes. Overwriting the draw
    /// after every call, with a value that depends on the term alone, makes the replica deterministic.
    pub(crate) fn redraw_election_timeout(&mut self) {
        let timeout = self.config.election_timeout_of(self.node.raft.term);
        self.node.raft.set_randomized_election_timeout(timeout);
    }

    /// The role at this moment.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.node.raft.state {
            StateRole::Leader if self.leads() => Role::Leader { transferring: self.transferring() },
            StateRole::Leader => Role::Candidate,
            StateRole::Candidate => Role::Candidate,
            StateRole::PreCandidate => Role::PreCandidate,
            StateRole::Follower => self.role_of_follower(),
        }
    }

    fn role_of_follower(&self) -> Role {
        let (conf, own, leader) = (self.conf_state(), self.config.id, self.leader());
        if self.installing.is_some() || conf.voters.is_empty() {
            Role::Recovering
        } else if conf.is_voter(own) {
            Role::Follower { leader }
        } else if conf.learners.contains(&own) {
            Role::Learner { leader }
        } else {
            Role::Removed
        }
    }

    /// The current term.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// The leader of the current term, if known; it may be this node.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        let leader = NodeId(self.node.raft.leader_id);
        let known = leader != NodeId::NONE && (leader != self.config.id || self.leads());
        known.then_some(leader)
    }

    /// Leads, and will remember that it does. A sole voter elects itself before its vote is durable; were it believed, a
    /// crash could make it forget the term, and somebody else could lead the same one.
    pub(crate) fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader && self.is_term_durable()
    }

    pub(crate) fn transferring(&self) -> Option<NodeId> {
        self.node.raft.lead_transferee.map(NodeId)
    }

    /// The commit index.
    #[must_use]
    pub fn commit(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    /// The applied index, as the host reported it.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.node.raft.raft_log.applied
    }

    /// The last index of the log, durable or not.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    /// Whether there may be a change of the configuration in the log that is not applied yet.
    #[must_use]
    pub fn has_pending_conf_change(&self) -> bool {
        self.node.raft.has_pending_conf()
    }

    /// The configuration as last applied.
    #[must_use]
    pub fn conf_state(&self) -> &ConfState {
        self.node.store().conf_state()
    }

    /// The hard state as last given out to be made durable.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.node.store().hard_state()
    }

    /// The position before the first entry that the log still has.
    #[must_use]
    pub fn truncated(&self) -> LogPosition {
        self.node.store().truncated()
    }

    /// What the leader knows of a member; `None` from everybody else.
    #[must_use]
    pub fn progress(&self, node: NodeId) -> Option<Progress> {
        if !self.leads() {
            return None;
        }
        self.node.raft.prs().get(node.get()).map(|progress| Progress {
            match_index: progress.matched,
            next_index: progress.next_idx,
            state: match progress.state {
                raft::ProgressState::Probe => ProgressState::Probe,
                raft::ProgressState::Replicate => ProgressState::Replicate,
                raft::ProgressState::Snapshot => ProgressState::Snapshot,
            },
            recent_active: progress.recent_active,
        })
    }

    /// Bytes that the log takes in memory.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.node.store().bytes()
    }

    /// Entries of the log within `range`, as far as they are there and were given out by [`ready`](Self::ready).
    #[must_use]
    pub fn entries(&self, range: Range<u64>) -> Vec<Entry> {
        self.node.store().entries(range)
    }

    /// The term of the entry at `index`, if the log has it; the truncated position counts.
    #[must_use]
    pub fn term_at(&self, index: u64) -> Option<u64> {
        self.node.store().term_at(index)
    }

    /// What the replica has done so far.
    #[must_use]
    pub const fn metrics(&self) -> Metrics {
        self.metrics
    }
}

/// A message as a mutant reads it: every candidate's log is as long as can be.
fn mutated(mut message: eraftpb::Message) -> eraftpb::Message {
    let asks_for_vote = matches!(message.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
    if asks_for_vote && althing_probe::is(Mutant::VoteForShortLogs) {
        (message.index, message.log_term) = (u64::MAX, u64::MAX);
    }
    message
}

impl Config {
    fn to_raft(&self, applied: u64) -> Result<raft::Config, RecoveryError> {
        if self.id == NodeId::NONE {
            return Err(RecoveryError::Config("node 0 is nobody".to_owned()));
        }
        Ok(raft::Config {
            id: self.id.get(),
            election_tick: self.election_timeout.start as usize,
            min_election_tick: self.election_timeout.start as usize,
            max_election_tick: self.election_timeout.end as usize,
            heartbeat_tick: self.heartbeat_ticks as usize,
            applied,
            max_size_per_msg: limits::MAX_APPEND_BYTES as u64,
            max_inflight_msgs: limits::MAX_INFLIGHT_APPENDS,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            max_uncommitted_size: limits::MAX_UNCOMMITTED_BYTES as u64,
            // A turn takes several of these, until it has enough.
            max_committed_size_per_ready: limits::MAX_APPEND_BYTES as u64,
            ..raft::Config::default()
        })
    }
}
