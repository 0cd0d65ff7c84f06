//! The byte form of what replicas keep and tell each other.
//!
//! A value that stands by itself opens with the version of its format, one byte ([`Coded::encode`], [`Coded::decode`]). A value
//! within another one does not: the outermost version speaks for all that is inside ([`Coded::write`], [`Coded::read`]).
//!
//! Every form is canonical: entries stand in ascending order, none is empty, numbers have their one shortest meaning. So equal
//! values have equal bytes, which may be hashed and compared, and a reader that refuses disorder needs no sorting. A reader
//! takes no more memory than its input is long, times a constant: it trusts no count, and no run of anything is abbreviated.

use althing_codec::{DecodeError, Reader, Writer};
use bytes::Bytes;

/// A type with a versioned byte form.
pub trait Coded: Sized {
    /// What it is called in errors.
    const NAME: &'static str;
    /// The version that [`Coded::encode`] writes and [`Coded::decode`] reads.
    const VERSION: u8 = 1;

    /// Appends the value, without a version.
    fn write(&self, writer: &mut Writer);

    /// Takes a value off the front.
    ///
    /// # Errors
    /// The bytes are not what [`Coded::write`] makes.
    fn read(reader: &mut Reader) -> Result<Self, DecodeError>;

    /// The value as bytes of its own.
    fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.u8(Self::VERSION);
        self.write(&mut writer);
        writer.finish()
    }

    /// The value that these bytes are, all of them.
    ///
    /// # Errors
    /// The bytes are not what [`Coded::encode`] makes, or of another version.
    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let found = reader.u8(Self::NAME)?;
        if found != Self::VERSION {
            let (found, known) = (u64::from(found), u64::from(Self::VERSION));
            return Err(DecodeError::Version { what: Self::NAME, found, known });
        }
        let value = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// Refuses what does not come after what was before it: `previous` is the entry before, if any.
///
/// # Errors
/// [`DecodeError::Unknown`] with the entry's place, if it is not greater.
pub fn ascending<T: Ord>(previous: Option<&T>, next: &T, place: usize, field: &'static str) -> Result<(), DecodeError> {
    match previous {
        Some(previous) if previous >= next => Err(DecodeError::Unknown { field, value: place as u64 }),
        Some(_) | None => Ok(()),
    }
}

impl Coded for Bytes {
    const NAME: &'static str = "a byte string";

    fn write(&self, writer: &mut Writer) {
        writer.bytes(self);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.bytes(Self::NAME)
    }
}

impl Coded for u64 {
    const NAME: &'static str = "a number";

    fn write(&self, writer: &mut Writer) {
        writer.u64(*self);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.u64(Self::NAME)
    }
}

/// The one, then the other.
impl<A: Coded, B: Coded> Coded for (A, B) {
    const NAME: &'static str = "a pair";

    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
        self.1.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok((A::read(reader)?, B::read(reader)?))
    }
}
