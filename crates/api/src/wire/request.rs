//! The bytes of requests.

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::{LeaseId, NodeId};

use super::cluster::{alarm_action_tag, alarm_kind_tag, read_alarm_action, read_alarm_kind, read_urls, write_urls};
use super::keyed::{read_keyed, write_keyed};
use super::kv::{read_delete, read_put, read_range, read_txn, write_delete, write_put, write_range, write_txn};
use super::{read_option, read_revision, unknown, write_option, write_revision};
use crate::request::Request;

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
    pub(super) const MEMBER_LIST: u8 = 11;
    pub(super) const MEMBER_ADD: u8 = 12;
    pub(super) const MEMBER_PROMOTE: u8 = 13;
    pub(super) const MEMBER_REMOVE: u8 = 14;
    pub(super) const MEMBER_UPDATE: u8 = 15;
    pub(super) const STATUS: u8 = 16;
    pub(super) const ALARM: u8 = 17;
    pub(super) const HASH: u8 = 18;
    pub(super) const HASH_KV: u8 = 19;
    pub(super) const MOVE_LEADER: u8 = 20;
    pub(super) const KEYED: u8 = 21;
}

/// Writes a request.
pub fn write_request(writer: &mut Writer, request: &Request) {
    match request {
        Request::Range(range) => {
            writer.u8(tag::RANGE);
            write_range(writer, range);
        }
        Request::Put(put) => {
            writer.u8(tag::PUT);
            write_put(writer, put);
        }
        Request::DeleteRange(delete) => {
            writer.u8(tag::DELETE_RANGE);
            write_delete(writer, delete);
        }
        Request::Txn(txn) => {
            writer.u8(tag::TXN);
            write_txn(writer, txn);
        }
        Request::Compact { revision, physical } => {
            writer.u8(tag::COMPACT);
            write_revision(writer, *revision);
            writer.bool(*physical);
        }
        Request::LeaseGrant { .. }
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive { .. }
        | Request::LeaseLeases => write_lease_request(writer, request),
        Request::MemberList { .. }
        | Request::MemberAdd { .. }
        | Request::MemberPromote(_)
        | Request::MemberRemove(_)
        | Request::MemberUpdate { .. } => write_member_request(writer, request),
        Request::Status | Request::Alarm { .. } | Request::Hash | Request::HashKv(_) | Request::MoveLeader(_) => {
            write_maintenance_request(writer, request);
        }
        Request::Keyed(request) => {
            writer.u8(tag::KEYED);
            write_keyed(writer, request);
        }
    }
}

fn write_lease_request(writer: &mut Writer, request: &Request) {
    match request {
        Request::LeaseGrant { id, ttl_seconds } => {
            writer.u8(tag::LEASE_GRANT);
            write_option(writer, id.as_ref(), |writer, id| writer.i64(id.0));
            writer.i64(*ttl_seconds);
        }
        Request::LeaseRevoke(id) => {
            writer.u8(tag::LEASE_REVOKE);
            writer.i64(id.0);
        }
        Request::LeaseKeepAlive(id) => {
            writer.u8(tag::LEASE_KEEP_ALIVE);
            writer.i64(id.0);
        }
        Request::LeaseTimeToLive { id, keys } => {
            writer.u8(tag::LEASE_TIME_TO_LIVE);
            writer.i64(id.0);
            writer.bool(*keys);
        }
        Request::LeaseLeases => writer.u8(tag::LEASE_LEASES),
        _ => unreachable!("only requests about leases come here"),
    }
}

fn write_member_request(writer: &mut Writer, request: &Request) {
    match request {
        Request::MemberList { linearizable } => {
            writer.u8(tag::MEMBER_LIST);
            writer.bool(*linearizable);
        }
        Request::MemberAdd { peer_urls, is_learner } => {
            writer.u8(tag::MEMBER_ADD);
            write_urls(writer, peer_urls);
            writer.bool(*is_learner);
        }
        Request::MemberPromote(id) => {
            writer.u8(tag::MEMBER_PROMOTE);
            writer.u64(id.0);
        }
        Request::MemberRemove(id) => {
            writer.u8(tag::MEMBER_REMOVE);
            writer.u64(id.0);
        }
        Request::MemberUpdate { id, peer_urls } => {
            writer.u8(tag::MEMBER_UPDATE);
            writer.u64(id.0);
            write_urls(writer, peer_urls);
        }
        _ => unreachable!("only requests about members come here"),
    }
}

fn write_maintenance_request(writer: &mut Writer, request: &Request) {
    match request {
        Request::Status => writer.u8(tag::STATUS),
        Request::Alarm { action, member, kind } => {
            writer.u8(tag::ALARM);
            writer.u8(alarm_action_tag(*action));
            writer.u64(member.0);
            writer.u8(kind.map_or(0, alarm_kind_tag));
        }
        Request::Hash => writer.u8(tag::HASH),
        Request::HashKv(revision) => {
            writer.u8(tag::HASH_KV);
            write_option(writer, revision.as_ref(), |writer, revision| write_revision(writer, *revision));
        }
        Request::MoveLeader(to) => {
            writer.u8(tag::MOVE_LEADER);
            writer.u64(to.0);
        }
        _ => unreachable!("only requests of maintenance come here"),
    }
}

/// Reads a request.
pub fn read_request(reader: &mut Reader) -> Result<Request, DecodeError> {
    let lease = |reader: &mut Reader| reader.i64("lease").map(LeaseId);
    let node = |reader: &mut Reader| reader.u64("member").map(NodeId);
    Ok(match reader.u8("request")? {
        tag::RANGE => Request::Range(read_range(reader)?),
        tag::PUT => Request::Put(read_put(reader)?),
        tag::DELETE_RANGE => Request::DeleteRange(read_delete(reader)?),
        tag::TXN => Request::Txn(read_txn(reader)?),
        tag::COMPACT => Request::Compact { revision: read_revision(reader)?, physical: reader.bool("physical")? },
        tag::LEASE_GRANT => {
            Request::LeaseGrant { id: read_option(reader, "lease", lease)?, ttl_seconds: reader.i64("seconds")? }
        }
        tag::LEASE_REVOKE => Request::LeaseRevoke(lease(reader)?),
        tag::LEASE_KEEP_ALIVE => Request::LeaseKeepAlive(lease(reader)?),
        tag::LEASE_TIME_TO_LIVE => Request::LeaseTimeToLive { id: lease(reader)?, keys: reader.bool("keys")? },
        tag::LEASE_LEASES => Request::LeaseLeases,
        tag::MEMBER_LIST => Request::MemberList { linearizable: reader.bool("linearizable")? },
        tag::MEMBER_ADD => Request::MemberAdd { peer_urls: read_urls(reader)?, is_learner: reader.bool("learner")? },
        tag::MEMBER_PROMOTE => Request::MemberPromote(node(reader)?),
        tag::MEMBER_REMOVE => Request::MemberRemove(node(reader)?),
        tag::MEMBER_UPDATE => Request::MemberUpdate { id: node(reader)?, peer_urls: read_urls(reader)? },
        tag::STATUS => Request::Status,
        tag::ALARM => {
            Request::Alarm { action: read_alarm_action(reader)?, member: node(reader)?, kind: read_alarm_kind(reader)? }
        }
        tag::HASH => Request::Hash,
        tag::HASH_KV => Request::HashKv(read_option(reader, "revision", read_revision)?),
        tag::MOVE_LEADER => Request::MoveLeader(node(reader)?),
        tag::KEYED => Request::Keyed(read_keyed(reader)?),
        value => return unknown("request", value),
    })
}
