//! Bits of strings.

use althing_datatypes::combine::{self, BitRule};
use althing_datatypes::op::{Bit, BitRange, BitsOp, FieldOp, FieldType, Overflow, StringOp, Unit, Width};
use althing_datatypes::{Op, Reply};
use bytes::Bytes;

use crate::command::Answering;
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::words::{Options, at, int};
use crate::run::{Keyed, wrong_reply};
use crate::wire::{Value, number};

type Parsed = Result<Keyed, Refusal>;

/// The first bit that no string has: as many as 512 MiB hold, Redis's own limit.
const MAX_BIT: u64 = 1 << 32;
/// A bit that no string has.
const BAD_OFFSET: Refusal = Refusal::of("ERR bit offset is not an integer or out of range");
/// Neither 0 nor 1.
const BAD_BIT: Refusal = Refusal::of("ERR bit is not an integer or out of range");
/// No type of a field.
const BAD_FIELD: Refusal =
    Refusal::of("ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");

fn bits(words: &[Bytes], op: BitsOp) -> Parsed {
    Ok(Keyed::plain(at(words, 1)?, Op::Bits(op)))
}

fn offset(word: &[u8]) -> Result<u64, Refusal> {
    let offset = number::integer(word).and_then(|offset| u64::try_from(offset).ok());
    offset.filter(|&offset| offset < MAX_BIT).ok_or(BAD_OFFSET)
}

fn unit(word: &[u8]) -> Result<Unit, Refusal> {
    match word.to_ascii_lowercase().as_slice() {
        b"byte" => Ok(Unit::Byte),
        b"bit" => Ok(Unit::Bit),
        _ => Err(Refusal::SYNTAX),
    }
}

/// `GETBIT key offset`
pub fn getbit(words: &[Bytes]) -> Parsed {
    bits(words, BitsOp::Get { offset: offset(at(words, 2)?)? })
}

/// `SETBIT key offset bit`
pub fn setbit(words: &[Bytes]) -> Parsed {
    let offset = offset(at(words, 2)?)?;
    let bit = match at(words, 3)?.as_ref() {
        b"0" => Bit::Zero,
        b"1" => Bit::One,
        _ => return Err(BAD_BIT),
    };
    bits(words, BitsOp::Set { offset, bit })
}

/// `BITCOUNT key [start end [BYTE | BIT]]`
pub fn bitcount(words: &[Bytes]) -> Parsed {
    let range = match words.get(2..).unwrap_or_default() {
        [] => None,
        [start, end] => Some(BitRange { start: int(start)?, end: int(end)?, unit: Unit::Byte }),
        [start, end, counted] => Some(BitRange { start: int(start)?, end: int(end)?, unit: unit(counted)? }),
        [_] | [_, _, _, ..] => return Err(Refusal::SYNTAX),
    };
    bits(words, BitsOp::Count(range))
}

/// `BITPOS key bit [start [end [BYTE | BIT]]]`
pub fn bitpos(words: &[Bytes]) -> Parsed {
    let bit = match int(at(words, 2)?)? {
        0 => Bit::Zero,
        1 => Bit::One,
        _ => return Err(Refusal::of("ERR The bit argument must be 1 or 0.")),
    };
    let (start, end, unit) = match words.get(3..).unwrap_or_default() {
        [] => (None, None, Unit::Byte),
        [start] => (Some(int(start)?), None, Unit::Byte),
        [start, end] => (Some(int(start)?), Some(int(end)?), Unit::Byte),
        [start, end, counted] => (Some(int(start)?), Some(int(end)?), unit(counted)?),
        [_, _, _, _, ..] => return Err(Refusal::SYNTAX),
    };
    bits(words, BitsOp::Position { bit, start, end, unit })
}

/// `BITFIELD key [GET type offset | SET type offset value | INCRBY type offset by | OVERFLOW rule]...`
pub fn bitfield(words: &[Bytes]) -> Parsed {
    let (mut options, mut overflow, mut steps) = (Options::from(words, 2), Overflow::Wrap, Vec::new());
    while let Some(word) = options.pull() {
        match word.to_ascii_lowercase().as_slice() {
            b"overflow" => overflow = self::overflow(options.value()?)?,
            b"get" => {
                let (field, offset) = place(&mut options)?;
                steps.push(FieldOp::Get { field, offset });
            }
            b"set" => {
                let (field, offset) = place(&mut options)?;
                steps.push(FieldOp::Set { field, offset, value: options.int()?, overflow });
            }
            b"incrby" => {
                let (field, offset) = place(&mut options)?;
                steps.push(FieldOp::Increment { field, offset, by: options.int()?, overflow });
            }
            _ => return Err(Refusal::SYNTAX),
        }
    }
    bits(words, BitsOp::Field(steps))
}

/// `BITFIELD_RO key GET type offset...`
pub fn bitfield_ro(words: &[Bytes]) -> Parsed {
    let parsed = bitfield(words)?;
    match &parsed.op {
        Op::Bits(BitsOp::Field(steps)) if steps.iter().all(FieldOp::is_read) => Ok(parsed),
        _ => Err(Refusal::of("ERR BITFIELD_RO only supports the GET subcommand")),
    }
}

fn overflow(word: &[u8]) -> Result<Overflow, Refusal> {
    match word.to_ascii_lowercase().as_slice() {
        b"wrap" => Ok(Overflow::Wrap),
        b"sat" => Ok(Overflow::Saturate),
        b"fail" => Ok(Overflow::Fail),
        _ => Err(Refusal::of("ERR Invalid OVERFLOW type specified")),
    }
}

/// The type of a field and its first bit, which is counted in fields after a `#`.
fn place(options: &mut Options<'_>) -> Result<(FieldType, u64), Refusal> {
    let field = field(options.value()?)?;
    let word = options.value()?;
    let (digits, width) = match word.strip_prefix(b"#") {
        Some(digits) => (digits, u64::from(field.bits())),
        None => (&word[..], 1),
    };
    let number = number::integer(digits).and_then(|number| u64::try_from(number).ok()).ok_or(BAD_OFFSET)?;
    let first = number.checked_mul(width).ok_or(BAD_OFFSET)?;
    let last = first.checked_add(u64::from(field.bits())).filter(|&last| last <= MAX_BIT);
    last.map(|_| (field, first)).ok_or(BAD_OFFSET)
}

fn field(word: &[u8]) -> Result<FieldType, Refusal> {
    let (sign, digits) = word.split_first().ok_or(BAD_FIELD)?;
    let width = number::integer(digits).and_then(|width| u8::try_from(width).ok()).ok_or(BAD_FIELD)?;
    match sign {
        b'i' => Width::new(width).map(FieldType::Signed).map_err(|_| BAD_FIELD),
        b'u' => Width::new(width).map(FieldType::Unsigned).map_err(|_| BAD_FIELD),
        _ => Err(BAD_FIELD),
    }
}

/// `BITOP AND | OR | XOR | NOT destination source...`
pub fn bitop<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let combination = match words[1].to_ascii_lowercase().as_slice() {
            b"and" => BitRule::And,
            b"or" => BitRule::Or,
            b"xor" => BitRule::Xor,
            b"not" => BitRule::Not,
            _ => return Err(Refusal::SYNTAX),
        };
        let sources = &words[3..];
        if combination == BitRule::Not && sources.len() != 1 {
            return Err(Refusal::of("ERR BITOP NOT must be called with a single source key."));
        }
        let found = space.each_of(sources, Op::String(StringOp::Get)).await?;
        let string = |result| match result {
            Ok(Reply::Bytes(data)) => Ok(data),
            Ok(Reply::Nil) => Ok(Bytes::new()),
            Ok(_) => Err(wrong_reply()),
            Err(error) => Err(crate::run::refused(error, "bitop")),
        };
        let strings: Vec<Bytes> = found.into_iter().map(string).collect::<Result<_, _>>()?;
        let combined = combine::bits(combination, &strings);
        let length = Value::count(combined.len());
        space.store_string(&words[2], combined).await?;
        Ok(length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn a_field_is_named_by_sign_and_width() {
        for (line, error) in [
            ("bitfield k get u64 0", BAD_FIELD),
            ("bitfield k get i65 0", BAD_FIELD),
            ("bitfield k get x8 0", BAD_FIELD),
            ("bitfield k get u8 -1", BAD_OFFSET),
            ("bitfield k get u8 4294967295", BAD_OFFSET),
            ("bitfield k get u8", Refusal::SYNTAX),
            ("bitfield k take u8 0", Refusal::SYNTAX),
        ] {
            assert_eq!(bitfield(&words(line)).unwrap_err(), error, "{line}");
        }
        assert!(bitfield_ro(&words("bitfield_ro k get u8 #3")).is_ok());
        assert!(bitfield_ro(&words("bitfield_ro k set u8 0 1")).is_err());
    }
}
