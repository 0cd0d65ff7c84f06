//! SWIM's messages as bytes: the codec that `foca` is given, and a look into a message before `foca` sees it.
//!
//! ```text
//! message   source:identity  incarnation  to:8 generation renewal  kind:1 ..kind  [count:2 BE  member*]
//! identity  node:8  generation  renewal  contact          numbers are varints, texts have a varint length
//! member    identity  incarnation  state:1                0 alive, 1 suspect, 2 down
//! ```
//!
//! Kinds: 0 ping, 1 ack (each with a probe number); 2 ping-req, 3 indirect ping, 4 indirect ack, 5 forwarded ack (each with
//! an identity and a probe number); 6 announce, 7 feed, 8 gossip. An announce has no count.

use althing_codec::wire::{DecodeError, Reader, Writer};
use althing_types::NodeId;
use bytes::{Buf, BufMut, Bytes};
use foca::{Header, Member, Message, State};

use crate::identity::{Identity, MAX_CONTACT_BYTES};

/// An identity at its longest: the node, two varints, the contact with its length.
const MAX_IDENTITY_BYTES: usize = 8 + 10 + 10 + 2 + MAX_CONTACT_BYTES;
/// A header at its longest.
const MAX_HEADER_BYTES: usize = 2 * MAX_IDENTITY_BYTES + 3 + 28 + 2;
/// A member at its longest.
const MAX_MEMBER_BYTES: usize = MAX_IDENTITY_BYTES + 3 + 1;

/// Why a message is not written or read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// There is no room for it. `foca` fills a datagram until this is said.
    #[error("no room for it in the datagram")]
    Full,
    /// A kind of message that this program does not use.
    #[error("a kind of message that is not used")]
    Unused,
    /// It does not parse.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// The codec; it has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct SwimCodec;

fn put(writer: Writer, mut buf: impl BufMut) -> Result<(), CodecError> {
    let bytes = writer.finish();
    if buf.remaining_mut() < bytes.len() {
        return Err(CodecError::Full);
    }
    buf.put_slice(&bytes);
    Ok(())
}

/// Reads one thing of at most `most` bytes from the front of `buf`, and moves on behind it.
fn take<T>(
    mut buf: impl Buf,
    most: usize,
    read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<T, CodecError> {
    let chunk = buf.chunk();
    let front = Bytes::copy_from_slice(&chunk[..chunk.len().min(most)]);
    let mut reader = Reader::new(front.clone());
    let value = read(&mut reader)?;
    buf.advance(front.len() - reader.remaining());
    Ok(value)
}

fn write_header(header: &Header<Identity>, writer: &mut Writer) -> Result<(), CodecError> {
    header.src.write(writer);
    writer.u64(header.src_incarnation.into());
    writer.fixed_u64(header.dst.node.get());
    writer.u64(header.dst.generation);
    writer.u64(header.dst.renewal);
    let mut relayed = |kind, identity: &Identity, probe_number| {
        writer.u8(kind);
        identity.write(writer);
        writer.u8(probe_number);
    };
    match &header.message {
        Message::PingReq { target, probe_number } => relayed(2, target, *probe_number),
        Message::IndirectPing { origin, probe_number } => relayed(3, origin, *probe_number),
        Message::IndirectAck { target, probe_number } => relayed(4, target, *probe_number),
        Message::ForwardedAck { origin, probe_number } => relayed(5, origin, *probe_number),
        Message::Ping(probe_number) => writer.raw(&[0, *probe_number]),
        Message::Ack(probe_number) => writer.raw(&[1, *probe_number]),
        Message::Announce => writer.u8(6),
        Message::Feed => writer.u8(7),
        Message::Gossip => writer.u8(8),
        Message::Broadcast | Message::TurnUndead => return Err(CodecError::Unused),
    }
    Ok(())
}

fn read_message(reader: &mut Reader) -> Result<Message<Identity>, DecodeError> {
    let kind = reader.u8("kind")?;
    let mut relayed = || Ok::<_, DecodeError>((Identity::read(reader)?, reader.u8("probe number")?));
    Ok(match kind {
        0 => Message::Ping(reader.u8("probe number")?),
        1 => Message::Ack(reader.u8("probe number")?),
        2 => relayed().map(|(target, probe_number)| Message::PingReq { target, probe_number })?,
        3 => relayed().map(|(origin, probe_number)| Message::IndirectPing { origin, probe_number })?,
        4 => relayed().map(|(target, probe_number)| Message::IndirectAck { target, probe_number })?,
        5 => relayed().map(|(origin, probe_number)| Message::ForwardedAck { origin, probe_number })?,
        6 => Message::Announce,
        7 => Message::Feed,
        8 => Message::Gossip,
        value => return Err(DecodeError::Unknown { field: "kind", value: value.into() }),
    })
}

fn read_incarnation(reader: &mut Reader) -> Result<u16, DecodeError> {
    let value = reader.u64("incarnation")?;
    u16::try_from(value).map_err(|_| DecodeError::Unknown { field: "incarnation", value })
}

fn read_header(reader: &mut Reader) -> Result<Header<Identity>, DecodeError> {
    let src = Identity::read(reader)?;
    let src_incarnation = read_incarnation(reader)?;
    let node = NodeId(reader.fixed_u64("to")?);
    let (generation, renewal) = (reader.u64("generation")?, reader.u64("renewal")?);
    // Where the message was sent is known to whoever receives it; the header does not repeat it.
    let dst = Identity { node, generation, renewal, contact: src.contact.clone() };
    Ok(Header { src, src_incarnation, dst, message: read_message(reader)? })
}

pub(crate) fn write_member(member: &Member<Identity>, writer: &mut Writer) {
    member.id().write(writer);
    writer.u64(member.incarnation().into());
    writer.u8(match member.state() {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    });
}

pub(crate) fn read_member(reader: &mut Reader) -> Result<Member<Identity>, DecodeError> {
    let id = Identity::read(reader)?;
    let incarnation = read_incarnation(reader)?;
    let state = match reader.u8("state")? {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        value => return Err(DecodeError::Unknown { field: "state", value: value.into() }),
    };
    Ok(Member::new(id, incarnation, state))
}

impl foca::Codec<Identity> for SwimCodec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Identity>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut writer = Writer::with_capacity(128);
        write_header(header, &mut writer)?;
        put(writer, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Identity>, CodecError> {
        take(buf, MAX_HEADER_BYTES, read_header)
    }

    fn encode_member(&mut self, member: &Member<Identity>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut writer = Writer::with_capacity(64);
        write_member(member, &mut writer);
        put(writer, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Identity>, CodecError> {
        take(buf, MAX_MEMBER_BYTES, read_member)
    }
}

/// The incarnation of its sender that a message carries.
pub(crate) fn incarnation(message: &[u8]) -> Option<u16> {
    let header = Bytes::copy_from_slice(&message[..message.len().min(MAX_HEADER_BYTES)]);
    let mut reader = Reader::new(header);
    Identity::read(&mut reader).ok()?;
    read_incarnation(&mut reader).ok()
}

/// What a message says, seen before `foca` is given it.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    /// Who sent it.
    pub from: Identity,
    /// What it says of members.
    pub updates: Vec<Member<Identity>>,
}

/// Reads a whole message. What passes here, `foca` can read.
pub(crate) fn observe(message: &Bytes) -> Result<Observed, DecodeError> {
    let mut reader = Reader::new(message.clone());
    let header = read_header(&mut reader)?;
    let mut updates = Vec::new();
    if header.message != Message::Announce {
        let count = u16::from_be_bytes([reader.u8("count")?, reader.u8("count")?]);
        for _ in 0..count {
            updates.push(read_member(&mut reader)?);
        }
    }
    reader.finish()?;
    Ok(Observed { from: header.src, updates })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Contact;
    use bytes::BytesMut;
    use foca::Codec as _;
    use proptest::prelude::*;

    fn identity(node: u64, contact: &str) -> Identity {
        Identity { node: NodeId(node), generation: 3, renewal: 1, contact: Contact::new(contact).unwrap() }
    }

    fn messages() -> Vec<Message<Identity>> {
        let other = || identity(9, &"n".repeat(MAX_CONTACT_BYTES));
        vec![
            Message::Ping(1),
            Message::Ack(255),
            Message::PingReq { target: other(), probe_number: 2 },
            Message::IndirectPing { origin: other(), probe_number: 3 },
            Message::IndirectAck { target: other(), probe_number: 4 },
            Message::ForwardedAck { origin: other(), probe_number: 5 },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
        ]
    }

    #[test]
    fn every_message_is_read_as_it_was_written() {
        for message in messages() {
            let header = Header { src: identity(1, "a:1"), src_incarnation: 7, dst: identity(2, "b:2"), message };
            let mut buf = BytesMut::new();
            SwimCodec.encode_header(&header, &mut buf).unwrap();
            buf.put_slice(b"rest");
            let mut input = &buf[..];
            assert_eq!(SwimCodec.decode_header(&mut input).unwrap(), header);
            assert_eq!(input, b"rest");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written_at_all() {
        let member = Member::new(identity(1, "a:1"), 4, State::Suspect);
        let mut room = [0_u8; 10];
        let mut buf = &mut room[..];
        assert_eq!(SwimCodec.encode_member(&member, &mut buf), Err(CodecError::Full));
        assert_eq!(room, [0; 10]);
    }

    #[test]
    fn members_of_every_state_are_read_as_they_were_written() {
        for state in [State::Alive, State::Suspect, State::Down] {
            let member = Member::new(identity(5, "c:3"), u16::MAX, state);
            let mut buf = BytesMut::new();
            SwimCodec.encode_member(&member, &mut buf).unwrap();
            assert_eq!(SwimCodec.decode_member(&buf[..]).unwrap(), member);
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_or_read(input: Vec<u8>) {
            let bytes = Bytes::from(input);
            let _ = observe(&bytes);
            let _ = SwimCodec.decode_header(&bytes[..]);
            let _ = SwimCodec.decode_member(&bytes[..]);
        }

        #[test]
        fn a_message_that_was_tampered_with_never_panics(at: prop::sample::Index, byte: u8, which in 0..9_usize) {
            let header = Header {
                src: identity(1, "a:1"), src_incarnation: 7, dst: identity(2, "b:2"), message: messages().remove(which),
            };
            let mut buf = BytesMut::new();
            SwimCodec.encode_header(&header, &mut buf).unwrap();
            buf.put_u16(0);
            let at = at.index(buf.len());
            buf[at] = byte;
            let _ = observe(&buf.freeze());
        }
    }
}
