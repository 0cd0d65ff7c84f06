//! What shards hold, and how groups split themselves once the map says so.

use std::collections::BTreeSet;

use althing_manifest::shard::RangeSlice;
use althing_manifest::{Life, Phase, Shard, Slice, Split, Table, TableSpec, table::MIN_SPLIT_BYTES};
use althing_meta::{Stage, View};
use althing_types::{GroupId, NodeId};
use bytes::Bytes;

use super::World;

/// Size at which range shards of this world are split.
pub const SPLIT_BYTES: u64 = MIN_SPLIT_BYTES;
/// What every key counts for: four of them are too much.
const KEY_BYTES: u64 = SPLIT_BYTES / 4;
/// How many different keys there are.
const KEYS: u8 = 48;

/// What a group holds; the same on all its replicas.
#[derive(Clone, Debug)]
pub struct Content {
    /// The keys that it may hold, if it is of a range table.
    slice: Option<RangeSlice>,
    pub keys: BTreeSet<Vec<u8>>,
    pub stage: Stage,
    /// Its children, once it was sealed for them or will never be.
    children: Vec<GroupId>,
}

impl Default for Content {
    fn default() -> Self {
        Self { slice: None, keys: BTreeSet::new(), stage: Stage::Serving, children: Vec::new() }
    }
}

impl Content {
    /// Of a shard that is founded.
    pub fn of(shard: &Shard) -> Self {
        let slice = match &shard.spec.slice {
            Slice::Hash(_) => None,
            Slice::Range(range) => Some(range.clone()),
        };
        let stage = if shard.spec.phase == Phase::Filling { Stage::Filling } else { Stage::Serving };
        Self { slice, stage, ..Self::default() }
    }

    pub fn bytes(&self) -> u64 {
        self.keys.len() as u64 * KEY_BYTES
    }

    /// What a replica says with its map: a shard is stuck as long as its children are those for which it is.
    pub fn stage(&self, group: GroupId, map: &View) -> Stage {
        let is_stuck = self.stage == Stage::Stuck && children(map, group) != self.children;
        if is_stuck { Stage::Serving } else { self.stage }
    }

    pub fn middle(&self, group: GroupId, map: &View) -> Option<Bytes> {
        let table = map.table(&map.shard(group)?.spec.table)?;
        let is_too_large = self.bytes() >= table.spec.split_bytes?;
        let middle = self.keys.iter().nth(self.keys.len() / 2)?;
        is_too_large.then(|| Bytes::from(middle.clone()))
    }

    /// Takes over what is its of another's.
    fn copy(&mut self, parent: &Self) {
        let slice = self.slice.as_ref().expect("a child has a range");
        self.keys = parent.keys.iter().filter(|key| slice.contains(key)).cloned().collect();
    }
}

fn children(map: &View, group: GroupId) -> Vec<GroupId> {
    map.children(group).map(|child| child.spec.group).collect()
}

impl World {
    /// A table that is split by range.
    pub fn range_table(name: &str, replicas: u32) -> Table {
        let spec = TableSpec { split: Split::Range, split_bytes: Some(SPLIT_BYTES), replicas, ..TableSpec::default() };
        Table::new(name, spec)
    }

    /// A client writes some key of a range table by the map of some node. Whether it was done.
    pub fn write_key(&mut self) -> bool {
        let ids: Vec<NodeId> = self.processes.keys().copied().filter(|id| self.is_up(*id)).collect();
        let is_fit =
            |table: &&std::sync::Arc<Table>| table.spec.split == Split::Range && table.metadata.life == Life::Kept;
        let tables: Vec<String> = self.view.tables().filter(is_fit).map(|table| table.name().to_owned()).collect();
        let (Some(id), Some(table)) = (self.rng.choice(&ids), self.rng.choice(&tables)) else { return false };
        let key = vec![b'k', self.rng.u8(0..KEYS)];
        let Some(group) = self.processes[id].map.locate(table, &key).map(|shard| shard.spec.group) else {
            return false;
        };
        // A table of this name may have been deleted that had this shard.
        let is_of_table = self.view.shard(group).is_some_and(|shard| shard.spec.phase != Phase::Retiring);
        let Some(state) = self.groups.get_mut(&group).filter(|_| is_of_table) else { return false };
        let serves = match state.content.stage {
            Stage::Serving | Stage::Stuck => state.content.slice.as_ref().is_some_and(|slice| slice.contains(&key)),
            Stage::Filling | Stage::Sealed => false,
        };
        if serves && state.actual.leader.is_some() {
            state.content.keys.insert(key.clone());
            self.written.entry(table.clone()).or_default().insert(key);
            return true;
        }
        false
    }

    /// The leader of a group takes a step of the split that its map shows, or of the one for which the group was sealed.
    pub fn split(&mut self, group: GroupId) {
        let Some(leader) = self.groups[&group].actual.leader else { return };
        let content = self.groups[&group].content.clone();
        match content.stage(group, &self.processes[&leader].map) {
            Stage::Serving => self.fill(group, children(&self.processes[&leader].map, group)),
            Stage::Sealed => {
                let next = content.children.iter().find(|child| self.groups[child].content.stage == Stage::Filling);
                let Some(child) = next.copied().filter(|_| self.rng.u32(0..2) == 0) else { return };
                let child = self.groups.get_mut(&child).expect("it was there when the parent was sealed");
                if child.actual.leader.is_some() {
                    child.content.copy(&content);
                    child.content.stage = Stage::Serving;
                }
            }
            Stage::Filling | Stage::Stuck => {}
        }
    }

    fn fill(&mut self, group: GroupId, children: Vec<GroupId>) {
        let is_led = |child: &GroupId| self.groups.get(child).is_some_and(|child| child.actual.leader.is_some());
        if children.len() != 2 || !children.iter().all(is_led) {
            return;
        }
        let stage = match self.rng.u32(0..16) {
            0 => Stage::Stuck,
            1..3 => Stage::Sealed,
            _ => return,
        };
        let content = &mut self.groups.get_mut(&group).expect("it is led").content;
        // What nobody will be sealed for any more stays so: a leader with an older map does nothing either.
        let is_over = content.stage == Stage::Stuck && children.iter().any(|child| content.children.contains(child));
        if !is_over {
            (content.stage, content.children) = (stage, children);
        }
    }
}
