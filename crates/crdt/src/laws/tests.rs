//! Every type as a subject of the laws.

use super::*;
use crate::counter::{Counter, FloatCounter, PnCounter};
use crate::flag::Flag;
use crate::g_counter::GCounter;
use crate::hll::{Hll, HllKey};
use crate::join::{Reset, Seen};
use crate::lww::LwwRegister;
use crate::mv_register::{MvRegister, Sibling};
use crate::number::{Quantity, Real};
use crate::or_set::OrSet;
use crate::sets::{GSet, TwoPhaseSet};
use crate::store::{DotMap, DotSet};
use crate::zset::SortedSet;
use althing_types::WallTime;

impl Subject for GCounter {
    fn act(&self, chance: &mut Chance, event: Event, _: &DotContext) -> Option<Delta<Self>> {
        self.increment(event.dot.actor, chance.below(5) as u64).ok().map(|store| Delta::of(event.dot, store))
    }
}

/// All, or what some reader has seen.
fn some_seen<'a>(chance: &mut Chance, seen: &'a DotContext) -> Seen<'a> {
    if chance.below(2) == 0 { Seen::All } else { Seen::Context(seen) }
}

fn count<N: Quantity>(
    counter: &Counter<N>,
    chance: &mut Chance,
    event: Event,
    seen: &DotContext,
    by: N::Value,
) -> Option<Delta<Counter<N>>> {
    match chance.below(4) {
        0 => Some(Delta::reset(event.dot, counter, some_seen(chance, seen))),
        _ => counter.increment(event.dot, by).ok(),
    }
}

impl Subject for PnCounter {
    fn act(&self, chance: &mut Chance, event: Event, seen: &DotContext) -> Option<Delta<Self>> {
        let by = *chance.pick(&[1, -1, 7, -100, i64::MAX, i64::MIN, 0]);
        count(self, chance, event, seen, by)
    }

    fn view(&self) -> String {
        format!("{:?} {}", self.value(), self.is_live())
    }
}

impl Subject for FloatCounter {
    fn act(&self, chance: &mut Chance, event: Event, seen: &DotContext) -> Option<Delta<Self>> {
        let by = *chance.pick(&[0.1, -0.3, 1e17, -1e17, f64::MAX, f64::INFINITY]);
        count(self, chance, event, seen, by)
    }

    fn view(&self) -> String {
        format!("{:?} {}", self.value(), self.is_live())
    }
}

impl Subject for LwwRegister<Bytes> {
    fn act(&self, chance: &mut Chance, event: Event, _: &DotContext) -> Option<Delta<Self>> {
        let store = match chance.below(3) {
            0 => Self::delete(event.dot, event.time),
            _ => Self::write(event.dot, event.time, chance.word()),
        };
        Some(Delta::of(event.dot, store))
    }

    fn view(&self) -> String {
        format!("{:?}", self.get())
    }
}

impl Subject for MvRegister<Bytes> {
    fn act(&self, chance: &mut Chance, event: Event, seen: &DotContext) -> Option<Delta<Self>> {
        let seen = some_seen(chance, seen);
        if chance.below(4) == 0 {
            return Some(Delta::reset(event.dot, self, seen));
        }
        let expires = (chance.below(3) == 0).then(|| WallTime(chance.below(9) as u64));
        Some(self.write(event.dot, seen, Sibling { time: event.time, expires, value: chance.word() }))
    }
}

impl Subject for GSet<Bytes> {
    fn act(&self, chance: &mut Chance, event: Event, _: &DotContext) -> Option<Delta<Self>> {
        Some(Delta::of(event.dot, Self::add(chance.word())))
    }
}

impl Subject for TwoPhaseSet<Bytes> {
    fn act(&self, chance: &mut Chance, event: Event, _: &DotContext) -> Option<Delta<Self>> {
        let store = if chance.below(3) == 0 { Self::remove(chance.word()) } else { Self::add(chance.word()) };
        Some(Delta::of(event.dot, store))
    }
}

impl Subject for OrSet<Bytes> {
    fn act(&self, chance: &mut Chance, event: Event, seen: &DotContext) -> Option<Delta<Self>> {
        Some(match chance.below(8) {
            0..=4 => self.add(event.dot, chance.word()),
            5 => Delta::reset(event.dot, self, some_seen(chance, seen)),
            _ => self.remove(event.dot, chance.word(), some_seen(chance, seen)),
        })
    }
}

impl Subject for Flag {
    fn act(&self, chance: &mut Chance, event: Event, seen: &DotContext) -> Option<Delta<Self>> {
        Some(match chance.below(2) {
            0 => self.enable(event.dot),
            _ => self.disable(event.dot, some_seen(chance, seen)),
        })
    }
}

impl Subject for Hll {
    fn act(&self, chance: &mut Chance, event: Event, _: &DotContext) -> Option<Delta<Self>> {
        let mut store = Self::of(&chance.word());
        // Now and then so many that the form changes.
        let many = if chance.below(24) == 0 { 1_500 } else { 2 };
        (0..many).for_each(|_| _ = store.add(&chance.any().to_le_bytes()));
        Some(Delta::of(event.dot, store))
    }

    fn view(&self) -> String {
        self.estimate().to_string()
    }
}

impl Subject for HllKey {
    fn act(&self, chance: &mut Chance, event: Event, seen: &DotContext) -> Option<Delta<Self>> {
        Some(match chance.below(4) {
            0 => Delta::reset(event.dot, self, some_seen(chance, seen)),
            _ => self.grow(event.dot, |sketch: &mut Hll| _ = sketch.add(&chance.word())),
        })
    }
}

impl Subject for SortedSet<Bytes> {
    fn act(&self, chance: &mut Chance, event: Event, seen: &DotContext) -> Option<Delta<Self>> {
        let element = chance.word();
        let score = *chance.pick(&[1.0, 2.5, -7.0, f64::INFINITY]);
        match chance.below(8) {
            0..=2 => Some(self.write(event.dot, event.time, element, Real::new(score).ok()?)),
            3..=5 => self.increment(event.dot, element, score).ok(),
            6 => Some(self.remove(event.dot, element, some_seen(chance, seen))),
            _ => Some(Delta::reset(event.dot, self, some_seen(chance, seen))),
        }
    }

    fn view(&self) -> String {
        format!("{:?}", self.iter_from(0).collect::<Vec<_>>())
    }
}

/// A string of Redis: what was written, and a counter on top.
impl Subject for (MvRegister<Bytes>, PnCounter) {
    fn act(&self, chance: &mut Chance, event: Event, seen: &DotContext) -> Option<Delta<Self>> {
        match chance.below(6) {
            0 => Some(Delta::reset(event.dot, self, some_seen(chance, seen))),
            1..=3 => self.0.act(chance, event, seen).map(|delta| delta.map(|store| (store, PnCounter::default()))),
            _ => self.1.act(chance, event, seen).map(|delta| delta.map(|store| (MvRegister::default(), store))),
        }
    }

    fn view(&self) -> String {
        format!("{} {}", self.0.view(), self.1.view())
    }
}

impl<V: Subject + Reset> Subject for DotMap<Bytes, V>
where
    V: NotADotSet,
{
    fn act(&self, chance: &mut Chance, event: Event, seen: &DotContext) -> Option<Delta<Self>> {
        let key = chance.word();
        match chance.below(8) {
            0 => Some(Delta::reset(event.dot, self, some_seen(chance, seen))),
            1 | 2 => Some(self.remove(event.dot, key, some_seen(chance, seen))),
            _ => self.try_update(key, |store| store.act(chance, event, seen).ok_or(())).ok(),
        }
    }

    fn view(&self) -> String {
        self.iter().map(|(key, store)| format!("{key:?}: {}\n", store.view())).collect()
    }
}

/// Sets of dots are subjects as OR-sets.
trait NotADotSet {}
impl NotADotSet for Flag {}
impl NotADotSet for (MvRegister<Bytes>, PnCounter) {}
impl NotADotSet for OrSet<Bytes> {}
impl<V> NotADotSet for DotMap<Bytes, V> where V: NotADotSet {}

fn holds<T: Subject>() {
    (0..400).for_each(|seed| check::<T>(seed).unwrap_or_else(|broken| panic!("{broken}")));
}

fn may_be_settled<T: Subject + Stability>() {
    (0..400).for_each(|seed| check_stability::<T>(seed).unwrap_or_else(|broken| panic!("{broken}")));
}

macro_rules! laws {
    ($($name:ident: $type:ty,)*) => {$(
        #[test]
        fn $name() {
            holds::<$type>();
        }
    )*};
}

laws! {
    the_laws_hold_for_growing_counters: GCounter,
    the_laws_hold_for_counters: PnCounter,
    the_laws_hold_for_counters_of_fractions: FloatCounter,
    the_laws_hold_for_last_writer_wins_registers: LwwRegister<Bytes>,
    the_laws_hold_for_multi_value_registers: MvRegister<Bytes>,
    the_laws_hold_for_growing_sets: GSet<Bytes>,
    the_laws_hold_for_two_phase_sets: TwoPhaseSet<Bytes>,
    the_laws_hold_for_sets: OrSet<Bytes>,
    the_laws_hold_for_flags: Flag,
    the_laws_hold_for_sketches: Hll,
    the_laws_hold_for_sketches_that_can_be_removed: HllKey,
    the_laws_hold_for_sorted_sets: SortedSet<Bytes>,
    the_laws_hold_for_strings_with_counters: (MvRegister<Bytes>, PnCounter),
    the_laws_hold_for_maps_of_flags: DotMap<Bytes, Flag>,
    the_laws_hold_for_hashes: DotMap<Bytes, (MvRegister<Bytes>, PnCounter)>,
    the_laws_hold_for_maps_of_maps: DotMap<Bytes, DotMap<Bytes, (MvRegister<Bytes>, PnCounter)>>,
}

#[test]
fn nobody_sees_that_something_was_forgotten() {
    may_be_settled::<PnCounter>();
    may_be_settled::<FloatCounter>();
    may_be_settled::<LwwRegister<Bytes>>();
    may_be_settled::<SortedSet<Bytes>>();
    may_be_settled::<OrSet<Bytes>>();
    may_be_settled::<MvRegister<Bytes>>();
    may_be_settled::<Flag>();
}

/// Replicas whose deltas are lost half of the time repair key by key, beside the one context that each has for all its keys.
fn is_repaired<V>(seed: u64)
where
    V: Subject + Reset + NotADotSet,
{
    let mut history = History::<DotMap<Bytes, V>>::new(seed);
    for _ in 0..40 {
        let (at, other) = (history.chance.below(REPLICAS), history.chance.below(REPLICAS));
        match history.chance.below(4) {
            0 | 1 => {
                history.write(at).unwrap();
                if let Some(delta) = history.deltas.last().cloned() {
                    history.replicas[other].apply(delta);
                }
            }
            2 => {
                let key = history.chance.word();
                repair(&mut history.replicas, &key, at, other);
            }
            _ => history.join(at),
        }
    }
    // Each with each, until nothing changes any more: what one has removed only he can tell.
    loop {
        let before = history.replicas.clone();
        for key in [b"a", b"b", b"c"].map(|key| Bytes::from_static(key)) {
            for (at, other) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
                repair(&mut history.replicas, &key, at, other);
            }
        }
        if before == history.replicas {
            break;
        }
    }
    let mut reference = Causal::<DotMap<Bytes, V>>::default();
    history.deltas.iter().for_each(|delta| reference.apply(delta.clone()));
    // After such a round what others know and have taken is known and taken here too.
    let others = history.replicas.clone();
    for replica in &mut history.replicas {
        assert_eq!(replica.store, reference.store, "seed {seed}");
        for other in &others {
            replica.context.join(&other.context);
            replica.taken.join(&other.taken);
        }
        for delta in &history.deltas {
            assert!(replica.has(delta));
            replica.apply(delta.clone());
        }
        assert_eq!(*replica, reference, "seed {seed}");
    }
}

fn repair<V: Join>(replicas: &mut [Causal<DotMap<Bytes, V>>; REPLICAS], key: &Bytes, at: usize, other: usize) {
    let store = replicas[other].store.get(key).cloned().unwrap_or_default();
    let context = replicas[other].context.clone();
    replicas[at].join_key(key, store, &context);
}

#[test]
fn keys_may_be_repaired_one_by_one_beside_a_context_of_all() {
    (0..300).for_each(is_repaired::<Flag>);
    (0..300).for_each(is_repaired::<(MvRegister<Bytes>, PnCounter)>);
    (0..300).for_each(is_repaired::<OrSet<Bytes>>);
}

/// A flag that gets it wrong: it takes dots that it has seen removed.
#[derive(Clone, PartialEq, Debug, Default)]
struct Resurrecting(DotSet);

impl Join for Resurrecting {
    fn join(&mut self, _: &DotContext, other: Self, theirs: &DotContext) {
        self.0.join(&DotContext::EMPTY, other.0, theirs);
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.0.dots(visit);
    }

    fn is_bottom(&self) -> bool {
        self.0.is_bottom()
    }
}

impl Coded for Resurrecting {
    const NAME: &'static str = "a mistake";

    fn write(&self, writer: &mut althing_codec::Writer) {
        self.0.write(writer);
    }

    fn read(reader: &mut althing_codec::Reader) -> Result<Self, althing_codec::DecodeError> {
        DotSet::read(reader).map(Self)
    }
}

impl Subject for Resurrecting {
    fn act(&self, chance: &mut Chance, event: Event, _: &DotContext) -> Option<Delta<Self>> {
        let mut delta = Delta::reset(event.dot, &self.0, Seen::All);
        if chance.below(2) == 0 {
            delta.store = DotSet::from(event.dot);
        }
        Some(delta.map(Self))
    }
}

/// A register that gets it wrong: of equal times the one that came last wins.
#[derive(Clone, PartialEq, Debug, Default)]
struct LastToCome(u64, Bytes);

impl Join for LastToCome {
    fn join(&mut self, _: &DotContext, other: Self, _: &DotContext) {
        if other.0 >= self.0 {
            *self = other;
        }
    }

    fn dots(&self, _: &mut dyn FnMut(Dot)) {}

    fn is_bottom(&self) -> bool {
        *self == Self::default()
    }
}

impl Coded for LastToCome {
    const NAME: &'static str = "another mistake";

    fn write(&self, writer: &mut althing_codec::Writer) {
        writer.u64(self.0);
        self.1.write(writer);
    }

    fn read(reader: &mut althing_codec::Reader) -> Result<Self, althing_codec::DecodeError> {
        Ok(Self(reader.u64("time")?, Bytes::read(reader)?))
    }
}

impl Subject for LastToCome {
    fn act(&self, chance: &mut Chance, event: Event, _: &DotContext) -> Option<Delta<Self>> {
        Some(Delta::of(event.dot, Self(event.time.bits() + 1, chance.word())))
    }
}

fn broken<T: Subject>() -> usize {
    (0..100).filter(|seed| check::<T>(*seed).is_err()).count()
}

#[test]
fn wrong_joins_are_found() {
    let (resurrecting, last_to_come) = (broken::<Resurrecting>(), broken::<LastToCome>());
    assert!(resurrecting > 10 && last_to_come > 10, "{resurrecting} and {last_to_come} of 100 histories");
}
