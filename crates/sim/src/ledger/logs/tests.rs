use althing_codec::Writer;
use althing_consensus::{ConfState, encode_entries};
use bytes::Bytes;

use super::*;

const G: GroupId = GroupId(1);
const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const BORN: LogPosition = LogPosition { index: 1, term: 1 };

fn record(kind: RecordKind, payload: Bytes) -> Record {
    Record { group: G, kind, index: 0, payload }
}

/// Entries from `first` on, of these terms.
fn entries(first: u64, terms: &[u64]) -> Record {
    entries_of(first, terms, EntryKind::Normal)
}

fn entries_of(first: u64, terms: &[u64], kind: EntryKind) -> Record {
    let data = Bytes::from_static(b"x");
    let entries: Vec<_> =
        (first..).zip(terms).map(|(index, term)| Entry { index, term: *term, kind, data: data.clone() }).collect();
    record(RecordKind::Entries, encode_entries(&entries))
}

fn hard_state(term: u64, vote: u64, commit: u64) -> Record {
    record(RecordKind::HardState, HardState { term, vote: NodeId(vote), commit }.encode())
}

fn truncated(index: u64, term: u64) -> Record {
    record(RecordKind::Truncated, LogPosition { index, term }.encode())
}

fn snapshot(index: u64, term: u64) -> Record {
    let mut writer = Writer::default();
    writer.u64(7);
    writer.raw(&SnapshotMeta { index, term, conf_state: ConfState::of_voters([A]) }.encode());
    record(RecordKind::Snapshot, writer.finish())
}

/// Two nodes that were just born.
fn logs() -> Logs {
    let mut logs = Logs::default();
    logs.starts(G, A, BORN, &[]).unwrap();
    logs.starts(G, B, BORN, &[]).unwrap();
    logs
}

#[test]
fn logs_that_agree_are_fine() {
    let mut logs = logs();
    logs.writes(A, 1, &[entries(2, &[2, 2, 2]), hard_state(2, 1, 2)]).unwrap();
    logs.writes(B, 1, &[entries(2, &[2])]).unwrap();
    logs.writes(B, 2, &[entries(3, &[3, 3]), hard_state(3, 2, 3)]).unwrap();
    logs.writes(A, 2, &[entries(3, &[3, 3])]).unwrap();
    logs.writes(A, 3, &[entries(2, &[2, 3, 3])]).unwrap();
}

#[test]
fn an_entry_that_differs_or_follows_something_else_is_noticed() {
    let mut logs = logs();
    logs.writes(A, 1, &[entries(2, &[2, 3])]).unwrap();
    assert!(logs.clone().writes(B, 1, &[entries(2, &[1, 3])]).is_err(), "entry 3 follows another one");
    let other = Entry { index: 2, term: 2, kind: EntryKind::Normal, data: Bytes::from_static(b"y") };
    assert!(logs.writes(B, 1, &[record(RecordKind::Entries, encode_entries(&[other]))]).is_err());
}

#[test]
fn a_gap_and_a_committed_entry_that_is_overwritten_are_noticed() {
    let mut logs = logs();
    logs.writes(A, 1, &[entries(2, &[2, 2]), hard_state(2, 1, 2)]).unwrap();
    assert!(logs.clone().writes(A, 2, &[entries(5, &[2])]).is_err());
    logs.clone().writes(A, 2, &[entries(3, &[3])]).unwrap();
    assert!(logs.writes(A, 2, &[entries(2, &[3])]).is_err());
}

#[test]
fn a_hard_state_that_goes_back_is_noticed() {
    for (after, is_fine) in [
        (hard_state(3, 1, 1), true),
        (hard_state(2, 2, 1), false),
        (hard_state(1, 0, 1), false),
        (hard_state(3, 0, 0), false),
    ] {
        let mut logs = logs();
        logs.writes(A, 1, &[hard_state(2, 1, 1)]).unwrap();
        assert_eq!(logs.writes(A, 2, &[after]).is_ok(), is_fine);
    }
}

#[test]
fn what_was_reported_as_durable_must_be_there_after_a_restart() {
    let mut logs = logs();
    logs.writes(A, 1, &[entries(2, &[2, 2]), hard_state(2, 1, 2)]).unwrap();
    logs.writes(A, 2, &[entries(4, &[2]), hard_state(2, 1, 3)]).unwrap();
    logs.persisted(A, 1);
    let whole = [entries(2, &[2, 2]), hard_state(2, 1, 2)];
    logs.clone().starts(G, A, BORN, &whole).unwrap();
    assert!(logs.clone().starts(G, A, BORN, &whole[..1]).is_err(), "the vote is gone");
    assert!(logs.clone().starts(G, A, BORN, &[entries(2, &[2]), hard_state(2, 1, 2)]).is_err(), "an entry is gone");
    logs.clone().starts(G, A, BORN, &[entries(2, &[2]), entries(3, &[3]), hard_state(3, 0, 2)]).unwrap();
    logs.excuse(A);
    logs.starts(G, A, BORN, &[]).expect("nothing is owed by a disk that was exchanged");
}

#[test]
fn a_leader_without_a_committed_entry_is_noticed() {
    let mut logs = logs();
    logs.writes(A, 1, &[entries(2, &[2, 2])]).unwrap();
    logs.writes(B, 1, &[entries(2, &[2])]).unwrap();
    let committed = [(2, 2), (3, 2)];
    logs.leads(G, A, 3, 1, committed.into_iter()).unwrap();
    assert!(logs.clone().leads(G, B, 3, 1, committed.into_iter()).is_err());
    logs.leads(G, B, 2, 1, committed.into_iter()).expect("what is committed in its own term may come");
}

#[test]
fn a_leader_that_commits_an_earlier_term_by_counting_is_noticed() {
    let mut logs = logs();
    logs.writes(A, 1, &[entries(2, &[2, 2, 3])]).unwrap();
    let none = std::iter::empty;
    logs.leads(G, A, 3, 1, none()).unwrap();
    assert!(logs.clone().leads(G, A, 3, 3, none()).is_err());
    logs.leads(G, A, 3, 4, none()).unwrap();
}

#[test]
fn a_change_of_the_configuration_must_say_that_the_one_before_it_is_committed() {
    let mut logs = logs();
    logs.writes(A, 1, &[entries_of(2, &[2], EntryKind::ConfChange), hard_state(2, 1, 1)]).unwrap();
    let second = entries_of(3, &[2], EntryKind::ConfChange);
    assert!(logs.clone().writes(A, 2, std::slice::from_ref(&second)).is_err());
    logs.clone().writes(A, 2, &[second.clone(), hard_state(2, 1, 2)]).unwrap();
    logs.checkpointed(G, A, 2);
    logs.writes(A, 2, &[second]).expect("a checkpoint that holds the first says so, too");
}

#[test]
fn a_log_that_is_truncated_before_a_checkpoint_is_noticed() {
    let mut logs = logs();
    logs.writes(A, 1, &[entries(2, &[2, 2, 2])]).unwrap();
    logs.checkpointed(G, A, 3);
    logs.clone().writes(A, 2, &[truncated(3, 2)]).unwrap();
    assert!(logs.writes(A, 2, &[truncated(4, 2)]).is_err());
}

#[test]
fn a_snapshot_takes_the_place_of_the_log() {
    let mut logs = logs();
    logs.writes(A, 1, &[entries(2, &[2, 2]), hard_state(2, 1, 2)]).unwrap();
    logs.persisted(A, 1);
    let installed = [hard_state(3, 1, 9), snapshot(9, 3)];
    logs.writes(A, 2, &installed).unwrap();
    logs.writes(A, 3, &[entries(10, &[3])]).unwrap();
    logs.starts(G, A, LogPosition { index: 9, term: 3 }, &installed).unwrap();
}

#[test]
fn a_segment_that_is_gone_leaves_a_gap_below_a_later_truncation_only() {
    let mut logs = logs();
    let left = [snapshot(3, 2), entries(9, &[2, 2]), truncated(8, 2)];
    let applied = LogPosition { index: 9, term: 2 };
    logs.clone().starts(G, A, applied, &left).unwrap();
    assert!(logs.starts(G, A, applied, &left[..2]).is_err());
}

#[test]
fn entries_that_are_sent_under_another_index_are_noticed() {
    let mut logs = logs();
    logs.writes(A, 1, &[entries(2, &[2, 2, 3])]).unwrap();
    logs.sends(G, A, [(3, 2), (4, 3)].into_iter()).unwrap();
    assert!(logs.sends(G, A, [(3, 3)].into_iter()).is_err());
}
