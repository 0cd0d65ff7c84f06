//! The leader brings its group to where the map wants it, one safe step at a time.
//!
//! The control plane says where replicas belong and never how to get there; which step is safe is known best by the leader,
//! which sees who has what of its log. It forgets nothing by dying between two steps: the next leader looks again.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::service::DEFAULT_GROUP;
use althing_consensus::{Change, ConfChange, Input, ProgressState};
use althing_meta::{Configuration, GroupReport, Part, Stage as Reported};
use althing_placement::plan::steps::{self, Step};
use althing_placement::{Actual, Placement};
use althing_probe::{Mark, Mutant};
use althing_strong::{Bounds, Stage};
use althing_types::{Duration, Instant, NodeId};
use bytes::Bytes;

use super::confs::Confs;
use super::{Group, Leading};
use crate::context::Context;
use crate::envelope::Standing;

/// A learner that has all but so many entries of the leader's log catches up within the change that promotes it.
const READY_BEHIND: u64 = 64;
/// How long a leader that was told to hand over to another waits before it tries again.
const TRANSFER_EVERY: Duration = Duration::from_secs(5);

/// When a group was last led towards what is wanted of its leadership.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Transfers {
    /// Never.
    #[default]
    None,
    /// At this moment.
    At(Instant),
}

/// What a newcomer must have besides the log before it may vote.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Values {
    /// Nothing.
    #[default]
    None,
    /// The values that converge beside it.
    Beside {
        /// Learners that have said that they do, and in which term: who has led before and leads again may have missed that they went
        /// and came back.
        learners: BTreeMap<NodeId, u64>,
        /// Those of the configuration that a joint one leads to who have said so since it is joint.
        incoming: BTreeSet<NodeId>,
    },
}

impl Group {
    /// Whether this replica leads, and has applied an entry of its own term.
    pub(crate) const fn is_serving_leader(&self) -> bool {
        matches!(self.leading, Leading::Serving { .. })
    }

    /// Takes one step towards what is wanted, if this replica leads and the last step is done.
    pub(crate) fn conform(&mut self, cx: &mut Context<'_>, wanted: &Placement) {
        if !self.is_serving_leader() || self.replica.has_pending_conf_change() || self.replica.conf_state().is_joint() {
            return;
        }
        let actual = Actual { learners: self.own_learners(), ..self.standing() };
        let is_alive = |node: NodeId| self.is_heard(cx, node);
        if althing_probe::is(Mutant::RemoveFirst) && actual.voters.len() == wanted.replicas.len() {
            let mut unwanted = actual.voters.difference(&wanted.replicas).filter(|node| **node != cx.shared.node());
            if let Some(node) = unwanted.next().copied() {
                return self.change(vec![Change::Remove(node)]);
            }
        }
        // Whoever is stuck waits: the control plane sees the same and plans anew.
        let Ok(Some(step)) = steps::next(&actual, wanted, is_alive) else { return };
        match step {
            // A group that has no configuration has no leader.
            Step::Create(_) => {}
            Step::AddLearner(node) => {
                self.expect_values(node);
                self.change(vec![Change::AddLearner(node)]);
            }
            Step::Promote(node) if self.is_ready(node) && self.has_values(node) => {
                self.promote(cx, node, &actual, wanted);
            }
            Step::Promote(_) => {}
            Step::Remove(node) => self.change(vec![Change::Remove(node)]),
            Step::TransferLeader(to) => self.hand_to(cx, to),
        }
    }

    /// Whether nothing is left to do for what is wanted.
    pub(crate) fn is_settled(&self, wanted: &Placement) -> bool {
        let conf = self.replica.conf_state();
        let is_there = conf.learners.is_empty()
            && !conf.is_joint()
            && conf.voters.len() == wanted.replicas.len()
            && conf.voters.iter().all(|voter| wanted.replicas.contains(voter));
        is_there && wanted.leader.is_none_or(|leader| self.leader() == Some(leader))
    }

    /// Whether these are the voters, and no change is half way.
    pub(crate) fn has_voters(&self, voters: &BTreeSet<NodeId>) -> bool {
        let conf = self.replica.conf_state();
        !conf.is_joint() && conf.voters.len() == voters.len() && conf.voters.iter().all(|voter| voters.contains(voter))
    }

    /// Whether the replica has applied the change that took it away, and its log has no later one: that may take it back, and by
    /// having it the replica has said so.
    pub(crate) fn is_left_behind(&self, own: NodeId) -> bool {
        let conf = self.replica.conf_state();
        !conf.voters.is_empty() && !conf.contains(own) && self.confs.logged() <= self.applied.index
    }

    /// Whether clients may be answered from this replica: it votes, or it is a learner of which etcd's members' table knows.
    pub(crate) fn is_for_clients(&self, own: NodeId) -> bool {
        let conf = self.replica.conf_state();
        let known = || self.reader.members().is_ok_and(|members| members.iter().any(|member| member.id == own));
        conf.is_voter(own) || (self.id == DEFAULT_GROUP && (conf.voters.is_empty() || known()))
    }

    pub(crate) const fn applied_index(&self) -> u64 {
        self.applied.index
    }

    /// What meta is told of it.
    pub(crate) fn report(&self) -> GroupReport {
        let conf = self.replica.conf_state();
        GroupReport {
            part: if self.is_serving_leader() { Part::Leads } else { Part::Holds },
            configuration: if conf.is_joint() { Configuration::Joint } else { Configuration::Simple },
            term: self.replica.term(),
            applied: self.applied.index,
            keys: self.reader.key_count(),
            bytes: self.reader.size_bytes(),
            voters: conf.voters.iter().chain(&conf.voters_outgoing).copied().collect(),
            learners: conf.learners.iter().copied().collect(),
            stage: match self.bounds().map(|bounds| bounds.stage) {
                None | Some(Stage::Serving | Stage::Activated(_)) => Reported::Serving,
                Some(Stage::Filling { .. }) => Reported::Filling,
                Some(Stage::Sealed(_)) => Reported::Sealed,
            },
            middle: None,
        }
    }

    /// Which keys of its table the shard holds, and where it is in a split; `None` if it is the whole of a table that is not split
    /// by range.
    pub(crate) fn bounds(&self) -> Option<Bounds> {
        self.reader.bounds()
    }

    /// The key in the middle of a shard that is led here and holds more than so many bytes.
    pub(crate) fn middle_above(&self, bytes: u64) -> Option<Bytes> {
        if !self.is_serving_leader() || self.reader.size_bytes() < bytes {
            return None;
        }
        // A shard whose index cannot be read stops the node elsewhere.
        self.reader.middle().ok().flatten()
    }

    /// Learners that the control plane has added. Those that the members' table calls learners were added by clients, and are
    /// theirs to promote or to remove.
    fn own_learners(&self) -> BTreeSet<NodeId> {
        let mut learners: BTreeSet<_> = self.replica.conf_state().learners.iter().copied().collect();
        if self.id == DEFAULT_GROUP && !learners.is_empty() {
            let members = self.reader.members().unwrap_or_default();
            for member in members.iter().filter(|member| member.is_learner) {
                learners.remove(&member.id);
            }
        }
        learners
    }

    /// Where the replicas are.
    pub(crate) fn standing(&self) -> Actual {
        let conf = self.replica.conf_state();
        Actual {
            voters: conf.voters.iter().chain(&conf.voters_outgoing).copied().collect(),
            learners: conf.learners.iter().copied().collect(),
            leader: self.leader(),
        }
    }

    /// A newcomer votes from now on. If another voter is to go, it goes with the same change, through a joint configuration, so
    /// that there is never an even number of them.
    fn promote(&mut self, cx: &Context<'_>, node: NodeId, actual: &Actual, wanted: &Placement) {
        let unwanted: BTreeSet<_> = actual.voters.difference(&wanted.replicas).copied().collect();
        let rank = |voter: &NodeId| (self.is_heard(cx, *voter), *voter);
        let leaving = unwanted.into_iter().filter(|voter| *voter != cx.shared.node()).min_by_key(rank);
        althing_probe::hit(Mark::LearnerPromotedByMap);
        if leaving.is_some_and(|leaving| !self.is_heard(cx, leaving)) {
            althing_probe::hit(Mark::SilentReplicaReplaced);
        }
        let steps: Vec<_> = [Change::Promote(node)].into_iter().chain(leaving.map(Change::Remove)).collect();
        match &mut self.values {
            Values::Beside { incoming, .. } if steps.len() > 1 => {
                incoming.clear();
                let _ = self.offer(Input::ProposeConfChange { change: ConfChange::Hold(steps), data: Bytes::new() });
            }
            Values::None | Values::Beside { .. } => self.change(steps),
        }
    }

    /// Whether this replica leads in a joint configuration that it is to leave some time.
    pub(crate) fn stands_joint(&self) -> bool {
        let conf = self.replica.conf_state();
        self.is_serving_leader() && conf.is_joint() && !conf.auto_leave && !self.replica.has_pending_conf_change()
    }

    /// The new replicas stand alone when most of them have what was acknowledged before anybody knew of them: they have compared all
    /// keys with most of the old ones, each of whom knew of the change by then. What was acknowledged later is on most of both. A
    /// newcomer that is alive is waited for: where strings are decided by rounds it copies what the others have accepted, and
    /// if whoever goes went before, what it had accepted with one other alone would hang on that one.
    pub(crate) fn leave_joint(&mut self, cx: &Context<'_>) {
        let Values::Beside { incoming, .. } = &self.values else { return };
        let conf = self.replica.conf_state();
        let have = conf.voters.iter().filter(|voter| incoming.contains(voter)).count();
        let is_new = |voter: &&NodeId| !conf.voters_outgoing.contains(voter);
        let is_awaited = |voter: &NodeId| !incoming.contains(voter) && self.is_heard(cx, *voter);
        if !self.stands_joint() || have <= conf.voters.len() / 2 || conf.voters.iter().filter(is_new).any(is_awaited) {
            return;
        }
        // A leader that is being replaced refuses it; its successor looks again.
        let _ = self.offer(Input::ProposeConfChange { change: ConfChange::LeaveJoint, data: Bytes::new() });
    }

    /// Proposes a change of the configuration of which the state machine need not know.
    fn change(&mut self, steps: Vec<Change>) {
        // A leader that is being replaced refuses it; its successor looks again.
        let _ = self.offer(Input::ProposeConfChange { change: ConfChange::Change(steps), data: Bytes::new() });
    }

    fn hand_to(&mut self, cx: &Context<'_>, to: NodeId) {
        let due = match self.transfers {
            Transfers::None => true,
            Transfers::At(last) => cx.now.since(last) >= TRANSFER_EVERY,
        };
        if due && self.is_ready(to) {
            self.transfers = Transfers::At(cx.now);
            self.step(Input::TransferLeader { to });
        }
    }

    /// Whether a member has nearly all of the leader's log.
    fn is_ready(&self, node: NodeId) -> bool {
        self.replica.progress(node).is_some_and(|progress| match progress.state {
            ProgressState::Replicate => progress.match_index + READY_BEHIND >= self.replica.commit(),
            // Whoever was not heard for a moment is probed with the next entry, and where no client writes there is none.
            ProgressState::Probe => progress.match_index >= self.replica.commit(),
            ProgressState::Snapshot => false,
        })
    }

    /// Whether a newcomer has the values that converge beside the log, if there are any.
    fn has_values(&self, node: NodeId) -> bool {
        match &self.values {
            Values::None => true,
            Values::Beside { learners, .. } => learners.get(&node) == Some(&self.replica.term()),
        }
    }

    /// A replica says that it has compared all values with most of the voters.
    pub(crate) fn values_filled(&mut self, node: NodeId, standing: Standing) {
        // Whoever does not lead would keep what was said until it does.
        if !self.is_leader() {
            return;
        }
        let term = self.replica.term();
        let is_joint = self.replica.conf_state().is_joint();
        match (&mut self.values, standing) {
            (Values::Beside { learners, .. }, Standing::Learner) => {
                learners.insert(node, term);
            }
            // What is said of a joint configuration that is over counts for no other.
            (Values::Beside { incoming, .. }, Standing::Incoming) if is_joint => {
                incoming.insert(node);
            }
            (Values::None, Standing::Learner | Standing::Incoming) | (Values::Beside { .. }, Standing::Incoming) => {}
        }
    }

    /// A node is to come that may have been there before: what it said then was of another replica.
    fn expect_values(&mut self, node: NodeId) {
        match &mut self.values {
            Values::None => {}
            Values::Beside { learners, .. } => {
                learners.remove(&node);
            }
        }
    }

    /// Whoever leads is told, and told again: what an earlier leader was told may be of another configuration.
    pub(super) fn forget_filled(&mut self) {
        match &mut self.values {
            Values::None => {}
            Values::Beside { learners, incoming } => {
                learners.clear();
                incoming.clear();
            }
        }
    }

    /// The shard's values converge beside the log.
    pub(crate) fn keep_values_beside(&mut self) {
        self.values = Values::Beside { learners: BTreeMap::new(), incoming: BTreeSet::new() };
    }

    /// With most of whom this node's replica has to compare all values before it may say so, and as what; nobody if it need not.
    pub(crate) fn to_be_compared(&self, own: NodeId) -> Option<(&[NodeId], Standing)> {
        let conf = self.replica.conf_state();
        if conf.is_joint() && conf.voters.contains(&own) {
            return Some((&conf.voters_outgoing, Standing::Incoming));
        }
        (conf.contains(own) && !conf.is_voter(own)).then_some((conf.voters.as_slice(), Standing::Learner))
    }

    /// The changes of the configuration that it has seen.
    pub(crate) const fn confs(&self) -> Confs {
        self.confs
    }

    /// Whether a member was heard of lately; of newcomers the control plane has said so. It decides what is tried, never what
    /// is true: each change needs a quorum.
    fn is_heard(&self, cx: &Context<'_>, node: NodeId) -> bool {
        node == cx.shared.node() || !self.replica.conf_state().contains(node) || cx.shared.peers.is_heard(cx.now, node)
    }
}
