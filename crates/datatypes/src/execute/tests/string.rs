use super::{NOW_MS, Script, b, text};
use crate::op::{Existence, GetExpiry, KeyOp, Precision, SetAnswer, SetExpiry, SetOp, StringOp, When};
use crate::{Edit, MAX_STRING_BYTES, Op, OpError, Reply, execute};

fn set(value: &'static str) -> StringOp {
    StringOp::Set { value: b(value), expiry: SetExpiry::Clear, condition: Existence::Any, answer: SetAnswer::Done }
}

fn set_if(value: &'static str, condition: Existence, answer: SetAnswer) -> StringOp {
    StringOp::Set { value: b(value), expiry: SetExpiry::Clear, condition, answer }
}

fn set_until(value: &'static str, expiry: SetExpiry) -> StringOp {
    StringOp::Set { value: b(value), expiry, condition: Existence::Any, answer: SetAnswer::Done }
}

const EXPIRES: KeyOp = KeyOp::ExpireTime(Precision::Milliseconds);

#[test]
fn strings_are_written_and_read() {
    Script::default().table([
        (StringOp::Get, Reply::Nil),
        (StringOp::Length, Reply::Int(0)),
        (set("hello"), Reply::Ok),
        (StringOp::Get, text("hello")),
        (StringOp::Length, Reply::Int(5)),
        (StringOp::Append(b(" you")), Reply::Int(9)),
        (StringOp::Get, text("hello you")),
        (StringOp::GetDelete, text("hello you")),
        (StringOp::GetDelete, Reply::Nil),
        (StringOp::Append(b("")), Reply::Int(0)),
        (StringOp::Get, text("")),
    ]);
}

#[test]
fn conditions_decide_whether_a_string_is_written() {
    let (done, old) = (SetAnswer::Done, SetAnswer::Old);
    Script::default().table([
        (set_if("a", Existence::Present, done), Reply::Nil),
        (set_if("a", Existence::Present, old), Reply::Nil),
        (set_if("a", Existence::Absent, old), Reply::Nil),
        (set_if("b", Existence::Absent, done), Reply::Nil),
        (set_if("b", Existence::Absent, old), text("a")),
        (StringOp::Get, text("a")),
        (set_if("b", Existence::Present, old), text("a")),
        (set_if("c", Existence::Any, old), text("b")),
        (StringOp::Get, text("c")),
    ]);
}

#[test]
fn a_part_is_read_by_its_first_and_last_byte() {
    let range = |start, end| StringOp::GetRange { start, end };
    Script::default().table([
        (range(0, -1), text("")),
        (set("hello"), Reply::Ok),
        (range(0, -1), text("hello")),
        (range(1, 100), text("ello")),
        (range(-3, -1), text("llo")),
        (range(-100, 1), text("he")),
        (range(3, 1), text("")),
        (range(-100, -200), text("")),
        (range(-200, -100), text("h")),
        (range(i64::MIN, i64::MAX), text("hello")),
    ]);
}

#[test]
fn a_part_is_written_over_and_gaps_are_zeros() {
    let put = |offset, value| StringOp::SetRange { offset, value: b(value) };
    Script::default().table([
        (put(5, ""), Reply::Int(0)),
        (StringOp::Get, Reply::Nil),
        (put(2, "ab"), Reply::Int(4)),
        (StringOp::Get, text("\0\0ab")),
        (put(0, "xyz"), Reply::Int(4)),
        (StringOp::Get, text("xyzb")),
    ]);
}

#[test]
fn no_string_becomes_too_long() {
    let mut script = Script::default();
    let long = StringOp::SetRange { offset: MAX_STRING_BYTES as u64 - 1, value: b("a") };
    assert_eq!(script.run(long), Ok(Reply::Int(MAX_STRING_BYTES as i64)));
    let put = StringOp::SetRange { offset: u64::MAX, value: b("a") };
    assert_eq!(script.run(put), Err(OpError::TooLong));
    assert_eq!(script.run(StringOp::Append(b("a"))), Err(OpError::TooLong));
}

#[test]
fn numbers_are_added_to() {
    Script::default().table([
        (StringOp::Increment(5), Reply::Int(5)),
        (StringOp::Increment(-7), Reply::Int(-2)),
        (StringOp::IncrementFloat(0.5), text("-1.5")),
        (set("10.50"), Reply::Ok),
        (StringOp::IncrementFloat(0.1), text("10.6")),
        (StringOp::Get, text("10.6")),
    ]);
}

#[test]
fn an_increment_is_an_addition_whatever_was_there() {
    let mut script = Script::default();
    script.table([(set("41"), Reply::Ok)]);
    let (_, edits) = execute(Op::String(StringOp::Increment(1)), &script.value, NOW_MS, 0).unwrap();
    assert_eq!(edits, [Edit::AddInt(1)]);
    let (_, edits) = execute(Op::String(StringOp::IncrementFloat(0.5)), &script.value, NOW_MS, 0).unwrap();
    assert_eq!(edits, [Edit::AddFloat(0.5)]);
}

#[test]
fn what_is_no_number_is_not_added_to() {
    let mut script = Script::default();
    for (value, error) in
        [("a", OpError::NotAnInteger), ("1.5", OpError::NotAnInteger), ("9223372036854775807", OpError::Overflow)]
    {
        script.table([(set(value), Reply::Ok)]);
        assert_eq!(script.run(StringOp::Increment(1)), Err(error));
    }
    script.table([(set("a"), Reply::Ok)]);
    assert_eq!(script.run(StringOp::IncrementFloat(1.0)), Err(OpError::NotAFloat));
    script.table([(set("1"), Reply::Ok)]);
    assert_eq!(script.run(StringOp::IncrementFloat(f64::INFINITY)), Err(OpError::NotFinite));
}

#[test]
fn a_write_clears_the_deadline_unless_told_otherwise() {
    let at = |ms| SetExpiry::Set(When::At(NOW_MS + ms));
    Script::default().table([
        (Op::from(set_until("a", at(100))), Reply::Ok),
        (EXPIRES.into(), Reply::Int(NOW_MS + 100)),
        (set_until("b", SetExpiry::Keep).into(), Reply::Ok),
        (EXPIRES.into(), Reply::Int(NOW_MS + 100)),
        (StringOp::Append(b("c")).into(), Reply::Int(2)),
        (EXPIRES.into(), Reply::Int(NOW_MS + 100)),
        (set("d").into(), Reply::Ok),
        (EXPIRES.into(), Reply::Int(-1)),
        (set_until("e", SetExpiry::Set(When::In(50))).into(), Reply::Ok),
        (EXPIRES.into(), Reply::Int(NOW_MS + 50)),
        (set_until("f", at(0)).into(), Reply::Ok),
        (StringOp::Get.into(), Reply::Nil),
    ]);
}

#[test]
fn a_read_can_move_the_deadline() {
    let get = |expiry| Op::from(StringOp::GetExpire(expiry));
    Script::default().table([
        (get(GetExpiry::Set(When::In(-1))), Reply::Nil),
        (set("a").into(), Reply::Ok),
        (get(GetExpiry::Set(When::In(100))), text("a")),
        (EXPIRES.into(), Reply::Int(NOW_MS + 100)),
        (get(GetExpiry::Keep), text("a")),
        (EXPIRES.into(), Reply::Int(NOW_MS + 100)),
        (get(GetExpiry::Persist), text("a")),
        (EXPIRES.into(), Reply::Int(-1)),
        (get(GetExpiry::Set(When::At(1))), text("a")),
        (StringOp::Get.into(), Reply::Nil),
    ]);
}

#[test]
fn deadlines_before_all_time_and_beyond_it_are_refused() {
    let mut script = Script::default();
    script.table([(set("a"), Reply::Ok)]);
    for when in [When::At(0), When::At(-1), When::In(0), When::In(-5), When::In(i64::MAX)] {
        assert_eq!(script.run(set_until("b", SetExpiry::Set(when))), Err(OpError::InvalidExpire));
        assert_eq!(script.run(StringOp::GetExpire(GetExpiry::Set(when))), Err(OpError::InvalidExpire));
    }
    assert_eq!(script.run(StringOp::Get), Ok(text("a")));
}

#[test]
fn a_write_takes_the_place_of_another_type_and_everything_else_is_refused() {
    let mut script = Script::default();
    script.table([(SetOp::Add(vec![b("a")]), Reply::Int(1))]);
    script.run(KeyOp::Expire { when: When::In(9), condition: crate::op::ExpireIf::Always }).unwrap();
    let refused = [
        StringOp::Get,
        StringOp::Append(b("a")),
        StringOp::Increment(1),
        StringOp::GetExpire(GetExpiry::Keep),
        StringOp::SetRange { offset: 0, value: b("") },
        set_if("a", Existence::Any, SetAnswer::Old),
    ];
    for op in refused {
        assert_eq!(script.run(op), Err(OpError::WrongType));
    }
    script.table([
        (Op::from(set_until("b", SetExpiry::Keep)), Reply::Ok),
        (StringOp::Get.into(), text("b")),
        (EXPIRES.into(), Reply::Int(NOW_MS + 9)),
    ]);
}
