use althing_crdt::Hll;

use super::{Script, all, b};
use crate::op::{Existence, KeyOp, SetAnswer, SetExpiry, SetOp, SketchOp, StringOp};
use crate::{Kind, OpError, Reply, combine};

#[test]
fn elements_are_counted() {
    let mut script = Script::default();
    script.table([
        (SketchOp::Count, Reply::Int(0)),
        (SketchOp::Read, Reply::Nil),
        (SketchOp::Add(Vec::new()), Reply::Int(1)),
        (SketchOp::Add(Vec::new()), Reply::Int(0)),
        (SketchOp::Count, Reply::Int(0)),
        (SketchOp::Add(all(&["a", "b", "a"])), Reply::Int(1)),
        (SketchOp::Add(all(&["b", "a"])), Reply::Int(0)),
        (SketchOp::Count, Reply::Int(2)),
    ]);
    assert_eq!(script.run(KeyOp::Kind), Ok(Reply::Kind(Some(Kind::Sketch))));
}

#[test]
fn sketches_are_merged_into_others() {
    let mut source = Script::default();
    source.table([(SketchOp::Add(all(&["a", "b"])), Reply::Int(1))]);
    let Ok(Reply::Sketch(sketch)) = source.run(SketchOp::Read) else { panic!("a sketch") };
    let merged = combine::sketches([sketch, Hll::of(b"c")]);
    let mut target = Script::default();
    target.table([
        (SketchOp::Add(all(&["c", "d"])), Reply::Int(1)),
        (SketchOp::Merge(merged), Reply::Ok),
        (SketchOp::Count, Reply::Int(4)),
    ]);
    let mut empty = Script::default();
    empty.table([(SketchOp::Merge(Hll::default()), Reply::Ok), (SketchOp::Merge(Hll::default()), Reply::Ok)]);
    assert_eq!(empty.run(KeyOp::Exists), Ok(Reply::Int(1)));
}

#[test]
fn an_element_that_changes_nothing_is_no_edit() {
    let mut script = Script::default();
    script.table([(SketchOp::Add(all(&["a"])), Reply::Int(1))]);
    let run = |op: SketchOp| crate::execute(op.into(), &script.value, 0, 0).unwrap().1;
    assert_eq!(run(SketchOp::Add(all(&["a"]))), []);
    assert_eq!(run(SketchOp::Merge(Hll::of(b"a"))), []);
    assert_eq!(run(SketchOp::Add(all(&["a", "b"]))), [crate::Edit::SketchMerge(Hll::of(b"b"))]);
}

#[test]
fn strings_are_no_sketches_and_say_so_in_their_own_words() {
    let mut script = Script::default();
    let set =
        StringOp::Set { value: b("x"), expiry: SetExpiry::Clear, condition: Existence::Any, answer: SetAnswer::Done };
    script.table([(set, Reply::Ok)]);
    assert_eq!(script.run(SketchOp::Add(all(&["a"]))), Err(OpError::NotASketch));
    let mut script = Script::default();
    script.table([(SetOp::Add(all(&["a"])), Reply::Int(1))]);
    assert_eq!(script.run(SketchOp::Count), Err(OpError::WrongType));
}
