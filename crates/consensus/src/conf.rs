//! Changes of the configuration: our own form of them, and the raft crate's.
//!
//! One change at a time takes effect when it is applied (dissertation, 4.1). Several in one proposal go through a joint
//! configuration (4.3), which the leader leaves by itself with an entry of its own, [`ConfChange::LeaveJoint`], unless the change is
//! held ([`ConfChange::Hold`]): then somebody who knows when proposes that.
//!
//! ```text
//! data of a configuration entry:  version u8 = 1, or 2 if held · count · (kind u8 · node)* · data
//!                                 nothing at all is LeaveJoint
//! ```

use althing_codec::{DecodeError, Reader, Writer};
use althing_probe::Mutant;
use althing_types::NodeId;
use bytes::Bytes;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

use crate::types::{Entry, EntryKind};

const VERSION: u8 = 1;
const HELD_VERSION: u8 = 2;

/// One step of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new node gets a vote at once. One that has no log yet slows the group until it has caught up: prefer a learner.
    AddVoter(NodeId),
    /// A new node receives the log, or a voter loses its vote and goes on receiving.
    AddLearner(NodeId),
    /// A learner gets a vote.
    Promote(NodeId),
    /// A member leaves.
    Remove(NodeId),
}

impl Change {
    /// The node that it is about.
    #[must_use]
    pub const fn node(self) -> NodeId {
        match self {
            Self::AddVoter(node) | Self::AddLearner(node) | Self::Promote(node) | Self::Remove(node) => node,
        }
    }

    const fn ordinal(self) -> u8 {
        match self {
            Self::AddVoter(_) => 0,
            Self::AddLearner(_) => 1,
            Self::Promote(_) => 2,
            Self::Remove(_) => 3,
        }
    }

    fn to_raft(self) -> ConfChangeSingle {
        let mut single = ConfChangeSingle { node_id: self.node().get(), ..ConfChangeSingle::default() };
        single.set_change_type(match self {
            Self::AddVoter(_) | Self::Promote(_) => ConfChangeType::AddNode,
            Self::AddLearner(_) if althing_probe::is(Mutant::LearnerVotes) => ConfChangeType::AddNode,
            Self::AddLearner(_) => ConfChangeType::AddLearnerNode,
            Self::Remove(_) => ConfChangeType::RemoveNode,
        });
        single
    }
}

/// A change of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfChange {
    /// One step, or several at once through a joint configuration.
    Change(Vec<Change>),
    /// Several steps through a joint configuration that stands until somebody proposes that it be left.
    Hold(Vec<Change>),
    /// The joint configuration is left. The leader proposes it by itself, unless it is held.
    LeaveJoint,
}

impl ConfChange {
    /// The form in which the raft crate applies it.
    pub(crate) fn to_raft(&self) -> ConfChangeV2 {
        let mut change = ConfChangeV2::default();
        match self {
            Self::Change(steps) => {
                change.set_changes(steps.iter().map(|step| step.to_raft()).collect::<Vec<_>>().into());
            }
            Self::Hold(steps) => {
                change.set_transition(ConfChangeTransition::Explicit);
                change.set_changes(steps.iter().map(|step| step.to_raft()).collect::<Vec<_>>().into());
            }
            Self::LeaveJoint => {}
        }
        change
    }

    /// What it consists of.
    pub(crate) const fn steps(&self) -> &[Change] {
        match self {
            Self::Change(steps) | Self::Hold(steps) => steps.as_slice(),
            Self::LeaveJoint => &[],
        }
    }

    /// The version of its bytes, which also tells the two kinds of changes apart.
    const fn version(&self) -> u8 {
        match self {
            Self::Change(_) | Self::LeaveJoint => VERSION,
            Self::Hold(_) => HELD_VERSION,
        }
    }

    /// The data of the entry that carries it, together with what the state machine wants to know.
    pub(crate) fn encode(&self, data: &[u8]) -> Bytes {
        match self {
            Self::LeaveJoint => Bytes::new(),
            Self::Change(steps) | Self::Hold(steps) => {
                let mut writer = Writer::with_capacity(2 + steps.len() * 11 + data.len());
                writer.u8(self.version());
                writer.u64(steps.len() as u64);
                for step in steps {
                    writer.u8(step.ordinal());
                    writer.u64(step.node().get());
                }
                writer.raw(data);
                writer.finish()
            }
        }
    }
}

/// Why an entry is not a configuration change, or cannot be applied. Every replica comes to the same end with it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfChangeError {
    /// The entry is a command of the state machine.
    #[error("the entry at {index} is no configuration change")]
    NotAConfChange {
        /// The entry's index.
        index: u64,
    },
    /// The entry's data cannot be read.
    #[error("the configuration change at {index} cannot be read: {error}")]
    Decode {
        /// The entry's index.
        index: u64,
        /// What is wrong.
        error: DecodeError,
    },
    /// The change contradicts the configuration; it has no effect.
    #[error("the configuration change at {index} is refused: {reason}")]
    Refused {
        /// The entry's index.
        index: u64,
        /// Why.
        reason: String,
    },
}

/// Reads a configuration entry: the change, and the data that was proposed with it.
pub fn conf_change(entry: &Entry) -> Result<(ConfChange, Bytes), ConfChangeError> {
    match entry.kind {
        EntryKind::Normal => Err(ConfChangeError::NotAConfChange { index: entry.index }),
        EntryKind::ConfChange if entry.data.is_empty() => Ok((ConfChange::LeaveJoint, Bytes::new())),
        EntryKind::ConfChange => {
            decode(&entry.data).map_err(|error| ConfChangeError::Decode { index: entry.index, error })
        }
    }
}

fn decode(data: &Bytes) -> Result<(ConfChange, Bytes), DecodeError> {
    let mut reader = Reader::new(data.clone());
    let version = reader.u8("a configuration change's version")?;
    if version != VERSION && version != HELD_VERSION {
        let (found, known) = (u64::from(version), u64::from(HELD_VERSION));
        return Err(DecodeError::Version { what: "a configuration change", found, known });
    }
    let count = reader.count("a configuration change's steps")?;
    let steps = (0..count).map(|_| decode_step(&mut reader)).collect::<Result<_, _>>()?;
    let change = if version == HELD_VERSION { ConfChange::Hold(steps) } else { ConfChange::Change(steps) };
    Ok((change, reader.rest()))
}

fn decode_step(reader: &mut Reader) -> Result<Change, DecodeError> {
    let kind = reader.u8("a configuration step's kind")?;
    let node = NodeId(reader.u64("a configuration step's node")?);
    match kind {
        0 => Ok(Change::AddVoter(node)),
        1 => Ok(Change::AddLearner(node)),
        2 => Ok(Change::Promote(node)),
        3 => Ok(Change::Remove(node)),
        value => Err(DecodeError::Unknown { field: "a configuration step's kind", value: u64::from(value) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(kind: EntryKind, data: Bytes) -> Entry {
        Entry { index: 7, term: 2, kind, data }
    }

    #[test]
    fn a_change_and_its_data_are_read_back() {
        let change = ConfChange::Change(vec![
            Change::AddVoter(NodeId(4)),
            Change::AddLearner(NodeId(5)),
            Change::Promote(NodeId(6)),
            Change::Remove(NodeId(u64::MAX)),
        ]);
        let entry = entry(EntryKind::ConfChange, change.encode(b"urls"));
        assert_eq!(conf_change(&entry), Ok((change, Bytes::from_static(b"urls"))));
    }

    #[test]
    fn an_empty_configuration_entry_leaves_the_joint_configuration() {
        let entry = entry(EntryKind::ConfChange, Bytes::new());
        assert_eq!(conf_change(&entry), Ok((ConfChange::LeaveJoint, Bytes::new())));
        assert!(ConfChange::LeaveJoint.to_raft().leave_joint());
    }

    #[test]
    fn several_steps_go_through_a_joint_configuration_and_one_does_not() {
        let one = ConfChange::Change(vec![Change::Remove(NodeId(1))]);
        assert_eq!(one.to_raft().enter_joint(), None);
        let two = ConfChange::Change(vec![Change::Remove(NodeId(1)), Change::AddVoter(NodeId(2))]);
        assert_eq!(two.to_raft().enter_joint(), Some(true));
    }

    proptest! {
        #[test]
        fn hostile_configuration_entries_are_refused_or_read(data: Vec<u8>) {
            let _ = conf_change(&entry(EntryKind::ConfChange, data.into()));
        }
    }
}
