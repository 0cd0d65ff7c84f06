//! What goes into a [`Hub`](super::Hub) and what comes out.

use std::sync::Arc;

use althing_api::ErrorKind;
use althing_api::kv::{Event, KeyValue};
use althing_api::watch::{WatchCommand, WatchEvent};
use althing_types::limits::{MAX_WATCH_BUFFER_BYTES, MAX_WATCH_FRAGMENT_BYTES, MAX_WATCHES_PER_STREAM};
use althing_types::{Duration, Revision, StreamId};

use crate::bounds::Bounds;

/// Everything that one revision did, in the order of its operations. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The revision.
    pub revision: Revision,
    /// Its events, with the version before where it is known. Shared: every watch and buffer holds the same ones.
    pub events: Arc<[Event]>,
}

/// A piece of history, as a read of it answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    /// The changes at or above the revision asked for, in order, whole.
    pub changes: Vec<Change>,
    /// The first revision that was not read: all changes below it, down to the one asked for, are in `changes`. Always
    /// above the revision asked for.
    pub next: Revision,
}

/// Whether a stream asked to be ended when there is no leader (etcd's `hasleader`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaderNeed {
    /// It goes on without one, and sees what its replica has.
    None,
    /// Its watches end with `NoLeader`; if it has none, it is told so for itself, with the id that names no watch.
    Required,
}

/// What a hub is told.
#[derive(Debug)]
pub enum Input<'a> {
    /// A client has opened a stream.
    Open {
        /// Its id, new to this hub.
        stream: StreamId,
        /// Whether it wants to be ended without a leader.
        leader: LeaderNeed,
    },
    /// A client says something on its stream.
    Command {
        /// Which stream; an unknown one is ignored.
        stream: StreamId,
        /// What it says.
        command: WatchCommand,
    },
    /// The stream is gone; its watches with it.
    Close(StreamId),
    /// Changes just applied, in order. One call per turn of the applier. Those at or below the hub's revision are known and
    /// left out: whoever tells of an installed snapshot may see changes that were applied to it since.
    Changes(&'a [Change]),
    /// The answer to a [`ReadHistory`].
    History {
        /// The revision that was asked for.
        from: Revision,
        /// What was found.
        result: Result<History, ErrorKind>,
    },
    /// The client has taken this much (as [`weight`] counts it) out of the stream's buffer.
    Drained {
        /// Which stream; an unknown one is ignored.
        stream: StreamId,
        /// The weight taken.
        bytes: usize,
    },
    /// Time has passed.
    Tick,
    /// There has been no leader for longer than an election should take.
    NoLeader,
    /// There is a leader (again).
    Leader,
    /// Revisions below this one can no longer be read.
    Compacted(Revision),
    /// A snapshot was installed: the table stands at `revision`, and what happened on the way was not seen as changes.
    Installed {
        /// The table's revision now; never below the hub's.
        revision: Revision,
        /// The least revision that can still be read.
        compacted: Revision,
    },
    /// The shard has these bounds from here on, after the changes that were told before. Watches of other keys end with
    /// `WrongShard`; they go on at the shard that holds those keys.
    Bounds(Bounds),
    /// The replica goes away (removed, quarantined or stopped), for this reason. All watches end.
    Gone(String),
}

/// A read of history that a hub wants: the changes from `from` up to and including `to`, at least one, and not many more
/// than `max_bytes`. Answered with [`Input::History`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadHistory {
    /// The first revision.
    pub from: Revision,
    /// The last revision.
    pub to: Revision,
    /// Stop before the change that exceeds this, unless it is the first.
    pub max_bytes: usize,
}

/// What a hub wants done. Deliveries go to each stream in the order given here.
#[derive(Debug, Default)]
pub struct Effects {
    /// Put into the buffer of that stream; report its [`weight`] as drained once the client has taken it.
    pub deliver: Vec<(StreamId, WatchEvent)>,
    /// Reads to begin.
    pub reads: Vec<ReadHistory>,
}

/// What bounds a hub. All of it has defaults; tests make it small.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Weight that may wait in one stream before its watches fall back to history.
    pub buffer_bytes: usize,
    /// Weight of one response above which whole revisions go into the next one, and above which one revision is cut if
    /// the watch allows fragments.
    pub response_bytes: usize,
    /// Bytes asked for in one read of history.
    pub read_bytes: usize,
    /// Weight of the newest changes that are kept in memory, so that a watch that fell back by a little needs no read.
    pub recent_bytes: usize,
    /// Watches on one stream.
    pub max_watches: usize,
    /// How long a watch with `progress_notify` is idle before it is told the revision.
    pub progress_interval: Duration,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            buffer_bytes: MAX_WATCH_BUFFER_BYTES,
            response_bytes: MAX_WATCH_FRAGMENT_BYTES,
            read_bytes: 1024 * 1024,
            recent_bytes: 1024 * 1024,
            max_watches: MAX_WATCHES_PER_STREAM,
            progress_interval: Duration::from_secs(600),
        }
    }
}

/// What one response or event costs beside its bytes: the structures around them.
const OVERHEAD_BYTES: usize = 64;

/// What `event` counts in a stream's buffer, in bytes. A host reports the same number with [`Input::Drained`].
#[must_use]
pub fn weight(event: &WatchEvent) -> usize {
    match event {
        WatchEvent::Created { .. } | WatchEvent::Canceled { .. } | WatchEvent::Progress { .. } => OVERHEAD_BYTES,
        WatchEvent::Events { events, .. } => OVERHEAD_BYTES + events.iter().map(event_weight).sum::<usize>(),
    }
}

/// What one event of a response counts.
pub(super) fn event_weight(event: &Event) -> usize {
    let version = |kv: &KeyValue| kv.key.len() + kv.value.len();
    OVERHEAD_BYTES + version(&event.kv) + event.prev_kv.as_ref().map_or(0, version)
}

/// What a change counts among the recent ones.
pub(super) fn change_weight(change: &Change) -> usize {
    OVERHEAD_BYTES + change.events.iter().map(event_weight).sum::<usize>()
}
