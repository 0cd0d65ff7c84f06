//! A client with transactions on several lists: it reads them, then appends to some of them if none has changed, and reads
//! the others in the same transaction. Every element is unique, so that a list tells who wrote it, in which order; after a
//! few hundred elements new lists are begun, so that they stay short.

use althing_api::Error;
use althing_api::error::Outcome as Effect;
use althing_api::kv::{KeyValue, Operation, TxnRequest};
use althing_api::request::{Answer, Request};
use althing_types::Instant;
use bytes::Bytes;

use super::asks::{done, each_found, put, read, snapshot, unchanged};
use super::session::Session;
use super::{Context, Drive, News};
use crate::history::{ClientId, ListStep, Transaction};

/// Lists that are in use at one time.
const LISTS: u64 = 5;
/// Lists that one transaction concerns at the most.
const MOST: usize = 3;
/// After so many elements new lists are begun.
const ELEMENTS: u64 = 200;

/// What the client waits for.
#[derive(Clone, Debug, Default)]
enum Stage {
    /// Nothing.
    #[default]
    Idle,
    /// What these lists hold, and nothing more.
    Looking(Vec<Bytes>),
    /// What these lists hold, to append to some of them.
    Preparing(Vec<Bytes>),
    /// The transaction with these steps. What it reads is known if it succeeds: each list is as it was seen.
    Appending(Vec<ListStep>),
}

/// A client with transactions on lists.
#[derive(Debug)]
pub struct ListClient {
    client: ClientId,
    session: Session,
    stage: Stage,
    /// The transaction under way, as its place in the history.
    place: Option<usize>,
}

/// The elements of a list as it is stored.
#[must_use]
pub fn elements(value: &[u8]) -> Vec<u64> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

impl ListClient {
    /// A client that has asked nothing yet.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self { client, session: Session::default(), stage: Stage::Idle, place: None }
    }

    pub(super) fn finish(&mut self) {
        self.session.finish();
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.begin(cx),
            News::Answered { ticket, result } if self.session.awaits(ticket) => self.answered(result, cx),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn begin(&mut self, cx: &mut Context<'_>) {
        if self.session.drive() == Drive::Finishing {
            return;
        }
        let keys = choose(cx);
        let request = Request::Txn(snapshot(&keys));
        self.stage = if cx.rng.u32(0..4) == 0 {
            self.place = Some(self.note(Vec::new(), cx));
            Stage::Looking(keys)
        } else {
            Stage::Preparing(keys)
        };
        self.session.send(request, cx);
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        match (std::mem::take(&mut self.stage), result) {
            (Stage::Looking(keys), Ok(answer)) => {
                let steps = reads(&keys, &each_found(done(answer)));
                self.end(steps, Some(cx.now), cx);
            }
            (Stage::Preparing(keys), Ok(answer)) => return self.append(&keys, &each_found(done(answer)), cx),
            (Stage::Appending(steps), Ok(answer)) => {
                let txn = done(answer);
                let steps = if txn.succeeded { steps } else { reads(&keys_of(&steps), &each_found(txn)) };
                self.end(steps, Some(cx.now), cx);
            }
            (Stage::Appending(steps), Err(error)) => {
                self.session.move_on();
                match error.outcome {
                    Effect::NotDone => self.end(Vec::new(), None, cx),
                    Effect::MaybeDone => self.end(steps.into_iter().map(unseen).collect(), None, cx),
                }
            }
            (Stage::Looking(_) | Stage::Preparing(_) | Stage::Idle, _) => self.session.move_on(),
        }
        self.session.rest(cx);
    }

    fn append(&mut self, keys: &[Bytes], seen: &[Option<KeyValue>], cx: &mut Context<'_>) {
        let mut txn = TxnRequest { failure: keys.iter().map(read).collect(), ..TxnRequest::default() };
        let mut steps = Vec::new();
        for (place, (key, kv)) in keys.iter().zip(seen).enumerate() {
            txn.compare.push(unchanged(key, kv.as_ref()));
            let mut list = kv.as_ref().map(|kv| elements(&kv.value)).unwrap_or_default();
            steps.push(ListStep::Read { key: key.clone(), seen: Some(list.clone()) });
            // The first list grows in any case: a transaction that only reads is the other stage's.
            if place == 0 || cx.rng.bool() {
                let element = cx.shared.new_element();
                list.push(element);
                txn.success.push(Operation::Put(put(key, text(&list), None)));
                steps.push(ListStep::Append { key: key.clone(), element });
            } else {
                txn.success.push(read(key));
            }
        }
        let unseen_yet = steps.iter().cloned().map(unseen).collect();
        self.place = Some(self.note(unseen_yet, cx));
        self.stage = Stage::Appending(steps);
        self.session.send(Request::Txn(txn), cx);
    }

    /// Notes a transaction that is being sent: what it reads is not known yet.
    fn note(&self, steps: Vec<ListStep>, cx: &mut Context<'_>) -> usize {
        let transactions = &mut cx.shared.history.transactions;
        transactions.push(Transaction { client: self.client, invoked: cx.now, returned: None, steps });
        transactions.len() - 1
    }

    /// Notes what came of it. A client that lost track of a transaction never comes back.
    fn end(&mut self, steps: Vec<ListStep>, returned: Option<Instant>, cx: &mut Context<'_>) {
        let Some(place) = self.place.take() else { return };
        let transaction = &mut cx.shared.history.transactions[place];
        (transaction.steps, transaction.returned) = (steps, returned);
        if returned.is_none() {
            self.client = cx.shared.new_client();
        }
    }
}

/// Some of the lists in use.
fn choose(cx: &mut Context<'_>) -> Vec<Bytes> {
    let generation = cx.shared.elements() / ELEMENTS;
    let mut numbers: Vec<u64> = (0..LISTS).collect();
    cx.rng.shuffle(&mut numbers);
    numbers.truncate(cx.rng.usize(1..=MOST));
    numbers.into_iter().map(|number| Bytes::from(format!("t/{generation:04}/{number}"))).collect()
}

fn text(list: &[u64]) -> String {
    list.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

fn reads(keys: &[Bytes], found: &[Option<KeyValue>]) -> Vec<ListStep> {
    let step = |(key, kv): (&Bytes, &Option<KeyValue>)| ListStep::Read {
        key: key.clone(),
        seen: Some(kv.as_ref().map(|kv| elements(&kv.value)).unwrap_or_default()),
    };
    keys.iter().zip(found).map(step).collect()
}

fn keys_of(steps: &[ListStep]) -> Vec<Bytes> {
    let key = |step: &ListStep| match step {
        ListStep::Read { key, .. } => Some(key.clone()),
        ListStep::Append { .. } => None,
    };
    steps.iter().filter_map(key).collect()
}

/// A step of a transaction of which nobody knows whether it happened.
fn unseen(step: ListStep) -> ListStep {
    match step {
        ListStep::Read { key, .. } => ListStep::Read { key, seen: None },
        append @ ListStep::Append { .. } => append,
    }
}
