//! HyperLogLogs.

use althing_crdt::Hll;
use althing_datatypes::combine;
use althing_datatypes::op::SketchOp;
use althing_datatypes::{Op, OpError, Reply};
use bytes::Bytes;

use crate::command::Answering;
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::words::at;
use crate::run::{Keyed, refused, wrong_reply};
use crate::wire::Value;

/// `PFADD key [element...]`
pub fn pfadd(words: &[Bytes]) -> Result<Keyed, Refusal> {
    Ok(Keyed::plain(at(words, 1)?, Op::Sketch(SketchOp::Add(words[2..].to_vec()))))
}

/// The sketch of all members of the keys' sketches.
async fn joined(space: &Keyspace, keys: &[Bytes], command: &str) -> Result<Hll, Refusal> {
    let found = space.each_of(keys, Op::Sketch(SketchOp::Read)).await?;
    let sketch = |result: Result<Reply, OpError>| match result.map_err(|error| refused(error, command))? {
        Reply::Sketch(sketch) => Ok(sketch),
        Reply::Nil => Ok(Hll::default()),
        _ => Err(wrong_reply()),
    };
    Ok(combine::sketches(found.into_iter().map(sketch).collect::<Result<Vec<_>, _>>()?))
}

/// `PFCOUNT key...`
pub fn pfcount<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        if let [key] = &words[1..] {
            let reply = space.ask(key, Op::Sketch(SketchOp::Count)).await?;
            return reply.map(crate::run::plain).map_err(|error| refused(error, "pfcount"));
        }
        let estimate = joined(space, &words[1..], "pfcount").await?.estimate();
        Ok(Value::Int(i64::try_from(estimate).unwrap_or(i64::MAX)))
    })
}

/// `PFMERGE destination [source...]`
pub fn pfmerge<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let sketch = joined(space, &words[2..], "pfmerge").await?;
        let merged = space.ask(&words[1], Op::Sketch(SketchOp::Merge(sketch))).await?;
        merged.map(crate::run::plain).map_err(|error| refused(error, "pfmerge"))
    })
}
