//! What is stored under each key, with the revision of its last write, and what was deleted lately.

use std::collections::{BTreeMap, BTreeSet};

use althing_manifest::{Kind, key_of};
use althing_types::{GroupId, Revision};
use bytes::Bytes;

/// Deletions that are remembered, so that others can be told of them. Who is behind them all is given everything.
pub const MAX_TOMBSTONES: usize = 4096;

/// One object's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Of its last write.
    pub revision: Revision,
    /// Its JSON.
    pub value: Bytes,
}

/// The bytes of all objects, in the order of their keys and of their revisions.
#[derive(Clone, Debug, Default)]
pub struct Store {
    objects: BTreeMap<Bytes, Stored>,
    by_revision: BTreeSet<(Revision, Bytes)>,
    gone: BTreeMap<Bytes, Revision>,
    gone_by_revision: BTreeSet<(Revision, Bytes)>,
    /// Deletions at or below it may be forgotten.
    floor: Revision,
    /// The group of each shard's key, since the key does not begin with it.
    groups: BTreeMap<Bytes, GroupId>,
    bytes: usize,
}

impl Store {
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub const fn floor(&self) -> Revision {
        self.floor
    }

    pub fn get(&self, key: &[u8]) -> Option<&Stored> {
        self.objects.get(key)
    }

    /// The revision of the last write of a key, deletion included; zero if there is none that is remembered.
    pub fn revision_of(&self, key: &[u8]) -> Revision {
        let put = self.objects.get(key).map(|stored| stored.revision);
        put.or_else(|| self.gone.get(key).copied()).unwrap_or_default()
    }

    pub fn group_at(&self, key: &[u8]) -> Option<GroupId> {
        self.groups.get(key).copied()
    }

    pub fn note_group(&mut self, shard: &str, group: GroupId) {
        self.groups.insert(Bytes::from(key_of(Kind::Shard, shard)), group);
    }

    /// Writes or deletes. The caller has compared the revisions.
    pub fn write(&mut self, revision: Revision, key: Bytes, value: Option<Bytes>) {
        self.take(&key);
        match value {
            Some(value) => {
                self.bytes += key.len() + value.len();
                self.by_revision.insert((revision, key.clone()));
                self.objects.insert(key, Stored { revision, value });
            }
            None => self.bury(revision, key),
        }
    }

    fn bury(&mut self, revision: Revision, key: Bytes) {
        self.groups.remove(&key);
        self.gone_by_revision.insert((revision, key.clone()));
        self.gone.insert(key, revision);
        while self.gone.len() > MAX_TOMBSTONES {
            let Some((revision, key)) = self.gone_by_revision.pop_first() else { break };
            self.gone.remove(&key);
            self.floor = self.floor.max(revision);
        }
    }

    /// Takes away what is known of a key.
    fn take(&mut self, key: &Bytes) {
        if let Some(stored) = self.objects.remove(key) {
            self.bytes -= key.len() + stored.value.len();
            self.by_revision.remove(&(stored.revision, key.clone()));
        }
        if let Some(revision) = self.gone.remove(key) {
            self.gone_by_revision.remove(&(revision, key.clone()));
        }
    }

    /// Nothing below this revision is known to have been deleted or not.
    pub fn begin_at(&mut self, revision: Revision) {
        self.floor = self.floor.max(revision);
    }

    /// What was written after a revision, in the order of revisions.
    pub fn written_after(&self, revision: Revision) -> impl Iterator<Item = (&Bytes, &Stored)> {
        let newer = self.by_revision.range((revision.next(), Bytes::new())..);
        newer.filter_map(|(_, key)| self.objects.get_key_value(key))
    }

    /// What was deleted after a revision, in the order of revisions.
    pub fn deleted_after(&self, revision: Revision) -> impl Iterator<Item = &(Revision, Bytes)> {
        self.gone_by_revision.range((revision.next(), Bytes::new())..)
    }
}
