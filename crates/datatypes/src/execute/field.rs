//! BITFIELD: numbers of any width inside of a string.

use super::bits::{grown, written};
use super::{Key, Outcome, answer};
use crate::op::{FieldOp, FieldType, Overflow};
use crate::{OpError, Reply, View};

pub fn execute(steps: &[FieldOp], key: &Key<'_, impl View>) -> Outcome {
    let string = key.string()?;
    let old = string.as_deref().unwrap_or_default();
    // The string grows to its last written field even if nothing is written in the end.
    let ends = steps.iter().filter(|step| !step.is_read()).map(last_bit).collect::<Result<Vec<u64>, OpError>>()?;
    let Some(last) = ends.into_iter().max() else {
        return answer(Reply::Ints(steps.iter().map(|step| Some(read(old, step.field(), step.offset()))).collect()));
    };
    let mut bits = grown(old, last)?;
    let numbers = steps.iter().map(|step| run(&mut bits, step)).collect();
    Ok((Reply::Ints(numbers), written(string.as_ref(), bits)))
}

impl FieldOp {
    /// How its number is written.
    #[must_use]
    pub const fn field(&self) -> FieldType {
        match self {
            Self::Get { field, .. } | Self::Set { field, .. } | Self::Increment { field, .. } => *field,
        }
    }

    /// The first bit of its number.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        match self {
            Self::Get { offset, .. } | Self::Set { offset, .. } | Self::Increment { offset, .. } => *offset,
        }
    }
}

fn last_bit(step: &FieldOp) -> Result<u64, OpError> {
    step.offset().checked_add(u64::from(step.field().bits()) - 1).ok_or(OpError::BitOffset)
}

fn run(string: &mut [u8], step: &FieldOp) -> Option<i64> {
    let (field, offset) = (step.field(), step.offset());
    let old = read(string, field, offset);
    match step {
        FieldOp::Get { .. } => Some(old),
        FieldOp::Set { value, overflow, .. } => {
            let new = fit(field, asked(field, *value), *overflow)?;
            write(string, field, offset, new);
            Some(old)
        }
        FieldOp::Increment { by, overflow, .. } => {
            let new = fit(field, i128::from(old) + i128::from(*by), *overflow)?;
            write(string, field, offset, new);
            Some(new)
        }
    }
}

/// The number that SET names: a negative one for a field without a sign is a very great one.
fn asked(field: FieldType, value: i64) -> i128 {
    match field {
        FieldType::Signed(_) => i128::from(value),
        FieldType::Unsigned(_) => i128::from(value.cast_unsigned()),
    }
}

/// The number that goes into the field.
fn fit(field: FieldType, number: i128, overflow: Overflow) -> Option<i64> {
    let (least, greatest) = match field {
        FieldType::Signed(width) => (-(1_i128 << (width.get() - 1)), (1_i128 << (width.get() - 1)) - 1),
        FieldType::Unsigned(width) => (0, (1_i128 << width.get()) - 1),
    };
    let fitting = match overflow {
        Overflow::Wrap => (number - least).rem_euclid(greatest - least + 1) + least,
        Overflow::Saturate => number.clamp(least, greatest),
        Overflow::Fail if number < least || number > greatest => return None,
        Overflow::Fail => number,
    };
    Some(i64::try_from(fitting).expect("no field is wider than 64 bits, or 63 without a sign"))
}

/// The number in a field; what is beyond the string's end is zero.
fn read(string: &[u8], field: FieldType, offset: u64) -> i64 {
    let width = u32::from(field.bits());
    let first = offset / 8;
    // A field of 64 bits lies in at the most nine bytes.
    let window = (0..9).fold(0_u128, |window, place| {
        let byte = usize::try_from(first.saturating_add(place)).ok().and_then(|place| string.get(place));
        window << 8 | u128::from(byte.copied().unwrap_or(0))
    });
    let raw = window >> (72 - (offset % 8) as u32 - width) & ((1_u128 << width) - 1);
    match field {
        FieldType::Signed(_) => ((raw << (128 - width)) as i128 >> (128 - width)) as i64,
        FieldType::Unsigned(_) => raw as i64,
    }
}

/// Writes a number that fits. The string is long enough.
fn write(string: &mut [u8], field: FieldType, offset: u64, number: i64) {
    let width = u64::from(field.bits());
    for place in 0..width {
        let is_one = number >> (width - 1 - place) & 1 == 1;
        let bit = offset + place;
        let (byte, mask) = ((bit / 8) as usize, 0x80 >> (bit % 8));
        if is_one {
            string[byte] |= mask;
        } else {
            string[byte] &= !mask;
        }
    }
}
