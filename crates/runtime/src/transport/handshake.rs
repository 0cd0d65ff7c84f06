//! The first words on every connection between nodes: who calls whom.
//!
//! The caller sends one frame, [`Hello`]; the called node checks it and answers with one frame, [`Answer`]: its own
//! identity, or the reason why it refuses, in words that the caller can show to a person. Then frames flow from the
//! caller to the called node only.
//!
//! ```text
//! hello   "ALTHPEER"  version  cluster:8  from:8  to:8  incarnation  nonce:8
//! answer  "ALTHPEER"  version  0  cluster:8  node:8  incarnation  nonce:8      welcome
//!         "ALTHPEER"  version  1  text                                         refused
//! ```
//!
//! An [`Incarnation`] counts the starts of one data directory. A node that comes back with a lower count runs on a copy or
//! an old backup of its directory: it has forgotten promises that it made, and nobody may believe it any more
//! (DESIGN: lost acknowledged state never returns under its old name).

use std::collections::BTreeMap;

use althing_codec::wire::{DecodeError, Reader, Writer};
use althing_types::{ClusterId, NodeId};
use bytes::Bytes;

/// What every message of the handshake begins with.
const MAGIC: &[u8; 8] = b"ALTHPEER";
/// The version of the protocol that this program speaks.
pub const PROTOCOL_VERSION: u64 = 1;
/// The longest message of a handshake, in bytes.
pub const MAX_HANDSHAKE_BYTES: usize = 1024;

/// One run of one data directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Incarnation {
    /// How often the directory has been started, durably counted before the node speaks.
    pub starts: u64,
    /// A random number of this start: two copies of one directory count alike but draw differently.
    pub nonce: u64,
}

/// Who a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub node: NodeId,
    /// This run of it.
    pub incarnation: Incarnation,
}

/// The caller's message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The caller.
    pub from: Identity,
    /// Whom it means to call.
    pub to: NodeId,
}

/// The called node's message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Go on. This is who I am.
    Welcome(Identity),
    /// Go away, for this reason.
    Refused(String),
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
    /// It runs on a data directory that is older than one it has used, or on a copy.
    #[error(
        "node {node} runs on a copied or rolled-back data directory (start {offered} after start {seen} was seen); \
         remove it from the cluster and add it again with an empty directory"
    )]
    OldIncarnation {
        /// The node.
        node: NodeId,
        /// The start that it claims to be.
        offered: u64,
        /// The latest start that was seen.
        seen: u64,
    },
    /// The other side refuses, and says why.
    #[error("refused by the other side: {0}")]
    Refused(String),
}

/// The runs of other nodes that were seen, so that an older one is recognised. The shell keeps it on disk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Incarnations(pub BTreeMap<NodeId, Incarnation>);

/// What the book of incarnations says to a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// It is the one that was seen before.
    Same,
    /// It is newer: the book has changed and must be made durable before the node is believed.
    Newer,
}

impl Incarnations {
    /// Enters a run of `node`, or refuses it.
    pub fn enter(&mut self, node: NodeId, offered: Incarnation) -> Result<Seen, HandshakeError> {
        let seen = self.0.get(&node).copied().unwrap_or_default();
        if offered == seen {
            return Ok(Seen::Same);
        }
        if offered.starts <= seen.starts {
            return Err(HandshakeError::OldIncarnation { node, offered: offered.starts, seen: seen.starts });
        }
        self.0.insert(node, offered);
        Ok(Seen::Newer)
    }
}

fn write_identity(writer: &mut Writer, identity: &Identity) {
    writer.fixed_u64(identity.cluster.get());
    writer.fixed_u64(identity.node.get());
    writer.u64(identity.incarnation.starts);
    writer.fixed_u64(identity.incarnation.nonce);
}

fn read_identity(reader: &mut Reader) -> Result<Identity, DecodeError> {
    Ok(Identity {
        cluster: ClusterId(reader.fixed_u64("cluster")?),
        node: NodeId(reader.fixed_u64("node")?),
        incarnation: Incarnation { starts: reader.u64("incarnation")?, nonce: reader.fixed_u64("nonce")? },
    })
}

fn begin() -> Writer {
    let mut writer = Writer::with_capacity(64);
    writer.raw(MAGIC);
    writer.u64(PROTOCOL_VERSION);
    writer
}

/// Reads magic and version; what follows depends on the version, so nothing of another one is parsed.
fn open(message: Bytes) -> Result<Reader, HandshakeError> {
    if message.get(..MAGIC.len()) != Some(MAGIC) {
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
        let mut writer = begin();
        write_identity(&mut writer, &self.from);
        writer.fixed_u64(self.to.get());
        writer.finish()
    }

    /// Reads the message.
    pub fn decode(message: Bytes) -> Result<Self, HandshakeError> {
        let mut reader = open(message)?;
        let hello = Self { from: read_identity(&mut reader)?, to: NodeId(reader.fixed_u64("to")?) };
        reader.finish()?;
        Ok(hello)
    }

    /// What the called node says to it, before it looks into its book of incarnations.
    pub fn check(&self, me: &Identity) -> Result<(), HandshakeError> {
        if self.from.cluster != me.cluster {
            return Err(HandshakeError::ForeignCluster { theirs: self.from.cluster, ours: me.cluster });
        }
        if self.to != me.node {
            return Err(HandshakeError::WrongNode { wanted: self.to, actual: me.node });
        }
        if self.from.node == me.node {
            return Err(HandshakeError::Myself(me.node));
        }
        Ok(())
    }
}

impl Answer {
    /// The message's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = begin();
        match self {
            Self::Welcome(identity) => {
                writer.u8(0);
                write_identity(&mut writer, identity);
            }
            Self::Refused(reason) => {
                writer.u8(1);
                let short = reason.char_indices().map(|(at, _)| at).take_while(|at| *at <= 512).last().unwrap_or(0);
                writer.str(if reason.len() <= 512 { reason } else { &reason[..short] });
            }
        }
        writer.finish()
    }

    /// Reads the message.
    pub fn decode(message: Bytes) -> Result<Self, HandshakeError> {
        let mut reader = open(message)?;
        let answer = match reader.u8("answer")? {
            0 => Self::Welcome(read_identity(&mut reader)?),
            1 => Self::Refused(reader.str("reason")?),
            value => return Err(DecodeError::Unknown { field: "answer", value: u64::from(value) }.into()),
        };
        reader.finish()?;
        Ok(answer)
    }

    /// What the caller says to it, before it looks into its book of incarnations: the run that answers.
    pub fn check(self, me: &Identity, wanted: NodeId) -> Result<Incarnation, HandshakeError> {
        match self {
            Self::Refused(reason) => Err(HandshakeError::Refused(reason)),
            Self::Welcome(identity) if identity.cluster != me.cluster => {
                Err(HandshakeError::ForeignCluster { theirs: identity.cluster, ours: me.cluster })
            }
            Self::Welcome(identity) if identity.node != wanted => {
                Err(HandshakeError::WrongNode { wanted, actual: identity.node })
            }
            Self::Welcome(identity) => Ok(identity.incarnation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn identity(cluster: u64, node: u64, starts: u64, nonce: u64) -> Identity {
        Identity { cluster: ClusterId(cluster), node: NodeId(node), incarnation: Incarnation { starts, nonce } }
    }

    const ME: Identity = identity(1, 2, 5, 55);

    fn said(hello: Hello) -> Result<(), HandshakeError> {
        Hello::decode(hello.encode()).unwrap().check(&ME)
    }

    #[test]
    fn a_member_of_the_cluster_is_let_in() {
        assert_eq!(said(Hello { from: identity(1, 3, 7, 77), to: NodeId(2) }), Ok(()));
    }

    #[test]
    fn strangers_are_refused_and_told_why() {
        let foreign = said(Hello { from: identity(9, 3, 8, 1), to: NodeId(2) }).unwrap_err();
        assert_eq!(
            foreign.to_string(),
            "the other side belongs to cluster 0000000000000009, this node to 0000000000000001"
        );
        let wrong = said(Hello { from: identity(1, 3, 8, 1), to: NodeId(6) }).unwrap_err();
        assert_eq!(wrong.to_string(), "node 6 was called, but node 2 stands at this address");
        let myself = said(Hello { from: identity(1, 2, 8, 1), to: NodeId(2) }).unwrap_err();
        assert_eq!(myself, HandshakeError::Myself(NodeId(2)));
    }

    #[test]
    fn a_rolled_back_or_copied_directory_is_refused() {
        let seen = Incarnation { starts: 7, nonce: 77 };
        let mut book = Incarnations(BTreeMap::from([(NodeId(3), seen)]));
        let old = |offered| HandshakeError::OldIncarnation { node: NodeId(3), offered, seen: 7 };
        assert_eq!(book.enter(NodeId(3), Incarnation { starts: 6, nonce: 66 }), Err(old(6)));
        assert_eq!(book.enter(NodeId(3), Incarnation { starts: 7, nonce: 78 }), Err(old(7)));
        assert_eq!(book.enter(NodeId(3), seen), Ok(Seen::Same));
        assert_eq!(book.enter(NodeId(3), Incarnation { starts: 8, nonce: 1 }), Ok(Seen::Newer));
        assert_eq!(
            book.enter(NodeId(3), seen),
            Err(HandshakeError::OldIncarnation { node: NodeId(3), offered: 7, seen: 8 })
        );
    }

    #[test]
    fn the_caller_checks_who_answers() {
        let answer = |answer: Answer| Answer::decode(answer.encode()).unwrap();
        let welcome = answer(Answer::Welcome(identity(1, 3, 1, 1)));
        assert_eq!(welcome.clone().check(&ME, NodeId(3)), Ok(Incarnation { starts: 1, nonce: 1 }));
        let wrong = HandshakeError::WrongNode { wanted: NodeId(4), actual: NodeId(3) };
        assert_eq!(welcome.check(&ME, NodeId(4)), Err(wrong));
        let refused = answer(Answer::Refused("ü".repeat(600))).check(&ME, NodeId(3)).unwrap_err();
        assert_eq!(refused, HandshakeError::Refused("ü".repeat(256)));
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
            let mut message = begin();
            message.raw(&tail);
            let message = message.finish();
            if let Ok(hello) = Hello::decode(message.clone()) {
                prop_assert!(hello.encode().len() <= message.len());
            }
            let _ = Answer::decode(message);
        }
    }
}
