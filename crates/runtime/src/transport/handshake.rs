//! The first words on every connection between nodes: who calls whom.
//!
//! The caller sends one frame, [`Hello`]; the called node checks it and answers with one frame, [`Answer`]: its own
//! identity, or the reason why it refuses, in words that the caller can show to a person. What follows is what the hello's
//! first word says: frames from the caller to the called node only, or one push/pull of the membership.
//!
//! ```text
//! hello   "ALTHPEER"  version  cluster:8  from:8  lineage  to:8                 frames follow
//!         "ALTHPUSH"  version  cluster:8  from:8  lineage  to:8                 a push/pull follows
//! answer  "ALTHPEER"  version  0  cluster:8  node:8  lineage      welcome
//!         "ALTHPEER"  version  1  text                            refused
//!         "ALTHPEER"  version  2  text                            refused for good: this directory must never come again
//! ```
//!
//! The [`Lineage`] tells which data directory the node runs on and which start of it this is. A node that comes back on a
//! copy, on an old backup or on an emptied directory has forgotten promises that it made, and nobody may believe it any
//! more: acknowledged state that was lost never returns under its old name.

use althing_codec::wire::{DecodeError, Reader, Writer};
use althing_types::{ClusterId, NodeId};
use bytes::Bytes;

use super::lineage::{Lineage, LineageError};

/// What every message of the handshake begins with, but for a hello before a push/pull.
const MAGIC: &[u8; 8] = b"ALTHPEER";
/// What a hello before a push/pull begins with.
const PUSH_PULL_MAGIC: &[u8; 8] = b"ALTHPUSH";
/// The version of the protocol that this program speaks.
pub const PROTOCOL_VERSION: u64 = 1;
/// The longest message of a handshake, in bytes.
pub const MAX_HANDSHAKE_BYTES: usize = 1024;

/// Who a node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub node: NodeId,
    /// Its data directory, up to this run.
    pub lineage: Lineage,
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Frames of the node, from the caller to the called node.
    Frames,
    /// All that each side knows of the membership, once: see `althing_gossip::page`.
    PushPull,
}

impl Purpose {
    const fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Frames => MAGIC,
            Self::PushPull => PUSH_PULL_MAGIC,
        }
    }
}

/// The caller's message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// What it calls for.
    pub purpose: Purpose,
    /// The caller.
    pub from: Identity,
    /// Whom it means to call; [`NodeId::NONE`] for whoever is there, before a push/pull: who joins by a name knows no more.
    pub to: NodeId,
}

/// The called node's message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Go on. This is who I am.
    Welcome(Identity),
    /// Go away, for this reason. A person may be able to mend it.
    Refused(String),
    /// Go away and never come again with this data directory, for this reason.
    Dismissed(String),
}

/// Why a handshake failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The other side does not speak this protocol at all.
    #[error("the other side does not speak Althing's peer protocol; is this a peer address?")]
    Magic,
    /// It speaks another version.
    #[error("the other side speaks version {theirs} of the peer protocol, this node version {PROTOCOL_VERSION}")]
    Version {
        /// Its version.
        theirs: u64,
    },
    /// The message does not parse.
    #[error("the handshake does not parse: {0}")]
    Malformed(#[from] DecodeError),
    /// It belongs to another cluster.
    #[error("the other side belongs to cluster {theirs}, this node to {ours}")]
    ForeignCluster {
        /// Its cluster.
        theirs: ClusterId,
        /// Ours.
        ours: ClusterId,
    },
    /// The address leads to another node than the one that was wanted.
    #[error("node {wanted} was called, but node {actual} stands at this address")]
    WrongNode {
        /// Who was wanted.
        wanted: NodeId,
        /// Who is there.
        actual: NodeId,
    },
    /// A node claims to be this one.
    #[error("node {0} called itself: two nodes run with the same id, or an address leads back")]
    Myself(NodeId),
    /// It runs on a data directory that nobody may believe any more.
    #[error(transparent)]
    Lineage(#[from] LineageError),
    /// It was removed from the cluster.
    #[error(
        "node {0} was removed from the cluster; to come back it must be added again, which gives it a new id, and start with \
         an empty directory"
    )]
    Removed(NodeId),
    /// The other side refuses, and says why.
    #[error("refused by the other side: {0}")]
    Refused(String),
    /// The other side refuses for good, and says why.
    #[error("refused for good by the other side: {0}")]
    Dismissed(String),
}

impl HandshakeError {
    /// Whether who caused it must never come again with its data directory.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Lineage(_) | Self::Removed(_) | Self::Dismissed(_) => true,
            Self::Magic
            | Self::Version { .. }
            | Self::Malformed(_)
            | Self::ForeignCluster { .. }
            | Self::WrongNode { .. }
            | Self::Myself(_)
            | Self::Refused(_) => false,
        }
    }
}

fn write_identity(writer: &mut Writer, identity: &Identity) {
    writer.fixed_u64(identity.cluster.get());
    writer.fixed_u64(identity.node.get());
    identity.lineage.write(writer);
}

fn read_identity(reader: &mut Reader) -> Result<Identity, DecodeError> {
    Ok(Identity {
        cluster: ClusterId(reader.fixed_u64("cluster")?),
        node: NodeId(reader.fixed_u64("node")?),
        lineage: Lineage::read(reader)?,
    })
}

fn begin(magic: &[u8; 8]) -> Writer {
    let mut writer = Writer::with_capacity(64);
    writer.raw(magic);
    writer.u64(PROTOCOL_VERSION);
    writer
}

/// Reads magic and version; what follows depends on the version, so nothing of another one is parsed.
fn open(message: Bytes, magic: &[u8; 8]) -> Result<Reader, HandshakeError> {
    if message.get(..MAGIC.len()) != Some(magic) {
        return Err(HandshakeError::Magic);
    }
    let mut reader = Reader::new(message.slice(MAGIC.len()..));
    match reader.u64("version")? {
        PROTOCOL_VERSION => Ok(reader),
        theirs => Err(HandshakeError::Version { theirs }),
    }
}

impl Hello {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = begin(self.purpose.magic());
        write_identity(&mut writer, &self.from);
        writer.fixed_u64(self.to.get());
        writer.finish()
    }

    /// Reads the message.
    pub fn decode(message: Bytes) -> Result<Self, HandshakeError> {
        let is_push_pull = message.starts_with(PUSH_PULL_MAGIC);
        let purpose = if is_push_pull { Purpose::PushPull } else { Purpose::Frames };
        let mut reader = open(message, purpose.magic())?;
        let hello = Self { purpose, from: read_identity(&mut reader)?, to: NodeId(reader.fixed_u64("to")?) };
        reader.finish()?;
        Ok(hello)
    }

    /// What the called node says to it, before it looks into its book.
    pub fn check(&self, me: &Identity) -> Result<(), HandshakeError> {
        if self.from.cluster != me.cluster {
            return Err(HandshakeError::ForeignCluster { theirs: self.from.cluster, ours: me.cluster });
        }
        let is_anybody = self.to == NodeId::NONE && self.purpose == Purpose::PushPull;
        if self.to != me.node && !is_anybody {
            return Err(HandshakeError::WrongNode { wanted: self.to, actual: me.node });
        }
        if self.from.node == me.node {
            return Err(HandshakeError::Myself(me.node));
        }
        Ok(())
    }
}

/// As much of a reason as fits into a message.
fn shortened(reason: &str) -> &str {
    let short = reason.char_indices().map(|(at, _)| at).take_while(|at| *at <= 512).last().unwrap_or(0);
    if reason.len() <= 512 { reason } else { &reason[..short] }
}

impl Answer {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = begin(MAGIC);
        match self {
            Self::Welcome(identity) => {
                writer.u8(0);
                write_identity(&mut writer, identity);
            }
            Self::Refused(reason) => {
                writer.u8(1);
                writer.str(shortened(reason));
            }
            Self::Dismissed(reason) => {
                writer.u8(2);
                writer.str(shortened(reason));
            }
        }
        writer.finish()
    }

    /// Reads the message.
    pub fn decode(message: Bytes) -> Result<Self, HandshakeError> {
        let mut reader = open(message, MAGIC)?;
        let answer = match reader.u8("answer")? {
            0 => Self::Welcome(read_identity(&mut reader)?),
            1 => Self::Refused(reader.str("reason")?),
            2 => Self::Dismissed(reader.str("reason")?),
            value => return Err(DecodeError::Unknown { field: "answer", value: u64::from(value) }.into()),
        };
        reader.finish()?;
        Ok(answer)
    }

    /// What the caller says to it, before it looks into its book: the node, the directory and the run that answer. Whoever
    /// wants [`NodeId::NONE`] takes any other node of the cluster.
    pub fn check(self, me: &Identity, wanted: NodeId) -> Result<(NodeId, Lineage), HandshakeError> {
        match self {
            Self::Refused(reason) => Err(HandshakeError::Refused(reason)),
            Self::Dismissed(reason) => Err(HandshakeError::Dismissed(reason)),
            Self::Welcome(identity) if identity.cluster != me.cluster => {
                Err(HandshakeError::ForeignCluster { theirs: identity.cluster, ours: me.cluster })
            }
            Self::Welcome(identity) if identity.node != wanted && wanted != NodeId::NONE => {
                Err(HandshakeError::WrongNode { wanted, actual: identity.node })
            }
            Self::Welcome(identity) if identity.node == me.node => Err(HandshakeError::Myself(me.node)),
            Self::Welcome(identity) => Ok((identity.node, identity.lineage)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lineage::LINEAGE_STARTS;
    use super::*;
    use proptest::prelude::*;

    fn identity(cluster: u64, node: u64, starts: u64, nonce: u64) -> Identity {
        let lineage = Lineage::new(7, starts, vec![nonce]).unwrap();
        Identity { cluster: ClusterId(cluster), node: NodeId(node), lineage }
    }

    fn me() -> Identity {
        identity(1, 2, 5, 55)
    }

    fn said(hello: Hello) -> Result<(), HandshakeError> {
        Hello::decode(hello.encode()).unwrap().check(&me())
    }

    #[test]
    fn a_member_of_the_cluster_is_let_in() {
        assert_eq!(said(Hello { purpose: Purpose::Frames, from: identity(1, 3, 7, 77), to: NodeId(2) }), Ok(()));
    }

    #[test]
    fn a_push_pull_is_told_from_frames_and_checked_alike() {
        let hello = Hello { purpose: Purpose::PushPull, from: identity(1, 3, 7, 77), to: NodeId(2) };
        assert_eq!(Hello::decode(hello.encode()), Ok(hello));
        let foreign = Hello { purpose: Purpose::PushPull, from: identity(9, 3, 8, 1), to: NodeId(2) };
        assert!(matches!(said(foreign), Err(HandshakeError::ForeignCluster { .. })));
    }

    #[test]
    fn whoever_is_there_may_be_called_for_a_push_pull_and_for_nothing_else() {
        let hello = |purpose, from| Hello { purpose, from, to: NodeId::NONE };
        assert_eq!(said(hello(Purpose::PushPull, identity(1, 3, 7, 77))), Ok(()));
        assert!(matches!(said(hello(Purpose::Frames, identity(1, 3, 7, 77))), Err(HandshakeError::WrongNode { .. })));
        assert_eq!(said(hello(Purpose::PushPull, identity(1, 2, 5, 55))), Err(HandshakeError::Myself(NodeId(2))));
        let answer = Answer::Welcome(identity(1, 4, 1, 1)).check(&me(), NodeId::NONE);
        assert_eq!(answer.map(|(node, _)| node), Ok(NodeId(4)));
        let myself = Answer::Welcome(me()).check(&me(), NodeId::NONE);
        assert_eq!(myself, Err(HandshakeError::Myself(NodeId(2))));
    }

    #[test]
    fn strangers_are_refused_and_told_why() {
        let foreign = said(Hello { purpose: Purpose::Frames, from: identity(9, 3, 8, 1), to: NodeId(2) }).unwrap_err();
        assert_eq!(
            foreign.to_string(),
            "the other side belongs to cluster 0000000000000009, this node to 0000000000000001"
        );
        let wrong = said(Hello { purpose: Purpose::Frames, from: identity(1, 3, 8, 1), to: NodeId(6) }).unwrap_err();
        assert_eq!(wrong.to_string(), "node 6 was called, but node 2 stands at this address");
        let myself = said(Hello { purpose: Purpose::Frames, from: identity(1, 2, 8, 1), to: NodeId(2) }).unwrap_err();
        assert_eq!(myself, HandshakeError::Myself(NodeId(2)));
    }

    #[test]
    fn the_longest_messages_fit_into_a_handshake() {
        let lineage = Lineage::new(u64::MAX, u64::MAX, vec![u64::MAX; LINEAGE_STARTS]).unwrap();
        let from = Identity { lineage, ..me() };
        assert!(
            Hello { purpose: Purpose::PushPull, from: from.clone(), to: NodeId(3) }.encode().len()
                <= MAX_HANDSHAKE_BYTES
        );
        assert!(Answer::Welcome(from).encode().len() <= MAX_HANDSHAKE_BYTES);
        assert!(Answer::Dismissed("x".repeat(2_000)).encode().len() <= MAX_HANDSHAKE_BYTES);
    }

    #[test]
    fn the_caller_checks_who_answers() {
        let answer = |answer: Answer| Answer::decode(answer.encode()).unwrap();
        let welcome = answer(Answer::Welcome(identity(1, 3, 1, 1)));
        assert_eq!(welcome.clone().check(&me(), NodeId(3)), Ok((NodeId(3), identity(1, 3, 1, 1).lineage)));
        let wrong = HandshakeError::WrongNode { wanted: NodeId(4), actual: NodeId(3) };
        assert_eq!(welcome.check(&me(), NodeId(4)), Err(wrong));
        let refused = answer(Answer::Refused("ü".repeat(600))).check(&me(), NodeId(3)).unwrap_err();
        assert_eq!(refused, HandshakeError::Refused("ü".repeat(256)));
        let dismissed = answer(Answer::Dismissed("gone".into())).check(&me(), NodeId(3)).unwrap_err();
        assert!(dismissed.is_final() && !refused.is_final());
    }

    #[test]
    fn another_version_or_another_protocol_is_named() {
        let mut writer = Writer::default();
        writer.raw(MAGIC);
        writer.u64(2);
        writer.raw(b"whatever version 2 says");
        assert_eq!(Hello::decode(writer.finish()), Err(HandshakeError::Version { theirs: 2 }));
        assert_eq!(Hello::decode(Bytes::from_static(b"GET / HTTP/1.1")), Err(HandshakeError::Magic));
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused(tail: Vec<u8>) {
            let mut message = begin(MAGIC);
            message.raw(&tail);
            let message = message.finish();
            if let Ok(hello) = Hello::decode(message.clone()) {
                prop_assert!(hello.encode().len() <= message.len());
            }
            let _ = Answer::decode(message);
        }
    }
}
