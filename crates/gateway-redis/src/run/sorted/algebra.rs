//! What is made of several sorted sets: unions, intersections and differences. A set stands for a sorted set whose scores
//! are all 1.

use std::collections::BTreeMap;

use althing_datatypes::combine::{self, Aggregate, SetRule};
use althing_datatypes::op::KeyOp;
use althing_datatypes::{Content, Op, OpError, Reply};
use bytes::Bytes;

use crate::command::{Answer, Answering};
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::sets::limit;
use crate::run::words::{Options, at, float, int, is};
use crate::run::{refused, scored, wrong_reply};
use crate::wire::Value;

/// What was asked for.
struct Plan<'a> {
    rule: SetRule,
    keys: &'a [Bytes],
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

/// Whether the result is answered or stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Answered,
    Stored,
}

/// The name of a command, for errors.
fn name(words: &[Bytes]) -> String {
    String::from_utf8_lossy(&words[0]).to_ascii_lowercase()
}

/// The keys that follow their number. The text is that of this family of commands.
fn keys<'a>(words: &'a [Bytes], place: usize) -> Result<(&'a [Bytes], Options<'a>), Refusal> {
    let number = int(at(words, place)?)?;
    let number = usize::try_from(number)
        .ok()
        .filter(|&number| number > 0)
        .ok_or_else(|| Refusal::new(format!("ERR at least 1 input key is needed for '{}' command", name(words))))?;
    let rest = words.get(place + 1..).unwrap_or_default();
    let keys = rest.get(..number).ok_or(Refusal::SYNTAX)?;
    Ok((keys, Options::from(rest, number)))
}

fn plan<'a>(words: &'a [Bytes], rule: SetRule, form: Form) -> Result<Plan<'a>, Refusal> {
    let place = match form {
        Form::Answered => 1,
        Form::Stored => 2,
    };
    let (keys, mut options) = keys(words, place)?;
    let mut plan = Plan { rule, keys, weights: vec![1.0; keys.len()], aggregate: Aggregate::Sum, with_scores: false };
    while let Some(option) = options.pull() {
        if is(option, "withscores") && form == Form::Answered {
            plan.with_scores = true;
        } else if rule != SetRule::Difference && is(option, "weights") {
            for weight in &mut plan.weights {
                *weight = float(options.value()?).map_err(|_| Refusal::of("ERR weight value is not a float"))?;
            }
        } else if rule != SetRule::Difference && is(option, "aggregate") {
            plan.aggregate = match options.value()?.to_ascii_lowercase().as_slice() {
                b"sum" => Aggregate::Sum,
                b"min" => Aggregate::Min,
                b"max" => Aggregate::Max,
                _ => return Err(Refusal::SYNTAX),
            };
        } else {
            return Err(Refusal::SYNTAX);
        }
    }
    Ok(plan)
}

/// The members of a key and their scores.
fn scores(result: Result<Reply, OpError>, command: &str) -> Result<BTreeMap<Bytes, f64>, Refusal> {
    let whole = match result.map_err(|error| refused(error, command))? {
        Reply::Nil => None,
        Reply::Whole(whole) => Some(whole),
        _ => return Err(wrong_reply()),
    };
    combine::scores(whole).map_err(|error| refused(error, command))
}

impl Plan<'_> {
    /// The result, in the order of a sorted set.
    async fn run(&self, space: &Keyspace, command: &str) -> Result<Vec<(Bytes, f64)>, Refusal> {
        let found = space.each_of(self.keys, Op::Key(KeyOp::Whole)).await?;
        let weighted =
            found.into_iter().zip(&self.weights).map(|(result, &weight)| Ok((weight, scores(result, command)?)));
        Ok(combine::sorted(self.rule, self.aggregate, weighted.collect::<Result<_, Refusal>>()?))
    }
}

async fn answer(space: &Keyspace, words: &[Bytes], rule: SetRule) -> Answer {
    let plan = plan(words, rule, Form::Answered)?;
    let members = plan.run(space, &name(words)).await?;
    Ok(if plan.with_scores {
        Value::Pairs(scored(members))
    } else {
        Value::bulks(members.into_iter().map(|(member, _)| member))
    })
}

async fn store(space: &Keyspace, words: &[Bytes], rule: SetRule) -> Answer {
    let members = plan(words, rule, Form::Stored)?.run(space, &name(words)).await?;
    let count = Value::count(members.len());
    let content = (!members.is_empty()).then_some(Content::Sorted(members));
    space.replace(&words[1], content, None).await?;
    Ok(count)
}

/// `ZUNION numkeys key... [WEIGHTS weight...] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]`
pub fn zunion<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(answer(space, words, SetRule::Union))
}

/// `ZINTER`, as `ZUNION`
pub fn zinter<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(answer(space, words, SetRule::Intersection))
}

/// `ZDIFF numkeys key... [WITHSCORES]`
pub fn zdiff<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(answer(space, words, SetRule::Difference))
}

/// `ZUNIONSTORE destination numkeys key... [WEIGHTS weight...] [AGGREGATE SUM | MIN | MAX]`
pub fn zunionstore<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(store(space, words, SetRule::Union))
}

/// `ZINTERSTORE`, as `ZUNIONSTORE`
pub fn zinterstore<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(store(space, words, SetRule::Intersection))
}

/// `ZDIFFSTORE destination numkeys key...`
pub fn zdiffstore<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(store(space, words, SetRule::Difference))
}

/// `ZINTERCARD numkeys key... [LIMIT limit]`
pub fn zintercard<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let (keys, mut options) = keys(words, 1)?;
        let limit = limit(&mut options)?;
        let weights = vec![1.0; keys.len()];
        let plan = Plan { rule: SetRule::Intersection, keys, weights, aggregate: Aggregate::Sum, with_scores: false };
        Ok(Value::count(plan.run(space, "zintercard").await?.len().min(limit)))
    })
}
