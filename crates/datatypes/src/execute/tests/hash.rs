use super::{NOW_MS, Script, all, b, list, text};
use crate::op::{ExpireIf, HashOp, KeyOp, Precision, Scan, When, WithValues};
use crate::{Edit, Items, MAX_RANDOM, Op, OpError, Reply, execute};

fn set(pairs: &[(&'static str, &'static str)]) -> HashOp {
    HashOp::Set(pairs.iter().map(|(field, value)| (b(field), b(value))).collect())
}

#[test]
fn fields_are_written_read_and_removed() {
    Script::default().table([
        (HashOp::Get(b("a")), Reply::Nil),
        (HashOp::GetMany(all(&["a", "b"])), Reply::Array(vec![None, None])),
        (HashOp::GetAll, Reply::Pairs(Vec::new())),
        (set(&[("a", "1"), ("b", "22"), ("a", "333")]), Reply::Int(2)),
        (set(&[("b", "2"), ("c", "3")]), Reply::Int(1)),
        (HashOp::Get(b("a")), text("333")),
        (HashOp::GetMany(all(&["c", "x", "a"])), Reply::Array(vec![Some(b("3")), None, Some(b("333"))])),
        (HashOp::GetAll, Reply::Pairs(vec![(b("a"), b("333")), (b("b"), b("2")), (b("c"), b("3"))])),
        (HashOp::Fields, list(&["a", "b", "c"])),
        (HashOp::Values, list(&["333", "2", "3"])),
        (HashOp::Len, Reply::Int(3)),
        (HashOp::Contains(b("a")), Reply::Int(1)),
        (HashOp::Contains(b("x")), Reply::Int(0)),
        (HashOp::ValueLength(b("a")), Reply::Int(3)),
        (HashOp::ValueLength(b("x")), Reply::Int(0)),
        (HashOp::SetIfAbsent { field: b("a"), value: b("9") }, Reply::Int(0)),
        (HashOp::SetIfAbsent { field: b("d"), value: b("9") }, Reply::Int(1)),
        (HashOp::Remove(all(&["a", "a", "x", "d"])), Reply::Int(2)),
        (HashOp::Fields, list(&["b", "c"])),
    ]);
}

#[test]
fn fields_are_added_to() {
    let mut script = Script::default();
    let (whole, fraction) =
        (|by| HashOp::Increment { field: b("n"), by }, |by| HashOp::IncrementFloat { field: b("n"), by });
    script.table([
        (whole(5), Reply::Int(5)),
        (whole(-6), Reply::Int(-1)),
        (fraction(0.5), text("-0.5")),
        (HashOp::Get(b("n")), text("-0.5")),
    ]);
    assert_eq!(script.run(whole(1)), Err(OpError::FieldNotAnInteger));
    script.table([(set(&[("n", "x")]), Reply::Int(0))]);
    assert_eq!(script.run(fraction(1.0)), Err(OpError::FieldNotAFloat));
    assert_eq!(script.run(fraction(f64::INFINITY)), Err(OpError::InfiniteSent));
    script.table([(set(&[("n", "9223372036854775807")]), Reply::Int(0))]);
    assert_eq!(script.run(whole(1)), Err(OpError::Overflow));
    let (_, edits) = execute(whole(-1).into(), &script.value, NOW_MS, 0).unwrap();
    assert_eq!(edits, [Edit::HashAddInt { field: b("n"), by: -1 }]);
}

#[test]
fn a_hash_without_fields_is_no_key_and_leaves_no_deadline() {
    Script::default().table([
        (Op::from(set(&[("a", "1")])), Reply::Int(1)),
        (KeyOp::Expire { when: When::In(100), condition: ExpireIf::Always }.into(), Reply::Int(1)),
        (HashOp::Remove(all(&["a"])).into(), Reply::Int(1)),
        (KeyOp::Exists.into(), Reply::Int(0)),
        (set(&[("a", "1")]).into(), Reply::Int(1)),
        (KeyOp::TimeToLive(Precision::Milliseconds).into(), Reply::Int(-1)),
    ]);
}

#[test]
fn the_edits_of_the_last_removal_take_the_deadline_with_them() {
    let mut script = Script::default();
    script.table([(set(&[("a", "1")]), Reply::Int(1))]);
    script.run(KeyOp::Expire { when: When::In(100), condition: ExpireIf::Always }).unwrap();
    let (_, edits) = execute(HashOp::Remove(all(&["a"])).into(), &script.value, NOW_MS, 0).unwrap();
    assert_eq!(edits, [Edit::HashRemove(b("a")), Edit::Deadline(None)]);
}

#[test]
fn fields_are_chosen_at_random() {
    let random = |count, with| HashOp::Random { count, with };
    let mut script = Script::default();
    script.table([
        (random(None, WithValues::No), Reply::Nil),
        (random(Some(3), WithValues::No), list(&[])),
        (random(Some(-3), WithValues::Yes), Reply::Pairs(Vec::new())),
        (set(&[("a", "1")]), Reply::Int(1)),
        (random(None, WithValues::No), text("a")),
        (random(Some(5), WithValues::No), list(&["a"])),
        (random(Some(0), WithValues::No), list(&[])),
        (random(Some(-3), WithValues::No), list(&["a", "a", "a"])),
        (random(Some(1), WithValues::Yes), Reply::Pairs(vec![(b("a"), b("1"))])),
    ]);
    assert_eq!(script.run(random(Some(i64::MIN), WithValues::No)), Err(OpError::OutOfRange));
    let most = -i64::try_from(MAX_RANDOM).unwrap();
    assert!(script.run(random(Some(most), WithValues::No)).is_ok());
    assert_eq!(script.run(random(Some(most - 1), WithValues::No)), Err(OpError::OutOfRange));
}

#[test]
fn a_small_hash_is_scanned_in_one_step() {
    let scan = |pattern: Option<&'static str>| HashOp::Scan(Scan { cursor: 0, pattern: pattern.map(b), count: 1 });
    let page = |pairs: &[(&'static str, &'static str)]| Reply::Page {
        cursor: 0,
        items: Items::Pairs(pairs.iter().map(|(field, value)| (b(field), b(value))).collect()),
    };
    Script::default().table([
        (scan(None), page(&[])),
        (set(&[("a1", "1"), ("b1", "2"), ("a2", "3")]), Reply::Int(3)),
        (scan(None), page(&[("a1", "1"), ("a2", "3"), ("b1", "2")])),
        (scan(Some("a*")), page(&[("a1", "1"), ("a2", "3")])),
    ]);
}
