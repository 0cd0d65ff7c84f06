//! `SORT` of sets and sorted sets. Patterns over other keys (`BY`, `GET`) are refused, as Redis refuses them in a cluster,
//! and `STORE`, since what it stores is a list.

use althing_datatypes::op::KeyOp;
use althing_datatypes::{Content, Op, Reply};
use bytes::Bytes;

use crate::command::Answering;
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::words::{Options, at, is};
use crate::run::{refused, wrong_reply};
use crate::wire::{Value, number};

/// How elements are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Number,
    Text,
    /// Not at all.
    Nothing,
}

/// `SORT key [BY nosort] [LIMIT offset count] [ASC | DESC] [ALPHA]`, `SORT_RO`
pub fn sort<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let (mut options, mut by, mut is_descending, mut limit) = (Options::from(words, 2), By::Number, false, (0, -1));
        while let Some(option) = options.pull() {
            if is(option, "asc") || is(option, "desc") {
                is_descending = is(option, "desc");
            } else if is(option, "alpha") {
                by = if by == By::Nothing { by } else { By::Text };
            } else if is(option, "limit") {
                limit = (options.int()?, options.int()?);
            } else if is(option, "by") {
                if options.value()?.contains(&b'*') {
                    return Err(Refusal::of(
                        "ERR BY option of SORT is not supported by Althing: it would read keys that are not named",
                    ));
                }
                by = By::Nothing;
            } else if is(option, "get") {
                return Err(Refusal::of(
                    "ERR GET option of SORT is not supported by Althing: it would read keys that are not named",
                ));
            } else if is(option, "store") {
                return Err(Refusal::of("ERR STORE option of SORT is not supported by Althing: the result is a list"));
            } else {
                return Err(Refusal::SYNTAX);
            }
        }
        let mut elements = elements(space, at(words, 1)?).await?;
        order(&mut elements, by)?;
        if is_descending {
            elements.reverse();
        }
        let offset = usize::try_from(limit.0).unwrap_or(0);
        let count = usize::try_from(limit.1).unwrap_or(usize::MAX);
        Ok(Value::bulks(elements.into_iter().skip(offset).take(count)))
    })
}

async fn elements(space: &Keyspace, key: &Bytes) -> Result<Vec<Bytes>, Refusal> {
    match space.ask(key, Op::Key(KeyOp::Whole)).await?.map_err(|error| refused(error, "sort"))? {
        Reply::Nil => Ok(Vec::new()),
        Reply::Whole(whole) => match whole.content {
            Content::Set(members) => Ok(members),
            Content::Sorted(members) => Ok(members.into_iter().map(|(member, _)| member).collect()),
            Content::String(_) | Content::Hash(_) | Content::Sketch(_) => Err(Refusal::WRONG_TYPE),
        },
        _ => Err(wrong_reply()),
    }
}

fn order(elements: &mut [Bytes], by: By) -> Result<(), Refusal> {
    match by {
        By::Nothing => {}
        By::Text => elements.sort(),
        By::Number => {
            let not_numbers = Refusal::of("ERR One or more scores can't be converted into double");
            if elements.iter().any(|element| number::float(element).is_none()) {
                return Err(not_numbers);
            }
            elements.sort_by(|one, other| {
                let value = |element: &Bytes| number::float(element).unwrap_or_default();
                value(one).total_cmp(&value(other)).then_with(|| one.cmp(other))
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers_unless_text_is_asked_for() {
        let mut elements = ["10", "9", "-1"].map(Bytes::from);
        order(&mut elements, By::Number).unwrap();
        assert_eq!(elements, ["-1", "9", "10"]);
        order(&mut elements, By::Text).unwrap();
        assert_eq!(elements, ["-1", "10", "9"]);
        assert!(order(&mut [Bytes::from("x")], By::Number).is_err());
    }
}
