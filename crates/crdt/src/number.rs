//! Numbers that counters add up and sets are sorted by.

use std::cmp::Ordering;

use althing_clock::Coded;
use althing_codec::{DecodeError, Reader, Writer};

/// Why a number is not what was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NumberError {
    /// The result is beyond what the type holds: nothing was done. After concurrent increments a sum may be there although
    /// each of them fitted; it can be read again once it is decremented, or reset.
    #[error("the sum is beyond the numbers of its type")]
    Overflow,
    /// It is not a number, or is infinite where a finite one is needed: nothing was done.
    #[error("it is not a finite number")]
    NotFinite,
}

/// A number that can be accumulated.
pub trait Quantity: Copy + Default + PartialEq + std::fmt::Debug + Coded {
    /// What users see.
    type Value: Copy + PartialEq + std::fmt::Debug;

    /// The number that users mean.
    ///
    /// # Errors
    /// [`NumberError::NotFinite`]
    fn of(value: Self::Value) -> Result<Self, NumberError>;

    /// What users see of it.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]
    fn value(self) -> Result<Self::Value, NumberError>;

    /// The sum.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]
    fn plus(self, other: Self) -> Result<Self, NumberError>;

    /// The difference.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]
    fn minus(self, other: Self) -> Result<Self, NumberError>;

    /// A total order, so that no join hangs on who asks.
    fn order(self, other: Self) -> Ordering;
}

/// A whole number. Users see 64 bits; what an actor adds up over its life has 128, so that increments and resets in turn never
/// come to an end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Whole(pub i128);

impl Quantity for Whole {
    type Value = i64;

    fn of(value: i64) -> Result<Self, NumberError> {
        Ok(Self(i128::from(value)))
    }

    fn value(self) -> Result<i64, NumberError> {
        i64::try_from(self.0).map_err(|_| NumberError::Overflow)
    }

    fn plus(self, other: Self) -> Result<Self, NumberError> {
        self.0.checked_add(other.0).map(Self).ok_or(NumberError::Overflow)
    }

    fn minus(self, other: Self) -> Result<Self, NumberError> {
        self.0.checked_sub(other.0).map(Self).ok_or(NumberError::Overflow)
    }

    fn order(self, other: Self) -> Ordering {
        self.cmp(&other)
    }
}

impl Coded for Whole {
    const NAME: &'static str = "a whole number";

    fn write(&self, writer: &mut Writer) {
        let zigzag = ((self.0 << 1) ^ (self.0 >> 127)) as u128;
        writer.u64((zigzag >> 64) as u64);
        writer.u64(zigzag as u64);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let upper = u128::from(reader.u64(Self::NAME)?);
        let zigzag = upper << 64 | u128::from(reader.u64(Self::NAME)?);
        Ok(Self((zigzag >> 1) as i128 ^ -((zigzag & 1) as i128)))
    }
}

/// A number with a fraction, never NaN; there is one zero only. It may be infinite as a score, and never in a counter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real(f64);

impl Real {
    /// The number, if it is one.
    ///
    /// # Errors
    /// [`NumberError::NotFinite`] for NaN.
    pub fn new(value: f64) -> Result<Self, NumberError> {
        // Adding zero makes the negative zero the positive one.
        if value.is_nan() { Err(NumberError::NotFinite) } else { Ok(Self(value + 0.0)) }
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    fn finite(value: f64, otherwise: NumberError) -> Result<Self, NumberError> {
        if value.is_finite() { Ok(Self(value + 0.0)) } else { Err(otherwise) }
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Quantity for Real {
    type Value = f64;

    fn of(value: f64) -> Result<Self, NumberError> {
        Self::finite(value, NumberError::NotFinite)
    }

    fn value(self) -> Result<f64, NumberError> {
        Ok(self.0)
    }

    fn plus(self, other: Self) -> Result<Self, NumberError> {
        Self::finite(self.0 + other.0, NumberError::Overflow)
    }

    fn minus(self, other: Self) -> Result<Self, NumberError> {
        Self::finite(self.0 - other.0, NumberError::Overflow)
    }

    fn order(self, other: Self) -> Ordering {
        self.cmp(&other)
    }
}

impl Coded for Real {
    const NAME: &'static str = "a number with a fraction";

    fn write(&self, writer: &mut Writer) {
        writer.fixed_u64(self.0.to_bits());
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let bits = reader.fixed_u64(Self::NAME)?;
        match Self::new(f64::from_bits(bits)) {
            Ok(number) if number.0.to_bits() == bits => Ok(number),
            Ok(_) | Err(_) => Err(DecodeError::Unknown { field: Self::NAME, value: bits }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_back_as_they_were(whole: i128, bits: u64) {
            prop_assert_eq!(Whole::decode(Whole(whole).encode()), Ok(Whole(whole)));
            if let Ok(real) = Real::new(f64::from_bits(bits)) {
                prop_assert_eq!(Real::decode(real.encode()), Ok(real));
            }
        }
    }

    #[test]
    fn there_is_one_zero_and_what_is_no_number_is_refused() {
        assert_eq!(Real::new(-0.0), Real::new(0.0));
        assert_eq!(Real::new(f64::NAN), Err(NumberError::NotFinite));
        assert!(Real::new(f64::NEG_INFINITY).unwrap() < Real::new(f64::MIN).unwrap());
        let bytes = |number: f64| [&[1], &number.to_le_bytes()[..]].concat().into();
        assert!(Real::decode(bytes(-0.0)).is_err());
        assert!(Real::decode(bytes(f64::NAN)).is_err());
    }

    #[test]
    fn small_numbers_take_two_bytes() {
        for number in [0, 1, -1, 63, -64] {
            assert_eq!(Whole(number).encode().len(), 3, "{number}");
        }
    }
}
