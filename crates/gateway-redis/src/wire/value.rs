//! What a client is told, in the types of RESP3; [`write`](super::write) says it in either protocol.

use std::borrow::Cow;

use bytes::Bytes;

/// One answer.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Nothing: RESP2's null bulk string.
    Nil,
    /// Nothing where an array is usual: RESP2's null array.
    NilArray,
    /// A word that is no data, like `OK`.
    Status(Cow<'static, str>),
    /// A refusal: a code in capitals and a text, without line ends.
    Error(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// A floating-point number; a string in RESP2.
    Float(f64),
    /// A floating-point number that is written without an exponent, as coordinates are; a string in RESP2.
    Decimal(f64),
    /// Yes or no; 1 or 0 in RESP2.
    Bool(bool),
    /// Data.
    Bulk(Bytes),
    /// Text for people.
    Text(String),
    /// A list.
    Array(Vec<Value>),
    /// Keys and values; one flat list in RESP2.
    Map(Vec<(Value, Value)>),
    /// A set; a list in RESP2.
    Set(Vec<Value>),
    /// A list of pairs, as members with scores; one flat list in RESP2.
    Pairs(Vec<(Value, Value)>),
    /// What the client has not asked for just now: a message. A list in RESP2.
    Push(Vec<Value>),
    /// Several answers to one command, one after the other; none if it is not answered. Only ever outermost.
    Several(Vec<Value>),
}

impl Value {
    /// `OK`.
    pub const OK: Self = Self::Status(Cow::Borrowed("OK"));

    /// A status.
    #[must_use]
    pub const fn status(text: &'static str) -> Self {
        Self::Status(Cow::Borrowed(text))
    }

    /// Data that stands in the program.
    #[must_use]
    pub const fn word(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// Data made of text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bulk(Bytes::from(text.into()))
    }

    /// A count.
    #[must_use]
    pub fn count(count: usize) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// A list of data.
    pub fn bulks(items: impl IntoIterator<Item = Bytes>) -> Self {
        Self::Array(items.into_iter().map(Self::Bulk).collect())
    }

    /// Data, or nothing.
    #[must_use]
    pub fn optional(data: Option<Bytes>) -> Self {
        data.map_or(Self::Nil, Self::Bulk)
    }
}
