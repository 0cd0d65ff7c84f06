//! Numbers as strings hold them.
//!
//! A string that is a number is written in one way only: whole numbers as Redis's `string2ll` takes them, fractions as its
//! `INCRBYFLOAT` writes them, without an exponent and with at the most 17 digits after the point. Redis adds in 80-bit floats,
//! which not every processor has; here decimals are added as decimals, so that 10.1 and 0.2 are 10.3 on every replica, and
//! what is too large for that as 64-bit floats.

use bytes::Bytes;

use crate::OpError;

/// Digits after the point.
const FRACTION_DIGITS: u32 = 17;
/// What a [`Number::Decimal`] counts.
const ONE: i128 = 10_i128.pow(FRACTION_DIGITS);
/// Bytes beyond which a text is not read as a number: a 64-bit float has 309 digits before the point, and as many bits after
/// it as nobody writes.
const MAX_NUMBER_BYTES: usize = 1_100;

/// A finite number.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Number {
    /// So many of 10^-17.
    Decimal(i128),
    /// What is too large, or has too many digits.
    Wide(f64),
}

/// The whole number that this is the text of: an optional minus, and digits without a zero before them.
#[must_use]
pub fn parse_int(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_canonical = match digits {
        [] => false,
        [b'0'] => text.len() == 1,
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    if is_canonical { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// The text of a number to which a whole one is added.
///
/// # Errors
/// [`OpError::NotAnInteger`], [`OpError::Overflow`]
pub fn add_int(text: &[u8], by: i64) -> Result<i64, OpError> {
    parse_int(text).ok_or(OpError::NotAnInteger)?.checked_add(by).ok_or(OpError::Overflow)
}

/// The text of a number to which another is added.
///
/// # Errors
/// [`OpError::NotAFloat`], [`OpError::NotFinite`]
pub fn add_float(text: &[u8], by: f64) -> Result<Bytes, OpError> {
    Ok(parse(text)?.plus(of_float(by)?)?.text())
}

/// The text of a number that was written as `base` (nothing counts as 0), and to which `ints` and `floats` were added since. What is no
/// number stays as it is if nothing was added.
///
/// # Errors
/// [`OpError::NotAFloat`], [`OpError::NotFinite`]: something was added that cannot be shown.
pub fn total(base: Option<&[u8]>, ints: i128, floats: f64) -> Result<Bytes, OpError> {
    let base = base.unwrap_or(b"0");
    if ints == 0 && floats == 0.0 {
        return Ok(Bytes::copy_from_slice(base));
    }
    if let (Some(base), true) = (parse_int(base), floats == 0.0) {
        return Ok(ints.saturating_add(i128::from(base)).to_string().into());
    }
    let whole = ints.checked_mul(ONE).map_or(Number::Wide(ints as f64), Number::Decimal);
    Ok(parse(base)?.plus(whole)?.plus(of_float(without_noise(floats))?)?.text())
}

/// A sum of 64-bit floats has errors in its last digits, and no more than 15 digits that all decimals survive in.
fn without_noise(sum: f64) -> f64 {
    format!("{sum:.14e}").parse().unwrap_or(sum)
}

/// A number's text as scores are answered in: C's `%.17g`.
#[must_use]
pub fn score_text(score: f64) -> String {
    /// Significant digits: so many tell all floats apart.
    const DIGITS: i32 = 17;
    if score.is_infinite() {
        return if score > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{score:.16e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..DIGITS).contains(&exponent) {
        let after_point = usize::try_from(DIGITS - 1 - exponent).unwrap_or_default();
        return without_zeros(&format!("{score:.after_point$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.unsigned_abs())
}

/// Without zeros at the end of a fraction.
fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

impl Number {
    fn plus(self, other: Self) -> Result<Self, OpError> {
        if let (Self::Decimal(left), Self::Decimal(right)) = (self, other)
            && let Some(sum) = left.checked_add(right)
        {
            return Ok(Self::Decimal(sum));
        }
        let sum = self.float() + other.float();
        if sum.is_finite() { Ok(Self::Wide(sum)) } else { Err(OpError::NotFinite) }
    }

    fn float(self) -> f64 {
        match self {
            Self::Decimal(scaled) => scaled as f64 / ONE as f64,
            Self::Wide(number) => number,
        }
    }

    fn text(self) -> Bytes {
        match self {
            Self::Decimal(scaled) => {
                let sign = if scaled < 0 { "-" } else { "" };
                let (whole, fraction) = (scaled.unsigned_abs() / ONE as u128, scaled.unsigned_abs() % ONE as u128);
                Bytes::from(without_zeros(&format!("{sign}{whole}.{fraction:017}")).to_owned())
            }
            Self::Wide(number) => Bytes::from(without_zeros(&format!("{number:.17}")).to_owned()),
        }
    }
}

fn of_float(number: f64) -> Result<Number, OpError> {
    if !number.is_finite() {
        return Err(OpError::NotFinite);
    }
    // The shortest text that is read as this number is what was meant.
    Ok(decimal(&number.to_string()).map_or(Number::Wide(number), Number::Decimal))
}

fn parse(text: &[u8]) -> Result<Number, OpError> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= MAX_NUMBER_BYTES);
    let text = text.ok_or(OpError::NotAFloat)?;
    let number: f64 = text.parse().map_err(|_| OpError::NotAFloat)?;
    match number {
        number if number.is_nan() => Err(OpError::NotAFloat),
        // Infinity itself is a number that nothing can be added to; what is only too large is none.
        number if number.is_infinite() && text.contains(|letter: char| letter.is_ascii_digit()) => {
            Err(OpError::NotAFloat)
        }
        number if number.is_infinite() => Err(OpError::NotFinite),
        number => Ok(decimal(text).map_or(Number::Wide(number), Number::Decimal)),
    }
}

/// Reads what is known to be a finite number's text; none if 128 bits do not hold it.
fn decimal(text: &str) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, magnitude) = match mantissa.strip_prefix('-') {
        Some(magnitude) => (-1, magnitude),
        None => (1, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let digits = whole.bytes().chain(fraction.bytes());
    let digits = digits
        .into_iter()
        .try_fold(0_i128, |number, digit| number.checked_mul(10)?.checked_add(i128::from(digit - b'0')))?;
    let shift =
        i32::try_from(FRACTION_DIGITS).ok()?.checked_add(exponent)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    Some(sign * shifted(digits, shift)?)
}

/// `digits` times 10^`shift`, rounded half to even.
fn shifted(digits: i128, shift: i32) -> Option<i128> {
    if digits == 0 {
        return Some(0);
    }
    if shift >= 0 {
        return digits.checked_mul(10_i128.checked_pow(shift.unsigned_abs())?);
    }
    let Some(unit) = 10_i128.checked_pow(shift.unsigned_abs()) else { return Some(0) };
    let (quotient, rest) = (digits / unit, digits % unit);
    let is_up = rest > unit / 2 || (rest == unit / 2 && quotient % 2 == 1);
    Some(quotient + i128::from(is_up))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_numbers_have_one_text() {
        for (text, number) in
            [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(parse_int(text.as_bytes()), Some(number));
        }
        for text in ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "9223372036854775808", "a"] {
            assert_eq!(parse_int(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn fractions_are_added_as_decimals() {
        let golden = [
            ("10.1", 0.2, "10.3"),
            ("10.50", 0.1, "10.6"),
            ("5.0e3", 200.0, "5200"),
            ("3.00", 0.0, "3"),
            ("-0.5", 0.25, "-0.25"),
            ("-0", -0.0, "0"),
            ("1.", 0.5, "1.5"),
            (".5", 0.5, "1"),
            ("3", 1.5e-20, "3"),
            ("1.123456789012345678901", 0.0, "1.12345678901234568"),
            ("1e30", 5.0, "1000000000000000019884624838656"),
        ];
        for (text, by, sum) in golden {
            assert_eq!(add_float(text.as_bytes(), by).unwrap(), sum, "{text} + {by}");
        }
    }

    #[test]
    fn what_is_no_finite_number_is_not_added_to() {
        for text in ["", " 1", "a", "nan", "1e", "--1", "1e400"] {
            assert_eq!(add_float(text.as_bytes(), 1.0), Err(OpError::NotAFloat), "{text}");
        }
        assert_eq!(add_float(b"inf", 1.0), Err(OpError::NotFinite));
        assert_eq!(add_float(b"1e308", 1e308), Err(OpError::NotFinite));
        assert_eq!(add_float(b"1", f64::NAN), Err(OpError::NotFinite));
    }

    #[test]
    fn what_was_added_since_is_shown_without_the_noise_of_its_sum() {
        assert_eq!(total(None, 0, 0.1 + 0.2).unwrap(), "0.3");
        assert_eq!(total(Some(b"10"), 5, 0.0).unwrap(), "15");
        assert_eq!(total(Some(b"10"), 5, 0.5).unwrap(), "15.5");
        assert_eq!(total(Some(b"hello"), 0, 0.0).unwrap(), "hello");
        assert_eq!(total(Some(b"hello"), 1, 0.0), Err(OpError::NotAFloat));
        assert_eq!(total(Some(b"9223372036854775807"), 1, 0.0).unwrap(), "9223372036854775808");
    }

    #[test]
    fn scores_are_written_as_c_writes_them() {
        let golden = [
            (3.0, "3"),
            (3.1, "3.1000000000000001"),
            (-0.5, "-0.5"),
            (1e17, "1e+17"),
            (1e16, "10000000000000000"),
            (0.0001, "0.0001"),
            (1e-5, "1.0000000000000001e-05"),
            (1.5e300, "1.5000000000000001e+300"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (0.0, "0"),
        ];
        for (score, text) in golden {
            assert_eq!(score_text(score), text);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text in "[-+0-9.eEinfa]{0,40}", by: f64) {
            let _ = (parse_int(text.as_bytes()), add_float(text.as_bytes(), by));
        }

        #[test]
        fn scores_come_back_from_their_texts(score in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
            prop_assert_eq!(score_text(score).parse::<f64>().unwrap(), score);
        }

        #[test]
        fn numbers_of_the_same_scale_add_up_exactly(left in -1_000_000_000_i64..1_000_000_000, right in -1_000_000_i64..1_000_000) {
            let text = |cents: i64| format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
            let sum = add_float(text(left).as_bytes(), right as f64 / 100.0).unwrap();
            let want = text(left + right);
            let want = if want.starts_with("-0.00") { "0" } else { without_zeros(&want) };
            prop_assert_eq!(sum, want.to_owned());
        }
    }
}
