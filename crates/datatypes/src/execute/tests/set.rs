use std::collections::BTreeSet;

use super::{Script, all, b, list, text};
use crate::op::{KeyOp, SetOp};
use crate::{OpError, Reply};

#[test]
fn members_are_added_asked_for_and_removed() {
    Script::default().table([
        (SetOp::Members, Reply::Set(Vec::new())),
        (SetOp::Contains(b("a")), Reply::Int(0)),
        (SetOp::Add(all(&["b", "a", "b"])), Reply::Int(2)),
        (SetOp::Add(all(&["b", "c"])), Reply::Int(1)),
        (SetOp::Len, Reply::Int(3)),
        (SetOp::Members, Reply::Set(all(&["a", "b", "c"]))),
        (SetOp::Contains(b("a")), Reply::Int(1)),
        (SetOp::ContainsMany(all(&["x", "a", "a"])), Reply::Ints(vec![Some(0), Some(1), Some(1)])),
        (SetOp::Remove(all(&["a", "x", "a"])), Reply::Int(1)),
        (SetOp::Members, Reply::Set(all(&["b", "c"]))),
    ]);
}

#[test]
fn a_set_without_members_is_no_key() {
    let mut script = Script::default();
    script.table([
        (SetOp::Add(all(&["a"])), Reply::Int(1)),
        (SetOp::Pop(None), text("a")),
        (SetOp::Pop(None), Reply::Nil),
    ]);
    script.table([(KeyOp::Exists, Reply::Int(0))]);
}

#[test]
fn members_are_taken_and_chosen_at_random() {
    let mut script = Script::default();
    let names: BTreeSet<_> = all(&["a", "b", "c", "d"]).into_iter().collect();
    script.table([
        (SetOp::Pop(Some(2)), Reply::Set(Vec::new())),
        (SetOp::Random(None), Reply::Nil),
        (SetOp::Random(Some(-2)), list(&[])),
        (SetOp::Add(names.iter().cloned().collect()), Reply::Int(4)),
    ]);
    let Ok(Reply::List(two)) = script.run(SetOp::Random(Some(2))) else { panic!("a list") };
    assert_eq!(two.iter().collect::<BTreeSet<_>>().len(), 2);
    let Ok(Reply::List(many)) = script.run(SetOp::Random(Some(-50))) else { panic!("a list") };
    assert_eq!((many.len(), many.into_iter().collect::<BTreeSet<_>>()), (50, names.clone()));
    let Ok(Reply::Set(three)) = script.run(SetOp::Pop(Some(3))) else { panic!("a set") };
    let Ok(Reply::Set(rest)) = script.run(SetOp::Members) else { panic!("a set") };
    assert_eq!((three.len(), rest.len()), (3, 1));
    assert_eq!(three.into_iter().chain(rest).collect::<BTreeSet<_>>(), names);
    let Ok(Reply::Set(rest)) = script.run(SetOp::Pop(Some(u64::MAX))) else { panic!("a set") };
    assert_eq!(rest.len(), 1);
    assert_eq!(script.run(KeyOp::Exists), Ok(Reply::Int(0)));
}

#[test]
fn the_seed_alone_decides_what_is_random() {
    let mut script = Script::default();
    let members = (0..100).map(|n: u32| n.to_string().into()).collect();
    script.table([(SetOp::Add(members), Reply::Int(100))]);
    let choose = |seed| crate::execute(SetOp::Random(Some(5)).into(), &script.value, 0, seed).unwrap();
    assert_eq!(choose(3), choose(3));
    assert_ne!(choose(3), choose(4));
}

#[test]
fn answers_that_would_not_fit_are_refused() {
    let mut script = Script::default();
    script.table([(SetOp::Add(vec![vec![b'x'; 1024 * 1024].into()]), Reply::Int(1))]);
    assert!(script.run(SetOp::Random(Some(-8))).is_ok());
    assert_eq!(script.run(SetOp::Random(Some(-9))), Err(OpError::OutOfRange));
}
