//! Requests and watches of tables that this node has no replica of: they are served by a node that has one, as if its own
//! client had asked, and the answer comes back.
//!
//! ```text
//!  client ─► origin ── Route { group, epoch, call } ─────────► replica ─► as its own client's
//!              ▲   ◄── WrongShard { current } ── not here ────────┤       (or from a log, a read, …)
//!              │            take the entry, try another           │
//!              └──────── Routed { result } ◄──────────────────────┘
//! ```
//!
//! A refusal proves that nothing was done, so the origin tries the next replica. Silence proves nothing: a request that may
//! have been done is never sent twice unless it only reads. The deadline travels: what is sent carries what is left of it. What is
//! tried again at once is a share of the calls; beyond it, each call waits for the next tick.

mod calls;
mod lobby;
mod streams;

use std::collections::BTreeMap;

use althing_api::Call;
use althing_resilience::RetryBudget;
use althing_resilience::admission::Figures;
use althing_types::{GroupId, Instant, NodeId, RequestId, StreamId};

use self::lobby::{Lobby, Place};

pub(crate) use self::streams::Homeless;
use self::streams::{Following, Lending};

/// Marks requests and streams that another node's client has begun. Below what marks a node's own proposals.
const LENT: u64 = 1 << 38;
/// Bits of a name that count calls; those above are the incarnation.
const NAME_BITS: u32 = 40;

/// Calls that may be tried again in the same turn, per thousand calls, and beside that. A shard that moves is refused to all calls that
/// are under way to it at once; those for which this does not suffice are tried again with the next tick.
const RETRIES_PERMILLE: u32 = 100;
const RETRIES_RESERVED: u32 = 100;

/// A call of this node's client that another node serves.
#[derive(Debug)]
pub(crate) struct Routed {
    id: RequestId,
    call: Call,
    group: GroupId,
    deadline: Instant,
    /// Who has refused it or has gone.
    tried: Vec<NodeId>,
    stage: Stage,
}

/// A call of another node's client.
#[derive(Debug)]
struct Lent {
    /// Whose.
    to: NodeId,
    /// Its name there.
    name: u64,
    place: Place,
}

/// How far a routed call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Nobody has it; it is tried again with the next tick.
    Waiting,
    /// This node has it.
    Sent(NodeId),
}

/// What this node does for others' clients, and others for its own.
#[derive(Debug)]
pub(crate) struct Router {
    /// The next name of a call of this node's clients. It tells this run of the node from others.
    next: u64,
    next_lent: u64,
    routed: BTreeMap<u64, Routed>,
    /// What may be tried again at once.
    budget: RetryBudget,
    /// Requests of others' clients.
    lent: BTreeMap<RequestId, Lent>,
    lobby: Lobby,
    following: BTreeMap<StreamId, Following>,
    lending: BTreeMap<StreamId, Lending>,
    /// The streams that this node serves for another, by whose they are and their names there.
    lent_streams: BTreeMap<(NodeId, u64), StreamId>,
}

impl Router {
    /// Nothing is under way in this run of the node.
    pub(crate) fn new(incarnation: u64) -> Self {
        Self {
            next: incarnation << NAME_BITS,
            next_lent: 0,
            routed: BTreeMap::new(),
            budget: RetryBudget::new(RETRIES_PERMILLE, RETRIES_RESERVED),
            lent: BTreeMap::new(),
            lobby: Lobby::default(),
            following: BTreeMap::new(),
            lending: BTreeMap::new(),
            lent_streams: BTreeMap::new(),
        }
    }

    /// The figures of the doors for other nodes' clients, for reads and for writes.
    pub(crate) fn figures(&self) -> [Figures; 2] {
        self.lobby.figures()
    }

    fn name(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn lent_name(&mut self) -> u64 {
        self.next_lent = (self.next_lent + 1) % LENT;
        LENT | self.next_lent
    }
}

/// Whether a request of this name was begun by another node's client.
pub(crate) const fn is_lent(name: u64) -> bool {
    name & LENT != 0
}
