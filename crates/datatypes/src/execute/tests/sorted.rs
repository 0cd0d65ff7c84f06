use super::{NOW_MS, Script, all, b, list, text};
use crate::op::{
    Existence, KeyOp, LexBound, LexRange, Limit, Order, RangeBy, ScoreBound, ScoreIf, ScoreRange, ScoreWrite, SortedOp,
    WithValues, ZaddAnswer,
};
use crate::{Edit, OpError, Reply, execute};

const ASCENDING: Order = Order::Ascending;
const DESCENDING: Order = Order::Descending;

fn pairs(members: &[(f64, &'static str)]) -> Vec<(f64, bytes::Bytes)> {
    members.iter().map(|(score, member)| (*score, b(member))).collect()
}

fn add(members: &[(f64, &'static str)]) -> SortedOp {
    SortedOp::Add { members: pairs(members), write: ScoreWrite::ALWAYS, answer: ZaddAnswer::Added }
}

fn add_if(existence: Existence, score: ScoreIf, members: &[(f64, &'static str)]) -> SortedOp {
    SortedOp::Add { members: pairs(members), write: ScoreWrite { existence, score }, answer: ZaddAnswer::Changed }
}

fn scored(members: &[(&'static str, f64)]) -> Reply {
    Reply::Scored(members.iter().map(|(member, score)| (b(member), *score)).collect())
}

fn range(by: RangeBy, order: Order, limit: Option<Limit>) -> SortedOp {
    SortedOp::Range { by, order, limit, with: WithValues::No }
}

const fn index(start: i64, stop: i64) -> RangeBy {
    RangeBy::Index { start, stop }
}

const fn between(min: f64, max: f64) -> ScoreRange {
    ScoreRange { min: ScoreBound::Inclusive(min), max: ScoreBound::Inclusive(max) }
}

fn abc() -> Script {
    let mut script = Script::default();
    script.table([(add(&[(1.0, "a"), (2.0, "b"), (3.0, "c")]), Reply::Int(3))]);
    script
}

#[test]
fn scores_are_written_and_read() {
    let mut script = abc();
    script.table([
        (add(&[(5.0, "a"), (6.0, "d"), (7.0, "d")]), Reply::Int(1)),
        (SortedOp::Score(b("a")), Reply::Float(5.0)),
        (SortedOp::Score(b("d")), Reply::Float(7.0)),
        (SortedOp::Score(b("x")), Reply::Nil),
        (SortedOp::Scores(all(&["x", "b"])), Reply::Floats(vec![None, Some(2.0)])),
        (SortedOp::Len, Reply::Int(4)),
        (SortedOp::Rank { member: b("b"), order: ASCENDING }, Reply::Int(0)),
        (SortedOp::Rank { member: b("b"), order: DESCENDING }, Reply::Int(3)),
        (SortedOp::Rank { member: b("x"), order: ASCENDING }, Reply::Nil),
        (SortedOp::Remove(all(&["b", "x", "b"])), Reply::Int(1)),
        (range(index(0, -1), ASCENDING, None), list(&["c", "a", "d"])),
    ]);
    assert_eq!(script.run(add(&[(f64::NAN, "n")])), Err(OpError::NanSent));
}

#[test]
fn conditions_decide_which_scores_are_written() {
    let (any, absent, present) = (Existence::Any, Existence::Absent, Existence::Present);
    let mut script = abc();
    script.table([
        (add_if(absent, ScoreIf::Any, &[(9.0, "a"), (9.0, "d"), (8.0, "d")]), Reply::Int(1)),
        (add_if(present, ScoreIf::Any, &[(9.0, "x"), (4.0, "a")]), Reply::Int(1)),
        (add_if(any, ScoreIf::Greater, &[(1.0, "b"), (5.0, "c"), (0.0, "e")]), Reply::Int(2)),
        (add_if(any, ScoreIf::Less, &[(1.0, "b"), (5.0, "c")]), Reply::Int(1)),
        (add_if(present, ScoreIf::Greater, &[(9.0, "y"), (9.0, "b")]), Reply::Int(1)),
        (add_if(any, ScoreIf::Any, &[(9.0, "b")]), Reply::Int(0)),
    ]);
    let whole = SortedOp::Range { by: index(0, -1), order: ASCENDING, limit: None, with: WithValues::Yes };
    script.table([(whole, scored(&[("e", 0.0), ("a", 4.0), ("c", 5.0), ("b", 9.0), ("d", 9.0)]))]);
}

#[test]
fn scores_are_added_to() {
    let increment =
        |by, existence, score| SortedOp::Increment { member: b("m"), by, write: ScoreWrite { existence, score } };
    let always = |by| increment(by, Existence::Any, ScoreIf::Any);
    let mut script = Script::default();
    script.table([
        (increment(1.0, Existence::Present, ScoreIf::Any), Reply::Nil),
        (always(2.5), Reply::Float(2.5)),
        (always(-1.0), Reply::Float(1.5)),
        (increment(1.0, Existence::Absent, ScoreIf::Any), Reply::Nil),
        (increment(-1.0, Existence::Any, ScoreIf::Greater), Reply::Nil),
        (increment(1.0, Existence::Any, ScoreIf::Greater), Reply::Float(2.5)),
        (always(f64::INFINITY), Reply::Float(f64::INFINITY)),
    ]);
    assert_eq!(script.run(always(f64::NEG_INFINITY)), Err(OpError::ScoreNotANumber));
    assert_eq!(script.run(always(f64::NAN)), Err(OpError::NanSent));
    let (_, edits) = execute(always(1.0).into(), &script.value, NOW_MS, 0).unwrap();
    assert_eq!(edits, [Edit::ScoreAdd { member: b("m"), by: 1.0 }]);
}

#[test]
fn ranges_go_by_place_from_either_end() {
    abc().table([
        (range(index(0, -1), ASCENDING, None), list(&["a", "b", "c"])),
        (range(index(0, -1), DESCENDING, None), list(&["c", "b", "a"])),
        (range(index(0, 0), DESCENDING, None), list(&["c"])),
        (range(index(-2, -1), DESCENDING, None), list(&["b", "a"])),
        (range(index(1, 100), ASCENDING, None), list(&["b", "c"])),
        (range(index(-5, -4), ASCENDING, None), list(&[])),
        (range(index(2, 1), ASCENDING, None), list(&[])),
        (range(index(i64::MIN, i64::MAX), ASCENDING, None), list(&["a", "b", "c"])),
    ]);
}

#[test]
fn ranges_go_by_score_with_open_and_closed_ends() {
    let by = |min, max| RangeBy::Score(ScoreRange { min, max });
    let (closed, open) = (ScoreBound::Inclusive, ScoreBound::Exclusive);
    abc().table([
        (range(by(closed(1.0), closed(2.0)), ASCENDING, None), list(&["a", "b"])),
        (range(by(open(1.0), closed(2.0)), ASCENDING, None), list(&["b"])),
        (range(by(open(1.0), open(3.0)), DESCENDING, None), list(&["b"])),
        (range(by(closed(f64::NEG_INFINITY), closed(f64::INFINITY)), DESCENDING, None), list(&["c", "b", "a"])),
        (range(by(closed(2.0), closed(1.0)), ASCENDING, None), list(&[])),
        (range(by(open(2.0), open(2.0)), ASCENDING, None), list(&[])),
        (SortedOp::Count(between(1.5, 3.0)), Reply::Int(2)),
        (SortedOp::Count(ScoreRange { min: open(3.0), max: closed(9.0) }), Reply::Int(0)),
    ]);
    assert_eq!(abc().run(SortedOp::Count(between(f64::NAN, 1.0))), Err(OpError::NanSent));
}

#[test]
fn a_limit_counts_from_where_the_answer_begins() {
    let limited = |offset, count, order| {
        range(RangeBy::Score(between(f64::NEG_INFINITY, f64::INFINITY)), order, Some(Limit { offset, count }))
    };
    abc().table([
        (limited(0, 2, ASCENDING), list(&["a", "b"])),
        (limited(1, 1, ASCENDING), list(&["b"])),
        (limited(1, -1, ASCENDING), list(&["b", "c"])),
        (limited(0, 2, DESCENDING), list(&["c", "b"])),
        (limited(1, 5, DESCENDING), list(&["b", "a"])),
        (limited(3, 5, ASCENDING), list(&[])),
        (limited(9, 5, DESCENDING), list(&[])),
        (limited(-1, 5, ASCENDING), list(&[])),
        (limited(0, 0, ASCENDING), list(&[])),
    ]);
}

#[test]
fn ranges_go_by_member_where_scores_are_equal() {
    let by = |min, max| RangeBy::Lex(LexRange { min, max });
    let (closed, open) = (|member| LexBound::Inclusive(b(member)), |member| LexBound::Exclusive(b(member)));
    let mut script = Script::default();
    script.table([
        (add(&[(0.0, "a"), (0.0, "b"), (0.0, "c"), (0.0, "cc")]), Reply::Int(4)),
        (range(by(LexBound::Least, LexBound::Greatest), ASCENDING, None), list(&["a", "b", "c", "cc"])),
        (range(by(LexBound::Greatest, LexBound::Least), ASCENDING, None), list(&[])),
        (range(by(closed("b"), open("cc")), ASCENDING, None), list(&["b", "c"])),
        (range(by(open("a"), closed("c")), DESCENDING, None), list(&["c", "b"])),
        (SortedOp::CountLex(LexRange { min: open("b"), max: LexBound::Greatest }), Reply::Int(2)),
        (SortedOp::RemoveRange(by(LexBound::Least, closed("b"))), Reply::Int(2)),
        (range(index(0, -1), ASCENDING, None), list(&["c", "cc"])),
    ]);
}

#[test]
fn ranges_are_removed_and_ends_are_popped() {
    let pop = |order, count| SortedOp::Pop { order, count };
    let mut script = abc();
    script.table([
        (SortedOp::RemoveRange(index(0, 0)), Reply::Int(1)),
        (add(&[(4.0, "d"), (5.0, "e"), (6.0, "f")]), Reply::Int(3)),
        (SortedOp::RemoveRange(RangeBy::Score(between(3.0, 4.0))), Reply::Int(2)),
        (pop(DESCENDING, 2), scored(&[("f", 6.0), ("e", 5.0)])),
        (pop(ASCENDING, 0), scored(&[])),
        (pop(ASCENDING, u64::MAX), scored(&[("b", 2.0)])),
        (pop(ASCENDING, 1), scored(&[])),
    ]);
    assert_eq!(script.run(KeyOp::Exists), Ok(Reply::Int(0)));
}

#[test]
fn members_are_chosen_at_random() {
    let random = |count, with| SortedOp::Random { count, with };
    let mut script = Script::default();
    script.table([
        (random(None, WithValues::No), Reply::Nil),
        (random(Some(2), WithValues::Yes), scored(&[])),
        (add(&[(1.0, "a")]), Reply::Int(1)),
        (random(None, WithValues::No), text("a")),
        (random(Some(2), WithValues::Yes), scored(&[("a", 1.0)])),
        (random(Some(-2), WithValues::No), list(&["a", "a"])),
    ]);
}
