//! The engine's contract, held to every implementation: named cases, then random histories against a plain map.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};

use althing_storage::engine::lsm::LsmEngine;
use althing_storage::engine::model::ModelEngine;
#[cfg(feature = "redb")]
use althing_storage::engine::redb::RedbEngine;
use althing_storage::engine::{Applied, Engine, MAX_KEY_BYTES, Read};
use althing_types::SpaceId;
use proptest::prelude::*;
use support::{Crash, Home, Subject, at, checkpoint, dump, put};

/// Runs every case for one implementation.
macro_rules! contract {
    ($module:ident, $engine:ty) => {
        mod $module {
            use super::*;

            #[test]
            fn a_batch_is_seen_as_a_whole_and_only_after_its_commit() {
                batch_visibility(&<$engine>::fresh().engine);
            }

            #[test]
            fn a_batch_reads_its_own_writes_in_scans_of_both_directions() {
                own_writes(&<$engine>::fresh().engine);
            }

            #[test]
            fn a_view_stays_as_it_was_through_writes_checkpoints_and_maintenance() {
                views(&<$engine>::fresh().engine);
            }

            #[test]
            fn scans_keep_to_their_bounds_and_their_space() {
                bounds(&<$engine>::fresh().engine);
            }

            #[test]
            fn a_finished_checkpoint_survives_a_crash() {
                checkpoint_survives::<$engine>();
            }

            #[test]
            fn batches_since_the_cut_of_a_finished_checkpoint_may_be_lost_but_nothing_else() {
                tail_is_lost_in_order::<$engine>();
            }

            #[test]
            fn a_dropped_space_is_gone_at_once_and_stays_gone_after_the_next_checkpoint() {
                dropped_space::<$engine>();
            }

            #[test]
            fn a_dropped_space_is_not_written_again() {
                let home = <$engine>::fresh();
                home.engine.drop_space(SpaceId(1)).unwrap();
                assert!(catch_unwind(AssertUnwindSafe(|| drop(home.engine.begin(SpaceId(1))))).is_err());
            }

            #[test]
            fn an_abandoned_batch_stops_the_writer() {
                let home = <$engine>::fresh();
                drop(home.engine.begin(SpaceId(1)));
                assert!(catch_unwind(AssertUnwindSafe(|| drop(home.engine.begin(SpaceId(1))))).is_err());
            }

            #[test]
            fn there_is_one_batch_at_a_time_and_no_cut_within_it() {
                let home = <$engine>::fresh();
                let batch = home.engine.begin(SpaceId(1));
                assert!(catch_unwind(AssertUnwindSafe(|| drop(home.engine.begin_checkpoint()))).is_err());
                assert!(catch_unwind(AssertUnwindSafe(|| drop(home.engine.begin(SpaceId(2))))).is_err());
                drop(batch);
            }

            #[test]
            fn a_space_never_goes_back() {
                let home = <$engine>::fresh();
                put(&home.engine, 1, 5, &[]);
                put(&home.engine, 1, 5, &[("same", "is fine")]);
                assert!(catch_unwind(AssertUnwindSafe(|| put(&home.engine, 1, 4, &[]))).is_err());
            }

            #[test]
            fn keys_and_values_of_every_size_are_kept() {
                sizes::<$engine>();
            }

            #[test]
            fn checkpoints_may_finish_in_any_order_and_on_any_thread() {
                checkpoints_in_any_order::<$engine>();
            }

            #[test]
            fn readers_see_whole_batches_while_a_writer_writes_and_maintenance_runs() {
                concurrent_readers(&<$engine>::fresh().engine);
            }

            proptest! {
                #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
                #[test]
                fn random_histories_equal_a_plain_map(
                    steps in proptest::collection::vec(step(), 1..60), seed: u64
                ) {
                    random_history::<$engine>(&steps, seed);
                }
            }
        }
    };
}

contract!(model, ModelEngine);
contract!(lsm, LsmEngine);
#[cfg(feature = "redb")]
contract!(redb, RedbEngine);

fn batch_visibility(engine: &dyn Engine) {
    put(engine, 1, 1, &[("a", "1"), ("b", "1")]);
    let mut batch = engine.begin(SpaceId(1));
    batch.put(b"a", b"2");
    batch.delete(b"b");
    assert_eq!(engine.get(SpaceId(1), b"a").unwrap().unwrap(), "1");
    assert_eq!(dump(&*engine.view(), 1), dump(&*engine.view(), 1));
    assert_eq!(engine.applied(), BTreeMap::from([(SpaceId(1), at(1))]));
    batch.commit(at(2)).unwrap();
    assert_eq!(engine.get(SpaceId(1), b"a").unwrap().unwrap(), "2");
    assert_eq!(engine.get(SpaceId(1), b"b").unwrap(), None);
    assert_eq!(engine.applied(), BTreeMap::from([(SpaceId(1), at(2))]));
}

fn own_writes(engine: &dyn Engine) {
    put(engine, 1, 1, &[("a", "old"), ("c", "old"), ("e", "old"), ("g", "old")]);
    put(engine, 2, 1, &[("c", "other space")]);
    let mut batch = engine.begin(SpaceId(1));
    for key in ["b", "c", "h"] {
        batch.put(key.as_bytes(), b"new");
    }
    batch.delete(b"e");
    batch.delete(b"missing");
    batch.put(b"g", b"twice");
    batch.delete(b"g");
    batch.put(b"0", b"new");
    let expected = [("0", "new"), ("a", "old"), ("b", "new"), ("c", "new"), ("h", "new")];
    let expected: Vec<_> = expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    assert_eq!(dump(&*batch, 1), expected);
    assert_eq!(dump(&*batch, 2), [("c".to_owned(), "other space".to_owned())]);
    let back: Vec<_> = batch.scan_reverse(SpaceId(1), (Unbounded, Excluded(b"h"))).map(|i| i.unwrap().0).collect();
    assert_eq!(back, ["c", "b", "a", "0"]);
    assert_eq!(batch.get(SpaceId(1), b"e").unwrap(), None);
    assert_eq!(batch.get(SpaceId(1), b"c").unwrap().unwrap(), "new");
    assert_eq!(batch.get(SpaceId(1), b"a").unwrap().unwrap(), "old");
    assert_eq!(batch.get(SpaceId(2), b"c").unwrap().unwrap(), "other space");
    batch.commit(at(2)).unwrap();
    assert_eq!(dump(&*engine.view(), 1), expected);
}

fn views(engine: &dyn Engine) {
    let mut held = Vec::new();
    for round in 1..=8_u64 {
        let value = round.to_string();
        put(engine, 1, round, &[("k", &value), (&value, "x")]);
        if round % 3 == 0 {
            let mut batch = engine.begin(SpaceId(1));
            batch.delete((round - 1).to_string().as_bytes());
            batch.commit(at(round)).unwrap();
        }
        held.push((engine.view(), dump(&*engine.view(), 1)));
        checkpoint(engine);
        while engine.maintain().unwrap() {}
        for (view, was) in &held {
            assert_eq!(dump(&**view, 1), *was);
            let k = was.iter().find(|(key, _)| key == "k").unwrap();
            assert_eq!(view.get(SpaceId(1), b"k").unwrap().unwrap(), k.1.as_bytes());
        }
    }
    let len = held.len();
    assert!(held[len - 1].1 != held[0].1);
}

fn bounds(engine: &dyn Engine) {
    put(engine, 1, 1, &[("z", "1")]);
    put(engine, 2, 1, &[("a", "1"), ("b", "1"), ("c", "1")]);
    put(engine, 3, 1, &[("", "1")]);
    for flush in [false, true] {
        if flush {
            checkpoint(engine);
        }
        let view = engine.view();
        let keys = |bounds| {
            let forward: Vec<_> = view.scan(SpaceId(2), bounds).map(|item| item.unwrap().0).collect();
            let mut backward: Vec<_> = view.scan_reverse(SpaceId(2), bounds).map(|item| item.unwrap().0).collect();
            backward.reverse();
            assert_eq!(forward, backward);
            forward
        };
        assert_eq!(keys((Unbounded, Unbounded)), ["a", "b", "c"]);
        assert_eq!(keys((Excluded(&b"a"[..]), Included(&b"c"[..]))), ["b", "c"]);
        assert_eq!(keys((Included(&b"b"[..]), Excluded(&b"c"[..]))), ["b"]);
        assert_eq!(keys((Included(&b"aa"[..]), Included(&b"aa"[..]))), [""; 0]);
        assert_eq!(keys((Excluded(&b"b"[..]), Excluded(&b"b"[..]))), [""; 0]);
        assert_eq!(keys((Included(&b"c"[..]), Excluded(&b"a"[..]))), [""; 0]);
        assert_eq!(dump(&*view, 3), [(String::new(), "1".to_owned())]);
        assert_eq!(dump(&*view, 4), []);
        assert_eq!(view.get(SpaceId(4), b"a").unwrap(), None);
    }
}

fn checkpoint_survives<E: Crash>() {
    let home = E::fresh();
    put(&home.engine, 1, 1, &[("a", "1")]);
    put(&home.engine, 2, 7, &[("a", "2"), ("b", "2")]);
    let cut = home.engine.begin_checkpoint().unwrap();
    put(&home.engine, 1, 2, &[("after", "the cut")]);
    let expected = BTreeMap::from([(SpaceId(1), at(1)), (SpaceId(2), at(7))]);
    assert_eq!(cut.finish().unwrap(), expected);
    let home = E::crash(home, 1);
    // The batch after the cut may be there, too: then all of it is.
    let stands = home.engine.applied()[&SpaceId(1)].index;
    assert!((1..=2).contains(&stands) && home.engine.applied()[&SpaceId(2)] == at(7));
    assert_eq!(dump(&*home.engine.view(), 1).len() as u64, stands);
    assert_eq!(dump(&*home.engine.view(), 2).len(), 2);
    put(&home.engine, 1, 3, &[("a", "3")]);
    checkpoint(&home.engine);
    home.engine.verify().unwrap();
    let home = E::crash(home, 2);
    assert_eq!(home.engine.get(SpaceId(1), b"a").unwrap().unwrap(), "3");
    assert_eq!(home.engine.get(SpaceId(1), b"after").unwrap().is_some(), stands == 2);
}

fn tail_is_lost_in_order<E: Crash>() {
    for seed in 0..20 {
        let home = E::fresh();
        for index in 1..=6_u64 {
            put(&home.engine, index % 2, index, &[(&index.to_string(), "x")]);
            let cut = home.engine.begin_checkpoint().unwrap();
            if index <= 3 {
                cut.finish().unwrap();
            }
        }
        let home = E::crash(home, seed);
        for (space, least) in [(0, 2), (1, 3)] {
            let stands = home.engine.applied()[&SpaceId(space)].index;
            assert!(stands >= least && stands <= 6 && stands % 2 == space);
            let keys: Vec<_> = dump(&*home.engine.view(), space).into_iter().map(|(key, _)| key).collect();
            let expected: Vec<_> = (1..=stands).filter(|i| i % 2 == space).map(|i| i.to_string()).collect();
            assert_eq!(keys, expected);
        }
    }
}

fn dropped_space<E: Crash>() {
    let home = E::fresh();
    put(&home.engine, 1, 1, &[("a", "dead")]);
    put(&home.engine, 3, 1, &[("a", "alive")]);
    checkpoint(&home.engine);
    put(&home.engine, 1, 2, &[("b", "dead")]);
    let view = home.engine.view();
    home.engine.drop_space(SpaceId(1)).unwrap();
    assert_eq!(dump(&*home.engine.view(), 1), []);
    assert_eq!(home.engine.get(SpaceId(1), b"a").unwrap(), None);
    assert_eq!(dump(&*view, 1).len(), 2);
    assert_eq!(home.engine.applied(), BTreeMap::from([(SpaceId(3), at(1))]));
    let home = E::crash(home, 1);
    // Not yet durable: it may be back, and is then whole.
    assert_eq!(dump(&*home.engine.view(), 1).len(), home.engine.applied().len() - 1);
    home.engine.drop_space(SpaceId(1)).unwrap();
    checkpoint(&home.engine);
    while home.engine.maintain().unwrap() {}
    let home = E::crash(home, 2);
    assert_eq!(home.engine.applied(), BTreeMap::from([(SpaceId(3), at(1))]));
    for round in 2..4 {
        while home.engine.maintain().unwrap() {}
        put(&home.engine, 3, round, &[("b", "alive")]);
        checkpoint(&home.engine);
        assert_eq!(dump(&*home.engine.view(), 1), []);
    }
    let home = E::crash(home, 3);
    assert_eq!(dump(&*home.engine.view(), 1), []);
    assert_eq!(dump(&*home.engine.view(), 3).len(), 2);
    assert_eq!(home.engine.applied(), BTreeMap::from([(SpaceId(3), at(3))]));
    home.engine.verify().unwrap();
}

fn sizes<E: Crash>() {
    let home = E::fresh();
    let keys: Vec<Vec<u8>> = [0, 1, 19, 20, 21, 255, 4096, MAX_KEY_BYTES].iter().map(|len| vec![7; *len]).collect();
    let mut batch = home.engine.begin(SpaceId(1));
    for key in &keys {
        batch.put(key, &vec![9; key.len() * 3]);
    }
    batch.put(b"large", &vec![1; 3 << 20]);
    batch.commit(at(1)).unwrap();
    let mut too_long = home.engine.begin(SpaceId(1));
    assert!(catch_unwind(AssertUnwindSafe(|| too_long.put(&[0; MAX_KEY_BYTES + 1], b""))).is_err());
    too_long.commit(at(1)).unwrap();
    checkpoint(&home.engine);
    let home = E::crash(home, 1);
    for key in &keys {
        assert_eq!(home.engine.get(SpaceId(1), key).unwrap().unwrap(), vec![9; key.len() * 3]);
    }
    assert_eq!(home.engine.get(SpaceId(1), b"large").unwrap().unwrap().len(), 3 << 20);
    assert_eq!(home.engine.view().scan(SpaceId(1), (Unbounded, Unbounded)).count(), keys.len() + 1);
}

fn checkpoints_in_any_order<E: Crash + 'static>() {
    let home = E::fresh();
    put(&home.engine, 1, 1, &[("a", "1")]);
    let first = home.engine.begin_checkpoint().unwrap();
    put(&home.engine, 2, 1, &[("a", "1")]);
    home.engine.drop_space(SpaceId(1)).unwrap();
    let second = home.engine.begin_checkpoint().unwrap();
    let finish = |cut: Box<dyn althing_storage::engine::Checkpoint>| {
        std::thread::scope(|scope| scope.spawn(|| cut.finish().unwrap()).join().unwrap())
    };
    assert_eq!(finish(second), BTreeMap::from([(SpaceId(2), at(1))]));
    assert_eq!(finish(first), BTreeMap::from([(SpaceId(1), at(1))]));
    let home = E::crash(home, 1);
    assert_eq!(home.engine.applied(), BTreeMap::from([(SpaceId(2), at(1))]));
}

fn concurrent_readers(engine: &dyn Engine) {
    const ROUNDS: u64 = 300;
    std::thread::scope(|scope| {
        let reader = || {
            let mut last = 0;
            while last < ROUNDS {
                let view = engine.view();
                let values: Vec<_> = dump(&*view, 1).into_iter().map(|(_, value)| value).collect();
                assert!(values.iter().all(|value| *value == values[0]), "a batch was seen in part: {values:?}");
                assert!(values.is_empty() || values.len() == 20);
                let seen = values.first().map_or(0, |value| value.parse().unwrap());
                let direct = engine.get(SpaceId(1), b"07").unwrap();
                let direct = direct.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap());
                assert!(last <= seen && seen <= direct, "time went back: {last} {seen} {direct}");
                last = direct;
            }
        };
        scope.spawn(reader);
        scope.spawn(reader);
        let (cuts, work) = std::sync::mpsc::channel::<Box<dyn althing_storage::engine::Checkpoint>>();
        scope.spawn(move || {
            for cut in work {
                cut.finish().unwrap();
                while engine.maintain().unwrap() {}
            }
        });
        for round in 1..=ROUNDS {
            let mut batch = engine.begin(SpaceId(1));
            for key in 0..20 {
                batch.put(format!("{key:02}").as_bytes(), round.to_string().as_bytes());
            }
            batch.commit(at(round)).unwrap();
            if round % 10 == 0 {
                cuts.send(engine.begin_checkpoint().unwrap()).unwrap();
            }
        }
        drop(cuts);
    });
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Batch { space: u64, writes: Vec<(u8, Option<u8>)> },
    BeginCheckpoint,
    FinishCheckpoint,
    Maintain,
    Drop { space: u64 },
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let writes = proptest::collection::vec((0..24_u8, proptest::option::weighted(0.7, any::<u8>())), 0..8);
    prop_oneof![
        12 => (0..4_u64, writes).prop_map(|(space, writes)| Step::Batch { space, writes }),
        2 => Just(Step::BeginCheckpoint),
        3 => Just(Step::FinishCheckpoint),
        3 => Just(Step::Maintain),
        1 => (0..4_u64).prop_map(|space| Step::Drop { space }),
        1 => Just(Step::Crash),
    ]
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a space has been: a state after each of its batches. The last state is `None` once it is dropped.
#[derive(Clone, Debug, Default)]
struct History {
    states: Vec<(Applied, Entries)>,
    dropped: bool,
    /// How many states the last finished cut holds.
    durable: usize,
    /// Whether a finished cut holds the drop.
    durably_dropped: bool,
}

impl History {
    fn live(&self) -> (Applied, Entries) {
        self.states.last().filter(|_| !self.dropped).cloned().unwrap_or_default()
    }
}

fn random_history<E: Crash>(steps: &[Step], seed: u64) {
    let mut home = E::fresh();
    // Ids are never used again after a drop: generations keep them apart.
    let mut generation = [0_u64; 4];
    let mut spaces: BTreeMap<u64, History> = BTreeMap::new();
    let mut cuts = std::collections::VecDeque::new();
    for step in steps {
        match step {
            Step::Batch { space, writes } => {
                let id = space + 4 * generation[*space as usize];
                apply(&home.engine, id, spaces.entry(id).or_default(), writes);
            }
            Step::BeginCheckpoint => {
                let marks: BTreeMap<_, _> = spaces.iter().map(|(id, h)| (*id, (h.states.len(), h.dropped))).collect();
                cuts.push_back((home.engine.begin_checkpoint().unwrap(), marks));
            }
            Step::FinishCheckpoint => {
                if let Some((cut, marks)) = cuts.pop_front() {
                    cut.finish().unwrap();
                    for (id, (len, dropped)) in marks {
                        let history = spaces.get_mut(&id).unwrap();
                        history.durable = history.durable.max(len);
                        history.durably_dropped |= dropped;
                    }
                }
            }
            Step::Maintain => drop(home.engine.maintain().unwrap()),
            Step::Drop { space } => {
                let id = space + 4 * generation[*space as usize];
                if let Some(history) = spaces.get_mut(&id) {
                    home.engine.drop_space(SpaceId(id)).unwrap();
                    history.dropped = true;
                    generation[*space as usize] += 1;
                }
            }
            Step::Crash => {
                cuts.clear();
                home = E::crash(home, seed);
                recover(&home, &mut spaces);
            }
        }
        check(&home, &spaces);
    }
}

fn apply(engine: &dyn Engine, id: u64, history: &mut History, writes: &[(u8, Option<u8>)]) {
    let (mut applied, mut entries) = history.live();
    applied.index += 1;
    let mut batch = engine.begin(SpaceId(id));
    for (key, value) in writes {
        match value {
            Some(value) => {
                batch.put(&[*key], &[*value]);
                entries.insert(vec![*key], vec![*value]);
            }
            None => {
                batch.delete(&[*key]);
                entries.remove(&vec![*key]);
            }
        }
        let own: Entries = collect(&*batch, id);
        assert_eq!(own, entries);
    }
    batch.commit(applied).unwrap();
    history.states.push((applied, entries));
}

/// After a crash each space is a prefix of its batches, not before its last finished cut.
fn recover<E: Crash>(home: &Home<E>, spaces: &mut BTreeMap<u64, History>) {
    let applied = home.engine.applied();
    for (id, history) in spaces.iter_mut() {
        match applied.get(&SpaceId(*id)) {
            Some(stands) => {
                assert!(!history.durably_dropped, "space {id} is back after its drop was durable");
                let kept = history.states.iter().position(|(at, _)| at == stands).expect("a state that was") + 1;
                assert!(kept >= history.durable, "space {id} fell behind its checkpoint");
                history.states.truncate(kept);
                if history.dropped {
                    home.engine.drop_space(SpaceId(*id)).unwrap();
                }
            }
            None => {
                assert!(history.durable == 0 || history.dropped, "space {id} is lost");
                history.states.clear();
            }
        }
    }
}

fn check<E: Crash>(home: &Home<E>, spaces: &BTreeMap<u64, History>) {
    let view = home.engine.view();
    for (id, history) in spaces {
        let (applied, entries) = history.live();
        assert_eq!(home.engine.applied().get(&SpaceId(*id)).copied().unwrap_or_default(), applied, "space {id}");
        assert_eq!(collect(&*view, *id), entries, "space {id}");
        for key in 0..24_u8 {
            let expected = entries.get(&vec![key]).map(Vec::as_slice);
            assert_eq!(home.engine.get(SpaceId(*id), &[key]).unwrap().as_deref(), expected);
            assert_eq!(view.get(SpaceId(*id), &[key]).unwrap().as_deref(), expected);
        }
    }
}

fn collect(read: &(impl Read + ?Sized), id: u64) -> Entries {
    let space = SpaceId(id);
    let forward: Vec<_> = read.scan(space, (Unbounded, Unbounded)).map(Result::unwrap).collect();
    let mut backward: Vec<_> = read.scan_reverse(space, (Unbounded, Unbounded)).map(Result::unwrap).collect();
    backward.reverse();
    assert_eq!(forward, backward);
    assert!(forward.is_sorted_by(|a, b| a.0 < b.0));
    forward.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

// The same history through two engines: not only each against the map, but both against each other.
#[cfg(feature = "redb")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn two_engines_of_different_kinds_hold_the_same_after_the_same_batches(
        steps in proptest::collection::vec(step(), 1..80)
    ) {
        let (first, second) = (LsmEngine::fresh(), RedbEngine::fresh());
        let engines: [&dyn Engine; 2] = [&first.engine, &second.engine];
        for (index, step) in (1..).zip(&steps) {
            for engine in engines {
                match step {
                    Step::Batch { space, writes } => {
                        let mut batch = engine.begin(SpaceId(*space));
                        for (key, value) in writes {
                            match value {
                                Some(value) => batch.put(&[*key], &[*value]),
                                None => batch.delete(&[*key]),
                            }
                        }
                        batch.commit(at(index)).unwrap();
                    }
                    Step::BeginCheckpoint | Step::FinishCheckpoint => checkpoint(engine),
                    Step::Maintain | Step::Drop { .. } | Step::Crash => drop(engine.maintain().unwrap()),
                }
            }
            prop_assert_eq!(first.engine.applied(), second.engine.applied());
            for space in 0..4 {
                prop_assert_eq!(collect(&*first.engine.view(), space), collect(&*second.engine.view(), space));
            }
        }
    }
}
