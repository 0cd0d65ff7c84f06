//! Reads of what is applied, while the machine goes on.
//!
//! Every answer comes from one view of the engine, with the revision that the view's own state record tells; only the
//! read of one key as it is now goes without a view:
//!
//! * It takes the published revision P first and the key's newest version M after. If M ≤ P, nobody wrote the key between
//!   P and the look, so the answer is the table's at P. If M > P, it is the table's at M, which one batch made visible.
//! * If the key does not exist, a removal may lie between P and the look. The answer stands only if no batch was being
//!   committed meanwhile (a sequence number that is odd during commits says so); otherwise a view decides.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use althing_api::ErrorKind;
use althing_api::cluster::{Alarm, HashKv, Member};
use althing_api::keys::Keys;
use althing_api::kv::{Event, KeyValue, RangeEnd, RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use althing_storage::engine::{Engine, View};
use althing_types::{LeaseId, NodeId, Revision, SpaceId};
use bytes::Bytes;

use crate::bounds::{Bounds, Slice};
use crate::command::Command;
use crate::count::CountIndex;
use crate::error::{Failure, StrongError};
use crate::export::Export;
use crate::feed::Feed;
use crate::layout::{self, Current, Meta, RevisionRecord, Version, VersionBody, VersionId};
use crate::lessor::LeaseRecord;
use crate::machine::plan::Plan;
use crate::members::{self, Members};
use crate::range::{Source, Visit, passes};
use crate::state::State;
use crate::walk::{HistoryWalk, Hold};
use crate::watch::{Change, History};
use crate::{check, hash};

/// What the machine shows to readers after each batch.
pub(crate) struct Published {
    pub(crate) state: State,
    pub(crate) index: CountIndex,
    pub(crate) bounds: Option<Bounds>,
    pub(crate) least_deadline_ms: i64,
}

/// What the machine and its readers share.
pub(crate) struct Shared {
    /// Odd while a batch is being committed.
    sequence: AtomicU64,
    revision: AtomicI64,
    compacted: AtomicI64,
    size: AtomicU64,
    quota: AtomicU64,
    /// The least deadline of a key, or less; [`i64::MAX`] if there is none.
    least_deadline_ms: AtomicI64,
    index: RwLock<CountIndex>,
    /// Whether `bounds` holds any: shards without them, which are most, take no lock.
    has_bounds: AtomicBool,
    bounds: RwLock<Option<Bounds>>,
    /// Reads of the whole history under way, during which nothing is removed.
    pub(crate) holds: AtomicUsize,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            revision: AtomicI64::new(Revision::FIRST.0),
            compacted: AtomicI64::new(crate::state::NEVER_COMPACTED.0),
            size: AtomicU64::new(0),
            quota: AtomicU64::new(0),
            least_deadline_ms: AtomicI64::new(i64::MAX),
            index: RwLock::new(CountIndex::empty(Revision::FIRST)),
            has_bounds: AtomicBool::new(false),
            bounds: RwLock::new(None),
            holds: AtomicUsize::new(0),
        }
    }

    /// Says that a batch is about to become visible, until the guard is dropped.
    pub(crate) fn write(self: &Arc<Self>) -> Writing {
        self.sequence.fetch_add(1, Ordering::SeqCst);
        Writing(Arc::clone(self))
    }

    pub(crate) fn publish(&self, published: Published) {
        // A panic while the lock is held cannot leave the index half written: it is replaced whole.
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = published.index;
        let has_bounds = published.bounds.is_some();
        *self.bounds.write().unwrap_or_else(PoisonError::into_inner) = published.bounds;
        self.has_bounds.store(has_bounds, Ordering::SeqCst);
        self.size.store(published.state.size(), Ordering::SeqCst);
        self.quota.store(published.state.quota, Ordering::SeqCst);
        self.least_deadline_ms.store(published.least_deadline_ms, Ordering::SeqCst);
        self.compacted.store(published.state.compacted.0, Ordering::SeqCst);
        self.revision.store(published.state.revision.0, Ordering::SeqCst);
    }

    /// Refuses keys that the shard does not hold.
    pub(crate) fn admit(&self, keys: &Keys<'_>) -> Result<(), ErrorKind> {
        if !self.has_bounds.load(Ordering::SeqCst) {
            return Ok(());
        }
        let bounds = self.bounds.read().unwrap_or_else(PoisonError::into_inner);
        bounds.as_ref().map_or(Ok(()), |bounds| bounds.admit(keys))
    }

    pub(crate) fn least_deadline_ms(&self) -> i64 {
        self.least_deadline_ms.load(Ordering::SeqCst)
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::SeqCst) > 0
    }

    fn index(&self) -> CountIndex {
        self.index.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::SeqCst))
    }
}

/// A commit under way.
pub(crate) struct Writing(Arc<Shared>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.sequence.fetch_add(1, Ordering::SeqCst);
    }
}

/// One view, with the state that it holds and an index no newer than that.
pub(crate) struct Moment {
    pub(crate) view: Box<dyn View>,
    pub(crate) state: State,
    index: CountIndex,
    space: SpaceId,
}

impl Moment {
    pub(crate) fn source(&self) -> Source<'_> {
        let State { revision, compacted, .. } = self.state;
        Source { read: &*self.view, space: self.space, revision, compacted, index: &self.index, recent: None }
    }
}

/// Reads what a machine has applied, on any thread, while the machine goes on. Cheap to clone.
///
/// Errors of the engine come as `Storage`: the replica has to stop.
#[derive(Clone)]
pub struct Reader {
    engine: Arc<dyn Engine>,
    pub(crate) space: SpaceId,
    pub(crate) shared: Arc<Shared>,
}

impl Reader {
    pub(crate) fn new(engine: Arc<dyn Engine>, space: SpaceId, shared: Arc<Shared>) -> Self {
        Self { engine, space, shared }
    }

    /// The table's revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.shared.revision()
    }

    /// The least revision that can be read; -1 before the first compaction.
    #[must_use]
    pub fn compact_revision(&self) -> Revision {
        Revision(self.shared.compacted.load(Ordering::SeqCst))
    }

    /// Bytes of logical data, as the quota counts them.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.shared.size.load(Ordering::SeqCst)
    }

    /// Keys that exist.
    #[must_use]
    pub fn key_count(&self) -> u64 {
        self.shared.index().total()
    }

    /// The least deadline of a key, in milliseconds since 1970, or less; [`i64::MAX`] if no key has one.
    #[must_use]
    pub fn least_deadline_ms(&self) -> i64 {
        self.shared.least_deadline_ms()
    }

    /// The quota in bytes.
    #[must_use]
    pub fn quota_bytes(&self) -> u64 {
        self.shared.quota.load(Ordering::SeqCst)
    }

    /// A range, and the revision of the table that it was read at (not the one that was asked for).
    pub fn range(&self, request: &RangeRequest) -> Result<(RangeResponse, Revision), ErrorKind> {
        check::range(request)?;
        self.shared.admit(&Keys::of(&request.keys))?;
        let is_point = request.keys.end == RangeEnd::Single && request.revision.is_none() && !request.count_only;
        if is_point && let Some(answer) = self.point(request)? {
            return Ok(answer);
        }
        let moment = self.moment()?;
        let source = moment.source();
        source.check_revision(request.revision)?;
        Ok((source.range(request)?, moment.state.revision))
    }

    /// A transaction that cannot write; one that can is refused.
    pub fn txn(&self, request: &TxnRequest) -> Result<(TxnResponse, Revision), ErrorKind> {
        check::txn(request)?;
        self.shared.admit(&Keys::of_txn(request))?;
        if !request.is_read_only() {
            return Err(ErrorKind::InvalidArgument("a transaction that writes goes through the log".to_owned()));
        }
        let moment = self.moment()?;
        let source = moment.source();
        let answer = || -> Result<TxnResponse, Failure> {
            let plan = Plan::choose(&source, request)?;
            plan.check(&source, &|_| true)?;
            Ok(plan.read(&source)?)
        };
        Ok((answer()?, moment.state.revision))
    }

    /// Whole changes from `from` up to and including `to` (or the table's revision, if that is less), each with the version
    /// before. Stops before the change that exceeds `max_bytes`, unless it is the first.
    pub fn history(&self, from: Revision, to: Revision, max_bytes: usize) -> Result<History, ErrorKind> {
        self.shared.admit(&Keys::None)?;
        let moment = self.moment()?;
        let State { revision, compacted, .. } = moment.state;
        if from < compacted {
            return Err(ErrorKind::Compacted { requested: from, oldest: compacted });
        }
        if from > revision {
            return Err(ErrorKind::FutureRevision { requested: from, current: revision });
        }
        Ok(moment.history(from, to.min(revision).max(from), max_bytes)?)
    }

    /// Seconds granted to a lease, and its keys in order.
    pub fn lease(&self, id: LeaseId) -> Result<Option<(i64, Vec<Bytes>)>, ErrorKind> {
        let moment = self.moment()?;
        let key = layout::lease_key(id);
        let Some(record) = moment.view.get(self.space, &key).map_err(StrongError::from)? else { return Ok(None) };
        let lease = LeaseRecord::decode(&key, record)?;
        Ok(Some((lease.ttl_seconds, moment.source().attached(id)?)))
    }

    /// All leases in order, as the machine holds them.
    pub fn lease_records(&self) -> Result<Vec<LeaseRecord>, ErrorKind> {
        Ok(LeaseRecord::all(&*self.engine.view(), self.space)?)
    }

    /// What speaks against a change of the members, as the table stands.
    pub fn check_members(&self, command: &Command) -> Result<(), ErrorKind> {
        Members::decode(self.meta(Meta::Members)?)?.check(command)
    }

    /// All leases in order.
    pub fn leases(&self) -> Result<Vec<LeaseId>, ErrorKind> {
        let view = self.engine.view();
        let leases = LeaseRecord::all(&*view, self.space)?;
        Ok(leases.into_iter().map(|lease| lease.id).collect())
    }

    /// All members by id.
    pub fn members(&self) -> Result<Vec<Member>, ErrorKind> {
        Ok(Members::decode(self.meta(Meta::Members)?)?.list())
    }

    /// The ids of all members that were removed.
    pub fn removed_members(&self) -> Result<BTreeSet<NodeId>, ErrorKind> {
        Ok(Members::decode(self.meta(Meta::Members)?)?.removed().clone())
    }

    /// All alarms that are raised.
    pub fn alarms(&self) -> Result<Vec<Alarm>, ErrorKind> {
        Ok(members::decode_alarms(self.meta(Meta::Alarms)?)?.into_iter().collect())
    }

    /// A hash over all that the table holds: equal on all replicas that have applied the same commands. Slow.
    pub fn hash(&self) -> Result<u32, ErrorKind> {
        let (walk, moment) = self.walk(None)?;
        let unversioned = [Meta::Members, Meta::Alarms, Meta::ConfState];
        let unversioned = unversioned.map(|meta| self.meta_of(&*moment.view, meta));
        let [members, alarms, conf_state] = unversioned;
        let leases = LeaseRecord::all(&*moment.view, self.space)?;
        let mut records = vec![members?, alarms?, conf_state?];
        records.extend(self.bounds_record(&*moment.view)?);
        let head = hash::unversioned(&moment.state, &records, &leases);
        drop(moment);
        Ok(hash::history(head, walk)?)
    }

    /// A hash over the history up to a revision (`None`: now), as compaction left it. Slow.
    pub fn hash_kv(&self, revision: Option<Revision>) -> Result<HashKv, ErrorKind> {
        let (walk, moment) = self.walk(revision)?;
        let (hash_revision, compact_revision) = (walk.cut(), moment.state.compacted);
        drop(moment);
        Ok(HashKv { hash: hash::history(0, walk)?, hash_revision, compact_revision })
    }

    /// The table as it is now, as pages.
    pub fn export(&self) -> Result<Export, ErrorKind> {
        let (walk, moment) = self.walk(None)?;
        let meta = |meta| self.meta_of(&*moment.view, meta);
        let leases = LeaseRecord::all(&*moment.view, self.space)?;
        let (members, alarms) = (meta(Meta::Members)?, meta(Meta::Alarms)?);
        let bounds = self.bounds_record(&*moment.view)?;
        Ok(Export::new(moment.state, meta(Meta::ConfState)?, members, alarms, bounds, leases, walk))
    }

    /// Which keys the shard holds; `None` if it is the whole of its table.
    #[must_use]
    pub fn bounds(&self) -> Option<Bounds> {
        if !self.shared.has_bounds.load(Ordering::SeqCst) {
            return None;
        }
        self.shared.bounds.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key that has as many keys below it as above; `None` if there are fewer than two. It visits the keys of one bucket of
    /// the count.
    pub fn middle(&self) -> Result<Option<Bytes>, ErrorKind> {
        let moment = self.moment()?;
        let rank = moment.index.total() / 2;
        if rank == 0 {
            return Ok(None);
        }
        let (keys, mut before) = moment.index.bucket_of(rank);
        let mut middle = None;
        moment.source().each_current(&keys, |key, _| {
            if before == rank {
                middle = Some(key);
                return Ok(Visit::Stop);
            }
            before += 1;
            Ok(Visit::GoOn)
        })?;
        Ok(middle)
    }

    /// The history of a slice from a position on, for a child: from [`START`](crate::bounds::START), or from where the
    /// child's own bounds say that it stands. `Compacted` if this replica may have removed some of that: fill another child.
    pub fn feed(&self, slice: Slice, from: VersionId) -> Result<Feed, ErrorKind> {
        let hold = Hold::new(&self.shared);
        Feed::new(Arc::clone(&self.engine), self.space, slice, from, hold)
    }

    fn bounds_record(&self, view: &dyn View) -> Result<Option<Bytes>, StrongError> {
        Ok(view.get(self.space, &layout::meta_key(Meta::Bounds))?)
    }

    /// One key as it is now, without a view. `None` if only a view can tell.
    fn point(&self, request: &RangeRequest) -> Result<Option<(RangeResponse, Revision)>, StrongError> {
        let key = &request.keys.start;
        let sequence = self.shared.sequence.load(Ordering::SeqCst);
        let published = self.shared.revision();
        let Some(record) = self.engine.get(self.space, &layout::current_key(key))? else {
            let quiet = sequence.is_multiple_of(2) && self.shared.sequence.load(Ordering::SeqCst) == sequence;
            return Ok(quiet.then(|| (RangeResponse::default(), published)));
        };
        let mut current = Current::decode(record)?;
        let id = current.version_id;
        let value = match current.inline.take() {
            _ if request.keys_only => Bytes::new(),
            Some(value) => value,
            None => {
                match self.engine.get(self.space, &layout::history_key(key, id))?.map(Version::decode).transpose()? {
                    Some(Version { body: VersionBody::Put { value, .. }, .. }) => value,
                    // Replaced and compacted between the two looks.
                    Some(_) | None => return Ok(None),
                }
            }
        };
        let kv = current.into_key_value(key.clone(), value);
        let kvs: Vec<KeyValue> = Some(kv).filter(|kv| passes(request, kv)).into_iter().collect();
        Ok(Some((RangeResponse { kvs, more: false, count: 1 }, published.max(id.main))))
    }

    /// A view and what belongs to it. The index is taken first, so that it is never newer than the view.
    pub(crate) fn moment(&self) -> Result<Moment, StrongError> {
        let index = self.shared.index();
        let view = self.engine.view();
        let state = State::decode(self.meta_of(&*view, Meta::State)?)?;
        Ok(Moment { view, state, index, space: self.space })
    }

    /// A walk through the history up to a revision; the hold on it begins before the view is taken.
    fn walk(&self, revision: Option<Revision>) -> Result<(HistoryWalk, Moment), ErrorKind> {
        let hold = Hold::new(&self.shared);
        let moment = self.moment()?;
        moment.source().check_revision(revision)?;
        let cut = revision.filter(|revision| revision.0 > 0).unwrap_or(moment.state.revision);
        let walk = HistoryWalk::new(Arc::clone(&self.engine), self.space, cut, moment.state.compacted, hold);
        Ok((walk, moment))
    }

    fn meta(&self, meta: Meta) -> Result<Bytes, StrongError> {
        self.engine.get(self.space, &layout::meta_key(meta))?.ok_or(StrongError::Blank)
    }

    fn meta_of(&self, view: &dyn View, meta: Meta) -> Result<Bytes, StrongError> {
        view.get(self.space, &layout::meta_key(meta))?.ok_or(StrongError::Blank)
    }
}

impl Moment {
    fn history(&self, from: Revision, to: Revision, max_bytes: usize) -> Result<History, StrongError> {
        let mut changes: Vec<Change> = Vec::new();
        let mut bytes = 0;
        let span = layout::revision_span(VersionId::first_of(from), VersionId::after(to));
        let mut scan = self.view.scan(self.space, span.bounds()).peekable();
        while let Some(item) = scan.next() {
            let (key, record) = item?;
            let revision = layout::revision_version(&key)?.main;
            let mut events = vec![self.event(&key, record)?];
            while let Some(Ok((key, record))) = scan.next_if(|next| is_of(next, revision)) {
                events.push(self.event(&key, record)?);
            }
            if revision == self.state.compacted {
                keep_newest(&mut events);
            }
            bytes += events.iter().map(event_bytes).sum::<usize>();
            if bytes > max_bytes && !changes.is_empty() {
                return Ok(History { changes, next: revision });
            }
            changes.push(Change { revision, events: events.into() });
        }
        Ok(History { changes, next: to.next() })
    }

    fn event(&self, revision_key: &[u8], record: Bytes) -> Result<Event, StrongError> {
        let id = layout::revision_version(revision_key)?;
        let RevisionRecord { deed, previous, key } = RevisionRecord::decode(record)?;
        let kv = match self.version(&key, id)? {
            Some(kv) => kv,
            None => KeyValue { key: key.clone(), mod_revision: id.main, ..KeyValue::default() },
        };
        // What lies below the compact revision may be gone on this replica and not on another: nobody sees it.
        let prev_kv = match previous {
            Some(_) if id.main <= self.state.compacted => None,
            Some(previous) if previous.main == id.main => self.source().version_at(&key, Revision(id.main.0 - 1))?,
            Some(previous) => self.version(&key, previous)?,
            None => None,
        };
        Ok(Event { kind: deed.event_kind(), kv, prev_kv })
    }

    /// A version that exists; `None` if it is a tombstone.
    fn version(&self, key: &Bytes, id: VersionId) -> Result<Option<KeyValue>, StrongError> {
        let record = self.view.get(self.space, &layout::history_key(key, id))?;
        let missing = || StrongError::Inconsistent(format!("the version {}.{} of a key is missing", id.main, id.sub));
        Ok(Version::decode(record.ok_or_else(missing)?)?.into_key_value(key.clone(), id.main))
    }
}

/// Of the compact revision itself only the newest version of each key counts: what a transaction wrote to it before may be
/// gone on this replica and not on another.
fn keep_newest(events: &mut Vec<Event>) {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<Event> = events.drain(..).rev().filter(|event| seen.insert(event.kv.key.clone())).collect();
    kept.reverse();
    *events = kept;
}

type Item = Result<(Bytes, Bytes), althing_storage::engine::EngineError>;

fn is_of(item: &Item, revision: Revision) -> bool {
    item.as_ref().is_ok_and(|(key, _)| layout::revision_version(key).is_ok_and(|id| id.main == revision))
}

fn event_bytes(event: &Event) -> usize {
    let of = |kv: &KeyValue| kv.key.len() + kv.value.len() + size_of::<KeyValue>();
    of(&event.kv) + event.prev_kv.as_ref().map_or(0, of)
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("space", &self.space).field("revision", &self.revision()).finish_non_exhaustive()
    }
}
