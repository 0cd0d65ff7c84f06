//! The bytes of watches: what a client says on its stream, and what it is told.

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::WatchId;

use super::error::{read_error_kind, write_error_kind};
use super::found::{read_event, write_event};
use super::kv::{read_keys, write_keys};
use super::{read_list, read_option, read_revision, unknown, write_list, write_option, write_revision};
use crate::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};

fn write_watch_id(writer: &mut Writer, id: &WatchId) {
    writer.i64(id.0);
}

fn read_watch_id(reader: &mut Reader) -> Result<WatchId, DecodeError> {
    reader.i64("watch").map(WatchId)
}

/// Writes what a client says.
pub fn write_watch_command(writer: &mut Writer, command: &WatchCommand) {
    match command {
        WatchCommand::Create(create) => {
            writer.u8(1);
            write_create(writer, create);
        }
        WatchCommand::Cancel(id) => {
            writer.u8(2);
            write_watch_id(writer, id);
        }
        WatchCommand::Progress => writer.u8(3),
    }
}

/// Reads what a client says.
pub fn read_watch_command(reader: &mut Reader) -> Result<WatchCommand, DecodeError> {
    Ok(match reader.u8("watch command")? {
        1 => WatchCommand::Create(read_create(reader)?),
        2 => WatchCommand::Cancel(read_watch_id(reader)?),
        3 => WatchCommand::Progress,
        value => return unknown("watch command", value),
    })
}

fn write_create(writer: &mut Writer, create: &WatchCreate) {
    write_option(writer, create.id.as_ref(), write_watch_id);
    write_keys(writer, &create.keys);
    write_option(writer, create.start_revision.as_ref(), |writer, revision| write_revision(writer, *revision));
    writer.bool(create.prev_kv);
    writer.bool(create.filter.no_put);
    writer.bool(create.filter.no_delete);
    writer.bool(create.progress_notify);
    writer.bool(create.fragment);
}

fn read_create(reader: &mut Reader) -> Result<WatchCreate, DecodeError> {
    Ok(WatchCreate {
        id: read_option(reader, "watch", read_watch_id)?,
        keys: read_keys(reader)?,
        start_revision: read_option(reader, "revision", read_revision)?,
        prev_kv: reader.bool("prev_kv")?,
        filter: WatchFilter { no_put: reader.bool("no_put")?, no_delete: reader.bool("no_delete")? },
        progress_notify: reader.bool("progress_notify")?,
        fragment: reader.bool("fragment")?,
    })
}

/// Writes what a client is told.
pub fn write_watch_event(writer: &mut Writer, event: &WatchEvent) {
    match event {
        WatchEvent::Created { id, revision } => {
            writer.u8(1);
            write_watch_id(writer, id);
            write_revision(writer, *revision);
        }
        WatchEvent::Canceled { id, revision, reason } => {
            writer.u8(2);
            write_watch_id(writer, id);
            write_revision(writer, *revision);
            write_reason(writer, reason);
        }
        WatchEvent::Events { id, revision, events, fragment } => {
            writer.u8(3);
            write_watch_id(writer, id);
            write_revision(writer, *revision);
            write_list(writer, events, write_event);
            writer.bool(*fragment);
        }
        WatchEvent::Progress { id, revision } => {
            writer.u8(4);
            write_option(writer, id.as_ref(), write_watch_id);
            write_revision(writer, *revision);
        }
    }
}

/// Reads what a client is told.
pub fn read_watch_event(reader: &mut Reader) -> Result<WatchEvent, DecodeError> {
    Ok(match reader.u8("watch event")? {
        1 => WatchEvent::Created { id: read_watch_id(reader)?, revision: read_revision(reader)? },
        2 => WatchEvent::Canceled {
            id: read_watch_id(reader)?,
            revision: read_revision(reader)?,
            reason: read_reason(reader)?,
        },
        3 => WatchEvent::Events {
            id: read_watch_id(reader)?,
            revision: read_revision(reader)?,
            events: read_list(reader, "events", read_event)?,
            fragment: reader.bool("fragment")?,
        },
        4 => {
            WatchEvent::Progress { id: read_option(reader, "watch", read_watch_id)?, revision: read_revision(reader)? }
        }
        value => return unknown("watch event", value),
    })
}

fn write_reason(writer: &mut Writer, reason: &CancelReason) {
    match reason {
        CancelReason::Asked => writer.u8(1),
        CancelReason::Compacted(revision) => {
            writer.u8(2);
            write_revision(writer, *revision);
        }
        CancelReason::DuplicateId => writer.u8(3),
        CancelReason::InvalidRange => writer.u8(4),
        CancelReason::TooMany => writer.u8(5),
        CancelReason::NoLeader => writer.u8(6),
        CancelReason::Gone(words) => {
            writer.u8(7);
            writer.str(words);
        }
        CancelReason::Refused(kind) => {
            writer.u8(8);
            write_error_kind(writer, kind);
        }
    }
}

fn read_reason(reader: &mut Reader) -> Result<CancelReason, DecodeError> {
    Ok(match reader.u8("why a watch ended")? {
        1 => CancelReason::Asked,
        2 => CancelReason::Compacted(read_revision(reader)?),
        3 => CancelReason::DuplicateId,
        4 => CancelReason::InvalidRange,
        5 => CancelReason::TooMany,
        6 => CancelReason::NoLeader,
        7 => CancelReason::Gone(reader.str("why a watch ended")?),
        8 => CancelReason::Refused(read_error_kind(reader)?),
        value => return unknown("why a watch ended", value),
    })
}
