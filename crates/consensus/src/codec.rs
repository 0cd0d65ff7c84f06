//! Messages as bytes. Every byte that comes in is hostile until it has been through here.
//!
//! ```text
//! kind u8 · from · to · term                           no term in a ReadIndex
//!
//! Append             index · log term · commit · count · (kind u8 · term · data)*    first entry: index + 1
//! AppendResponse     index · log term · commit · reject u8 · reject hint
//! RequestVote        index · log term · commit · commit term · transfer u8           RequestPreVote alike
//! …VoteResponse      reject u8 · commit · commit term
//! Heartbeat          commit · read context                                           HeartbeatResponse alike
//! TimeoutNow
//! ReadIndex          read context
//! ReadIndexResponse  index · read context
//! Hibernate          commit                                                          Hibernating alike
//! Awaken
//! ```
//!
//! What the raft crate takes for granted is true of every message that is read: a term above zero where there is one,
//! entries without a gap, numbers far from overflow, exactly one context in a read.

use althing_codec::{DecodeError, Reader, Writer};
use althing_probe::Mutant;
use althing_types::NodeId;
use bytes::{Bytes, BytesMut};
use raft::CAMPAIGN_TRANSFER;
use raft::eraftpb::{self, MessageType};

use crate::hibernation::Signal;
use crate::message::{Body, Message, MessageKind};
use crate::reads::CONTEXT_BYTES;
use crate::record::{entry_kind, number};
use crate::types::{Entry, EntryKind};

/// Room for entries that is made before the first is read, so that a hostile count costs nothing.
const MAX_RESERVED_ENTRIES: usize = 1024;

impl Message {
    /// Writes the message.
    pub fn encode(&self, writer: &mut Writer) {
        let kind = self.kind();
        writer.u8(kind as u8);
        writer.u64(self.from.get());
        writer.u64(self.to.get());
        if kind != MessageKind::ReadIndex {
            writer.u64(self.term());
        }
        match &self.body {
            Body::Raft(message) => encode_raft(kind, message, writer),
            Body::Signal(Signal::Hibernate { commit, .. } | Signal::Hibernating { commit, .. }) => writer.u64(*commit),
            Body::Signal(Signal::Awaken { .. }) => {}
        }
    }

    /// Reads one message; what follows it is left in the reader. Its entries have a buffer of their own.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let kind = message_kind(reader.u8("a message's kind")?)?;
        let from = node(reader, "a message's sender")?;
        let to = node(reader, "a message's receiver")?;
        let term = if kind == MessageKind::ReadIndex { 0 } else { term(reader)? };
        let body = match kind {
            MessageKind::Hibernate => Body::Signal(Signal::Hibernate { term, commit: number(reader, "commit")? }),
            MessageKind::Hibernating => Body::Signal(Signal::Hibernating { term, commit: number(reader, "commit")? }),
            MessageKind::Awaken => Body::Signal(Signal::Awaken { term }),
            MessageKind::Append
            | MessageKind::AppendResponse
            | MessageKind::RequestVote
            | MessageKind::RequestVoteResponse
            | MessageKind::Heartbeat
            | MessageKind::HeartbeatResponse
            | MessageKind::TimeoutNow
            | MessageKind::ReadIndex
            | MessageKind::ReadIndexResponse
            | MessageKind::RequestPreVote
            | MessageKind::RequestPreVoteResponse => {
                let mut message =
                    eraftpb::Message { from: from.get(), to: to.get(), term, ..eraftpb::Message::default() };
                message.set_msg_type(raft_type(kind));
                decode_raft(kind, &mut message, reader)?;
                Body::Raft(message)
            }
        };
        Ok(Self { from, to, body })
    }
}

fn encode_raft(kind: MessageKind, message: &eraftpb::Message, writer: &mut Writer) {
    match kind {
        MessageKind::Append => {
            writer.u64(message.index);
            writer.u64(message.log_term);
            writer.u64(message.commit);
            encode_entries(message.index + 1, &message.entries, writer);
        }
        MessageKind::AppendResponse => {
            writer.u64(message.index);
            writer.u64(message.log_term);
            writer.u64(message.commit);
            writer.bool(message.reject);
            writer.u64(message.reject_hint);
        }
        MessageKind::RequestVote | MessageKind::RequestPreVote => {
            writer.u64(message.index);
            writer.u64(message.log_term);
            writer.u64(message.commit);
            writer.u64(message.commit_term);
            writer.bool(message.context == CAMPAIGN_TRANSFER);
        }
        MessageKind::RequestVoteResponse | MessageKind::RequestPreVoteResponse => {
            writer.bool(message.reject);
            writer.u64(message.commit);
            writer.u64(message.commit_term);
        }
        MessageKind::Heartbeat | MessageKind::HeartbeatResponse => {
            writer.u64(message.commit);
            writer.bytes(&message.context);
        }
        MessageKind::ReadIndex => writer.bytes(&message.entries[0].data),
        MessageKind::ReadIndexResponse => {
            writer.u64(message.index);
            writer.bytes(&message.entries[0].data);
        }
        MessageKind::TimeoutNow | MessageKind::Hibernate | MessageKind::Hibernating | MessageKind::Awaken => {}
    }
}

fn decode_raft(kind: MessageKind, message: &mut eraftpb::Message, reader: &mut Reader) -> Result<(), DecodeError> {
    match kind {
        MessageKind::Append => {
            message.index = number(reader, "an append's index")?;
            message.log_term = number(reader, "an append's log term")?;
            message.commit = number(reader, "an append's commit index")?;
            message.set_entries(decode_entries(message.index + 1, reader)?.into());
        }
        MessageKind::AppendResponse => {
            message.index = number(reader, "an append response's index")?;
            message.log_term = number(reader, "an append response's log term")?;
            message.commit = number(reader, "an append response's commit index")?;
            message.reject = reader.bool("an append response's verdict")?;
            message.reject_hint = number(reader, "an append response's hint")?;
        }
        MessageKind::RequestVote | MessageKind::RequestPreVote => {
            message.index = number(reader, "a candidate's last index")?;
            message.log_term = number(reader, "a candidate's last term")?;
            message.commit = number(reader, "a candidate's commit index")?;
            message.commit_term = number(reader, "a candidate's commit term")?;
            if reader.bool("a candidate's reason")? {
                message.context = Bytes::from_static(CAMPAIGN_TRANSFER);
            }
        }
        MessageKind::RequestVoteResponse | MessageKind::RequestPreVoteResponse => {
            message.reject = reader.bool("a vote")?;
            message.commit = number(reader, "a voter's commit index")?;
            message.commit_term = number(reader, "a voter's commit term")?;
        }
        MessageKind::Heartbeat | MessageKind::HeartbeatResponse => {
            message.commit = number(reader, "a heartbeat's commit index")?;
            message.context = reader.bytes("a heartbeat's read context")?;
            if !message.context.is_empty() {
                check_context(&message.context)?;
            }
        }
        MessageKind::ReadIndex => message.set_entries(vec![decode_context(reader)?].into()),
        MessageKind::ReadIndexResponse => {
            message.index = number(reader, "a read index")?;
            message.set_entries(vec![decode_context(reader)?].into());
        }
        MessageKind::TimeoutNow | MessageKind::Hibernate | MessageKind::Hibernating | MessageKind::Awaken => {}
    }
    Ok(())
}

/// Entries travel without their indices, so these must follow from the first.
fn encode_entries(first: u64, entries: &[eraftpb::Entry], writer: &mut Writer) {
    writer.u64(entries.len() as u64);
    for (index, entry) in (first..).zip(entries) {
        let follows = entry.index == index || althing_probe::is(Mutant::MisplacedAppends);
        assert!(follows, "an append's entries follow its place without a gap: {} is not {index}", entry.index);
        let entry = Entry::from_raft(entry);
        writer.u8(entry.kind as u8);
        writer.u64(entry.term);
        writer.bytes(&entry.data);
    }
}

fn decode_entries(first: u64, reader: &mut Reader) -> Result<Vec<eraftpb::Entry>, DecodeError> {
    let count = reader.count("an append's entries")?;
    let mut entries = Vec::with_capacity(count.min(MAX_RESERVED_ENTRIES));
    for index in (first..).take(count) {
        let kind: EntryKind = entry_kind(reader.u8("an entry's kind")?)?;
        let term = number(reader, "an entry's term")?;
        let data = reader.bytes("an entry's data")?;
        entries.push(Entry { index, term, kind, data }.into_raft());
    }
    detach(&mut entries);
    Ok(entries)
}

/// Copies the entries' data out of the reader's buffer. They stay in the log for long, and would keep everything in memory
/// that happened to be read from the socket together with them.
fn detach(entries: &mut [eraftpb::Entry]) {
    let mut own = BytesMut::with_capacity(entries.iter().map(|entry| entry.data.len()).sum());
    for entry in entries {
        own.extend_from_slice(&entry.data);
        entry.data = own.split().freeze();
    }
}

fn decode_context(reader: &mut Reader) -> Result<eraftpb::Entry, DecodeError> {
    let data = reader.bytes("a read context")?;
    check_context(&data)?;
    Ok(eraftpb::Entry { data, ..eraftpb::Entry::default() })
}

fn check_context(context: &Bytes) -> Result<(), DecodeError> {
    let (field, value) = ("a read context's length", context.len() as u64);
    if context.len() == CONTEXT_BYTES { Ok(()) } else { Err(DecodeError::Unknown { field, value }) }
}

fn node(reader: &mut Reader, field: &'static str) -> Result<NodeId, DecodeError> {
    match reader.u64(field)? {
        0 => Err(DecodeError::Unknown { field, value: 0 }),
        id => Ok(NodeId(id)),
    }
}

/// A term of zero would make the raft crate take a message for one of its own.
fn term(reader: &mut Reader) -> Result<u64, DecodeError> {
    match number(reader, "a message's term")? {
        0 => Err(DecodeError::Unknown { field: "a message's term", value: 0 }),
        term => Ok(term),
    }
}

fn message_kind(value: u8) -> Result<MessageKind, DecodeError> {
    Ok(match value {
        0 => MessageKind::Append,
        1 => MessageKind::AppendResponse,
        2 => MessageKind::RequestVote,
        3 => MessageKind::RequestVoteResponse,
        4 => MessageKind::Heartbeat,
        5 => MessageKind::HeartbeatResponse,
        6 => MessageKind::TimeoutNow,
        7 => MessageKind::ReadIndex,
        8 => MessageKind::ReadIndexResponse,
        9 => MessageKind::RequestPreVote,
        10 => MessageKind::RequestPreVoteResponse,
        11 => MessageKind::Hibernate,
        12 => MessageKind::Hibernating,
        13 => MessageKind::Awaken,
        value => return Err(DecodeError::Unknown { field: "a message's kind", value: u64::from(value) }),
    })
}

fn raft_type(kind: MessageKind) -> MessageType {
    match kind {
        MessageKind::Append => MessageType::MsgAppend,
        MessageKind::AppendResponse => MessageType::MsgAppendResponse,
        MessageKind::RequestVote => MessageType::MsgRequestVote,
        MessageKind::RequestVoteResponse => MessageType::MsgRequestVoteResponse,
        MessageKind::Heartbeat => MessageType::MsgHeartbeat,
        MessageKind::HeartbeatResponse => MessageType::MsgHeartbeatResponse,
        MessageKind::TimeoutNow => MessageType::MsgTimeoutNow,
        MessageKind::ReadIndex => MessageType::MsgReadIndex,
        MessageKind::ReadIndexResponse => MessageType::MsgReadIndexResp,
        MessageKind::RequestPreVote => MessageType::MsgRequestPreVote,
        MessageKind::RequestPreVoteResponse => MessageType::MsgRequestPreVoteResponse,
        MessageKind::Hibernate | MessageKind::Hibernating | MessageKind::Awaken => {
            unreachable!("{kind:?} is not a message of the raft crate")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::record::MAX_NUMBER;

    const KINDS: u8 = 14;

    /// Numbers of every length that a varint can have.
    fn number() -> impl Strategy<Value = u64> {
        (0_u32..63, any::<u64>()).prop_map(|(shift, word)| (word >> 2 >> shift).min(MAX_NUMBER))
    }

    fn entries(first: u64) -> impl Strategy<Value = Vec<eraftpb::Entry>> {
        let entry = (any::<bool>(), number(), vec(any::<u8>(), 0..40));
        vec(entry, 0..6).prop_map(move |entries| {
            (first..)
                .zip(entries)
                .map(|(index, (normal, term, data))| {
                    let kind = if normal { EntryKind::Normal } else { EntryKind::ConfChange };
                    Entry { index, term, kind, data: data.into() }.into_raft()
                })
                .collect()
        })
    }

    fn context() -> impl Strategy<Value = Bytes> {
        any::<[u8; CONTEXT_BYTES]>().prop_map(|bytes| Bytes::copy_from_slice(&bytes))
    }

    fn raft_message(kind: MessageKind) -> impl Strategy<Value = eraftpb::Message> {
        let numbers = (number(), number(), number(), number(), number());
        let parts = (numbers, any::<bool>(), any::<bool>(), context());
        parts.prop_flat_map(move |((index, log_term, commit, commit_term, reject_hint), reject, marked, context)| {
            entries(index + 1).prop_map(move |entries| {
                let mut message = eraftpb::Message::default();
                message.set_msg_type(raft_type(kind));
                let read = || vec![eraftpb::Entry { data: context.clone(), ..eraftpb::Entry::default() }];
                match kind {
                    MessageKind::Append => {
                        (message.index, message.log_term, message.commit) = (index, log_term, commit);
                        message.set_entries(entries.into());
                    }
                    MessageKind::AppendResponse => {
                        (message.index, message.log_term, message.commit) = (index, log_term, commit);
                        (message.reject, message.reject_hint) = (reject, reject_hint);
                    }
                    MessageKind::RequestVote | MessageKind::RequestPreVote => {
                        (message.index, message.log_term) = (index, log_term);
                        (message.commit, message.commit_term) = (commit, commit_term);
                        message.context = Bytes::from_static(if marked { CAMPAIGN_TRANSFER } else { b"" });
                    }
                    MessageKind::RequestVoteResponse | MessageKind::RequestPreVoteResponse => {
                        (message.reject, message.commit, message.commit_term) = (reject, commit, commit_term);
                    }
                    MessageKind::Heartbeat | MessageKind::HeartbeatResponse => {
                        message.commit = commit;
                        message.context = if marked { context.clone() } else { Bytes::new() };
                    }
                    MessageKind::ReadIndex => message.set_entries(read().into()),
                    MessageKind::ReadIndexResponse => {
                        message.index = index;
                        message.set_entries(read().into());
                    }
                    MessageKind::TimeoutNow
                    | MessageKind::Hibernate
                    | MessageKind::Hibernating
                    | MessageKind::Awaken => {}
                }
                message
            })
        })
    }

    fn message() -> impl Strategy<Value = Message> {
        let header = (0..KINDS, 1..=u64::MAX, 1..=u64::MAX, 1..=MAX_NUMBER, number());
        header.prop_flat_map(|(kind, from, to, term, commit)| {
            let kind = message_kind(kind).unwrap();
            let signal = match kind {
                MessageKind::Hibernate => Some(Signal::Hibernate { term, commit }),
                MessageKind::Hibernating => Some(Signal::Hibernating { term, commit }),
                MessageKind::Awaken => Some(Signal::Awaken { term }),
                _ => None,
            };
            let (from, to) = (NodeId(from), NodeId(to));
            match signal {
                Some(signal) => Just(Message::signal(from, to, signal)).boxed(),
                None => raft_message(kind)
                    .prop_map(move |mut message| {
                        (message.from, message.to) = (from.get(), to.get());
                        message.term = if kind == MessageKind::ReadIndex { 0 } else { term };
                        Message::raft(message)
                    })
                    .boxed(),
            }
        })
    }

    fn bytes_of(message: &Message) -> Bytes {
        let mut writer = Writer::default();
        message.encode(&mut writer);
        writer.finish()
    }

    proptest! {
        #[test]
        fn messages_are_read_back(message in message()) {
            let mut reader = Reader::new(bytes_of(&message));
            prop_assert_eq!(Message::decode(&mut reader).unwrap(), message);
            prop_assert!(reader.finish().is_ok());
        }

        #[test]
        fn a_message_that_is_cut_anywhere_is_refused(message in message(), cut: prop::sample::Index) {
            let bytes = bytes_of(&message);
            let mut reader = Reader::new(bytes.slice(..cut.index(bytes.len())));
            prop_assert!(Message::decode(&mut reader).is_err());
        }

        #[test]
        fn hostile_bytes_are_refused_or_read_as_something_harmless(
            kind in 0..KINDS + 2, mut bytes in vec(prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()], 0..80),
        ) {
            bytes.insert(0, kind);
            check_harmless(bytes.into());
        }

        #[test]
        fn a_message_with_a_flipped_byte_is_refused_or_read_as_something_harmless(
            message in message(), at: prop::sample::Index, flip in 1_u8..,
        ) {
            let mut bytes = bytes_of(&message).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            check_harmless(bytes.into());
        }
    }

    /// What the raft crate takes for granted of a message.
    fn check_harmless(bytes: Bytes) {
        let Ok(message) = Message::decode(&mut Reader::new(bytes)) else { return };
        assert_ne!((message.from, message.to), (NodeId::NONE, NodeId::NONE));
        let kind = message.kind();
        assert_eq!(message.term() == 0, kind == MessageKind::ReadIndex);
        assert!(message.term() <= MAX_NUMBER);
        if let Body::Raft(message) = &message.body {
            let reads = matches!(kind, MessageKind::ReadIndex | MessageKind::ReadIndexResponse);
            assert!(!reads || message.entries.len() == 1 && message.entries[0].data.len() == CONTEXT_BYTES);
            for (expected, entry) in (message.index + 1..).zip(message.entries.iter().filter(|_| !reads)) {
                assert_eq!(entry.index, expected);
            }
        }
    }
}
