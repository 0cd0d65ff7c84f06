//! Keys that sort as bytes the way their parts sort as values.
//!
//! ```text
//! u64      8 bytes, big-endian
//! i64      8 bytes, big-endian, sign bit flipped
//! bytes    each 00 as 00 ff, then 00 01 at the end
//! inverted any of the above with every bit flipped: the greatest first
//! ```
//!
//! The end mark `00 01` sorts below every continuation (`00 ff` or a byte above 00), so a string sorts before all
//! that extend it, and whatever follows in the key never disturbs that. `00 02`, which no string contains, sorts after
//! everything that has the string as its whole first part and before all longer strings.

use crate::wire::DecodeError;

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const END: u8 = 0x01;

/// Appends a number.
pub fn push_u64(key: &mut Vec<u8>, value: u64) {
    key.extend_from_slice(&value.to_be_bytes());
}

/// Appends a number so that greater ones sort first.
pub fn push_u64_inverted(key: &mut Vec<u8>, value: u64) {
    push_u64(key, !value);
}

/// Appends a signed number.
pub fn push_i64(key: &mut Vec<u8>, value: i64) {
    push_u64(key, value as u64 ^ (1 << 63));
}

/// Appends a byte string and its end mark.
pub fn push_bytes(key: &mut Vec<u8>, bytes: &[u8]) {
    push_prefix(key, bytes);
    key.extend_from_slice(&[ESCAPE, END]);
}

/// Appends a byte string without its end mark: what all longer strings with this beginning share.
pub fn push_prefix(key: &mut Vec<u8>, bytes: &[u8]) {
    key.reserve(bytes.len() + 2);
    for &byte in bytes {
        key.push(byte);
        if byte == ESCAPE {
            key.push(ESCAPED_ZERO);
        }
    }
}

/// Takes a number off the front.
pub fn take_u64(key: &mut &[u8]) -> Result<u64, DecodeError> {
    let (head, rest) = key.split_first_chunk::<8>().ok_or(DecodeError::Truncated("an ordered number"))?;
    *key = rest;
    Ok(u64::from_be_bytes(*head))
}

/// Takes an inverted number off the front.
pub fn take_u64_inverted(key: &mut &[u8]) -> Result<u64, DecodeError> {
    take_u64(key).map(|value| !value)
}

/// Takes a signed number off the front.
pub fn take_i64(key: &mut &[u8]) -> Result<i64, DecodeError> {
    take_u64(key).map(|value| (value ^ (1 << 63)) as i64)
}

/// Takes a byte string and its end mark off the front.
pub fn take_bytes(key: &mut &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::with_capacity(key.len());
    loop {
        match **key {
            [ESCAPE, END, ref rest @ ..] => {
                *key = rest;
                return Ok(bytes);
            }
            [ESCAPE, ESCAPED_ZERO, ref rest @ ..] => {
                bytes.push(ESCAPE);
                *key = rest;
            }
            [ESCAPE, other, ..] => {
                return Err(DecodeError::Unknown { field: "an escape in an ordered key", value: u64::from(other) });
            }
            [ESCAPE] | [] => return Err(DecodeError::Truncated("an ordered byte string")),
            [byte, ref rest @ ..] => {
                bytes.push(byte);
                *key = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(parts: &(Vec<u8>, u64, i64)) -> Vec<u8> {
        let mut key = Vec::new();
        push_bytes(&mut key, &parts.0);
        push_u64(&mut key, parts.1);
        push_i64(&mut key, parts.2);
        key
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_parts(
            a in (proptest::collection::vec(0_u8..3, 0..6), 0_u64..3, -2_i64..2),
            b in (proptest::collection::vec(0_u8..3, 0..6), 0_u64..3, -2_i64..2),
        ) {
            prop_assert_eq!(a.cmp(&b), encode(&a).cmp(&encode(&b)));
        }

        #[test]
        fn what_is_pushed_is_taken(bytes: Vec<u8>, number: u64, signed: i64) {
            let mut key = encode(&(bytes.clone(), number, signed));
            push_u64_inverted(&mut key, number);
            let mut rest = key.as_slice();
            prop_assert_eq!(take_bytes(&mut rest).unwrap(), bytes);
            prop_assert_eq!(take_u64(&mut rest).unwrap(), number);
            prop_assert_eq!(take_i64(&mut rest).unwrap(), signed);
            prop_assert_eq!(take_u64_inverted(&mut rest).unwrap(), number);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn hostile_keys_are_refused(key: Vec<u8>) {
            let mut rest = key.as_slice();
            let _ = take_bytes(&mut rest);
        }
    }
}
