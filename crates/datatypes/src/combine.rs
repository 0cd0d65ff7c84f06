//! What commands of many keys make of values that were read: pure functions, for gateways.
//!
//! A gateway reads each key with [`KeyOp::Whole`](crate::op::KeyOp::Whole) (or a narrower operation), combines here, and answers; for the
//! commands that store, it writes the result with [`KeyOp::Replace`](crate::op::KeyOp::Replace).

use std::collections::{BTreeMap, BTreeSet};

use althing_crdt::{Hll, Merge};
use bytes::Bytes;

use crate::{Content, OpError, Whole};

/// How sets become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetRule {
    /// What is in any of them.
    Union,
    /// What is in all of them.
    Intersection,
    /// What is in the first, and in none of the others.
    Difference,
}

/// What becomes of the scores of one member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aggregate {
    /// They are added up, the default.
    Sum,
    /// The least counts.
    Min,
    /// The greatest counts.
    Max,
}

/// What BITOP does with the bits at one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BitRule {
    /// One if all are.
    And,
    /// One if any is.
    Or,
    /// One if an odd number are.
    Xor,
    /// One if the first string's is not; others are not looked at.
    Not,
}

/// The members of a key that must be a set; none if there is no key.
///
/// # Errors
/// [`OpError::WrongType`]
pub fn members(whole: Option<Whole>) -> Result<BTreeSet<Bytes>, OpError> {
    match whole.map(|whole| whole.content) {
        None => Ok(BTreeSet::new()),
        Some(Content::Set(members)) => Ok(members.into_iter().collect()),
        Some(Content::String(_) | Content::Hash(_) | Content::Sorted(_) | Content::Sketch(_)) => {
            Err(OpError::WrongType)
        }
    }
}

/// The members and scores of a key that must be a sorted set, or a set, whose members have a score of 1; none if there is no key.
///
/// # Errors
/// [`OpError::WrongType`]
pub fn scores(whole: Option<Whole>) -> Result<BTreeMap<Bytes, f64>, OpError> {
    match whole.map(|whole| whole.content) {
        None => Ok(BTreeMap::new()),
        Some(Content::Set(members)) => Ok(members.into_iter().map(|member| (member, 1.0)).collect()),
        Some(Content::Sorted(members)) => Ok(members.into_iter().collect()),
        Some(Content::String(_) | Content::Hash(_) | Content::Sketch(_)) => Err(OpError::WrongType),
    }
}

/// SUNION, SINTER, SDIFF of sets in the order of the command.
#[must_use]
pub fn sets(rule: SetRule, inputs: Vec<BTreeSet<Bytes>>) -> BTreeSet<Bytes> {
    let mut inputs = inputs.into_iter();
    let first = inputs.next().unwrap_or_default();
    inputs.fold(first, |mut result, mut next| match rule {
        SetRule::Union => {
            result.append(&mut next);
            result
        }
        SetRule::Intersection => {
            result.retain(|member| next.contains(member));
            result
        }
        SetRule::Difference => {
            result.retain(|member| !next.contains(member));
            result
        }
    })
}

/// ZUNION, ZINTER, ZDIFF of sorted sets in the order of the command, each with its weight (1 unless told otherwise; ZDIFF has none). In
/// the order of scores, and of members where they are equal.
#[must_use]
pub fn sorted(rule: SetRule, aggregate: Aggregate, inputs: Vec<(f64, BTreeMap<Bytes, f64>)>) -> Vec<(Bytes, f64)> {
    let mut inputs = inputs.into_iter().map(|(weight, scores)| weighed(weight, scores));
    let first = inputs.next().unwrap_or_default();
    let result = inputs.fold(first, |mut result, next| match rule {
        SetRule::Union => {
            for (member, score) in next {
                result.entry(member).and_modify(|old| *old = aggregate.of(*old, score)).or_insert(score);
            }
            result
        }
        SetRule::Intersection => {
            let both = result.into_iter().filter_map(|(member, score)| {
                let other = next.get(&member)?;
                Some((member, aggregate.of(score, *other)))
            });
            both.collect()
        }
        SetRule::Difference => {
            result.retain(|member, _| !next.contains_key(member));
            result
        }
    });
    let mut result: Vec<(Bytes, f64)> = result.into_iter().collect();
    // Members ascend already, and a stable sort leaves them so where scores are equal.
    result.sort_by(|left, right| left.1.total_cmp(&right.1));
    result
}

fn weighed(weight: f64, mut scores: BTreeMap<Bytes, f64>) -> BTreeMap<Bytes, f64> {
    scores.values_mut().for_each(|score| *score = number(*score * weight));
    scores
}

/// What is no number (infinity times zero, infinity less infinity) counts as 0, as Redis has it. There is one zero only.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score + 0.0 }
}

impl Aggregate {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Sum => number(left + right),
            Self::Min => left.min(right),
            Self::Max => left.max(right),
        }
    }
}

/// BITOP of strings; a missing one is empty. Shorter ones go on with zeros.
#[must_use]
pub fn bits(rule: BitRule, inputs: &[Bytes]) -> Bytes {
    let Some((first, others)) = inputs.split_first() else { return Bytes::new() };
    if rule == BitRule::Not {
        return first.iter().map(|byte| !byte).collect();
    }
    let len = inputs.iter().map(Bytes::len).max().unwrap_or_default();
    let mut result = first.to_vec();
    result.resize(len, 0);
    for other in others {
        let padded = other.iter().copied().chain(std::iter::repeat(0));
        for (byte, other) in result.iter_mut().zip(padded) {
            *byte = match rule {
                BitRule::And => *byte & other,
                BitRule::Or => *byte | other,
                BitRule::Xor => *byte ^ other,
                BitRule::Not => !*byte,
            };
        }
    }
    result.into()
}

/// The sketch of all elements of many: PFCOUNT of several keys is its estimate, PFMERGE writes it.
#[must_use]
pub fn sketches(inputs: impl IntoIterator<Item = Hll>) -> Hll {
    let mut all = Hll::default();
    inputs.into_iter().for_each(|sketch| all.merge(sketch));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(members: &[&'static str]) -> BTreeSet<Bytes> {
        members.iter().map(|member| Bytes::from_static(member.as_bytes())).collect()
    }

    fn scored(members: &[(&'static str, f64)]) -> BTreeMap<Bytes, f64> {
        members.iter().map(|(member, score)| (Bytes::from_static(member.as_bytes()), *score)).collect()
    }

    fn shown(members: &[(Bytes, f64)]) -> Vec<(&str, f64)> {
        members.iter().map(|(member, score)| (std::str::from_utf8(member).unwrap(), *score)).collect()
    }

    #[test]
    fn sets_combine() {
        let inputs = || vec![set(&["a", "b", "c"]), set(&["c", "d"]), set(&["a", "c", "e"])];
        assert_eq!(sets(SetRule::Union, inputs()), set(&["a", "b", "c", "d", "e"]));
        assert_eq!(sets(SetRule::Intersection, inputs()), set(&["c"]));
        assert_eq!(sets(SetRule::Difference, inputs()), set(&["b"]));
        assert_eq!(sets(SetRule::Union, Vec::new()), set(&[]));
    }

    #[test]
    fn sorted_sets_combine_with_weights_and_aggregates() {
        let inputs = || vec![(2.0, scored(&[("a", 1.0), ("b", 2.0)])), (3.0, scored(&[("b", 2.0), ("c", 3.0)]))];
        assert_eq!(shown(&sorted(SetRule::Union, Aggregate::Sum, inputs())), [("a", 2.0), ("c", 9.0), ("b", 10.0)]);
        assert_eq!(shown(&sorted(SetRule::Union, Aggregate::Min, inputs())), [("a", 2.0), ("b", 4.0), ("c", 9.0)]);
        assert_eq!(shown(&sorted(SetRule::Intersection, Aggregate::Max, inputs())), [("b", 6.0)]);
        assert_eq!(shown(&sorted(SetRule::Difference, Aggregate::Sum, inputs())), [("a", 2.0)]);
    }

    #[test]
    fn what_is_no_number_counts_as_zero() {
        let infinite = |score| scored(&[("a", score)]);
        let sum = sorted(
            SetRule::Union,
            Aggregate::Sum,
            vec![(1.0, infinite(f64::INFINITY)), (1.0, infinite(f64::NEG_INFINITY))],
        );
        assert_eq!(shown(&sum), [("a", 0.0)]);
        assert_eq!(shown(&sorted(SetRule::Union, Aggregate::Sum, vec![(0.0, infinite(f64::INFINITY))])), [("a", 0.0)]);
    }

    #[test]
    fn members_of_equal_score_stand_in_their_own_order() {
        let result =
            sorted(SetRule::Union, Aggregate::Sum, vec![(0.0, scored(&[("b", 1.0), ("a", -2.0), ("c", 3.0)]))]);
        assert_eq!(shown(&result), [("a", 0.0), ("b", 0.0), ("c", 0.0)]);
    }

    #[test]
    fn bits_combine_and_short_strings_go_on_with_zeros() {
        let inputs = [Bytes::from_static(b"\xff\x0f"), Bytes::from_static(b"\x0f")];
        assert_eq!(bits(BitRule::And, &inputs), &b"\x0f\x00"[..]);
        assert_eq!(bits(BitRule::Or, &inputs), &b"\xff\x0f"[..]);
        assert_eq!(bits(BitRule::Xor, &inputs), &b"\xf0\x0f"[..]);
        assert_eq!(bits(BitRule::Not, &inputs), &b"\x00\xf0"[..]);
        assert_eq!(bits(BitRule::Or, &[]), Bytes::new());
    }

    #[test]
    fn only_sets_have_members_and_sets_have_scores_of_one() {
        let whole = |content| Some(Whole { content, deadline_ms: None });
        assert_eq!(members(whole(Content::String(Bytes::new()))), Err(OpError::WrongType));
        assert_eq!(members(whole(Content::Sorted(Vec::new()))), Err(OpError::WrongType));
        assert_eq!(members(None), Ok(BTreeSet::new()));
        assert_eq!(scores(whole(Content::Set(vec!["a".into()]))), Ok(scored(&[("a", 1.0)])));
        assert_eq!(scores(whole(Content::Hash(Vec::new()))), Err(OpError::WrongType));
    }

    #[test]
    fn sketches_count_their_union() {
        let all = sketches([Hll::of(b"a"), Hll::of(b"b"), Hll::of(b"a")]);
        assert_eq!(all.estimate(), 2);
        assert_eq!(sketches([]), Hll::default());
    }

    proptest! {
        #[test]
        fn rules_are_those_of_sets(left: BTreeSet<u8>, right: BTreeSet<u8>) {
            let named = |set: &BTreeSet<u8>| set.iter().map(|n| Bytes::from(vec![*n])).collect::<BTreeSet<Bytes>>();
            let inputs = || vec![named(&left), named(&right)];
            prop_assert_eq!(sets(SetRule::Union, inputs()), named(&(&left | &right)));
            prop_assert_eq!(sets(SetRule::Intersection, inputs()), named(&(&left & &right)));
            prop_assert_eq!(sets(SetRule::Difference, inputs()), named(&(&left - &right)));
        }
    }
}
