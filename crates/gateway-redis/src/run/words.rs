//! Reading the words of a command.

use bytes::Bytes;

use crate::refusal::Refusal;
use crate::wire::number;

/// The word at a place that the command's arity promises.
///
/// # Errors
/// A syntax error if it is not there.
pub fn at(words: &[Bytes], place: usize) -> Result<&Bytes, Refusal> {
    words.get(place).ok_or(Refusal::SYNTAX)
}

/// A whole number.
///
/// # Errors
/// If it is none, or does not fit 64 bits.
pub fn int(word: &[u8]) -> Result<i64, Refusal> {
    number::integer(word).ok_or(Refusal::NOT_AN_INTEGER)
}

/// A whole number that is not negative.
///
/// # Errors
/// If it is none, or negative.
pub fn positive(word: &[u8]) -> Result<u64, Refusal> {
    number::integer(word).and_then(|number| u64::try_from(number).ok()).ok_or(Refusal::OUT_OF_RANGE)
}

/// A number that may have a fraction, or be infinite.
///
/// # Errors
/// If it is none.
pub fn float(word: &[u8]) -> Result<f64, Refusal> {
    number::float(word).ok_or(Refusal::NOT_A_FLOAT)
}

/// Whether a word is this keyword, in any case.
#[must_use]
pub fn is(word: &[u8], keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword.as_bytes())
}

/// The words after those that every command of the kind has: options, each with what belongs to it.
#[derive(Debug)]
pub struct Options<'a> {
    rest: &'a [Bytes],
}

impl<'a> Options<'a> {
    /// The words from `place` on.
    #[must_use]
    pub fn from(words: &'a [Bytes], place: usize) -> Self {
        Self { rest: words.get(place..).unwrap_or_default() }
    }

    /// The next word, if there is one.
    pub fn pull(&mut self) -> Option<&'a Bytes> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// What belongs to an option.
    ///
    /// # Errors
    /// A syntax error if it is missing.
    pub fn value(&mut self) -> Result<&'a Bytes, Refusal> {
        self.pull().ok_or(Refusal::SYNTAX)
    }

    /// The number that belongs to an option.
    ///
    /// # Errors
    /// If it is missing or none.
    pub fn int(&mut self) -> Result<i64, Refusal> {
        int(self.value()?)
    }

    /// Takes the next word if it is this keyword.
    pub fn take(&mut self, keyword: &str) -> bool {
        let found = self.rest.first().is_some_and(|word| is(word, keyword));
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// All that is left.
    #[must_use]
    pub const fn rest(&self) -> &'a [Bytes] {
        self.rest
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// A syntax error if something is.
    pub fn end(&self) -> Result<(), Refusal> {
        if self.rest.is_empty() { Ok(()) } else { Err(Refusal::SYNTAX) }
    }
}
