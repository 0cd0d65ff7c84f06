//! The write-ahead log.
use althing_types::GroupId;
use bytes::Bytes;
#[allow(missing_docs)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum RecordKind {
    Entries = 1,
    HardState = 2,
    Truncated = 3,
    Snapshot = 4,
    GroupDropped = 5,
}
#[allow(missing_docs)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub group: GroupId,
    pub kind: RecordKind,
    pub index: u64,
    pub payload: Bytes,
}
