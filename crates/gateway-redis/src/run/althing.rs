//! Althing's own commands: what Redis has no words for. All begin with `AL.`.
//!
//! Contexts and tokens are shown as hexadecimal text, so that they can be copied from a terminal.

use std::fmt::Write as _;

use althing_api::keyed::{KeyedAnswer, KeyedRequest, MAX_TOKEN_BYTES};
use althing_datatypes::Op;
use althing_datatypes::op::StringOp;
use althing_quorum::Level;
use bytes::Bytes;

use crate::command::{self, Action, Answer, Answering};
use crate::keyspace::{Keyspace, Levels};
use crate::refusal::Refusal;
use crate::run::words::{Options, at, is};
use crate::run::{Keyed, refused, wrong_reply};
use crate::session::Session;
use crate::wire::Value;

/// `AL.CAS key expected new`
pub fn cas(words: &[Bytes]) -> Result<Keyed, Refusal> {
    let (expected, new) = (Some(at(words, 2)?.clone()), Some(at(words, 3)?.clone()));
    Ok(Keyed::plain(at(words, 1)?, Op::String(StringOp::Compare { expected, new })))
}

/// `AL.SIBLINGS key`: the values, and the context in which they were seen.
pub fn siblings<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let request = KeyedRequest::Siblings { key: at(words, 1)?.clone(), level: space.levels().read };
        match space.request(request).await? {
            KeyedAnswer::Siblings { values, context } => {
                Ok(Value::Array(vec![Value::bulks(values), Value::text(hexadecimal(&context))]))
            }
            KeyedAnswer::Operated(_)
            | KeyedAnswer::Refused(_)
            | KeyedAnswer::Page { .. }
            | KeyedAnswer::Count(_)
            | KeyedAnswer::Flushed(_)
            | KeyedAnswer::Reread(_)
            | KeyedAnswer::Series(_)
            | KeyedAnswer::Transacted { .. }
            | KeyedAnswer::Aborted
            | KeyedAnswer::InSession { .. } => Err(wrong_reply()),
        }
    })
}

/// `AL.PUT key value CONTEXT context`
pub fn put<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        if !is(at(words, 3)?, "context") {
            return Err(Refusal::SYNTAX);
        }
        let context = from_hexadecimal(at(words, 4)?)?;
        let (key, value, level) = (at(words, 1)?.clone(), at(words, 2)?.clone(), space.levels().write);
        let answer = space.request(KeyedRequest::Put { key, value, context, level }).await?;
        crate::keyspace::operation(answer)?.map(|_| Value::OK).map_err(|error| refused(error, "al.put"))
    })
}

/// `AL.WITH level command...`: the command at this level.
pub fn with<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let level = level_of(at(words, 1)?)?;
        let inner = &words[2..];
        let command = command::find(inner)?;
        let space = space.with_levels(Levels { read: level, write: level });
        match command.action {
            Action::Keyed(parse) => {
                let keyed = parse(inner)?;
                let reply = space.ask(&keyed.key, keyed.op).await?;
                reply.map(keyed.say).map_err(|error| refused(error, command.name))
            }
            Action::Composed(run) if command.name != "al.with" => run(&space, inner).await,
            Action::Composed(_)
            | Action::Waiting(_)
            | Action::Watch
            | Action::Session(_)
            | Action::Exec
            | Action::Container(_) => {
                Err(Refusal::new(format!("ERR AL.WITH runs commands on keys, and '{}' is none", command.name)))
            }
        }
    })
}

/// `AL.LEVEL [READ level | WRITE level]...`: what this connection's commands ask for from now on; `DEFAULT` is what the table says.
pub fn level(session: &mut Session, words: &[Bytes]) -> Answer {
    let mut levels = session.space().levels();
    let mut options = Options::from(words, 1);
    while let Some(option) = options.pull() {
        let level = level_of(options.value()?)?;
        if is(option, "read") {
            levels.read = level;
        } else if is(option, "write") {
            levels.write = level;
        } else {
            return Err(Refusal::SYNTAX);
        }
    }
    session.set_levels(levels);
    let name = |level: Option<Level>| Value::text(level.map_or("DEFAULT".to_owned(), |level| level.to_string()));
    Ok(Value::Map(vec![(Value::word("read"), name(levels.read)), (Value::word("write"), name(levels.write))]))
}

/// `AL.SESSION [ON | OFF | token]`: the token of what this connection has seen; nothing if it keeps none.
pub fn session(session: &mut Session, words: &[Bytes]) -> Answer {
    match words.get(1) {
        None => {}
        Some(word) if is(word, "off") => session.space().keep_token(None),
        Some(word) if is(word, "on") => {
            let token = session.space().token().unwrap_or_default();
            session.space().keep_token(Some(token));
        }
        Some(word) => {
            let token = from_hexadecimal(word)?;
            session.space().keep_token(Some(token));
        }
    }
    Ok(session.space().token().map_or(Value::Nil, |token| Value::text(hexadecimal(&token))))
}

/// A level's name, or `DEFAULT`.
fn level_of(word: &Bytes) -> Result<Option<Level>, Refusal> {
    if is(word, "default") {
        return Ok(None);
    }
    let level = String::from_utf8_lossy(word).parse::<Level>();
    level.map(Some).map_err(|error| Refusal::new(format!("ERR {error}")))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hexadecimal(word: &[u8]) -> Result<Bytes, Refusal> {
    const BAD: Refusal = Refusal::of("ERR a context or a token is the hexadecimal text that was answered");
    if word.len() > 2 * MAX_TOKEN_BYTES || !word.len().is_multiple_of(2) {
        return Err(BAD);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    word.chunks_exact(2).map(byte).collect::<Option<Vec<u8>>>().map(Bytes::from).ok_or(BAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_and_nothing_else() {
        let bytes = Bytes::from_static(&[0, 15, 16, 255]);
        assert_eq!(hexadecimal(&bytes), "000f10ff");
        assert_eq!(from_hexadecimal(b"000F10ff"), Ok(bytes));
        for bad in ["0", "0g", "+1", "  "] {
            assert!(from_hexadecimal(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
