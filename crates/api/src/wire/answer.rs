//! The bytes of answers.

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::{ClusterId, LeaseId, NodeId};
use bytes::Bytes;

use super::cluster::{
    read_alarm, read_hash_kv, read_member, read_status, write_alarm, write_hash_kv, write_member, write_status,
};
use super::found::{
    read_delete_response, read_put_response, read_range_response, read_txn_response, write_delete_response,
    write_put_response, write_range_response, write_txn_response,
};
use super::keyed::{read_keyed_answer, write_keyed_answer};
use super::{read_list, read_revision, unknown, write_list, write_revision};
use crate::lease::{LeaseGranted, LeaseStatus};
use crate::request::{Answer, Body, Header};

mod tag {
    pub(super) const RANGE: u8 = 1;
    pub(super) const PUT: u8 = 2;
    pub(super) const DELETE_RANGE: u8 = 3;
    pub(super) const TXN: u8 = 4;
    pub(super) const COMPACT: u8 = 5;
    pub(super) const LEASE_GRANT: u8 = 6;
    pub(super) const LEASE_REVOKE: u8 = 7;
    pub(super) const LEASE_KEEP_ALIVE: u8 = 8;
    pub(super) const LEASE_TIME_TO_LIVE: u8 = 9;
    pub(super) const LEASE_LEASES: u8 = 10;
    pub(super) const MEMBERS: u8 = 11;
    pub(super) const MEMBER_ADD: u8 = 12;
    pub(super) const STATUS: u8 = 16;
    pub(super) const ALARMS: u8 = 17;
    pub(super) const HASH: u8 = 18;
    pub(super) const HASH_KV: u8 = 19;
    pub(super) const MOVE_LEADER: u8 = 20;
    pub(super) const KEYED: u8 = 21;
}

/// Writes an answer.
pub fn write_answer(writer: &mut Writer, answer: &Answer) {
    writer.u64(answer.header.cluster.0);
    writer.u64(answer.header.member.0);
    write_revision(writer, answer.header.revision);
    writer.u64(answer.header.raft_term);
    write_body(writer, &answer.body);
}

/// Reads an answer.
pub fn read_answer(reader: &mut Reader) -> Result<Answer, DecodeError> {
    let header = Header {
        cluster: ClusterId(reader.u64("cluster")?),
        member: NodeId(reader.u64("member")?),
        revision: read_revision(reader)?,
        raft_term: reader.u64("term")?,
    };
    Ok(Answer { header, body: read_body(reader)? })
}

fn write_body(writer: &mut Writer, body: &Body) {
    match body {
        Body::Range(response) => {
            writer.u8(tag::RANGE);
            write_range_response(writer, response);
        }
        Body::Put(response) => {
            writer.u8(tag::PUT);
            write_put_response(writer, response);
        }
        Body::DeleteRange(response) => {
            writer.u8(tag::DELETE_RANGE);
            write_delete_response(writer, response);
        }
        Body::Txn(response) => {
            writer.u8(tag::TXN);
            write_txn_response(writer, response);
        }
        Body::Compact => writer.u8(tag::COMPACT),
        Body::LeaseGrant(_)
        | Body::LeaseRevoke
        | Body::LeaseKeepAlive { .. }
        | Body::LeaseTimeToLive(_)
        | Body::LeaseLeases(_) => write_lease_body(writer, body),
        Body::Members(_)
        | Body::MemberAdd { .. }
        | Body::Status(_)
        | Body::Alarms(_)
        | Body::Hash(_)
        | Body::HashKv(_)
        | Body::MoveLeader => write_cluster_body(writer, body),
        Body::Keyed(answer) => {
            writer.u8(tag::KEYED);
            write_keyed_answer(writer, answer);
        }
    }
}

fn write_lease_body(writer: &mut Writer, body: &Body) {
    match body {
        Body::LeaseGrant(granted) => {
            writer.u8(tag::LEASE_GRANT);
            writer.i64(granted.id.0);
            writer.i64(granted.ttl_seconds);
        }
        Body::LeaseRevoke => writer.u8(tag::LEASE_REVOKE),
        Body::LeaseKeepAlive { ttl_seconds } => {
            writer.u8(tag::LEASE_KEEP_ALIVE);
            writer.i64(*ttl_seconds);
        }
        Body::LeaseTimeToLive(status) => {
            writer.u8(tag::LEASE_TIME_TO_LIVE);
            writer.i64(status.remaining_seconds);
            writer.i64(status.granted_seconds);
            write_list(writer, &status.keys, |writer, key| writer.bytes(key));
        }
        Body::LeaseLeases(ids) => {
            writer.u8(tag::LEASE_LEASES);
            write_list(writer, ids, |writer, id| writer.i64(id.0));
        }
        _ => unreachable!("only answers about leases come here"),
    }
}

fn write_cluster_body(writer: &mut Writer, body: &Body) {
    match body {
        Body::Members(members) => {
            writer.u8(tag::MEMBERS);
            write_list(writer, members, write_member);
        }
        Body::MemberAdd { added, members } => {
            writer.u8(tag::MEMBER_ADD);
            write_member(writer, added);
            write_list(writer, members, write_member);
        }
        Body::Status(status) => {
            writer.u8(tag::STATUS);
            write_status(writer, status);
        }
        Body::Alarms(alarms) => {
            writer.u8(tag::ALARMS);
            write_list(writer, alarms, write_alarm);
        }
        Body::Hash(hash) => {
            writer.u8(tag::HASH);
            writer.fixed_u32(*hash);
        }
        Body::HashKv(hash) => {
            writer.u8(tag::HASH_KV);
            write_hash_kv(writer, hash);
        }
        Body::MoveLeader => writer.u8(tag::MOVE_LEADER),
        _ => unreachable!("only answers about the cluster come here"),
    }
}

fn read_body(reader: &mut Reader) -> Result<Body, DecodeError> {
    Ok(match reader.u8("answer")? {
        tag::RANGE => Body::Range(read_range_response(reader)?),
        tag::PUT => Body::Put(read_put_response(reader)?),
        tag::DELETE_RANGE => Body::DeleteRange(read_delete_response(reader)?),
        tag::TXN => Body::Txn(read_txn_response(reader)?),
        tag::COMPACT => Body::Compact,
        tag::LEASE_GRANT => {
            let id = LeaseId(reader.i64("lease")?);
            Body::LeaseGrant(LeaseGranted { id, ttl_seconds: reader.i64("seconds")? })
        }
        tag::LEASE_REVOKE => Body::LeaseRevoke,
        tag::LEASE_KEEP_ALIVE => Body::LeaseKeepAlive { ttl_seconds: reader.i64("seconds")? },
        tag::LEASE_TIME_TO_LIVE => Body::LeaseTimeToLive(LeaseStatus {
            remaining_seconds: reader.i64("seconds left")?,
            granted_seconds: reader.i64("seconds granted")?,
            keys: read_list::<Bytes>(reader, "keys", |reader| reader.bytes("key"))?,
        }),
        tag::LEASE_LEASES => Body::LeaseLeases(read_list(reader, "leases", |reader| reader.i64("lease").map(LeaseId))?),
        tag::MEMBERS => Body::Members(read_list(reader, "members", read_member)?),
        tag::MEMBER_ADD => {
            let added = read_member(reader)?;
            Body::MemberAdd { added, members: read_list(reader, "members", read_member)? }
        }
        tag::STATUS => Body::Status(read_status(reader)?),
        tag::ALARMS => Body::Alarms(read_list(reader, "alarms", read_alarm)?),
        tag::HASH => Body::Hash(reader.fixed_u32("hash")?),
        tag::HASH_KV => Body::HashKv(read_hash_kv(reader)?),
        tag::MOVE_LEADER => Body::MoveLeader,
        tag::KEYED => Body::Keyed(read_keyed_answer(reader)?),
        value => return unknown("answer", value),
    })
}
