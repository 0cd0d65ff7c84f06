use althing_api::cluster::{AlarmAction, AlarmKind, Member};
use althing_api::kv::{Operation, PutLease, PutRequest, PutValue, TxnRequest};
use althing_types::limits::MAX_TXN_DEPTH;
use proptest::prelude::*;

use super::*;

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

proptest! {
    #[test]
    fn hostile_bytes_are_refused_or_mean_what_they_say(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Proposal::decode(bytes.clone().into());
        bytes.splice(0..0, [FORMAT, 0, 0, tag::TXN]);
        if let Ok(proposal) = Proposal::decode(bytes.into()) {
            prop_assert_eq!(Proposal::decode(proposal.encode()), Ok(proposal));
        }
    }
}
