use std::collections::BTreeMap;

use althing_datatypes::op::{HashOp, KeyOp, SetOp, StringOp};
use althing_datatypes::{Op, execute};
use proptest::prelude::*;

use super::*;

fn string(bytes: &[u8], deadline_ms: Option<i64>) -> Value {
    Value::from(Whole { content: Content::String(Bytes::copy_from_slice(bytes)), deadline_ms })
}

fn hash(fields: BTreeMap<Vec<u8>, Vec<u8>>, deadline_ms: Option<i64>) -> Value {
    let fields = fields.into_iter().map(|(field, value)| (Bytes::from(field), Bytes::from(value)));
    Value::from(Whole { content: Content::Hash(fields.collect()), deadline_ms })
}

fn read_back(value: &Value) -> Option<Whole> {
    decode(&encode(value).unwrap()).whole()
}

#[test]
fn a_string_without_a_deadline_is_its_own_bytes() {
    for text in [&b""[..], b"5", b"\xff", b"\xffak", b"any text"] {
        assert_eq!(encode(&string(text, None)).unwrap(), text);
        assert_eq!(decode(&Bytes::copy_from_slice(text)).string().unwrap(), text);
    }
}

#[test]
fn a_string_that_begins_like_a_container_comes_back_as_it_was() {
    let inner = encode(&string(b"v", Some(7))).unwrap();
    let outer = encode(&string(&inner, None)).unwrap();
    assert_ne!(outer, inner);
    assert_eq!(decode(&outer).whole(), string(&inner, None).whole());
}

#[test]
fn what_was_never_there_has_no_bytes() {
    assert_eq!(encode(&Value::default()), None);
}

#[test]
fn the_bytes_of_a_container_are_as_the_document_draws_them() {
    let set = Value::from(Whole { content: Content::Set(vec!["a".into()]), deadline_ms: Some(1000) });
    let bytes = encode(&set).unwrap();
    let body = Whole { content: Content::Set(vec!["a".into()]), deadline_ms: None }.encode();
    assert_eq!(bytes[..8], [0xff, b'a', b'k', b'v', 1, 1, 0xd0, 0x0f]);
    assert_eq!(bytes[8..12], checksum::crc32c(&body).to_le_bytes());
    assert_eq!(bytes[12..], body);
    assert_eq!(deadline_ms(&bytes), Some(1000));
}

#[test]
fn a_container_that_is_not_right_in_every_respect_is_a_string() {
    let sound = encode(&hash(BTreeMap::from([(b"f".to_vec(), b"v".to_vec())]), Some(7))).unwrap();
    for place in 0..sound.len() {
        let mut damaged = sound.to_vec();
        damaged[place] ^= 1;
        let damaged = Bytes::from(damaged);
        let found = decode(&damaged);
        // A bit of the deadline is no damage that shows; every other one is.
        if found.kind() != Some(althing_datatypes::Kind::Hash) {
            assert_eq!(found.string().unwrap(), damaged, "at {place}");
        } else {
            assert_ne!(found.deadline_ms(), Some(7), "at {place}");
        }
    }
    let empty = enclosed(Content::Set(Vec::new()), None);
    assert_eq!(decode(&empty).string().unwrap(), empty, "a set of nothing is no value");
    let twice = Whole { content: Content::Set(vec!["a".into()]), deadline_ms: Some(3) }.encode();
    let mut writer = Writer::default();
    writer.raw(&MARK);
    writer.u8(VERSION);
    writer.bool(false);
    writer.fixed_u32(checksum::crc32c(&twice));
    writer.raw(&twice);
    let twice = writer.finish();
    assert_eq!(decode(&twice).string().unwrap(), twice, "the deadline stands in the header only");
}

fn op() -> impl Strategy<Value = Op> {
    let name = || prop::collection::vec(0_u8..3, 0..2).prop_map(Bytes::from);
    prop_oneof![
        any::<i8>().prop_map(|by| Op::from(StringOp::Increment(by.into()))),
        name().prop_map(|text| Op::from(StringOp::Append(text))),
        (name(), name()).prop_map(|(field, value)| Op::from(HashOp::Set(vec![(field, value)]))),
        prop::collection::vec(name(), 1..3).prop_map(|members| Op::from(SetOp::Add(members))),
        Just(Op::from(KeyOp::Delete)),
        Just(Op::from(KeyOp::Persist)),
    ]
}

proptest! {
    #[test]
    fn whatever_operations_make_comes_back(ops in prop::collection::vec(op(), 0..20), deadline in prop::option::of(0_i64..)) {
        let mut value = Value::default();
        for op in ops {
            if let Ok((_, edits)) = execute(op, &value, -1, 0) {
                value.apply(&edits, -1).unwrap();
            }
        }
        let whole = value.whole().map(|whole| Whole { deadline_ms: deadline, ..whole });
        if let Some(whole) = whole {
            let value = Value::from(whole.clone());
            prop_assert_eq!(read_back(&value), Some(whole));
            let bytes = encode(&value).unwrap();
            prop_assert_eq!(deadline_ms(&bytes), deadline);
        }
    }

    #[test]
    fn any_bytes_are_a_value(tail in prop::collection::vec(any::<u8>(), 0..60), with_mark: bool) {
        let mut bytes = if with_mark { [&MARK[..], &[VERSION]].concat() } else { Vec::new() };
        bytes.extend(tail);
        let bytes = Bytes::from(bytes);
        let value = decode(&bytes);
        prop_assert!(value.kind().is_some());
        prop_assert_eq!(decode(&encode(&value).unwrap()).whole(), value.whole());
        let deadline = value.deadline_ms();
        prop_assert!(deadline.is_none() || deadline == deadline_ms(&bytes));
    }
}
