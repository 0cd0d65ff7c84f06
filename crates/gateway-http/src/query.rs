//! What a request says behind the question mark. A word that means nothing is refused: a `dryrun` that is silently a write
//! would be a bad surprise.

use althing_types::Revision;

use crate::selector::Selector;
use crate::status::{Reason, Status};

/// What happens to a write that is fine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Effect {
    /// It is written.
    #[default]
    Written,
    /// It is only shown (`dryRun=true`).
    Shown,
}

/// What is wanted of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Form {
    /// The objects that are there now.
    #[default]
    List,
    /// What happens to them from now on, until the client goes (`watch=true`).
    Watch,
}

/// A query, read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Query {
    pub effect: Effect,
    pub form: Form,
    pub selector: Selector,
    pub revision: Option<Revision>,
}

impl Query {
    /// Reads the part of the URL after the question mark.
    pub(crate) fn parse(text: &str) -> Result<Self, Status> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let value = decode(value).ok_or_else(|| refuse(format!("{name}={value} is not percent-encoded UTF-8")))?;
            match name {
                "dryRun" => query.effect = if is_true(name, &value)? { Effect::Shown } else { Effect::Written },
                "watch" => query.form = if is_true(name, &value)? { Form::Watch } else { Form::List },
                "labelSelector" => query.selector = Selector::parse(&value).map_err(refuse)?,
                "resourceVersion" => query.revision = Some(revision(&value)?),
                other => return Err(refuse(format!("there is no parameter {other:?}; {KNOWN}"))),
            }
        }
        Ok(query)
    }
}

const KNOWN: &str = "the parameters are dryRun, watch, labelSelector and resourceVersion";

fn refuse(message: String) -> Status {
    Status::new(Reason::BadRequest, message)
}

fn is_true(name: &str, value: &str) -> Result<bool, Status> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        // The word that kubectl sends for it.
        "All" if name == "dryRun" => Ok(true),
        other => Err(refuse(format!("{name} is true or false, not {other:?}"))),
    }
}

fn revision(text: &str) -> Result<Revision, Status> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(Revision(number)),
        Ok(_) | Err(_) => Err(refuse(format!("resourceVersion={text} is not a revision: a number from 1 on"))),
    }
}

/// Percent-decoding (RFC 3986, section 2.1), with `+` for a space as forms send it.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Query::parse(text).unwrap_err().message
    }

    #[test]
    fn a_query_is_read_whole() {
        let query = Query::parse("watch=1&resourceVersion=7&labelSelector=a%3Db%2C%21c").unwrap();
        assert_eq!((query.form, query.revision), (Form::Watch, Some(Revision(7))));
        assert_eq!(query.selector, Selector::parse("a=b,!c").unwrap());
        assert_eq!(Query::parse("dryRun").unwrap().effect, Effect::Shown);
        assert_eq!(Query::parse("dryRun=All").unwrap().effect, Effect::Shown);
        assert_eq!(Query::parse("").unwrap(), Query::default());
    }

    #[test]
    fn a_word_that_means_nothing_is_refused() {
        assert_eq!(refused("dryrun=true"), format!("there is no parameter \"dryrun\"; {KNOWN}"));
        assert_eq!(refused("dryRun=maybe"), "dryRun is true or false, not \"maybe\"");
        assert_eq!(refused("watch=All"), "watch is true or false, not \"All\"");
        assert_eq!(refused("resourceVersion=0"), "resourceVersion=0 is not a revision: a number from 1 on");
        assert_eq!(refused("labelSelector=%ff"), "labelSelector=%ff is not percent-encoded UTF-8");
        assert_eq!(refused("labelSelector=%2"), "labelSelector=%2 is not percent-encoded UTF-8");
    }
}
