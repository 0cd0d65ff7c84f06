//! The bytes of members, alarms, states of nodes and hashes. The log holds members and alarms in the same bytes
//! (docs/formats/strong.md).

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::{NodeId, Revision};

use super::{read_list, unknown, write_list};
use crate::cluster::{Alarm, AlarmAction, AlarmKind, HashKv, Member, NodeStatus};

/// The byte of an alarm's kind, never 0.
#[must_use]
pub const fn alarm_kind_tag(kind: AlarmKind) -> u8 {
    match kind {
        AlarmKind::NoSpace => 1,
        AlarmKind::Corrupt => 2,
    }
}

/// The kind of an alarm, `None` for 0.
pub fn read_alarm_kind(reader: &mut Reader) -> Result<Option<AlarmKind>, DecodeError> {
    match reader.u8("the kind of an alarm")? {
        0 => Ok(None),
        1 => Ok(Some(AlarmKind::NoSpace)),
        2 => Ok(Some(AlarmKind::Corrupt)),
        value => unknown("the kind of an alarm", value),
    }
}

/// The byte of what to do with alarms.
#[must_use]
pub const fn alarm_action_tag(action: AlarmAction) -> u8 {
    match action {
        AlarmAction::Get => 0,
        AlarmAction::Activate => 1,
        AlarmAction::Deactivate => 2,
    }
}

/// Reads what to do with alarms.
pub fn read_alarm_action(reader: &mut Reader) -> Result<AlarmAction, DecodeError> {
    match reader.u8("what to do with alarms")? {
        0 => Ok(AlarmAction::Get),
        1 => Ok(AlarmAction::Activate),
        2 => Ok(AlarmAction::Deactivate),
        value => unknown("what to do with alarms", value),
    }
}

/// Writes an alarm.
pub fn write_alarm(writer: &mut Writer, alarm: &Alarm) {
    writer.u64(alarm.member.0);
    writer.u8(alarm_kind_tag(alarm.kind));
}

/// Reads an alarm, whose kind must be given.
pub fn read_alarm(reader: &mut Reader) -> Result<Alarm, DecodeError> {
    let member = NodeId(reader.u64("the member of an alarm")?);
    let Some(kind) = read_alarm_kind(reader)? else { return unknown("the kind of an alarm", 0) };
    Ok(Alarm { member, kind })
}

/// Writes a member.
pub fn write_member(writer: &mut Writer, member: &Member) {
    writer.u64(member.id.0);
    writer.str(&member.name);
    write_urls(writer, &member.peer_urls);
    write_urls(writer, &member.client_urls);
    writer.bool(member.is_learner);
}

/// Reads a member.
pub fn read_member(reader: &mut Reader) -> Result<Member, DecodeError> {
    Ok(Member {
        id: NodeId(reader.u64("member")?),
        name: reader.str("name")?,
        peer_urls: read_urls(reader)?,
        client_urls: read_urls(reader)?,
        is_learner: reader.bool("learner")?,
    })
}

/// Writes a list of texts.
pub(super) fn write_urls(writer: &mut Writer, urls: &[String]) {
    write_list(writer, urls, |writer, url| writer.str(url));
}

/// Reads a list of texts.
pub(super) fn read_urls(reader: &mut Reader) -> Result<Vec<String>, DecodeError> {
    read_list(reader, "urls", |reader| reader.str("url"))
}

/// Writes the state of a node.
pub(super) fn write_status(writer: &mut Writer, status: &NodeStatus) {
    writer.u64(status.db_size_bytes);
    writer.u64(status.db_size_in_use_bytes);
    writer.u64(status.db_size_quota_bytes);
    writer.u64(status.leader.0);
    writer.u64(status.raft_index);
    writer.u64(status.raft_term);
    writer.u64(status.raft_applied_index);
    write_list(writer, &status.errors, |writer, error| writer.str(error));
    writer.bool(status.is_learner);
}

/// Reads the state of a node.
pub(super) fn read_status(reader: &mut Reader) -> Result<NodeStatus, DecodeError> {
    Ok(NodeStatus {
        db_size_bytes: reader.u64("size")?,
        db_size_in_use_bytes: reader.u64("size in use")?,
        db_size_quota_bytes: reader.u64("quota")?,
        leader: NodeId(reader.u64("leader")?),
        raft_index: reader.u64("index")?,
        raft_term: reader.u64("term")?,
        raft_applied_index: reader.u64("applied index")?,
        errors: read_list(reader, "errors", |reader| reader.str("error"))?,
        is_learner: reader.bool("learner")?,
    })
}

/// Writes a hash of a history.
pub(super) fn write_hash_kv(writer: &mut Writer, hash: &HashKv) {
    writer.fixed_u32(hash.hash);
    writer.i64(hash.hash_revision.0);
    writer.i64(hash.compact_revision.0);
}

/// Reads a hash of a history.
pub(super) fn read_hash_kv(reader: &mut Reader) -> Result<HashKv, DecodeError> {
    Ok(HashKv {
        hash: reader.fixed_u32("hash")?,
        hash_revision: Revision(reader.i64("hash revision")?),
        compact_revision: Revision(reader.i64("compact revision")?),
    })
}
