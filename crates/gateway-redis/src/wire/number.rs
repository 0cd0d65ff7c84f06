//! Numbers as Redis reads and writes them. Those that values are made of are the data types' own.

pub use althing_datatypes::number::{parse_int as integer, score_text as format_float};

/// A floating-point number as scores are read: what C's `strtod` takes of decimal notation, and infinity by its names.
/// Never "not a number".
#[must_use]
pub fn float(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    // Rust takes "nan" too; and nothing that is not wholly a number.
    let value: f64 = text.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

/// Digits after the point of what [`format_decimal`] writes.
const DECIMAL_DIGITS: usize = 17;

/// A floating-point number as Redis writes coordinates: without an exponent, and with as many of 17 digits after the point as it
/// has.
#[must_use]
pub fn format_decimal(value: f64) -> String {
    let text = format!("{value:.DECIMAL_DIGITS$}");
    let text = if value.is_finite() { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_float_is_never_not_a_number() {
        assert_eq!(float(b"nan"), None);
        assert_eq!(float(b"+inf"), Some(f64::INFINITY));
        assert_eq!(float(b"-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(float(b"1x"), None);
        assert_eq!(float(b""), None);
    }

    #[test]
    fn a_decimal_has_no_exponent_and_no_zeros_at_its_end() {
        for (value, text) in [
            (38.115_556_395_496_3, "38.11555639549629859"),
            (100.0, "100"),
            (-0.5, "-0.5"),
            (-0.0, "0"),
            (1e-30, "0"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(format_decimal(value), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_number(value in any::<f64>().prop_filter("a number", |v| !v.is_nan())) {
            prop_assert_eq!(float(format_float(value).as_bytes()), Some(value));
        }
    }
}
