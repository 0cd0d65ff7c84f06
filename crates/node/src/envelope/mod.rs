//! What nodes say to each other: one frame per peer and turn, many messages in a frame.
//!
//! ```text
//! frame     version:u8 = 1 | incarnation:varint | sequence:varint | message*
//! message   tag:u8 | fields, as each variant of `Message` writes them
//! ```
//!
//! The sequence numbers of one incarnation only go up, so a receiver that drops what is not newer than the last frame
//! never sees a frame twice or out of order, whatever carried it. A lost frame costs time: Raft sends again, and whoever
//! waits for an answer asks again or times out.

mod keyed;
mod routing;

use althing_api::error::ErrorKind;
use althing_codec::{DecodeError, Reader, Writer};
use althing_consensus as consensus;
use althing_types::{GroupId, LeaseId, NodeId, RequestId};
use bytes::Bytes;

pub use keyed::{KeyedMessage, Standing};
pub use routing::{Route, StreamMessage};

/// The version of the frame format.
pub const FRAME_VERSION: u8 = 1;

/// One message between two nodes.
#[derive(Clone, Debug)]
pub enum Message {
    /// Raft's own.
    Raft(GroupId, consensus::Message),
    /// A proposal on its way to the leader.
    Forward(Forward),
    /// It was not proposed in the term that it was meant for, and never will be in that term. The sender may have sent it
    /// again for another term meanwhile, which this says nothing about.
    Refused {
        /// Of which group.
        group: GroupId,
        /// The term that it was meant for.
        term: u64,
        /// Which proposal.
        ticket: RequestId,
        /// Why; a refusal for want of leadership may be sent again at once.
        error: ErrorKind,
    },
    /// A question that only a confirmed leader may answer.
    Ask {
        /// Of which group.
        group: GroupId,
        /// Names the answer.
        ticket: RequestId,
        /// The question.
        question: Question,
    },
    /// The leader's answer.
    Told {
        /// Of which group.
        group: GroupId,
        /// To which question.
        ticket: RequestId,
        /// The answer.
        result: Result<Told, ErrorKind>,
    },
    /// A page of a snapshot.
    Page(Page),
    /// How many pages of a transfer have arrived, or that it failed.
    PageAck {
        /// Of which group.
        group: GroupId,
        /// Of which transfer.
        transfer: u64,
        /// How many are in.
        pages: u64,
        /// How far the receiver is.
        state: TransferState,
    },
    /// A call of the sender's client for a shard that the receiver should have.
    Route(Route),
    /// What came of such a call.
    Routed {
        /// Of which.
        name: u64,
        /// The encoded result.
        result: Bytes,
    },
    /// The receiver's map is behind, or the sender's: the call was not done.
    WrongShard {
        /// The shard's group.
        group: GroupId,
        /// Which call.
        name: u64,
        /// The shard's entry in the sender's map; empty if it has none.
        current: Bytes,
    },
    /// About a stream of watches.
    Stream {
        /// Its name at the node whose client has it.
        name: u64,
        /// What.
        message: StreamMessage,
    },
    /// The sender wants what is newer in the map, now and whenever it changes.
    MapWant {
        /// What it has.
        have: u64,
    },
    /// What is newer in the map.
    MapUpdate(Bytes),
    /// What the sender holds.
    Report(Bytes),
    /// About a convergent shard.
    Keyed(GroupId, KeyedMessage),
    /// What the sender's gateway tells the receiver's: handed on as it is. It is told once at most.
    Mail(Bytes),
}

/// A proposal on its way to the leader. It is bound to a term: a leader of any other term refuses it. Once the sender has
/// applied an entry of a later term, a proposal of this one that it has not applied never will be.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Of which group.
    pub group: GroupId,
    /// The term that it is meant for.
    pub term: u64,
    /// Names it.
    pub ticket: RequestId,
    /// Whether it changes the membership: the leader then checks and proposes it as a configuration change.
    pub membership: bool,
    /// The encoded proposal.
    pub data: Bytes,
}

/// A question to the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Start the lease anew.
    KeepAlive(LeaseId),
    /// How long does the lease live?
    TimeToLive(LeaseId),
    /// Hand the leadership to this node.
    MoveLeader(NodeId),
    /// Is the asker a member?
    Membership,
}

/// An answer of the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// The lease lives so many seconds from now.
    KeptAlive {
        /// Seconds.
        ttl_seconds: i64,
    },
    /// The lease has so many seconds left, of those granted.
    TimeToLive {
        /// Seconds left; -1 without such a lease.
        remaining_seconds: i64,
        /// Seconds granted.
        granted_seconds: i64,
    },
    /// The leadership is being handed over.
    Moved,
    /// The asker is a member.
    Member,
    /// The asker is no member, by a configuration that is committed.
    NoMember {
        /// The term of the leader that says so.
        term: u64,
    },
}

/// A page of a snapshot on its way to a follower.
#[derive(Clone, Debug)]
pub struct Page {
    /// Of which group.
    pub group: GroupId,
    /// Names the transfer.
    pub transfer: u64,
    /// The sender's term.
    pub term: u64,
    /// The place of the page, from 0.
    pub number: u64,
    /// Whether it is the last.
    pub last: bool,
    /// The page.
    pub bytes: Bytes,
}

/// How far the receiver of a snapshot is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransferState {
    /// It wants more pages.
    Going,
    /// It has installed the snapshot.
    Installed,
    /// It gave up; the sender may start anew.
    Failed,
}

const RAFT: u8 = 1;
const FORWARD: u8 = 2;
const REFUSED: u8 = 3;
const ASK: u8 = 4;
const TOLD: u8 = 5;
const PAGE: u8 = 6;
const PAGE_ACK: u8 = 7;
const ROUTE: u8 = 8;
const ROUTED: u8 = 9;
const WRONG_SHARD: u8 = 10;
const STREAM: u8 = 11;
const MAP_WANT: u8 = 12;
const MAP_UPDATE: u8 = 13;
const REPORT: u8 = 14;
const KEYED: u8 = 15;
const MAIL: u8 = 20;

/// Stands for the group in messages that are about none.
const NO_GROUP: u64 = 0;

/// What stands before the messages of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// The sender's incarnation.
    pub incarnation: u64,
    /// The frame's number within it.
    pub sequence: u64,
}

/// Starts a frame.
#[must_use]
pub fn begin_frame(header: FrameHeader) -> Writer {
    let mut writer = Writer::with_capacity(256);
    writer.u8(FRAME_VERSION);
    writer.u64(header.incarnation);
    writer.u64(header.sequence);
    writer
}

/// Takes the head off a frame; its messages follow in the reader.
pub fn open_frame(bytes: Bytes) -> Result<(FrameHeader, Reader), DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8("the frame's version")?;
    if version != FRAME_VERSION {
        return Err(DecodeError::Version {
            what: "a frame",
            found: u64::from(version),
            known: u64::from(FRAME_VERSION),
        });
    }
    let incarnation = reader.u64("the frame's incarnation")?;
    let sequence = reader.u64("the frame's sequence")?;
    Ok((FrameHeader { incarnation, sequence }, reader))
}

impl Message {
    /// Appends the message to a frame.
    pub fn encode(&self, w: &mut Writer) {
        match self {
            Self::Raft(group, message) => {
                w.u8(RAFT);
                w.u64(group.get());
                message.encode(w);
            }
            Self::Forward(forward) => encode_forward(forward, w),
            Self::Refused { group, term, ticket, error } => {
                w.u8(REFUSED);
                w.u64(group.get());
                w.u64(*term);
                w.u64(ticket.get());
                encode_error(error, w);
            }
            Self::Ask { group, ticket, question } => {
                w.u8(ASK);
                w.u64(group.get());
                w.u64(ticket.get());
                encode_question(*question, w);
            }
            Self::Told { group, ticket, result } => {
                w.u8(TOLD);
                w.u64(group.get());
                w.u64(ticket.get());
                encode_told(result, w);
            }
            Self::Page(page) => encode_page(page, w),
            Self::PageAck { group, transfer, pages, state } => {
                w.u8(PAGE_ACK);
                w.u64(group.get());
                w.u64(*transfer);
                w.u64(*pages);
                w.u8(match state {
                    TransferState::Going => 0,
                    TransferState::Installed => 1,
                    TransferState::Failed => 2,
                });
            }
            Self::Keyed(group, message) => {
                w.u8(KEYED);
                w.u64(group.get());
                message.encode(w);
            }
            Self::Route(_)
            | Self::Routed { .. }
            | Self::WrongShard { .. }
            | Self::Stream { .. }
            | Self::MapWant { .. }
            | Self::MapUpdate(_)
            | Self::Mail(_)
            | Self::Report(_) => self.encode_of_the_map(w),
        }
    }

    /// Appends a message about clients of other nodes or about the map.
    fn encode_of_the_map(&self, w: &mut Writer) {
        let mut begin = |tag: u8, group: u64| {
            w.u8(tag);
            w.u64(group);
        };
        match self {
            Self::Route(route) => {
                begin(ROUTE, route.group.get());
                route.encode(w);
            }
            Self::Routed { name, result } => {
                begin(ROUTED, NO_GROUP);
                w.u64(*name);
                w.bytes(result);
            }
            Self::WrongShard { group, name, current } => {
                begin(WRONG_SHARD, group.get());
                w.u64(*name);
                w.bytes(current);
            }
            Self::Stream { name, message } => {
                begin(STREAM, NO_GROUP);
                w.u64(*name);
                message.encode(w);
            }
            Self::MapWant { have } => {
                begin(MAP_WANT, NO_GROUP);
                w.u64(*have);
            }
            Self::MapUpdate(update) => {
                begin(MAP_UPDATE, NO_GROUP);
                w.bytes(update);
            }
            Self::Report(report) => {
                begin(REPORT, NO_GROUP);
                w.bytes(report);
            }
            Self::Mail(bytes) => {
                begin(MAIL, NO_GROUP);
                w.bytes(bytes);
            }
            Self::Raft(..)
            | Self::Forward(_)
            | Self::Refused { .. }
            | Self::Ask { .. }
            | Self::Told { .. }
            | Self::Page(_)
            | Self::Keyed(..)
            | Self::PageAck { .. } => self.encode(w),
        }
    }

    /// Takes one message off a frame.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let tag = r.u8("a message's tag")?;
        let group = GroupId(r.u64("a message's group")?);
        Ok(match tag {
            RAFT => Self::Raft(group, consensus::Message::decode(r)?),
            FORWARD => Self::Forward(Forward {
                group,
                term: r.u64("a proposal's term")?,
                ticket: RequestId(r.u64("a proposal's ticket")?),
                membership: r.bool("whether a proposal changes the membership")?,
                // A copy: it stays in the log, which should not keep the whole frame.
                data: Bytes::copy_from_slice(&r.bytes("a proposal")?),
            }),
            REFUSED => Self::Refused {
                group,
                term: r.u64("a refused proposal's term")?,
                ticket: decode_ticket(r)?,
                error: decode_error(r)?,
            },
            ASK => Self::Ask { group, ticket: decode_ticket(r)?, question: decode_question(r)? },
            TOLD => Self::Told { group, ticket: decode_ticket(r)?, result: decode_told(r)? },
            PAGE => Self::Page(Page {
                group,
                transfer: r.u64("a transfer")?,
                term: r.u64("a transfer's term")?,
                number: r.u64("a page's number")?,
                last: r.bool("whether a page is the last")?,
                bytes: r.bytes("a page")?,
            }),
            PAGE_ACK => Self::PageAck {
                group,
                transfer: r.u64("a transfer")?,
                pages: r.u64("a count of pages")?,
                state: decode_transfer_state(r)?,
            },
            ROUTE => Self::Route(Route::decode(group, r)?),
            ROUTED => Self::Routed { name: r.u64("a routed call's name")?, result: r.bytes("a result")? },
            WRONG_SHARD => {
                Self::WrongShard { group, name: r.u64("a routed call's name")?, current: r.bytes("a shard's entry")? }
            }
            STREAM => Self::Stream { name: r.u64("a stream's name")?, message: StreamMessage::decode(r)? },
            MAP_WANT => Self::MapWant { have: r.u64("a revision of the map")? },
            MAP_UPDATE => Self::MapUpdate(r.bytes("an update of the map")?),
            REPORT => Self::Report(r.bytes("a report")?),
            KEYED => Self::Keyed(group, KeyedMessage::decode(r)?),
            MAIL => Self::Mail(r.bytes("mail")?),
            value => return Err(DecodeError::Unknown { field: "a message's tag", value: u64::from(value) }),
        })
    }
}

fn encode_forward(forward: &Forward, w: &mut Writer) {
    w.u8(FORWARD);
    w.u64(forward.group.get());
    w.u64(forward.term);
    w.u64(forward.ticket.get());
    w.bool(forward.membership);
    w.bytes(&forward.data);
}

fn encode_page(page: &Page, w: &mut Writer) {
    w.u8(PAGE);
    w.u64(page.group.get());
    w.u64(page.transfer);
    w.u64(page.term);
    w.u64(page.number);
    w.bool(page.last);
    w.bytes(&page.bytes);
}

fn decode_ticket(r: &mut Reader) -> Result<RequestId, DecodeError> {
    r.u64("a ticket").map(RequestId)
}

fn decode_transfer_state(r: &mut Reader) -> Result<TransferState, DecodeError> {
    match r.u8("a transfer's state")? {
        0 => Ok(TransferState::Going),
        1 => Ok(TransferState::Installed),
        2 => Ok(TransferState::Failed),
        value => Err(DecodeError::Unknown { field: "a transfer's state", value: u64::from(value) }),
    }
}

fn encode_question(question: Question, w: &mut Writer) {
    match question {
        Question::KeepAlive(id) => {
            w.u8(0);
            w.i64(id.get());
        }
        Question::TimeToLive(id) => {
            w.u8(1);
            w.i64(id.get());
        }
        Question::MoveLeader(to) => {
            w.u8(2);
            w.u64(to.get());
        }
        Question::Membership => w.u8(3),
    }
}

fn decode_question(r: &mut Reader) -> Result<Question, DecodeError> {
    Ok(match r.u8("a question")? {
        0 => Question::KeepAlive(LeaseId(r.i64("a lease")?)),
        1 => Question::TimeToLive(LeaseId(r.i64("a lease")?)),
        2 => Question::MoveLeader(NodeId(r.u64("a node")?)),
        3 => Question::Membership,
        value => return Err(DecodeError::Unknown { field: "a question", value: u64::from(value) }),
    })
}

fn encode_told(result: &Result<Told, ErrorKind>, w: &mut Writer) {
    match result {
        Ok(Told::KeptAlive { ttl_seconds }) => {
            w.u8(0);
            w.i64(*ttl_seconds);
        }
        Ok(Told::TimeToLive { remaining_seconds, granted_seconds }) => {
            w.u8(1);
            w.i64(*remaining_seconds);
            w.i64(*granted_seconds);
        }
        Ok(Told::Moved) => w.u8(2),
        Ok(Told::Member) => w.u8(4),
        Ok(Told::NoMember { term }) => {
            w.u8(5);
            w.u64(*term);
        }
        Err(error) => {
            w.u8(3);
            encode_error(error, w);
        }
    }
}

fn decode_told(r: &mut Reader) -> Result<Result<Told, ErrorKind>, DecodeError> {
    Ok(match r.u8("an answer")? {
        0 => Ok(Told::KeptAlive { ttl_seconds: r.i64("a time to live")? }),
        1 => Ok(Told::TimeToLive {
            remaining_seconds: r.i64("a time to live")?,
            granted_seconds: r.i64("a time to live")?,
        }),
        2 => Ok(Told::Moved),
        3 => Err(decode_error(r)?),
        4 => Ok(Told::Member),
        5 => Ok(Told::NoMember { term: r.u64("a term")? }),
        value => return Err(DecodeError::Unknown { field: "an answer", value: u64::from(value) }),
    })
}

/// Only what a leader says to another node has a form on the wire; anything else arrives as its text.
fn encode_error(error: &ErrorKind, w: &mut Writer) {
    match error {
        ErrorKind::NotLeader => w.u8(0),
        ErrorKind::LeaseNotFound(id) => {
            w.u8(1);
            w.i64(id.get());
        }
        ErrorKind::Overloaded => w.u8(2),
        ErrorKind::BadLeaderTransferee(id) => {
            w.u8(3);
            w.u64(id.get());
        }
        ErrorKind::MemberNotFound(id) => {
            w.u8(4);
            w.u64(id.get());
        }
        ErrorKind::MemberExists(id) => {
            w.u8(5);
            w.u64(id.get());
        }
        ErrorKind::PeerUrlExists => w.u8(6),
        ErrorKind::NotLearner(id) => {
            w.u8(7);
            w.u64(id.get());
        }
        ErrorKind::LearnerNotReady(id) => {
            w.u8(8);
            w.u64(id.get());
        }
        ErrorKind::TooManyLearners => w.u8(9),
        ErrorKind::Unhealthy => w.u8(10),
        ErrorKind::Stopped => w.u8(11),
        other => {
            w.u8(12);
            w.str(&other.to_string());
        }
    }
}

fn decode_error(r: &mut Reader) -> Result<ErrorKind, DecodeError> {
    let node = |r: &mut Reader| r.u64("a node").map(NodeId);
    Ok(match r.u8("an error")? {
        0 => ErrorKind::NotLeader,
        1 => ErrorKind::LeaseNotFound(LeaseId(r.i64("a lease")?)),
        2 => ErrorKind::Overloaded,
        3 => ErrorKind::BadLeaderTransferee(node(r)?),
        4 => ErrorKind::MemberNotFound(node(r)?),
        5 => ErrorKind::MemberExists(node(r)?),
        6 => ErrorKind::PeerUrlExists,
        7 => ErrorKind::NotLearner(node(r)?),
        8 => ErrorKind::LearnerNotReady(node(r)?),
        9 => ErrorKind::TooManyLearners,
        10 => ErrorKind::Unhealthy,
        11 => ErrorKind::Stopped,
        12 => ErrorKind::InvalidArgument(r.str("an error's text")?),
        value => return Err(DecodeError::Unknown { field: "an error", value: u64::from(value) }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(message: &Message) -> String {
        let mut writer = begin_frame(FrameHeader { incarnation: 3, sequence: 9 });
        message.encode(&mut writer);
        let (header, mut reader) = open_frame(writer.finish()).unwrap();
        assert_eq!(header, FrameHeader { incarnation: 3, sequence: 9 });
        let decoded = Message::decode(&mut reader).unwrap();
        reader.finish().unwrap();
        format!("{decoded:?}")
    }

    #[test]
    fn what_is_framed_is_unframed() {
        let group = GroupId(7);
        let ticket = RequestId(1 << 50);
        let messages = [
            Message::Forward(Forward { group, term: 4, ticket, membership: true, data: Bytes::from_static(b"x") }),
            Message::Refused { group, term: 3, ticket, error: ErrorKind::NotLeader },
            Message::Refused { group, term: 3, ticket, error: ErrorKind::LearnerNotReady(NodeId(5)) },
            Message::Ask { group, ticket, question: Question::KeepAlive(LeaseId(77)) },
            Message::Told { group, ticket, result: Ok(Told::Moved) },
            Message::Told { group, ticket, result: Err(ErrorKind::LeaseNotFound(LeaseId(77))) },
            Message::Page(Page { group, transfer: 1, term: 2, number: 3, last: true, bytes: Bytes::from_static(b"p") }),
            Message::PageAck { group, transfer: 1, pages: 2, state: TransferState::Failed },
            Message::Mail(Bytes::from_static(b"news")),
        ];
        for message in messages {
            assert_eq!(round_trip(&message), format!("{message:?}"));
        }
    }

    #[test]
    fn a_frame_of_another_version_is_refused() {
        let frame = Bytes::from_static(&[9, 0, 0]);
        assert!(matches!(open_frame(frame), Err(DecodeError::Version { found: 9, .. })));
    }
}
