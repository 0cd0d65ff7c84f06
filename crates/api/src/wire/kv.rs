//! The bytes of reads, writes and transactions. The log holds the same (docs/formats/strong.md): what stands here never
//! changes.

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::limits::MAX_TXN_DEPTH;
use althing_types::{LeaseId, Revision};

use super::unknown;
use crate::kv::{
    Compare, CompareOperator, CompareTarget, Consistency, DeleteRangeRequest, KeyRange, Operation, PutLease,
    PutRequest, PutValue, RangeEnd, RangeRequest, SortOrder, SortTarget, TxnRequest,
};

/// How deep a transaction may nest before its bytes are refused. More than a table allows, so that what it accepted always
/// parses.
const MAX_DECODED_DEPTH: usize = 2 * MAX_TXN_DEPTH;

/// Writes a range of keys.
pub fn write_keys(writer: &mut Writer, keys: &KeyRange) {
    writer.bytes(&keys.start);
    match &keys.end {
        RangeEnd::Single => writer.u8(0),
        RangeEnd::Before(end) => {
            writer.u8(1);
            writer.bytes(end);
        }
        RangeEnd::Unbounded => writer.u8(2),
    }
}

/// Reads a range of keys.
pub fn read_keys(reader: &mut Reader) -> Result<KeyRange, DecodeError> {
    let start = reader.bytes("key")?;
    let end = match reader.u8("range end")? {
        0 => RangeEnd::Single,
        1 => RangeEnd::Before(reader.bytes("end")?),
        2 => RangeEnd::Unbounded,
        value => return unknown("range end", value),
    };
    Ok(KeyRange { start, end })
}

/// Writes a put.
pub fn write_put(writer: &mut Writer, put: &PutRequest) {
    writer.bytes(&put.key);
    match &put.value {
        PutValue::Set(value) => {
            writer.u8(1);
            writer.bytes(value);
        }
        PutValue::Keep => writer.u8(0),
    }
    match put.lease {
        PutLease::Set(lease) => {
            writer.u8(1);
            writer.i64(lease.map_or(0, LeaseId::get));
        }
        PutLease::Keep => writer.u8(0),
    }
    writer.bool(put.prev_kv);
}

/// Reads a put.
pub fn read_put(reader: &mut Reader) -> Result<PutRequest, DecodeError> {
    let key = reader.bytes("key")?;
    let value = match reader.u8("value of a put")? {
        0 => PutValue::Keep,
        1 => PutValue::Set(reader.bytes("value")?),
        value => return unknown("value of a put", value),
    };
    let lease = match reader.u8("lease of a put")? {
        0 => PutLease::Keep,
        1 => {
            let id = reader.i64("lease")?;
            PutLease::Set((id != 0).then_some(LeaseId(id)))
        }
        value => return unknown("lease of a put", value),
    };
    Ok(PutRequest { key, value, lease, prev_kv: reader.bool("prev_kv")? })
}

/// Writes a removal.
pub fn write_delete(writer: &mut Writer, delete: &DeleteRangeRequest) {
    write_keys(writer, &delete.keys);
    writer.bool(delete.prev_kv);
}

/// Reads a removal.
pub fn read_delete(reader: &mut Reader) -> Result<DeleteRangeRequest, DecodeError> {
    Ok(DeleteRangeRequest { keys: read_keys(reader)?, prev_kv: reader.bool("prev_kv")? })
}

/// Writes a read.
pub fn write_range(writer: &mut Writer, range: &RangeRequest) {
    write_keys(writer, &range.keys);
    writer.u64(range.limit);
    let revisions = [
        range.revision,
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ];
    for revision in revisions {
        writer.bool(revision.is_some());
        if let Some(revision) = revision {
            writer.i64(revision.0);
        }
    }
    writer.u8(range.sort.map_or(0, sort_tag));
    writer.bool(range.consistency == Consistency::Serializable);
    writer.bool(range.keys_only);
    writer.bool(range.count_only);
}

/// Reads a read.
pub fn read_range(reader: &mut Reader) -> Result<RangeRequest, DecodeError> {
    let keys = read_keys(reader)?;
    let limit = reader.u64("limit")?;
    let mut revision = || {
        let is_some = reader.bool("revision")?;
        if is_some { reader.i64("revision").map(|revision| Some(Revision(revision))) } else { Ok(None) }
    };
    Ok(RangeRequest {
        keys,
        limit,
        revision: revision()?,
        min_mod_revision: revision()?,
        max_mod_revision: revision()?,
        min_create_revision: revision()?,
        max_create_revision: revision()?,
        sort: read_sort(reader)?,
        consistency: if reader.bool("consistency")? { Consistency::Serializable } else { Consistency::Linearizable },
        keys_only: reader.bool("keys_only")?,
        count_only: reader.bool("count_only")?,
    })
}

/// What the tags of [`SortOrder::AscendingWithinLimit`] are above those of [`SortOrder::Ascending`].
const WITHIN_LIMIT: u8 = 10;

/// 0 is no order; the target times two, plus one if descending, plus [`WITHIN_LIMIT`] if ascending after the limit.
const fn sort_tag(sort: (SortTarget, SortOrder)) -> u8 {
    let target = match sort.0 {
        SortTarget::Key => 1,
        SortTarget::Version => 2,
        SortTarget::Create => 3,
        SortTarget::Mod => 4,
        SortTarget::Value => 5,
    };
    match sort.1 {
        SortOrder::Ascending => target * 2,
        SortOrder::Descending => target * 2 + 1,
        SortOrder::AscendingWithinLimit => target * 2 + WITHIN_LIMIT,
    }
}

fn read_sort(reader: &mut Reader) -> Result<Option<(SortTarget, SortOrder)>, DecodeError> {
    let tag = reader.u8("sort")?;
    if tag == 0 {
        return Ok(None);
    }
    let (place, order) = match tag {
        12.. if tag.is_multiple_of(2) => (tag - WITHIN_LIMIT, SortOrder::AscendingWithinLimit),
        _ if tag.is_multiple_of(2) => (tag, SortOrder::Ascending),
        _ => (tag, SortOrder::Descending),
    };
    let target = match place / 2 {
        1 => SortTarget::Key,
        2 => SortTarget::Version,
        3 => SortTarget::Create,
        4 => SortTarget::Mod,
        5 => SortTarget::Value,
        _ => return unknown("sort", tag),
    };
    Ok(Some((target, order)))
}

/// Writes a transaction.
pub fn write_txn(writer: &mut Writer, txn: &TxnRequest) {
    writer.u64(txn.compare.len() as u64);
    for compare in &txn.compare {
        write_compare(writer, compare);
    }
    for branch in [&txn.success, &txn.failure] {
        writer.u64(branch.len() as u64);
        for operation in branch {
            write_operation(writer, operation);
        }
    }
}

/// Reads a transaction.
pub fn read_txn(reader: &mut Reader) -> Result<TxnRequest, DecodeError> {
    read_nested_txn(reader, 0)
}

fn read_nested_txn(reader: &mut Reader, depth: usize) -> Result<TxnRequest, DecodeError> {
    check_depth(depth)?;
    let count = reader.count("comparisons")?;
    let compare = (0..count).map(|_| read_compare(reader)).collect::<Result<_, _>>()?;
    let mut branch = || {
        let count = reader.count("operations")?;
        (0..count).map(|_| read_operation(reader, depth)).collect::<Result<_, _>>()
    };
    Ok(TxnRequest { compare, success: branch()?, failure: branch()? })
}

/// Refuses what would nest without an end.
pub(super) fn check_depth(depth: usize) -> Result<(), DecodeError> {
    if depth > MAX_DECODED_DEPTH {
        return Err(DecodeError::Unknown { field: "the depth of a transaction", value: depth as u64 });
    }
    Ok(())
}

fn write_operation(writer: &mut Writer, operation: &Operation) {
    match operation {
        Operation::Range(range) => {
            writer.u8(0);
            write_range(writer, range);
        }
        Operation::Put(put) => {
            writer.u8(1);
            write_put(writer, put);
        }
        Operation::DeleteRange(delete) => {
            writer.u8(2);
            write_delete(writer, delete);
        }
        Operation::Txn(txn) => {
            writer.u8(3);
            write_txn(writer, txn);
        }
    }
}

fn read_operation(reader: &mut Reader, depth: usize) -> Result<Operation, DecodeError> {
    Ok(match reader.u8("operation")? {
        0 => Operation::Range(read_range(reader)?),
        1 => Operation::Put(read_put(reader)?),
        2 => Operation::DeleteRange(read_delete(reader)?),
        3 => Operation::Txn(read_nested_txn(reader, depth + 1)?),
        value => return unknown("operation", value),
    })
}

fn write_compare(writer: &mut Writer, compare: &Compare) {
    write_keys(writer, &compare.keys);
    writer.u8(match compare.operator {
        CompareOperator::Equal => 0,
        CompareOperator::Greater => 1,
        CompareOperator::Less => 2,
        CompareOperator::NotEqual => 3,
    });
    let (tag, number) = match &compare.target {
        CompareTarget::Version(version) => (0, *version),
        CompareTarget::Create(revision) => (1, revision.0),
        CompareTarget::Mod(revision) => (2, revision.0),
        CompareTarget::Value(value) => {
            writer.u8(3);
            return writer.bytes(value);
        }
        CompareTarget::Lease(lease) => (4, *lease),
    };
    writer.u8(tag);
    writer.i64(number);
}

fn read_compare(reader: &mut Reader) -> Result<Compare, DecodeError> {
    let keys = read_keys(reader)?;
    let operator = match reader.u8("operator")? {
        0 => CompareOperator::Equal,
        1 => CompareOperator::Greater,
        2 => CompareOperator::Less,
        3 => CompareOperator::NotEqual,
        value => return unknown("operator", value),
    };
    let target = match reader.u8("what is compared")? {
        0 => CompareTarget::Version(reader.i64("version")?),
        1 => CompareTarget::Create(Revision(reader.i64("create revision")?)),
        2 => CompareTarget::Mod(Revision(reader.i64("mod revision")?)),
        3 => CompareTarget::Value(reader.bytes("value")?),
        4 => CompareTarget::Lease(reader.i64("lease")?),
        value => return unknown("what is compared", value),
    };
    Ok(Compare { keys, operator, target })
}
