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

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_number(value in any::<f64>().prop_filter("a number", |v| !v.is_nan())) {
            prop_assert_eq!(float(format_float(value).as_bytes()), Some(value));
        }
    }
}
