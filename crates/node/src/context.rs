//! What all groups of a node share during a turn.

use std::collections::VecDeque;

use althing_convergent::names::{LIFE_BITS, life};
use althing_storage::wal::Record;
use althing_types::{GroupId, Instant, NodeId, RequestId, SpaceId, limits};

use crate::config::NodeConfig;
use crate::effects::{Effects, WalBatch};
use crate::input::DiskSpace;
use crate::keyed::Wall;
use crate::metrics::Metrics;
use crate::peers::Peers;

/// Bits of a ticket that count requests; those above are the incarnation.
const COUNTER_BITS: u32 = LIFE_BITS;
/// Marks tickets of the node's own proposals, which nobody waits for.
const INTERNAL: u64 = 1 << (COUNTER_BITS - 1);

/// What replicas of convergent shards name in this run has numbers above this one.
pub(crate) const fn names_before(incarnation: u64) -> u64 {
    incarnation << COUNTER_BITS
}

/// What outlives a turn and belongs to no group.
pub(crate) struct Shared {
    pub config: NodeConfig,
    pub peers: Peers,
    pub rng: fastrand::Rng,
    pub metrics: Metrics,
    pub wal: WalQueue,
    pub disk_space: DiskSpace,
    pub wall: Wall,
    next_internal: u64,
    next_space: u64,
    next_transfer: u64,
    last_name: u64,
}

impl Shared {
    pub(crate) fn new(config: NodeConfig) -> Self {
        Self {
            peers: Peers::new(config.incarnation),
            rng: fastrand::Rng::with_seed(config.seed ^ config.incarnation),
            metrics: Metrics::default(),
            wal: WalQueue::default(),
            disk_space: DiskSpace::default(),
            wall: Wall::default(),
            next_internal: 0,
            next_space: 0,
            next_transfer: 0,
            last_name: names_before(config.incarnation),
            config,
        }
    }

    /// The name of a request among all that this node has ever made.
    pub(crate) fn ticket(&self, id: RequestId) -> RequestId {
        RequestId((self.config.incarnation << COUNTER_BITS) | (id.get() & (INTERNAL - 1)))
    }

    /// The name of a proposal of the node's own.
    pub(crate) fn internal_ticket(&mut self) -> RequestId {
        self.next_internal += 1;
        RequestId((self.config.incarnation << COUNTER_BITS) | INTERNAL | self.next_internal)
    }

    /// The request that a client of this run waits for, if the ticket is one.
    pub(crate) fn client_of(&self, ticket: RequestId) -> Option<RequestId> {
        let counter = ticket.get() & ((1 << COUNTER_BITS) - 1);
        (ticket.get() >> COUNTER_BITS == self.config.incarnation && counter & INTERNAL == 0)
            .then_some(RequestId(counter))
    }

    /// A space that no run of this node has ever used: groups are born on spaces of their own ids, which are small. Its number is the life of
    /// the replica that is put there.
    pub(crate) fn new_space(&mut self) -> SpaceId {
        self.next_space += 1;
        let life = life(self.config.incarnation, self.next_space);
        SpaceId(life.expect("no node starts after its last incarnation, or places half a trillion replicas in one"))
    }

    /// The number after which the next replica of a convergent shard names what it sends. An acknowledgement that was on its way to
    /// another run of this node, or to a replica that has gone, is of a name that is not used again.
    pub(crate) const fn last_name(&self) -> u64 {
        self.last_name
    }

    /// A replica has gone that has given names up to this one.
    pub(crate) fn names_given(&mut self, last: u64) {
        self.last_name = self.last_name.max(last);
    }

    /// A name for a transfer that nobody else uses at its receiver.
    pub(crate) fn new_transfer(&mut self) -> u64 {
        self.next_transfer += 1;
        (self.config.incarnation << COUNTER_BITS) | self.next_transfer
    }

    pub(crate) fn node(&self) -> NodeId {
        self.config.node
    }
}

/// One turn of one group.
pub(crate) struct Context<'a> {
    pub now: Instant,
    pub shared: &'a mut Shared,
    pub out: &'a mut Effects,
}

/// Batches on their way to the log, and whom their durability concerns.
#[derive(Debug, Default)]
pub(crate) struct WalQueue {
    records: Vec<Record>,
    rewritten: Vec<GroupId>,
    sync: bool,
    /// Group and its persist number, for the batch that is being filled.
    waiters: Vec<(GroupId, u64)>,
    last_seq: u64,
    in_flight: VecDeque<(u64, Vec<(GroupId, u64)>)>,
    /// Bytes since the last checkpoint began.
    bytes: u64,
    checkpoint: CheckpointStage,
}

/// Whether a checkpoint is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum CheckpointStage {
    #[default]
    Idle,
    Wanted,
    UnderWay,
}

impl WalQueue {
    pub(crate) fn push(&mut self, record: Record) {
        self.bytes += record.payload.len() as u64;
        self.records.push(record);
        if self.bytes >= limits::CHECKPOINT_EVERY_BYTES {
            self.want_checkpoint();
        }
    }

    /// `group` waits for all pushed so far.
    pub(crate) fn wait(&mut self, group: GroupId, persist: u64) {
        self.sync = true;
        self.waiters.push((group, persist));
    }

    /// All living entries of `group` have been pushed since the last batch.
    pub(crate) fn rewritten(&mut self, group: GroupId) {
        self.rewritten.push(group);
    }

    /// A group is gone: what it waits for concerns nobody any more.
    pub(crate) fn forget(&mut self, group: GroupId) {
        let batches = self.in_flight.iter_mut().map(|(_, waiters)| waiters);
        for waiters in batches.chain([&mut self.waiters]) {
            waiters.retain(|(waiting, _)| *waiting != group);
        }
        self.records.retain(|record| record.group != group);
        self.rewritten.retain(|rewritten| *rewritten != group);
    }

    pub(crate) fn want_checkpoint(&mut self) {
        if self.checkpoint == CheckpointStage::Idle {
            self.checkpoint = CheckpointStage::Wanted;
        }
    }

    pub(crate) fn checkpoint_done(&mut self) {
        self.checkpoint = CheckpointStage::Idle;
    }

    /// Ends the turn: the batch, if there is one, and whether to make a checkpoint.
    pub(crate) fn seal(&mut self, out: &mut Effects) {
        if self.checkpoint == CheckpointStage::Wanted {
            self.checkpoint = CheckpointStage::UnderWay;
            self.bytes = 0;
            out.checkpoint = true;
        }
        if self.records.is_empty() && self.waiters.is_empty() {
            return;
        }
        self.last_seq += 1;
        self.in_flight.push_back((self.last_seq, std::mem::take(&mut self.waiters)));
        out.wal = Some(WalBatch {
            seq: self.last_seq,
            records: std::mem::take(&mut self.records),
            sync: std::mem::take(&mut self.sync),
            rewritten: std::mem::take(&mut self.rewritten),
        });
    }

    /// Batches up to `seq` are durable: whom that concerns, in order.
    pub(crate) fn persisted(&mut self, seq: u64) -> Vec<(GroupId, u64)> {
        let mut waiters = Vec::new();
        while self.in_flight.front().is_some_and(|(batch, _)| *batch <= seq) {
            waiters.extend(self.in_flight.pop_front().map(|(_, waiters)| waiters).unwrap_or_default());
        }
        waiters
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}
