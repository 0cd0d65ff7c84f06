//! The bytes of a proposal (docs/formats/strong.md draws them). Every tag is a byte whose meaning never changes; what is
//! new gets a new one, and waits until every node of the cluster knows it. Requests of clients stand in it as nodes forward
//! them to each other ([`althing_api::wire`]).

use althing_api::keyed::Step;
use althing_api::wire::cluster::{
    alarm_action_tag, alarm_kind_tag, read_alarm_action, read_alarm_kind, read_member, write_member,
};
use althing_api::wire::keyed::{read_moment, read_steps, read_watches, write_moment, write_steps, write_watches};
use althing_api::wire::kv::{read_delete, read_put, read_txn, write_delete, write_put, write_txn};
use althing_codec::{DecodeError, Reader, Writer};
use althing_types::{GroupId, LeaseId, NodeId, RequestId, Revision};
use bytes::Bytes;

use super::{Command, Proposal};
use crate::bounds::{read_position, write_position};
use crate::feed::Page;
use crate::keyed::Deadline;

/// The format of a proposal.
const FORMAT: u8 = 1;

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
    pub(super) const INGEST: u8 = 14;
    pub(super) const SEAL: u8 = 15;
    pub(super) const ACTIVATE: u8 = 16;
    pub(super) const BAR: u8 = 17;
    pub(super) const OPERATE: u8 = 18;
    pub(super) const TRANSACT: u8 = 19;
    pub(super) const FLUSH: u8 = 20;
    pub(super) const EXPIRE: u8 = 21;
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
        Command::Ingest(_) | Command::Bar { .. } | Command::Seal { .. } | Command::Activate { .. } => {
            write_split_command(writer, command);
        }
        Command::Operate { .. } | Command::Transact { .. } | Command::Flush | Command::Expire { .. } => {
            write_keyed_command(writer, command);
        }
    }
}

fn write_keyed_command(writer: &mut Writer, command: &Command) {
    match command {
        Command::Operate { step, moment } => {
            writer.u8(tag::OPERATE);
            write_moment(writer, *moment);
            writer.bytes(&step.key);
            writer.bytes(&step.operation);
        }
        Command::Transact { watches, steps, moment } => {
            writer.u8(tag::TRANSACT);
            write_moment(writer, *moment);
            write_watches(writer, watches);
            write_steps(writer, steps);
        }
        Command::Flush => writer.u8(tag::FLUSH),
        Command::Expire { now_ms, due } => {
            writer.u8(tag::EXPIRE);
            writer.i64(*now_ms);
            writer.u64(due.len() as u64);
            for deadline in due {
                writer.i64(deadline.at_ms);
                writer.bytes(&deadline.key);
            }
        }
        _ => unreachable!("only the commands of keyed values come here"),
    }
}

fn read_keyed_command(tag: u8, reader: &mut Reader) -> Result<Command, DecodeError> {
    Ok(match tag {
        tag::OPERATE => {
            let moment = read_moment(reader)?;
            let step = Step { key: reader.bytes("key")?, operation: reader.bytes("operation")? };
            Command::Operate { step, moment }
        }
        tag::TRANSACT => {
            let moment = read_moment(reader)?;
            Command::Transact { watches: read_watches(reader)?, steps: read_steps(reader)?, moment }
        }
        tag::FLUSH => Command::Flush,
        tag::EXPIRE => {
            let now_ms = reader.i64("time")?;
            let count = reader.count("deadlines")?;
            let one = |reader: &mut Reader| Ok(Deadline { at_ms: reader.i64("deadline")?, key: reader.bytes("key")? });
            Command::Expire { now_ms, due: (0..count).map(|_| one(reader)).collect::<Result<_, _>>()? }
        }
        value => return unknown("command", value),
    })
}

fn write_split_command(writer: &mut Writer, command: &Command) {
    match command {
        Command::Ingest(page) => {
            writer.u8(tag::INGEST);
            page.write(writer);
        }
        Command::Seal { at, children, filled } => {
            writer.u8(tag::SEAL);
            writer.bytes(at);
            children.iter().for_each(|child| writer.u64(child.0));
            write_position(writer, *filled);
        }
        Command::Activate { revision, compacted } => {
            writer.u8(tag::ACTIVATE);
            writer.i64(revision.0);
            writer.i64(compacted.0);
        }
        Command::Bar { child } => {
            writer.u8(tag::BAR);
            writer.u64(child.0);
        }
        _ => unreachable!("only the commands of a split come here"),
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
        tag::TXN => Command::Txn(read_txn(reader)?),
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
        tag::INGEST => Command::Ingest(Page::read(reader)?),
        tag::SEAL => Command::Seal {
            at: reader.bytes("key")?,
            children: [GroupId(reader.u64("left child")?), GroupId(reader.u64("right child")?)],
            filled: read_position(reader)?,
        },
        tag::ACTIVATE => Command::Activate {
            revision: Revision(reader.i64("revision")?),
            compacted: Revision(reader.i64("compacted")?),
        },
        tag::BAR => Command::Bar { child: GroupId(reader.u64("child")?) },
        tag::SET_QUOTA => Command::SetQuota { bytes: reader.u64("quota")? },
        other => return read_keyed_command(other, reader),
    })
}

#[cfg(test)]
mod tests;
