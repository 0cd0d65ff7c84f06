//! Strings that Redis has dumped.
//!
//! ```text
//! type (1 byte: 0 is a string)  length and bytes, or a number  RDB version (2 bytes)  CRC64 of all before (8 bytes), both little-endian
//! ```

use bytes::Bytes;

use crate::MAX_STRING_BYTES;

const TYPE_STRING: u8 = 0;
/// The version that Redis 7.0 writes; it refuses later ones.
const MAX_VERSION: u16 = 10;
/// The polynomial of Redis's CRC64, named after Jones, with its bits reversed.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// The string of a payload; none if it is damaged, too long, compressed, or of another type.
pub fn string(payload: &[u8]) -> Option<Bytes> {
    let (signed, checksum) = payload.split_last_chunk::<8>()?;
    if crc64(signed) != u64::from_le_bytes(*checksum) {
        return None;
    }
    let (body, version) = signed.split_last_chunk::<2>()?;
    if u16::from_le_bytes(*version) > MAX_VERSION {
        return None;
    }
    value(body.strip_prefix(&[TYPE_STRING])?).filter(|string| string.len() <= MAX_STRING_BYTES)
}

/// A length has its form in the two upper bits of its first byte.
fn value(bytes: &[u8]) -> Option<Bytes> {
    let number = |number: i32| Some(Bytes::from(number.to_string()));
    match bytes {
        [0xc0, value] => number(i32::from(value.cast_signed())),
        [0xc1, low, high] => number(i32::from(i16::from_le_bytes([*low, *high]))),
        [0xc2, rest @ ..] => number(i32::from_le_bytes(rest.try_into().ok()?)),
        [0x80, rest @ ..] => {
            let (len, string) = rest.split_first_chunk::<4>()?;
            exactly(u64::from(u32::from_be_bytes(*len)), string)
        }
        [0x81, rest @ ..] => {
            let (len, string) = rest.split_first_chunk::<8>()?;
            exactly(u64::from_be_bytes(*len), string)
        }
        [len @ 0x00..=0x3f, string @ ..] => exactly(u64::from(*len), string),
        [high @ 0x40..=0x7f, low, string @ ..] => exactly(u64::from(high & 0x3f) << 8 | u64::from(*low), string),
        _ => None,
    }
}

fn exactly(len: u64, string: &[u8]) -> Option<Bytes> {
    (string.len() as u64 == len).then(|| Bytes::copy_from_slice(string))
}

fn crc64(bytes: &[u8]) -> u64 {
    const TABLE: [u64; 256] = table();
    bytes.iter().fold(0, |crc, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut place = 0;
    while place < table.len() {
        let (mut crc, mut bit) = (place as u64, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[place] = crc;
        place += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(body: &[u8]) -> Vec<u8> {
        let mut payload = [body, &[10, 0]].concat();
        payload.extend(crc64(&payload).to_le_bytes());
        payload
    }

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn a_string_that_redis_has_dumped_is_read() {
        let payload = b"\x00\x01v\x06\x00\x07\xe5\xa62\xecm\xb6]";
        assert_eq!(string(payload).unwrap(), "v");
        assert_eq!(string(&payload[..payload.len() - 1]), None);
    }

    #[test]
    fn all_forms_of_lengths_and_numbers_are_read() {
        assert_eq!(string(&signed(&[0, 0xc0, 0xff])).unwrap(), "-1");
        assert_eq!(string(&signed(&[0, 0xc1, 0x00, 0x01])).unwrap(), "256");
        assert_eq!(string(&signed(&[0, 0xc2, 0, 0, 1, 0])).unwrap(), "65536");
        assert_eq!(string(&signed(&[0, 0x40, 0x01, b'x'])).unwrap(), "x");
        assert_eq!(string(&signed(&[0, 0x80, 0, 0, 0, 1, b'x'])).unwrap(), "x");
        assert_eq!(string(&signed(&[0, 0x81, 0, 0, 0, 0, 0, 0, 0, 1, b'x'])).unwrap(), "x");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for body in [&[][..], &[0], &[0, 2, b'x'], &[0, 0xc3, 1, 1, b'x'], &[4, 1, b'x'], &[0, 0xc2, 1]] {
            assert_eq!(string(&signed(body)), None, "{body:?}");
        }
    }
}
