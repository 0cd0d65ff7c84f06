//! The log that is open for writing.

use std::path::Path;
use std::sync::Arc;

use althing_env::{Disk, DiskError, DiskErrorKind};
use althing_probe::{Mark, Mutant};
use althing_types::GroupId;

use super::format::{
    BATCH_HEADER_BYTES, BatchHeader, Origin, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, encode_batch, record_bytes,
    sectors,
};
use super::head::{self, Place, batch_bytes, batch_len};
use super::ledger::{Ledger, Segment};
use super::pool::{LogFile, Pool};
use super::recover;
use super::{Identity, Pinned, Position, Record, Recovery, Replayed, WalError, WalOptions};

/// The write-ahead log of a node. See the module for what it promises.
///
/// * The log's own thread calls [`append`](Self::append) and then [`sync`](Self::sync): whatever was appended before the
///   sync is durable when it returns, and only then may anybody hear of it.
/// * After a checkpoint is durable the host calls [`release`](Self::release) for each group and then
///   [`recycle`](Self::recycle).
/// * From time to time it asks [`pinned`](Self::pinned), appends the live entries of those groups once more, and says so
///   with [`supersede`](Self::supersede).
///
/// After [`WalError::Disk`] every call answers [`WalError::Poisoned`]: nobody knows what is on disk (a failed sync may
/// have thrown dirty pages away and forgotten it), so the process has to stop and recover.
pub struct Wal {
    pub(super) pool: Pool,
    pub(super) identity: Identity,
    pub(super) options: WalOptions,
    pub(super) current: LogFile,
    pub(super) sequence: u64,
    /// The position of the current segment's first byte.
    pub(super) base: u64,
    /// Where the next batch begins.
    pub(super) tail: u64,
    /// All before this is synced.
    pub(super) durable: u64,
    /// Where the tail was when some of the next segment was preallocated.
    pub(super) prepared: u64,
    pub(super) epoch: u64,
    /// The last checksum before the tail.
    pub(super) chain: u32,
    pub(super) ledger: Ledger,
    pub(super) buffer: Vec<u8>,
    pub(super) health: Health,
    pub(super) written: Written,
}

/// Whether the log can go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Health {
    /// It can.
    Sound,
    /// Nobody knows what is on disk, since this happened.
    Poisoned(DiskError),
}

/// Counts since the log was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    batches: u64,
    bytes: u64,
    syncs: u64,
}

/// Figures for metrics and alarms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WalStats {
    /// Segments in the log.
    pub segments: usize,
    /// Files kept for later segments.
    pub spares: usize,
    /// Bytes from the oldest segment to the tail.
    pub log_bytes: u64,
    /// Bytes appended and not synced yet.
    pub unsynced_bytes: u64,
    /// Bytes that can be appended for certain without any more space on disk: raise an alarm long before it is zero.
    pub headroom_bytes: u64,
    /// The log's epoch: how often it was opened.
    pub epoch: u64,
    /// Batches appended since it was opened.
    pub batches: u64,
    /// Bytes appended since it was opened, headers and padding included.
    pub bytes: u64,
    /// Syncs since it was opened.
    pub syncs: u64,
}

impl Wal {
    /// Opens the log in `dir`, or makes a new one, and hands out all its records.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: WalOptions,
    ) -> Result<(Self, Recovery), WalError> {
        let mut records = Vec::new();
        let visit = &mut |position, record| records.push((position, record));
        let (wal, Replayed { cut, epoch }) = Self::open_with(disk, dir, identity, options, visit)?;
        Ok((wal, Recovery { records, cut, epoch }))
    }

    /// As [`Wal::open`], handing each record to `visit` in order instead of collecting them. If it returns an error,
    /// what `visit` has seen must not be used.
    pub fn open_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: WalOptions,
        visit: &mut dyn FnMut(Position, Record),
    ) -> Result<(Self, Replayed), WalError> {
        recover::open(disk, dir, identity, options, visit)
    }

    /// Writes the records as one batch at the tail, or as several if they are more than `max_batch_bytes`. They are not
    /// durable before [`Wal::sync`]. Returns where they end.
    ///
    /// If a call that needs several batches fails with [`WalError::Full`], the first of them may have been written;
    /// appending all of them again does no harm.
    pub fn append(&mut self, records: &[Record]) -> Result<Position, WalError> {
        self.check_health()?;
        self.check_sizes(records)?;
        let mut rest = records;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest.iter(), self.options.max_batch_bytes));
            if !after.is_empty() {
                althing_probe::hit(Mark::SeveralBatches);
            }
            self.make_room(batch_bytes(batch))?;
            self.write_batch(batch)?;
            rest = after;
        }
        Ok(Position::at(self.tail))
    }

    /// Makes all that was appended durable, and returns where that ends.
    pub fn sync(&mut self) -> Result<Position, WalError> {
        self.check_health()?;
        self.sync_current()?;
        Ok(Position::at(self.durable))
    }

    /// Preallocates some of the next segment if that is behind. To be called after each sync, when whoever waits for the sync has
    /// been told: it takes a sync of its own, once for every [`WalOptions::grow_bytes`] by which the log has grown.
    pub fn prepare(&mut self) -> Result<(), WalError> {
        self.check_health()?;
        let grow = self.options.grow_bytes;
        if self.pool.ready_bytes() >= (self.offset() + grow).min(self.options.segment_bytes) {
            return Ok(());
        }
        // Twice as fast as the log itself grows: a spare that is behind catches up, and no call does it all at once.
        let step = grow.max(2 * (self.tail - self.prepared));
        self.prepared = self.tail;
        let ahead = self.pool.grow_ahead(self.offset() + 2 * grow, step);
        self.fatal(ahead)
    }

    /// Entries of `group` with an index below `keep_from` are no longer needed. A smaller `keep_from` than before changes
    /// nothing. Not remembered across restarts: say it again after recovery.
    pub fn release(&mut self, group: GroupId, keep_from: u64) {
        self.ledger.release(group, keep_from);
    }

    /// All entries of `group` that are still needed were appended at or after `from`, a position that the log's tail had
    /// ([`Wal::tail`]) before they were appended once more.
    pub fn supersede(&mut self, group: GroupId, from: Position) {
        self.ledger.supersede(group, from);
    }

    /// Groups that keep more than `max_pinned_bytes` of log alive, in order.
    #[must_use]
    pub fn pinned(&self) -> Vec<Pinned> {
        self.ledger.pinned(self.tail, self.options.max_pinned_bytes)
    }

    /// Frees the oldest segments that hold nothing needed, for reuse; returns how many. What was appended is synced first:
    /// it may be the reason why older records are not needed.
    pub fn recycle(&mut self) -> Result<usize, WalError> {
        self.check_health()?;
        self.sync_current()?;
        let mut freed = 0;
        while let Some(segment) = self.ledger.pop_unneeded() {
            let result = self.pool.free_segment(segment.sequence);
            self.fatal(result)?;
            freed += 1;
        }
        Ok(freed)
    }

    /// Where the next record will stand, or later.
    #[must_use]
    pub const fn tail(&self) -> Position {
        Position::at(self.tail)
    }

    /// Figures for metrics and alarms.
    #[must_use]
    pub fn stats(&self) -> WalStats {
        let usable = self.current.filled.min(self.options.segment_bytes).saturating_sub(self.options.reserve_bytes);
        let spare_head = SEGMENT_HEADER_BYTES as u64 + self.options.reserve_bytes;
        WalStats {
            segments: self.ledger.segments(),
            spares: self.pool.spares(),
            log_bytes: self.tail - self.ledger.oldest().map_or(self.base, |segment| segment.base),
            unsynced_bytes: self.tail - self.durable,
            headroom_bytes: usable.saturating_sub(self.offset()) + self.pool.ready_bytes().saturating_sub(spare_head),
            epoch: self.epoch,
            batches: self.written.batches,
            bytes: self.written.bytes,
            syncs: self.written.syncs,
        }
    }

    /// Where the tail is in the current segment's file.
    pub(super) const fn offset(&self) -> u64 {
        self.tail - self.base
    }

    fn check_health(&self) -> Result<(), WalError> {
        match &self.health {
            Health::Sound => Ok(()),
            Health::Poisoned(cause) => Err(WalError::Poisoned(cause.clone())),
        }
    }

    fn check_sizes(&self, records: &[Record]) -> Result<(), WalError> {
        let limit = self.options.max_batch_bytes - BATCH_HEADER_BYTES;
        match records.iter().map(record_bytes).find(|bytes| *bytes > limit) {
            None => Ok(()),
            Some(bytes) => Err(WalError::TooLarge {
                what: "a record's payload",
                bytes: (bytes - RECORD_HEADER_BYTES) as u64,
                limit: (limit - RECORD_HEADER_BYTES) as u64,
            }),
        }
    }

    /// After a failure of this result nobody knows what is on disk.
    fn fatal<T>(&mut self, result: Result<T, DiskError>) -> Result<T, WalError> {
        result.map_err(|error| {
            althing_probe::hit(Mark::LogPoisoned);
            self.health = Health::Poisoned(error.clone());
            WalError::Disk(error)
        })
    }

    /// A full disk in this result is no harm: only zeros were to be written.
    fn fatal_unless_full<T>(&mut self, result: Result<T, DiskError>) -> Result<T, WalError> {
        match result {
            Err(error) if error.kind == DiskErrorKind::Full => {
                althing_probe::hit(Mark::DiskFull);
                Err(WalError::Full(error))
            }
            other => self.fatal(other),
        }
    }

    /// Makes sure that a batch of `bytes` fits at the tail, in front of the reserve.
    fn make_room(&mut self, bytes: u64) -> Result<(), WalError> {
        let needed = self.offset() + bytes + self.options.reserve_bytes;
        if needed > self.options.segment_bytes {
            return self.roll(bytes);
        }
        match self.grow_current(needed) {
            // The next segment may have been preallocated before the disk was full.
            Err(WalError::Full(_)) => self.roll(bytes),
            result => result,
        }
    }

    fn grow_current(&mut self, needed: u64) -> Result<(), WalError> {
        if needed <= self.current.filled {
            return Ok(());
        }
        let step = needed.next_multiple_of(self.options.grow_bytes).min(self.options.segment_bytes);
        let grown = match self.current.grow(step.max(needed)) {
            Err(_) if self.current.filled >= needed => Ok(()),
            result => result,
        };
        self.fatal_unless_full(grown)
    }

    /// Goes on in a new segment with room for a batch of `bytes`.
    fn roll(&mut self, bytes: u64) -> Result<(), WalError> {
        let (identity, epoch, chain) = (self.identity, self.epoch, self.chain);
        let place = Place { identity, sequence: self.sequence + 1, base: self.tail, epoch, chain };
        let latest = if althing_probe::is(Mutant::ForgetCarry) { Vec::new() } else { self.ledger.latest() };
        let head = head::build(place, &latest, self.options.max_batch_bytes);
        let needed = head.bytes.len() as u64 + bytes + self.options.reserve_bytes;
        if needed > self.options.segment_bytes {
            let what = "the latest small records of all groups and one batch";
            return Err(WalError::TooLarge { what, bytes: needed, limit: self.options.segment_bytes });
        }
        let reserved = self.pool.reserve(needed);
        self.fatal_unless_full(reserved)?;
        self.sync_current()?;
        let made = self.pool.make_segment(place.sequence, &head.bytes);
        self.current = self.fatal(made)?;
        self.sequence = place.sequence;
        self.base = place.base;
        self.tail = place.base + head.bytes.len() as u64;
        self.durable = self.tail;
        self.chain = head.chain;
        self.ledger.push_segment(Segment::new(self.sequence, self.base));
        Ok(())
    }

    /// Writes one batch where there is room for it.
    fn write_batch(&mut self, records: &[Record]) -> Result<(), WalError> {
        let header = BatchHeader {
            position: self.tail,
            epoch: self.epoch,
            durable_to: if althing_probe::is(Mutant::ClaimDurable) { self.tail } else { self.durable },
            chain: self.chain,
            body_bytes: 0,
            records: 0,
            origin: Origin::Appended,
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let chain = encode_batch(&mut buffer, header, records.iter());
        let bytes = buffer.len() as u64;
        let result = self.current.file.write_at(self.offset(), &buffer);
        self.buffer = buffer;
        self.fatal(result)?;
        self.tail += bytes;
        self.chain = chain;
        self.written.batches += 1;
        self.written.bytes += bytes;
        for record in records {
            self.ledger.note(record);
        }
        Ok(())
    }

    fn sync_current(&mut self) -> Result<(), WalError> {
        if self.durable == self.tail {
            return Ok(());
        }
        let mut result = self.current.file.sync();
        if result.is_err() && althing_probe::is(Mutant::RetrySync) {
            result = self.current.file.sync();
        }
        self.fatal(result)?;
        self.durable = self.tail;
        self.written.syncs += 1;
        Ok(())
    }

    /// Writes and syncs the empty batch that a new epoch begins with. It alone may use the reserve.
    pub(super) fn begin_epoch(&mut self, epoch: u64) -> Result<(), WalError> {
        self.epoch = epoch;
        let bytes = sectors(BATCH_HEADER_BYTES) as u64;
        let needed = self.offset() + bytes;
        if needed > self.options.segment_bytes.max(self.current.filled) {
            self.roll(bytes)?;
        } else {
            self.grow_current(needed)?;
        }
        self.write_batch(&[])?;
        self.sync_current()
    }
}
