//! How changes reach watches: live, from memory and from history, by the same steps.

use std::collections::BTreeMap;
use std::slice;

use althing_api::watch::WatchEvent;
use althing_probe::{Mark, Mutant};
use althing_types::{Instant, Revision};

use super::hub::Hub;
use super::index::Index;
use super::protocol::{Change, Effects};
use super::response::{Hit, fragments, passes, tailored, whole_revisions};
use super::slots::{Slot, Slots};
use super::stream::{Phase, Watch};

/// Changes of one turn up to which live watches are told of each by itself. Etcd does so, and clients count on it: they take a response
/// for a change, where a replica that is a little late applies some at once. With more of them it is throughput that counts.
const TOLD_SINGLY: usize = 4;

/// What each watch wants of some changes, in order.
type Hits<'a> = BTreeMap<Slot, Vec<Hit<'a>>>;

impl Hub {
    /// Gives changes that were just applied to the watches that are live.
    pub(super) fn give_live(&mut self, now: Instant, changes: &[Change], out: &mut Effects) {
        if changes.len() > TOLD_SINGLY {
            return self.give_together(now, changes, self.revision, out);
        }
        for change in changes {
            self.give_together(now, slice::from_ref(change), change.revision, out);
        }
    }

    /// Gives some changes in responses that say this revision.
    fn give_together(&mut self, now: Instant, changes: &[Change], revision: Revision, out: &mut Effects) {
        let hits = matches(&self.index, &self.watches, changes, |watch, revision| match watch.phase {
            Phase::Live => watch.first <= revision,
            Phase::Behind { .. } => false,
        });
        for (slot, hits) in hits {
            if let Some(undelivered) = self.give(now, slot, &hits, revision, out) {
                althing_probe::hit(Mark::WatchFellBehind);
                if althing_probe::is(Mutant::DropWhenFull) {
                    continue;
                }
                self.fall_behind(slot, undelivered);
            }
        }
    }

    /// Gives `changes`, which are all from the least place in `cohort` up to below `next`, to the watches of `cohort`,
    /// all of which are behind.
    pub(super) fn catch_up(
        &mut self,
        now: Instant,
        changes: &[Change],
        next: Revision,
        cohort: &[Slot],
        out: &mut Effects,
    ) {
        let mut index = Index::default();
        for slot in cohort {
            if let Some(watch) = self.watches.get(*slot) {
                index.insert(&watch.create.keys, *slot);
            }
        }
        let mut hits = matches(&index, &self.watches, changes, |watch, revision| match watch.phase {
            Phase::Live => false,
            Phase::Behind { next, .. } => next <= revision,
        });
        for slot in cohort {
            let undelivered = hits.remove(slot).and_then(|hits| self.give(now, *slot, &hits, self.revision, out));
            self.caught_up_to(*slot, undelivered.unwrap_or(next));
        }
    }

    /// Gives the recent changes to those of `candidates` that are behind, have room, and are not too far behind.
    pub(super) fn catch_up_from_memory(&mut self, now: Instant, candidates: Vec<Slot>, out: &mut Effects) {
        let mut cohort = candidates;
        cohort.retain(|slot| {
            self.next_of(*slot).is_some_and(|next| next >= self.recent.first())
                && self.watches.get(*slot).is_some_and(|watch| self.has_room(watch.stream))
        });
        if let Some(from) = cohort.iter().filter_map(|slot| self.next_of(*slot)).min() {
            let lost = usize::from(althing_probe::is(Mutant::LoseHandover));
            let changes: Vec<_> = self.recent.since(from).into_iter().skip(lost).collect();
            self.catch_up(now, &changes, self.revision.next(), &cohort, out);
        }
    }

    /// Puts events into the watch's stream while it has room. The revision of the first that found none.
    fn give(
        &mut self,
        now: Instant,
        slot: Slot,
        hits: &[Hit<'_>],
        revision: Revision,
        out: &mut Effects,
    ) -> Option<Revision> {
        let mut rest = hits;
        while let Some(first) = rest.first() {
            let stream = self.watches.get(slot)?.stream;
            if !self.has_room(stream) {
                return Some(first.revision);
            }
            let (response, later) = rest.split_at(whole_revisions(rest, self.config.response_bytes));
            self.respond(now, slot, response, revision, out);
            rest = later;
        }
        None
    }

    fn respond(&mut self, now: Instant, slot: Slot, hits: &[Hit<'_>], revision: Revision, out: &mut Effects) {
        let Some(watch) = self.watches.get_mut(slot) else { return };
        watch.last_sent = now;
        let (stream, id) = (watch.stream, watch.id);
        let events = hits.iter().map(|hit| tailored(hit.event, &watch.create)).collect();
        let pieces = if watch.create.fragment { fragments(events, self.config.response_bytes) } else { vec![events] };
        let last = pieces.len() - 1;
        for (number, events) in pieces.into_iter().enumerate() {
            let event = WatchEvent::Events { id, revision, events, fragment: number < last };
            self.deliver(stream, event, out);
        }
    }
}

/// What the watches in `index` want of `changes`, where `is_due` says whether a watch still awaits a revision.
fn matches<'a>(
    index: &Index,
    watches: &Slots<Watch>,
    changes: &'a [Change],
    is_due: impl Fn(&Watch, Revision) -> bool,
) -> Hits<'a> {
    let mut hits = Hits::new();
    for change in changes {
        for event in change.events.iter() {
            index.matching(&event.kv.key, &mut |slot| {
                if let Some(watch) = watches.get(slot)
                    && is_due(watch, change.revision)
                    && passes(watch.create.filter, event.kind)
                {
                    hits.entry(slot).or_default().push(Hit { revision: change.revision, event });
                }
            });
        }
    }
    hits
}
