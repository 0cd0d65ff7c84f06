//! The bytes of what reads, writes and transactions found, and of changes.

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::{LeaseId, Revision};

use super::kv::check_depth;
use super::{read_list, read_option, unknown, write_list, write_option};
use crate::kv::{
    DeleteRangeResponse, Event, EventKind, KeyValue, OperationResponse, PutResponse, RangeResponse, TxnResponse,
};

/// Writes a version of a key.
pub fn write_key_value(writer: &mut Writer, kv: &KeyValue) {
    writer.bytes(&kv.key);
    writer.i64(kv.create_revision.0);
    writer.i64(kv.mod_revision.0);
    writer.i64(kv.version);
    writer.bytes(&kv.value);
    writer.i64(kv.lease.map_or(0, LeaseId::get));
}

/// Reads a version of a key.
pub fn read_key_value(reader: &mut Reader) -> Result<KeyValue, DecodeError> {
    let key = reader.bytes("key")?;
    let create_revision = Revision(reader.i64("create revision")?);
    let mod_revision = Revision(reader.i64("mod revision")?);
    let version = reader.i64("version")?;
    let value = reader.bytes("value")?;
    let lease = reader.i64("lease")?;
    let lease = (lease != 0).then_some(LeaseId(lease));
    Ok(KeyValue { key, create_revision, mod_revision, version, value, lease })
}

/// Writes what a read found.
pub fn write_range_response(writer: &mut Writer, response: &RangeResponse) {
    write_list(writer, &response.kvs, write_key_value);
    writer.bool(response.more);
    writer.u64(response.count);
}

/// Reads what a read found.
pub fn read_range_response(reader: &mut Reader) -> Result<RangeResponse, DecodeError> {
    Ok(RangeResponse {
        kvs: read_list(reader, "keys", read_key_value)?,
        more: reader.bool("more")?,
        count: reader.u64("count")?,
    })
}

/// Writes what a put did.
pub fn write_put_response(writer: &mut Writer, response: &PutResponse) {
    write_option(writer, response.prev_kv.as_ref(), write_key_value);
}

/// Reads what a put did.
pub fn read_put_response(reader: &mut Reader) -> Result<PutResponse, DecodeError> {
    Ok(PutResponse { prev_kv: read_option(reader, "previous version", read_key_value)? })
}

/// Writes what a removal did.
pub fn write_delete_response(writer: &mut Writer, response: &DeleteRangeResponse) {
    writer.u64(response.deleted);
    write_list(writer, &response.prev_kvs, write_key_value);
}

/// Reads what a removal did.
pub fn read_delete_response(reader: &mut Reader) -> Result<DeleteRangeResponse, DecodeError> {
    let deleted = reader.u64("deleted")?;
    Ok(DeleteRangeResponse { deleted, prev_kvs: read_list(reader, "previous versions", read_key_value)? })
}

/// Writes what a transaction did.
pub fn write_txn_response(writer: &mut Writer, response: &TxnResponse) {
    writer.bool(response.succeeded);
    write_list(writer, &response.responses, write_operation_response);
}

/// Reads what a transaction did.
pub fn read_txn_response(reader: &mut Reader) -> Result<TxnResponse, DecodeError> {
    read_nested_txn_response(reader, 0)
}

fn read_nested_txn_response(reader: &mut Reader, depth: usize) -> Result<TxnResponse, DecodeError> {
    check_depth(depth)?;
    let succeeded = reader.bool("succeeded")?;
    let responses = read_list(reader, "responses", |reader| read_operation_response(reader, depth))?;
    Ok(TxnResponse { succeeded, responses })
}

// The tags are those of the operations in a request.
fn write_operation_response(writer: &mut Writer, response: &OperationResponse) {
    match response {
        OperationResponse::Range(range) => {
            writer.u8(0);
            write_range_response(writer, range);
        }
        OperationResponse::Put(put) => {
            writer.u8(1);
            write_put_response(writer, put);
        }
        OperationResponse::DeleteRange(delete) => {
            writer.u8(2);
            write_delete_response(writer, delete);
        }
        OperationResponse::Txn(txn) => {
            writer.u8(3);
            write_txn_response(writer, txn);
        }
    }
}

fn read_operation_response(reader: &mut Reader, depth: usize) -> Result<OperationResponse, DecodeError> {
    Ok(match reader.u8("response")? {
        0 => OperationResponse::Range(read_range_response(reader)?),
        1 => OperationResponse::Put(read_put_response(reader)?),
        2 => OperationResponse::DeleteRange(read_delete_response(reader)?),
        3 => OperationResponse::Txn(read_nested_txn_response(reader, depth + 1)?),
        value => return unknown("response", value),
    })
}

/// Writes a change.
pub fn write_event(writer: &mut Writer, event: &Event) {
    writer.u8(match event.kind {
        EventKind::Put => 0,
        EventKind::Delete => 1,
    });
    write_key_value(writer, &event.kv);
    write_option(writer, event.prev_kv.as_ref(), write_key_value);
}

/// Reads a change.
pub fn read_event(reader: &mut Reader) -> Result<Event, DecodeError> {
    let kind = match reader.u8("kind of a change")? {
        0 => EventKind::Put,
        1 => EventKind::Delete,
        value => return unknown("kind of a change", value),
    };
    let kv = read_key_value(reader)?;
    Ok(Event { kind, kv, prev_kv: read_option(reader, "previous version", read_key_value)? })
}
