//! Entries that change the configuration, Raft's own entries, and entries that cannot be applied.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use althing_api::ErrorKind;
use althing_api::cluster::Member;
use althing_api::request::Body;
use althing_strong::{ApplyOutput, Command, LogEntry, StrongError};
use althing_types::NodeId;
use bytes::Bytes;
use common::{SPACE, entry, new_machine, open};

fn learner() -> Member {
    let urls = vec!["http://n4:2380".to_owned()];
    Member { id: NodeId(4), name: String::new(), peer_urls: urls, client_urls: Vec::new(), is_learner: true }
}

fn change(index: u64, command: Command, conf_state: &'static [u8]) -> LogEntry {
    LogEntry { conf_state: Some(Bytes::from_static(conf_state)), ..entry(index, command) }
}

#[test]
fn a_configuration_change_is_stored_with_its_member() {
    let (engine, mut machine) = new_machine();
    let mut out = ApplyOutput::default();
    let entries = [
        change(1, Command::MemberAdd(learner()), b"four"),
        change(2, Command::MemberAdd(learner()), b"four"),
        change(3, Command::MemberPromote(NodeId(4)), b"four voters"),
        entry(4, Command::MemberUpsert(Member { name: "four".to_owned(), ..learner() })),
        change(5, Command::MemberRemove(NodeId(1)), b"without one"),
    ];
    machine.apply(&entries, &mut out).unwrap();
    assert!(out.members_changed);
    let results: Vec<_> = out.results.into_iter().map(|applied| applied.result.map(|outcome| outcome.body)).collect();
    assert!(matches!(&results[0], Ok(Body::MemberAdd { added, members }) if *added == learner() && members.len() == 4));
    assert_eq!(results[1], Err(ErrorKind::MemberExists(NodeId(4))));
    assert_eq!(results[4], Ok(Body::Members(machine.members())));
    let four = Member { name: "four".to_owned(), is_learner: false, ..learner() };
    assert_eq!(machine.members().last(), Some(&four));
    assert_eq!(
        machine.check_members(&Command::MemberAdd(common::members().remove(0))).unwrap_err(),
        ErrorKind::MemberNotFound(NodeId(1))
    );

    let again = open(&engine, SPACE);
    assert_eq!(again.conf_state(), "without one");
    assert_eq!(again.members(), machine.members());
}

#[test]
fn an_entry_without_data_moves_nothing_but_the_applied_index() {
    let (_engine, mut machine) = new_machine();
    let mut out = ApplyOutput::default();
    let before = (machine.reader().hash(), machine.reader().hash_kv(None));
    machine.apply(&[LogEntry { index: 1, term: 3, data: Bytes::new(), conf_state: None }], &mut out).unwrap();
    assert_eq!(out, ApplyOutput::default());
    assert_eq!((machine.applied().index, machine.applied().term), (1, 3));
    assert_eq!((machine.reader().hash(), machine.reader().hash_kv(None)), before);
}

#[test]
fn entries_that_cannot_be_applied_change_nothing() {
    let (_engine, mut machine) = new_machine();
    let mut out = ApplyOutput::default();
    let good = entry(1, Command::MemberUpsert(common::members().remove(0)));
    let garbage = LogEntry { index: 2, term: 1, data: Bytes::from_static(b"\x01\x00"), conf_state: None };
    let error = machine.apply(&[good.clone(), garbage], &mut out).unwrap_err();
    assert!(matches!(error, StrongError::Entry { index: 2, .. }), "{error}");
    let gap = entry(3, Command::MemberRemove(NodeId(2)));
    let error = machine.apply(&[good.clone(), gap], &mut out).unwrap_err();
    assert_eq!(error, StrongError::OutOfOrder { expected: 2, found: 3 });
    assert_eq!((machine.applied().index, out.results.len()), (0, 0));
    machine.apply(&[good], &mut out).unwrap();
}

#[test]
fn a_table_is_made_once() {
    let (engine, mut machine) = new_machine();
    let again = machine.bootstrap(&[], Bytes::new(), machine.applied());
    assert_eq!(again, Err(StrongError::NotBlank));
    let mut blank = open(&engine, althing_types::SpaceId(99));
    assert!(blank.is_blank());
    assert_eq!(blank.apply(&[], &mut ApplyOutput::default()), Err(StrongError::Blank));
    assert!(matches!(blank.reader().hash(), Err(ErrorKind::Storage(_))));
}
