use super::{NOW_MS, Script, all, b, text};
use crate::op::{Existence, ExpireIf, HashOp, KeyOp, Precision, SetAnswer, SetExpiry, SetOp, SketchOp, StringOp, When};
use crate::{Content, Edit, Kind, Op, OpError, Reply, Whole, execute};

fn set(value: &'static str) -> Op {
    let (expiry, condition, answer) = (SetExpiry::Clear, Existence::Any, SetAnswer::Done);
    StringOp::Set { value: b(value), expiry, condition, answer }.into()
}

fn expire(at_ms: i64, condition: ExpireIf) -> Op {
    KeyOp::Expire { when: When::At(at_ms), condition }.into()
}

const LIVES: KeyOp = KeyOp::TimeToLive(Precision::Milliseconds);

#[test]
fn a_key_is_there_has_a_type_and_goes() {
    Script::default().table([
        (KeyOp::Exists.into(), Reply::Int(0)),
        (KeyOp::Kind.into(), Reply::Kind(None)),
        (KeyOp::Delete.into(), Reply::Int(0)),
        (set("a"), Reply::Ok),
        (KeyOp::Exists.into(), Reply::Int(1)),
        (KeyOp::Kind.into(), Reply::Kind(Some(Kind::String))),
        (KeyOp::Delete.into(), Reply::Int(1)),
        (KeyOp::Exists.into(), Reply::Int(0)),
    ]);
}

#[test]
fn deadlines_are_told_as_instants_and_as_spans() {
    Script::default().table([
        (LIVES.into(), Reply::Int(-2)),
        (KeyOp::ExpireTime(Precision::Seconds).into(), Reply::Int(-2)),
        (set("a"), Reply::Ok),
        (LIVES.into(), Reply::Int(-1)),
        (KeyOp::Persist.into(), Reply::Int(0)),
        (expire(NOW_MS + 1_500, ExpireIf::Always), Reply::Int(1)),
        (LIVES.into(), Reply::Int(1_500)),
        (KeyOp::TimeToLive(Precision::Seconds).into(), Reply::Int(2)),
        (KeyOp::ExpireTime(Precision::Milliseconds).into(), Reply::Int(NOW_MS + 1_500)),
        (KeyOp::ExpireTime(Precision::Seconds).into(), Reply::Int(1_002)),
        (KeyOp::Persist.into(), Reply::Int(1)),
        (LIVES.into(), Reply::Int(-1)),
    ]);
}

#[test]
fn conditions_decide_whether_a_deadline_is_set() {
    use ExpireIf::{Always, Earlier, Later, None, Some, SomeEarlier};
    let after = |ms, condition| expire(NOW_MS + ms, condition);
    Script::default().table([
        (after(10, Always), Reply::Int(0)),
        (set("a"), Reply::Ok),
        (after(10, Some), Reply::Int(0)),
        (after(10, Later), Reply::Int(0)),
        (after(10, SomeEarlier), Reply::Int(0)),
        (after(10, None), Reply::Int(1)),
        (after(20, None), Reply::Int(0)),
        (after(10, Later), Reply::Int(0)),
        (after(20, Later), Reply::Int(1)),
        (after(20, Earlier), Reply::Int(0)),
        (after(10, Earlier), Reply::Int(1)),
        (after(5, SomeEarlier), Reply::Int(1)),
        (LIVES.into(), Reply::Int(5)),
        (KeyOp::Persist.into(), Reply::Int(1)),
        (after(5, Earlier), Reply::Int(1)),
    ]);
}

#[test]
fn a_deadline_that_has_passed_deletes_at_once() {
    let mut script = Script::default();
    script.table([
        (set("a"), Reply::Ok),
        (expire(-5, ExpireIf::Always), Reply::Int(1)),
        (KeyOp::Exists.into(), Reply::Int(0)),
        (set("a"), Reply::Ok),
    ]);
    let beyond = KeyOp::Expire { when: When::In(i64::MAX), condition: ExpireIf::Always };
    assert_eq!(script.run(beyond), Err(OpError::InvalidExpire));
}

#[test]
fn what_has_expired_is_not_there_and_whoever_writes_inherits_nothing() {
    let mut script = Script::default();
    script.table([
        (Op::from(SetOp::Add(all(&["old"]))), Reply::Int(1)),
        (expire(NOW_MS + 10, ExpireIf::Always), Reply::Int(1)),
    ]);
    script.at(NOW_MS + 9);
    script.table([(SetOp::Len, Reply::Int(1))]);
    script.at(NOW_MS + 10);
    let (reply, edits) = execute(SetOp::Add(all(&["new"])).into(), &script.value, NOW_MS + 10, 0).unwrap();
    assert_eq!((reply, edits), (Reply::Int(1), vec![Edit::Delete, Edit::SetAdd(b("new"))]));
    script.table([
        (Op::from(SetOp::Len), Reply::Int(0)),
        (KeyOp::Kind.into(), Reply::Kind(None)),
        (LIVES.into(), Reply::Int(-2)),
        (KeyOp::Delete.into(), Reply::Int(0)),
        (HashOp::Len.into(), Reply::Int(0)),
    ]);
    script.table([
        (Op::from(SetOp::Add(all(&["new"]))), Reply::Int(1)),
        (SetOp::Members.into(), Reply::Set(all(&["new"]))),
        (LIVES.into(), Reply::Int(-1)),
    ]);
}

#[test]
fn forms_have_the_names_that_redis_gives_them() {
    let long = "a string that is longer than forty-four bytes is not embedded";
    let named = |script: &mut Script, name| assert_eq!(script.run(KeyOp::Encoding), Ok(text(name)));
    let mut script = Script::default();
    assert_eq!(script.run(KeyOp::Encoding), Ok(Reply::Nil));
    for (value, name) in [("12", "int"), ("012", "embstr"), ("a", "embstr"), (long, "raw")] {
        script.table([(set(value), Reply::Ok)]);
        named(&mut script, name);
    }
    let mut script = Script::default();
    script.table([(SetOp::Add(all(&["1", "2"])), Reply::Int(2))]);
    named(&mut script, "intset");
    script.table([(SetOp::Add(all(&["a"])), Reply::Int(1))]);
    named(&mut script, "hashtable");
    let mut script = Script::default();
    script.table([(HashOp::Set(vec![(b("a"), b("b"))]), Reply::Int(1))]);
    named(&mut script, "listpack");
    script.table([(HashOp::Set((0..600).map(|n: u32| (n.to_string().into(), b("b"))).collect()), Reply::Int(600))]);
    named(&mut script, "hashtable");
}

#[test]
fn how_a_key_is_used_is_not_kept() {
    let mut script = Script::default();
    script.table([
        (KeyOp::RefCount.into(), Reply::Nil),
        (KeyOp::Frequency.into(), Reply::Nil),
        (set("a"), Reply::Ok),
        (KeyOp::RefCount.into(), Reply::Int(1)),
        (KeyOp::IdleTime.into(), Reply::Int(0)),
    ]);
    assert_eq!(script.run(KeyOp::Frequency), Err(OpError::NoFrequency));
}

#[test]
fn a_key_is_carried_elsewhere_by_its_payload() {
    let mut source = Script::default();
    source.table([(SetOp::Add(all(&["a", "b"])), Reply::Int(2))]);
    let Ok(Reply::Bytes(payload)) = source.run(KeyOp::Dump) else { panic!("a payload") };
    let restore = |expiry, condition| Op::from(KeyOp::Restore { payload: payload.clone(), expiry, condition });
    let mut target = Script::default();
    target.table([
        (KeyOp::Dump.into(), Reply::Nil),
        (restore(Some(When::In(100)), Existence::Absent), Reply::Ok),
        (SetOp::Members.into(), Reply::Set(all(&["a", "b"]))),
        (LIVES.into(), Reply::Int(100)),
    ]);
    assert_eq!(target.run(restore(None, Existence::Absent)), Err(OpError::BusyKey));
    target.table([
        (set("x"), Reply::Ok),
        (restore(None, Existence::Any), Reply::Ok),
        (SetOp::Len.into(), Reply::Int(2)),
        (LIVES.into(), Reply::Int(-1)),
        (restore(Some(When::At(1)), Existence::Any), Reply::Ok),
        (KeyOp::Exists.into(), Reply::Int(0)),
    ]);
    let bad = KeyOp::Restore { payload: b("garbage"), expiry: None, condition: Existence::Any };
    assert_eq!(target.run(bad), Err(OpError::BadPayload));
}

#[test]
fn a_key_is_read_whole_and_replaced_whole() {
    let mut source = Script::default();
    source.table([(set("a"), Reply::Ok), (expire(NOW_MS + 100, ExpireIf::Always), Reply::Int(1))]);
    let whole = Whole { content: Content::String(b("a")), deadline_ms: Some(NOW_MS + 100) };
    assert_eq!(source.run(KeyOp::Whole), Ok(Reply::Whole(whole.clone())));
    let replace = |whole, condition| Op::from(KeyOp::Replace { whole, condition });
    Script::default().table([
        (KeyOp::Whole.into(), Reply::Nil),
        (SetOp::Add(all(&["x"])).into(), Reply::Int(1)),
        (replace(Some(whole.clone()), Existence::Absent), Reply::Int(0)),
        (replace(Some(whole.clone()), Existence::Any), Reply::Int(1)),
        (StringOp::Get.into(), text("a")),
        (LIVES.into(), Reply::Int(100)),
        (replace(None, Existence::Any), Reply::Int(1)),
        (KeyOp::Exists.into(), Reply::Int(0)),
        (replace(Some(whole), Existence::Present), Reply::Int(0)),
        (
            replace(Some(Whole { content: Content::Set(Vec::new()), deadline_ms: Some(i64::MAX) }), Existence::Any),
            Reply::Int(1),
        ),
        (KeyOp::Exists.into(), Reply::Int(0)),
    ]);
    let nan = Whole { content: Content::Sorted(vec![(b("a"), f64::NAN)]), deadline_ms: None };
    assert_eq!(Script::default().run(replace(Some(nan), Existence::Any)), Err(OpError::NanSent));
}

#[test]
fn every_type_goes_whole_to_another_key() {
    let writes: [Op; 4] = [
        SetOp::Add(all(&["a", "b"])).into(),
        HashOp::Set(vec![(b("a"), b("1")), (b("b"), b(""))]).into(),
        SketchOp::Add(all(&["a", "b"])).into(),
        crate::op::SortedOp::Increment { member: b("a"), by: -1.5, write: crate::op::ScoreWrite::ALWAYS }.into(),
    ];
    for write in writes {
        let mut source = Script::default();
        source.run(write).unwrap();
        let Ok(Reply::Whole(whole)) = source.run(KeyOp::Whole) else { panic!("all of a key") };
        let mut target = Script::default();
        target.run(KeyOp::Replace { whole: Some(whole.clone()), condition: Existence::Any }).unwrap();
        assert_eq!(target.value.whole(), Some(whole));
    }
}
