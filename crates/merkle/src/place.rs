//! Places in the space of positions: the nodes of a tree, and stretches of any length.

/// Bits of a position that one level of a tree decides.
pub const BITS_PER_LEVEL: u32 = 4;
/// Children of a node.
pub const FAN_OUT: usize = 1 << BITS_PER_LEVEL;
/// Levels of the deepest tree below its root: a million buckets, for some 67 million keys in one shard. What is beyond makes buckets
/// longer, not the tree deeper.
pub const MAX_DEPTH: u8 = 5;

/// A node of a tree: all positions that begin with these bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix {
    level: u8,
    index: u32,
}

impl Prefix {
    /// All positions.
    pub const ROOT: Self = Self { level: 0, index: 0 };

    /// The node with this number on a level, from the left and from 0; nothing if the level has fewer.
    #[must_use]
    pub fn new(level: u8, index: u32) -> Option<Self> {
        (level <= MAX_DEPTH && (index as usize) < nodes(level)).then_some(Self { level, index })
    }

    /// The node of a level below which a position lies.
    #[must_use]
    pub const fn of(position: u64, level: u8) -> Self {
        assert!(level <= MAX_DEPTH, "no tree is so deep");
        let index = if level == 0 { 0 } else { (position >> (64 - BITS_PER_LEVEL * level as u32)) as u32 };
        Self { level, index }
    }

    /// How far below the root it lies, from 0 to [`MAX_DEPTH`].
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Its number on its level, from the left and from 0.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The positions below it.
    #[must_use]
    pub const fn range(self) -> Range {
        let bits = BITS_PER_LEVEL * self.level as u32;
        let first = if bits == 0 { 0 } else { (self.index as u64) << (64 - bits) };
        Range { first, last: first | (u64::MAX >> bits) }
    }

    /// Its descendants so many levels below, from the left.
    pub(crate) fn descendants(self, levels: u8) -> impl ExactSizeIterator<Item = Self> {
        let first = self.index << (BITS_PER_LEVEL * u32::from(levels));
        let level = self.level + levels;
        (0..nodes(levels) as u32).map(move |number| Self { level, index: first + number })
    }
}

/// Nodes of a level, which are also the descendants of a node so many levels below it.
#[must_use]
pub const fn nodes(level: u8) -> usize {
    1 << (BITS_PER_LEVEL * level as u32)
}

/// A stretch of positions, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Range {
    /// The first one.
    pub first: u64,
    /// The last one, never below the first.
    pub last: u64,
}

impl Range {
    /// Whether a position lies in it.
    #[must_use]
    pub const fn contains(self, position: u64) -> bool {
        self.first <= position && position <= self.last
    }

    /// What is left of it behind `through`.
    #[must_use]
    pub fn after(self, through: u64) -> Option<Self> {
        let first = through.checked_add(1)?.max(self.first);
        (first <= self.last).then_some(Self { first, last: self.last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_position_lies_below_its_prefix_on_every_level_and_below_one_child_of_it(position: u64, level in 0..MAX_DEPTH) {
            let prefix = Prefix::of(position, level);
            prop_assert!(prefix.range().contains(position));
            prop_assert_eq!(Prefix::new(level, prefix.index()), Some(prefix));
            let children: Vec<Prefix> = prefix.descendants(1).filter(|child| child.range().contains(position)).collect();
            prop_assert_eq!(children, vec![Prefix::of(position, level + 1)]);
        }
    }

    #[test]
    fn the_nodes_of_a_level_lie_side_by_side() {
        let level: Vec<Range> = Prefix::ROOT.descendants(2).map(Prefix::range).collect();
        assert_eq!((level.len(), level[0].first, level[255].last), (256, 0, u64::MAX));
        assert!(
            level.windows(2).all(|pair| pair[0].after(pair[0].last).is_none() && pair[0].last + 1 == pair[1].first)
        );
        assert_eq!(Prefix::new(1, 16), None);
        assert_eq!(Prefix::new(MAX_DEPTH + 1, 0), None);
    }

    #[test]
    fn what_is_left_of_a_range() {
        let range = Range { first: 10, last: 20 };
        assert_eq!(range.after(12), Some(Range { first: 13, last: 20 }));
        assert_eq!((range.after(20), range.after(u64::MAX), range.after(5)), (None, None, Some(range)));
    }
}
