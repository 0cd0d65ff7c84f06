//! Whether a node has a replica of a group: what its log remembers of that, across restarts.
//!
//! ```text
//! payload of a record `Replica`:   version u8 = 1 · kind u8 · …
//!     0 held     space u64 · birth u8 (0 with the cluster, 1 with its shard: count · node*, 2 joined)
//!     1 gone     term u64 · vote u64
//! ```
//!
//! A replica that goes away leaves its term and its vote behind. A replica of the same group that comes to the node later
//! begins with them: it has the same id, so what the first one has promised binds it, too (Raft, section 5.2: one vote per
//! term).

use althing_codec::{DecodeError, Reader, Writer};
use althing_consensus::HardState;
use althing_types::{NodeId, SpaceId};
use bytes::Bytes;

/// The version of the record's payload.
const VERSION: u8 = 1;

/// How a replica came to its node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplicaBirth {
    /// With the cluster: its founding members are the group's first voters.
    Cluster,
    /// With its shard, whose first voters these are.
    Shard(Vec<NodeId>),
    /// To a group that lives: it has nothing until it has a snapshot.
    Joined,
}

/// What a log remembers of a replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Presence {
    /// The node has it.
    Held {
        /// Where it was put at birth; a snapshot may have moved it since.
        space: SpaceId,
        /// How it came.
        birth: ReplicaBirth,
    },
    /// The node had it. A later one must keep its promises.
    Gone {
        /// The last term that it knew.
        term: u64,
        /// Whom it voted for in that term.
        vote: NodeId,
    },
}

impl Presence {
    /// What a replica leaves behind that goes away with this hard state.
    #[must_use]
    pub const fn gone(hard_state: HardState) -> Self {
        Self::Gone { term: hard_state.term, vote: hard_state.vote }
    }

    /// The payload of its record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(32);
        writer.u8(VERSION);
        match self {
            Self::Held { space, birth } => {
                writer.u8(0);
                writer.u64(space.get());
                match birth {
                    ReplicaBirth::Cluster => writer.u8(0),
                    ReplicaBirth::Shard(voters) => {
                        writer.u8(1);
                        writer.u64(voters.len() as u64);
                        voters.iter().for_each(|voter| writer.u64(voter.get()));
                    }
                    ReplicaBirth::Joined => writer.u8(2),
                }
            }
            Self::Gone { term, vote } => {
                writer.u8(1);
                writer.u64(*term);
                writer.u64(vote.get());
            }
        }
        writer.finish()
    }

    /// Reads the payload of a record.
    pub fn decode(payload: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let version = reader.u8("a replica's version")?;
        if version != VERSION {
            let (found, known) = (u64::from(version), u64::from(VERSION));
            return Err(DecodeError::Version { what: "a replica", found, known });
        }
        let presence = match reader.u8("a replica's presence")? {
            0 => Self::Held { space: SpaceId(reader.u64("a replica's space")?), birth: read_birth(&mut reader)? },
            1 => Self::Gone { term: reader.u64("a replica's term")?, vote: NodeId(reader.u64("a replica's vote")?) },
            value => return Err(DecodeError::Unknown { field: "a replica's presence", value: u64::from(value) }),
        };
        reader.finish()?;
        Ok(presence)
    }
}

fn read_birth(reader: &mut Reader) -> Result<ReplicaBirth, DecodeError> {
    Ok(match reader.u8("a replica's birth")? {
        0 => ReplicaBirth::Cluster,
        1 => {
            let count = reader.count("a shard's first voters")?;
            let voters = (0..count).map(|_| reader.u64("a voter").map(NodeId));
            ReplicaBirth::Shard(voters.collect::<Result<_, _>>()?)
        }
        2 => ReplicaBirth::Joined,
        value => return Err(DecodeError::Unknown { field: "a replica's birth", value: u64::from(value) }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let held = |birth| Presence::Held { space: SpaceId(1 << 41), birth };
        for presence in [
            held(ReplicaBirth::Cluster),
            held(ReplicaBirth::Shard(vec![NodeId(1), NodeId(u64::MAX)])),
            held(ReplicaBirth::Joined),
            Presence::Gone { term: 7, vote: NodeId(3) },
        ] {
            assert_eq!(Presence::decode(presence.encode()), Ok(presence));
        }
    }

    proptest! {
        #[test]
        fn hostile_payloads_are_refused_or_read(payload: Vec<u8>) {
            let _ = Presence::decode(payload.into());
        }
    }
}
