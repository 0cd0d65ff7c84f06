//! The acceptor by itself.

use althing_types::NodeId;

use super::*;
use crate::register::Value;

const KEY: Bytes = Bytes::from_static(b"key");

fn ballot(counter: u64) -> Ballot {
    Ballot { counter, node: NodeId(1), incarnation: 1 }
}

fn from() -> Peer {
    Peer { node: NodeId(1), generation: 1 }
}

fn accepted(counter: u64, value: Value) -> Option<Accepted> {
    Some(Accepted { ballot: ballot(counter), version: ballot(counter), parent: Ballot::ZERO, value })
}

/// What it answers, and what it remembers then.
fn ask(acceptor: &mut Acceptor, epoch: u64, counter: u64, ask: Ask, stored: Option<Register>) -> (Word, Vec<Record>) {
    let mut out = Vec::new();
    let request = Request { epoch, key: KEY, ballot: ballot(counter), ask };
    acceptor.handle(from(), request, stored, &mut out);
    let mut records = Vec::new();
    let mut last = 0;
    for effect in out {
        match effect {
            Effect::Persist { seq, record } => {
                last = seq;
                records.push(record);
            }
            Effect::Send { after, answer, .. } => {
                assert!(after >= last, "an answer waits for its record");
                return (answer.word, records);
            }
            Effect::Behind { .. } => {}
        }
    }
    panic!("no answer")
}

fn member() -> Acceptor {
    Acceptor::new(1, Stage::Stable, Standing::Member)
}

#[test]
fn an_absence_is_forgotten_only_if_nothing_was_promised_or_accepted_since() {
    let absent = Value::Absent(Bytes::from_static(b"removal"));
    let register = |promised, accepted| Some(Register { promised: ballot(promised), accepted });
    for stored in [
        register(6, accepted(5, absent.clone())),
        register(6, accepted(6, absent.clone())),
        register(5, accepted(5, Value::Present(Bytes::from_static(b"value")))),
        register(5, None),
    ] {
        let promised = stored.as_ref().map(|register| register.promised).unwrap();
        let mut acceptor = member();
        assert_eq!(ask(&mut acceptor, 1, 5, Ask::Erase, stored), (Word::Refused { promised }, vec![]));
        assert_eq!(acceptor.shard().floor, Ballot::ZERO);
    }
    let mut acceptor = member();
    let (word, records) = ask(&mut acceptor, 1, 5, Ask::Erase, register(5, accepted(5, absent)));
    let shard = acceptor.shard();
    assert_eq!((word, records, shard.floor), (Word::Erased, vec![Record::Erased { key: KEY, shard }], ballot(5)));
    assert_eq!(ask(&mut acceptor, 1, 5, Ask::Erase, None), (Word::Erased, vec![]), "it came twice");
}

#[test]
fn a_key_without_a_register_counts_as_having_promised_the_floor() {
    let shard = Shard { epoch: 1, stage: Stage::Stable, standing: Standing::Member, floor: ballot(5) };
    let mut acceptor = Acceptor::restore(shard);
    let late = Ask::Accept { version: ballot(4), parent: Ballot::ZERO, value: Value::NEVER, next: None };
    assert_eq!(ask(&mut acceptor, 1, 4, late, None), (Word::Refused { promised: ballot(5) }, vec![]));
    assert_eq!(ask(&mut acceptor, 1, 4, Ask::Prepare, None), (Word::Refused { promised: ballot(5) }, vec![]));
    let (word, records) = ask(&mut acceptor, 1, 6, Ask::Prepare, None);
    assert_eq!((word, records.len()), (Word::Promised { accepted: None, floor: ballot(5) }, 1));
    let older = Some(Register { promised: ballot(2), accepted: None });
    let (word, _) = ask(&mut acceptor, 1, 3, Ask::Prepare, older);
    assert_eq!(word, Word::Promised { accepted: None, floor: ballot(5) }, "a register that is there does not see it");
}

#[test]
fn other_epochs_are_refused_and_a_later_one_is_told() {
    let mut acceptor = member();
    assert_eq!(ask(&mut acceptor, 2, 1, Ask::Prepare, None), (Word::WrongEpoch { current: 1 }, vec![]));
    let mut out = Vec::new();
    acceptor.configure(2, Stage::Moving, &mut out).unwrap();
    assert_eq!(ask(&mut acceptor, 1, 1, Ask::Prepare, None).0, Word::WrongEpoch { current: 2 });
    let stale = Err(ConfigureError::Stale { asked: 2, current: 2 });
    assert_eq!(acceptor.configure(2, Stage::Stable, &mut out), stale);
    assert_eq!(acceptor.floor_for_copy(2), Ok(Ballot::ZERO));
    assert!(acceptor.floor_for_copy(1).is_err() && member().floor_for_copy(1).is_err());
}

#[test]
fn a_newcomer_takes_copies_even_below_its_promises_until_it_is_filled() {
    let mut acceptor = Acceptor::new(2, Stage::Moving, Standing::Filling);
    let mut out = Vec::new();
    assert_eq!(acceptor.configure(3, Stage::Stable, &mut out), Err(ConfigureError::NotFilled));
    let copied = Register { promised: ballot(3), accepted: accepted(3, Value::Present(Bytes::from_static(b"v"))) };
    let own = Register { promised: ballot(7), accepted: None };
    acceptor.copy(&KEY, copied.clone(), Some(own), &mut out);
    let register = Register { promised: ballot(7), ..copied.clone() };
    assert_eq!(out, [Effect::Persist { seq: 1, record: Record::Register { key: KEY, register: register.clone() } }]);
    acceptor.copy(&KEY, copied.clone(), Some(register), &mut out);
    assert_eq!(out.len(), 1, "twice is once");
    acceptor.filled(ballot(9), &mut out);
    assert_eq!(acceptor.shard().floor, ballot(9));
    acceptor.copy(&KEY, copied, None, &mut out);
    assert_eq!(out.len(), 2, "a late copy does not bring back what was forgotten");
    assert_eq!(acceptor.configure(3, Stage::Stable, &mut out), Ok(()));
}
