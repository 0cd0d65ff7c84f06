//! HyperLogLogs.

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

/// The sketch of all that was added to any of the keys, as a reply.
async fn joined(space: &Keyspace, keys: &[Bytes], command: &str) -> Result<Reply, Refusal> {
    let found = space.each_of(keys, Op::Sketch(SketchOp::Read)).await?;
    let sketch = |result: Result<Reply, OpError>| match result.map_err(|error| refused(error, command)) {
        Ok(Reply::Sketch(sketch)) => Some(Ok(sketch)),
        Ok(Reply::Nil) => None,
        Ok(_) => Some(Err(wrong_reply())),
        Err(refusal) => Some(Err(refusal)),
    };
    let sketches = found.into_iter().filter_map(sketch).collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::Sketch(combine::sketches(sketches)))
}

/// `PFCOUNT key...`
pub fn pfcount<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        if let [key] = &words[1..] {
            let reply = space.ask(key, Op::Sketch(SketchOp::Count)).await?;
            return reply.map(crate::run::plain).map_err(|error| refused(error, "pfcount"));
        }
        let Reply::Sketch(sketch) = joined(space, &words[1..], "pfcount").await? else { return Err(wrong_reply()) };
        Ok(Value::Int(i64::try_from(sketch.estimate()).unwrap_or(i64::MAX)))
    })
}

/// `PFMERGE destination [source...]`
pub fn pfmerge<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let Reply::Sketch(sketch) = joined(space, &words[2..], "pfmerge").await? else { return Err(wrong_reply()) };
        let merged = space.ask(&words[1], Op::Sketch(SketchOp::Merge(sketch))).await?;
        merged.map(crate::run::plain).map_err(|error| refused(error, "pfmerge"))
    })
}
