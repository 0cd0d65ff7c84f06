//! Watches: ordered, unique, atomic per revision, resumable. A stream carries many watches; a watch never crosses nodes.

use althing_types::{Revision, WatchId};

use crate::error::ErrorKind;
use crate::kv::{Event, KeyRange};

/// Which events a watch leaves out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct WatchFilter {
    /// Leave out writes.
    pub no_put: bool,
    /// Leave out removals.
    pub no_delete: bool,
}

/// What a client wants to watch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct WatchCreate {
    /// The id wanted; `None` lets the server choose.
    pub id: Option<WatchId>,
    /// Which keys.
    pub keys: KeyRange,
    /// From this revision on, itself included; `None` from the next write on.
    pub start_revision: Option<Revision>,
    /// Carry the version before in each event.
    pub prev_kv: bool,
    /// Which events to leave out.
    pub filter: WatchFilter,
    /// Tell the revision from time to time even without events.
    pub progress_notify: bool,
    /// Allow one revision to be cut into several responses when it is large.
    pub fragment: bool,
}

/// What a client says on its stream.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum WatchCommand {
    /// A new watch.
    Create(WatchCreate),
    /// No more of this one.
    Cancel(WatchId),
    /// Tell the revision that all watches of this stream have seen, once they all have.
    Progress,
}

/// Why a watch ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CancelReason {
    /// The client asked.
    Asked,
    /// Its next revision is compacted; resume from this revision or later.
    Compacted(Revision),
    /// The id that it asked for is taken.
    DuplicateId,
    /// The range is empty or its key is.
    InvalidRange,
    /// More than `MAX_WATCHES_PER_STREAM`.
    TooMany,
    /// The client asked for a leader (`hasleader`), and there is none.
    NoLeader,
    /// The replica that served it is gone (removed, quarantined or stopped).
    Gone(String),
    /// It cannot be served: there is no such table, or its keys lie in several shards.
    Refused(ErrorKind),
}

/// What a watch stream carries to the client, in order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum WatchEvent {
    /// The watch exists. `revision` is the table's when it was made.
    Created {
        /// Its id.
        id: WatchId,
        /// The table's revision.
        revision: Revision,
    },
    /// The watch has ended (or was refused: then no `Created` came before, and `id` may be -1).
    Canceled {
        /// Its id.
        id: WatchId,
        /// The table's revision.
        revision: Revision,
        /// Why.
        reason: CancelReason,
    },
    /// Events of whole revisions, in order; one revision is never cut unless `fragment` is set.
    Events {
        /// Of which watch.
        id: WatchId,
        /// The table's revision when they were sent; never below the last event's.
        revision: Revision,
        /// The events.
        events: Vec<Event>,
        /// Whether the same revisions go on in the next response (only with `WatchCreate::fragment`).
        fragment: bool,
    },
    /// All events at or below `revision` have been sent. To all watches of the stream with `None`.
    Progress {
        /// Of which watch.
        id: Option<WatchId>,
        /// Up to and including.
        revision: Revision,
    },
}
