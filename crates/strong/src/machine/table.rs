//! What the machine keeps in memory of its table, and its records in the space.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::cluster::Alarm;
use althing_codec::{DecodeError, Reader, Writer};
use althing_probe::Mutant;
use althing_storage::engine::{Batch, Engine, View};
use althing_types::{LeaseId, SpaceId};
use bytes::Bytes;

use crate::bounds::Bounds;
use crate::error::StrongError;
use crate::layout::{self, FORMAT, Meta};
use crate::lessor::LeaseRecord;
use crate::machine::recent::Recent;
use crate::members::{self, Members};
use crate::state::{Progress, State};

/// The unversioned part of a table.
pub(crate) struct Table {
    pub(crate) state: State,
    pub(crate) members: Members,
    pub(crate) alarms: BTreeSet<Alarm>,
    pub(crate) leases: BTreeMap<LeaseId, LeaseRecord>,
    pub(crate) conf_state: Bytes,
    /// Which keys the shard holds; `None` is all of them, for good.
    pub(crate) bounds: Option<Bounds>,
    pub(crate) recent: Recent,
}

impl Table {
    /// A table without leases and bounds.
    pub(crate) fn new(state: State, members: Members, alarms: BTreeSet<Alarm>, conf_state: Bytes) -> Self {
        Self { state, members, alarms, leases: BTreeMap::new(), conf_state, bounds: None, recent: Recent::default() }
    }

    /// What the space holds; `None` if nothing was ever written to it.
    pub(crate) fn load(engine: &dyn Engine, space: SpaceId) -> Result<Option<Self>, StrongError> {
        let view = engine.view();
        let meta = |meta: Meta| view.get(space, &layout::meta_key(meta));
        if meta(Meta::Importing)?.is_some() {
            return Err(StrongError::ImportUnfinished);
        }
        let Some(format) = meta(Meta::Format)? else { return Ok(None) };
        check_format(format)?;
        let need = |what: Meta| {
            let missing = || StrongError::Inconsistent(format!("the {what:?} record is missing"));
            meta(what)?.ok_or_else(missing)
        };
        let state = State::decode(need(Meta::State)?)?;
        let members = Members::decode(need(Meta::Members)?)?;
        let alarms = members::decode_alarms(need(Meta::Alarms)?)?;
        let mut table = Self::new(state, members, alarms, need(Meta::ConfState)?);
        table.bounds = meta(Meta::Bounds)?.map(Bounds::decode).transpose()?;
        if althing_probe::is(Mutant::ForgetLeases) {
            return Ok(Some(table));
        }
        table.leases = LeaseRecord::all(&*view, space)?.into_iter().map(|lease| (lease.id, lease)).collect();
        Ok(Some(table))
    }

    /// Writes all of it but the leases.
    pub(crate) fn store(&self, batch: &mut dyn Batch) {
        let mut format = Writer::default();
        format.u64(FORMAT);
        batch.put(&layout::meta_key(Meta::Format), &format.finish());
        batch.put(&layout::meta_key(Meta::State), &self.state.encode());
        batch.put(&layout::meta_key(Meta::ConfState), &self.conf_state);
        batch.put(&layout::meta_key(Meta::Members), &self.members.encode());
        batch.put(&layout::meta_key(Meta::Alarms), &members::encode_alarms(&self.alarms));
        if let Some(bounds) = &self.bounds {
            batch.put(&layout::meta_key(Meta::Bounds), &bounds.encode());
        }
    }
}

fn check_format(record: Bytes) -> Result<(), StrongError> {
    let format = |source| StrongError::Record { what: "format", source };
    match Reader::new(record).u64("format").map_err(format)? {
        FORMAT => Ok(()),
        found => Err(format(DecodeError::Version { what: "the space", found, known: FORMAT })),
    }
}

/// How far the removal of compacted versions has come.
pub(crate) fn load_progress(engine: &dyn Engine, space: SpaceId) -> Result<Progress, StrongError> {
    match engine.get(space, &layout::meta_key(Meta::Progress))? {
        Some(record) => Progress::decode(record),
        None => Ok(Progress::new()),
    }
}

impl LeaseRecord {
    /// The bytes of its record.
    pub(crate) fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(20);
        writer.i64(self.ttl_seconds);
        writer.i64(self.remaining_seconds);
        writer.finish()
    }

    /// From its record.
    pub(crate) fn decode(key: &[u8], record: Bytes) -> Result<Self, StrongError> {
        let read = || {
            let id = key.get(1..).and_then(|id| id.try_into().ok()).ok_or(DecodeError::Truncated("lease"))?;
            let mut reader = Reader::new(record);
            let (ttl_seconds, remaining_seconds) = (reader.i64("seconds")?, reader.i64("seconds left")?);
            reader.finish()?;
            Ok(Self { id: LeaseId(i64::from_be_bytes(id)), ttl_seconds, remaining_seconds })
        };
        read().map_err(|source| StrongError::Record { what: "lease", source })
    }

    /// All leases of a space, by id.
    pub(crate) fn all(read: &dyn View, space: SpaceId) -> Result<Vec<Self>, StrongError> {
        let span = layout::lease_span();
        let scan = read.scan(space, span.bounds());
        scan.map(|item| item.map_err(StrongError::from).and_then(|(key, record)| Self::decode(&key, record))).collect()
    }
}
