//! Reads.
use althing_api::ErrorKind;
use althing_api::cluster::{Alarm, HashKv, Member};
use althing_api::kv::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use althing_types::{LeaseId, Revision};
use bytes::Bytes;

use crate::export::Export;
use crate::watch::History;

/// Reads what a machine has applied, on any thread, while the machine goes on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {}

#[allow(unused_variables)]
impl Reader {
    /// The table's revision.
    pub fn revision(&self) -> Revision {
        unimplemented!()
    }
    /// The least revision that can be read; -1 before the first compaction.
    pub fn compact_revision(&self) -> Revision {
        unimplemented!()
    }
    /// A range, and the revision of the table that it was read at.
    pub fn range(&self, request: &RangeRequest) -> Result<(RangeResponse, Revision), ErrorKind> {
        unimplemented!()
    }
    /// A transaction that cannot write.
    pub fn txn(&self, request: &TxnRequest) -> Result<(TxnResponse, Revision), ErrorKind> {
        unimplemented!()
    }
    /// Whole changes from `from` up to and including `to`, at least one if there is one, and not many more than
    /// `max_bytes`.
    pub fn history(&self, from: Revision, to: Revision, max_bytes: usize) -> Result<History, ErrorKind> {
        unimplemented!()
    }
    /// Seconds granted to a lease, and its keys in order.
    pub fn lease(&self, id: LeaseId) -> Result<Option<(i64, Vec<Bytes>)>, ErrorKind> {
        unimplemented!()
    }
    /// All leases as the machine holds them, in order.
    pub fn lease_records(&self) -> Result<Vec<crate::lessor::LeaseRecord>, ErrorKind> {
        unimplemented!()
    }
    /// All leases in order.
    pub fn leases(&self) -> Result<Vec<LeaseId>, ErrorKind> {
        unimplemented!()
    }
    /// All members by id.
    pub fn members(&self) -> Result<Vec<Member>, ErrorKind> {
        unimplemented!()
    }
    /// All alarms that are raised.
    pub fn alarms(&self) -> Result<Vec<Alarm>, ErrorKind> {
        unimplemented!()
    }
    /// A hash over all that the table holds.
    pub fn hash(&self) -> Result<u32, ErrorKind> {
        unimplemented!()
    }
    /// A hash over the history up to a revision.
    pub fn hash_kv(&self, revision: Option<Revision>) -> Result<HashKv, ErrorKind> {
        unimplemented!()
    }
    /// Bytes of logical data, as the quota counts them.
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// The quota in bytes.
    pub fn quota_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// The table as pages.
    pub fn export(&self) -> Result<Export, ErrorKind> {
        unimplemented!()
    }
}
