//! The acceptor by itself.

use althing_types::NodeId;

use super::*;
use crate::config::Config;
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

fn configured(acceptor: &mut Acceptor, epoch: u64, stage: Stage, since: Option<u64>) -> Vec<Record> {
    let mut out = Vec::new();
    acceptor.configure(epoch, stage, since, &mut out);
    records(out)
}

fn records(out: Vec<Effect>) -> Vec<Record> {
    let record = |effect| match effect {
        Effect::Persist { record, .. } => record,
        Effect::Send { .. } | Effect::Behind { .. } => panic!("{effect:?} is no record"),
    };
    out.into_iter().map(record).collect()
}

fn shard(epoch: u64, standing: Standing, floor: u64) -> Shard {
    let floor = if floor == 0 { Ballot::ZERO } else { ballot(floor) };
    Shard { epoch, stage: Stage::Stable, standing, floor }
}

fn restored(shard: Shard) -> Acceptor {
    let mut acceptor = Acceptor::new(Born::Later);
    acceptor.recall(&Record::Shard(shard));
    acceptor
}

fn member() -> Acceptor {
    restored(shard(1, Standing::Member, 0))
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
        assert_eq!(acceptor.shard().unwrap().floor, Ballot::ZERO);
    }
    let mut acceptor = member();
    let (word, records) = ask(&mut acceptor, 1, 5, Ask::Erase, register(5, accepted(5, absent)));
    let shard = acceptor.shard().unwrap();
    assert_eq!((word, records, shard.floor), (Word::Erased, vec![Record::Erased { key: KEY, shard }], ballot(5)));
    assert_eq!(ask(&mut acceptor, 1, 5, Ask::Erase, None), (Word::Erased, vec![]), "it came twice");
}

#[test]
fn a_key_without_a_register_counts_as_having_promised_the_floor() {
    let mut acceptor = restored(shard(1, Standing::Member, 5));
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
    assert_eq!(configured(&mut acceptor, 2, Stage::Moving, Some(0)).len(), 1);
    assert_eq!(ask(&mut acceptor, 1, 1, Ask::Prepare, None).0, Word::WrongEpoch { current: 2 });
    assert_eq!(configured(&mut acceptor, 2, Stage::Stable, Some(0)), [], "it is not later");
    let shard = acceptor.shard().unwrap();
    assert!(shard.may_be_copied(2) && !shard.may_be_copied(1));
}

#[test]
fn a_seat_is_kept_only_without_a_break() {
    let standing = |acceptor: &mut Acceptor, since| {
        let records = configured(acceptor, 9, Stage::Stable, since);
        let [record @ Record::Shard(shard)] = &records[..] else { panic!("{records:?}") };
        assert_eq!(record.forgets_all(), shard.standing == Standing::Filling);
        assert_eq!(acceptor.shard(), Some(*shard));
        shard.standing
    };
    let at = |epoch, standing| restored(shard(epoch, standing, 5));
    let (member, filling) = (Standing::Member, Standing::Filling);
    assert_eq!(standing(&mut at(7, member), Some(7)), member);
    assert_eq!(standing(&mut at(7, member), Some(8)), filling, "it went after 7, and came back with 8");
    assert_eq!(standing(&mut at(7, member), None), filling, "it has no vote");
    assert_eq!(standing(&mut at(7, filling), Some(7)), filling, "it had not copied enough");
    assert_eq!(standing(&mut Acceptor::new(Born::WithTheShard), Some(0)), member, "it has promised nothing");
    assert_eq!(standing(&mut Acceptor::new(Born::WithTheShard), Some(3)), filling, "it has had its vote since 3 only");
    assert_eq!(standing(&mut Acceptor::new(Born::Later), Some(0)), filling);
    let mut gone = at(7, member);
    configured(&mut gone, 9, Stage::Stable, None);
    assert_eq!(gone.shard().unwrap().floor, ballot(5), "the floor is the shard's");
}

#[test]
fn a_newcomer_is_silent_and_takes_copies_until_it_is_filled() {
    let mut acceptor = Acceptor::new(Born::Later);
    let mut out = Vec::new();
    let request = || Request { epoch: 2, key: KEY, ballot: ballot(9), ask: Ask::Prepare };
    acceptor.handle(from(), request(), None, &mut out);
    configured(&mut acceptor, 2, Stage::Moving, Some(2));
    acceptor.handle(from(), request(), None, &mut out);
    assert_eq!(out, [], "it says nothing");
    let copied = Register { promised: ballot(3), accepted: accepted(3, Value::Present(Bytes::from_static(b"v"))) };
    acceptor.copy(&KEY, copied.clone(), None, &mut out);
    let later = Register { promised: ballot(7), ..copied.clone() };
    acceptor.copy(&KEY, later.clone(), Some(copied.clone()), &mut out);
    acceptor.copy(&KEY, copied.clone(), Some(later.clone()), &mut out);
    let remembered = |register| Record::Register { key: KEY, register };
    assert_eq!(records(std::mem::take(&mut out)), [remembered(copied.clone()), remembered(later)], "twice is once");
    acceptor.filled(1, ballot(9), &mut out);
    assert_eq!(out, [], "that was of another epoch");
    acceptor.filled(2, ballot(9), &mut out);
    assert_eq!(acceptor.shard(), Some(Shard { stage: Stage::Moving, ..shard(2, Standing::Member, 9) }));
    assert_eq!(records(std::mem::take(&mut out)), [Record::Shard(acceptor.shard().unwrap())]);
    acceptor.copy(&KEY, copied, None, &mut out);
    assert_eq!(out, [], "a late copy does not bring back what was forgotten");
}

#[test]
fn copies_of_one_of_each_majority_are_enough() {
    let peer = |node| Peer { node: NodeId(node), generation: 1 };
    let config = Config::moving(2, &[peer(1), peer(2), peer(3)], &[peer(1), peer(2), peer(4)]);
    let mut copies = Copies::default();
    copies.part(&shard(2, Standing::Member, 5));
    copies.whole(peer(1));
    copies.whole(peer(1));
    assert!(copies.has(peer(1)) && !copies.are_enough(&config));
    copies.part(&shard(2, Standing::Member, 4));
    copies.whole(peer(3));
    assert!(copies.are_enough(&config));
    assert_eq!(copies.floor(), ballot(5));
}
