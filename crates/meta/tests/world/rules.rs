//! What must hold at every write, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use althing_manifest::condition::{self, DRAINED, READY};
use althing_manifest::{Kind, Object, Phase, Schedule, parse_key};
use althing_meta::Write;
use althing_placement::spread::quotas;
use althing_types::{NodeId, Revision};

use super::World;

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
                assert!(new.status.epoch >= old.status.epoch);
                let has_changed = new.spec.replicas != old.spec.replicas || new.spec.phase != old.spec.phase;
                assert!(!has_changed || new.metadata.generation > old.metadata.generation);
                let Some(actual) = self.groups.get(&group).map(|group| &group.actual) else { return };
                if has_changed && new.spec.phase == Phase::Serving {
                    let quorum = actual.voters.len() / 2 + 1;
                    let going = actual.voters.difference(&new.spec.replicas).count();
                    assert!(going < quorum, "{} of {:?} go at once: {:?}", going, actual.voters, new.spec.replicas);
                    assert!(new.status.epoch > 0 || old.spec.replicas.is_empty(), "founders change: {old:?}");
                }
            }
            Object::Node(_) | Object::Table(_) => {}
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
