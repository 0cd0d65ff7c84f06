//! Which ranges of positions a node holds, and which it gains or loses between two rings: what repair compares and what a
//! newcomer fetches.

use std::collections::BTreeMap;

use althing_types::NodeId;

use super::Ring;

/// Positions from `first` to `last`, both included. Never wraps: what lies on both sides of the ring's end is two ranges.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Range {
    /// The lowest position.
    pub first: u64,
    /// The highest position; not below `first`.
    pub last: u64,
}

impl Range {
    /// All positions.
    pub const ALL: Self = Self { first: 0, last: u64::MAX };

    /// Whether a position lies in it.
    #[must_use]
    pub const fn contains(self, position: u64) -> bool {
        self.first <= position && position <= self.last
    }

    /// How many positions it has.
    #[must_use]
    pub const fn size(self) -> u128 {
        (self.last - self.first) as u128 + 1
    }
}

/// What changes for one range between two rings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The positions.
    pub range: Range,
    /// Who held them before, in order of preference: where a newcomer fetches from.
    pub holders: Vec<NodeId>,
    /// Who holds them now and did not before, in order of preference.
    pub gained: Vec<NodeId>,
    /// Who held them before and does not now.
    pub lost: Vec<NodeId>,
}

/// Appends a range to those of one kind, joined to the last if it follows it.
fn append(ranges: &mut Vec<Range>, range: Range) {
    match ranges.last_mut() {
        Some(last) if last.last.checked_add(1) == Some(range.first) => last.last = range.last,
        Some(_) | None => ranges.push(range),
    }
}

impl Ring {
    /// The ranges between tokens in order of positions, each with its nodes in order of preference, `count` of them.
    /// Neighbours with the same nodes in the same order are one range.
    #[must_use]
    pub fn ranges(&self, count: usize) -> Vec<(Range, Vec<NodeId>)> {
        let mut ranges: Vec<(Range, Vec<NodeId>)> = Vec::new();
        for range in between(self.tokens.iter().copied()) {
            let owners = self.owners(range.last, count);
            match ranges.last_mut() {
                Some((last, same)) if *same == owners => last.last = range.last,
                Some(_) | None => ranges.push((range, owners)),
            }
        }
        ranges
    }

    /// For each node the ranges that it holds one of `count` replicas of, ascending.
    #[must_use]
    pub fn held(&self, count: usize) -> BTreeMap<NodeId, Vec<Range>> {
        let mut held: BTreeMap<NodeId, Vec<Range>> = BTreeMap::new();
        for (range, owners) in self.ranges(count) {
            for owner in owners {
                append(held.entry(owner).or_default(), range);
            }
        }
        held
    }

    /// The ranges whose set of holders differs between this ring and a later one, with `count` replicas each, ascending.
    /// Neighbours with the same change are one.
    #[must_use]
    pub fn changes(&self, after: &Self, count: usize) -> Vec<Change> {
        let mut tokens: Vec<u64> = self.tokens.iter().chain(&after.tokens).copied().collect();
        tokens.sort_unstable();
        tokens.dedup();
        let mut changes: Vec<Change> = Vec::new();
        for range in between(tokens.into_iter()) {
            let holders = self.owners(range.last, count);
            let now = after.owners(range.last, count);
            let gained: Vec<NodeId> = now.iter().filter(|id| !holders.contains(id)).copied().collect();
            let lost: Vec<NodeId> = holders.iter().filter(|id| !now.contains(id)).copied().collect();
            if gained.is_empty() && lost.is_empty() {
                continue;
            }
            let change = Change { range, holders, gained, lost };
            match changes.last_mut() {
                Some(last) if last.is_continued_by(&change) => last.range.last = range.last,
                Some(_) | None => changes.push(change),
            }
        }
        changes
    }
}

impl Change {
    fn is_continued_by(&self, next: &Self) -> bool {
        self.range.last.checked_add(1) == Some(next.range.first)
            && (&self.holders, &self.gained, &self.lost) == (&next.holders, &next.gained, &next.lost)
    }
}

/// The line cut behind each of the ascending tokens. Without tokens there is nothing to own, and no range.
fn between(tokens: impl Iterator<Item = u64> + Clone) -> Vec<Range> {
    let Some(last) = tokens.clone().last() else { return Vec::new() };
    let mut first = 0;
    let mut ranges: Vec<Range> = tokens
        .map(|token| {
            let range = Range { first, last: token };
            first = token.wrapping_add(1);
            range
        })
        .collect();
    if last < u64::MAX {
        ranges.push(Range { first: last + 1, last: u64::MAX });
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::nodes;
    use super::*;

    #[test]
    fn ranges_cover_the_ring_once() {
        for count in [1, 2, 7] {
            let ring = Ring::new(nodes(1..=count, 3), 16);
            let ranges = ring.ranges(3);
            assert_eq!((ranges[0].0.first, ranges[ranges.len() - 1].0.last), (0, u64::MAX));
            assert!(ranges.windows(2).all(|pair| pair[0].0.last + 1 == pair[1].0.first));
            assert_eq!(ranges.iter().map(|(range, _)| range.size()).sum::<u128>(), Range::ALL.size());
        }
        assert_eq!(Ring::new([], 16).ranges(3), []);
    }

    #[test]
    fn one_node_holds_everything_in_one_range() {
        let held = Ring::new(nodes(1..=1, 1), 16).held(3);
        assert_eq!(held.into_values().collect::<Vec<_>>(), [vec![Range::ALL]]);
    }

    #[test]
    fn a_token_at_the_very_end_leaves_no_range_behind_it() {
        assert_eq!(
            between([5, u64::MAX].into_iter()),
            [Range { first: 0, last: 5 }, Range { first: 6, last: u64::MAX }]
        );
    }

    #[test]
    fn the_same_ring_twice_changes_nothing() {
        let ring = Ring::new(nodes(1..=5, 2), 16);
        assert_eq!(ring.changes(&ring.clone(), 3), []);
    }

    proptest! {
        #[test]
        fn a_position_changes_hands_exactly_where_the_changes_say(
            before in 1_u64..8, after in 1_u64..8, zones in 1_u64..4, positions in prop::collection::vec(any::<u64>(), 32),
        ) {
            let (before, after) = (Ring::new(nodes(1..=before, zones), 8), Ring::new(nodes(1..=after, zones), 8));
            let changes = before.changes(&after, 3);
            prop_assert!(changes.windows(2).all(|pair| pair[0].range.last < pair[1].range.first));
            for position in positions {
                let (was, is) = (before.owners(position, 3), after.owners(position, 3));
                let gained: Vec<_> = is.iter().filter(|id| !was.contains(id)).copied().collect();
                let lost: Vec<_> = was.iter().filter(|id| !is.contains(id)).copied().collect();
                match changes.iter().find(|change| change.range.contains(position)) {
                    Some(change) => prop_assert_eq!((&change.holders, &change.gained, &change.lost), (&was, &gained, &lost)),
                    None => prop_assert!(gained.is_empty() && lost.is_empty()),
                }
            }
        }

        #[test]
        fn a_node_holds_exactly_the_positions_that_name_it(
            count in 1_u64..8, position in any::<u64>(), replicas in 1_usize..4,
        ) {
            let ring = Ring::new(nodes(1..=count, 2), 8);
            let owners = ring.owners(position, replicas);
            for (id, ranges) in ring.held(replicas) {
                prop_assert_eq!(ranges.iter().any(|range| range.contains(position)), owners.contains(&id));
            }
        }
    }
}
