//! Delta debugging: the smallest part of a list that still does it (Zeller and Hildebrandt, *Simplifying and isolating
//! failure-inducing input*, 2002, figure 5).
//!
//! The list is cut into pieces; if one piece alone still does it, or all but one, the search goes on with that; else with
//! smaller pieces, until each is one item. What is left is minimal in the sense that no single item can be left out.

/// Leaves out of `items` what `does_it` does not need. It must hold for all of them, and may be asked about any part.
pub fn ddmin<T: Clone>(mut items: Vec<T>, mut does_it: impl FnMut(&[T]) -> bool) -> Vec<T> {
    if items.is_empty() || does_it(&[]) {
        return Vec::new();
    }
    let mut pieces = 2;
    while items.len() >= 2 {
        let size = items.len().div_ceil(pieces);
        match reduced(&items, size, &mut does_it) {
            Some((part, is_piece)) => {
                pieces = if is_piece { 2 } else { (pieces - 1).max(2) };
                items = part;
            }
            None if size == 1 => break,
            None => pieces = (pieces * 2).min(items.len()),
        }
    }
    items
}

/// A piece that does it alone, or everything but a piece.
fn reduced<T: Clone>(items: &[T], size: usize, does_it: &mut impl FnMut(&[T]) -> bool) -> Option<(Vec<T>, bool)> {
    for piece in items.chunks(size) {
        if does_it(piece) {
            return Some((piece.to_vec(), true));
        }
    }
    let count = items.len().div_ceil(size);
    // With two pieces the rest of one is the other, which was tried.
    for number in (0..count).filter(|_| count > 2) {
        let rest = items.chunks(size).enumerate().filter(|(other, _)| *other != number);
        let rest: Vec<T> = rest.flat_map(|(_, piece)| piece.iter().cloned()).collect();
        if does_it(&rest) {
            return Some((rest, false));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_culprit_among_a_hundred_is_found_in_a_few_questions() {
        let mut asked = 0;
        let found = ddmin((0..100).collect(), |part| {
            asked += 1;
            part.contains(&42)
        });
        assert_eq!(found, [42]);
        assert!(asked < 30, "{asked}");
    }

    #[test]
    fn what_needs_nothing_is_left_with_nothing() {
        assert!(ddmin(vec![1, 2, 3], |_| true).is_empty());
        assert!(ddmin(Vec::<u8>::new(), |_| true).is_empty());
    }

    proptest! {
        #[test]
        fn of_what_is_needed_together_nothing_more_and_nothing_less_is_left(
            needed in prop::collection::btree_set(0..60_u32, 1..5),
        ) {
            let found = ddmin((0..60).collect(), |part| needed.iter().all(|item| part.contains(item)));
            prop_assert_eq!(found, needed.into_iter().collect::<Vec<_>>());
        }
    }
}
