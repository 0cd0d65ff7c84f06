//! Who a member is, and where datagrams reach it.

use std::fmt;
use std::sync::Arc;

use althing_codec::wire::{DecodeError, Reader, Writer};
use althing_types::NodeId;

/// Bytes of a contact. A DNS name has 253 at most, but a datagram must hold several members.
pub const MAX_CONTACT_BYTES: usize = 128;

/// Where a node takes datagrams and push/pull, as `HOST:PORT`: an IP address or a name that the host resolves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact(Arc<str>);

/// A text is too long, or empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a contact has 1 to {MAX_CONTACT_BYTES} bytes, not {0}")]
pub struct BadContact(pub usize);

impl Contact {
    /// The contact of a text.
    pub fn new(text: &str) -> Result<Self, BadContact> {
        if text.is_empty() || text.len() > MAX_CONTACT_BYTES {
            return Err(BadContact(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contact({})", self.0)
    }
}

/// One life of a node in the membership. A life that was declared down never comes back: the node renews its identity.
///
/// The *incarnation* of the paper, with which a node refutes a suspicion, is kept beside the identity by `foca`.
#[derive(Clone)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// How often its data directory was started: the newer run replaces the older one.
    pub generation: u64,
    /// How often this run has renewed itself after it was thought dead.
    pub renewal: u64,
    /// Where it is reached. Not a part of what makes the identity: who asks a seed to join knows no more of it.
    pub contact: Contact,
}

impl Identity {
    /// What orders the lives of one node.
    #[must_use]
    pub const fn life(&self) -> (u64, u64) {
        (self.generation, self.renewal)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.fixed_u64(self.node.get());
        writer.u64(self.generation);
        writer.u64(self.renewal);
        writer.str(self.contact.as_str());
    }

    pub(crate) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let node = NodeId(reader.fixed_u64("node")?);
        let (generation, renewal) = (reader.u64("generation")?, reader.u64("renewal")?);
        let contact = reader.str("contact")?;
        let contact = Contact::new(&contact)
            .map_err(|BadContact(bytes)| DecodeError::Unknown { field: "contact bytes", value: bytes as u64 })?;
        Ok(Self { node, generation, renewal, contact })
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        (self.node, self.life()) == (other.node, other.life())
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.node, self.generation, self.renewal)
    }
}

impl foca::Identity for Identity {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        Some(Self { renewal: self.renewal.checked_add(1)?, ..self.clone() })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.life() > adversary.life()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Identity as _;

    fn identity(generation: u64, renewal: u64) -> Identity {
        Identity { node: NodeId(1), generation, renewal, contact: Contact::new("a:1").unwrap() }
    }

    #[test]
    fn a_newer_life_of_a_node_replaces_the_older_one() {
        let lives = [identity(1, 0), identity(1, 1), identity(2, 0)];
        for (at, older) in lives.iter().enumerate() {
            for newer in &lives[at + 1..] {
                assert!(newer.win_addr_conflict(older) && !older.win_addr_conflict(newer));
            }
        }
        let renewed = lives[0].renew().unwrap();
        assert!(renewed == lives[1] && renewed.win_addr_conflict(&lives[0]));
        assert_eq!(identity(1, u64::MAX).renew(), None);
    }

    #[test]
    fn a_contact_is_bounded() {
        assert_eq!(Contact::new(""), Err(BadContact(0)));
        assert_eq!(Contact::new(&"x".repeat(129)), Err(BadContact(129)));
        assert_eq!(Contact::new("n1.example.org:2380").unwrap().as_str(), "n1.example.org:2380");
    }
}
