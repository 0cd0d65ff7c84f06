//! How fast one core takes deltas and joins states, and what the metadata of an element weighs.
//!
//! Bytes are those of the encoded state, less the elements' own (keys of 16 bytes, values of 16), for each element.
//!
//! `cargo bench -p althing-crdt --bench merge`

#![allow(missing_docs, clippy::disallowed_methods, reason = "a benchmark is all about real time")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use althing_clock::{Actor, Coded, Dot, Timestamp};
use althing_crdt::{
    Causal, Delta, DotMap, DotSet, Flag, FloatCounter, GCounter, GSet, Hll, Join, LwwRegister, MvRegister, OrSet,
    PnCounter, Real, Seen, Sibling, SortedSet, TwoPhaseSet,
};
use bytes::Bytes;

const ELEMENT_BYTES: usize = 16;
/// Node ids are random numbers of 64 bits.
const NODES: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];
const ROUNDS: usize = 5;

type Text = (MvRegister<Bytes>, PnCounter);

fn element(number: usize) -> Bytes {
    Bytes::from(format!("{number:0ELEMENT_BYTES$}"))
}

fn sibling(number: usize) -> Sibling<Bytes> {
    Sibling { time: Timestamp::new(1_700_000_000_000 + number as u64, 0), expires: None, value: element(number) }
}

/// A replica after so many writes by three actors in turn, and their deltas.
fn replica<T: Join>(writes: usize, write: impl Fn(&T, Dot, usize) -> Delta<T>) -> (Causal<T>, Vec<Delta<T>>) {
    let mut replica = Causal::<T>::default();
    let deltas = (0..writes)
        .map(|number| {
            let dot = replica.context.next_dot(Actor::new(NODES[number % 3], 1));
            let delta = write(&replica.store, dot, number);
            replica.apply(delta.clone());
            delta
        })
        .collect();
    (replica, deltas)
}

/// The best of some rounds, each of which gets fresh input that is made outside the time.
fn best<I>(mut prepare: impl FnMut() -> I, mut run: impl FnMut(I)) -> Duration {
    let mut round = || {
        let input = prepare();
        let start = Instant::now();
        run(input);
        start.elapsed()
    };
    (0..ROUNDS).map(|_| round()).min().expect("there are rounds")
}

/// Prints a type's figures: deltas a second, states a second, and bytes for each of `elements`.
fn measure<T: Join + Coded>(
    what: &str,
    (writes, elements, own_bytes): (usize, usize, usize),
    write: impl Fn(&T, Dot, usize) -> Delta<T>,
) {
    let (left, deltas) = replica(writes, &write);
    let right = left.clone();
    let apply = best(
        || deltas.clone(),
        |deltas| {
            let mut fresh = Causal::<T>::default();
            deltas.into_iter().for_each(|delta| fresh.apply(delta));
            black_box(&fresh);
        },
    );
    // Many joins at a time: one of a register takes less than reading the clock.
    let joins = (100_000 / elements).clamp(1, 10_000);
    let join = best(
        || (0..joins).map(|_| (left.clone(), right.clone())).collect::<Vec<_>>(),
        |mut pairs| {
            pairs.iter_mut().for_each(|(mine, theirs)| mine.join(std::mem::take(theirs)));
            black_box(&pairs);
        },
    );
    let bytes = left.store.encode().len().saturating_sub(elements * own_bytes) as f64 / elements as f64;
    println!(
        "  {what:<34} {:>9.0} deltas/s   {:>10.0} elements joined/s   {bytes:>6.1} bytes an element",
        deltas.len() as f64 / apply.as_secs_f64(),
        (joins * elements) as f64 / join.as_secs_f64(),
    );
}

fn single() {
    measure::<GCounter>("G-counter, 3 actors", (30_000, 1, 0), |counter, dot, _| {
        Delta::of(dot, counter.increment(dot.actor, 1).expect("it is far from its end"))
    });
    measure::<PnCounter>("PN-counter, 3 actors", (30_000, 1, 0), |counter, dot, number| {
        counter.increment(dot, number as i64 % 7 - 3).expect("it fits")
    });
    measure::<FloatCounter>("float counter, 3 actors", (30_000, 1, 0), |counter, dot, number| {
        counter.increment(dot, number as f64 / 7.0).expect("it fits")
    });
    measure::<LwwRegister<Bytes>>("LWW register", (30_000, 1, 16), |_, dot, number| {
        Delta::of(dot, LwwRegister::write(dot, sibling(number).time, element(number)))
    });
    measure::<MvRegister<Bytes>>("multi-value register, 1 sibling", (30_000, 1, 16), |register, dot, number| {
        register.write(dot, Seen::All, sibling(number))
    });
    measure::<Text>("register and counter", (30_000, 1, 16), |(register, _), dot, number| {
        register.write(dot, Seen::All, sibling(number)).map(|register| (register, PnCounter::default()))
    });
    measure::<Flag>("flag", (30_000, 1, 0), |flag, dot, _| flag.enable(dot));
}

fn many(elements: usize) {
    println!("{elements} elements");
    let of = |own| (elements, elements, own);
    measure::<GSet<Bytes>>("G-set", of(16), |_, dot, number| Delta::of(dot, GSet::add(element(number))));
    measure::<TwoPhaseSet<Bytes>>("2P-set", of(16), |_, dot, number| Delta::of(dot, TwoPhaseSet::add(element(number))));
    measure::<OrSet<Bytes>>("OR-set", of(16), |set, dot, number| set.add(dot, element(number)));
    measure::<DotMap<Bytes, MvRegister<Bytes>>>("OR-map of registers", of(32), |map, dot, number| {
        map.update(element(number), |register| register.write(dot, Seen::All, sibling(number)))
    });
    measure::<DotMap<Bytes, Text>>("OR-map of registers and counters", of(32), |map, dot, number| {
        map.update(element(number), |(register, _)| {
            register.write(dot, Seen::All, sibling(number)).map(|register| (register, PnCounter::default()))
        })
    });
    measure::<SortedSet<Bytes>>("sorted set", of(24), |set, dot, number| {
        let score = Real::new((number * 7_919 % 10_007) as f64).expect("it is a number");
        set.write(dot, sibling(number).time, element(number), score)
    });
}

fn sketches() {
    let sketch = |from: usize, to: usize| {
        let mut sketch = Hll::default();
        (from..to).for_each(|number| _ = sketch.add(&element(number)));
        sketch
    };
    for (what, left, right) in [
        ("sparse, 500 and 500", sketch(0, 500), sketch(250, 750)),
        ("dense and sparse", sketch(0, 100_000), sketch(0, 500)),
        ("dense and dense", sketch(0, 100_000), sketch(50_000, 150_000)),
    ] {
        const JOINS: usize = 500;
        let join = best(
            || vec![(Causal { store: left.clone(), ..Causal::default() }, right.clone()); JOINS],
            |pairs| {
                for (mut mine, theirs) in pairs {
                    mine.join(Causal { store: theirs, ..Causal::default() });
                    black_box(&mine);
                }
            },
        );
        let rate = JOINS as f64 / join.as_secs_f64();
        println!("  HyperLogLog, {what:<21} {rate:>9.0} joins/s   {:>6} bytes", left.encode().len());
    }
    let start = Instant::now();
    let added = sketch(0, 1_000_000);
    println!("  HyperLogLog: {:.0} elements added a second", 1e6 / start.elapsed().as_secs_f64());
    let error = (added.estimate() as f64 / 1e6 - 1.0) * 100.0;
    println!("  HyperLogLog: a million elements are estimated with an error of {error:.2} percent");
}

fn main() {
    println!(
        "in memory: a dot {} bytes, a set of dots {}, a register {}, a register and a counter {}",
        size_of::<Dot>(),
        size_of::<DotSet>(),
        size_of::<MvRegister<Bytes>>(),
        size_of::<Text>()
    );
    println!("one value");
    single();
    many(1_000);
    many(100_000);
    sketches();
}
