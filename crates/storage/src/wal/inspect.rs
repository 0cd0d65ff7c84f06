//! Looking at a log without changing it, for people and tools. The node that owns it must not be running.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use althing_env::Disk;
use althing_types::GroupId;

use super::format::{BatchHeader, Origin, ReadRecord};
use super::scan::{LogWalk, Step};
use super::{Identity, Position, RecordKind, WalError};

/// What a record counts for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordState {
    /// Its checksum is right and recovery hands it out.
    Valid,
    /// Its checksum is right; it repeats the latest record of its group and kind at the beginning of a segment.
    Carried,
    /// Its checksum is right, but its batch is torn: recovery cuts it off.
    Cut,
}

/// One record of the log, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InspectedRecord {
    /// The segment's file.
    pub segment: PathBuf,
    /// Of the record in it, in bytes.
    pub offset: u64,
    /// Whose log it is.
    pub identity: Identity,
    /// Where the record's batch begins.
    pub batch: Position,
    /// The batch's epoch.
    pub epoch: u64,
    /// What had been synced when the batch was written.
    pub durable_to: Position,
    /// Whose record.
    pub group: GroupId,
    /// What about.
    pub kind: RecordKind,
    /// The greatest log index inside.
    pub index: u64,
    /// Bytes of its payload.
    pub payload_bytes: u64,
    /// What it counts for.
    pub state: RecordState,
}

/// All records of the log in `dir`, oldest first. The last item is the error that opening the log would end with, if any.
pub fn inspect<'a>(
    disk: &'a dyn Disk,
    dir: &'a Path,
) -> Result<impl Iterator<Item = Result<InspectedRecord, WalError>> + use<'a>, WalError> {
    Ok(Inspector { walk: Some(LogWalk::of_directory(disk, dir)?), first_sequence: None, ready: VecDeque::new() })
}

struct Inspector<'a> {
    /// Gone once it has come to an end.
    walk: Option<LogWalk<'a>>,
    first_sequence: Option<u64>,
    ready: VecDeque<InspectedRecord>,
}

impl Inspector<'_> {
    fn step(&mut self) -> Result<(), WalError> {
        let Some(walk) = &mut self.walk else { return Ok(()) };
        let Some(step) = walk.next()? else {
            self.walk = None;
            return Ok(());
        };
        let segment = walk.current().expect("a step is always within a segment");
        let describe = |batch: &BatchHeader, read: ReadRecord, state| InspectedRecord {
            segment: segment.path.clone(),
            offset: read.offset,
            identity: segment.header.identity,
            batch: Position::at(batch.position),
            epoch: batch.epoch,
            durable_to: Position::at(batch.durable_to),
            group: read.record.group,
            kind: read.record.kind,
            index: read.record.index,
            payload_bytes: read.record.payload.len() as u64,
            state,
        };
        match step {
            Step::Segment(header) => {
                self.first_sequence.get_or_insert(header.sequence);
            }
            Step::Batch(batch) => {
                let state = match batch.header.origin {
                    Origin::Carried if self.first_sequence != Some(segment.header.sequence) => RecordState::Carried,
                    Origin::Carried | Origin::Appended => RecordState::Valid,
                };
                self.ready.extend(batch.records.into_iter().map(|read| describe(&batch.header, read, state)));
            }
            Step::End { stop, .. } => {
                if let Some((header, records)) = stop.torn {
                    self.ready.extend(records.into_iter().map(|read| describe(&header, read, RecordState::Cut)));
                }
                self.walk = None;
            }
        }
        Ok(())
    }
}

impl Iterator for Inspector<'_> {
    type Item = Result<InspectedRecord, WalError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Some(Ok(record));
            }
            self.walk.as_ref()?;
            if let Err(error) = self.step() {
                self.walk = None;
                return Some(Err(error));
            }
        }
    }
}
