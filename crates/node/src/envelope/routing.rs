//! What nodes say to each other about clients that they serve for each other, and about the map.
//!
//! ```text
//! route         group · name · epoch · call (docs/formats/calls.md)
//! routed        name · result
//! wrong shard   group · name · the shard's entry in the sender's map, empty if it has none
//! stream        name · kind u8 · …
//!     0 open     group · whether a leader is required       1 command  number · what the client says
//!     2 drained  bytes                                      3 close
//!     4 event    number · what the client is told           5 mark     number of the last event
//!     6 ended
//! map want      the revision that the sender has
//! map update    an update of the map
//! report        what the sender holds
//! ```

use althing_api::watch::{WatchCommand, WatchEvent};
use althing_api::wire::{read_watch_command, read_watch_event, write_watch_command, write_watch_event};
use althing_codec::{DecodeError, Reader, Writer};
use althing_types::GroupId;
use bytes::Bytes;

/// A call of the sender's client.
#[derive(Clone, Debug)]
pub struct Route {
    /// The shard's group.
    pub group: GroupId,
    /// The sender's name for it.
    pub name: u64,
    /// The shard's epoch in the sender's map.
    pub epoch: u64,
    /// The encoded call.
    pub call: Bytes,
}

/// What is said about a stream of watches between the node whose client has it and the node that serves it.
#[derive(Clone, Debug)]
pub enum StreamMessage {
    /// The client opens it.
    Open {
        /// On this group.
        group: GroupId,
        /// Whether its watches end when there is no leader.
        require_leader: bool,
    },
    /// The client says something.
    Command {
        /// Its number, from 1.
        number: u64,
        /// What.
        command: WatchCommand,
    },
    /// The client has taken so many bytes off it.
    Drained {
        /// How many.
        bytes: u64,
    },
    /// The client has closed it.
    Close,
    /// The client is told something.
    Event {
        /// Its number, from 1.
        number: u64,
        /// What.
        event: WatchEvent,
    },
    /// So many events have been sent.
    Mark {
        /// The last one's number.
        number: u64,
    },
    /// It is served no longer.
    Ended,
}

impl Route {
    /// Appends it to a frame, but for its group, which stands before.
    pub(super) fn encode(&self, w: &mut Writer) {
        w.u64(self.name);
        w.u64(self.epoch);
        w.bytes(&self.call);
    }

    /// Takes it off a frame.
    pub(super) fn decode(group: GroupId, r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            group,
            name: r.u64("a routed call's name")?,
            epoch: r.u64("a shard's epoch")?,
            call: r.bytes("a routed call")?,
        })
    }
}

impl StreamMessage {
    /// Appends it to a frame.
    pub(super) fn encode(&self, w: &mut Writer) {
        match self {
            Self::Open { group, require_leader } => {
                w.u8(0);
                w.u64(group.get());
                w.bool(*require_leader);
            }
            Self::Command { number, command } => {
                w.u8(1);
                w.u64(*number);
                write_watch_command(w, command);
            }
            Self::Drained { bytes } => {
                w.u8(2);
                w.u64(*bytes);
            }
            Self::Close => w.u8(3),
            Self::Event { number, event } => {
                w.u8(4);
                w.u64(*number);
                write_watch_event(w, event);
            }
            Self::Mark { number } => {
                w.u8(5);
                w.u64(*number);
            }
            Self::Ended => w.u8(6),
        }
    }

    /// Takes it off a frame.
    pub(super) fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match r.u8("what is said about a stream")? {
            0 => Self::Open {
                group: GroupId(r.u64("a stream's group")?),
                require_leader: r.bool("whether a stream requires a leader")?,
            },
            1 => Self::Command { number: r.u64("a number of a stream")?, command: read_watch_command(r)? },
            2 => Self::Drained { bytes: r.u64("bytes taken off a stream")? },
            3 => Self::Close,
            4 => Self::Event { number: r.u64("a number of a stream")?, event: read_watch_event(r)? },
            5 => Self::Mark { number: r.u64("a number of a stream")? },
            6 => Self::Ended,
            value => {
                return Err(DecodeError::Unknown { field: "what is said about a stream", value: u64::from(value) });
            }
        })
    }
}
