//! Changes of the configuration: what may be proposed, and what applying one does.

use althing_probe::Mark;
use althing_types::NodeId;
use bytes::Bytes;
use raft::{Changer, StateRole};

use crate::conf::{Change, ConfChange, ConfChangeError, conf_change};
use crate::input::Refused;
use crate::replica::Replica;
use crate::types::{ConfState, Entry};

impl Replica {
    pub(crate) fn propose_conf_change(&mut self, change: &ConfChange, data: &Bytes) -> Result<(), Refused> {
        self.flush_proposals();
        let encoded = change.encode(data);
        self.check_proposal(encoded.len())?;
        self.check_conf_change(change)?;
        self.wake();
        let proposed = self.node.propose_conf_change(encoded.to_vec(), change.to_raft());
        proposed.map_err(|_| Refused::Overloaded)?;
        self.metrics.proposals += 1;
        Ok(())
    }

    /// Raft replaces a change that comes at the wrong time by an entry without meaning, and refuses one that makes no
    /// sense only when it is applied. Both are told here, before anything is written.
    fn check_conf_change(&self, change: &ConfChange) -> Result<(), Refused> {
        let raft = &self.node.raft;
        if raft.has_pending_conf() {
            return Err(Refused::ConfChangePending);
        }
        let invalid = |reason: String| Refused::InvalidConfChange { reason };
        match (change, self.conf_state().is_joint()) {
            (ConfChange::LeaveJoint, true) => Ok(()),
            (ConfChange::LeaveJoint, false) => Err(invalid("the configuration is not joint".to_owned())),
            (ConfChange::Change(_) | ConfChange::Hold(_), true) => Err(Refused::ConfChangePending),
            (ConfChange::Change(steps) | ConfChange::Hold(steps), false) => {
                self.check_steps(steps).map_err(invalid)?;
                let raft_change = change.to_raft();
                let mut changer = Changer::new(raft.prs());
                let changed = match raft_change.enter_joint() {
                    Some(auto_leave) => changer.enter_joint(auto_leave, raft_change.get_changes()),
                    None => changer.simple(raft_change.get_changes()),
                };
                changed.map(|_| ()).map_err(|error| invalid(error.to_string()))
            }
        }
    }

    fn check_steps(&self, steps: &[Change]) -> Result<(), String> {
        if steps.is_empty() {
            return Err("it has no steps".to_owned());
        }
        let conf = self.conf_state();
        for (position, step) in steps.iter().enumerate() {
            let node = step.node();
            if node == NodeId::NONE {
                return Err("node 0 is nobody".to_owned());
            }
            if steps[..position].iter().any(|earlier| earlier.node() == node) {
                return Err(format!("node {node} is named twice"));
            }
            let (voter, learner) = (conf.voters.contains(&node), conf.learners.contains(&node));
            match step {
                Change::AddVoter(_) if voter || learner => return Err(format!("node {node} is a member already")),
                Change::AddLearner(_) if learner => return Err(format!("node {node} is a learner already")),
                Change::Promote(_) if !learner => return Err(format!("node {node} is not a learner")),
                Change::Remove(_) if !voter && !learner => return Err(format!("node {node} is not a member")),
                Change::AddVoter(_) | Change::AddLearner(_) | Change::Promote(_) | Change::Remove(_) => {}
            }
        }
        Ok(())
    }

    /// Applies a committed change of the configuration: called in the order of the log, when the entry is handed to the
    /// applier. The result is to be stored in one batch with the applied index. An error is the same on every replica and
    /// means that the entry changes nothing.
    pub fn apply_conf_change(&mut self, entry: &Entry) -> Result<ConfState, ConfChangeError> {
        let (change, _) = conf_change(entry)?;
        self.flush_proposals();
        let applied = self.node.apply_conf_change(&change.to_raft());
        let before = self.conf_state().clone();
        let conf_state = applied
            .map(|state| ConfState::from_raft(&state).made_of(&before, entry.index))
            .map_err(|error| ConfChangeError::Refused { index: entry.index, reason: error.to_string() })?;
        mark(&change);
        self.node.mut_store().set_conf_state(conf_state.clone());
        self.step_down_without_vote(&conf_state);
        self.redraw_election_timeout();
        Ok(conf_state)
    }

    /// A leader that has lost its vote stops leading (dissertation, 4.2.2). The raft crate would have it go on, and panic
    /// at the next entry that it makes durable, having no progress of its own any more.
    fn step_down_without_vote(&mut self, conf_state: &ConfState) {
        let raft = &mut self.node.raft;
        if raft.state == StateRole::Leader && !conf_state.is_voter(self.config.id) {
            althing_probe::hit(Mark::LeaderWithoutVote);
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
    }
}

fn mark(change: &ConfChange) {
    for step in change.steps() {
        match step {
            Change::Promote(_) => althing_probe::hit(Mark::LearnerPromoted),
            Change::Remove(_) => althing_probe::hit(Mark::MemberRemoved),
            Change::AddVoter(_) | Change::AddLearner(_) => {}
        }
    }
}
