//! What a replica knows: any set of events, as runs of numbers for each actor.
//!
//! ```text
//!          1   2   3   4   5   6   7   8   9
//!   a      ●───●───●───●                          a: 1-4
//!   b      ●───●                   ●───●───●      b: 1-2, 7-9       one gap
//! ```
//!
//! It is the causal context of Almeida, Shoker, Baquero (*Delta State Replicated Data Types*, 2018, §7.2) for a whole shard, where
//! [`DotContext`] is that of a delta. A replica that was away for a minute misses a million events in a row, and takes
//! the next million while it is told the first: that are two runs here, and a million dots there. So it is written with every
//! batch, and sent with every answer, in as many bytes as there are gaps.
//!
//! An actor whose replica has gone stays for good: its runs are what tells a value that was removed from one that is new. So those of one
//! node, which are most of them, share its name in the bytes, and are told by how much their generations grow.
//!
//! The joins of `crdt` ask a context only about the dots of the states in hand, so they are given just these
//! ([`Known::among`]).

use std::collections::BTreeMap;

use althing_clock::coded::ascending;
use althing_clock::{Actor, Coded, Dot, DotContext, DotRange, VersionVector};
use althing_codec::{DecodeError, Reader, Writer};
use althing_types::NodeId;

/// Gaps that a replica keeps in mind. Past this it refuses what would make another one, until older deltas or a repair have closed
/// some: the set is written with every batch, and so must stay some tens of kilobytes.
pub const MAX_GAPS: usize = 8_192;

/// Actors of a shard that are read from bytes: one more for every replica that is placed or loses its store.
const MAX_ACTORS: usize = 65_536;

/// A set of events.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known(BTreeMap<Actor, Vec<Run>>);

/// Events of one actor in a row, from the first to the last. Between two runs of an actor at least one event is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    first: u64,
    last: u64,
}

impl Known {
    /// Whether the event is in the set.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        self.contains_run(dot.actor, Run { first: dot.counter, last: dot.counter })
    }

    /// The number of the actor's last event that is known; 0 if there is none.
    #[must_use]
    pub fn last(&self, actor: Actor) -> u64 {
        self.0.get(&actor).and_then(|runs| runs.last()).map_or(0, |run| run.last)
    }

    /// Adds events.
    pub fn add(&mut self, range: DotRange) {
        let runs = self.0.entry(range.actor).or_default();
        let start = runs.partition_point(|run| run.last.saturating_add(1) < range.first);
        let end = runs.partition_point(|run| run.first <= range.last.saturating_add(1));
        let touched = &runs[start..end.max(start)];
        let first = touched.first().map_or(range.first, |run| run.first.min(range.first));
        let last = touched.last().map_or(range.last, |run| run.last.max(range.last));
        runs.splice(start..end.max(start), [Run { first, last }]);
    }

    /// Adds the events of a delta.
    pub fn extend(&mut self, context: &DotContext) {
        ranges(context).for_each(|range| self.add(range));
    }

    /// Adds all events of another set.
    pub fn join(&mut self, other: &Self) {
        for (actor, runs) in &other.0 {
            runs.iter().for_each(|run| self.add(DotRange { actor: *actor, first: run.first, last: run.last }));
        }
    }

    /// Whether all events of another set are in this one.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        other.0.iter().all(|(actor, runs)| runs.iter().all(|run| self.contains_run(*actor, *run)))
    }

    /// Whether all events of a delta are in the set.
    #[must_use]
    pub fn covers(&self, context: &DotContext) -> bool {
        ranges(context).all(|range| self.contains_run(range.actor, Run { first: range.first, last: range.last }))
    }

    /// How many gaps there are: stretches of events that are missing below others that are there.
    #[must_use]
    pub fn gaps(&self) -> usize {
        let of_actor = |runs: &Vec<Run>| runs.len() - usize::from(runs.first().is_some_and(|run| run.first == 1));
        self.0.values().map(of_actor).sum()
    }

    /// Whether adding these events would make a gap.
    #[must_use]
    pub fn is_gap(&self, context: &DotContext) -> bool {
        ranges(context).any(|range| {
            let near = [range.first - 1, range.first, range.last, range.last + 1];
            range.first > 1 && !near.iter().any(|counter| self.contains(Dot::new(range.actor, *counter)))
        })
    }

    /// Those of some dots that are in the set: as much of it as a join of their states asks for.
    pub fn among(&self, dots: impl FnOnce(&mut dyn FnMut(Dot))) -> DotContext {
        let mut found = DotContext::EMPTY;
        dots(&mut |dot| {
            if self.contains(dot) {
                found.insert(dot);
            }
        });
        found
    }

    /// What somebody has seen who was shown a state that holds these dots by a replica that knows this: the dots, and everything
    /// without gaps.
    #[must_use]
    pub fn seen_with(&self, dots: impl FnOnce(&mut dyn FnMut(Dot))) -> DotContext {
        let whole = self.0.iter().filter_map(|(actor, runs)| {
            let first = runs.first().filter(|run| run.first == 1)?;
            Some((*actor, first.last))
        });
        let mut seen = DotContext::from(whole.collect::<VersionVector>());
        seen.join(&self.among(dots));
        seen
    }

    fn contains_run(&self, actor: Actor, wanted: Run) -> bool {
        let Some(runs) = self.0.get(&actor) else { return false };
        let place = runs.partition_point(|run| run.last < wanted.first);
        runs.get(place).is_some_and(|run| run.first <= wanted.first && wanted.last <= run.last)
    }
}

/// The events of a context, a stretch of a vector at a time.
fn ranges(context: &DotContext) -> impl Iterator<Item = DotRange> + '_ {
    let vector = context.vector().iter().map(|(actor, last)| DotRange { actor, first: 1, last });
    vector.chain(context.cloud().map(|dot| DotRange { actor: dot.actor, first: dot.counter, last: dot.counter }))
}

impl Coded for Known {
    const NAME: &'static str = "what is known";

    fn write(&self, writer: &mut Writer) {
        let mut nodes = BTreeMap::<NodeId, Vec<(u64, &[Run])>>::new();
        for (actor, runs) in &self.0 {
            nodes.entry(actor.node).or_default().push((actor.generation, runs));
        }
        writer.u64(nodes.len() as u64);
        for (node, lives) in nodes {
            writer.fixed_u64(node.get());
            writer.u64(lives.len() as u64);
            let mut before = 0;
            for (generation, runs) in lives {
                writer.u64(generation - before);
                write_runs(writer, runs);
                before = generation;
            }
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let nodes = reader.count("known nodes")?;
        let mut known = BTreeMap::<Actor, Vec<Run>>::new();
        for place in 0..nodes {
            let node = NodeId(reader.fixed_u64("a known actor's node")?);
            let last = known.last_key_value().map(|(last, _)| last.node);
            ascending(last.as_ref(), &node, place, "the order of known nodes")?;
            let lives = reader.count("known actors")?;
            if lives == 0 || known.len() + lives > MAX_ACTORS {
                return Err(DecodeError::Unknown { field: "known actors", value: lives as u64 });
            }
            let mut before = None;
            for _ in 0..lives {
                let generation = next_generation(before, reader.u64("a known actor's generation")?)?;
                known.insert(Actor { node, generation }, read_runs(reader)?);
                before = Some(generation);
            }
        }
        Ok(Self(known))
    }
}

/// The generation that is so much above the one before.
fn next_generation(before: Option<u64>, step: u64) -> Result<u64, DecodeError> {
    let next = match before {
        None => Some(step),
        Some(before) => before.checked_add(step).filter(|_| step > 0),
    };
    next.ok_or(DecodeError::Unknown { field: "a known actor's generation", value: step })
}

fn write_runs(writer: &mut Writer, runs: &[Run]) {
    writer.u64(runs.len() as u64);
    let mut before = 0;
    for run in runs {
        writer.u64(run.first - before - 1);
        writer.u64(run.last - run.first);
        before = run.last;
    }
}

fn read_runs(reader: &mut Reader) -> Result<Vec<Run>, DecodeError> {
    let count = reader.count("known runs")?;
    if count == 0 {
        return Err(DecodeError::Unknown { field: "known runs", value: 0 });
    }
    let mut runs: Vec<Run> = Vec::new();
    for _ in 0..count {
        let gap = reader.u64("a gap in what is known")?;
        let before = runs.last().map_or(0, |run| run.last);
        let more = reader.u64("a known run")?;
        let first = before.saturating_add(1).saturating_add(gap);
        let last = first.saturating_add(more);
        if last > Dot::MAX_COUNTER || (gap == 0 && before > 0) {
            return Err(DecodeError::Unknown { field: "a known run", value: last });
        }
        runs.push(Run { first, last });
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const A: Actor = Actor::new(0xa, 1);
    const B: Actor = Actor::new(0xb, 1);

    fn dots() -> impl Strategy<Value = Vec<Dot>> {
        let dot = (any::<bool>(), 1_u64..24).prop_map(|(left, counter)| Dot::new(if left { A } else { B }, counter));
        proptest::collection::vec(dot, 0..24)
    }

    /// Those of many lives of a few nodes.
    fn dots_of_many() -> impl Strategy<Value = Vec<Dot>> {
        let generation = prop_oneof![0_u64..8, any::<u64>(), Just(u64::MAX)];
        let dot = (0_u64..4, generation, 1_u64..6);
        let dot = dot.prop_map(|(node, generation, counter)| Dot::new(Actor::new(node, generation), counter));
        proptest::collection::vec(dot, 0..40)
    }

    fn known(dots: &[Dot]) -> Known {
        let mut known = Known::default();
        known.extend(&dots.iter().copied().collect());
        known
    }

    proptest! {
        #[test]
        fn it_does_what_a_set_of_dots_does(left in dots(), right in dots()) {
            let set: BTreeSet<Dot> = left.iter().copied().collect();
            let mut all = known(&left);
            let mut one_by_one = Known::default();
            for dot in &left {
                one_by_one.add(DotRange { actor: dot.actor, first: dot.counter, last: dot.counter });
            }
            prop_assert_eq!(&all, &one_by_one);
            for dot in &right {
                prop_assert_eq!(all.contains(*dot), set.contains(dot));
                let small = DotContext::from(*dot);
                prop_assert_eq!(all.covers(&small), set.contains(dot));
                let mut more = all.clone();
                more.extend(&small);
                prop_assert_eq!(more.gaps() > all.gaps(), all.is_gap(&small), "{}", dot);
            }
            prop_assert_eq!(all.last(A), set.iter().filter(|dot| dot.actor == A).map(|dot| dot.counter).max().unwrap_or(0));
            let both = all.among(|visit| right.iter().for_each(|dot| visit(*dot)));
            prop_assert!(right.iter().all(|dot| both.contains(*dot) == set.contains(dot)));
            all.join(&known(&right));
            prop_assert_eq!(all, known(&[left, right].concat()));
        }

        #[test]
        fn bytes_come_back_as_they_were(dots in dots_of_many(), place: usize, byte: u8) {
            let value = known(&dots);
            let bytes = value.encode();
            prop_assert_eq!(Known::decode(bytes.clone()), Ok(value));
            let mut changed = bytes.to_vec();
            changed[place % bytes.len()] = byte;
            if let Ok(other) = Known::decode(changed.clone().into()) {
                prop_assert_eq!(Known::decode(other.encode()), Ok(other));
            }
        }

        #[test]
        fn hostile_bytes_are_refused(bytes: Vec<u8>) {
            let _ = Known::decode(bytes.into());
        }
    }

    #[test]
    fn a_million_events_that_overtook_a_million_others_are_one_gap() {
        let mut known = known(&[Dot::new(A, 1)]);
        known.add(DotRange { actor: A, first: 1_000_001, last: 2_000_000 });
        assert_eq!(known.gaps(), 1);
        assert!(known.encode().len() < 24);
        known.add(DotRange { actor: A, first: 2, last: 1_000_000 });
        assert_eq!((known.gaps(), known.last(A)), (0, 2_000_000));
    }
}
