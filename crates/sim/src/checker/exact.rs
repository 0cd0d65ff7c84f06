//! Every answer is exactly the one that the table's history gives at the answer's revision, and the order of the revisions
//! agrees with real time. Both together are strict serializability: the revisions are the order.
//!
//! * A read is answered with the table as of its revision, and if it asked for none, as of the header's.
//! * A write or a transaction that wrote has found the table as of the revision before its own, and has made the events
//!   of its own revision, all of them and no others; no two are given the same revision.
//! * A transaction that wrote nothing has found the table as of the header's revision.
//! * An answer to a linearizable request that was sent after another answer had come shows no lower revision; if it
//!   wrote, a higher one.
//! * Every value in the history was sent by a call, at most once, and not by one that was refused or sent later than
//!   somebody saw it. For this, every value that a client sends is sent once only.

use std::collections::BTreeMap;
use std::fmt;

use althing_api::kv::{Consistency, Event, EventKind, Operation, PutRequest, PutValue, RangeRequest, TxnRequest};
use althing_api::request::{Answer, Body, Request};
use althing_types::{Instant, Revision};
use bytes::Bytes;

use super::table::{Draft, Table};
use super::truth::Truth;
use crate::history::{CallEnd, CallRecord};

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation<'a> {
    /// The answer is not what the history gives.
    Wrong {
        /// The call.
        call: &'a CallRecord,
        /// What it should have been answered; `None` if the history has not got so far.
        expected: Option<Body>,
    },
    /// The call should have made these events at its revision.
    Undone {
        /// The call.
        call: &'a CallRecord,
        /// What it should have made.
        expected: Vec<Event>,
    },
    /// Two calls claim one revision.
    GivenTwice {
        /// One.
        first: &'a CallRecord,
        /// The other.
        second: &'a CallRecord,
    },
    /// The later call was answered with a revision that is too low.
    WentBack {
        /// Answered before `later` was sent, with this revision.
        known: Revision,
        /// The one with the lower revision, or, if it wrote, with the same.
        later: &'a CallRecord,
    },
    /// A value that nobody sent.
    FromNowhere(&'a Event),
    /// A value of a call that was refused.
    RefusedAndDone {
        /// The call.
        call: &'a CallRecord,
        /// Where.
        event: &'a Event,
    },
    /// A value that was sent once, twice.
    DoneTwice {
        /// The call.
        call: &'a CallRecord,
        /// The second time.
        event: &'a Event,
    },
    /// A revision that was seen before what made it was sent.
    BeforeItWasSent {
        /// What made it.
        call: &'a CallRecord,
        /// Its revision.
        revision: Revision,
    },
}

impl fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong { call, expected } => write!(f, "{call:?} should have been answered with {expected:?}"),
            Self::Undone { call, expected } => write!(f, "{call:?} has not made {expected:?}"),
            Self::GivenTwice { first, second } => write!(f, "one revision for {first:?} and {second:?}"),
            Self::WentBack { known, later } => write!(f, "revision {known} was known before {later:?} was sent"),
            Self::FromNowhere(event) => write!(f, "nobody sent {event:?}"),
            Self::RefusedAndDone { call, event } => write!(f, "{call:?} was refused and made {event:?}"),
            Self::DoneTwice { call, event } => write!(f, "{call:?} happened twice, the second time as {event:?}"),
            Self::BeforeItWasSent { call, revision } => write!(f, "{revision} was seen before {call:?} was sent"),
        }
    }
}

/// Every promise that was broken.
#[must_use]
pub fn check<'a>(calls: &'a [CallRecord], truth: &'a Truth, table: &Table) -> Vec<Violation<'a>> {
    let mut violations = Vec::new();
    let mut claims: BTreeMap<Revision, &CallRecord> = BTreeMap::new();
    for call in calls {
        let Some((_, answer)) = answered(call) else { continue };
        match judge(call, answer, truth, table) {
            Ok(Effect::Wrote) => {
                if let Some(first) = claims.insert(answer.header.revision, call) {
                    violations.push(Violation::GivenTwice { first, second: call });
                }
            }
            Ok(Effect::None) => {}
            Err(violation) => violations.push(*violation),
        }
    }
    violations.extend(went_back(calls, &claims));
    violations.extend(origins(calls, truth));
    violations
}

fn answered(call: &CallRecord) -> Option<(Instant, &Answer)> {
    match &call.end {
        CallEnd::Answered { returned, answer } => Some((*returned, answer)),
        CallEnd::Refused { .. } | CallEnd::Unknown => None,
    }
}

/// Whether a call has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    Wrote,
    None,
}

fn judge<'a>(
    call: &'a CallRecord,
    answer: &Answer,
    truth: &Truth,
    table: &Table,
) -> Result<Effect, Box<Violation<'a>>> {
    let at = answer.header.revision;
    if at > truth.last() && at > Revision::FIRST {
        return Err(Box::new(Violation::Wrong { call, expected: None }));
    }
    if !is_read_only(&call.request) {
        // First as if it had written: then the table was the one before.
        let mut draft = Draft::new(table, Revision(at.0 - 1));
        let Some(body) = perform(&mut draft, &call.request) else { return Ok(Effect::None) };
        let events = draft.into_events();
        if !events.is_empty() && body == answer.body {
            let kept = events == truth.at(at);
            return if kept { Ok(Effect::Wrote) } else { Err(Box::new(Violation::Undone { call, expected: events })) };
        }
    }
    let mut draft = Draft::new(table, at);
    let Some(body) = perform(&mut draft, &call.request) else { return Ok(Effect::None) };
    let wrote = !draft.into_events().is_empty();
    if wrote || body != answer.body || reads_the_future(&call.request, at) {
        return Err(Box::new(Violation::Wrong { call, expected: Some(body) }));
    }
    Ok(Effect::None)
}

fn is_read_only(request: &Request) -> bool {
    match request {
        Request::Range(_) => true,
        Request::Txn(txn) => txn.is_read_only(),
        _ => false,
    }
}

/// Does a request; `None` if its answer does not follow from the table alone.
fn perform(draft: &mut Draft<'_>, request: &Request) -> Option<Body> {
    Some(match request {
        Request::Range(range) => Body::Range(draft.range(range)),
        Request::Put(put) => Body::Put(draft.put(put)),
        Request::DeleteRange(delete) => Body::DeleteRange(draft.delete_range(delete)),
        Request::Txn(txn) => Body::Txn(draft.txn(txn)),
        _ => return None,
    })
}

fn reads_the_future(request: &Request, at: Revision) -> bool {
    let ahead = |range: &RangeRequest| range.revision.is_some_and(|revision| revision > at);
    match request {
        Request::Range(range) => ahead(range),
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(|operation| match operation {
            Operation::Range(range) => ahead(range),
            Operation::Put(_) | Operation::DeleteRange(_) | Operation::Txn(_) => false,
        }),
        _ => false,
    }
}

/// Whether an answer must not be behind any that came before the request was sent.
fn is_linearizable(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.consistency == Consistency::Linearizable,
        Request::Txn(txn) => !(txn.is_read_only() && txn.is_serializable()),
        Request::Put(_) | Request::DeleteRange(_) => true,
        _ => false,
    }
}

fn went_back<'a>(calls: &'a [CallRecord], claims: &BTreeMap<Revision, &'a CallRecord>) -> Vec<Violation<'a>> {
    let mut by_return: Vec<(Instant, Revision)> =
        calls.iter().filter_map(answered).map(|(returned, answer)| (returned, answer.header.revision)).collect();
    by_return.sort_unstable();
    let mut returned = by_return.into_iter().peekable();
    let mut known = Revision(0);
    let mut violations = Vec::new();
    // Calls lie in the order in which they were sent.
    for later in calls {
        while let Some((_, revision)) = returned.next_if(|(at, _)| *at < later.invoked) {
            known = known.max(revision);
        }
        let Some((_, answer)) = answered(later).filter(|_| is_linearizable(&later.request)) else { continue };
        let revision = answer.header.revision;
        let wrote = claims.get(&revision).is_some_and(|claim| std::ptr::eq(*claim, later));
        if revision < known || (wrote && revision == known) {
            violations.push(Violation::WentBack { known, later });
        }
    }
    violations
}

/// Where the values of the history come from.
fn origins<'a>(calls: &'a [CallRecord], truth: &'a Truth) -> Vec<Violation<'a>> {
    let mut senders: BTreeMap<(&Bytes, &Bytes), (&CallRecord, u64)> = BTreeMap::new();
    for call in calls {
        each_put(&call.request, &mut |put| {
            if let PutValue::Set(value) = &put.value {
                senders.insert((&put.key, value), (call, 0));
            }
        });
    }
    let seen = first_seen(calls);
    let mut violations = Vec::new();
    for event in truth.since(truth.first()).filter(|event| event.kind == EventKind::Put) {
        let Some((call, times)) = senders.get_mut(&(&event.kv.key, &event.kv.value)) else {
            violations.push(Violation::FromNowhere(event));
            continue;
        };
        *times += 1;
        let (call, revision) = (*call, event.kv.mod_revision);
        if *times > 1 {
            violations.push(Violation::DoneTwice { call, event });
        }
        match &call.end {
            CallEnd::Refused { .. } => violations.push(Violation::RefusedAndDone { call, event }),
            CallEnd::Answered { .. } | CallEnd::Unknown => {}
        }
        if seen.range(revision..).next().is_some_and(|(_, first)| *first < call.invoked) {
            violations.push(Violation::BeforeItWasSent { call, revision });
        }
    }
    violations
}

/// By revision, when an answer first showed that it, or a later one, had been made.
fn first_seen(calls: &[CallRecord]) -> BTreeMap<Revision, Instant> {
    let mut seen: BTreeMap<Revision, Instant> = BTreeMap::new();
    for (returned, answer) in calls.iter().filter_map(answered) {
        let first = seen.entry(answer.header.revision).or_insert(returned);
        *first = (*first).min(returned);
    }
    let mut earliest = Instant::FAR_FUTURE;
    for first in seen.values_mut().rev() {
        earliest = earliest.min(*first);
        *first = earliest;
    }
    seen
}

fn each_put<'a>(request: &'a Request, visit: &mut impl FnMut(&'a PutRequest)) {
    match request {
        Request::Put(put) => visit(put),
        Request::Txn(txn) => each_put_of(txn, visit),
        _ => {}
    }
}

fn each_put_of<'a>(txn: &'a TxnRequest, visit: &mut impl FnMut(&'a PutRequest)) {
    for operation in txn.success.iter().chain(&txn.failure) {
        match operation {
            Operation::Put(put) => visit(put),
            Operation::Txn(txn) => each_put_of(txn, visit),
            Operation::Range(_) | Operation::DeleteRange(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
