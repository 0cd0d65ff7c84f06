//! Which watches want a key.
//!
//! Watches of one key sit in a map by that key: O(log n) to find, plus one step per watch found. Watches of ranges sit in an
//! interval tree: a treap ordered by (start, end) in which every node also knows the greatest end below it (Cormen et
//! al., *Introduction to Algorithms*, "Augmenting data structures"; Seidel and Aragon, *Randomized search trees*, 1996).
//! With n distinct ranges of which m contain the key, a look-up takes O(log n + m log n) expected and never more than
//! O(n); inserting and removing take O(log n) expected. Watches of the same range share a node, so a thousand clients
//! with one prefix cost one node's look-up.
//!
//! Priorities come from a counter through a mixer, not from chance: the same calls make the same tree, and the order in
//! which watches are visited never depends on a seed.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use althing_api::kv::{KeyRange, RangeEnd};
use bytes::Bytes;

use super::slots::Slot;

/// Watches by what they want.
#[derive(Default)]
pub(super) struct Index {
    keys: BTreeMap<Bytes, BTreeSet<Slot>>,
    ranges: Link,
    inserted: u64,
}

impl Index {
    /// Adds a watch.
    pub(super) fn insert(&mut self, range: &KeyRange, slot: Slot) {
        match End::of(range) {
            None => {
                self.keys.entry(range.start.clone()).or_default().insert(slot);
            }
            Some(end) => {
                self.inserted += 1;
                let node = Node::leaf(range.start.clone(), end, slot, mix(self.inserted));
                self.ranges = Some(insert(self.ranges.take(), node));
            }
        }
    }

    /// Removes a watch that was added with the same range.
    pub(super) fn remove(&mut self, range: &KeyRange, slot: Slot) {
        match End::of(range) {
            None => {
                if let Some(slots) = self.keys.get_mut(&range.start) {
                    slots.remove(&slot);
                    if slots.is_empty() {
                        self.keys.remove(&range.start);
                    }
                }
            }
            Some(end) => self.ranges = remove(self.ranges.take(), &range.start, &end, slot),
        }
    }

    /// Visits every watch that wants `key`, each once.
    pub(super) fn matching(&self, key: &[u8], visit: &mut impl FnMut(Slot)) {
        if let Some(slots) = self.keys.get(key) {
            slots.iter().copied().for_each(&mut *visit);
        }
        stab(&self.ranges, key, visit);
    }
}

/// Where a range of more than one key ends. No end lies behind `Unbounded`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Before(Bytes),
    Unbounded,
}

impl End {
    fn of(range: &KeyRange) -> Option<Self> {
        match &range.end {
            RangeEnd::Single => None,
            RangeEnd::Before(end) => Some(Self::Before(end.clone())),
            RangeEnd::Unbounded => Some(Self::Unbounded),
        }
    }

    fn is_after(&self, key: &[u8]) -> bool {
        match self {
            Self::Before(end) => key < &**end,
            Self::Unbounded => true,
        }
    }
}

type Link = Option<Box<Node>>;

/// One distinct range.
struct Node {
    start: Bytes,
    end: End,
    members: BTreeSet<Slot>,
    /// No child has a greater one.
    priority: u64,
    /// The greatest end in this subtree.
    greatest: End,
    left: Link,
    right: Link,
}

impl Node {
    fn leaf(start: Bytes, end: End, slot: Slot, priority: u64) -> Box<Self> {
        let greatest = end.clone();
        Box::new(Self { start, end, members: BTreeSet::from([slot]), priority, greatest, left: None, right: None })
    }

    fn compare(&self, start: &Bytes, end: &End) -> Ordering {
        (start, end).cmp(&(&self.start, &self.end))
    }

    fn update(&mut self) {
        let children = self.left.iter().chain(&self.right).map(|child| &child.greatest);
        self.greatest = children.chain([&self.end]).max().cloned().unwrap_or_else(|| self.end.clone());
    }
}

fn insert(link: Link, mut new: Box<Node>) -> Box<Node> {
    let Some(mut node) = link else { return new };
    match node.compare(&new.start, &new.end) {
        Ordering::Equal => node.members.append(&mut new.members),
        Ordering::Less => {
            let mut child = insert(node.left.take(), new);
            if child.priority > node.priority {
                node.left = child.right.take();
                node.update();
                child.right = Some(node);
                child.update();
                return child;
            }
            node.left = Some(child);
        }
        Ordering::Greater => {
            let mut child = insert(node.right.take(), new);
            if child.priority > node.priority {
                node.right = child.left.take();
                node.update();
                child.left = Some(node);
                child.update();
                return child;
            }
            node.right = Some(child);
        }
    }
    node.update();
    node
}

fn remove(link: Link, start: &Bytes, end: &End, slot: Slot) -> Link {
    let mut node = link?;
    match node.compare(start, end) {
        Ordering::Less => node.left = remove(node.left.take(), start, end, slot),
        Ordering::Greater => node.right = remove(node.right.take(), start, end, slot),
        Ordering::Equal => {
            node.members.remove(&slot);
            if node.members.is_empty() {
                return merge(node.left.take(), node.right.take());
            }
        }
    }
    node.update();
    Some(node)
}

/// Joins two trees of which every range of the first sorts before every range of the second.
fn merge(left: Link, right: Link) -> Link {
    let (mut left, mut right) = match (left, right) {
        (None, other) | (other, None) => return other,
        (Some(left), Some(right)) => (left, right),
    };
    if left.priority > right.priority {
        left.right = merge(left.right.take(), Some(right));
        left.update();
        Some(left)
    } else {
        right.left = merge(Some(left), right.left.take());
        right.update();
        Some(right)
    }
}

fn stab(link: &Link, key: &[u8], visit: &mut impl FnMut(Slot)) {
    let Some(node) = link else { return };
    if !node.greatest.is_after(key) {
        return;
    }
    stab(&node.left, key, visit);
    if *node.start <= *key {
        if node.end.is_after(key) {
            node.members.iter().copied().for_each(&mut *visit);
        }
        stab(&node.right, key, visit);
    }
}

/// Spreads consecutive numbers over all of u64 (the finalizer of SplitMix64: Steele, Lea and Flood, 2014).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(0_u8..4, 0..3).prop_map(Bytes::from)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        let end = prop_oneof![
            Just(RangeEnd::Single),
            Just(RangeEnd::Unbounded),
            key().prop_map(RangeEnd::Before),
            key().prop_map(RangeEnd::Before)
        ];
        (key(), end).prop_map(|(start, end)| KeyRange { start, end })
    }

    fn depth(link: &Link) -> usize {
        link.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    fn found(index: &Index, key: &[u8]) -> Vec<Slot> {
        let mut found = Vec::new();
        index.matching(key, &mut |slot| found.push(slot));
        found.sort_unstable();
        found
    }

    proptest! {
        #[test]
        fn finds_exactly_the_ranges_that_contain_the_key(
            steps in proptest::collection::vec((range(), proptest::option::weighted(0.3, 0_usize..64)), 0..64),
            probes in proptest::collection::vec(key(), 1..8),
        ) {
            let mut index = Index::default();
            let mut model: Vec<(KeyRange, Slot)> = Vec::new();
            for (number, (range, removed)) in steps.into_iter().enumerate() {
                let slot = Slot(u32::try_from(number).unwrap());
                index.insert(&range, slot);
                model.push((range, slot));
                if let Some(at) = removed {
                    let (range, slot) = model.swap_remove(at % model.len());
                    index.remove(&range, slot);
                }
                for key in &probes {
                    let mut expected: Vec<_> =
                        model.iter().filter(|(range, _)| range.contains(key)).map(|(_, slot)| *slot).collect();
                    expected.sort_unstable();
                    prop_assert_eq!(found(&index, key), expected);
                }
            }
        }
    }

    #[test]
    fn stays_shallow_when_ranges_come_in_order() {
        let mut index = Index::default();
        for number in 0..4096_u32 {
            let start = Bytes::copy_from_slice(&number.to_be_bytes());
            let end = RangeEnd::Before(Bytes::copy_from_slice(&(number + 1).to_be_bytes()));
            index.insert(&KeyRange { start, end }, Slot(number));
        }
        assert!(depth(&index.ranges) < 48, "depth {}", depth(&index.ranges));
        assert_eq!(found(&index, &77_u32.to_be_bytes()), [Slot(77)]);
    }
}
