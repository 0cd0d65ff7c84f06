//! The laws of convergence, for every type at once.
//!
//! [`check`] makes a history of some replicas from a seed: writes that know nothing of each other, deltas that overtake each
//! other, come twice, or travel merged, whole states that are joined, replicas that lose everything and come back under a new
//! actor. Then it asks for what Shapiro et al. (2011) and Almeida et al. (2018) promise:
//!
//! * joins are commutative, associative, idempotent, and nothing is neutral;
//! * a delta that is applied does what joining it as a state does, and doing it again changes nothing;
//! * whoever has got all deltas, in whatever order and grouping, has the state to which all states join;
//! * who has taken a delta's writes has their effect: applying it changes nothing;
//! * every dot that is held is in the context, and every write's dot is among its delta's;
//! * equal states have equal bytes, which are read as what they were; other bytes are refused, or are another state's.
//!
//! [`check_stability`] lets replicas forget on the way what is stable and asks that nobody sees it.
//!
//! It is a part of the crate so that types made of these are held to the same laws.

use std::fmt::Debug;

use althing_clock::{Actor, Coded, Dot, DotContext, Timestamp, VersionVector};
use bytes::Bytes;

use crate::join::{Causal, Delta, Join};
use crate::stability::{Cut, Stability, Stable};

/// Seeded numbers: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The same numbers for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is above zero.
    pub const fn below(&mut self, bound: usize) -> usize {
        (self.any() % bound as u64) as usize
    }

    /// One of these, of which there is at least one.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// One of a few short byte strings, for keys that collide.
    pub fn word(&mut self) -> Bytes {
        Bytes::from(vec![b'a' + self.below(3) as u8])
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).rev().for_each(|last| items.swap(last, self.below(last + 1)));
    }
}

/// What a write is given.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The write's dot.
    pub dot: Dot,
    /// The time there. Clocks differ, and some writes have equal times.
    pub time: Timestamp,
}

/// A type that is held to the laws.
pub trait Subject: Join + Coded + Debug {
    /// A write by chance, or `None` if it was refused. `seen` is what some reader has seen at some time.
    fn act(&self, chance: &mut Chance, event: Event, seen: &DotContext) -> Option<Delta<Self>>;

    /// What users see, so that states that differ only in what nobody sees are equal.
    fn view(&self) -> String {
        format!("{self:?}")
    }
}

/// A law that does not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("seed {seed}: {law}\n  one:   {one}\n  other: {other}")]
pub struct Broken {
    /// The history's seed.
    pub seed: u64,
    /// The law.
    pub law: &'static str,
    /// What one side comes to.
    pub one: String,
    /// What the other side comes to.
    pub other: String,
}

const REPLICAS: usize = 3;
const MAX_STEPS: usize = 28;

/// A history that is being made.
struct History<T> {
    seed: u64,
    chance: Chance,
    actors: [Actor; REPLICAS],
    replicas: [Causal<T>; REPLICAS],
    /// All deltas that were ever made.
    deltas: Vec<Delta<T>>,
    /// States on the way, one after each write and those of lost replicas among them.
    states: Vec<Causal<T>>,
    /// The last dots of actors that are no more.
    retired: VersionVector,
}

impl<T: Subject> History<T> {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            chance: Chance::new(seed),
            actors: std::array::from_fn(|node| Actor::new(node as u64 + 1, 1)),
            replicas: std::array::from_fn(|_| Causal::default()),
            deltas: Vec::new(),
            states: Vec::new(),
            retired: VersionVector::EMPTY,
        }
    }

    fn expect<V: PartialEq + Debug>(&self, law: &'static str, one: &V, other: &V) -> Result<(), Broken> {
        if one == other {
            return Ok(());
        }
        Err(Broken { seed: self.seed, law, one: format!("{one:?}"), other: format!("{other:?}") })
    }

    /// One write, and the laws of its delta.
    fn write(&mut self, at: usize) -> Result<(), Broken> {
        let before = self.replicas[at].clone();
        let event = Event {
            dot: before.context.next_dot(self.actors[at]),
            time: Timestamp::new(self.chance.below(12) as u64, 0),
        };
        let seen = if self.states.is_empty() { &before } else { self.chance.pick(&self.states) }.context.clone();
        let Some(delta) = before.store.act(&mut self.chance, event, &seen) else { return Ok(()) };
        self.expect("a write's dot is among its delta's", &delta.writes.contains(event.dot), &true)?;
        let mut joined = before.clone();
        joined.join(Causal::from(delta.clone()));
        self.replicas[at].apply(delta.clone());
        self.expect("applying a delta is joining it", &self.replicas[at], &joined)?;
        joined.apply(delta.clone());
        self.expect("applying a delta again changes nothing", &joined, &self.replicas[at])?;
        self.expect(
            "bytes of a delta are read as it was",
            &Delta::decode(delta.encode()).ok().as_ref(),
            &Some(&delta),
        )?;
        self.deltas.push(delta);
        self.states.push(self.replicas[at].clone());
        Ok(())
    }

    /// One delta, or two in one.
    fn some_delta(&mut self) -> Option<Delta<T>> {
        let deltas = &self.deltas;
        if deltas.is_empty() {
            return None;
        }
        let mut delta = self.chance.pick(deltas).clone();
        if self.chance.below(3) == 0 {
            delta.merge(self.chance.pick(deltas).clone());
        }
        Some(delta)
    }

    fn join(&mut self, at: usize) {
        let other = self.replicas[self.chance.below(REPLICAS)].clone();
        self.replicas[at].join(other);
    }

    /// The replica's store is lost. It comes back under a new generation, with what another one has or with nothing.
    fn lose(&mut self, at: usize, comes_back: Causal<T>) {
        let actor = self.actors[at];
        let last = self.replicas[at].context.next_dot(actor).counter - 1;
        self.retired.raise(actor, last);
        self.actors[at] = Actor { generation: actor.generation + 1, ..actor };
        self.replicas[at] = comes_back;
    }

    fn step(&mut self) -> Result<(), Broken> {
        let at = self.chance.below(REPLICAS);
        match self.chance.below(16) {
            0..=7 => self.write(at)?,
            8..=11 => {
                if let Some(delta) = self.some_delta() {
                    self.replicas[at].apply(delta);
                }
            }
            12..=14 => self.join(at),
            _ => self.lose(at, Causal::default()),
        }
        self.taken(at)
    }

    /// All deltas, each at least once, in some order, some of them merged.
    fn all_deltas(&mut self) -> Vec<Delta<T>> {
        let mut order: Vec<usize> = (0..self.deltas.len()).collect();
        order.extend((0..self.deltas.len() / 3).map(|_| self.chance.below(self.deltas.len())));
        self.chance.shuffle(&mut order);
        let mut merged: Vec<Delta<T>> = Vec::new();
        for delta in order.into_iter().map(|place| self.deltas[place].clone()) {
            match merged.last_mut() {
                Some(group) if self.chance.below(3) == 0 => group.merge(delta),
                Some(_) | None => merged.push(delta),
            }
        }
        merged
    }

    fn algebra(&mut self) -> Result<(), Broken> {
        for _ in 0..6 {
            let [a, b, c] = std::array::from_fn(|_| self.chance.pick(&self.states).clone());
            let join = |left: &Causal<T>, right: &Causal<T>| {
                let mut joined = left.clone();
                joined.join(right.clone());
                joined
            };
            self.expect("a join is commutative", &join(&a, &b), &join(&b, &a))?;
            self.expect("a join is associative", &join(&join(&a, &b), &c), &join(&a, &join(&b, &c)))?;
            self.expect("a join is idempotent", &join(&a, &a), &a)?;
            self.expect("nothing is neutral", &join(&a, &Causal::default()), &a)?;
            self.expect("nothing is neutral on the other side", &join(&Causal::default(), &a), &a)?;
        }
        Ok(())
    }

    fn convergence(&mut self) -> Result<(), Broken> {
        let mut reference = Causal::<T>::default();
        self.states.iter().for_each(|state| reference.join(state.clone()));
        for _ in 0..3 {
            let mut fresh = Causal::<T>::default();
            self.all_deltas().into_iter().for_each(|delta| fresh.apply(delta));
            self.expect("all deltas lead to the join of all states", &fresh, &reference)?;
            self.expect("equal states have equal bytes", &fresh.encode(), &reference.encode())?;
        }
        for at in 0..REPLICAS {
            let deltas = self.all_deltas();
            deltas.into_iter().for_each(|delta| self.replicas[at].apply(delta));
            self.expect("replicas with all deltas are equal", &self.replicas[at], &reference)?;
        }
        let mut outside = Vec::new();
        reference.store.dots(&mut |dot| outside.extend((!reference.context.contains(dot)).then_some(dot)));
        self.expect("every dot that is held is in the context", &outside, &Vec::new())?;
        let read = Causal::<T>::decode(reference.encode()).ok();
        self.expect("bytes of a state are read as it was", &read.as_ref(), &Some(&reference))?;
        self.hostility(&reference)
    }

    /// Bytes by chance, of a version that is known.
    fn noise(&mut self) -> Vec<u8> {
        let len = self.chance.below(40);
        // Small numbers, so that some of it means something.
        let byte = |chance: &mut Chance| if chance.below(3) == 0 { chance.any() as u8 } else { chance.below(3) as u8 };
        (0..=len).map(|place| if place == 0 { T::VERSION } else { byte(&mut self.chance) }).collect()
    }

    /// Bytes that were changed are refused, or are those of another value.
    fn hostility(&mut self, state: &Causal<T>) -> Result<(), Broken> {
        for _ in 0..8 {
            let mut bytes = state.encode().to_vec();
            for _ in 0..=self.chance.below(2) {
                let place = self.chance.below(bytes.len());
                bytes[place] = self.chance.any() as u8;
            }
            bytes.truncate(bytes.len() - self.chance.below(bytes.len().min(3)));
            if self.chance.below(3) == 0 {
                bytes = self.noise();
            }
            if let Ok(other) = Causal::<T>::decode(bytes.into()) {
                let again = Causal::decode(other.encode()).ok();
                self.expect("whatever is read can be written", &again.as_ref(), &Some(&other))?;
                // A hostile state may be joined like any other: it must not panic.
                let mut joined = state.clone();
                joined.join(other);
            }
        }
        Ok(())
    }

    /// Who has taken a delta's writes has what they did.
    fn taken(&mut self, at: usize) -> Result<(), Broken> {
        let Some(delta) = self.some_delta() else { return Ok(()) };
        if !self.replicas[at].has(&delta) {
            return Ok(());
        }
        let mut again = self.replicas[at].clone();
        again.apply(delta);
        self.expect("a delta whose writes were taken changes nothing", &again, &self.replicas[at])
    }
}

/// Makes a history from a seed and holds it to the laws.
///
/// # Errors
/// The law that does not hold.
pub fn check<T: Subject>(seed: u64) -> Result<(), Broken> {
    let mut history = History::<T>::new(seed);
    for _ in 0..=history.chance.below(MAX_STEPS) {
        history.step()?;
    }
    if !history.states.is_empty() {
        history.algebra()?;
    }
    history.convergence()
}

/// Makes a history in which replicas settle what they may, beside the same history in which none does, and asks that users
/// see the same in the end. Clocks follow what they see, as hybrid clocks do.
///
/// # Errors
/// The law that does not hold.
pub fn check_stability<T: Subject + Stability>(seed: u64) -> Result<(), Broken> {
    let mut settling = Settling::<T>::new(seed);
    for _ in 0..=settling.history.chance.below(2 * MAX_STEPS) {
        settling.step();
    }
    settling.finish()
}

/// A history in which replicas settle.
struct Settling<T> {
    history: History<T>,
    /// What a replica with all writes would be that never settled.
    unsettled: Causal<T>,
    /// The greatest time that each replica has seen, and that of each delta.
    clocks: [u64; REPLICAS],
    times: Vec<u64>,
    cut: Cut,
}

impl<T: Subject + Stability> Settling<T> {
    fn new(seed: u64) -> Self {
        let (history, unsettled) = (History::new(seed), Causal::default());
        Self { history, unsettled, clocks: [0; REPLICAS], times: Vec::new(), cut: Cut::default() }
    }

    fn step(&mut self) {
        let at = self.history.chance.below(REPLICAS);
        let other = self.history.chance.below(REPLICAS);
        match self.history.chance.below(16) {
            0..=4 => self.write(at),
            5..=9 => self.deliver(at),
            10..=12 => {
                self.history.replicas[at].join(self.history.replicas[other].clone());
                self.clocks[at] = self.clocks[at].max(self.clocks[other]);
            }
            13 => self.replace(at, other),
            _ => self.settle(at),
        }
    }

    /// The replica is replaced by another one's copy. What it had written and is still on its way somewhere is delivered first.
    fn replace(&mut self, at: usize, other: usize) {
        let actor = self.history.actors[at];
        let mut copy = self.history.replicas[other].clone();
        let written = self.history.deltas.iter().filter(|delta| delta.writes.next_dot(actor).counter > 1);
        written.for_each(|delta| take(&mut copy, delta.clone()));
        self.history.lose(at, copy);
        self.clocks[at] = self.clocks[at].max(self.clocks[other]);
    }

    fn write(&mut self, at: usize) {
        self.clocks[at] += 1 + self.history.chance.below(4) as u64;
        let replica = &mut self.history.replicas[at];
        let dot = replica.context.next_dot(self.history.actors[at]);
        let event = Event { dot, time: Timestamp::new(self.clocks[at], 0) };
        let seen = replica.context.clone();
        let Some(delta) = replica.store.act(&mut self.history.chance, event, &seen) else { return };
        replica.apply(delta.clone());
        self.unsettled.apply(delta.clone());
        self.history.deltas.push(delta);
        self.times.push(self.clocks[at]);
    }

    fn deliver(&mut self, at: usize) {
        if self.times.is_empty() {
            return;
        }
        let place = self.history.chance.below(self.times.len());
        let mut delta = self.history.deltas[place].clone();
        let mut time = self.times[place];
        if self.history.chance.below(3) == 0 {
            let second = self.history.chance.below(self.times.len());
            delta.merge(self.history.deltas[second].clone());
            time = time.max(self.times[second]);
        }
        take(&mut self.history.replicas[at], delta);
        self.clocks[at] = self.clocks[at].max(time);
    }

    fn settle(&mut self, at: usize) {
        let vector = self.cut.look(self.history.replicas.iter().map(|replica| &replica.taken)).clone();
        let retired = self.history.retired.clone();
        self.history.replicas[at].store.settle(&Stable { vector, retired });
    }

    fn finish(mut self) -> Result<(), Broken> {
        for at in 0..REPLICAS {
            let deltas = self.history.deltas.clone();
            deltas.into_iter().for_each(|delta| take(&mut self.history.replicas[at], delta));
            self.settle(at);
            let view = self.history.replicas[at].store.view();
            self.history.expect("whoever settles sees what others see", &view, &self.unsettled.store.view())?;
        }
        Ok(())
    }
}

/// Takes a delta that adds something, as whoever settles must.
fn take<T: Join>(replica: &mut Causal<T>, delta: Delta<T>) {
    if !replica.has(&delta) {
        replica.apply(delta);
    }
}

#[cfg(test)]
mod tests;
