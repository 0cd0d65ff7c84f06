//! Whether a node has a replica of a group: what its log remembers of that, across restarts.
//!
//! ```text
//! payload of a record `Replica`:   version u8 = 2 · kind u8 · …
//!     0 held     space u64 · birth u8 (0 with the cluster, 1 with its shard: count · node*, 2 joined, 3 with its shard, which
//!                is a piece of its table: count · node* · slice · role u8 (0 serve, 1 fill)) · promise · content u8 (0 logged,
//!                1 convergent; absent in version 1, which knew only logged)
//!     1 gone     promise
//!     2 retired
//! promise   term u64 · vote u64 · index u64 and term u64 of the log's last entry
//! ```
//!
//! A replica that goes away leaves a [`Promise`] behind. A replica of the same group that comes to the node later begins with it: it
//! has the same id, so what the first one has promised binds it, too.

use althing_codec::{DecodeError, Reader, Writer};
use althing_consensus::LogPosition;
use althing_strong::{Role, Slice};
use althing_types::{NodeId, SpaceId};
use bytes::Bytes;

/// The version of the record's payload.
const VERSION: u8 = 2;

/// What a replica holds besides the configuration of its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Content {
    /// What its group's log says.
    #[default]
    Logged,
    /// Values that converge, beside the log.
    Convergent,
}

/// How a replica came to its node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplicaBirth {
    /// With the cluster: its founding members are the group's first voters.
    Cluster,
    /// With its shard, whose first voters these are.
    Shard(Vec<NodeId>),
    /// With its shard, which holds a piece of a table that is split by range.
    Piece {
        /// Its first voters.
        voters: Vec<NodeId>,
        /// The keys that it holds.
        slice: Slice,
        /// Whether it serves them at once.
        role: Role,
    },
    /// To a group that lives: it has nothing until it has a snapshot.
    Joined,
}

/// What a replica that went away binds its successor to.
///
/// * It votes once per term (Raft, 5.2), so the successor knows the term and the vote.
/// * It has voted, and would vote, for nobody whose log is behind its own (5.4.1). Whoever still counts by a configuration that it
///   was a member of relies on that, though the group has long moved on; so the successor votes for nobody whose log is behind
///   what the first one had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Promise {
    /// The last term that it knew.
    pub term: u64,
    /// Whom it voted for in that term.
    pub vote: NodeId,
    /// Where its log ended.
    pub last: LogPosition,
}

impl Promise {
    /// Whether a candidate whose log ends there may have a vote.
    #[must_use]
    pub fn admits(&self, candidate: LogPosition) -> bool {
        (candidate.term, candidate.index) >= (self.last.term, self.last.index)
    }

    /// The same, by somebody who has heard of a term. Of a later one than his own he has promised nothing to anybody.
    pub(crate) fn at_least(self, term: u64) -> Self {
        if term <= self.term { self } else { Self { term, vote: NodeId::NONE, ..self } }
    }

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.term);
        writer.u64(self.vote.get());
        writer.u64(self.last.index);
        writer.u64(self.last.term);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            term: reader.u64("a replica's term")?,
            vote: NodeId(reader.u64("a replica's vote")?),
            last: LogPosition {
                index: reader.u64("the last index of a replica's log")?,
                term: reader.u64("the last term of a replica's log")?,
            },
        })
    }
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
        /// What an earlier replica of the group on this node binds it to; nothing if there was none.
        promise: Promise,
        /// What it holds.
        content: Content,
    },
    /// The node had it. A later one must keep what it promised.
    Gone(Promise),
    /// The node had it, and its shard was deleted or split: there is never a later one, whatever an old map says.
    Retired,
}

impl Presence {
    /// The payload of its record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(32);
        writer.u8(VERSION);
        match self {
            Self::Held { space, birth, promise, content } => {
                writer.u8(0);
                writer.u64(space.get());
                match birth {
                    ReplicaBirth::Cluster => writer.u8(0),
                    ReplicaBirth::Shard(voters) => {
                        writer.u8(1);
                        write_voters(&mut writer, voters);
                    }
                    ReplicaBirth::Joined => writer.u8(2),
                    ReplicaBirth::Piece { voters, slice, role } => {
                        writer.u8(3);
                        write_voters(&mut writer, voters);
                        slice.write(&mut writer);
                        writer.u8(match role {
                            Role::Serve => 0,
                            Role::Fill => 1,
                        });
                    }
                }
                promise.write(&mut writer);
                writer.u8(match content {
                    Content::Logged => 0,
                    Content::Convergent => 1,
                });
            }
            Self::Gone(promise) => {
                writer.u8(1);
                promise.write(&mut writer);
            }
            Self::Retired => writer.u8(2),
        }
        writer.finish()
    }

    /// Reads the payload of a record.
    pub fn decode(payload: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let version = reader.u8("a replica's version")?;
        if !(1..=VERSION).contains(&version) {
            let (found, known) = (u64::from(version), u64::from(VERSION));
            return Err(DecodeError::Version { what: "a replica", found, known });
        }
        let presence = match reader.u8("a replica's presence")? {
            0 => Self::Held {
                space: SpaceId(reader.u64("a replica's space")?),
                birth: read_birth(&mut reader)?,
                promise: Promise::read(&mut reader)?,
                content: match version {
                    1 => Content::Logged,
                    _ => read_content(&mut reader)?,
                },
            },
            1 => Self::Gone(Promise::read(&mut reader)?),
            2 => Self::Retired,
            value => return Err(DecodeError::Unknown { field: "a replica's presence", value: u64::from(value) }),
        };
        reader.finish()?;
        Ok(presence)
    }
}

fn read_content(reader: &mut Reader) -> Result<Content, DecodeError> {
    match reader.u8("what a replica holds")? {
        0 => Ok(Content::Logged),
        1 => Ok(Content::Convergent),
        value => Err(DecodeError::Unknown { field: "what a replica holds", value: u64::from(value) }),
    }
}

fn read_birth(reader: &mut Reader) -> Result<ReplicaBirth, DecodeError> {
    Ok(match reader.u8("a replica's birth")? {
        0 => ReplicaBirth::Cluster,
        1 => ReplicaBirth::Shard(read_voters(reader)?),
        2 => ReplicaBirth::Joined,
        3 => ReplicaBirth::Piece {
            voters: read_voters(reader)?,
            slice: Slice::read(reader)?,
            role: match reader.u8("a shard's role")? {
                0 => Role::Serve,
                1 => Role::Fill,
                value => return Err(DecodeError::Unknown { field: "a shard's role", value: u64::from(value) }),
            },
        },
        value => return Err(DecodeError::Unknown { field: "a replica's birth", value: u64::from(value) }),
    })
}

fn write_voters(writer: &mut Writer, voters: &[NodeId]) {
    writer.u64(voters.len() as u64);
    voters.iter().for_each(|voter| writer.u64(voter.get()));
}

fn read_voters(reader: &mut Reader) -> Result<Vec<NodeId>, DecodeError> {
    let count = reader.count("a shard's first voters")?;
    (0..count).map(|_| reader.u64("a voter").map(NodeId)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let promise = Promise { term: 7, vote: NodeId(3), last: LogPosition { index: 9, term: 6 } };
        let held = |birth| Presence::Held { space: SpaceId(1 << 41), birth, promise, content: Content::Convergent };
        for presence in [
            held(ReplicaBirth::Cluster),
            held(ReplicaBirth::Shard(vec![NodeId(1), NodeId(u64::MAX)])),
            held(ReplicaBirth::Joined),
            held(ReplicaBirth::Piece {
                voters: vec![NodeId(1)],
                slice: Slice { start: "m".into(), end: None },
                role: Role::Fill,
            }),
            Presence::Gone(promise),
            Presence::Retired,
        ] {
            assert_eq!(Presence::decode(presence.encode()), Ok(presence));
        }
    }

    #[test]
    fn a_successor_votes_for_nobody_whose_log_is_behind_the_first_ones() {
        let promise = Promise { last: LogPosition { index: 195, term: 8 }, ..Promise::default() };
        assert!(!promise.admits(LogPosition { index: 191, term: 8 }));
        assert!(!promise.admits(LogPosition { index: 300, term: 7 }));
        assert!(promise.admits(LogPosition { index: 195, term: 8 }));
        assert!(promise.admits(LogPosition { index: 10, term: 9 }));
    }

    #[test]
    fn whoever_has_heard_of_a_later_term_has_promised_its_vote_to_nobody_in_it() {
        let last = LogPosition { index: 9, term: 6 };
        let own = Promise { term: 7, vote: NodeId(3), last };
        assert_eq!(own.at_least(7), own);
        assert_eq!(own.at_least(6), own);
        assert_eq!(own.at_least(8), Promise { term: 8, vote: NodeId::NONE, last });
    }

    proptest! {
        #[test]
        fn hostile_payloads_are_refused_or_read(payload: Vec<u8>) {
            let _ = Presence::decode(payload.into());
        }
    }
}
