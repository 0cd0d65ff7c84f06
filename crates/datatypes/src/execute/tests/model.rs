//! Random operations against the collections of the standard library, which know nothing of views and edits.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::Script;
use crate::op::{HashOp, Order, RangeBy, ScoreBound, ScoreRange, ScoreWrite, SetOp, SortedOp, WithValues, ZaddAnswer};
use crate::{Reply, View};

fn name() -> impl Strategy<Value = Bytes> {
    (0_u8..12).prop_map(|n| Bytes::from(vec![b'a' + n]))
}

fn names() -> impl Strategy<Value = Vec<Bytes>> {
    proptest::collection::vec(name(), 1..5)
}

fn int(number: usize) -> Result<Reply, crate::OpError> {
    Ok(Reply::Int(i64::try_from(number).unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn sets_are_sets(steps in proptest::collection::vec((0_u8..3, names(), 0_u64..4), 0..60)) {
        let (mut script, mut model) = (Script::default(), BTreeSet::new());
        for (what, names, count) in steps {
            match what {
                0 => {
                    let added = names.iter().filter(|name| model.insert((*name).clone())).count();
                    prop_assert_eq!(script.run(SetOp::Add(names)), int(added));
                }
                1 => {
                    let removed = names.iter().filter(|name| model.remove(*name)).count();
                    prop_assert_eq!(script.run(SetOp::Remove(names)), int(removed));
                }
                _ => {
                    let Ok(Reply::Set(popped)) = script.run(SetOp::Pop(Some(count))) else { panic!("a set") };
                    prop_assert_eq!(popped.len(), model.len().min(count as usize));
                    prop_assert!(popped.iter().all(|name| model.remove(name)));
                }
            }
            prop_assert_eq!(script.run(SetOp::Members), Ok(Reply::Set(model.iter().cloned().collect())));
            prop_assert_eq!(script.value.kind().is_some(), !model.is_empty());
        }
    }

    #[test]
    fn hashes_are_maps(steps in proptest::collection::vec((0_u8..4, names(), -9_i64..9), 0..60)) {
        let (mut script, mut model) = (Script::default(), BTreeMap::<Bytes, i64>::new());
        for (what, names, number) in steps {
            match what {
                0 => {
                    let pairs = names.iter().map(|name| (name.clone(), number.to_string().into())).collect();
                    let added = names.into_iter().filter(|name| model.insert(name.clone(), number).is_none()).count();
                    prop_assert_eq!(script.run(HashOp::Set(pairs)), int(added));
                }
                1 => {
                    let removed = names.iter().filter(|name| model.remove(*name).is_some()).count();
                    prop_assert_eq!(script.run(HashOp::Remove(names)), int(removed));
                }
                _ => {
                    let sum = model.entry(names[0].clone()).or_default();
                    *sum += number;
                    let op = HashOp::Increment { field: names[0].clone(), by: number };
                    prop_assert_eq!(script.run(op), Ok(Reply::Int(*sum)));
                }
            }
            let pairs = model.iter().map(|(name, number)| (name.clone(), number.to_string().into())).collect();
            prop_assert_eq!(script.run(HashOp::GetAll), Ok(Reply::Pairs(pairs)));
        }
    }

    #[test]
    fn sorted_sets_are_maps_that_are_sorted_by_their_values(
        steps in proptest::collection::vec((0_u8..4, names(), -4_i8..4, -4_i8..4), 0..60),
    ) {
        let (mut script, mut model) = (Script::default(), BTreeMap::<Bytes, f64>::new());
        for (what, names, low, high) in steps {
            let (low, high) = (f64::from(low), f64::from(high));
            match what {
                0 => {
                    let members = names.iter().map(|name| (low, name.clone())).collect();
                    let added = names.into_iter().filter(|name| model.insert(name.clone(), low).is_none()).count();
                    let add = SortedOp::Add { members, write: ScoreWrite::ALWAYS, answer: ZaddAnswer::Added };
                    prop_assert_eq!(script.run(add), int(added));
                }
                1 => {
                    let score = model.entry(names[0].clone()).or_default();
                    *score += low;
                    let op = SortedOp::Increment { member: names[0].clone(), by: low, write: ScoreWrite::ALWAYS };
                    prop_assert_eq!(script.run(op), Ok(Reply::Float(*score)));
                }
                2 => {
                    let removed = names.iter().filter(|name| model.remove(*name).is_some()).count();
                    prop_assert_eq!(script.run(SortedOp::Remove(names)), int(removed));
                }
                _ => {
                    let before = model.len();
                    model.retain(|_, score| *score < low || *score >= high);
                    let range = ScoreRange { min: ScoreBound::Inclusive(low), max: ScoreBound::Exclusive(high) };
                    prop_assert_eq!(script.run(SortedOp::RemoveRange(RangeBy::Score(range))), int(before - model.len()));
                }
            }
            check_sorted(&mut script, &model)?;
        }
    }
}

fn check_sorted(script: &mut Script, model: &BTreeMap<Bytes, f64>) -> Result<(), TestCaseError> {
    let mut sorted: Vec<(Bytes, f64)> = model.iter().map(|(member, score)| (member.clone(), *score)).collect();
    sorted.sort_by(|left, right| left.1.total_cmp(&right.1));
    for (rank, (member, _)) in sorted.iter().enumerate() {
        let op = SortedOp::Rank { member: member.clone(), order: Order::Ascending };
        prop_assert_eq!(script.run(op), int(rank));
    }
    for order in [Order::Ascending, Order::Descending] {
        let by = RangeBy::Index { start: 0, stop: -1 };
        let range = SortedOp::Range { by, order, limit: None, with: WithValues::Yes };
        prop_assert_eq!(script.run(range), Ok(Reply::Scored(sorted.clone())));
        sorted.reverse();
    }
    Ok(())
}
