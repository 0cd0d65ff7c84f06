//! What lives and dies with one process: the node, its applier, the log's writer, and who waits for what.

use std::collections::BTreeMap;

use althing_node::{Applier, Input, Node, Work};
use althing_storage::engine::Checkpoint;
use althing_types::{RequestId, StreamId};

use super::writer::Writer;
use crate::workload::{Slot, Ticket};

/// A client's call or stream, as the world knows it.
pub type Caller = (Slot, Ticket);

/// Whether something is on the agenda already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Planned {
    /// It is not.
    #[default]
    No,
    /// It is.
    Yes,
}

/// How far a checkpoint is.
pub enum CheckpointStage {
    /// None is wanted.
    Idle,
    /// One is to begin between two pieces of work.
    Wanted,
    /// One is being made durable.
    UnderWay(Box<dyn Checkpoint>),
}

impl std::fmt::Debug for CheckpointStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Wanted => "Wanted",
            Self::UnderWay(_) => "UnderWay",
        })
    }
}

/// What the process is up to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// It serves.
    Serving,
    /// It was asked to stop in good order.
    Stopping,
}

/// One process.
pub struct Process {
    /// The node.
    pub node: Node,
    /// Its applier.
    pub applier: Applier,
    /// Its log.
    pub writer: Writer,
    /// Inputs of the next turn.
    pub inbox: Vec<Input>,
    /// Whether that turn is planned.
    pub turn: Planned,
    /// What waits for the applier.
    pub work: Vec<Work>,
    /// Whether the applier's next round is planned.
    pub working: Planned,
    /// Whether work in the background is planned.
    pub background: Planned,
    /// The checkpoint, if there is one.
    pub checkpoint: CheckpointStage,
    /// Who waits for which answer.
    pub requests: BTreeMap<RequestId, Caller>,
    /// Whose streams are open.
    pub streams: BTreeMap<StreamId, Caller>,
    /// What it is up to.
    pub intent: Intent,
    next_id: u64,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("intent", &self.intent).finish_non_exhaustive()
    }
}

impl Process {
    /// A process that has done nothing yet.
    #[must_use]
    pub fn new(node: Node, applier: Applier, writer: Writer) -> Self {
        Self {
            node,
            applier,
            writer,
            inbox: Vec::new(),
            turn: Planned::No,
            work: Vec::new(),
            working: Planned::No,
            background: Planned::No,
            checkpoint: CheckpointStage::Idle,
            requests: BTreeMap::new(),
            streams: BTreeMap::new(),
            intent: Intent::Serving,
            next_id: 0,
        }
    }

    /// A name for a call.
    pub fn new_request(&mut self, caller: Caller) -> RequestId {
        self.next_id += 1;
        let id = RequestId(self.next_id);
        self.requests.insert(id, caller);
        id
    }

    /// A name for a stream.
    pub fn new_stream(&mut self, caller: Caller) -> StreamId {
        self.next_id += 1;
        let id = StreamId(self.next_id);
        self.streams.insert(id, caller);
        id
    }

    /// The stream that a client calls so, if it is open.
    #[must_use]
    pub fn stream_of(&self, caller: Caller) -> Option<StreamId> {
        self.streams.iter().find(|(_, of)| **of == caller).map(|(stream, _)| *stream)
    }

    /// The call that a client calls so, if it is open.
    #[must_use]
    pub fn request_of(&self, caller: Caller) -> Option<RequestId> {
        self.requests.iter().find(|(_, of)| **of == caller).map(|(request, _)| *request)
    }
}
