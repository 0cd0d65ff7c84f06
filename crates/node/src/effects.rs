//! What a node asks of the outside.

use std::collections::BTreeSet;

use althing_api::cluster::Member;
use althing_api::keyed::{KeyedRequest, Moment};
use althing_api::watch::WatchEvent;
use althing_api::{Answer, Error, Request, SnapshotChunk};
use althing_convergent::Job;
use althing_storage::wal::Record;
use althing_strong::layout::VersionId;
use althing_strong::watch::ReadHistory;
use althing_strong::{Export, Feed, LogEntry, Reader, Slice};
use althing_types::{GroupId, NodeId, RequestId, SpaceId, StreamId};
use bytes::Bytes;

use crate::input::ExportPurpose;
use crate::presence::{Content, ReplicaBirth};

/// What one turn of a node wants done. The host:
///
/// 1. sends [`Effects::frames`] at once, in order per peer; it may lose them, and never repeats or reorders them;
/// 2. appends [`Effects::wal`] in order, syncs if asked, and answers `Input::Persisted`; a failure ends the process;
/// 3. hands [`Effects::work`] to the applier in order and answers `Input::Done`; a failure ends the process;
/// 4. hands [`Effects::reads`] to any reader and answers `Input::Read`;
/// 5. delivers responses, watch events and snapshot chunks.
#[derive(Debug, Default)]
pub struct Effects {
    /// Frames to send.
    pub frames: Vec<(NodeId, Bytes)>,
    /// What to append to the log; at most one batch a turn.
    pub wal: Option<WalBatch>,
    /// Groups whose records below an index the log need no longer keep. After `wal`.
    pub wal_release: Vec<(GroupId, u64)>,
    /// Work for the applier.
    pub work: Vec<Work>,
    /// Reads that may take long.
    pub reads: Vec<ReadWork>,
    /// Answers to requests.
    pub responses: Vec<(RequestId, Result<Answer, Error>)>,
    /// Events of watch streams, in order.
    pub watch: Vec<(StreamId, WatchEvent)>,
    /// Chunks of downloads; `None` ends one.
    pub snapshot: Vec<(StreamId, Option<Result<SnapshotChunk, Error>>)>,
    /// What gateways of other nodes tell the one of this node, in order of each.
    pub mail: Vec<(NodeId, Bytes)>,
    /// The members have changed.
    pub members: Option<Membership>,
    /// Make a checkpoint soon.
    pub checkpoint: bool,
    /// All is handed over after `Input::Stop`: the host may end.
    pub stopped: bool,
}

/// Who belongs to the cluster. The transport should be connected to the members and no others, and tell those who were
/// removed that they were.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// The members.
    pub members: Vec<Member>,
    /// The ids of those who were removed; they are never given again.
    pub removed: BTreeSet<NodeId>,
}

impl Membership {
    /// Who belongs to the cluster as a table says it; those of the table's birth and nobody more if it says nothing yet.
    #[must_use]
    pub fn of(reader: Option<&Reader>, at_birth: &[Member]) -> Self {
        let members = reader.and_then(|reader| reader.members().ok()).filter(|members| !members.is_empty());
        let removed = reader.and_then(|reader| reader.removed_members().ok());
        Self { members: members.unwrap_or_else(|| at_birth.to_vec()), removed: removed.unwrap_or_default() }
    }
}

impl Effects {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
            && self.wal.is_none()
            && self.wal_release.is_empty()
            && self.work.is_empty()
            && self.reads.is_empty()
            && self.responses.is_empty()
            && self.watch.is_empty()
            && self.snapshot.is_empty()
            && self.mail.is_empty()
            && self.members.is_none()
            && !self.checkpoint
            && !self.stopped
    }
}

/// Records that go to the log together.
#[derive(Debug)]
pub struct WalBatch {
    /// Names the batch; each is one more than the last.
    pub seq: u64,
    /// The records.
    pub records: Vec<Record>,
    /// Whether `Persisted` must wait for an fsync.
    pub sync: bool,
    /// Groups all of whose living entries are in this batch once more: after the append, `Wal::supersede` them with the
    /// tail that the log had before it.
    pub rewritten: Vec<GroupId>,
}

/// One piece of work for the applier.
#[derive(Debug)]
pub enum Work {
    /// Apply committed entries.
    Apply {
        /// To which group.
        group: GroupId,
        /// The entries, in order.
        entries: Vec<LogEntry>,
    },
    /// Put a page of a snapshot into a space that is being filled.
    Import {
        /// Of which group.
        group: GroupId,
        /// Names the transfer; a new one empties nothing but starts on its own space.
        transfer: u64,
        /// The space.
        space: SpaceId,
        /// The page.
        page: Bytes,
        /// Whether it is the last.
        last: bool,
    },
    /// Stand on the space that a snapshot has filled.
    Install {
        /// Which group.
        group: GroupId,
        /// On which space.
        space: SpaceId,
    },
    /// A space is no longer needed.
    DropSpace(SpaceId),
    /// A replica comes to this node.
    Open {
        /// Of which group.
        group: GroupId,
        /// On a space that was never used.
        space: SpaceId,
        /// How it comes.
        birth: ReplicaBirth,
        /// What it holds.
        content: Content,
    },
    /// Jobs for a replica of a convergent shard.
    Keyed {
        /// Of which group.
        group: GroupId,
        /// The jobs, in order.
        jobs: Vec<Job>,
    },
    /// The replica leaves this node with all that it has.
    Close {
        /// Of which group.
        group: GroupId,
    },
}

/// A read that may take long.
#[derive(Debug)]
pub enum ReadWork {
    /// A client's read: `Range`, a read-only `Txn`, `Hash`, `HashKv`, `LeaseLeases`, ….
    Request {
        /// Names the answer.
        id: RequestId,
        /// Of what.
        reader: Reader,
        /// What is asked.
        request: Request,
        /// Filled into the answer's header.
        header: althing_api::Header,
    },
    /// A client's read of keyed values.
    Keyed {
        /// Names the answer.
        id: RequestId,
        /// Of what.
        reader: Reader,
        /// What is asked.
        request: KeyedRequest,
        /// When it happens.
        moment: Moment,
        /// Filled into the answer's header.
        header: althing_api::Header,
    },
    /// History for a watch.
    History {
        /// Of which group.
        group: GroupId,
        /// Of what.
        reader: Reader,
        /// What is wanted.
        request: ReadHistory,
    },
    /// The next page of an export; the first one starts it.
    Page {
        /// For whom.
        purpose: ExportPurpose,
        /// How it is reached.
        source: ExportSource,
        /// Bytes that it should have, about.
        max_bytes: usize,
    },
    /// The next page of what a child of a split is filled with.
    Feed {
        /// The shard that is split.
        parent: GroupId,
        /// The one that is filled.
        child: GroupId,
        /// How it is reached.
        source: FeedSource,
        /// Bytes that it should have, about.
        max_bytes: usize,
    },
}

/// A feed that starts or goes on.
#[derive(Debug)]
pub enum FeedSource {
    /// Starts now.
    Start {
        /// Of the parent.
        reader: Reader,
        /// The keys of the child.
        slice: Slice,
        /// Where the child stands.
        from: VersionId,
    },
    /// Goes on.
    Next(Box<Feed>),
}

/// An export that starts or goes on.
#[derive(Debug)]
pub enum ExportSource {
    /// Starts now.
    Start(Reader),
    /// Goes on.
    Next(Box<Export>),
}

/// What an event counts against the buffer of its stream, in bytes.
#[must_use]
pub fn event_bytes(event: &WatchEvent) -> usize {
    althing_strong::watch::weight(event)
}
