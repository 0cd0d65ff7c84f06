//! A client that moves money between accounts: it reads them, then writes both if neither has changed. An account that is
//! emptied is removed, and one that is paid into comes into being. Now and then it reads all accounts, as they are or as
//! they were.

use althing_api::Error;
use althing_api::kv::{Consistency, KeyRange, KeyValue, Operation, RangeEnd, RangeRequest, TxnRequest};
use althing_api::request::{Answer, Request};
use althing_types::Revision;
use bytes::Bytes;

use super::asks::{delete, found, put, read, unchanged};
use super::session::Session;
use super::{Context, Drive, News};

/// Keys of accounts begin with this.
pub const ACCOUNT_PREFIX: &[u8] = b"b/";
/// The key that says that the accounts have been given their money.
const FUNDED: &[u8] = b"bank";
/// What each account is given.
const ENDOWMENT: u64 = 100;
/// How far back the past is that is read.
const PAST: i64 = 300;

/// What the client waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// It has yet to see that the accounts have their money.
    #[default]
    Poor,
    /// It asked for that.
    Funding,
    /// Nothing.
    Idle,
    /// All accounts, to move money between two.
    Choosing,
    /// An answer that only the history needs.
    Waiting,
}

/// A client of the bank.
#[derive(Debug, Default)]
pub struct BankClient {
    session: Session,
    stage: Stage,
}

/// The balance in an account's value.
#[must_use]
pub fn balance(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.split(' ').next()?.parse().ok()
}

impl BankClient {
    pub(super) fn finish(&mut self) {
        self.session.finish();
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.act(cx),
            News::Answered { ticket, result } if self.session.awaits(ticket) => self.answered(result, cx),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn act(&mut self, cx: &mut Context<'_>) {
        if self.session.drive() == Drive::Finishing {
            return;
        }
        match self.stage {
            Stage::Poor => {
                self.stage = Stage::Funding;
                let request = Request::Txn(fund(cx));
                self.session.send(request, cx);
            }
            Stage::Idle => self.begin(cx),
            Stage::Funding | Stage::Choosing | Stage::Waiting => {}
        }
    }

    fn begin(&mut self, cx: &mut Context<'_>) {
        let mut all = RangeRequest::new(KeyRange::under(ACCOUNT_PREFIX));
        let request = match cx.rng.u32(0..100) {
            0..10 => {
                self.stage = Stage::Waiting;
                all.revision = past(cx);
                Request::Range(all)
            }
            10..20 => {
                self.stage = Stage::Waiting;
                Request::Txn(in_halves(past(cx), cx))
            }
            _ => {
                self.stage = Stage::Choosing;
                all.consistency = if cx.rng.bool() { Consistency::Serializable } else { Consistency::Linearizable };
                Request::Range(all)
            }
        };
        self.session.send(request, cx);
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        let stage = std::mem::replace(&mut self.stage, Stage::Idle);
        match (stage, result) {
            (Stage::Choosing, Ok(answer)) => {
                if let Some(transfer) = transfer(&found(answer), cx) {
                    self.stage = Stage::Waiting;
                    return self.session.send(Request::Txn(transfer), cx);
                }
            }
            (Stage::Funding | Stage::Poor, Err(_)) => {
                self.stage = Stage::Poor;
                self.session.move_on();
            }
            (Stage::Choosing | Stage::Waiting | Stage::Idle, Err(_)) => self.session.move_on(),
            (Stage::Funding | Stage::Poor | Stage::Waiting | Stage::Idle, Ok(_)) => {}
        }
        self.session.rest(cx);
    }
}

/// The range of all accounts.
#[must_use]
pub fn accounts() -> KeyRange {
    KeyRange::under(ACCOUNT_PREFIX)
}

fn account(number: u64) -> Bytes {
    Bytes::from(format!("b/{number:03}"))
}

fn holding(balance: u64, cx: &mut Context<'_>) -> String {
    format!("{balance} {}", cx.shared.new_value())
}

/// Gives every account its money, once.
fn fund(cx: &mut Context<'_>) -> TxnRequest {
    let funded = Bytes::from_static(FUNDED);
    let mark = cx.shared.new_value().to_string();
    let mut success = vec![Operation::Put(put(&funded, mark, None))];
    for number in 0..cx.options.accounts {
        success.push(Operation::Put(put(&account(number), holding(ENDOWMENT, cx), None)));
    }
    TxnRequest { compare: vec![unchanged(&funded, None)], success, failure: vec![read(&funded)] }
}

/// Moves some of one account's money to another, if there are two.
fn transfer(accounts: &[KeyValue], cx: &mut Context<'_>) -> Option<TxnRequest> {
    let from = accounts.get(cx.rng.usize(..accounts.len().max(1)))?;
    let to = account(cx.rng.u64(..cx.options.accounts));
    if from.key == to {
        return None;
    }
    let paid_into = accounts.iter().find(|kv| kv.key == to);
    let owned = balance(&from.value)?;
    let moved = if cx.rng.u32(0..10) == 0 { owned } else { cx.rng.u64(0..=owned) };
    let received = paid_into.map_or(Some(0), |kv| balance(&kv.value))? + moved;
    let taken = match owned - moved {
        0 => delete(&from.key),
        left => Operation::Put(put(&from.key, holding(left, cx), None)),
    };
    Some(TxnRequest {
        compare: vec![unchanged(&from.key, Some(from)), unchanged(&to, paid_into)],
        success: vec![taken, Operation::Put(put(&to, holding(received, cx), None))],
        failure: vec![read(&from.key), read(&to)],
    })
}

/// The present, or a revision of the past.
fn past(cx: &mut Context<'_>) -> Option<Revision> {
    let latest = cx.shared.revision.get();
    (latest > 1 && cx.rng.bool()).then(|| Revision(cx.rng.i64((latest - PAST).max(1)..=latest)))
}

/// All accounts by two reads of one transaction.
fn in_halves(revision: Option<Revision>, cx: &Context<'_>) -> TxnRequest {
    let middle = account(cx.options.accounts / 2);
    let whole = KeyRange::under(ACCOUNT_PREFIX);
    let lower = KeyRange { start: whole.start, end: RangeEnd::Before(middle.clone()) };
    let upper = KeyRange { start: middle, end: whole.end };
    let half = |keys| Operation::Range(RangeRequest { revision, ..RangeRequest::new(keys) });
    TxnRequest { compare: Vec::new(), success: vec![half(lower), half(upper)], failure: Vec::new() }
}
