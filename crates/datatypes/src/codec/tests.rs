use althing_crdt::Hll;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::op::{
    Bit, BitsOp, Existence, FieldOp, FieldType, HashOp, KeyOp, Overflow, SetAnswer, SetExpiry, SetOp, SketchOp,
    SortedOp, StringOp, When, ZaddAnswer,
};
use crate::{Content, Items, Value, execute};

fn bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn number() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("what is no number is not equal to itself", |number| !number.is_nan())
}

fn pairs() -> impl Strategy<Value = Vec<(Bytes, Bytes)>> {
    proptest::collection::vec((bytes(), bytes()), 0..5)
}

fn many() -> impl Strategy<Value = Vec<Bytes>> {
    proptest::collection::vec(bytes(), 0..5)
}

fn scored() -> impl Strategy<Value = Vec<(Bytes, f64)>> {
    proptest::collection::vec((bytes(), number()), 0..5)
}

fn sketch() -> impl Strategy<Value = Hll> {
    many().prop_map(|elements| crate::combine::sketches(elements.iter().map(|element| Hll::of(element))))
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        bytes().prop_map(Content::String),
        pairs().prop_map(Content::Hash),
        many().prop_map(Content::Set),
        scored().prop_map(Content::Sorted),
        sketch().prop_map(Content::Sketch),
    ]
}

fn whole() -> impl Strategy<Value = Whole> {
    (content(), any::<Option<i64>>()).prop_map(|(content, deadline_ms)| Whole { content, deadline_ms })
}

fn field() -> impl Strategy<Value = FieldOp> {
    (any::<bool>(), 1_u8..=63, any::<u64>(), any::<i64>()).prop_map(|(is_signed, bits, offset, by)| {
        let field = FieldType::try_from((is_signed, bits)).unwrap();
        FieldOp::Increment { field, offset, by, overflow: Overflow::Saturate }
    })
}

fn op() -> impl Strategy<Value = Op> {
    let (condition, answer) = (Existence::Absent, SetAnswer::Old);
    prop_oneof![
        (bytes(), any::<i64>()).prop_map(move |(value, ms)| {
            StringOp::Set { value, expiry: SetExpiry::Set(When::In(ms)), condition, answer }.into()
        }),
        any::<i64>().prop_map(|by| StringOp::Increment(by).into()),
        number().prop_map(|by| StringOp::IncrementFloat(by).into()),
        any::<u64>().prop_map(|offset| BitsOp::Set { offset, bit: Bit::One }.into()),
        proptest::collection::vec(field(), 0..4).prop_map(|steps| BitsOp::Field(steps).into()),
        pairs().prop_map(|pairs| HashOp::Set(pairs).into()),
        many().prop_map(|members| SetOp::Add(members).into()),
        proptest::collection::vec((number(), bytes()), 0..4).prop_map(|members| {
            let write = crate::op::ScoreWrite::ALWAYS;
            SortedOp::Add { members, write, answer: ZaddAnswer::Changed }.into()
        }),
        sketch().prop_map(|sketch| SketchOp::Merge(sketch).into()),
        (bytes(), any::<Option<i64>>())
            .prop_map(move |(payload, at)| { KeyOp::Restore { payload, expiry: at.map(When::At), condition }.into() }),
        whole().prop_map(move |whole| KeyOp::Replace { whole: Some(whole), condition }.into()),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        Just(Reply::Nil),
        any::<i64>().prop_map(Reply::Int),
        number().prop_map(Reply::Float),
        bytes().prop_map(Reply::Bytes),
        proptest::collection::vec(proptest::option::of(bytes()), 0..5).prop_map(Reply::Array),
        proptest::collection::vec(any::<Option<i64>>(), 0..5).prop_map(Reply::Ints),
        many().prop_map(Reply::Set),
        scored().prop_map(Reply::Scored),
        (any::<u64>(), pairs()).prop_map(|(cursor, items)| Reply::Page { cursor, items: Items::Pairs(items) }),
        sketch().prop_map(Reply::Sketch),
        whole().prop_map(Reply::Whole),
    ]
}

proptest! {
    #[test]
    fn bytes_come_back_as_they_were(op in op(), reply in reply()) {
        prop_assert_eq!(Op::decode(&op.encode()), Ok(op));
        prop_assert_eq!(Reply::decode(&reply.encode()), Ok(reply.clone()));
        let result: Result<Reply, OpError> = Ok(reply);
        prop_assert_eq!(Message::decode(&result.encode()), Ok(result));
    }

    #[test]
    fn any_bytes_are_an_operation_or_an_error_and_are_executed_without_a_panic(
        op in op(),
        place: proptest::sample::Index,
        flipped: u8,
        start in content(),
        now_ms in 0_i64..2_000_000_000_000,
    ) {
        let mut hostile = op.encode().to_vec();
        let place = place.index(hostile.len());
        hostile[place] ^= flipped;
        let mut value = Value::from(Whole { content: start, deadline_ms: None });
        if let Ok(op) = Op::decode(&hostile)
            && let Ok((_, edits)) = execute(op, &value, now_ms, 1)
        {
            prop_assert_eq!(Message::decode(&edits.encode()), Ok(edits.clone()));
            prop_assert_eq!(value.apply(&edits, now_ms), Ok(()), "edits fit the value that they were made for");
        }
    }

    #[test]
    fn arbitrary_bytes_are_borne(mut bytes: Vec<u8>) {
        bytes.insert(0, VERSION);
        let _ = (Op::decode(&bytes), Reply::decode(&bytes), Whole::decode(&bytes), <Vec<Edit>>::decode(&bytes));
    }

    #[test]
    fn payloads_come_back_and_damaged_ones_do_not(content in content(), place: proptest::sample::Index, flipped in 1_u8..) {
        let value = Value::from(Whole { content, deadline_ms: None });
        if let Some(Whole { content, .. }) = value.whole() {
            let mut payload = crate::dump::write(&content).to_vec();
            prop_assert_eq!(crate::dump::read(&payload), Some(content));
            let place = place.index(payload.len());
            payload[place] ^= flipped;
            prop_assert_eq!(crate::dump::read(&payload), None);
        }
    }
}

#[test]
fn another_version_and_what_goes_on_behind_are_refused() {
    let good = Reply::Int(1).encode();
    assert_eq!(Reply::decode(&good), Ok(Reply::Int(1)));
    assert_eq!(Reply::decode(&[]), Err(CodecError::Version));
    assert_eq!(Reply::decode(&[VERSION + 1, 0]), Err(CodecError::Version));
    assert_eq!(Reply::decode(&[good.as_ref(), &[0]].concat()), Err(CodecError::Damaged));
    assert_eq!(Op::decode(&vec![VERSION; MAX_OP_BYTES + 1]), Err(CodecError::TooLong(MAX_OP_BYTES + 1)));
}

#[test]
fn a_length_beyond_the_bytes_does_not_take_the_memory_it_asks_for() {
    // A reply of the kind `List`, and a length of 2^63.
    let hostile = [VERSION, 7, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    assert_eq!(Reply::decode(&hostile), Err(CodecError::Damaged));
}

#[test]
fn the_numbers_of_variants_are_a_part_of_the_format() {
    assert_eq!(Op::from(StringOp::Get).encode().as_ref(), [VERSION, 1, 0]);
    assert_eq!(Op::from(SketchOp::Count).encode().as_ref(), [VERSION, 6, 1]);
    assert_eq!(Op::from(StringOp::Increment(-1)).encode().as_ref(), [VERSION, 1, 8, 1]);
    assert_eq!(Op::from(KeyOp::Whole).encode().as_ref(), [VERSION, 0, 13]);
    assert_eq!(vec![Edit::AddInt(1)].encode().as_ref(), [VERSION, 1, 3, 2]);
    assert_eq!(Reply::Int(-1).encode().as_ref(), [VERSION, 2, 1]);
}
