//! Pages back into a table, in a space of its own.
//!
//! The space is no table before [`Importer::finish`]: a crash before that leaves something that `Machine::open` refuses and
//! the host drops. What the pages leave out is made from what they hold: the newest version of a key is its `current` record
//! and its attachment and its deadline, and the version after the next tells what each one replaced.

use std::sync::Arc;

use althing_codec::{DecodeError, Reader, checksum};
use althing_storage::engine::{Applied, Batch, Engine};
use althing_types::limits::MAX_KEY_BYTES;
use althing_types::{LeaseId, Revision, SpaceId};
use bytes::Bytes;

use crate::bounds::Bounds;
use crate::error::StrongError;
use crate::export::tag;
use crate::keyed::container;
use crate::layout::{self, Current, Deed, FORMAT, Meta, RevisionRecord, Version, VersionBody, VersionId};
use crate::lessor::LeaseRecord;
use crate::machine::table::Table;
use crate::members::{self, Members};
use crate::state::{Progress, State};

/// Where the importer is.
enum Stage {
    /// Nothing has come.
    Start,
    /// The header has come.
    Filling(Box<Table>),
    /// The end has come.
    Complete(Box<Table>),
}

/// Writes a snapshot's pages into a new space.
pub struct Importer {
    engine: Arc<dyn Engine>,
    space: SpaceId,
    stage: Stage,
    /// The last version written, which waits to learn what it replaced.
    newer: Option<(Bytes, VersionId, Deed)>,
    versions: u64,
    checksum: u32,
}

/// What a snapshot held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotSummary {
    /// Where in the log it was cut.
    pub applied: Applied,
    /// The Raft configuration there.
    pub conf_state: Bytes,
    /// The revision there.
    pub revision: Revision,
}

fn damaged(what: impl Into<String>) -> StrongError {
    StrongError::Snapshot(what.into())
}

fn unreadable(source: DecodeError) -> StrongError {
    damaged(format!("a page does not parse: {source}"))
}

impl Importer {
    /// An importer into a space that nothing was ever written to.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, space: SpaceId) -> Self {
        Self { engine, space, stage: Stage::Start, newer: None, versions: 0, checksum: 0 }
    }

    /// The next page, in the order of the export. Each is one batch of the engine; none is durable before a checkpoint.
    pub fn page(&mut self, page: Bytes) -> Result<(), StrongError> {
        let mut reader = Reader::new(page.clone());
        match reader.u8("page").map_err(unreadable)? {
            tag::HEADER => self.header(reader)?,
            tag::BOUNDS => self.bounds(reader)?,
            tag::LEASES => self.leases(reader)?,
            tag::VERSIONS => self.version_page(reader)?,
            tag::END => self.end(reader)?,
            other => return Err(damaged(format!("there is no page of kind {other}"))),
        }
        self.checksum = checksum::extend(self.checksum, &page);
        Ok(())
    }

    /// After the last page: the space is a table, and stands where the snapshot was cut.
    pub fn finish(mut self) -> Result<SnapshotSummary, StrongError> {
        let Stage::Complete(table) = std::mem::replace(&mut self.stage, Stage::Start) else {
            return Err(damaged("it ends too early"));
        };
        let engine = Arc::clone(&self.engine);
        let mut batch = engine.begin(self.space);
        self.settle(&mut *batch, None);
        table.store(&mut *batch);
        batch.put(&layout::meta_key(Meta::Progress), &Progress::finished(table.state.compacted).encode());
        batch.delete(&layout::meta_key(Meta::Importing));
        batch.commit(table.state.applied)?;
        let State { applied, revision, .. } = table.state;
        Ok(SnapshotSummary { applied, conf_state: table.conf_state, revision })
    }

    fn header(&mut self, mut reader: Reader) -> Result<(), StrongError> {
        if !matches!(self.stage, Stage::Start) {
            return Err(damaged("a second header"));
        }
        let mut read = || {
            let found = reader.u64("format")?;
            if found != FORMAT {
                return Err(DecodeError::Version { what: "the snapshot", found, known: FORMAT });
            }
            let state = State::read(&mut reader)?;
            let mut record = || reader.bytes("record");
            let records = [record()?, record()?, record()?];
            reader.clone().finish()?;
            Ok((state, records))
        };
        let (state, [conf_state, members, alarms]) = read().map_err(unreadable)?;
        let (members, alarms) = (Members::decode(members)?, members::decode_alarms(alarms)?);
        self.stage = Stage::Filling(Box::new(Table::new(state, members, alarms, conf_state)));
        let engine = Arc::clone(&self.engine);
        let mut batch = engine.begin(self.space);
        batch.put(&layout::meta_key(Meta::Importing), &[]);
        Ok(batch.commit(Applied::default())?)
    }

    fn bounds(&mut self, reader: Reader) -> Result<(), StrongError> {
        match &mut self.stage {
            Stage::Filling(table) if table.bounds.is_none() && self.newer.is_none() => {
                table.bounds = Some(Bounds::decode(reader.rest())?);
                Ok(())
            }
            Stage::Start | Stage::Filling(_) | Stage::Complete(_) => Err(damaged("bounds where none can be")),
        }
    }

    fn leases(&mut self, mut reader: Reader) -> Result<(), StrongError> {
        self.filling()?;
        let mut leases = Vec::new();
        while reader.remaining() > 0 {
            let mut number = || reader.i64("lease").map_err(unreadable);
            let (id, ttl_seconds, remaining_seconds) = (LeaseId(number()?), number()?, number()?);
            leases.push(LeaseRecord { id, ttl_seconds, remaining_seconds });
        }
        let engine = Arc::clone(&self.engine);
        let mut batch = engine.begin(self.space);
        for lease in leases {
            batch.put(&layout::lease_key(lease.id), &lease.encode());
        }
        Ok(batch.commit(Applied::default())?)
    }

    fn version_page(&mut self, mut reader: Reader) -> Result<(), StrongError> {
        let revision = self.filling()?;
        let mut versions = Vec::new();
        let mut before = self.newer.as_ref().map(|(key, id, _)| (key.clone(), *id));
        while reader.remaining() > 0 {
            let (key, id, version) = read_version(&mut reader)?;
            let ordered = before.as_ref().is_none_or(|(last, at)| *last < key || (*last == key && *at > id));
            if !ordered || id.main > revision || id.main.0 < 1 || key.is_empty() || key.len() > MAX_KEY_BYTES {
                return Err(damaged(format!("the version {}.{} stands where it cannot", id.main, id.sub)));
            }
            before = Some((key.clone(), id));
            versions.push((key, id, version));
        }
        let engine = Arc::clone(&self.engine);
        let mut batch = engine.begin(self.space);
        for (key, id, version) in versions {
            self.version(&mut *batch, key, id, version);
        }
        Ok(batch.commit(Applied::default())?)
    }

    fn version(&mut self, batch: &mut dyn Batch, key: Bytes, id: VersionId, version: Version) {
        self.versions += 1;
        let same_key = self.newer.as_ref().is_some_and(|(newer, _, _)| *newer == key);
        let is_put = version.body != VersionBody::Tombstone;
        self.settle(batch, (same_key && is_put).then_some(id));
        let deed = match &version.body {
            VersionBody::Put { version: 1, .. } => Deed::Create,
            VersionBody::Put { .. } => Deed::Update,
            VersionBody::Tombstone => Deed::Delete,
        };
        // A key of its own: the page may go.
        let key = Bytes::copy_from_slice(&key);
        batch.put(&layout::history_key(&key, id), &version.encode());
        if let Some(kv) = version.into_key_value(key.clone(), id.main).filter(|_| !same_key) {
            batch.put(&layout::current_key(&key), &Current::of(&kv, id).encode());
            if let Some(at_ms) = container::deadline_ms(&kv.value) {
                batch.put(&layout::deadline_key(at_ms, &key), &[]);
            }
            if let Some(lease) = kv.lease {
                batch.put(&layout::attachment_key(lease, &key), &[]);
            }
        }
        self.newer = Some((key, id, deed));
    }

    /// Writes what the last version did, now that it is known what it replaced.
    fn settle(&mut self, batch: &mut dyn Batch, previous: Option<VersionId>) {
        if let Some((key, id, deed)) = self.newer.take() {
            let previous = previous.filter(|_| deed != Deed::Create);
            batch.put(&layout::revision_key(id), &RevisionRecord { deed, previous, key }.encode());
        }
    }

    fn end(&mut self, mut reader: Reader) -> Result<(), StrongError> {
        self.filling()?;
        let mut read = || {
            let end = (reader.u64("versions")?, reader.fixed_u32("checksum")?);
            reader.clone().finish()?;
            Ok(end)
        };
        let (versions, checksum) = read().map_err(unreadable)?;
        if versions != self.versions || checksum != self.checksum {
            return Err(damaged("its pages do not add up to what its end says"));
        }
        if let Stage::Filling(table) = std::mem::replace(&mut self.stage, Stage::Start) {
            self.stage = Stage::Complete(table);
        }
        Ok(())
    }

    /// The revision of the snapshot, if pages may come.
    fn filling(&self) -> Result<Revision, StrongError> {
        match &self.stage {
            Stage::Filling(table) => Ok(table.state.revision),
            Stage::Start => Err(damaged("it does not begin with its header")),
            Stage::Complete(_) => Err(damaged("pages follow its end")),
        }
    }
}

fn read_version(reader: &mut Reader) -> Result<(Bytes, VersionId, Version), StrongError> {
    let mut read = || {
        let key = reader.bytes("key")?;
        let main = Revision(reader.u64("main")? as i64);
        let sub = reader.u64("sub")?;
        let sub = u32::try_from(sub).map_err(|_| DecodeError::Unknown { field: "sub", value: sub })?;
        Ok((key, VersionId { main, sub }, reader.bytes("version")?))
    };
    let (key, id, version) = read().map_err(unreadable)?;
    Ok((key, id, Version::decode(version)?))
}
