//! What a node counts. Plain numbers: the runtime renders them.

use althing_consensus as consensus;
use althing_types::GroupId;

/// Counters since the start of the process, and gauges as of now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Metrics {
    /// Requests taken in.
    pub requests: u64,
    /// Requests refused because too many wait.
    pub overloads: u64,
    /// Requests dropped because their clients' time was over before anything was done for them.
    pub expired: u64,
    /// Reads done, linearizable or not.
    pub reads: u64,
    /// Commands applied.
    pub applied_entries: u64,
    /// Changes of role of any replica.
    pub role_changes: u64,
    /// Leases that this node, leading, found past their time.
    pub leases_expired: u64,
    /// Snapshots that this node began to send to followers.
    pub snapshots_sent: u64,
    /// Snapshots that this node has installed.
    pub snapshots_installed: u64,
    /// Snapshots on their way to followers.
    pub snapshots_leaving: u64,
    /// Snapshots on their way here.
    pub snapshots_coming: u64,
    /// Frames that came from peers.
    pub frames_received: u64,
    /// Frames or messages refused: damaged, repeated, or in somebody else's name.
    pub frames_refused: u64,
    /// Log batches that wait for their fsync.
    pub wal_in_flight: u64,
    /// Proposals and reads that wait.
    pub pending: u64,
    /// Calls and streams of clients that another node was asked to serve.
    pub routed: u64,
    /// Calls that were tried at another node at once, because the first has done nothing.
    pub route_retries: u64,
    /// Such calls that were put off to the next tick, because too many were tried again already.
    pub route_retries_put_off: u64,
    /// Calls of other nodes' clients that were refused, because this node does not have the shard.
    pub wrong_shards: u64,
    /// Such refusals that came back, each of which was tried elsewhere.
    pub wrong_shard_retries: u64,
    /// Calls that went on at a child of the shard that they were at, because that was split.
    pub redirected: u64,
    /// Splits that this node has brought to their end.
    pub splits: u64,
    /// The longest time that nobody served a shard that was being split, in nanoseconds.
    pub split_pause_nanos: u64,
    /// Times that a replica of a convergent shard was looked at because time went by.
    pub shard_looks: u64,
    /// Rounds of repair between replicas of convergent shards that this node has brought to their end.
    pub rounds: u64,
    /// Rounds that it broke off, to begin them anew.
    pub rounds_broken: u64,
    /// Keys that were found to differ in its rounds, and compared.
    pub repair_keys: u64,
    /// Those of which this node lacked something.
    pub repair_joined: u64,
    /// Those of which the other one did.
    pub repair_sent: u64,
    /// Bytes that its rounds have sent and received.
    pub repair_bytes: u64,
    /// Rounds that are under way.
    pub repair_running: u64,
    /// Parts of these that are done: a bucket of a tree counts when what differed in it is mended, and the end is a part of its own.
    pub repair_done: u64,
    /// All their parts.
    pub repair_parts: u64,
    /// Writes of level ANY that this node has taken for shards of which it has no replica.
    pub lodged: u64,
    /// Those of them that wait to be handed over.
    pub lodging: u64,
    /// Deltas that were sent again, for they were not acknowledged.
    pub hints_sent: u64,
    /// Deltas that were read back from the log after a start, for replicas that had not acknowledged them.
    pub hints_found: u64,
    /// Deltas that were sent once and are not kept for who has not acknowledged them, for want of room: repair brings them.
    pub hints_forgone: u64,
    /// Bytes of deltas that are kept for who has not acknowledged them.
    pub hint_bytes: u64,
    /// Writes that this node's reconcilers have proposed.
    pub reconciled: u64,
    /// Bytes of the engine on disk, as the host has said last.
    pub engine_disk_bytes: u64,
}

/// How one group stands, for gauges and status pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupMetrics {
    /// Which.
    pub group: GroupId,
    /// Its replica's role.
    pub role: consensus::Role,
    /// Its term.
    pub term: u64,
    /// The last index known to be committed.
    pub commit: u64,
    /// The last index applied.
    pub applied: u64,
    /// Bytes of log in memory.
    pub log_bytes: u64,
    /// What its replica has counted.
    pub consensus: consensus::Metrics,
    /// Watches on this node.
    pub watches: u64,
    /// The table's revision.
    pub revision: i64,
    /// Bytes of logical data.
    pub size_bytes: u64,
    /// The table's quota, in bytes of logical data.
    pub quota_bytes: u64,
}
