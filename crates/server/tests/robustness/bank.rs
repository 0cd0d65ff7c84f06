//! A bank: clients read all accounts at once and move money from one to another in a transaction that is guarded by both
//! accounts' revisions.
//!
//! Every answer carries the revision at which it was made, so the order is not searched for but checked: a read must show
//! exactly what the table held at its revision; a transfer that went through must lie in the history at its revision,
//! with its guards true just before; one that did not must have met a guard that was false; no revision may hold another
//! sum; and whoever asked after an answer had come must be given no lower revision. Together that is strict
//! serializability of these transactions, with the revisions as its witness.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use althing_api::error::Outcome as Effect;
use althing_api::kv::EventKind;
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::kv_client::KvClient;
use althing_sim::checker::Truth;
use althing_types::{Instant, Revision};
use bytes::Bytes;
use pb::compare::TargetUnion;
use pb::request_op::Request as Op;
use tonic::Status;

use crate::recorder::Recorder;
use crate::wire::{self, Session};

/// Keys of accounts begin with this.
pub const PREFIX: &str = "a/";
const ACCOUNTS: usize = 5;
/// What each account has in the beginning.
const BALANCE: i64 = 100;
const THINK_MS: std::ops::Range<u64> = 5..60;

/// What an account holds: its value on the wire and the revision that wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    pub value: Bytes,
    pub revision: Revision,
}

/// Account to what it holds.
pub type Accounts = BTreeMap<Bytes, Held>;

/// One call of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BankRecord {
    pub invoked: Instant,
    pub call: BankCall,
    pub outcome: BankOutcome,
}

/// What was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BankCall {
    /// All accounts.
    Read,
    /// To write two new values if both accounts still are of these revisions.
    Transfer([Guarded; 2]),
}

/// One account of a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guarded {
    pub account: Bytes,
    pub expected: Revision,
    pub new: Bytes,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BankOutcome {
    /// A read was answered.
    Shown { returned: Instant, revision: Revision, accounts: Accounts },
    /// A transfer was made.
    Moved { returned: Instant, revision: Revision },
    /// A guard did not hold.
    Guarded { returned: Instant, revision: Revision },
    /// It did not happen.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl BankOutcome {
    fn answered(&self) -> Option<(Instant, Revision)> {
        match self {
            Self::Shown { returned, revision, .. }
            | Self::Moved { returned, revision }
            | Self::Guarded { returned, revision } => Some((*returned, *revision)),
            Self::Refused | Self::Unknown => None,
        }
    }
}

/// Gives every account its first balance. Done before there are faults.
pub async fn open(session: &mut Session) -> Result<(), Status> {
    let first = |account: usize| wire::put(format!("{PREFIX}{account}"), format!("{BALANCE}#first-{account}"));
    let success = (0..ACCOUNTS).map(|account| wire::op(Op::RequestPut(first(account)))).collect();
    let mut kv = KvClient::new(session.channel());
    kv.txn(pb::TxnRequest { success, ..pb::TxnRequest::default() }).await?;
    Ok(())
}

/// Reads and moves money until the load ends.
pub async fn work(recorder: Arc<Recorder>, mut session: Session) {
    let mut known = Accounts::new();
    while recorder.is_loaded() {
        let transfer = if session.rng.u32(0..100) < 60 { draw(&recorder, &mut session, &known) } else { None };
        let call = transfer.map_or(BankCall::Read, BankCall::Transfer);
        let place = begin(&recorder, call.clone());
        let mut kv = KvClient::new(session.channel());
        let outcome = match session.wait(ask(&recorder, &session, &mut kv, &call)).await {
            Ok(outcome) => outcome,
            Err(status) => {
                recorder.failed(&status);
                session.leave();
                session.sleep(5..50).await;
                failed(&call, &status)
            }
        };
        if let BankOutcome::Shown { accounts, .. } = &outcome {
            known.clone_from(accounts);
        }
        if let Some((_, revision)) = outcome.answered() {
            recorder.saw_revision(revision);
        }
        recorder.bank()[place].outcome = outcome;
        session.sleep(THINK_MS).await;
    }
}

fn begin(recorder: &Recorder, call: BankCall) -> usize {
    let mut bank = recorder.bank();
    bank.push(BankRecord { invoked: recorder.now(), call, outcome: BankOutcome::Unknown });
    bank.len() - 1
}

fn failed(call: &BankCall, status: &Status) -> BankOutcome {
    match (call, wire::effect_of(status)) {
        (BankCall::Read, _) | (_, Effect::NotDone) => BankOutcome::Refused,
        (BankCall::Transfer(_), Effect::MaybeDone) => BankOutcome::Unknown,
    }
}

/// The money of an account's value.
fn money(value: &[u8]) -> i64 {
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.split('#').next().and_then(|number| number.parse().ok()).unwrap_or(i64::MIN / 1000)
}

/// Some money from one account to another, by what the client read last.
fn draw(recorder: &Recorder, session: &mut Session, known: &Accounts) -> Option<[Guarded; 2]> {
    let rng = &mut session.rng;
    let (from, to) = (rng.usize(0..ACCOUNTS), rng.usize(1..ACCOUNTS));
    let amount = rng.i64(1..20);
    let change = |account: usize, difference: i64| {
        let (account, held) = known.iter().nth(account)?;
        let new = format!("{}#{}", money(&held.value) + difference, recorder.new_value());
        Some(Guarded { account: account.clone(), expected: held.revision, new: new.into() })
    };
    Some([change(from, -amount)?, change((from + to) % ACCOUNTS, amount)?])
}

async fn ask(
    recorder: &Recorder,
    session: &Session,
    kv: &mut KvClient<tonic::transport::Channel>,
    call: &BankCall,
) -> Result<BankOutcome, Status> {
    match call {
        BankCall::Read => {
            let found = kv.range(session.request(wire::get_prefix(PREFIX))).await?.into_inner();
            let revision = wire::revision(found.header.as_ref());
            let held = |kv: &althing_etcd_proto::mvccpb::KeyValue| Held {
                value: kv.value.clone(),
                revision: Revision(kv.mod_revision),
            };
            let accounts = found.kvs.iter().map(|kv| (kv.key.clone(), held(kv))).collect();
            Ok(BankOutcome::Shown { returned: recorder.now(), revision, accounts })
        }
        BankCall::Transfer(both) => {
            let guard =
                |one: &Guarded| wire::compare(one.account.clone(), TargetUnion::ModRevision(one.expected.get()));
            let write = |one: &Guarded| wire::op(Op::RequestPut(wire::put(one.account.clone(), one.new.clone())));
            let compare = both.iter().map(guard).collect();
            let success = both.iter().map(write).collect();
            let txn = pb::TxnRequest { compare, success, ..pb::TxnRequest::default() };
            let done = kv.txn(session.request(txn)).await?.into_inner();
            let (returned, revision) = (recorder.now(), wire::revision(done.header.as_ref()));
            Ok(if done.succeeded {
                BankOutcome::Moved { returned, revision }
            } else {
                BankOutcome::Guarded { returned, revision }
            })
        }
    }
}

/// What the accounts held after each revision that touched one of them.
fn states(truth: &Truth) -> BTreeMap<Revision, Accounts> {
    let mut states = BTreeMap::from([(Revision(0), Accounts::new())]);
    let mut now = Accounts::new();
    for event in truth.since(Revision(0)).filter(|event| event.kv.key.starts_with(PREFIX.as_bytes())) {
        let (key, value, revision) = (event.kv.key.clone(), event.kv.value.clone(), event.kv.mod_revision);
        match event.kind {
            EventKind::Put => now.insert(key, Held { value, revision }),
            EventKind::Delete => now.remove(&key),
        };
        states.insert(revision, now.clone());
    }
    states
}

/// All that is wrong with what the bank's clients saw. The history must be known from the first revision on.
pub fn check(records: &[BankRecord], truth: &Truth) -> Vec<String> {
    let states = states(truth);
    let at = |revision: Revision| {
        let (_, accounts) = states.range(..=revision).next_back().expect("there is a state of revision 0");
        accounts
    };
    let sum = |accounts: &Accounts| accounts.values().map(|held| money(&held.value)).sum::<i64>();
    let total = BALANCE * i64::try_from(ACCOUNTS).expect("accounts are few");
    let wrong_sums = states.iter().skip(1).filter(|(_, accounts)| sum(accounts) != total);
    let mut wrong: Vec<_> =
        wrong_sums.map(|(revision, accounts)| format!("revision {revision} holds another sum: {accounts:?}")).collect();
    let written: BTreeSet<&Bytes> = truth.since(Revision(0)).map(|event| &event.kv.value).collect();
    wrong.extend(records.iter().filter_map(|record| judge(record, truth, &written, at)));
    wrong.extend(went_back(records));
    wrong
}

fn judge<'a>(
    record: &BankRecord,
    truth: &Truth,
    written: &BTreeSet<&Bytes>,
    at: impl Fn(Revision) -> &'a Accounts,
) -> Option<String> {
    let holds = |both: &[Guarded; 2], accounts: &Accounts| {
        both.iter().all(|one| accounts.get(&one.account).is_some_and(|held| held.revision == one.expected))
    };
    let (is_right, found) = match (&record.call, &record.outcome) {
        (BankCall::Read, BankOutcome::Shown { revision, accounts, .. }) => (at(*revision) == accounts, at(*revision)),
        (BankCall::Transfer(both), BankOutcome::Moved { revision, .. }) => {
            let before = at(Revision(revision.get() - 1));
            let events = truth.at(*revision);
            let written = both
                .iter()
                .all(|one| events.iter().any(|event| event.kv.key == one.account && event.kv.value == one.new));
            (written && events.len() == 2 && holds(both, before), before)
        }
        (BankCall::Transfer(both), BankOutcome::Guarded { revision, .. }) => {
            (!holds(both, at(*revision)), at(*revision))
        }
        (BankCall::Transfer(both), BankOutcome::Refused) => {
            (!both.iter().any(|one| written.contains(&one.new)), at(truth.last()))
        }
        (BankCall::Read | BankCall::Transfer(_), _) => return None,
    };
    (!is_right).then(|| format!("{record:?} does not fit the table, which holds {found:?}"))
}

/// Calls that were answered with a revision below one that had been answered before they were sent; a transfer must get
/// a greater one.
fn went_back(records: &[BankRecord]) -> Vec<String> {
    let mut by_return: Vec<_> = records.iter().filter_map(|record| record.outcome.answered()).collect();
    by_return.sort_unstable();
    let mut by_invocation: Vec<_> = records.iter().collect();
    by_invocation.sort_by_key(|record| record.invoked);
    let (mut returned, mut highest) = (by_return.into_iter().peekable(), Revision(0));
    let mut wrong = Vec::new();
    for record in by_invocation {
        while let Some((_, revision)) = returned.next_if(|(at, _)| *at < record.invoked) {
            highest = highest.max(revision);
        }
        let least = match record.outcome {
            BankOutcome::Moved { .. } => highest.next(),
            BankOutcome::Shown { .. } | BankOutcome::Guarded { .. } | BankOutcome::Refused | BankOutcome::Unknown => {
                highest
            }
        };
        if record.outcome.answered().is_some_and(|(_, revision)| revision < least) {
            wrong.push(format!("{record:?} was given a revision below {least}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use althing_api::kv::{Event, KeyValue};
    use althing_types::Duration;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn put(revision: i64, account: usize, value: &str) -> Event {
        let (key, value) = (format!("{PREFIX}{account}").into(), value.to_owned().into());
        let kv = KeyValue { key, value, mod_revision: Revision(revision), ..KeyValue::default() };
        Event { kind: EventKind::Put, kv, prev_kv: None }
    }

    /// Revision 2 opens five accounts, 3 moves 7 from account 0 to account 1, 4 moves 1 from 1 to 2.
    fn truth() -> Truth {
        let opened = (0..ACCOUNTS).map(|account| put(2, account, "100#first")).collect();
        let moved = vec![put(3, 0, "93#1"), put(3, 1, "107#2")];
        let again = vec![put(4, 1, "106#3"), put(4, 2, "101#4")];
        Truth::new(Revision(1), [(Revision(2), opened), (Revision(3), moved), (Revision(4), again)])
    }

    fn transfer(both: [(usize, i64, &str); 2], outcome: BankOutcome) -> BankRecord {
        let guarded = |(account, expected, new): (usize, i64, &str)| Guarded {
            account: format!("{PREFIX}{account}").into(),
            expected: Revision(expected),
            new: new.to_owned().into(),
        };
        BankRecord { invoked: at(10), call: BankCall::Transfer(both.map(guarded)), outcome }
    }

    fn moved(millis: u64, revision: i64) -> BankOutcome {
        BankOutcome::Moved { returned: at(millis), revision: Revision(revision) }
    }

    fn guarded(revision: i64) -> BankOutcome {
        BankOutcome::Guarded { returned: at(20), revision: Revision(revision) }
    }

    fn read(invoked: u64, revision: i64, of: i64) -> BankRecord {
        let accounts = states(&truth())[&Revision(of)].clone();
        let outcome = BankOutcome::Shown { returned: at(invoked + 1), revision: Revision(revision), accounts };
        BankRecord { invoked: at(invoked), call: BankCall::Read, outcome }
    }

    const FIRST: [(usize, i64, &str); 2] = [(0, 2, "93#1"), (1, 2, "107#2")];
    const LATE: [(usize, i64, &str); 2] = [(0, 2, "50#8"), (1, 2, "150#9")];

    #[test]
    fn a_bank_in_order_is_found_in_order() {
        let second = transfer([(1, 3, "106#3"), (2, 2, "101#4")], BankOutcome::Unknown);
        let records = [
            transfer(FIRST, moved(20, 3)),
            second,
            transfer(LATE, guarded(3)),
            transfer(LATE, BankOutcome::Refused),
            read(11, 2, 2),
            read(30, 4, 4),
        ];
        assert_eq!(check(&records, &truth()), [""; 0]);
    }

    #[test]
    fn a_read_of_another_state_than_its_revisions_is_found() {
        assert_eq!(check(&[read(1, 3, 2)], &truth()).len(), 1);
    }

    #[test]
    fn a_read_that_is_behind_an_earlier_answer_is_found() {
        let records = [transfer(FIRST, moved(20, 3)), read(30, 2, 2)];
        assert!(check(&records, &truth())[0].contains("below 3"));
        let records = [read(1, 3, 3), transfer(FIRST, moved(20, 3))];
        assert!(check(&records, &truth())[0].contains("below 4"), "a transfer is given a revision of its own");
    }

    #[test]
    fn a_transfer_whose_answer_does_not_fit_the_table_is_found() {
        for (both, outcome) in [
            (FIRST, guarded(2)),
            (FIRST, moved(20, 4)),
            (FIRST, BankOutcome::Refused),
            (LATE, moved(20, 4)),
            ([(0, 1, "93#1"), (1, 2, "107#2")], moved(20, 3)),
        ] {
            let record = transfer(both, outcome);
            assert_eq!(check(std::slice::from_ref(&record), &truth()).len(), 1, "{record:?}");
        }
    }

    #[test]
    fn another_sum_is_found() {
        let mut changes: Vec<_> = (2..=4).map(|at| (Revision(at), truth().at(Revision(at)).to_vec())).collect();
        changes[1].1.pop();
        let wrong = check(&[], &Truth::new(Revision(1), changes));
        assert_eq!(wrong.len(), 1, "until the other account is written again: {wrong:?}");
    }
}
