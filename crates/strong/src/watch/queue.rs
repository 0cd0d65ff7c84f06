//! Who reads history next: the watches that are behind, in turns.
//!
//! Streams take turns, and within a stream its watches. A stream without room waits for nothing. Whoever was served goes
//! to the end, so that a watch with a long way back costs another at most one read.

use althing_probe::Mark;
use althing_types::{Revision, StreamId};

use super::hub::{Hub, Reading};
use super::protocol::{Effects, ReadHistory};
use super::slots::Slot;
use super::stream::{Flow, Phase, Turn};

impl Hub {
    /// The first revision that a watch which is behind has not been given.
    pub(super) fn next_of(&self, slot: Slot) -> Option<Revision> {
        match self.watches.get(slot)?.phase {
            Phase::Live => None,
            Phase::Behind { next, .. } => Some(next),
        }
    }

    pub(super) fn fall_behind(&mut self, slot: Slot, next: Revision) {
        let turn = self.take_turn();
        let watch = self.watches.get_mut(slot).expect("a watch that falls behind exists");
        watch.phase = Phase::Behind { next, turn };
        let id = watch.stream;
        let stream = self.streams.get_mut(&id).expect("a watch has a stream");
        stream.behind.insert((turn, slot));
        if stream.behind.len() == 1 {
            self.queue(id);
        }
    }

    /// Moves a watch that is behind on to `next`, and out of the queue if that is the present.
    pub(super) fn caught_up_to(&mut self, slot: Slot, to: Revision) {
        if to > self.revision {
            althing_probe::hit(Mark::WatchCaughtUp);
            self.catch_up_done(slot);
        } else if let Some(watch) = self.watches.get_mut(slot)
            && let Phase::Behind { next, .. } = &mut watch.phase
        {
            *next = to;
        }
    }

    pub(super) fn catch_up_done(&mut self, slot: Slot) {
        let Some(watch) = self.watches.get_mut(slot) else { return };
        let Phase::Behind { turn, .. } = watch.phase else { return };
        watch.phase = Phase::Live;
        let Some(stream) = self.streams.get_mut(&watch.stream) else { return };
        stream.behind.remove(&(turn, slot));
        if stream.behind.is_empty() {
            self.waiting.remove(&(stream.turn, watch.stream));
        }
    }

    /// Queues a stream for reading, at the end, if it has room and a watch that is behind.
    pub(super) fn queue(&mut self, id: StreamId) {
        let turn = self.take_turn();
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.flow == Flow::Open
            && !stream.behind.is_empty()
        {
            self.waiting.remove(&(stream.turn, id));
            stream.turn = turn;
            self.waiting.insert((turn, id));
        }
    }

    fn take_turn(&mut self) -> Turn {
        self.last_turn += 1;
        self.last_turn
    }

    /// The watches that history from `from` to below `to` moves on.
    pub(super) fn cohort(&self, from: Revision, to: Revision) -> Vec<Slot> {
        let streams = self.waiting.iter().filter_map(|(_, id)| self.streams.get(id));
        streams
            .flat_map(|stream| stream.behind.iter().map(|(_, slot)| *slot))
            .filter(|slot| self.next_of(*slot).is_some_and(|next| from <= next && next < to))
            .collect()
    }

    /// Begins the next read, for the watch that has waited longest of the stream that has waited longest.
    pub(super) fn read_on(&mut self, out: &mut Effects) {
        if self.reading != Reading::Idle {
            return;
        }
        let Some((_, id)) = self.waiting.first().copied() else { return };
        self.queue(id);
        let turn = self.take_turn();
        let stream = self.streams.get_mut(&id).expect("a stream that waits is open");
        let (_, slot) = stream.behind.pop_first().expect("a stream waits for a watch");
        stream.behind.insert((turn, slot));
        let watch = self.watches.get_mut(slot).expect("a watch that is behind exists");
        let from = match watch.phase {
            Phase::Behind { next, .. } => next,
            Phase::Live => unreachable!("a live watch is not in the queue"),
        };
        watch.phase = Phase::Behind { next: from, turn };
        self.reading = Reading::From(from);
        out.reads.push(ReadHistory { from, to: self.revision, max_bytes: self.config.read_bytes });
    }
}
