//! What must hold at every write, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use althing_manifest::condition::{self, DRAINED, READY};
use althing_manifest::{DEFAULT_GROUP, Kind, Life, META_GROUP, Object, Phase, Schedule, Shard, Slice, parse_key};
use althing_meta::{Stage, View, Write};
use althing_placement::spread::quotas;
use althing_types::{GroupId, NodeId, Revision};

use super::{Group, SPLIT_BYTES, World};

impl World {
    /// Rules of a single write.
    pub fn check_write(&mut self, write: &Write) {
        let Some((kind, _)) = parse_key(&write.key) else { panic!("{write:?} is of no object") };
        let Some(value) = &write.value else { return };
        let object = Object::from_stored(kind, Revision(1), value).expect("what is written can be read");
        assert_eq!(object.validate(), [], "{}", object.title());
        assert_eq!(object.key().as_bytes(), write.key);
        match object {
            Object::Cluster(new) => {
                if let Some(old) = self.view.cluster() {
                    assert!(new.status.next_group >= old.status.next_group, "ids are handed out again");
                }
            }
            Object::Shard(new) => {
                let group = new.spec.group;
                if write.expected.get() == 0 {
                    assert!(self.used.insert(group), "group {group} is used again");
                    return;
                }
                let old = self.view.shard(group).expect("it was compared");
                self.check_end_of_split(old, &new);
                self.check_frozen(old, &new);
                assert!(new.status.epoch >= old.status.epoch);
                let has_changed = new.spec.replicas != old.spec.replicas || new.spec.phase != old.spec.phase;
                assert!(!has_changed || new.metadata.generation > old.metadata.generation);
                if !self.groups.contains_key(&group) {
                    return;
                }
                if has_changed && new.spec.phase != Phase::Retiring {
                    // What the group has done since it was last heard nobody can know; its leader waits until it is known. What is
                    // wanted of the table `default` is decided from what the same write says.
                    let known = if group == DEFAULT_GROUP { &new } else { old };
                    let voters = &known.status.voters;
                    let going = voters.difference(&new.spec.replicas).count();
                    assert!(going <= voters.len() / 2, "{going} of {voters:?} go at once: {:?}", new.spec.replicas);
                    assert!(new.status.epoch > 0 || old.spec.replicas.is_empty(), "founders change: {old:?}");
                }
            }
            Object::Node(_) | Object::Table(_) => {}
        }
    }

    /// A shard has fewer replicas only if its table has ever wanted so few.
    pub fn check_voters(&mut self, group: GroupId) {
        let Group { actual, least, size, .. } = self.groups.get_mut(&group).expect("it is there");
        let has = actual.voters.len();
        assert!(has >= *least.min(size), "group {group} had {size} voters and has {:?}", actual.voters);
        *size = has.min(*size);
    }

    /// How many replicas tables want, and have wanted. The tables of the cluster itself have as many as there are nodes for them.
    pub fn note_wishes(&mut self) {
        for shard in self.view.shards() {
            let table = self.view.table(&shard.spec.table).filter(|_| shard.spec.group > META_GROUP);
            let wanted = table.map_or(0, |table| table.spec.replicas as usize);
            let Some(group) = self.groups.get_mut(&shard.spec.group) else { continue };
            group.least = group.least.min(wanted);
        }
    }

    /// A shard goes only when its halves have all that it held, and halves go only while their parent serves.
    fn check_end_of_split(&self, old: &Shard, new: &Shard) {
        let is_kept = self.view.table(&old.spec.table).is_some_and(|table| table.metadata.life == Life::Kept);
        let stage = |shard: &Shard| self.groups[&shard.spec.group].content.stage;
        match (old.spec.phase, new.spec.phase) {
            (Phase::Serving, Phase::Retiring) if is_kept => {
                let halves: Vec<&Shard> = self.view.children(old.spec.group).map(|half| half.as_ref()).collect();
                assert_eq!(halves.len(), 2, "{}", old.name());
                assert!(halves.iter().all(|half| stage(half) == Stage::Serving), "{} goes early", old.name());
            }
            (Phase::Filling, Phase::Retiring) if is_kept => {
                let parent = self.view.shard(old.spec.parent.expect("it is a half")).expect("it is there");
                assert_eq!(parent.spec.phase, Phase::Serving);
                assert_ne!(stage(parent), Stage::Sealed, "{} has nobody to serve for it", parent.name());
            }
            (Phase::Retiring, _) => assert_eq!(new.spec.phase, Phase::Retiring),
            (_, _) => {}
        }
    }

    /// While halves are filled, neither they nor their parent are sent anywhere.
    fn check_frozen(&self, old: &Shard, new: &Shard) {
        let serves = |group| self.view.shard(group).is_some_and(|shard| shard.spec.phase == Phase::Serving);
        let is_frozen = match old.spec.phase {
            Phase::Serving => self.view.children(old.spec.group).next().is_some(),
            Phase::Filling => old.spec.parent.is_some_and(serves),
            Phase::Retiring => false,
        };
        assert!(!is_frozen || old.spec.replicas == new.spec.replicas, "{} is moved while it is split", old.name());
    }

    /// In every view: of each table that is split by range every key has exactly one shard once there is one, and halves that are
    /// filled are in the same places.
    pub fn check_view(&self, view: &View) {
        for table in view.tables().filter(|table| table.metadata.life == Life::Kept) {
            let mut ends_at = Some(Vec::new());
            for shard in view.locate_range(table.name(), b"", None) {
                let Slice::Range(range) = &shard.spec.slice else { continue };
                assert_eq!(ends_at.as_ref(), Some(&range.start), "{} is not behind the last one", shard.name());
                ends_at = range.end.clone();
            }
            assert!(ends_at.is_none_or(|end| end.is_empty()), "nobody has the last keys of {}", table.name());
        }
        for parent in view.shards().filter(|shard| shard.spec.phase == Phase::Serving) {
            let places: BTreeSet<_> = view.children(parent.spec.group).map(|half| &half.spec.replicas).collect();
            assert!(places.len() <= 1, "the halves of {} are in different places", parent.name());
        }
    }

    /// What was written is where the map says that it is, and no shard is too large.
    fn check_content(&self) {
        for shard in self.view.shards() {
            assert_eq!(shard.spec.phase, Phase::Serving, "{} is left over", shard.name());
            let content = &self.groups[&shard.spec.group].content;
            assert!(content.bytes() < SPLIT_BYTES, "{} has {} bytes", shard.name(), content.bytes());
        }
        for (table, keys) in &self.written {
            for key in keys {
                let shard = self.view.locate(table, key).expect("every key is somebody's");
                let content = &self.groups[&shard.spec.group].content;
                assert!(content.keys.contains(key), "{key:?} of {table} is lost: {} lacks it", shard.name());
            }
        }
    }

    /// Rules of a world in which all is healed and nothing is left to do: drained nodes are empty, every replica is on a node
    /// that lives, and spread over zones.
    pub fn check_end(&self) {
        let is_active = |id: &NodeId| {
            self.is_up(*id) && self.view.node(*id).is_some_and(|node| node.spec.schedule == Schedule::Active)
        };
        let active: BTreeSet<NodeId> = self.processes.keys().copied().filter(is_active).collect();
        for shard in self.view.shards() {
            let actual = &self.groups[&shard.spec.group].actual;
            assert_eq!(actual.voters, shard.spec.replicas, "{}", shard.name());
            assert_eq!((&actual.voters, &actual.learners), (&shard.status.voters, &shard.status.learners));
            assert_eq!(actual.leader, shard.status.leader);
            assert!(condition::holds(&shard.status.conditions, READY), "{shard:?}");
            let table = self.view.table(&shard.spec.table).expect("a shard has a table");
            let wanted = match table.name() {
                "meta" => self.view.cluster().expect("it is made").spec.meta_replicas as usize,
                "default" if table.metadata.generation <= 1 => {
                    let is_fine = shard.spec.replicas.is_subset(&active) || active.is_subset(&shard.spec.replicas);
                    assert!(is_fine, "{} is on {:?}", shard.name(), shard.spec.replicas);
                    continue;
                }
                _ => table.spec.replicas as usize,
            };
            if active.len() < wanted {
                assert!(active.is_subset(&shard.spec.replicas), "{} is on {:?}", shard.name(), shard.spec.replicas);
                continue;
            }
            assert_eq!(shard.spec.replicas.len(), wanted, "{}", shard.name());
            assert!(shard.spec.replicas.is_subset(&active), "{} is on {:?}", shard.name(), shard.spec.replicas);
            self.check_zones(&shard.spec.replicas, &active);
            assert_eq!(shard.spec.leader, actual.leader, "{}", shard.name());
        }
        let most = self.view.tables().map(|table| table.spec.replicas as usize).max().unwrap_or_default();
        let default = self.view.shard(althing_manifest::DEFAULT_GROUP).map_or(0, |shard| shard.spec.replicas.len());
        if active.len() >= most.max(default) {
            self.check_nodes();
        }
        self.check_content();
        for table in self.view.tables() {
            assert!(condition::holds(&table.status.conditions, READY), "{table:?}");
            assert_eq!(table.status.observed_generation, table.metadata.generation);
        }
        let cluster = self.view.cluster().expect("it is made");
        assert!(cluster.status.conditions.iter().all(|each| each.status == althing_manifest::Truth::True));
        assert_eq!(cluster.status.claim, None);
        let is_cluster = |key: &[u8]| matches!(parse_key(key), Some((Kind::Cluster, _)));
        assert_eq!(self.view.whole().entries.iter().filter(|entry| is_cluster(&entry.key)).count(), 1);
    }

    fn check_zones(&self, replicas: &BTreeSet<NodeId>, active: &BTreeSet<NodeId>) {
        let mut zones: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for id in active {
            let (nodes, held) = zones.entry(&self.processes[id].zone).or_default();
            *nodes += 1;
            *held += usize::from(replicas.contains(id));
        }
        let sizes: Vec<usize> = zones.values().map(|(nodes, _)| *nodes).collect();
        for ((zone, (_, held)), quota) in zones.iter().zip(quotas(&sizes, replicas.len())) {
            assert!((quota.least..=quota.most).contains(held), "zone {zone} holds {held} of {replicas:?}");
        }
    }

    fn check_nodes(&self) {
        for node in self.view.nodes() {
            let id = node.spec.id;
            let held = self.processes[&id].holds.len();
            if node.spec.schedule == Schedule::Drain && self.is_up(id) {
                assert_eq!(held, 0, "{} still holds replicas", node.name());
                assert!(condition::holds(&node.status.conditions, DRAINED));
            }
            if self.is_up(id) {
                assert_eq!(node.status.replicas, held as u64, "{}", node.name());
            }
        }
        let named = |id: &NodeId| self.view.shards().any(|shard| shard.spec.replicas.contains(id));
        let dead = self.processes.values().filter(|process| !process.is_up);
        assert!(dead.into_iter().all(|process| !named(&process.id)));
    }
}
