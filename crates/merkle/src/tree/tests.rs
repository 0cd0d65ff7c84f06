//! The tree against a plain list of its entries.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;

use super::*;

fn entry(position: u64, version: u64) -> Entry {
    let digest =
        u128::from(position).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) ^ u128::from(version) << 77;
    Entry { position, digest }
}

/// A position that is likely to share its first bits with others.
fn positions() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), (0_u64..16).prop_map(|low| low << 44 | low), Just(u64::MAX), Just(0)]
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u64, u64),
    Remove(usize),
    Fill,
    Shrink,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (positions(), 0_u64..3).prop_map(|(position, version)| Step::Put(position, version)),
        2 => any::<usize>().prop_map(Step::Remove),
        8 => Just(Step::Fill),
        1 => Just(Step::Shrink),
    ];
    proptest::collection::vec(step, 0..300)
}

/// A store with its tree; one entry a position.
#[derive(Default)]
struct Store(std::collections::BTreeMap<u64, Entry>);

impl Store {
    fn take(&mut self, tree: &mut Tree, step: Step) {
        match step {
            Step::Put(position, version) => {
                let after = entry(position, version);
                match self.0.insert(position, after) {
                    None => tree.insert(after).unwrap(),
                    Some(before) => tree.replace(before, after).unwrap(),
                }
            }
            Step::Remove(nth) if !self.0.is_empty() => {
                let position = *self.0.keys().nth(nth % self.0.len()).unwrap();
                tree.remove(self.0.remove(&position).unwrap()).unwrap();
            }
            Step::Remove(_) => {}
            Step::Fill => {
                if let Some(bucket) = tree.grow() {
                    tree.fill(bucket, &self.read(bucket)).unwrap();
                }
            }
            Step::Shrink => {
                tree.shrink();
            }
        }
    }

    fn read(&self, bucket: Prefix) -> Vec<Entry> {
        let range = bucket.range();
        self.0.range(range.first..=range.last).map(|(_, entry)| *entry).collect()
    }

    fn agrees(&self, tree: &Tree) {
        for level in 0..=tree.depth() {
            for node in Prefix::ROOT.descendants(level) {
                assert_eq!(tree.summary(node), Some(Summary::of(&self.read(node))), "{node:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_node_is_the_sum_of_what_lies_below_it_whatever_happens_and_while_it_grows(steps in steps()) {
        let (mut store, mut tree) = (Store::default(), Tree::with_depth(0));
        for step in steps {
            store.take(&mut tree, step);
        }
        store.agrees(&tree);
        let back = Tree::decode(tree.encode()).unwrap();
        store.agrees(&back);
    }

    #[test]
    fn the_order_of_changes_and_the_depth_do_not_matter(
        mut all in proptest::collection::btree_map(positions(), 0_u64..3, 0..60),
        gone in proptest::collection::btree_set(positions(), 0..20),
        seed: u64,
    ) {
        all.retain(|position, _| !gone.contains(position));
        let mut forward = Tree::with_depth(1);
        for (position, version) in &all {
            forward.insert(entry(*position, *version)).unwrap();
        }
        let mut other = Tree::with_depth(3);
        gone.iter().for_each(|position| other.insert(entry(*position, 9)).unwrap());
        let mut shuffled: Vec<_> = all.iter().collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        for (position, version) in shuffled {
            other.insert(entry(*position, 7)).unwrap();
            other.replace(entry(*position, 7), entry(*position, *version)).unwrap();
        }
        gone.iter().for_each(|position| other.remove(entry(*position, 9)).unwrap());
        for node in [Prefix::ROOT].into_iter().chain(Prefix::ROOT.descendants(1)) {
            prop_assert_eq!(forward.summary(node), other.summary(node));
        }
        prop_assert_eq!(forward.summary(Prefix::of(0, 2)), None);
    }

    #[test]
    fn hostile_trees_are_refused(mut input: Vec<u8>, depth in 0_u8..8) {
        let _ = Tree::decode(input.clone().into());
        input.splice(0..0, [1, depth]);
        let _ = Tree::decode(input.into());
    }
}

#[test]
fn a_tree_grows_with_its_keys_and_shrinks_with_some_distance() {
    let (mut store, mut tree) = (Store::default(), Tree::with_depth(0));
    for number in 0..64_u64 {
        store.take(&mut tree, Step::Put(number << 55, 0));
    }
    assert_eq!(tree.grow(), None, "64 keys fit one bucket");
    store.take(&mut tree, Step::Put(u64::MAX, 0));
    assert_eq!(tree.grow(), Some(Prefix::ROOT));
    store.take(&mut tree, Step::Fill);
    assert_eq!((tree.depth(), tree.grow()), (1, None));
    (0..48).for_each(|_| store.take(&mut tree, Step::Remove(0)));
    assert!(!tree.shrink(), "17 keys are too near");
    store.take(&mut tree, Step::Remove(0));
    assert!(tree.shrink());
    assert_eq!(tree.depth(), 0);
    store.agrees(&tree);
}

#[test]
fn drift_is_found_when_a_bucket_is_read_and_corrected_by_what_was_read() {
    let mut tree = Tree::with_depth(2);
    for number in 0..100 {
        tree.insert(entry(number << 57, 0)).unwrap();
    }
    let bucket = tree.bucket(3 << 57);
    let read = [entry(3 << 57, 1), entry(3 << 57 | 1, 0)];
    assert_eq!(tree.check(bucket, &read), Err(TreeError::Drift(bucket)));
    assert_eq!(tree.check(bucket, &[entry(4 << 57, 0)]), Err(TreeError::Misplaced(4 << 57)));
    tree.correct(bucket, &read).unwrap();
    assert_eq!((tree.check(bucket, &read), tree.root().count), (Ok(()), 101));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut tree = Tree::with_depth(1);
    let root = tree.root();
    assert_eq!(tree.remove(entry(5, 0)), Err(TreeError::NotThere(5)));
    assert_eq!(tree.replace(entry(5, 0), entry(6, 0)), Err(TreeError::Elsewhere { before: 5, after: 6 }));
    assert_eq!(tree.fill(Prefix::ROOT, &[]), Err(TreeError::OutOfTurn(Prefix::ROOT)));
    assert_eq!(tree.root(), root);
}

#[test]
fn a_tree_takes_the_memory_that_its_essay_says() {
    assert_eq!(Tree::for_keys(1_000_000).memory_bytes(), 69_905 * BYTES_PER_NODE);
    assert_eq!(Tree::for_keys(200_000).memory_bytes(), 4_369 * BYTES_PER_NODE);
}
