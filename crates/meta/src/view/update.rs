//! Passing a view on: everything, or what has changed.
//!
//! ```text
//! update   version 1: 1 byte · since + 1 (0: everything): varint · until: varint
//!          entries: varint, then each: key · revision: varint · value
//!          gone: varint, then each: key · revision: varint
//! entry    version 1: 1 byte · key · revision: varint · value
//! ```
//!
//! Keys and values are byte strings with their length as a varint. Entries stand in the order of their revisions.

use althing_codec::{DecodeError, Reader, Writer};
use althing_manifest::{Kind, Object, key_of, parse_key};
use althing_types::{GroupId, Revision};
use bytes::Bytes;

use super::View;

/// The version of the format of updates and entries.
const VERSION: u8 = 1;

/// One object as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its key.
    pub key: Bytes,
    /// The revision of its last write.
    pub revision: Revision,
    /// Its JSON.
    pub value: Bytes,
}

/// A key that was deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gone {
    /// The key.
    pub key: Bytes,
    /// The revision of its deletion.
    pub revision: Revision,
}

/// What an update is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Everything that there is.
    Whole,
    /// What has changed after this revision.
    Since(Revision),
}

/// What a view tells another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// What it is about.
    pub scope: Scope,
    /// The revision that the other has when it has taken this.
    pub until: Revision,
    /// Objects that were written.
    pub entries: Vec<Entry>,
    /// Objects that were deleted.
    pub gone: Vec<Gone>,
}

/// What taking an update did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// The view is newer now.
    Changed,
    /// The view had all of it.
    Known,
    /// It begins after what the view has: something between is missing. Ask again, with the view's own revision.
    Gap,
}

impl View {
    /// What a view at this revision lacks: what has changed since, or everything where deletions since may be forgotten. `None`
    /// if it lacks nothing.
    #[must_use]
    pub fn update_since(&self, have: Revision) -> Option<Update> {
        if have >= self.revision {
            return None;
        }
        let is_remembered = have >= self.store.floor() && have.get() > 0;
        let (scope, after) = if is_remembered { (Scope::Since(have), have) } else { (Scope::Whole, Revision(-1)) };
        Some(self.update(scope, after))
    }

    /// Everything, to be kept in the log of a node.
    #[must_use]
    pub fn whole(&self) -> Update {
        self.update(Scope::Whole, Revision(-1))
    }

    /// Shards that were adopted ahead of the view's revision are told as they are. What they were at that revision is not known
    /// any more, and without them the update would say that they do not exist.
    fn update(&self, scope: Scope, after: Revision) -> Update {
        let entries = self.store.written_after(after);
        let entry = |(key, stored): (&Bytes, &super::store::Stored)| Entry {
            key: key.clone(),
            revision: stored.revision,
            value: stored.value.clone(),
        };
        let gone = |(revision, key): &(Revision, Bytes)| Gone { key: key.clone(), revision: *revision };
        let gone = match scope {
            Scope::Whole => Vec::new(),
            Scope::Since(_) => self.store.deleted_after(after).map(gone).collect(),
        };
        Update { scope, until: self.revision, entries: entries.map(entry).collect(), gone }
    }

    /// Takes over what another view tells.
    pub fn take(&mut self, update: &Update) -> Taken {
        if update.until <= self.revision {
            return Taken::Known;
        }
        match update.scope {
            Scope::Whole => self.begin_anew(update.until),
            Scope::Since(since) if since > self.revision => return Taken::Gap,
            Scope::Since(_) => {}
        }
        for gone in &update.gone {
            self.write(gone.revision, &gone.key, None);
        }
        for entry in &update.entries {
            self.write(entry.revision, &entry.key, Some(entry.value.clone()));
        }
        self.revision = update.until;
        Taken::Changed
    }

    /// Forgets all but what was adopted beyond a revision.
    fn begin_anew(&mut self, until: Revision) {
        let mut anew = Self::new();
        anew.store.begin_at(until);
        for (key, stored) in self.store.written_after(until) {
            anew.write(stored.revision, key, Some(stored.value.clone()));
        }
        *self = anew;
    }

    /// Takes over a single shard that another node knew better. The view's revision stays: what else changed meanwhile is
    /// not known. Whatever is no shard, and no newer than what is known, is passed over.
    pub fn adopt(&mut self, entry: &Entry) -> Taken {
        let Some((Kind::Shard, _)) = parse_key(&entry.key) else { return Taken::Known };
        let known = self.revision.max(self.store.revision_of(&entry.key));
        let is_readable = Object::from_stored(Kind::Shard, entry.revision, &entry.value).is_ok();
        if entry.revision <= known || !is_readable {
            return Taken::Known;
        }
        self.write(entry.revision, &entry.key, Some(entry.value.clone()));
        Taken::Changed
    }

    /// The entry of a group's shard, to heal a node that is behind.
    #[must_use]
    pub fn entry(&self, group: GroupId) -> Option<Entry> {
        let key = Bytes::from(key_of(Kind::Shard, self.shard(group)?.name()));
        let stored = self.store.get(&key)?;
        Some(Entry { revision: stored.revision, value: stored.value.clone(), key })
    }
}

impl Entry {
    /// Its bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::with_capacity(self.key.len() + self.value.len() + 16);
        to.u8(VERSION);
        self.write(&mut to);
        to.finish()
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are none.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        check_version(&mut from, "an entry of the map")?;
        let entry = Self::read(&mut from)?;
        from.finish()?;
        Ok(entry)
    }

    fn write(&self, to: &mut Writer) {
        to.bytes(&self.key);
        write_revision(to, self.revision);
        to.bytes(&self.value);
    }

    fn read(from: &mut Reader) -> Result<Self, DecodeError> {
        let (key, revision) = (from.bytes("an entry's key")?, read_revision(from)?);
        Ok(Self { key, revision, value: from.bytes("an entry's value")? })
    }
}

impl Update {
    /// Its bytes on the wire and in the log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let size: usize = self.entries.iter().map(|entry| entry.key.len() + entry.value.len() + 16).sum();
        let mut to = Writer::with_capacity(size + 64);
        to.u8(VERSION);
        match self.scope {
            Scope::Whole => to.u64(0),
            Scope::Since(since) => to.u64(since.get().unsigned_abs() + 1),
        }
        write_revision(&mut to, self.until);
        to.u64(self.entries.len() as u64);
        self.entries.iter().for_each(|entry| entry.write(&mut to));
        to.u64(self.gone.len() as u64);
        for gone in &self.gone {
            to.bytes(&gone.key);
            write_revision(&mut to, gone.revision);
        }
        to.finish()
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are none.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        check_version(&mut from, "an update of the map")?;
        let scope = match from.u64("an update's scope")? {
            0 => Scope::Whole,
            since => Scope::Since(to_revision(since - 1)?),
        };
        let until = read_revision(&mut from)?;
        let mut entries = Vec::new();
        for _ in 0..from.u64("an update's entries")? {
            entries.push(Entry::read(&mut from)?);
        }
        let mut gone = Vec::new();
        for _ in 0..from.u64("an update's deletions")? {
            gone.push(Gone { key: from.bytes("a deleted key")?, revision: read_revision(&mut from)? });
        }
        from.finish()?;
        Ok(Self { scope, until, entries, gone })
    }
}

fn check_version(from: &mut Reader, what: &'static str) -> Result<(), DecodeError> {
    match from.u8(what)? {
        VERSION => Ok(()),
        found => Err(DecodeError::Version { what, found: u64::from(found), known: u64::from(VERSION) }),
    }
}

/// Revisions are never negative here.
fn write_revision(to: &mut Writer, revision: Revision) {
    to.u64(revision.get().unsigned_abs());
}

fn read_revision(from: &mut Reader) -> Result<Revision, DecodeError> {
    to_revision(from.u64("a revision")?)
}

/// The last one is kept free, so that a next one always exists.
fn to_revision(value: u64) -> Result<Revision, DecodeError> {
    let revision = i64::try_from(value).ok().filter(|revision| *revision < i64::MAX);
    revision.map(Revision).ok_or(DecodeError::Unknown { field: "a revision", value })
}
