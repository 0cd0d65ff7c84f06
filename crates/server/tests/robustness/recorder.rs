//! The record of one run: one clock for all clients, the history, and how the run stands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant as Moment;

use althing_api::error::Outcome as Effect;
use althing_sim::checker::{Action, Operation, Outcome};
use althing_sim::history::{ClientId, History};
use althing_types::{Instant, Revision};
use bytes::Bytes;
use tonic::Status;

use crate::bank::BankRecord;
use crate::wire;

/// What clients share.
pub struct Recorder {
    start: Moment,
    history: Mutex<History>,
    bank: Mutex<Vec<BankRecord>>,
    loaded: AtomicBool,
    /// The revision that watches are to reach before they end; 0 while there is none.
    goal: AtomicI64,
    revision: AtomicI64,
    clients: AtomicU64,
    values: AtomicU64,
    /// What failed operations were answered with: the text, what that says of them, and how often.
    errors: Mutex<BTreeMap<(String, &'static str), u64>>,
    pub watch_events: AtomicU64,
    pub watch_streams: AtomicU64,
    pub compactions: AtomicU64,
}

impl Recorder {
    pub fn new() -> Self {
        Self {
            start: Moment::now(),
            history: Mutex::default(),
            bank: Mutex::default(),
            loaded: AtomicBool::new(true),
            goal: AtomicI64::new(0),
            revision: AtomicI64::new(0),
            clients: AtomicU64::new(0),
            values: AtomicU64::new(0),
            errors: Mutex::default(),
            watch_events: AtomicU64::new(0),
            watch_streams: AtomicU64::new(0),
            compactions: AtomicU64::new(0),
        }
    }

    /// Time since the run's start.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).expect("a run ends within centuries"))
    }

    /// Whether clients are to go on.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Relaxed)
    }

    /// Ends the load.
    pub fn unload(&self) {
        self.loaded.store(false, Ordering::Relaxed);
    }

    /// The revision that watches are to reach, once it is known.
    pub fn goal(&self) -> Option<Revision> {
        let goal = self.goal.load(Ordering::Relaxed);
        (goal > 0).then_some(Revision(goal))
    }

    pub fn set_goal(&self, goal: Revision) {
        self.goal.store(goal.get(), Ordering::Relaxed);
    }

    /// The greatest revision that an answer has shown.
    pub fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Relaxed))
    }

    pub fn saw_revision(&self, revision: Revision) {
        self.revision.fetch_max(revision.get(), Ordering::Relaxed);
    }

    /// A client that nobody was before.
    pub fn new_client(&self) -> ClientId {
        ClientId(self.clients.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A number that nobody has written before.
    pub fn new_value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many values have been made.
    pub fn values(&self) -> u64 {
        self.values.load(Ordering::Relaxed)
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("no client panics with the history in its hands")
    }

    pub fn bank(&self) -> MutexGuard<'_, Vec<BankRecord>> {
        self.bank.lock().expect("no client panics with the records in its hands")
    }

    /// Counts an error.
    pub fn failed(&self, status: &Status) {
        let effect = match wire::effect_of(status) {
            Effect::NotDone => "not done",
            Effect::MaybeDone => "maybe done",
        };
        let mut errors = self.errors.lock().expect("no client panics with the errors in its hands");
        *errors.entry((status.message().to_owned(), effect)).or_default() += 1;
    }

    /// What failed operations were answered with, most frequent first.
    pub fn errors(&self) -> String {
        let errors = self.errors.lock().expect("no client panics with the errors in its hands");
        let mut errors: Vec<_> = errors.iter().map(|((text, effect), count)| (*count, text, effect)).collect();
        errors.sort_unstable_by_key(|(count, ..)| std::cmp::Reverse(*count));
        let parts = errors.into_iter().map(|(count, text, effect)| format!("{count} \"{text}\" ({effect})"));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Notes an operation that is about to be sent, and its place in the history.
    pub fn begin(&self, client: ClientId, key: &Bytes, action: &Action) -> usize {
        let mut history = self.history();
        let (key, action) = (key.clone(), action.clone());
        let invoked = self.now();
        history.operations.push(Operation { client: client.0, key, action, invoked, outcome: Outcome::Unknown });
        history.operations.len() - 1
    }

    /// Notes what came of it. One that nobody ever tells about stays unknown.
    pub fn end(&self, place: usize, outcome: Outcome) {
        if let Outcome::Done { revision, .. } = outcome {
            self.saw_revision(revision);
        }
        self.history().operations[place].outcome = outcome;
    }
}
