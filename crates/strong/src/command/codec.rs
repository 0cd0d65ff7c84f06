//! The bytes of a proposal (docs/formats-strong.md draws them). Every tag is a byte whose meaning never changes; what is
//! new gets a new one, and waits until every node of the cluster knows it.

use althing_api::cluster::{AlarmAction, AlarmKind, Member};
use althing_api::kv::{
    Compare, CompareOperator, CompareTarget, Consistency, DeleteRangeRequest, KeyRange, Operation, PutLease,
    PutRequest, PutValue, RangeEnd, RangeRequest, SortOrder, SortTarget, TxnRequest,
};
use althing_codec::{DecodeError, Reader, Writer};
use althing_types::limits::MAX_TXN_DEPTH;
use althing_types::{LeaseId, NodeId, RequestId, Revision};
use bytes::Bytes;

use super::{Command, Proposal};

/// The format of a proposal.
const FORMAT: u8 = 1;

/// How deep a transaction may nest before its bytes are refused. More than [`check`](crate::check) allows, so that what
/// was checked always parses.
const MAX_DECODED_DEPTH: usize = 2 * MAX_TXN_DEPTH;

mod tag {
    pub(super) const PUT: u8 = 1;
    pub(super) const DELETE_RANGE: u8 = 2;
    pub(super) const TXN: u8 = 3;
    pub(super) const COMPACT: u8 = 4;
    pub(super) const LEASE_GRANT: u8 = 5;
    pub(super) const LEASE_REVOKE: u8 = 6;
    pub(super) const LEASE_CHECKPOINT: u8 = 7;
    pub(super) const ALARM: u8 = 8;
    pub(super) const MEMBER_UPSERT: u8 = 9;
    pub(super) const MEMBER_ADD: u8 = 10;
    pub(super) const MEMBER_REMOVE: u8 = 11;
    pub(super) const MEMBER_PROMOTE: u8 = 12;
    pub(super) const SET_QUOTA: u8 = 13;
}

fn unknown<T>(field: &'static str, value: u8) -> Result<T, DecodeError> {
    Err(DecodeError::Unknown { field, value: u64::from(value) })
}

impl Proposal {
    /// The data of a log entry.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(64);
        writer.u8(FORMAT);
        writer.u64(self.origin.0);
        writer.u64(self.request.0);
        write_command(&mut writer, &self.command);
        writer.finish()
    }

    /// From the data of a log entry. Whatever the bytes are, it takes no more memory than they do, times a constant.
    pub fn decode(data: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(data);
        let format = reader.u8("proposal")?;
        if format != FORMAT {
            let (found, known) = (u64::from(format), u64::from(FORMAT));
            return Err(DecodeError::Version { what: "a proposal", found, known });
        }
        let origin = NodeId(reader.u64("origin")?);
        let request = RequestId(reader.u64("request")?);
        let command = read_command(&mut reader)?;
        reader.finish()?;
        Ok(Self { origin, request, command })
    }
}

fn write_command(writer: &mut Writer, command: &Command) {
    match command {
        Command::Put(put) => {
            writer.u8(tag::PUT);
            write_put(writer, put);
        }
        Command::DeleteRange(delete) => {
            writer.u8(tag::DELETE_RANGE);
            write_delete(writer, delete);
        }
        Command::Txn(txn) => {
            writer.u8(tag::TXN);
            write_txn(writer, txn);
        }
        Command::Compact { revision } => {
            writer.u8(tag::COMPACT);
            writer.i64(revision.0);
        }
        Command::LeaseGrant { id, ttl_seconds } => {
            writer.u8(tag::LEASE_GRANT);
            writer.i64(id.0);
            writer.i64(*ttl_seconds);
        }
        Command::LeaseRevoke { id } => {
            writer.u8(tag::LEASE_REVOKE);
            writer.i64(id.0);
        }
        Command::LeaseCheckpoint { remaining } => {
            writer.u8(tag::LEASE_CHECKPOINT);
            writer.u64(remaining.len() as u64);
            for (id, seconds) in remaining {
                writer.i64(id.0);
                writer.i64(*seconds);
            }
        }
        Command::Alarm { action, member, kind } => {
            writer.u8(tag::ALARM);
            writer.u8(alarm_action_tag(*action));
            writer.u64(member.0);
            writer.u8(kind.map_or(0, alarm_kind_tag));
        }
        Command::MemberUpsert(_) | Command::MemberAdd(_) | Command::MemberRemove(_) | Command::MemberPromote(_) => {
            write_member_command(writer, command);
        }
        Command::SetQuota { bytes } => {
            writer.u8(tag::SET_QUOTA);
            writer.u64(*bytes);
        }
    }
}

fn write_member_command(writer: &mut Writer, command: &Command) {
    match command {
        Command::MemberUpsert(member) => {
            writer.u8(tag::MEMBER_UPSERT);
            write_member(writer, member);
        }
        Command::MemberAdd(member) => {
            writer.u8(tag::MEMBER_ADD);
            write_member(writer, member);
        }
        Command::MemberRemove(id) => {
            writer.u8(tag::MEMBER_REMOVE);
            writer.u64(id.0);
        }
        Command::MemberPromote(id) => {
            writer.u8(tag::MEMBER_PROMOTE);
            writer.u64(id.0);
        }
        _ => unreachable!("only the commands that change members come here"),
    }
}

fn read_command(reader: &mut Reader) -> Result<Command, DecodeError> {
    Ok(match reader.u8("command")? {
        tag::PUT => Command::Put(read_put(reader)?),
        tag::DELETE_RANGE => Command::DeleteRange(read_delete(reader)?),
        tag::TXN => Command::Txn(read_txn(reader, 0)?),
        tag::COMPACT => Command::Compact { revision: Revision(reader.i64("revision")?) },
        tag::LEASE_GRANT => {
            Command::LeaseGrant { id: LeaseId(reader.i64("lease")?), ttl_seconds: reader.i64("seconds")? }
        }
        tag::LEASE_REVOKE => Command::LeaseRevoke { id: LeaseId(reader.i64("lease")?) },
        tag::LEASE_CHECKPOINT => {
            let count = reader.count("leases")?;
            let one = |reader: &mut Reader| Ok((LeaseId(reader.i64("lease")?), reader.i64("seconds")?));
            Command::LeaseCheckpoint { remaining: (0..count).map(|_| one(reader)).collect::<Result<_, _>>()? }
        }
        tag::ALARM => Command::Alarm {
            action: read_alarm_action(reader)?,
            member: NodeId(reader.u64("member")?),
            kind: read_alarm_kind(reader)?,
        },
        tag::MEMBER_UPSERT => Command::MemberUpsert(read_member(reader)?),
        tag::MEMBER_ADD => Command::MemberAdd(read_member(reader)?),
        tag::MEMBER_REMOVE => Command::MemberRemove(NodeId(reader.u64("member")?)),
        tag::MEMBER_PROMOTE => Command::MemberPromote(NodeId(reader.u64("member")?)),
        tag::SET_QUOTA => Command::SetQuota { bytes: reader.u64("quota")? },
        value => return unknown("command", value),
    })
}

/// The byte of an alarm's kind, never 0.
pub(crate) const fn alarm_kind_tag(kind: AlarmKind) -> u8 {
    match kind {
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    }
}

/// The kind of an alarm, `None` for 0.
pub(crate) fn read_alarm_kind(reader: &mut Reader) -> Result<Option<AlarmKind>, DecodeError> {
    match reader.u8("the kind of an alarm")? {
        0 => Ok(None),
        1 => Ok(Some(AlarmKind::NoSpace)),
        2 => Ok(Some(AlarmKind::Corrupt)),
        value => unknown("the kind of an alarm", value),
    }
}

const fn alarm_action_tag(action: AlarmAction) -> u8 {
    match action {
        AlarmAction::Get => 0,
        AlarmAction::Activate => 1,
        AlarmAction::Deactivate => 2,
    }
}

fn read_alarm_action(reader: &mut Reader) -> Result<AlarmAction, DecodeError> {
    match reader.u8("what to do with alarms")? {
        0 => Ok(AlarmAction::Get),
        1 => Ok(AlarmAction::Activate),
        2 => Ok(AlarmAction::Deactivate),
        value => unknown("what to do with alarms", value),
    }
}

/// A member's bytes.
pub(crate) fn write_member(writer: &mut Writer, member: &Member) {
    writer.u64(member.id.0);
    writer.str(&member.name);
    for urls in [&member.peer_urls, &member.client_urls] {
        writer.u64(urls.len() as u64);
        for url in urls {
            writer.str(url);
        }
    }
    writer.bool(member.is_learner);
}

/// A member from its bytes.
pub(crate) fn read_member(reader: &mut Reader) -> Result<Member, DecodeError> {
    let id = NodeId(reader.u64("member")?);
    let name = reader.str("name")?;
    let urls = |reader: &mut Reader| {
        let count = reader.count("urls")?;
        (0..count).map(|_| reader.str("url")).collect::<Result<Vec<_>, _>>()
    };
    let (peer_urls, client_urls) = (urls(reader)?, urls(reader)?);
    Ok(Member { id, name, peer_urls, client_urls, is_learner: reader.bool("learner")? })
}

fn write_keys(writer: &mut Writer, keys: &KeyRange) {
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

fn read_keys(reader: &mut Reader) -> Result<KeyRange, DecodeError> {
    let start = reader.bytes("key")?;
    let end = match reader.u8("range end")? {
        0 => RangeEnd::Single,
        1 => RangeEnd::Before(reader.bytes("end")?),
        2 => RangeEnd::Unbounded,
        value => return unknown("range end", value),
    };
    Ok(KeyRange { start, end })
}

fn write_put(writer: &mut Writer, put: &PutRequest) {
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

fn read_put(reader: &mut Reader) -> Result<PutRequest, DecodeError> {
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

fn write_delete(writer: &mut Writer, delete: &DeleteRangeRequest) {
    write_keys(writer, &delete.keys);
    writer.bool(delete.prev_kv);
}

fn read_delete(reader: &mut Reader) -> Result<DeleteRangeRequest, DecodeError> {
    Ok(DeleteRangeRequest { keys: read_keys(reader)?, prev_kv: reader.bool("prev_kv")? })
}

fn write_range(writer: &mut Writer, range: &RangeRequest) {
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

fn read_range(reader: &mut Reader) -> Result<RangeRequest, DecodeError> {
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

/// 0 is no order; the target times two, plus one if descending.
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
    }
}

fn read_sort(reader: &mut Reader) -> Result<Option<(SortTarget, SortOrder)>, DecodeError> {
    let tag = reader.u8("sort")?;
    if tag == 0 {
        return Ok(None);
    }
    let target = match tag / 2 {
        1 => SortTarget::Key,
        2 => SortTarget::Version,
        3 => SortTarget::Create,
        4 => SortTarget::Mod,
        5 => SortTarget::Value,
        _ => return unknown("sort", tag),
    };
    Ok(Some((target, if tag.is_multiple_of(2) { SortOrder::Ascending } else { SortOrder::Descending })))
}

fn write_txn(writer: &mut Writer, txn: &TxnRequest) {
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

fn read_txn(reader: &mut Reader, depth: usize) -> Result<TxnRequest, DecodeError> {
    if depth > MAX_DECODED_DEPTH {
        return Err(DecodeError::Unknown { field: "the depth of a transaction", value: depth as u64 });
    }
    let count = reader.count("comparisons")?;
    let compare = (0..count).map(|_| read_compare(reader)).collect::<Result<_, _>>()?;
    let mut branch = || {
        let count = reader.count("operations")?;
        (0..count).map(|_| read_operation(reader, depth)).collect::<Result<_, _>>()
    };
    Ok(TxnRequest { compare, success: branch()?, failure: branch()? })
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
        3 => Operation::Txn(read_txn(reader, depth + 1)?),
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
