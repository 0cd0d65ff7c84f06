//! Everything that is bounded, in one place, with its unit and its reason. A limit that is reached answers with an error
//! that names it. Relations between limits are asserted at compile time below.

use core::time::Duration;

/// Bytes of one client request, as etcd's `--max-request-bytes`: a larger one is refused with "request is too large".
pub const MAX_REQUEST_BYTES: usize = 1536 * 1024;
/// What a gRPC message may exceed [`MAX_REQUEST_BYTES`] by before the transport itself refuses it.
pub const MAX_REQUEST_OVERHEAD_BYTES: usize = 512 * 1024;
/// Bytes of one key. Not etcd's limit (it has none of its own), but what an ordered key encoding may double and a table
/// of the engine, whose keys stay below 64 KiB, must still hold.
pub const MAX_KEY_BYTES: usize = 31 * 1024;
/// Operations in one transaction branch, nested ones included, as etcd's `--max-txn-ops`.
pub const MAX_TXN_OPS: usize = 128;
/// How deep transactions may nest.
pub const MAX_TXN_DEPTH: usize = 16;
/// Seconds that a lease may live at the most; etcd's `MaxLeaseTTL`.
pub const MAX_LEASE_TTL_SECONDS: i64 = 9_000_000_000;
/// Leases of one shard.
pub const MAX_LEASES: usize = 1_000_000;

/// Requests that one node holds at the same time. More are refused at once with "too many requests".
pub const MAX_PENDING_REQUESTS: usize = 16_384;
/// Bytes of values in requests that one node holds at the same time.
pub const MAX_PENDING_BYTES: usize = 256 * 1024 * 1024;
/// How long a request may wait for its place among the others, beside two elections, however patient its client is (etcd's
/// rule): told that it timed out, a client goes on to another node, which may not be cut off.
pub const MAX_REQUEST_WAIT: Duration = Duration::from_secs(5);

/// Watches on one stream.
pub const MAX_WATCHES_PER_STREAM: usize = 100_000;
/// Bytes of events that wait for one watch stream before its watches fall back to reading history.
pub const MAX_WATCH_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of events in one watch response of a stream that asked for fragments.
pub const MAX_WATCH_FRAGMENT_BYTES: usize = MAX_REQUEST_BYTES;

/// Keys in one bucket of the in-memory count index before it splits.
pub const MAX_COUNT_BUCKET_KEYS: usize = 512;

/// Uncommitted bytes that one group's leader accepts before it refuses proposals.
pub const MAX_UNCOMMITTED_BYTES: usize = 64 * 1024 * 1024;
/// Committed bytes that one group hands to its applier in one turn.
pub const MAX_COMMITTED_BYTES_PER_TURN: usize = 8 * 1024 * 1024;
/// Bytes of entries in one append message.
pub const MAX_APPEND_BYTES: usize = 1024 * 1024;
/// Append messages in flight to one follower of one group.
pub const MAX_INFLIGHT_APPENDS: usize = 4;
/// Bytes of Raft log that a group keeps behind its last checkpoint so that a slow follower needs no snapshot.
pub const MAX_RETAINED_LOG_BYTES: usize = 32 * 1024 * 1024;
/// Bytes that wait for one peer before the oldest are dropped (Raft sends again; nothing is lost but time).
pub const MAX_PEER_QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of one frame between nodes.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of one chunk of a snapshot that is streamed to a follower or a client.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// Chunks of a snapshot in flight.
pub const MAX_INFLIGHT_SNAPSHOT_CHUNKS: usize = 4;

/// Bytes of one log segment.
pub const WAL_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of entries at which a record of the log closes; the entry that fills it may exceed this by its own size.
pub const MAX_LOG_RECORD_BYTES: usize = 1024 * 1024;
/// Bytes of one batch in the log: what one fsync commits.
pub const MAX_WAL_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of log that one group may pin before its live records are written forward.
pub const MAX_WAL_PINNED_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes written to the log since the last checkpoint that start the next one.
pub const CHECKPOINT_EVERY_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of free disk below which a node raises the alarm NOSPACE, which refuses what adds data. What is still under way then
/// fits: [`MAX_UNCOMMITTED_BYTES`] of proposals, their copies in the log and in tables, and a new segment.
pub const MIN_FREE_DISK_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of free disk above which a node lowers that alarm again: enough above [`MIN_FREE_DISK_BYTES`] that it does not
/// flap.
pub const AMPLE_FREE_DISK_BYTES: u64 = 384 * 1024 * 1024;

/// Default quota of a table, in bytes of logical data; etcd's `--quota-backend-bytes`, which here has no upper limit.
pub const DEFAULT_QUOTA_BYTES: u64 = 8 * 1024 * 1024 * 1024;

const _: () = {
    assert!(MAX_KEY_BYTES < MAX_REQUEST_BYTES);
    assert!(MAX_REQUEST_BYTES + MAX_REQUEST_OVERHEAD_BYTES < MAX_FRAME_BYTES);
    assert!(MAX_REQUEST_BYTES + MAX_REQUEST_OVERHEAD_BYTES < MAX_WAL_BATCH_BYTES);
    assert!(MAX_APPEND_BYTES + MAX_REQUEST_BYTES < MAX_FRAME_BYTES);
    assert!(MAX_COMMITTED_BYTES_PER_TURN < MAX_FRAME_BYTES);
    assert!(MAX_UNCOMMITTED_BYTES <= MAX_PENDING_BYTES);
    assert!(MAX_LOG_RECORD_BYTES + 2 * (MAX_REQUEST_BYTES + MAX_REQUEST_OVERHEAD_BYTES) < MAX_WAL_BATCH_BYTES);
    assert!(MAX_WAL_BATCH_BYTES as u64 * 2 < WAL_SEGMENT_BYTES);
    assert!(WAL_SEGMENT_BYTES <= MAX_WAL_PINNED_BYTES);
    assert!(SNAPSHOT_CHUNK_BYTES < MAX_FRAME_BYTES);
    assert!(MAX_UNCOMMITTED_BYTES as u64 * 2 + WAL_SEGMENT_BYTES + CHECKPOINT_EVERY_BYTES <= MIN_FREE_DISK_BYTES);
    assert!(MIN_FREE_DISK_BYTES < AMPLE_FREE_DISK_BYTES);
};
