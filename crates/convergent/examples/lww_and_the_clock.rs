//! Two stores go through the same morning: one in which the last writer wins by the clock, and a shard of a convergent table.
//!
//! ```sh
//! cargo run -p althing-convergent --example lww_and_the_clock
//! ```
//!
//! The example fails if either store does anything else than `docs/lww-and-the-clock.md` says.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "an example is read by people")]

use std::sync::Arc;

use althing_clock::{Actor, Dot, Timestamp};
use althing_convergent::{Job, Outcome, Shard, ShardConfig, evaluate};
use althing_crdt::{LwwRegister, Merge};
use althing_datatypes::Op;
use althing_datatypes::op::{Existence, SetAnswer, SetExpiry, StringOp};
use althing_storage::engine::model::ModelEngine;
use althing_types::SpaceId;
use bytes::Bytes;

/// Nine o'clock, in milliseconds since 1970.
const NINE: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const KEY: &str = "cart";

/// One of the two replicas of each store.
struct Replica {
    name: &'static str,
    /// How far its clock is ahead, in milliseconds.
    ahead: i64,
    lww: LwwRegister<&'static str>,
    shard: Shard,
    actor: Actor,
    writes: u64,
}

/// What is sent to the other replica.
struct Sent {
    lww: LwwRegister<&'static str>,
    delta: Bytes,
}

impl Replica {
    fn new(name: &'static str, node: u64, ahead: i64) -> Self {
        let actor = Actor::new(node, 1);
        let config = ShardConfig { cache_bytes: 4_096, ..ShardConfig::default() };
        let shard = Shard::open(Arc::new(ModelEngine::new()), SpaceId(7), actor, config).expect("a new store opens");
        Self { name, ahead, lww: LwwRegister::default(), shard, actor, writes: 0 }
    }

    fn work(&mut self, job: Job) -> Outcome {
        let mut out = Vec::new();
        self.shard.work(vec![job], &mut out).expect("an engine in memory does not fail");
        out.pop().expect("each of these jobs has one outcome")
    }

    /// A client writes here, and is told that it is done.
    fn write(&mut self, time: i64, value: &'static str) -> Sent {
        let clock = time + self.ahead;
        self.writes += 1;
        let (dot, at) = (Dot::new(self.actor, self.writes), Timestamp::new(clock.unsigned_abs(), 0));
        let lww = LwwRegister::write(dot, at, value);
        self.lww.merge(lww.clone());
        let (expiry, condition, answer) = (SetExpiry::Clear, Existence::Any, SetAnswer::Done);
        let op = Op::String(StringOp::Set { value: Bytes::from(value), expiry, condition, answer });
        let job = Job::Execute { ticket: 1, key: Bytes::from(KEY), op, seen: None, now_ms: clock, seed: 1 };
        let Outcome::Executed { delta: Some(delta), .. } = self.work(job) else { panic!("a write has a delta") };
        println!("{}  {} (its clock says {})  SET {KEY} {value:?}", shown(time), self.name, shown(clock));
        Sent { lww, delta }
    }

    /// What the other replica has sent comes here.
    fn take(&mut self, sent: &Sent) {
        self.lww.merge(sent.lww.clone());
        self.work(Job::Join { ticket: 2, delta: sent.delta.clone() });
    }

    /// What a client reads here from each store: the value of the one, all values of the other.
    fn read(&mut self) -> (&'static str, Vec<String>) {
        let Outcome::State { state, .. } = self.work(Job::Read { ticket: 3, key: Bytes::from(KEY) }) else {
            panic!("a read gives a state")
        };
        let read = evaluate(&Op::String(StringOp::Get), &[state], NINE, 1).expect("a state that was just made parses");
        let mut values: Vec<_> = read.state.siblings().map(|value| String::from_utf8_lossy(value).into()).collect();
        values.sort();
        (self.lww.get().copied().unwrap_or_default(), values)
    }
}

/// A time of that morning.
fn shown(time: i64) -> String {
    let minutes = (time - NINE) / MINUTE;
    format!("{:02}:{:02}", 9 + minutes / 60, minutes % 60)
}

fn tell(replica: &mut Replica) -> (&'static str, Vec<String>) {
    let (lww, values) = replica.read();
    println!("       {} now reads: last writer wins {lww:?}, convergent {values:?}", replica.name);
    (lww, values)
}

/// Tells the stories.
pub fn main() {
    println!("-- one after the other: the second writer has seen what the first one wrote");
    let (mut a, mut b) = (Replica::new("a", 1, HOUR), Replica::new("b", 2, 0));
    let sent = a.write(NINE, "milk");
    b.take(&sent);
    tell(&mut b);
    let sent = b.write(NINE + 5 * MINUTE, "milk, eggs");
    a.take(&sent);
    assert_eq!(tell(&mut a), ("milk", vec!["milk, eggs".to_owned()]));
    assert_eq!(tell(&mut b), ("milk", vec!["milk, eggs".to_owned()]), "even where it was written");

    println!("-- at the same time: neither writer has seen what the other wrote");
    let (mut a, mut b) = (Replica::new("a", 1, HOUR), Replica::new("b", 2, 0));
    let from_a = a.write(NINE, "milk");
    let from_b = b.write(NINE + 5 * MINUTE, "bread");
    a.take(&from_b);
    b.take(&from_a);
    let both = vec!["bread".to_owned(), "milk".to_owned()];
    assert_eq!(tell(&mut a), ("milk", both.clone()));
    assert_eq!(tell(&mut b), ("milk", both));

    println!("-- and whoever has read both replaces both");
    let sent = b.write(NINE + 10 * MINUTE, "milk, bread");
    a.take(&sent);
    assert_eq!(tell(&mut a), ("milk", vec!["milk, bread".to_owned()]));
}
