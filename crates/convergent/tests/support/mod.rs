//! Replicas of one shard, and operations as words.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::Arc;

use althing_clock::{Actor, DotContext};
use althing_convergent::survey::{Compared, Finished, Mended, Want, encode_wants};
use althing_convergent::{
    Compare, Evaluated, Job, JoinError, Outcome, Page, Refusal, Rest, ScanRequest, Shard, ShardConfig, TreeSecret,
    evaluate,
};
use althing_datatypes::op::{
    Existence, ExpireIf, HashOp, KeyOp, Order, RangeBy, ScoreWrite, SetAnswer, SetExpiry, SetOp, SketchOp, SortedOp,
    StringOp, When, WithValues, ZaddAnswer,
};
use althing_datatypes::{Op, Reply};
use althing_storage::engine::Engine;
use althing_storage::engine::model::ModelEngine;
use althing_types::SpaceId;
use bytes::Bytes;

pub const SPACE: SpaceId = SpaceId(7);
/// A small cache, so that keys are read back all the time, and little that is not written.
pub const CONFIG: ShardConfig = ShardConfig {
    cache_bytes: 4_096,
    unwritten_bytes: 256,
    max_clock_skew: althing_types::Duration::from_millis(500),
    born: althing_convergent::rounds::Born::WithTheShard,
    tree_secret: TreeSecret([7; 32]),
};

/// One replica, and what it would find in its log after a crash.
pub struct Replica {
    pub shard: Shard,
    pub engine: Arc<ModelEngine>,
    pub actor: Actor,
    pub log: Vec<Bytes>,
}

impl Replica {
    pub fn new(node: u64) -> Self {
        let engine = Arc::new(ModelEngine::new());
        let actor = Actor::new(node, 1);
        let shard = open(&engine, actor);
        Self { shard, engine, actor, log: Vec::new() }
    }

    /// One job, and all its answers; what is to be logged is logged.
    pub fn work(&mut self, job: Job) -> Vec<Outcome> {
        let mut out = Vec::new();
        self.shard.work(vec![job], &mut out).unwrap();
        for outcome in &out {
            let logged = match outcome {
                Outcome::Executed { index, delta, .. } => delta.as_ref().map(|delta| (*index, delta)),
                Outcome::Joined { index, logged, .. } => logged.as_ref().map(|delta| (*index, delta)),
                Outcome::Removed { index, delta, .. } | Outcome::Taken { index, delta, .. } => Some((*index, delta)),
                Outcome::Finished { index, finished: Finished::Known(Some(delta)), .. } => Some((*index, delta)),
                Outcome::Rounds { index, logged, .. } => logged.as_ref().map(|logged| (*index, logged)),
                Outcome::State { .. }
                | Outcome::Page { .. }
                | Outcome::Planted { .. }
                | Outcome::Compared { .. }
                | Outcome::Responded { .. }
                | Outcome::States { .. }
                | Outcome::Mended { .. }
                | Outcome::Finished { .. }
                | Outcome::Attested { .. }
                | Outcome::Flushed { .. }
                | Outcome::Tended { .. } => None,
            };
            if let Some((index, delta)) = logged {
                self.log.push(delta.clone());
                assert_eq!(index, self.log.len() as u64);
            }
        }
        assert_eq!(self.shard.index(), self.log.len() as u64);
        out
    }

    pub fn execute(
        &mut self,
        key: &str,
        op: Op,
        now_ms: i64,
        seen: Option<DotContext>,
    ) -> (Result<Reply, Refusal>, Option<Bytes>) {
        let job = Job::Execute { ticket: 1, key: Bytes::copy_from_slice(key.as_bytes()), op, seen, now_ms, seed: 1 };
        match self.work(job).pop() {
            Some(Outcome::Executed { ticket: 1, reply, delta, .. }) => (reply, delta),
            other => panic!("{other:?}"),
        }
    }

    /// Executes words that change something, and gives the delta.
    pub fn write(&mut self, words: &str, now_ms: i64) -> Bytes {
        let (key, op) = parse(words);
        let (reply, delta) = self.execute(key, op, now_ms, None);
        reply.unwrap();
        delta.unwrap_or_else(|| panic!("{words} has changed nothing"))
    }

    /// Executes words, and shows the answer.
    pub fn ask(&mut self, words: &str, now_ms: i64) -> String {
        let (key, op) = parse(words);
        show(&self.execute(key, op, now_ms, None).0)
    }

    pub fn join(&mut self, delta: Bytes) -> Result<(), JoinError> {
        match self.work(Job::Join { ticket: 2, delta }).pop() {
            Some(Outcome::Joined { ticket: 2, result, .. }) => result,
            other => panic!("{other:?}"),
        }
    }

    pub fn state(&mut self, key: &str) -> Bytes {
        match self.work(Job::Read { ticket: 3, key: Bytes::copy_from_slice(key.as_bytes()) }).pop() {
            Some(Outcome::State { ticket: 3, state, .. }) => state,
            other => panic!("{other:?}"),
        }
    }

    pub fn page(&mut self, request: ScanRequest) -> Page {
        match self.work(Job::Scan { ticket: 4, request }).pop() {
            Some(Outcome::Page { ticket: 4, page, .. }) => page,
            other => panic!("{other:?}"),
        }
    }

    pub fn attest(&mut self) -> Bytes {
        match self.work(Job::Attest { ticket: 5 }).pop() {
            Some(Outcome::Attested { ticket: 5, delta, .. }) => delta,
            other => panic!("{other:?}"),
        }
    }

    /// Background work until nothing is left.
    pub fn tend(&mut self, now_ms: i64) -> Vec<Bytes> {
        removed(self.work(Job::Tend { ticket: 6, now_ms, budget: 1_000 }))
    }

    pub fn digest(&mut self, key: &str) -> u128 {
        self.shard.digest(&Bytes::copy_from_slice(key.as_bytes())).unwrap()
    }

    /// The one answer of a job.
    fn only(&mut self, job: Job) -> Outcome {
        self.work(job).pop().unwrap()
    }

    /// Makes the tree, so many keys at a time.
    pub fn plant(&mut self, budget: usize) {
        while !matches!(self.only(Job::Plant { ticket: 7, budget }), Outcome::Planted { rest: Rest::None, .. }) {}
    }

    pub fn compare(&mut self, step: Compare) -> Compared {
        match self.only(Job::Compare { ticket: 8, step }) {
            Outcome::Compared { compared, .. } => compared,
            other => panic!("{other:?}"),
        }
    }

    pub fn respond(&mut self, question: Bytes) -> Option<Bytes> {
        match self.only(Job::Respond { ticket: 9, question }) {
            Outcome::Responded { answer, .. } => answer,
            other => panic!("{other:?}"),
        }
    }

    pub fn states(&mut self, wants: &[Want]) -> (Bytes, usize) {
        match self.only(Job::States { ticket: 10, wants: encode_wants(wants) }) {
            Outcome::States { states, answered, .. } => (states, answered),
            other => panic!("{other:?}"),
        }
    }

    pub fn mend(&mut self, states: Bytes) -> Mended {
        match self.only(Job::Mend { ticket: 11, states }) {
            Outcome::Mended { mended, .. } => mended,
            other => panic!("{other:?}"),
        }
    }

    pub fn finish(&mut self) -> Finished {
        match self.only(Job::Finish { ticket: 12 }) {
            Outcome::Finished { finished, .. } => finished,
            other => panic!("{other:?}"),
        }
    }

    /// All records of the engine, once all is written.
    pub fn records(&mut self) -> Vec<(Bytes, Bytes)> {
        self.shard.write().unwrap();
        let view = self.engine.view();
        let bounds = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
        view.scan(SPACE, bounds).map(Result::unwrap).collect()
    }
}

pub fn open(engine: &Arc<ModelEngine>, actor: Actor) -> Shard {
    Shard::open(engine.clone(), SPACE, actor, CONFIG).unwrap()
}

pub fn removed(outcomes: Vec<Outcome>) -> Vec<Bytes> {
    let delta = |outcome| if let Outcome::Removed { delta, .. } = outcome { Some(delta) } else { None };
    outcomes.into_iter().filter_map(delta).collect()
}

/// A read from several replicas.
pub fn read(replicas: &mut [Replica], words: &str, now_ms: i64) -> Evaluated {
    let (key, op) = parse(words);
    let states: Vec<Bytes> = replicas.iter_mut().map(|replica| replica.state(key)).collect();
    evaluate(&op, &states, now_ms, 1).unwrap()
}

fn bytes(word: &str) -> Bytes {
    Bytes::copy_from_slice(word.as_bytes())
}

fn all(words: &[&str]) -> Vec<Bytes> {
    words.iter().map(|word| bytes(word)).collect()
}

fn set(value: &str, expiry: SetExpiry) -> Op {
    let (condition, answer) = (Existence::Any, SetAnswer::Done);
    Op::String(StringOp::Set { value: bytes(value), expiry, condition, answer })
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

/// The key and the operation of a command.
pub fn parse(words: &str) -> (&str, Op) {
    let words: Vec<&str> = words.split_whitespace().collect();
    let [command, key, args @ ..] = words.as_slice() else { panic!("{words:?}") };
    let op = match (*command, args) {
        ("set", [value]) => set(value, SetExpiry::Clear),
        ("set", [value, "keepttl"]) => set(value, SetExpiry::Keep),
        ("set", [value, "pxat", at]) => set(value, SetExpiry::Set(When::At(number(at)))),
        ("get", []) => Op::String(StringOp::Get),
        ("append", [value]) => Op::String(StringOp::Append(bytes(value))),
        ("incr", [by]) => Op::String(StringOp::Increment(number(by))),
        ("incrbyfloat", [by]) => Op::String(StringOp::IncrementFloat(number(by))),
        ("del", []) => Op::Key(KeyOp::Delete),
        ("type", []) => Op::Key(KeyOp::Kind),
        ("expiretime", []) => Op::Key(KeyOp::ExpireTime(althing_datatypes::op::Precision::Milliseconds)),
        ("pexpireat", [at]) => Op::Key(KeyOp::Expire { when: When::At(number(at)), condition: ExpireIf::Always }),
        ("persist", []) => Op::Key(KeyOp::Persist),
        ("sadd", members) => Op::Set(SetOp::Add(all(members))),
        ("srem", members) => Op::Set(SetOp::Remove(all(members))),
        ("smembers", []) => Op::Set(SetOp::Members),
        ("hset", pairs) => {
            Op::Hash(HashOp::Set(pairs.chunks(2).map(|pair| (bytes(pair[0]), bytes(pair[1]))).collect()))
        }
        ("hdel", fields) => Op::Hash(HashOp::Remove(all(fields))),
        ("hincrby", [field, by]) => Op::Hash(HashOp::Increment { field: bytes(field), by: number(by) }),
        ("hincrbyfloat", [field, by]) => Op::Hash(HashOp::IncrementFloat { field: bytes(field), by: number(by) }),
        ("hgetall", []) => Op::Hash(HashOp::GetAll),
        ("hlen", []) => Op::Hash(HashOp::Len),
        ("zadd", [score, member]) => {
            let members = vec![(number(score), bytes(member))];
            Op::Sorted(SortedOp::Add { members, write: ScoreWrite::ALWAYS, answer: ZaddAnswer::Added })
        }
        ("zincrby", [by, member]) => {
            Op::Sorted(SortedOp::Increment { member: bytes(member), by: number(by), write: ScoreWrite::ALWAYS })
        }
        ("zrem", members) => Op::Sorted(SortedOp::Remove(all(members))),
        ("zrange", []) => Op::Sorted(SortedOp::Range {
            by: RangeBy::Index { start: 0, stop: -1 },
            order: Order::Ascending,
            limit: None,
            with: WithValues::Yes,
        }),
        ("pfadd", elements) => Op::Sketch(SketchOp::Add(all(elements))),
        ("pfcount", []) => Op::Sketch(SketchOp::Count),
        (command, args) => panic!("{command} {args:?} is no command here"),
    };
    (key, op)
}

/// An answer in a line.
pub fn show(reply: &Result<Reply, Refusal>) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let reply = match reply {
        Ok(reply) => reply,
        Err(refusal) => return format!("error: {refusal}"),
    };
    match reply {
        Reply::Nil => "nil".to_owned(),
        Reply::Ok => "OK".to_owned(),
        Reply::Int(number) => number.to_string(),
        Reply::Float(number) => number.to_string(),
        Reply::Bytes(bytes) => text(bytes),
        Reply::Kind(kind) => kind.map_or_else(|| "none".to_owned(), |kind| format!("{kind:?}")),
        Reply::Set(members) | Reply::List(members) => members.iter().map(text).collect::<Vec<_>>().join(" "),
        Reply::Pairs(pairs) => {
            pairs.iter().map(|(field, value)| format!("{}={}", text(field), text(value))).collect::<Vec<_>>().join(" ")
        }
        Reply::Scored(members) => {
            members.iter().map(|(member, score)| format!("{}={score}", text(member))).collect::<Vec<_>>().join(" ")
        }
        other => format!("{other:?}"),
    }
}
