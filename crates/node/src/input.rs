//! What comes into a node.

use std::collections::BTreeMap;

use althing_api::watch::WatchCommand;
use althing_api::{Call, Error, ErrorKind, Target};
use althing_convergent::{Outcome, Size};
use althing_storage::engine::Applied;
use althing_strong::watch::History;
use althing_strong::{ApplyOutput, Export, Feed, Page, Reader};
use althing_types::{GroupId, NodeId, RequestId, Revision, SpaceId, StreamId, WallTime, limits};
use bytes::Bytes;

use crate::keyed::Hints;

/// One thing that has happened outside.
#[derive(Debug)]
pub enum Input {
    /// `NodeConfig::tick` has passed on the monotonic clock.
    Tick,
    /// A frame has come from a peer whose identity the transport has checked.
    Frame {
        /// The peer.
        from: NodeId,
        /// The frame, as [`crate::Effects::frames`] held it there.
        bytes: Bytes,
    },
    /// A connection to a peer stands. A hint.
    PeerUp(NodeId),
    /// The connection to a peer broke. A hint: it may wake a group, it never decides.
    PeerDown(NodeId),
    /// A client asks; answered in [`crate::Effects::responses`], exactly once unless cancelled.
    Request {
        /// Names the answer.
        id: RequestId,
        /// What is asked.
        call: Call,
    },
    /// The client no longer waits.
    Cancel {
        /// Which request.
        id: RequestId,
    },
    /// A client opens a stream of watches.
    WatchOpen {
        /// Names the stream.
        stream: StreamId,
        /// On which table or group.
        target: Target,
        /// End the watches when there is no leader.
        require_leader: bool,
    },
    /// A client says something on its stream.
    Watch {
        /// Which stream.
        stream: StreamId,
        /// What it says.
        command: WatchCommand,
    },
    /// The client has taken so many bytes of events off its stream, as [`crate::effects::event_bytes`] counts them.
    WatchDrained {
        /// Which stream.
        stream: StreamId,
        /// How many bytes.
        bytes: usize,
    },
    /// The stream is gone.
    WatchClose {
        /// Which stream.
        stream: StreamId,
    },
    /// A client wants to download a snapshot; chunks leave one per pull.
    SnapshotOpen {
        /// Names the download.
        stream: StreamId,
        /// Of which table or group.
        target: Target,
    },
    /// The client wants the next chunk.
    SnapshotPull {
        /// Which download.
        stream: StreamId,
    },
    /// The download is over.
    SnapshotClose {
        /// Which download.
        stream: StreamId,
    },
    /// The log batch `seq` and all before it are durable (or need not be, if they asked for no sync).
    Persisted {
        /// Which batch.
        seq: u64,
    },
    /// The applier has worked off some of its work, in order.
    Done(Vec<Done>),
    /// The reader has finished a read.
    Read(ReadDone),
    /// A checkpoint is durable; where each space stood at its cut.
    Checkpointed(BTreeMap<SpaceId, Applied>),
    /// The log cannot give its oldest segment back because of these groups: write what lives of them again.
    LogPinned(Vec<GroupId>),
    /// The membership says that another node has a newer map. A hint: it is asked for.
    MapBehind,
    /// How the disk below the log and the engine stands for space; said when it changes.
    DiskSpace(DiskSpace),
    /// A gateway of this node tells those of others something.
    Mail {
        /// To whom.
        to: Vec<NodeId>,
        /// What.
        bytes: Bytes,
    },
    /// What the machine's wall clock shows now. Said with each tick.
    Wall(WallTime),
    /// Stop in good order: hand leaderships over, then [`crate::Effects::stopped`].
    Stop,
}

/// How much room there is on this node's disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DiskSpace {
    /// Enough to go on.
    #[default]
    Ample,
    /// So little that nothing may be added before some is freed.
    Short,
}

impl DiskSpace {
    /// What so many free bytes mean after what was the case before.
    #[must_use]
    pub const fn after(self, free_bytes: u64) -> Self {
        match self {
            Self::Ample if free_bytes < limits::MIN_FREE_DISK_BYTES => Self::Short,
            Self::Short if free_bytes > limits::AMPLE_FREE_DISK_BYTES => Self::Ample,
            Self::Ample | Self::Short => self,
        }
    }
}

/// What the applier has done.
#[derive(Debug)]
pub enum Done {
    /// Entries are applied and visible to reads.
    Applied {
        /// Of which group.
        group: GroupId,
        /// Where its space stands now.
        applied: Applied,
        /// What came of them.
        output: ApplyOutput,
    },
    /// A page of a snapshot is in the space that is being filled.
    Imported {
        /// Of which group.
        group: GroupId,
        /// Of which transfer.
        transfer: u64,
        /// How many pages are in.
        pages: u64,
        /// Set with the last page, or an error that ends the transfer.
        outcome: ImportOutcome,
    },
    /// The group now stands on the space that a snapshot has filled.
    Installed(GroupState),
    /// A replica that came to this node is open.
    Opened(GroupState),
    /// A replica that left this node is gone; nothing of it that was under way comes any more.
    Closed {
        /// Of which group.
        group: GroupId,
    },
    /// Jobs of a convergent shard are done, and visible to those that follow.
    Keyed {
        /// Of which group.
        group: GroupId,
        /// What became of them, in order.
        outcomes: Vec<Outcome>,
        /// How much the replica holds now.
        size: Size,
        /// When it has something to tend, in milliseconds since 1970.
        due_ms: Option<i64>,
    },
    /// Compaction up to the group's compact revision has given back all it allows.
    CompactionFinished {
        /// Of which group.
        group: GroupId,
    },
}

/// How far an import is.
#[derive(Debug)]
pub enum ImportOutcome {
    /// More pages are wanted.
    Going,
    /// The space is complete in memory; it is durable with the next checkpoint.
    Complete(Applied, Bytes),
    /// The pages are not a snapshot, or not a whole one.
    Failed(String),
}

/// A group's state as the applier opened it.
#[derive(Debug)]
pub struct GroupState {
    /// Which group.
    pub group: GroupId,
    /// The space that it stands on.
    pub space: SpaceId,
    /// Where it stands.
    pub applied: Applied,
    /// The Raft configuration as of there, encoded by the consensus crate.
    pub conf_state: Bytes,
    /// Reads of it.
    pub reader: Reader,
    /// Its replica of a convergent shard, if it is one.
    pub keyed: Option<KeyedState>,
}

/// A replica of a convergent shard as the applier opened it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyedState {
    /// Where its values stand in the engine.
    pub space: SpaceId,
    /// The last delta that the engine had before those of the log.
    pub checkpointed: u64,
    /// The last delta that it has.
    pub index: u64,
    /// When there is something to tend, in milliseconds since 1970.
    pub due_ms: Option<i64>,
    /// What of the log others may lack.
    pub hints: Hints,
}

impl KeyedState {
    /// From which index on the log of its deltas is needed.
    pub(crate) fn keep_from(&self) -> u64 {
        let lacked = self.hints.deltas.first().map_or(u64::MAX, |(index, _)| *index);
        lacked.min(self.checkpointed + 1)
    }
}

/// What the reader has done.
#[derive(Debug)]
pub enum ReadDone {
    /// A client's read.
    Request {
        /// Of which request.
        id: RequestId,
        /// What came of it, without a term, which the node adds.
        result: Result<althing_api::Answer, Error>,
    },
    /// History for a watch that catches up.
    History {
        /// Of which group.
        group: GroupId,
        /// From which revision on.
        from: Revision,
        /// What was read.
        result: Result<History, ErrorKind>,
    },
    /// A page of an export.
    Page {
        /// For whom.
        purpose: ExportPurpose,
        /// The export, to ask for the next page; `None` after an error.
        export: Option<Box<Export>>,
        /// The page; `None` at the end.
        result: Result<Option<Bytes>, Error>,
    },
    /// A page for a child of a split.
    Fed {
        /// The shard that is split.
        parent: GroupId,
        /// The one that is filled.
        child: GroupId,
        /// The feed, to ask for the next page; `None` after an error.
        feed: Option<Box<Feed>>,
        /// The page; `None` if the child has all there is.
        page: Result<Option<Page>, ErrorKind>,
    },
}

/// For whom a snapshot is exported.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ExportPurpose {
    /// For a client that downloads.
    Client(StreamId),
    /// For a follower that is too far behind.
    Follower {
        /// Of which group.
        group: GroupId,
        /// The follower.
        to: NodeId,
        /// Names the transfer.
        transfer: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_short_below_one_mark_and_ample_again_only_above_a_higher_one() {
        let (short, ample) = (limits::MIN_FREE_DISK_BYTES, limits::AMPLE_FREE_DISK_BYTES);
        assert_eq!(DiskSpace::Ample.after(short), DiskSpace::Ample);
        assert_eq!(DiskSpace::Ample.after(short - 1), DiskSpace::Short);
        assert_eq!(DiskSpace::Short.after(ample), DiskSpace::Short);
        assert_eq!(DiskSpace::Short.after(ample + 1), DiskSpace::Ample);
    }
}
