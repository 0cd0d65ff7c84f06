//! Which convergent shards have something to be done, and when. Of a thousand shards nearly all have nothing, and cost nothing.

use std::collections::{BTreeMap, BTreeSet};

use althing_convergent::Job;
use althing_types::{GroupId, Instant, NodeId};

/// What there is to be done for the convergent shards of a node.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    /// For the applier, with this turn.
    jobs: BTreeMap<GroupId, Vec<Job>>,
    /// Shards that somebody waits for in some way: they are looked at with the next tick.
    awake: BTreeSet<GroupId>,
    /// Shards that are to be looked at later, in the order of time; and when each of them is.
    due: BTreeSet<(Instant, GroupId)>,
    times: BTreeMap<GroupId, Instant>,
    /// Who was heard when it was last looked.
    heard: BTreeSet<NodeId>,
}

/// What has changed of who is heard.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Whoever was heard, and is not any more.
    pub(super) lost: Vec<NodeId>,
    /// Whoever was not heard, and is now.
    pub(super) back: Vec<NodeId>,
}

impl Agenda {
    /// A job for a shard's replica.
    pub(super) fn push(&mut self, group: GroupId, job: Job) {
        self.jobs.entry(group).or_default().push(job);
        self.awake.insert(group);
    }

    /// A shard is looked at with the next tick.
    pub(crate) fn wake(&mut self, group: GroupId) {
        self.awake.insert(group);
    }

    /// A shard is looked at again at this moment, or before if something happens.
    pub(super) fn look_at(&mut self, group: GroupId, at: Instant) {
        if let Some(before) = self.times.insert(group, at) {
            self.due.remove(&(before, group));
        }
        self.due.insert((at, group));
    }

    /// A shard is no more.
    pub(super) fn forget(&mut self, group: GroupId) {
        self.jobs.remove(&group);
        self.awake.remove(&group);
        if let Some(before) = self.times.remove(&group) {
            self.due.remove(&(before, group));
        }
    }

    /// The jobs of this turn.
    pub(super) fn take_jobs(&mut self) -> BTreeMap<GroupId, Vec<Job>> {
        std::mem::take(&mut self.jobs)
    }

    /// The shards that are to be looked at now.
    pub(super) fn take_due(&mut self, now: Instant) -> BTreeSet<GroupId> {
        while let Some((at, group)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, group));
            self.times.remove(&group);
            self.awake.insert(group);
        }
        std::mem::take(&mut self.awake)
    }

    /// These are heard now.
    pub(super) fn hear(&mut self, heard: BTreeSet<NodeId>) -> Hearing {
        let lost = self.heard.difference(&heard).copied().collect();
        let back = heard.difference(&self.heard).copied().collect();
        self.heard = heard;
        Hearing { lost, back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_types::Duration;

    #[test]
    fn only_what_is_awake_or_due_is_looked_at() {
        let (mut agenda, now) = (Agenda::default(), Instant::ZERO);
        let later = now + Duration::from_secs(5);
        (1..1_000).for_each(|group| agenda.look_at(GroupId(group), later));
        agenda.wake(GroupId(7));
        agenda.look_at(GroupId(8), now);
        agenda.look_at(GroupId(9), later + Duration::from_secs(1));
        agenda.forget(GroupId(10));
        assert_eq!(agenda.take_due(now), [GroupId(7), GroupId(8)].into());
        assert_eq!(agenda.take_due(now), BTreeSet::new());
        // The eighth was looked at, the ninth is due later, the tenth is gone.
        assert_eq!(agenda.take_due(later).len(), 999 - 3);
    }

    #[test]
    fn whoever_is_lost_and_back_is_told_once() {
        let mut agenda = Agenda::default();
        let hearing = agenda.hear([NodeId(1), NodeId(2)].into());
        assert_eq!((hearing.lost, hearing.back), (vec![], vec![NodeId(1), NodeId(2)]));
        let hearing = agenda.hear([NodeId(2)].into());
        assert_eq!((hearing.lost, hearing.back), (vec![NodeId(1)], vec![]));
    }
}
