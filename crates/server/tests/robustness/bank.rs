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
pub const PREFIX: &str = "b/";
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
