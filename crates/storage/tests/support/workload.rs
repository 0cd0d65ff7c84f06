//! Batches that follow from their number alone, so that another process knows what each of them has left.

use std::collections::BTreeMap;
use std::ops::Bound::Unbounded;

use althing_storage::engine::Engine;
use althing_storage::engine::lsm::LsmOptions;
use althing_types::SpaceId;

use super::at;

/// Spaces that are written for ever.
const SPACES: u64 = 3;
/// The first of the spaces that are dropped again; one per turn that [`turn`] chooses.
const SHORT_LIVED: u64 = 1000;

/// Small memtables, so that they are also sealed between checkpoints.
pub fn options() -> LsmOptions {
    LsmOptions { memtable_bytes: 96 * 1024, ..super::options() }
}

/// Writes one batch to each space; now and then drops the short-lived space and begins another.
pub fn turn(engine: &dyn Engine, turn: u64) {
    let applied = engine.applied();
    let short_lived: Vec<u64> = applied.keys().map(|space| space.get()).filter(|id| *id >= SHORT_LIVED).collect();
    let newest = short_lived.last().copied();
    for space in (0..SPACES).chain(newest) {
        let index = applied.get(&SpaceId(space)).map_or(0, |at| at.index) + 1;
        write(engine, space, index);
    }
    if turn % 24 == 23 {
        // More than one, if a crash has brought back what was dropped just before it.
        for space in short_lived {
            engine.drop_space(SpaceId(space)).unwrap();
        }
        write(engine, newest.unwrap_or(SHORT_LIVED) + 1, 1);
    }
}

fn write(engine: &dyn Engine, space: u64, index: u64) {
    let mut batch = engine.begin(SpaceId(space));
    for (key, value) in writes(space, index) {
        match value {
            Some(value) => batch.put(&key, &value),
            None => batch.delete(&key),
        }
    }
    batch.commit(at(index)).unwrap();
}

type Items = BTreeMap<Vec<u8>, Vec<u8>>;

fn writes(space: u64, index: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut rng = fastrand::Rng::with_seed(space << 32 | index);
    let mut write = || {
        let key = format!("key {:03}", rng.u32(..400)).into_bytes();
        let value = format!("{space} {index} {}", "v".repeat(rng.usize(..300))).into_bytes();
        (key, rng.u8(..4).gt(&0).then_some(value))
    };
    (0..24).map(|_| write()).collect()
}

/// Reads what the child prints: `space=index` and so on.
pub fn parse(spaces: &str) -> BTreeMap<SpaceId, u64> {
    let pair = |text: &str| {
        let (space, index) = text.split_once('=').unwrap();
        (SpaceId(space.parse().unwrap()), index.parse().unwrap())
    };
    spaces.split_whitespace().map(pair).collect()
}

/// Knows every state of every space.
#[derive(Default)]
pub struct Oracle {
    /// The state after the batch with the index, to go on from.
    known: BTreeMap<u64, (u64, Items)>,
}

impl Oracle {
    /// Checks all spaces of an engine. None may stand below `least`.
    pub fn check(&mut self, engine: &dyn Engine, least: &BTreeMap<SpaceId, u64>) {
        engine.verify().unwrap();
        let applied = engine.applied();
        for (space, index) in least.iter().filter(|(space, _)| space.get() < SPACES) {
            let stands = applied.get(space).map_or(0, |at| at.index);
            assert!(stands >= *index, "space {space} stands at {stands}, and {index} was said to be durable");
        }
        let view = engine.view();
        for (space, stands) in applied {
            let expected = self.state(space.get(), stands.index);
            let found: Items = view
                .scan(space, (Unbounded, Unbounded))
                .map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
                .collect();
            assert!(found == *expected, "space {space} is not what its first {} batches leave", stands.index);
            for key in (0..400).map(|key| format!("key {key:03}").into_bytes()) {
                let value = engine.get(space, &key).unwrap();
                assert_eq!(value.as_deref(), expected.get(&key).map(Vec::as_slice));
            }
        }
    }

    fn state(&mut self, space: u64, index: u64) -> &Items {
        let (known, items) = self.known.entry(space).or_default();
        if *known > index {
            *known = 0;
            items.clear();
        }
        for next in *known + 1..=index {
            for (key, value) in writes(space, next) {
                match value {
                    Some(value) => drop(items.insert(key, value)),
                    None => drop(items.remove(&key)),
                }
            }
        }
        *known = index;
        items
    }
}
