use bytes::Bytes;

use super::Script;
use crate::op::{Bit, BitRange, BitsOp, Existence, FieldOp, FieldType, Overflow, SetAnswer, SetExpiry, StringOp, Unit};
use crate::{MAX_STRING_BYTES, OpError, Reply};

fn holding(string: &'static [u8]) -> Script {
    let value = Bytes::from_static(string);
    let mut script = Script::default();
    let set = StringOp::Set { value, expiry: SetExpiry::Clear, condition: Existence::Any, answer: SetAnswer::Done };
    script.table([(set, Reply::Ok)]);
    script
}

fn count(start: i64, end: i64, unit: Unit) -> BitsOp {
    BitsOp::Count(Some(BitRange { start, end, unit }))
}

#[test]
fn bits_are_written_and_read_from_the_highest_of_the_first_byte() {
    let mut script = Script::default();
    script.table([
        (BitsOp::Get { offset: 7 }, Reply::Int(0)),
        (BitsOp::Set { offset: 7, bit: Bit::One }, Reply::Int(0)),
        (BitsOp::Set { offset: 7, bit: Bit::One }, Reply::Int(1)),
        (BitsOp::Set { offset: 20, bit: Bit::Zero }, Reply::Int(0)),
        (BitsOp::Get { offset: 7 }, Reply::Int(1)),
        (BitsOp::Get { offset: 1 << 40 }, Reply::Int(0)),
    ]);
    assert_eq!(script.run(StringOp::Get), Ok(Reply::Bytes(Bytes::from_static(b"\x01\0\0"))));
    for offset in [MAX_STRING_BYTES as u64 * 8, u64::MAX] {
        assert_eq!(script.run(BitsOp::Set { offset, bit: Bit::One }), Err(OpError::BitOffset));
    }
}

#[test]
fn ones_are_counted_in_parts_by_byte_and_by_bit() {
    holding(b"foobar").table([
        (BitsOp::Count(None), Reply::Int(26)),
        (count(0, 0, Unit::Byte), Reply::Int(4)),
        (count(1, 1, Unit::Byte), Reply::Int(6)),
        (count(5, 30, Unit::Bit), Reply::Int(17)),
        (count(1, 2, Unit::Bit), Reply::Int(2)),
        (count(3, 2, Unit::Byte), Reply::Int(0)),
        (count(-1, -2, Unit::Byte), Reply::Int(0)),
        (count(-100, 100, Unit::Byte), Reply::Int(26)),
    ]);
    holding(b"\xff\xff").table([(count(-5, -4, Unit::Byte), Reply::Int(8)), (count(-3, -1, Unit::Bit), Reply::Int(3))]);
}

#[test]
fn the_first_bit_is_found_and_zeros_go_on_beyond_an_end_that_was_not_named() {
    let position = |bit, start, end, unit| BitsOp::Position { bit, start, end, unit };
    Script::default().table([
        (position(Bit::Zero, None, None, Unit::Byte), Reply::Int(0)),
        (position(Bit::One, None, None, Unit::Byte), Reply::Int(-1)),
    ]);
    holding(b"").table([(position(Bit::Zero, None, None, Unit::Byte), Reply::Int(-1))]);
    holding(b"\xff\xff").table([
        (position(Bit::Zero, None, None, Unit::Byte), Reply::Int(16)),
        (position(Bit::Zero, Some(0), None, Unit::Byte), Reply::Int(16)),
        (position(Bit::Zero, Some(0), Some(-1), Unit::Byte), Reply::Int(-1)),
        (position(Bit::Zero, Some(2), None, Unit::Byte), Reply::Int(-1)),
        (position(Bit::One, Some(3), Some(100), Unit::Bit), Reply::Int(3)),
        (position(Bit::One, Some(1), Some(0), Unit::Byte), Reply::Int(-1)),
        (position(Bit::One, Some(-5), Some(-7), Unit::Byte), Reply::Int(0)),
    ]);
    holding(b"\x00\xff\xf0").table([
        (position(Bit::One, None, None, Unit::Byte), Reply::Int(8)),
        (position(Bit::Zero, Some(1), None, Unit::Byte), Reply::Int(20)),
        (position(Bit::One, Some(2), None, Unit::Byte), Reply::Int(16)),
    ]);
}

fn signed(bits: u8) -> FieldType {
    FieldType::try_from((true, bits)).unwrap()
}

fn unsigned(bits: u8) -> FieldType {
    FieldType::try_from((false, bits)).unwrap()
}

#[test]
fn fields_have_any_width_and_wrap_saturate_or_fail() {
    let add = |field, by, overflow| FieldOp::Increment { field, offset: 100, by, overflow };
    let field = unsigned(2);
    let mut script = Script::default();
    let numbers = |numbers: &[i64]| Reply::Ints(numbers.iter().copied().map(Some).collect());
    script.table([
        (BitsOp::Field(vec![FieldOp::Get { field: signed(64), offset: 3 }]), numbers(&[0])),
        (BitsOp::Field(vec![add(field, 3, Overflow::Wrap), add(field, 3, Overflow::Wrap)]), numbers(&[3, 2])),
        (BitsOp::Field(vec![add(field, 3, Overflow::Saturate), add(field, -9, Overflow::Saturate)]), numbers(&[3, 0])),
        (
            BitsOp::Field(vec![add(field, 4, Overflow::Fail), FieldOp::Get { field, offset: 100 }]),
            Reply::Ints(vec![None, Some(0)]),
        ),
    ]);
    let set = |field, value| FieldOp::Set { field, offset: 5, value, overflow: Overflow::Wrap };
    script.table([
        (BitsOp::Field(vec![set(signed(64), i64::MIN), set(signed(64), -1)]), numbers(&[0, i64::MIN])),
        (BitsOp::Field(vec![FieldOp::Get { field: unsigned(63), offset: 6 }]), numbers(&[i64::MAX])),
        (BitsOp::Field(vec![FieldOp::Get { field: signed(3), offset: 5 }]), numbers(&[-1])),
        (BitsOp::Field(vec![set(unsigned(4), -1), set(unsigned(4), 17)]), numbers(&[15, 15])),
    ]);
}

#[test]
fn a_write_that_fails_has_grown_the_string_all_the_same() {
    let mut script = Script::default();
    let failing = FieldOp::Set { field: unsigned(2), offset: 100, value: 7, overflow: Overflow::Fail };
    script.table([(BitsOp::Field(vec![failing]), Reply::Ints(vec![None]))]);
    assert_eq!(script.run(StringOp::Length), Ok(Reply::Int(13)));
    let far = FieldOp::Set { field: unsigned(2), offset: u64::MAX, value: 0, overflow: Overflow::Wrap };
    assert_eq!(script.run(BitsOp::Field(vec![far])), Err(OpError::BitOffset));
    let far = FieldOp::Get { field: signed(64), offset: u64::MAX };
    assert_eq!(script.run(BitsOp::Field(vec![far])), Ok(Reply::Ints(vec![Some(0)])));
}

#[test]
fn there_are_no_fields_of_other_widths() {
    for (is_signed, bits) in [(true, 0), (true, 65), (false, 64), (false, 0), (true, 255)] {
        assert!(FieldType::try_from((is_signed, bits)).is_err());
    }
}

#[test]
fn what_is_not_changed_is_not_written() {
    let script = holding(b"\x80");
    let op = BitsOp::Set { offset: 0, bit: Bit::One };
    assert_eq!(crate::execute(op.into(), &script.value, 0, 0), Ok((Reply::Int(1), Vec::new())));
}
