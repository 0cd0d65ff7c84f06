use althing_api::cluster::{AlarmAction, AlarmKind, Member};
use althing_api::keyed::{Moment, Watched};
use althing_api::kv::{Operation, PutLease, PutRequest, PutValue, TxnRequest};
use althing_types::limits::MAX_TXN_DEPTH;
use proptest::prelude::*;

use super::*;
use crate::feed::Fed;
use crate::layout::{VersionBody, VersionId};

fn proposal(command: Command) -> Proposal {
    Proposal { origin: NodeId(u64::MAX), request: RequestId(300), command }
}

fn there_and_back(command: Command) {
    let proposal = proposal(command);
    assert_eq!(Proposal::decode(proposal.encode()), Ok(proposal));
}

fn nested(depth: usize) -> TxnRequest {
    let success = if depth == 0 { Vec::new() } else { vec![Operation::Txn(nested(depth - 1))] };
    TxnRequest { compare: Vec::new(), success, failure: Vec::new() }
}

#[test]
fn commands_of_the_cluster_come_back_as_they_were() {
    let member = Member {
        id: NodeId(9),
        name: "nine".to_owned(),
        peer_urls: vec!["http://a:2380".to_owned(), String::new()],
        client_urls: Vec::new(),
        is_learner: true,
    };
    there_and_back(Command::MemberUpsert(member.clone()));
    there_and_back(Command::MemberAdd(member));
    there_and_back(Command::MemberRemove(NodeId(0)));
    there_and_back(Command::MemberPromote(NodeId(u64::MAX)));
    there_and_back(Command::SetQuota { bytes: u64::MAX });
    there_and_back(Command::Compact { revision: Revision(i64::MIN) });
    for action in [AlarmAction::Get, AlarmAction::Activate, AlarmAction::Deactivate] {
        for kind in [None, Some(AlarmKind::NoSpace), Some(AlarmKind::Corrupt)] {
            there_and_back(Command::Alarm { action, member: NodeId(4), kind });
        }
    }
}

#[test]
fn a_transaction_that_nests_too_deep_is_refused_and_one_that_may_is_not() {
    there_and_back(Command::Txn(nested(MAX_TXN_DEPTH)));
    let deep = proposal(Command::Txn(nested(10_000))).encode();
    assert!(matches!(Proposal::decode(deep), Err(DecodeError::Unknown { .. })));
}

#[test]
fn a_proposal_of_a_later_format_names_it() {
    let mut bytes = proposal(Command::MemberRemove(NodeId(1))).encode().to_vec();
    bytes[0] = 2;
    let expected = DecodeError::Version { what: "a proposal", found: 2, known: 1 };
    assert_eq!(Proposal::decode(bytes.into()), Err(expected));
}

/// The bytes of one put, as docs/formats/strong.md draws them: they never change.
#[test]
fn the_bytes_of_a_put_are_those_of_the_format() {
    let put = PutRequest {
        key: Bytes::from_static(b"k"),
        value: PutValue::Set(Bytes::from_static(b"vv")),
        lease: PutLease::Set(Some(LeaseId(3))),
        prev_kv: true,
    };
    let proposal = Proposal { origin: NodeId(1), request: RequestId(2), command: Command::Put(put) };
    assert_eq!(&proposal.encode()[..], b"\x01\x01\x02\x01\x01k\x01\x02vv\x01\x06\x01");
}

fn position(main: i64, sub: u32) -> VersionId {
    VersionId { main: Revision(main), sub }
}

fn page() -> Page {
    let put = VersionBody::Put { create_revision: Revision(2), version: 3, lease: None, value: "vv".into() };
    let versions = vec![
        Fed { key: "k".into(), id: position(4, 0), body: put },
        Fed { key: "l".into(), id: position(4, 1), body: VersionBody::Tombstone },
    ];
    Page { from: position(0, 0), next: position(5, 0), compacted: Revision(-1), versions }
}

#[test]
fn commands_of_a_split_come_back_as_they_were() {
    there_and_back(Command::Ingest(page()));
    let children = [GroupId(u64::MAX), GroupId(0)];
    there_and_back(Command::Seal { at: "m".into(), children, filled: position(i64::MAX, u32::MAX) });
    there_and_back(Command::Bar { child: GroupId(u64::MAX) });
    there_and_back(Command::Activate { revision: Revision(i64::MAX), compacted: Revision(i64::MIN) });
}

fn moment() -> Moment {
    Moment { now_ms: -1, seed: 0x0102_0304_0506_0708 }
}

fn step(key: &'static str) -> Step {
    Step { key: key.into(), operation: "op".into() }
}

#[test]
fn commands_of_keyed_values_come_back_as_they_were() {
    there_and_back(Command::Operate { step: step("k"), moment: moment() });
    let watches = vec![Watched { key: "w".into(), revision: Revision(i64::MIN) }];
    there_and_back(Command::Transact { watches, steps: vec![step("k"), step("")], moment: moment() });
    there_and_back(Command::Flush);
    let due = vec![Deadline { at_ms: i64::MAX, key: "k".into() }, Deadline { at_ms: i64::MIN, key: Bytes::new() }];
    there_and_back(Command::Expire { now_ms: 7, due });
}

/// The bytes of keyed values in the log, as docs/formats/strong.md draws them: they never change.
#[test]
fn the_bytes_of_operations_are_those_of_the_format() {
    let of = |command| proposal(command).encode().slice(13..);
    let at = b"\x01\x08\x07\x06\x05\x04\x03\x02\x01";
    let operate = Command::Operate { step: step("k"), moment: moment() };
    assert_eq!(of(operate), [&b"\x12"[..], at, b"\x01k\x02op"].concat());
    let watches = vec![Watched { key: "w".into(), revision: Revision(5) }];
    let transact = Command::Transact { watches, steps: vec![step("k")], moment: moment() };
    assert_eq!(of(transact), [&b"\x13"[..], at, b"\x01\x01w\x0a\x01\x01k\x02op"].concat());
    assert_eq!(of(Command::Flush), b"\x14"[..]);
    let due = vec![Deadline { at_ms: 1, key: "k".into() }];
    assert_eq!(of(Command::Expire { now_ms: 2, due }), b"\x15\x04\x01\x02\x01k"[..]);
}

/// The bytes of a split, as docs/formats/strong.md draws them: they never change.
#[test]
fn the_bytes_of_a_split_are_those_of_the_format() {
    let of = |command| proposal(command).encode().slice(13..);
    let versions = b"\x01k\x08\x00\x07\x01\x00\x02\x03\x00vv\x01l\x08\x01\x02\x02\x00";
    assert_eq!(of(Command::Ingest(page())), [&b"\x0e\x00\x00\x0a\x00\x01\x02"[..], versions].concat());
    let children = [GroupId(17), GroupId(18)];
    let seal = Command::Seal { at: "m".into(), children, filled: position(9, 3) };
    assert_eq!(of(seal), b"\x0f\x01m\x11\x12\x12\x03"[..]);
    let activate = Command::Activate { revision: Revision(9), compacted: Revision(-1) };
    assert_eq!(of(Command::Bar { child: GroupId(18) }), b"\x11\x12"[..]);
    assert_eq!(of(activate), b"\x10\x12\x01"[..]);
}

#[test]
fn a_page_that_cannot_be_is_refused_before_it_is_proposed() {
    let refused = |change: fn(&mut Page)| {
        let mut bad = page();
        change(&mut bad);
        crate::check::command(&Command::Ingest(bad)).is_err()
    };
    assert!(crate::check::command(&Command::Ingest(page())).is_ok());
    assert!(refused(|page| page.next = position(4, 1)));
    assert!(refused(|page| page.from = position(4, 1)));
    assert!(refused(|page| page.from = position(6, 0)));
    assert!(refused(|page| page.versions.swap(0, 1)));
    assert!(refused(|page| page.versions[0].id = position(0, 0)));
    assert!(refused(|page| page.versions[0].key = Bytes::new()));
    assert!(refused(|page| page.versions[1].id = page.versions[0].id));
}

proptest! {
    #[test]
    fn hostile_pages_are_refused_or_mean_what_they_say(mut bytes in proptest::collection::vec(0_u8..20, 0..60)) {
        bytes.splice(0..0, [FORMAT, 0, 0, tag::INGEST]);
        if let Ok(proposal) = Proposal::decode(bytes.into()) {
            prop_assert_eq!(Proposal::decode(proposal.encode()), Ok(proposal));
        }
    }

    #[test]
    fn hostile_bytes_are_refused_or_mean_what_they_say(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Proposal::decode(bytes.clone().into());
        bytes.splice(0..0, [FORMAT, 0, 0, tag::TXN]);
        if let Ok(proposal) = Proposal::decode(bytes.into()) {
            prop_assert_eq!(Proposal::decode(proposal.encode()), Ok(proposal));
        }
    }
}
