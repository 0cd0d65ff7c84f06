//! What is refused, and what is counted.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use althing_clock::{Actor, Coded, Dot, DotContext};
use althing_convergent::delta::{Attestation, KeyDelta, Message};
use althing_convergent::known::MAX_GAPS;
use althing_convergent::{
    ConvergentError, EvaluateError, Job, JoinError, Keyed, Known, MAX_SIBLINGS, MAX_STATE_BYTES, Outcome, Refusal,
    ScanRequest, Shard, ShardConfig, Size, evaluate,
};
use althing_crdt::Delta;
use althing_datatypes::Kind;
use althing_storage::engine::Engine as _;
use althing_types::limits::MAX_KEY_BYTES;
use bytes::Bytes;
use proptest::prelude::*;
use support::{Replica, parse, read, show};

/// A delta that does nothing but be known.
fn empty(actor: Actor, counter: u64) -> Bytes {
    let delta = Delta::of(Dot::new(actor, counter), Keyed::default());
    KeyDelta { key: Bytes::from_static(b"k"), time: None, delta }.encode()
}

#[test]
fn a_writer_with_a_stale_context_is_told_to_reread_when_there_are_too_many_siblings() {
    let mut replica = Replica::new(1);
    let (key, op) = parse("set k v");
    for _ in 0..MAX_SIBLINGS {
        replica.execute(key, op.clone(), 1, Some(DotContext::EMPTY)).0.unwrap();
    }
    let refused = replica.execute(key, op.clone(), 1, Some(DotContext::EMPTY));
    assert_eq!(refused, (Err(Refusal::Reread { siblings: MAX_SIBLINGS }), None));
    // Who has read them replaces them all, and who comes without a context as well.
    let read = read(std::slice::from_mut(&mut replica), "get k", 1);
    assert_eq!(read.state.siblings().len(), MAX_SIBLINGS);
    replica.execute(key, op, 1, Some(read.context)).0.unwrap();
    let (reply, _) = replica.execute("h", parse("hset h f v").1, 1, Some(DotContext::EMPTY));
    assert_eq!(show(&reply), "1");
    assert_eq!(support::read(std::slice::from_mut(&mut replica), "get k", 1).state.siblings().len(), 1);
}

#[test]
fn a_context_replaces_what_it_has_seen_and_leaves_the_rest() {
    let mut replica = Replica::new(1);
    replica.write("set k one", 1);
    let seen = read(std::slice::from_mut(&mut replica), "get k", 1).context;
    replica.write("set k two", 1);
    replica.execute("k", parse("set k three").1, 1, Some(seen)).0.unwrap();
    let state = read(std::slice::from_mut(&mut replica), "get k", 1).state;
    assert_eq!(state.siblings().collect::<Vec<_>>(), ["two", "three"]);
}

#[test]
fn what_one_operation_has_written_it_has_seen() {
    let mut replica = Replica::new(1);
    replica.write("set k one pxat 50", 1);
    let seen = read(std::slice::from_mut(&mut replica), "get k", 1).context;
    replica.execute("k", parse("set k two").1, 1, Some(seen.clone())).0.unwrap();
    assert_eq!((replica.ask("get k", 60), replica.ask("expiretime k", 60)), ("two".to_owned(), "-1".to_owned()));
    // Its context is from before; so its write stands beside the one that is there, and binds only itself.
    replica.execute("k", parse("set k three pxat 70").1, 60, Some(seen)).0.unwrap();
    assert_eq!(replica.ask("expiretime k", 60), "-1");
    replica.write("set k four pxat 80", 60);
    assert_eq!(replica.ask("expiretime k", 60), "80");
}

#[test]
fn a_state_that_would_be_too_large_is_refused_and_may_still_shrink() {
    let mut replica = Replica::new(1);
    let value = "v".repeat(1_000_000);
    for field in 0..4 {
        replica.write(&format!("hset h f{field} {value}"), 1);
    }
    let (refused, delta) = replica.execute("h", parse(&format!("hset h g {value}")).1, 1, None);
    assert!(matches!(refused, Err(Refusal::TooLarge { limit: MAX_STATE_BYTES, .. })), "it is too large");
    assert_eq!(delta, None);
    replica.write("hdel h f0", 1);
    replica.write(&format!("hset h g {value}"), 1);
    replica.write("del h", 1);
    assert_eq!(replica.shard.size(), Size::default());
}

#[test]
fn a_name_that_is_too_long_is_refused() {
    let mut replica = Replica::new(1);
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    let (refused, _) = replica.execute(&long, parse("get k").1, 1, None);
    assert_eq!(refused, Err(Refusal::KeyTooLong { bytes: MAX_KEY_BYTES + 1, limit: MAX_KEY_BYTES }));
    replica.execute(&long[1..], parse("set k v").1, 1, None).0.unwrap();
}

#[test]
fn a_replica_that_came_back_without_its_data_is_told() {
    let (mut lost, mut other) = (Replica::new(1), Replica::new(2));
    other.join(lost.write("set k v", 1)).unwrap();
    let reply = other.write("incr n 1", 1);
    let mut back = Replica::new(1);
    back.join(reply).unwrap();
    let attestation = other.attest();
    assert_eq!(back.join(attestation), Err(JoinError::UnknownOwnEvent { counter: 1, known: 0 }));
    assert_eq!(back.join(empty(back.actor, 1)), Err(JoinError::UnknownOwnEvent { counter: 1, known: 0 }));
    assert_eq!(lost.join(other.attest()), Ok(()), "these it knows");
}

#[test]
fn deltas_that_would_make_too_many_gaps_wait_until_older_ones_have_come() {
    let mut replica = Replica::new(1);
    let b = Actor::new(2, 1);
    let mut known = Known::default();
    known.extend(&(1..=MAX_GAPS as u64).map(|place| Dot::new(b, 2 * place)).collect());
    let attestation = Attestation { known, taken: Known::default() };
    replica.join(attestation.encode()).unwrap();
    assert_eq!(replica.shard.gaps(), MAX_GAPS);
    let far = empty(b, 2 * MAX_GAPS as u64 + 9);
    assert_eq!(replica.join(far.clone()), Err(JoinError::TooManyGaps { gaps: MAX_GAPS + 1, limit: MAX_GAPS }));
    replica.join(empty(b, 3)).unwrap();
    replica.join(far).unwrap();
    assert_eq!(replica.shard.gaps(), MAX_GAPS);
}

#[test]
fn deltas_of_the_log_come_in_their_order() {
    let mut replica = Replica::new(1);
    let delta = replica.write("set k v", 1);
    assert_eq!(
        replica.shard.replay(3, delta),
        Err(ConvergentError::OutOfOrder { expected: 2, found: 3 }),
        "the second is next"
    );
    let damaged = replica.shard.replay(2, Bytes::from_static(b"damaged"));
    assert!(matches!(damaged, Err(ConvergentError::Entry { index: 2, .. })), "it does not parse");
}

#[test]
fn pages_show_keys_in_order_by_pattern_and_type_without_those_that_have_expired() {
    let mut replica = Replica::new(1);
    for words in ["set b:1 x", "sadd b:2 x", "set a:1 x", "hset c:1 f v", "set b:3 x pxat 50"] {
        replica.write(words, 1);
    }
    let request = |after: Option<&'static str>, pattern: Option<&'static str>, kind, now_ms| ScanRequest {
        after: after.map(Bytes::from),
        pattern: pattern.map(Bytes::from),
        kind,
        count: 2,
        now_ms,
    };
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = replica.page(ScanRequest { after, ..request(None, None, None, 49) });
        names.extend(page.keys.into_iter().map(|(name, _)| name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["a:1", "b:1", "b:2", "b:3", "c:1"]);
    let page = replica.page(request(Some("a:1"), Some("b*"), Some(Kind::String), 49));
    assert_eq!((page.keys, page.next), (vec![("b:1".into(), Kind::String)], Some("b:2".into())));
    let page = replica.page(request(Some("b:2"), None, None, 50));
    assert_eq!((page.keys, page.next), (vec![("c:1".into(), Kind::Hash)], None));
    assert_eq!(replica.shard.size().keys, 5);
}

#[test]
fn flushing_goes_page_by_page_and_leaves_what_it_has_not_seen() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    for key in 0..5 {
        b.join(a.write(&format!("incr k{key} 1"), 1)).unwrap();
    }
    let unseen = b.write("incr k2 5", 1);
    let (mut after, mut deltas) = (None, Vec::new());
    loop {
        let mut outcomes = a.work(Job::Flush { ticket: 1, after, budget: 2, now_ms: 1 });
        let Some(Outcome::Flushed { next, .. }) = outcomes.pop() else { panic!("a page ends with its end") };
        deltas.extend(support::removed(outcomes));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(deltas.len(), 5);
    assert_eq!(a.shard.size().keys, 0);
    deltas.into_iter().for_each(|delta| b.join(delta).unwrap());
    a.join(unseen).unwrap();
    assert_eq!((a.ask("get k2", 1), a.digest("k2")), ("5".to_owned(), b.digest("k2")));
    assert_eq!(b.shard.size().keys, 1);
}

#[test]
fn what_others_have_reset_of_this_replicas_counters_is_dropped_by_it() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    for words in ["incr n 1", "hincrby h f 1", "zincrby z 1 m"] {
        b.join(a.write(words, 1)).unwrap();
    }
    for words in ["del n", "hdel h f", "zrem z m"] {
        a.join(b.write(words, 1)).unwrap();
    }
    assert!(a.shard.size().bytes > 0 && a.shard.size().keys == 0, "bases are left");
    let dropped = a.tend(2);
    assert_eq!(dropped.len(), 3);
    dropped.into_iter().for_each(|delta| b.join(delta).unwrap());
    b.shard.write().unwrap();
    assert_eq!((a.shard.size(), b.shard.size()), (Size::default(), Size::default()));
    assert!(a.tend(3).is_empty());
    assert_eq!(a.records().len(), 1, "only the head is left");
}

#[test]
fn states_of_different_keys_are_not_joined() {
    let mut replica = Replica::new(1);
    let states = [replica.state("k"), replica.state("l")];
    let op = parse("get k").1;
    assert_eq!(evaluate(&op, &states, 1, 1), Err(EvaluateError::OtherKey { place: 1 }));
    assert_eq!(evaluate(&op, &[], 1, 1), Err(EvaluateError::Nothing));
    let damaged = [replica.state("k"), Bytes::from_static(b"damaged")];
    assert!(matches!(evaluate(&op, &damaged, 1, 1), Err(EvaluateError::State { place: 1, .. })), "it is none");
}

#[test]
fn a_state_from_a_clock_that_is_an_hour_ahead_is_replaced_all_the_same() {
    let (mut fast, mut slow) = (Replica::new(1), Replica::new(2));
    slow.join(fast.write("set k ahead", 3_600_000)).unwrap();
    fast.join(slow.write("set k now", 1)).unwrap();
    assert_eq!((slow.ask("get k", 1), fast.ask("get k", 1)), ("now".to_owned(), "now".to_owned()));
}

/// Bytes of all kinds, to be damaged.
fn samples() -> (Vec<Bytes>, Bytes) {
    let mut replica = Replica::new(1);
    let words = [
        "set k v pxat 50",
        "incr k2 5",
        "hset h f v",
        "hincrby h n 2",
        "sadd s a b c",
        "zadd z 1.5 m",
        "zincrby z 1 m",
        "pfadd p a b",
        "del s",
        "append k w",
        "incrbyfloat x 1.5",
    ];
    let mut deltas: Vec<Bytes> = words.iter().map(|words| replica.write(words, 1)).collect();
    deltas.push(replica.attest());
    (deltas, replica.state("h"))
}

proptest! {
    #[test]
    fn damaged_deltas_are_refused_or_are_other_deltas(which: usize, place: usize, byte: u8, cut: bool) {
        let (deltas, state) = samples();
        let damage = |bytes: &Bytes| {
            let mut bytes = bytes.to_vec();
            let place = place % bytes.len();
            if cut { bytes.truncate(place) } else { bytes[place] = byte };
            Bytes::from(bytes)
        };
        let delta = damage(&deltas[which % deltas.len()]);
        if let Ok(message) = Message::decode(delta.clone()) {
            prop_assert_eq!(Message::decode(message.encode()), Ok(message));
        }
        // Nothing that parses brings a replica down.
        let mut other = Replica::new(2);
        let _ = other.join(delta);
        for words in ["get k", "hgetall h", "smembers s", "zrange z", "pfcount p", "incr k2 1", "del h"] {
            let _ = other.ask(words, 2);
        }
        let _ = evaluate(&parse("hgetall h").1, &[state.clone(), damage(&state)], 1, 1);
    }

    #[test]
    fn hostile_bytes_are_refused(bytes: Vec<u8>) {
        let _ = Message::decode(bytes.clone().into());
        let _ = Keyed::decode(bytes.clone().into());
        let _ = evaluate(&parse("get k").1, &[bytes.into()], 1, 1);
    }
}

#[test]
fn what_is_written_again_and_again_comes_to_the_engine_once_and_is_counted_at_once() {
    let mut replica = Replica::new(1);
    let config = ShardConfig { unwritten_bytes: 1 << 20, ..support::CONFIG };
    replica.shard = Shard::open(replica.engine.clone(), support::SPACE, replica.actor, config).unwrap();
    for number in 0..200 {
        replica.write(&format!("set k{} {number}", number % 3), 1);
        assert_eq!(replica.shard.size().keys, (number + 1).min(3));
    }
    assert!(replica.shard.size().bytes > 0);
    replica.write("del k2", 1);
    assert_eq!((replica.shard.size().keys, replica.shard.index()), (2, 201));
    let applied = |replica: &Replica| replica.engine.applied().get(&support::SPACE).map_or(0, |applied| applied.index);
    assert_eq!(applied(&replica), 0, "nothing is written before it is much, or wanted");
    // Who walks through the keys sees all of them.
    let all = ScanRequest { after: None, pattern: None, kind: None, count: 9, now_ms: 1 };
    assert_eq!(replica.page(all).keys.len(), 2);
    assert_eq!(applied(&replica), 201);
    replica.write("set k0 last", 1);
    replica.shard.write().unwrap();
    assert_eq!(applied(&replica), 202);
    let exact = replica.shard.size();
    let mut opened = Shard::open(replica.engine.clone(), support::SPACE, replica.actor, config).unwrap();
    assert_eq!((opened.index(), opened.size()), (202, exact));
    assert_eq!(opened.digest(&"k0".into()).unwrap(), replica.digest("k0"));
}

#[test]
fn many_changed_keys_are_written_though_they_are_small() {
    let mut replica = Replica::new(1);
    let config = ShardConfig { unwritten_bytes: 1 << 30, ..support::CONFIG };
    replica.shard = Shard::open(replica.engine.clone(), support::SPACE, replica.actor, config).unwrap();
    for number in 0..600 {
        replica.write(&format!("incr k{number} 1"), 1);
    }
    let applied = replica.engine.applied()[&support::SPACE].index;
    assert_eq!(applied, 512);
    assert_eq!(replica.shard.size().keys, 600);
}
