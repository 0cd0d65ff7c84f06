//! What a client is told that does not get what it asked for: a code in capitals, then a text. Where Redis refuses the
//! same, the words are Redis's, since clients and their tests compare them.

use std::borrow::Cow;
use std::fmt::Write as _;

use althing_api::{Error, ErrorKind, Outcome};
use bytes::Bytes;

use crate::wire::Value;

/// A refusal of one command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal(Cow<'static, str>);

/// Bytes of a name or of arguments that an error quotes, as Redis does it.
const MAX_QUOTED_BYTES: usize = 128;

impl Refusal {
    /// A text that stands in the program, its code before it.
    #[must_use]
    pub const fn of(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Words that are not what the command takes.
    pub const SYNTAX: Self = Self::of("ERR syntax error");
    /// A number that is none or too large.
    pub const NOT_AN_INTEGER: Self = Self::of("ERR value is not an integer or out of range");
    /// A number that is none.
    pub const NOT_A_FLOAT: Self = Self::of("ERR value is not a valid float");
    /// A negative number where none may be.
    pub const OUT_OF_RANGE: Self = Self::of("ERR value is out of range, must be positive");
    /// Other data than the command is for.
    pub const WRONG_TYPE: Self = Self::of("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// No such key where there must be one.
    pub const NO_SUCH_KEY: Self = Self::of("ERR no such key");
    /// The client has not said who it is.
    pub const NO_AUTH: Self = Self::of("NOAUTH Authentication required.");
    /// It has, and is not.
    pub const WRONG_PASSWORD: Self = Self::of("WRONGPASS invalid username-password pair or user is disabled.");

    /// A text that is made.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    /// Too few words or too many.
    #[must_use]
    pub fn arity(name: &str) -> Self {
        Self::new(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// No such command: its name and the beginnings of its words are quoted.
    #[must_use]
    pub fn unknown_command(words: &[Bytes]) -> Self {
        let (name, rest) = words.split_first().map_or((&b""[..], words), |(name, rest)| (&name[..], rest));
        let mut arguments = String::new();
        for word in rest {
            if arguments.len() >= MAX_QUOTED_BYTES {
                break;
            }
            // Writing to a string cannot fail.
            let _ = write!(arguments, "'{}' ", quoted(word, MAX_QUOTED_BYTES - arguments.len()));
        }
        Self::new(format!(
            "ERR unknown command '{}', with args beginning with: {arguments}",
            quoted(name, MAX_QUOTED_BYTES)
        ))
    }

    /// No such subcommand.
    #[must_use]
    pub fn unknown_subcommand(command: &str, name: &[u8]) -> Self {
        let command = command.to_ascii_uppercase();
        Self::new(format!("ERR unknown subcommand '{}'. Try {command} HELP.", quoted(name, MAX_QUOTED_BYTES)))
    }

    /// A command that is Redis's and not Althing's.
    #[must_use]
    pub fn unsupported(name: &str, reason: &str) -> Self {
        Self::new(format!("ERR {name} is not supported by Althing: {reason}"))
    }

    /// The text, its code before it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// The beginning of a word, as text.
pub fn quoted(word: &[u8], max_bytes: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(&word[..word.len().min(max_bytes)])
}

impl From<Refusal> for Value {
    fn from(refusal: Refusal) -> Self {
        Self::Error(refusal.0)
    }
}

impl From<Error> for Refusal {
    /// Codes that clients know stand for what they do about it: after `TRYAGAIN` and `CLUSTERDOWN` they send the command again,
    /// so these are only for what was not done. What may have been done has a code of its own.
    fn from(error: Error) -> Self {
        let kind = &error.kind;
        if error.outcome == Outcome::MaybeDone {
            return Self::new(format!("UNCERTAIN {kind}: it may have been done"));
        }
        match kind {
            ErrorKind::ShardUnavailable => Self::new(format!("CLUSTERDOWN {kind}")),
            ErrorKind::CrossShard(_) => Self::new(format!("CROSSSLOT {kind}")),
            ErrorKind::WrongShard => Self::new(format!("TRYAGAIN {kind}")),
            kind => Self::new(format!("ERR {kind}")),
        }
    }
}
