//! How the events of one watch become responses: whole revisions together up to a size, and one revision cut only for a
//! watch that allows it.

use althing_api::kv::{Event, EventKind};
use althing_api::watch::{WatchCreate, WatchFilter};
use althing_types::Revision;

use super::protocol::event_weight;

/// One event that a watch wants.
#[derive(Clone, Copy)]
pub(super) struct Hit<'a> {
    /// The revision of its change.
    pub(super) revision: Revision,
    /// The event, with everything that is known.
    pub(super) event: &'a Event,
}

/// Whether `filter` lets an event of this kind through.
pub(super) const fn passes(filter: WatchFilter, kind: EventKind) -> bool {
    match kind {
        EventKind::Put => !filter.no_put,
        EventKind::Delete => !filter.no_delete,
    }
}

/// The event as the watch asked for it.
pub(super) fn tailored(event: &Event, create: &WatchCreate) -> Event {
    let prev_kv = if create.prev_kv { event.prev_kv.clone() } else { None };
    Event { kind: event.kind, kv: event.kv.clone(), prev_kv }
}

/// How many of `hits` go into the next response: all of the first revision, and further whole ones while they fit.
pub(super) fn whole_revisions(hits: &[Hit<'_>], limit_bytes: usize) -> usize {
    let (mut taken, mut bytes) = (0, 0);
    for group in hits.chunk_by(|a, b| a.revision == b.revision) {
        bytes += group.iter().map(|hit| event_weight(hit.event)).sum::<usize>();
        if taken > 0 && bytes > limit_bytes {
            break;
        }
        taken += group.len();
    }
    taken
}

/// Cuts `events` into pieces of at most `limit_bytes`, but at least one event each.
pub(super) fn fragments(events: Vec<Event>, limit_bytes: usize) -> Vec<Vec<Event>> {
    let mut pieces: Vec<Vec<Event>> = Vec::new();
    let mut bytes = 0;
    for event in events {
        let weight = event_weight(&event);
        match pieces.last_mut() {
            Some(piece) if bytes + weight <= limit_bytes => {
                bytes += weight;
                piece.push(event);
            }
            _ => {
                bytes = weight;
                pieces.push(vec![event]);
            }
        }
    }
    pieces
}
