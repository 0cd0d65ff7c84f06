//! Two replicas that compare their trees: what differs is found, sent and joined, on both sides, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;

use althing_clock::Actor;
use althing_convergent::Compare;
use althing_convergent::survey::{Compared, Finished, MAX_WANTS, Want};
use althing_storage::engine::Engine;
use bytes::Bytes;
use proptest::prelude::*;
use support::{Replica, open, parse};

/// What a comparison has cost and done.
#[derive(Default, Debug)]
struct Cost {
    bytes: usize,
    keys: u64,
    joined: u64,
    found: u64,
    mended: u64,
    sent: usize,
}

/// One repair of the first replica from the second, and back. `between` is called before the end.
fn survey(one: &mut Replica, other: &mut Replica, number: u64, between: impl FnOnce(&mut Replica)) -> Cost {
    one.plant(3);
    other.plant(1_000);
    let mut cost = Cost::default();
    let attested = other.attest();
    cost.bytes += attested.len();
    let mut compared = one.compare(Compare::Begin { session: number, attested });
    let mut wanted: Vec<Want> = Vec::new();
    loop {
        match compared {
            Compared::Question { question, wants, found, .. } => {
                wanted.extend(wants);
                cost.found += found;
                let answer = other.respond(question.clone()).unwrap();
                cost.bytes += question.len() + answer.len();
                compared = one.compare(Compare::Go { answer });
            }
            Compared::Over { wants, found, progress } => {
                wanted.extend(wants);
                cost.found += found;
                assert_eq!(progress.compared, progress.total);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    mend(one, other, wanted, &mut cost);
    between(one);
    loop {
        match one.finish() {
            Finished::Known(_) => return cost,
            Finished::Again(wants) => mend(one, other, wants, &mut cost),
            Finished::Broken => panic!("{cost:?}"),
        }
    }
}

fn mend(one: &mut Replica, other: &mut Replica, mut wanted: Vec<Want>, cost: &mut Cost) {
    while !wanted.is_empty() {
        let (states, answered) = other.states(&wanted[..wanted.len().min(MAX_WANTS)]);
        cost.bytes += states.len();
        wanted.drain(..answered);
        let mended = one.mend(states);
        mended.result.unwrap();
        cost.keys += mended.keys;
        cost.joined += mended.joined;
        cost.mended += mended.mended;
        cost.sent += mended.lacking.len();
        mended.lacking.into_iter().for_each(|delta| other.join(delta).unwrap());
    }
}

fn assert_equal(one: &mut Replica, other: &mut Replica) {
    let cost = survey(one, other, 1_000, |_| {});
    assert_eq!((cost.keys, cost.joined, cost.sent), (0, 0, 0), "they differ still: {cost:?}");
    let keys = |replica: &mut Replica| -> Vec<_> {
        replica.records().into_iter().filter(|(key, _)| [1, 4].contains(&key[0])).collect()
    };
    assert_eq!(keys(one), keys(other));
}

/// Words that change a key, of all types.
const WORDS: [&str; 10] = [
    "set {} x",
    "set {} y",
    "incr {} 2",
    "del {}",
    "sadd {} a",
    "srem {} a",
    "hset {} f v",
    "zadd {} 1 m",
    "pfadd {} e",
    "pexpireat {} 9000",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn two_replicas_of_which_each_lacks_some_of_the_other_are_equal_after_one_survey(
        steps in proptest::collection::vec((any::<bool>(), 0..WORDS.len(), 0_u8..40, 0_u8..3), 1..120),
        crash: bool,
    ) {
        let (mut one, mut other) = (Replica::new(1), Replica::new(2));
        for (left, word, key, comes) in steps {
            let words = WORDS[word].replace("{}", &format!("k{key}"));
            let (key, op) = parse(&words);
            let (at, to) = if left { (&mut one, &mut other) } else { (&mut other, &mut one) };
            let (_, delta) = at.execute(key, op, 1, None);
            if comes > 0 {
                delta.into_iter().for_each(|delta| to.join(delta).unwrap());
            }
        }
        if crash {
            one.shard.write().unwrap();
            one.engine.begin_checkpoint().unwrap().finish().unwrap();
            one.engine = Arc::new(one.engine.crash(1));
            one.shard = open(&one.engine, one.actor);
        }
        survey(&mut one, &mut other, 1, |_| {});
        assert_equal(&mut one, &mut other);
        // The other way round nothing is left to be sent, and all is known to both.
        let back = survey(&mut other, &mut one, 2, |_| {});
        prop_assert_eq!((back.keys, back.joined, back.sent), (0, 0, 0));
        prop_assert_eq!((one.shard.gaps(), other.shard.gaps()), (0, 0));
    }
}

/// A delta was on its way for long, and comes when its key was compared already: its removal was there before.
#[test]
fn what_was_removed_does_not_come_back_by_a_late_delta_in_the_middle_of_a_survey() {
    let (mut one, mut other) = (Replica::new(1), Replica::new(2));
    let late = other.write("sadd cart milk", 1);
    let removal = other.write("srem cart milk", 1);
    survey(&mut one, &mut other, 1, |one| one.join(late).unwrap());
    assert_eq!(one.ask("smembers cart", 1), "", "it was removed, and that is known");
    one.join(removal).unwrap();
    assert_equal(&mut one, &mut other);
}

#[test]
fn a_hundred_of_many_keys_cost_a_small_part_of_what_all_would() {
    let (mut one, mut other) = (Replica::new(1), Replica::new(2));
    let mut all = 0;
    for number in 0..20_000 {
        let delta = one.write(&format!("set user/{number:012} {}", "v".repeat(80)), 1);
        all += delta.len();
        other.join(delta).unwrap();
    }
    for number in 0..20 {
        one.write(&format!("set user/{:012} new", number * 900), 1);
    }
    let cost = survey(&mut other, &mut one, 1, |_| {});
    assert_eq!((cost.keys, cost.joined, cost.sent), (20, 20, 0));
    assert_eq!((cost.found, cost.mended), (20, 20));
    assert!(cost.bytes * 40 < all, "{cost:?} of {all}");
    assert_equal(&mut one, &mut other);
}

#[test]
fn what_does_not_belong_to_a_comparison_changes_nothing() {
    let (mut one, mut other) = (Replica::new(1), Replica::new(2));
    one.write("set k v", 1);
    assert_eq!(one.respond(Bytes::from_static(b"no question")), None);
    assert_eq!(one.compare(Compare::Go { answer: Bytes::new() }), Compared::Broken);
    assert_eq!(one.finish(), Finished::Broken);
    let attested = other.attest();
    assert_eq!(one.compare(Compare::Begin { session: 1, attested: attested.clone() }), Compared::Unready);
    one.plant(10);
    other.plant(10);
    assert_eq!(one.compare(Compare::Begin { session: 1, attested: Bytes::from_static(b"?") }), Compared::Broken);
    let Compared::Question { question, .. } = one.compare(Compare::Begin { session: 1, attested }) else { panic!() };
    let answer = other.respond(question).unwrap();
    assert!(matches!(one.compare(Compare::Go { answer: answer.clone() }), Compared::Question { .. }));
    assert_eq!(one.compare(Compare::Go { answer }), Compared::Stale);
    assert!(one.mend(Bytes::from_static(b"no states")).result.is_err());
}

/// What is known takes a run for each actor. Replicas that come and go leave one each: this is what a hundred of them cost.
#[test]
fn the_context_of_a_shard_grows_by_an_actor_and_not_by_a_write() {
    let mut replica = Replica::new(1);
    (0..1_000).for_each(|number| drop(replica.write(&format!("set k{number} v"), 1)));
    let alone = replica.shard.context_bytes();
    for place in 1..=100 {
        let mut visitor = Replica::new(2);
        // As a node names them: by the run of it in which the replica was placed, and the replicas before.
        visitor.actor = Actor::new(u64::MAX, 7 << 40 | place);
        visitor.shard = open(&visitor.engine, visitor.actor);
        for number in 0..20 {
            replica.join(visitor.write(&format!("set v{number} {place}"), 1)).unwrap();
        }
    }
    let crowded = replica.shard.context_bytes();
    assert!(alone < 40, "{alone} bytes for one actor");
    assert_eq!((crowded - alone) / 100, 8, "bytes for each of a hundred actors of one node");
}
