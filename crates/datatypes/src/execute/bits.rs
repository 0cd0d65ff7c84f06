use bytes::{Bytes, BytesMut};

use super::string::checked_len;
use super::{Key, Outcome, answer, field, int, is_reversed, part, yes_or_no};
use crate::op::{Bit, BitRange, BitsOp, Unit};
use crate::{Edit, OpError, Reply, View};

pub fn execute(op: BitsOp, key: &Key<'_, impl View>) -> Outcome {
    match op {
        BitsOp::Get { offset } => answer(yes_or_no(bit(&key.string()?.unwrap_or_default(), offset) == Bit::One)),
        BitsOp::Set { offset, bit } => set(key, offset, bit),
        BitsOp::Count(range) => answer(int(count(&key.string()?.unwrap_or_default(), range))),
        BitsOp::Position { bit, start, end, unit } => match key.string()? {
            None => answer(Reply::Int(if bit == Bit::Zero { 0 } else { -1 })),
            Some(string) => answer(position(&string, bit, start, end, unit)),
        },
        BitsOp::Field(steps) => field::execute(&steps, key),
    }
}

/// A bit of a string; zero beyond its end.
fn bit(string: &[u8], offset: u64) -> Bit {
    let byte = usize::try_from(offset / 8).ok().and_then(|place| string.get(place));
    if byte.is_some_and(|byte| byte >> (7 - offset % 8) & 1 == 1) { Bit::One } else { Bit::Zero }
}

/// A copy of the string that can be written to up to and with this bit.
pub fn grown(old: &[u8], last_bit: u64) -> Result<BytesMut, OpError> {
    let len = checked_len(last_bit / 8 + 1).map_err(|_| OpError::BitOffset)?;
    let mut new = BytesMut::zeroed(old.len().max(len));
    new[..old.len()].copy_from_slice(old);
    Ok(new)
}

fn set(key: &Key<'_, impl View>, offset: u64, new: Bit) -> Outcome {
    let string = key.string()?;
    let before = bit(string.as_deref().unwrap_or_default(), offset);
    let mut bits = grown(string.as_deref().unwrap_or_default(), offset)?;
    let mask = 0x80 >> (offset % 8);
    let byte = &mut bits[(offset / 8) as usize];
    match new {
        Bit::Zero => *byte &= !mask,
        Bit::One => *byte |= mask,
    }
    Ok((yes_or_no(before == Bit::One), written(string.as_ref(), bits)))
}

/// The edit of a string whose bits were written; none if they were so before.
pub fn written(old: Option<&Bytes>, new: BytesMut) -> Vec<Edit> {
    let is_same = old.is_some_and(|old| *old == new);
    if is_same { Vec::new() } else { vec![Edit::PutString(new.freeze())] }
}

fn count(string: &[u8], range: Option<BitRange>) -> u64 {
    let bits = match range {
        None => 0..string.len() as u64 * 8,
        Some(range) if is_reversed(range.start, range.end) => 0..0,
        Some(range) => bits_of(range.start, range.end, range.unit, string.len() as u64),
    };
    let bytes = bits.start.div_ceil(8)..bits.end / 8;
    if bytes.start > bytes.end {
        return bits.filter(|offset| bit(string, *offset) == Bit::One).count() as u64;
    }
    let whole = &string[bytes.start as usize..bytes.end as usize];
    let edges = (bits.start..bytes.start * 8).chain(bytes.end * 8..bits.end);
    let inside: u64 = whole.iter().map(|byte| u64::from(byte.count_ones())).sum();
    inside + edges.filter(|offset| bit(string, *offset) == Bit::One).count() as u64
}

/// The bits that a range names.
fn bits_of(start: i64, end: i64, unit: Unit, len: u64) -> std::ops::Range<u64> {
    match unit {
        Unit::Bit => part(start, end, len * 8),
        Unit::Byte => {
            let bytes = part(start, end, len);
            bytes.start * 8..bytes.end * 8
        }
    }
}

fn position(string: &[u8], wanted: Bit, start: Option<i64>, end: Option<i64>, unit: Unit) -> Reply {
    const NOWHERE: Reply = Reply::Int(-1);
    let bits = bits_of(start.unwrap_or(0), end.unwrap_or(-1), unit, string.len() as u64);
    if bits.is_empty() {
        return NOWHERE;
    }
    let uninteresting = match wanted {
        Bit::Zero => 0xff,
        Bit::One => 0,
    };
    let mut at = bits.start;
    while at < bits.end {
        if at.is_multiple_of(8) && string[(at / 8) as usize] == uninteresting {
            at += 8;
        } else if bit(string, at) == wanted {
            return int(at);
        } else {
            at += 1;
        }
    }
    // A string goes on with zeros, unless an end was named.
    if wanted == Bit::Zero && end.is_none() { int(string.len() as u64 * 8) } else { NOWHERE }
}
