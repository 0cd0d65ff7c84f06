//! Strings that are decided by rounds: the values of a register may be committed in any order, late, or never, and every replica's store
//! comes to what the register holds.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use althing_convergent::rounds::{Task, Then, Told, Wish, state_of};
use althing_convergent::{Job, Outcome};
use althing_datatypes::op::{Existence, KeyOp, SetAnswer, SetExpiry, StringOp, When};
use althing_datatypes::{Op, Reply, View};
use althing_paxos::Value;
use althing_paxos::proposer::Change;
use bytes::Bytes;
use proptest::prelude::*;
use support::Replica;

const KEY: Bytes = Bytes::from_static(b"k");

fn told(replica: &mut Replica, task: Task) -> Told {
    let out = replica.work(Job::Rounds { ticket: 1, task });
    match out.into_iter().next() {
        Some(Outcome::Rounds { told, .. }) => told,
        other => panic!("{other:?}"),
    }
}

/// What a replica would have the register become.
fn propose(replica: &mut Replica, op: Op, current: &Value) -> (Reply, Option<Value>) {
    let (key, wish, current) = (KEY, Wish::Operate(op), current.clone());
    match told(replica, Task::Propose { key, wish, current, now_ms: 1_000, seed: 0 }) {
        Told::Proposed { reply, change, then: Then::Answer } => {
            let value = match change {
                Change::Keep => None,
                Change::Write(bytes) => Some(Value::Present(bytes)),
                Change::Delete(bytes) => Some(Value::Absent(bytes)),
            };
            (reply.unwrap(), value)
        }
        other => panic!("{other:?}"),
    }
}

fn commit(replica: &mut Replica, value: &Value) {
    let (Value::Present(delta) | Value::Absent(delta)) = value;
    let out = replica.work(Job::Join { ticket: 1, delta: delta.clone() });
    assert!(matches!(&out[0], Outcome::Joined { result: Ok(()), .. }), "{out:?}");
}

fn set(value: u64, condition: Existence, expiry: SetExpiry) -> Op {
    let value = value.to_string().into();
    Op::String(StringOp::Set { value, expiry, condition, answer: SetAnswer::Done })
}

/// A replica loses its memory and its engine, and has its log again.
fn crash(replica: &mut Replica) {
    let mut anew = Replica::new(replica.actor.node.get());
    for (index, delta) in (1..).zip(&replica.log) {
        anew.shard.replay(index, delta.clone()).unwrap();
    }
    anew.log = std::mem::take(&mut replica.log);
    *replica = anew;
}

/// What the store of a replica shows of the string.
fn shown(replica: &mut Replica) -> (Reply, usize) {
    let state = replica.state("k");
    let evaluated = althing_convergent::evaluate(&Op::String(StringOp::Get), &[state], 1_000, 0).unwrap();
    (evaluated.reply.unwrap(), evaluated.state.siblings().len())
}

/// One step of a history.
#[derive(Clone, Debug)]
struct Step {
    /// Who proposes.
    by: usize,
    /// What.
    what: u8,
    /// Whether it is chosen.
    is_chosen: bool,
    /// Who learns of it at once, as bits.
    learn: u8,
    /// Who crashes after it.
    crash: Option<usize>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..3_usize, 0..5_u8, prop::bool::weighted(0.7), 0..8_u8, prop::option::weighted(0.2, 0..3_usize));
    let step = step.prop_map(|(by, what, is_chosen, learn, crash)| Step { by, what, is_chosen, learn, crash });
    prop::collection::vec(step, 1..24)
}

proptest! {
    #[test]
    fn every_store_comes_to_what_the_register_holds(steps in steps(), order in any::<u64>()) {
        let mut replicas = [Replica::new(1), Replica::new(2), Replica::new(3)];
        let (mut current, mut chosen) = (Value::NEVER, Vec::new());
        for (number, step) in steps.into_iter().enumerate() {
            let op = match step.what {
                0 => Op::Key(KeyOp::Delete),
                1 => Op::Key(KeyOp::Expire { when: When::In(50_000), condition: althing_datatypes::op::ExpireIf::Always }),
                2 => set(number as u64, Existence::Absent, SetExpiry::Clear),
                3 => set(number as u64, Existence::Any, SetExpiry::Set(When::In(9_000))),
                _ => set(number as u64, Existence::Any, SetExpiry::Clear),
            };
            let (_, next) = propose(&mut replicas[step.by], op, &current);
            if let Some(next) = next.filter(|_| step.is_chosen) {
                for (place, replica) in replicas.iter_mut().enumerate() {
                    if step.learn >> place & 1 == 1 {
                        commit(replica, &next);
                    }
                }
                chosen.push(next.clone());
                current = next;
            }
            if let Some(place) = step.crash {
                crash(&mut replicas[place]);
            }
        }
        // All commits come at last, in some order; the last one may be all that comes of a chain.
        let mut random = fastrand::Rng::with_seed(order);
        for replica in &mut replicas {
            let mut late = chosen.clone();
            random.shuffle(&mut late);
            late.iter().for_each(|value| commit(replica, value));
            told(replica, Task::Resolve { key: KEY });
            let wanted = state_of(&current).unwrap();
            let text = wanted.string().map_or(Reply::Nil, Reply::Bytes);
            prop_assert_eq!(shown(replica), (text, usize::from(wanted.string().is_some())));
        }
        // What was not chosen leaves no gap, once it is given up everywhere.
        let gone: Vec<_> = replicas.iter().flat_map(|replica| replica.log.clone()).collect();
        for replica in &mut replicas {
            for delta in &gone {
                replica.work(Job::Join { ticket: 1, delta: delta.clone() });
            }
            prop_assert_eq!(replica.shard.gaps(), 0);
        }
    }
}

#[test]
fn a_string_takes_the_place_of_a_set_and_a_removal_of_a_set_converges() {
    let mut replica = Replica::new(1);
    let add = althing_datatypes::op::SetOp::Add(vec!["a".into()]);
    let (op, now_ms) = (Op::Set(add), 1_000);
    replica.work(Job::Execute { ticket: 1, key: KEY, op, seen: None, now_ms, seed: 0 });
    let (wish, current) = (Wish::Operate(Op::Key(KeyOp::Delete)), Value::NEVER);
    let removal = told(&mut replica, Task::Propose { key: KEY, wish, current, now_ms, seed: 0 });
    assert!(matches!(removal, Told::Proposed { change: Change::Keep, then: Then::Converge, .. }), "{removal:?}");
    let (_, value) = propose(&mut replica, set(7, Existence::Any, SetExpiry::Clear), &Value::NEVER);
    commit(&mut replica, &value.unwrap());
    assert_eq!(shown(&mut replica).0, Reply::Bytes("7".into()));
    let removed = state_of(&Value::NEVER).unwrap();
    assert_eq!(removed.string(), None);
}

#[test]
fn what_an_earlier_run_has_proposed_is_found_again_in_the_log() {
    let mut replica = Replica::new(1);
    propose(&mut replica, set(1, Existence::Any, SetExpiry::Clear), &Value::NEVER);
    let unsettled = |replica: &mut Replica| match told(replica, Task::Unsettled { after: None, count: 9 }) {
        Told::Unsettled { inherited, .. } => inherited,
        other => panic!("{other:?}"),
    };
    assert_eq!(unsettled(&mut replica), Vec::<Bytes>::new(), "this run will tell");
    crash(&mut replica);
    assert_eq!(unsettled(&mut replica), [KEY]);
    told(&mut replica, Task::Resolve { key: KEY });
    assert_eq!(unsettled(&mut replica), Vec::<Bytes>::new());
    crash(&mut replica);
    assert_eq!(unsettled(&mut replica), Vec::<Bytes>::new());
}

#[test]
fn what_belongs_to_a_log_is_not_taken_from_others() {
    let (mut one, mut other) = (Replica::new(1), Replica::new(2));
    propose(&mut one, set(1, Existence::Any, SetExpiry::Clear), &Value::NEVER);
    let issued = one.log.pop().unwrap();
    let out = other.work(Job::Join { ticket: 1, delta: issued });
    assert!(
        matches!(&out[0], Outcome::Joined { result: Err(althing_convergent::JoinError::NotForOthers), .. }),
        "{out:?}"
    );
}
