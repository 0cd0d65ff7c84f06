//! What the log holds of a replica, as bytes. The log itself does not look inside.
//!
//! Every payload begins with its format version, one byte.
//!
//! ```text
//! Entries    1 · first index · count · (kind u8 · term · data)*
//! HardState  1 · term · vote · commit
//! Truncated  1 · index · term
//! Snapshot   1 · index · term · configuration
//!
//! configuration   voters · learners · outgoing voters · learners next · auto leave u8;  each list: count · node*
//! ```

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::NodeId;
use bytes::Bytes;

use crate::types::{ConfState, Entry, EntryKind, HardState, LogPosition, SnapshotMeta};

const VERSION: u8 = 1;

/// The largest term and index that is believed: above it arithmetic on hostile numbers could overflow.
pub(crate) const MAX_NUMBER: u64 = 1 << 62;

/// Room for entries that is made before the first is read, so that a hostile count costs nothing.
const MAX_RESERVED_ENTRIES: usize = 1024;

/// The payload of an `Entries` record.
///
/// # Panics
///
/// If `entries` is empty or has a gap.
#[must_use]
pub fn encode_entries(entries: &[Entry]) -> Bytes {
    let first = entries.first().expect("a batch of entries is never empty").index;
    let data: usize = entries.iter().map(|entry| entry.data.len() + 16).sum();
    let mut writer = Writer::with_capacity(24 + data);
    writer.u8(VERSION);
    writer.u64(first);
    writer.u64(entries.len() as u64);
    for (expected, entry) in (first..).zip(entries) {
        assert_eq!(entry.index, expected, "a batch of entries has no gap");
        writer.u8(entry.kind as u8);
        writer.u64(entry.term);
        writer.bytes(&entry.data);
    }
    writer.finish()
}

/// The entries of an `Entries` record, in ascending order without a gap; their data shares `payload`'s buffer.
pub fn decode_entries(payload: Bytes) -> Result<Vec<Entry>, DecodeError> {
    let mut reader = versioned(payload, "an entries record")?;
    let first = number(&mut reader, "the first index")?;
    let count = reader.count("the count of entries")?;
    let mut entries = Vec::with_capacity(count.min(MAX_RESERVED_ENTRIES));
    for index in (first..).take(count) {
        let kind = entry_kind(reader.u8("an entry's kind")?)?;
        let term = number(&mut reader, "an entry's term")?;
        entries.push(Entry { index, term, kind, data: reader.bytes("an entry's data")? });
    }
    reader.finish()?;
    Ok(entries)
}

/// A term or an index from outside.
pub(crate) fn number(reader: &mut Reader, field: &'static str) -> Result<u64, DecodeError> {
    let value = reader.u64(field)?;
    if value > MAX_NUMBER { Err(DecodeError::Unknown { field, value }) } else { Ok(value) }
}

pub(crate) fn entry_kind(value: u8) -> Result<EntryKind, DecodeError> {
    match value {
        0 => Ok(EntryKind::Normal),
        1 => Ok(EntryKind::ConfChange),
        value => Err(DecodeError::Unknown { field: "an entry's kind", value: u64::from(value) }),
    }
}

fn versioned(payload: Bytes, what: &'static str) -> Result<Reader, DecodeError> {
    let mut reader = Reader::new(payload);
    let found = u64::from(reader.u8(what)?);
    let known = u64::from(VERSION);
    if found == known { Ok(reader) } else { Err(DecodeError::Version { what, found, known }) }
}

impl HardState {
    /// The payload of a `HardState` record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(31);
        writer.u8(VERSION);
        writer.u64(self.term);
        writer.u64(self.vote.get());
        writer.u64(self.commit);
        writer.finish()
    }

    /// Reads the payload of a `HardState` record.
    pub fn decode(payload: Bytes) -> Result<Self, DecodeError> {
        let mut reader = versioned(payload, "a hard state record")?;
        let term = number(&mut reader, "the term")?;
        let vote = NodeId(reader.u64("the vote")?);
        let commit = number(&mut reader, "the commit index")?;
        reader.finish()?;
        Ok(Self { term, vote, commit })
    }
}

impl LogPosition {
    /// The payload of a `Truncated` record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(21);
        writer.u8(VERSION);
        writer.u64(self.index);
        writer.u64(self.term);
        writer.finish()
    }

    /// Reads the payload of a `Truncated` record.
    pub fn decode(payload: Bytes) -> Result<Self, DecodeError> {
        let mut reader = versioned(payload, "a truncation record")?;
        let index = number(&mut reader, "the truncated index")?;
        let term = number(&mut reader, "the truncated term")?;
        reader.finish()?;
        Ok(Self { index, term })
    }
}

impl SnapshotMeta {
    /// The payload of a `Snapshot` record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.u64(self.index);
        writer.u64(self.term);
        self.conf_state.write(&mut writer);
        writer.finish()
    }

    /// Reads the payload of a `Snapshot` record.
    pub fn decode(payload: Bytes) -> Result<Self, DecodeError> {
        let mut reader = versioned(payload, "a snapshot record")?;
        let index = number(&mut reader, "the snapshot's index")?;
        let term = number(&mut reader, "the snapshot's term")?;
        let conf_state = ConfState::read(&mut reader)?;
        reader.finish()?;
        Ok(Self { index, term, conf_state })
    }
}

impl ConfState {
    /// The configuration as bytes with their format version, to be stored with the applied index.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        self.write(&mut writer);
        writer.finish()
    }

    /// Reads what [`ConfState::encode`] wrote.
    pub fn decode(payload: Bytes) -> Result<Self, DecodeError> {
        let mut reader = versioned(payload, "a configuration")?;
        let conf_state = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(conf_state)
    }

    fn write(&self, writer: &mut Writer) {
        for nodes in [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next] {
            writer.u64(nodes.len() as u64);
            for node in nodes {
                writer.u64(node.get());
            }
        }
        writer.bool(self.auto_leave);
        writer.u64(self.epoch);
        writer.u64(self.joined.len() as u64);
        for (node, since) in &self.joined {
            writer.u64(node.get());
            writer.u64(*since);
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            voters: read_nodes(reader)?,
            learners: read_nodes(reader)?,
            voters_outgoing: read_nodes(reader)?,
            learners_next: read_nodes(reader)?,
            auto_leave: reader.bool("auto leave")?,
            epoch: reader.u64("a configuration's epoch")?,
            joined: read_joined(reader)?,
        })
    }
}

fn read_joined(reader: &mut Reader) -> Result<Vec<(NodeId, u64)>, DecodeError> {
    let count = reader.count("the voters that joined")?;
    let joined = |reader: &mut Reader| {
        Ok((reader.u64("a voter that joined").map(NodeId)?, reader.u64("the entry by which a voter joined")?))
    };
    (0..count).map(|_| joined(reader)).collect()
}

fn read_nodes(reader: &mut Reader) -> Result<Vec<NodeId>, DecodeError> {
    let count = reader.count("the members of a configuration")?;
    (0..count).map(|_| reader.u64("a member of a configuration").map(NodeId)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (any::<bool>(), 0..=MAX_NUMBER, vec(any::<u8>(), 0..40));
        (0..MAX_NUMBER / 2, vec(entry, 1..20)).prop_map(|(first, entries)| {
            (first..)
                .zip(entries)
                .map(|(index, (normal, term, data))| {
                    let kind = if normal { EntryKind::Normal } else { EntryKind::ConfChange };
                    Entry { index, term, kind, data: data.into() }
                })
                .collect()
        })
    }

    fn any_conf_state() -> impl Strategy<Value = ConfState> {
        let nodes = || vec(any::<u64>().prop_map(NodeId), 0..4);
        let joined = || vec((any::<u64>().prop_map(NodeId), any::<u64>()), 0..4);
        (nodes(), nodes(), nodes(), nodes(), any::<bool>(), any::<u64>(), joined()).prop_map(
            |(voters, learners, voters_outgoing, learners_next, auto_leave, epoch, joined)| ConfState {
                voters,
                learners,
                voters_outgoing,
                learners_next,
                auto_leave,
                epoch,
                joined,
            },
        )
    }

    proptest! {
        #[test]
        fn entries_are_read_back(entries in any_entries()) {
            prop_assert_eq!(decode_entries(encode_entries(&entries)).unwrap(), entries);
        }

        #[test]
        fn states_and_positions_are_read_back(
            term in 0..=MAX_NUMBER, vote: u64, commit in 0..=MAX_NUMBER, conf_state in any_conf_state(),
        ) {
            let state = HardState { term, vote: NodeId(vote), commit };
            prop_assert_eq!(HardState::decode(state.encode()).unwrap(), state);
            let position = LogPosition { index: commit, term };
            prop_assert_eq!(LogPosition::decode(position.encode()).unwrap(), position);
            prop_assert_eq!(&ConfState::decode(conf_state.encode()).unwrap(), &conf_state);
            let meta = SnapshotMeta { index: commit, term, conf_state };
            prop_assert_eq!(SnapshotMeta::decode(meta.encode()).unwrap(), meta);
        }

        #[test]
        fn hostile_records_are_refused_or_read(payload: Vec<u8>) {
            let payload = Bytes::from([&[VERSION][..], &payload].concat());
            let _ = decode_entries(payload.clone());
            let _ = HardState::decode(payload.clone());
            let _ = LogPosition::decode(payload.clone());
            let _ = SnapshotMeta::decode(payload.clone());
            let _ = ConfState::decode(payload);
        }
    }

    #[test]
    fn a_record_of_another_version_is_refused() {
        let error = HardState::decode(Bytes::from_static(&[9, 1, 1, 1])).unwrap_err();
        assert!(matches!(error, DecodeError::Version { found: 9, known: 1, .. }), "{error}");
    }
}
