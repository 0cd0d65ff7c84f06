//! Reading and writing of flat messages.
//!
//! Numbers are LEB128 varints (unsigned, as in protobuf) unless a name says fixed, which is little-endian. Byte strings
//! are a varint length and the bytes. A [`Reader`] never reads past its end, never allocates more than its input
//! is long, and hands out byte strings as slices of the input's own buffer.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Why bytes are not what they should be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The input ends within a field.
    #[error("the input ends within {0}")]
    Truncated(&'static str),
    /// A varint has more than 64 bits.
    #[error("{0} is a number of more than 64 bits")]
    Overlong(&'static str),
    /// A tag or a field has a value without meaning.
    #[error("{field} has the unknown value {value}")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A text is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// Bytes follow the message.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
    /// The format's version is from another time.
    #[error("{what} has format version {found}; this program knows {known} only")]
    Version {
        /// Of what.
        what: &'static str,
        /// The version found.
        found: u64,
        /// The one that is known.
        known: u64,
    },
}

/// Builds a message.
#[derive(Debug, Default)]
pub struct Writer(BytesMut);

impl Writer {
    /// An empty message with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(BytesMut::with_capacity(capacity))
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.0.put_u8(value);
    }

    /// A varint.
    pub fn u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.put_u8(value as u8);
    }

    /// A signed number, zigzag and then varint.
    pub fn i64(&mut self, value: i64) {
        self.u64(((value << 1) ^ (value >> 63)) as u64);
    }

    /// A truth, as one byte.
    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// Four bytes, little-endian.
    pub fn fixed_u32(&mut self, value: u32) {
        self.0.put_u32_le(value);
    }

    /// Eight bytes, little-endian.
    pub fn fixed_u64(&mut self, value: u64) {
        self.0.put_u64_le(value);
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) {
        self.u64(value.len() as u64);
        self.0.put_slice(value);
    }

    /// A text.
    pub fn str(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Bytes without a length.
    pub fn raw(&mut self, value: &[u8]) {
        self.0.put_slice(value);
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The message.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// Takes a message apart.
#[derive(Clone, Debug)]
pub struct Reader(Bytes);

impl Reader {
    /// A reader of `input`.
    #[must_use]
    pub fn new(input: impl Into<Bytes>) -> Self {
        Self(input.into())
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        if self.0.is_empty() {
            return Err(DecodeError::Truncated(field));
        }
        Ok(self.0.get_u8())
    }

    /// A varint.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(field)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Overlong(field));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Overlong(field))
    }

    /// A signed number.
    pub fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        let value = self.u64(field)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A truth; any byte but 0 and 1 is refused.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::Unknown { field, value: u64::from(value) }),
        }
    }

    /// Four bytes, little-endian.
    pub fn fixed_u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        if self.0.len() < 4 {
            return Err(DecodeError::Truncated(field));
        }
        Ok(self.0.get_u32_le())
    }

    /// Eight bytes, little-endian.
    pub fn fixed_u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        if self.0.len() < 8 {
            return Err(DecodeError::Truncated(field));
        }
        Ok(self.0.get_u64_le())
    }

    /// A byte string, sharing the input's buffer.
    pub fn bytes(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        let len = self.u64(field)?;
        if len > self.0.len() as u64 {
            return Err(DecodeError::Truncated(field));
        }
        Ok(self.0.split_to(len as usize))
    }

    /// A text.
    pub fn str(&mut self, field: &'static str) -> Result<String, DecodeError> {
        String::from_utf8(self.bytes(field)?.to_vec()).map_err(|_| DecodeError::NotUtf8(field))
    }

    /// A count of things that each take at least one byte: never more than the bytes that are left.
    pub fn count(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        let count = self.u64(field)?;
        if count > self.0.len() as u64 {
            return Err(DecodeError::Truncated(field));
        }
        Ok(count as usize)
    }

    /// All that is left.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.0
    }

    /// Bytes left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Refuses bytes after the message.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(a: u64, b: i64, c: bool, d: Vec<u8>, e: u32, f: u64) {
            let mut writer = Writer::default();
            writer.u64(a);
            writer.i64(b);
            writer.bool(c);
            writer.bytes(&d);
            writer.fixed_u32(e);
            writer.fixed_u64(f);
            let mut reader = Reader::new(writer.finish());
            prop_assert_eq!(reader.u64("a").unwrap(), a);
            prop_assert_eq!(reader.i64("b").unwrap(), b);
            prop_assert_eq!(reader.bool("c").unwrap(), c);
            prop_assert_eq!(reader.bytes("d").unwrap(), d);
            prop_assert_eq!(reader.fixed_u32("e").unwrap(), e);
            prop_assert_eq!(reader.fixed_u64("f").unwrap(), f);
            prop_assert!(reader.finish().is_ok());
        }

        #[test]
        fn hostile_bytes_are_refused_and_never_read_past_their_end(input: Vec<u8>) {
            let mut reader = Reader::new(input);
            while reader.remaining() > 0 {
                if reader.clone().u64("n").is_err() || reader.bytes("b").is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let mut reader = Reader::new(vec![0xff; 9].into_iter().chain([0x02]).collect::<Vec<_>>());
        assert_eq!(reader.u64("n"), Err(DecodeError::Overlong("n")));
    }
}
