//! What the control plane writes, and what the leaders of shards make of it.
//!
//! * An object's generation, a shard's epoch and the ids of groups never go back: whoever writes an object has seen what it was,
//!   so no user's change is undone and no id is handed out twice.
//! * A shard's leader takes in and lets go only whom meta wanted there, or did not, of a shard that it had seen in the leader's own
//!   term: obligation 5 of `meta::reconcile`.
//! * Children of a split are given up only if their parent is not sealed for them, and never is (ADR 18).
//! * A replica of a shard that is no more does not come back to its node.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::kv::{Event, EventKind};
use althing_api::service::FIRST_SHARD_GROUP;
use althing_consensus::ConfState;
use althing_manifest::{Object, Phase, Shard, parse_key};
use althing_node::Presence;
use althing_storage::wal::{Record, RecordKind};
use althing_strong::Seal;
use althing_types::{GroupId, NodeId, Revision};
use bytes::Bytes;

use super::Contradiction;

/// What never goes back as long as an object lives: its generation, and the epoch of a shard or the next id of a cluster.
type Counts = [u64; 2];

/// The objects as they were written, and the groups as they became.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    newest: Revision,
    counts: BTreeMap<Bytes, Counts>,
    phases: BTreeMap<GroupId, Phase>,
    /// Where replicas were wanted, as far as meta had seen a group in a term.
    wishes: BTreeMap<(GroupId, u64), BTreeSet<BTreeSet<NodeId>>>,
    /// The members of each group as of its last change.
    members: BTreeMap<GroupId, (u64, BTreeSet<NodeId>)>,
    /// Children that were taken away before they served.
    given_up: BTreeSet<GroupId>,
    /// Children for which their parents are sealed.
    sealed: BTreeSet<GroupId>,
    retired: BTreeSet<(GroupId, NodeId)>,
}

impl Objects {
    /// The table `meta` has this revision, on whichever node has it first.
    pub fn written(&mut self, revision: Revision, events: &[Event]) -> Result<(), Contradiction> {
        if revision <= self.newest {
            return Ok(());
        }
        self.newest = revision;
        events.iter().try_for_each(|event| self.changed(event))
    }

    fn changed(&mut self, event: &Event) -> Result<(), Contradiction> {
        let Some((kind, _)) = parse_key(&event.kv.key) else { return Ok(()) };
        let key = String::from_utf8_lossy(&event.kv.key);
        let object = match event.kind {
            EventKind::Put => Object::from_stored(kind, event.kv.mod_revision, &event.kv.value),
            EventKind::Delete => {
                self.counts.remove(&event.kv.key);
                return Ok(());
            }
        };
        let object = object.map_err(|error| format!("{key} cannot be read: {error}"))?;
        let now = counts(&object);
        let before = self.counts.insert(event.kv.key.clone(), now).unwrap_or_default();
        if now.iter().zip(before).any(|(now, before)| *now < before) {
            return Err(format!("{key} has the counts {now:?} at {}, and had {before:?}", event.kv.mod_revision));
        }
        match object {
            Object::Shard(shard) => self.shard_written(&shard),
            Object::Cluster(_) | Object::Node(_) | Object::Table(_) => Ok(()),
        }
    }

    fn shard_written(&mut self, shard: &Shard) -> Result<(), Contradiction> {
        let (group, wanted) = (shard.spec.group, &shard.spec.replicas);
        self.wishes.entry((group, shard.status.term)).or_default().insert(wanted.clone());
        if shard.status.epoch == 0 {
            // They found it, and so nobody has to let them in.
            self.members.insert(group, (0, wanted.clone()));
        }
        let before = self.phases.insert(group, shard.spec.phase);
        if (before, shard.spec.phase) == (Some(Phase::Filling), Phase::Retiring) {
            self.given_up.insert(group);
        }
        self.check_given_up(group)
    }

    /// A node has applied the seal of a shard.
    pub fn sealed(&mut self, seal: &Seal) -> Result<(), Contradiction> {
        self.sealed.extend(seal.children);
        seal.children.into_iter().try_for_each(|child| self.check_given_up(child))
    }

    fn check_given_up(&self, child: GroupId) -> Result<(), Contradiction> {
        if self.given_up.contains(&child) && self.sealed.contains(&child) {
            return Err(format!("a shard is sealed for its child {child}, which was given up"));
        }
        Ok(())
    }

    /// A node has applied a change of a group's configuration, which stands at an entry of this term.
    pub fn configured(&mut self, group: GroupId, index: u64, term: u64, conf: &ConfState) -> Result<(), Contradiction> {
        if group < FIRST_SHARD_GROUP {
            return Ok(());
        }
        let Some((known, before)) = self.members.get(&group).filter(|(known, _)| *known < index).cloned() else {
            return Ok(());
        };
        let now: BTreeSet<NodeId> =
            [&conf.voters, &conf.learners, &conf.learners_next].into_iter().flatten().copied().collect();
        self.members.insert(group, (index, now.clone()));
        let wishes = self.wishes.get(&(group, term));
        let may_come = |node: &&NodeId| wishes.into_iter().flatten().any(|wanted| wanted.contains(node));
        let may_go = |node: &&NodeId| wishes.into_iter().flatten().any(|wanted| !wanted.contains(node));
        let unwanted = now.difference(&before).find(|node| !may_come(node));
        let missed = before.difference(&now).find(|node| !may_go(node));
        match unwanted.or(missed) {
            None => Ok(()),
            Some(node) => Err(format!(
                "group {group} goes from {before:?} at entry {known} to {now:?} at {index}, and nobody who had seen term {term} \
                 has asked that of node {node}"
            )),
        }
    }

    /// A node writes this into its log.
    pub fn logs(&mut self, node: NodeId, record: &Record) {
        if record.kind == RecordKind::Replica && Presence::decode(record.payload.clone()) == Ok(Presence::Retired) {
            self.retired.insert((record.group, node));
        }
    }

    /// A replica has come to a node that runs.
    pub fn opens(&self, group: GroupId, node: NodeId) -> Result<(), Contradiction> {
        if self.retired.contains(&(group, node)) {
            return Err(format!("group {group} comes back to node {node}, where it had retired"));
        }
        Ok(())
    }
}

fn counts(object: &Object) -> Counts {
    match object {
        Object::Cluster(cluster) => [cluster.metadata.generation, cluster.status.next_group],
        Object::Node(node) => [node.metadata.generation, 0],
        Object::Table(table) => [table.metadata.generation, 0],
        Object::Shard(shard) => [shard.metadata.generation, shard.status.epoch],
    }
}

#[cfg(test)]
mod tests {
    use althing_api::kv::KeyValue;
    use althing_manifest::shard::name_of;
    use althing_manifest::{ShardSpec, Slice};

    use super::*;

    const GROUP: GroupId = GroupId(20);

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn shard(replicas: &[u64], term: u64, epoch: u64, phase: Phase) -> Shard {
        let spec = ShardSpec {
            table: "a".to_owned(),
            group: GROUP,
            slice: Slice::all_keys(),
            replicas: ids(replicas),
            leader: None,
            phase,
            parent: None,
        };
        let mut shard = Shard::new(&name_of("a", GROUP), spec);
        (shard.status.term, shard.status.epoch, shard.metadata.generation) = (term, epoch, 1);
        shard
    }

    fn write(objects: &mut Objects, revision: i64, shard: Shard) -> Result<(), Contradiction> {
        let object = Object::Shard(shard);
        let (key, value) = (Bytes::from(object.key()), Bytes::from(object.to_stored()));
        let kv = KeyValue { key, value, mod_revision: Revision(revision), ..KeyValue::default() };
        objects.written(Revision(revision), &[Event { kind: EventKind::Put, kv, prev_kv: None }])
    }

    fn conf(voters: &[u64], learners: &[u64]) -> ConfState {
        let learners = learners.iter().copied().map(NodeId).collect();
        ConfState { learners, ..ConfState::of_voters(ids(voters)) }
    }

    #[test]
    fn an_epoch_that_goes_back_is_noticed_and_an_old_revision_is_nothing_new() {
        let mut objects = Objects::default();
        write(&mut objects, 2, shard(&[1, 2, 3], 0, 0, Phase::Serving)).unwrap();
        write(&mut objects, 3, shard(&[1, 2, 3], 1, 1, Phase::Serving)).unwrap();
        write(&mut objects, 2, shard(&[1, 2, 3], 0, 0, Phase::Serving)).unwrap();
        assert!(write(&mut objects, 4, shard(&[1, 2, 3], 1, 0, Phase::Serving)).is_err());
    }

    #[test]
    fn a_leader_follows_only_what_was_wanted_of_its_own_term() {
        let mut objects = Objects::default();
        write(&mut objects, 2, shard(&[1, 2, 3], 0, 0, Phase::Serving)).unwrap();
        write(&mut objects, 3, shard(&[1, 2, 4], 5, 1, Phase::Serving)).unwrap();
        objects.clone().configured(GROUP, 7, 5, &conf(&[1, 2, 3], &[4])).unwrap();
        assert!(objects.clone().configured(GROUP, 7, 6, &conf(&[1, 2, 3], &[4])).is_err());
        assert!(objects.clone().configured(GROUP, 7, 5, &conf(&[1, 2, 3], &[5])).is_err());
        objects.configured(GROUP, 7, 5, &conf(&[1, 2, 3], &[4])).unwrap();
        objects.configured(GROUP, 8, 5, &conf(&[1, 2, 4], &[])).unwrap();
        assert!(objects.clone().configured(GROUP, 9, 5, &conf(&[1, 2], &[])).is_err());
        objects.configured(GROUP, 7, 6, &conf(&[1, 2, 3], &[4])).unwrap();
    }

    #[test]
    fn a_parent_is_never_sealed_for_children_that_were_given_up() {
        let seal =
            Seal { at: "m".into(), children: [GROUP, GroupId(21)], revision: Revision(9), compacted: Revision(-1) };
        let mut objects = Objects::default();
        write(&mut objects, 2, shard(&[1], 0, 0, Phase::Filling)).unwrap();
        objects.clone().sealed(&seal).unwrap();
        write(&mut objects, 3, shard(&[1], 0, 0, Phase::Retiring)).unwrap();
        assert!(objects.sealed(&seal).is_err());
    }
}
