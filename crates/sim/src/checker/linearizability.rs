//! Linearizability per key: some order of the operations agrees with real time and with every answer.
//!
//! The search is Wing and Gong's (*Testing and verifying concurrent objects*, 1993) with Lowe's memory of configurations
//! already seen (*Testing for linearizability*, 2017): calls and returns lie in a linked list; an operation whose call
//! comes before every return may be next; if the register allows it, it is lifted out and the search goes on from the
//! front; at a return nothing more can be next, and the last choice is undone. A configuration is the set of operations
//! lifted out and the register's state; one that was seen before is not entered again. Keys are independent
//! (linearizability is local), so each is searched on its own.
//!
//! An operation with an unknown outcome has a call and no return, and may stay in the list for ever. Lifting it out means
//! that it took effect. An effect that the very next operation neither sees nor depends on could as well be left out, so
//! such a choice is not followed: without this, every write that timed out would double the search.
//!
//! Registers with many clients can take exponential time; after a number of configurations the answer is
//! [`Verdict::Undecided`].

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash};

use althing_types::{Instant, Revision};
use bytes::Bytes;

use super::operation::{Action, Answer, Expected, Operation, Outcome, Version};

/// An operation on one key, and what came of it.
pub trait Step: Clone {
    /// What a key holds.
    type State: Clone + Eq + Hash + Default;
    /// Which key.
    fn key(&self) -> &Bytes;
    /// When it was sent.
    fn invoked(&self) -> Instant;
    /// How it ended.
    fn end(&self) -> End;
    /// What the key holds after it, if it comes next; `None` if it cannot.
    fn after(&self, state: &Self::State) -> Option<Self::State>;
    /// Whether it does and answers the same whatever the key holds.
    fn is_blind(&self) -> bool;
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It was answered.
    Answered(Instant),
    /// It did not happen, and never will.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What the checker found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict<O = Operation> {
    /// An order exists for every key.
    Linearizable,
    /// No order exists for this key.
    Violated {
        /// The key.
        key: Bytes,
        /// How many of its operations fit into the longest order found.
        fitted: usize,
        /// The operation whose return could not be passed there.
        stuck_at: Box<O>,
    },
    /// The search was given up on these keys, and no other key is violated.
    Undecided {
        /// The keys, in order.
        keys: Vec<Bytes>,
    },
}

/// Judges all keys; `max_configurations` bounds the search of each.
#[must_use]
pub fn check<O: Step>(operations: &[O], max_configurations: usize) -> Verdict<O> {
    let mut keys: BTreeMap<&Bytes, Vec<&O>> = BTreeMap::new();
    for operation in operations {
        match operation.end() {
            End::Refused => {}
            End::Answered(_) | End::Unknown => keys.entry(operation.key()).or_default().push(operation),
        }
    }
    let mut undecided = Vec::new();
    for (key, operations) in keys {
        match Search::new(operations).run(max_configurations) {
            Found::Order => {}
            Found::None { fitted, stuck_at } => {
                return Verdict::Violated { key: key.clone(), fitted, stuck_at: Box::new(stuck_at) };
            }
            Found::GaveUp => undecided.push(key.clone()),
        }
    }
    if undecided.is_empty() { Verdict::Linearizable } else { Verdict::Undecided { keys: undecided } }
}

/// The register: what a key holds. The revision of a write that was never answered is not known until it is read.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Register(Option<(Bytes, Option<Revision>)>);

impl Register {
    fn holding(value: &Bytes, revision: Option<Revision>) -> Self {
        Self(Some((value.clone(), revision)))
    }

    fn answered(&self, action: &Action, answer: &Answer, revision: Revision) -> Option<Self> {
        match (action, answer) {
            (Action::Get, Answer::Held(held)) => self.read_as(held.as_ref()),
            (Action::Put(value), Answer::Written) => Some(Self::holding(value, Some(revision))),
            (Action::Delete, Answer::Deleted) => self.0.is_some().then(Self::default),
            (Action::Delete, Answer::NothingToDelete) => self.0.is_none().then(Self::default),
            (Action::CompareAndSwap { expected, new }, Answer::Written) => {
                self.may_be(expected).then(|| Self::holding(new, Some(revision)))
            }
            (Action::CompareAndSwap { expected, .. }, Answer::Held(held)) => {
                let read = self.read_as(held.as_ref())?;
                (!read.may_be(expected)).then_some(read)
            }
            (Action::Get, Answer::Written | Answer::Deleted | Answer::NothingToDelete)
            | (Action::Put(_), Answer::Held(_) | Answer::Deleted | Answer::NothingToDelete)
            | (Action::Delete, Answer::Held(_) | Answer::Written)
            | (Action::CompareAndSwap { .. }, Answer::Deleted | Answer::NothingToDelete) => None,
        }
    }

    /// The register, if a read may have shown `held`; it tells the revision.
    fn read_as(&self, held: Option<&Version>) -> Option<Self> {
        match (&self.0, held) {
            (None, None) => Some(Self::default()),
            (Some((value, revision)), Some(version))
                if *value == version.value && revision.is_none_or(|revision| revision == version.revision) =>
            {
                Some(Self::holding(value, Some(version.revision)))
            }
            (None, Some(_)) | (Some(_), None | Some(_)) => None,
        }
    }

    fn may_be(&self, expected: &Expected) -> bool {
        match (&self.0, expected) {
            (None, Expected::Absent) => true,
            (Some((value, _)), Expected::Value(wanted)) => value == wanted,
            (Some((_, revision)), Expected::ModRevision(wanted)) => revision.is_none_or(|revision| revision == *wanted),
            (None, Expected::Value(_) | Expected::ModRevision(_)) | (Some(_), Expected::Absent) => false,
        }
    }
}

impl Step for Operation {
    type State = Register;

    fn key(&self) -> &Bytes {
        &self.key
    }

    fn invoked(&self) -> Instant {
        self.invoked
    }

    fn end(&self) -> End {
        match self.outcome {
            Outcome::Done { returned, .. } => End::Answered(returned),
            Outcome::Refused => End::Refused,
            Outcome::Unknown => End::Unknown,
        }
    }

    fn after(&self, register: &Register) -> Option<Register> {
        match (&self.action, &self.outcome) {
            (_, Outcome::Refused) => None,
            (action, Outcome::Done { revision, answer, .. }) => register.answered(action, answer, *revision),
            (Action::Get, Outcome::Unknown) => None,
            (Action::Put(value), Outcome::Unknown) => Some(Register::holding(value, None)),
            (Action::Delete, Outcome::Unknown) => register.0.is_some().then(Register::default),
            (Action::CompareAndSwap { expected, new }, Outcome::Unknown) => {
                register.may_be(expected).then(|| Register::holding(new, None))
            }
        }
    }

    fn is_blind(&self) -> bool {
        match self.action {
            Action::Put(_) => true,
            Action::Get | Action::Delete | Action::CompareAndSwap { .. } => false,
        }
    }
}

/// Whether the last effect must be seen by the next operation, because nobody was told of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Owed {
    Nothing,
    Witness,
}

impl Owed {
    fn after(operation: &impl Step) -> Self {
        match operation.end() {
            End::Unknown => Self::Witness,
            End::Answered(_) | End::Refused => Self::Nothing,
        }
    }

    /// Whether `operation` may follow: a blind write is no witness.
    fn allows(self, operation: &impl Step) -> bool {
        match self {
            Self::Witness => !operation.is_blind(),
            Self::Nothing => true,
        }
    }
}

/// Where the search stands: which operations are lifted out, and what the register holds then.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Configuration<S> {
    lifted: Vec<u64>,
    state: S,
    owed: Owed,
}

/// An entry of the list: the call or the return of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entry {
    Call { operation: usize, returns: Option<usize> },
    Return { operation: usize },
}

enum Found<O> {
    Order,
    None { fitted: usize, stuck_at: O },
    GaveUp,
}

/// The list of one key's calls and returns. Place 0 is its head; `next` of the last is 0.
struct Search<'a, O> {
    operations: Vec<&'a O>,
    entries: Vec<Option<Entry>>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Operations with an answer that are not lifted out.
    unplaced: usize,
}

impl<'a, O: Step> Search<'a, O> {
    fn new(operations: Vec<&'a O>) -> Self {
        let mut events: Vec<(Instant, bool, usize)> = Vec::new();
        for (number, operation) in operations.iter().enumerate() {
            events.push((operation.invoked(), false, number));
            if let End::Answered(returned) = operation.end() {
                // At one instant calls come before returns: who cannot be told apart is concurrent.
                events.push((returned, true, number));
            }
        }
        events.sort_unstable();
        let mut return_of = vec![None; operations.len()];
        for (place, (_, is_return, operation)) in events.iter().enumerate() {
            if *is_return {
                return_of[*operation] = Some(place + 1);
            }
        }
        let entry = |(_, is_return, operation): &(Instant, bool, usize)| {
            let operation = *operation;
            Some(if *is_return {
                Entry::Return { operation }
            } else {
                Entry::Call { operation, returns: return_of[operation] }
            })
        };
        let entries: Vec<Option<Entry>> = std::iter::once(None).chain(events.iter().map(entry)).collect();
        let length = entries.len();
        Self {
            unplaced: return_of.iter().flatten().count(),
            operations,
            entries,
            next: (0..length).map(|place| (place + 1) % length).collect(),
            previous: (0..length).map(|place| (place + length - 1) % length).collect(),
        }
    }

    fn run(mut self, max_configurations: usize) -> Found<O> {
        let words = self.operations.len().div_ceil(64);
        let mut here = Configuration { lifted: vec![0; words], state: O::State::default(), owed: Owed::Nothing };
        let mut seen: HashSet<Configuration<O::State>, BuildHasherDefault<DefaultHasher>> = HashSet::default();
        let mut choices: Vec<(usize, Configuration<O::State>)> = Vec::new();
        let mut best = (0, None);
        let mut place = self.next[0];
        while self.unplaced > 0 {
            match self.entries[place] {
                Some(Entry::Call { operation, returns }) => match self.choose(&here, operation) {
                    Some(there) if seen.insert(there.clone()) => {
                        if seen.len() > max_configurations {
                            return Found::GaveUp;
                        }
                        choices.push((place, std::mem::replace(&mut here, there)));
                        self.lift(place, returns);
                        place = self.next[0];
                    }
                    Some(_) | None => place = self.next[place],
                },
                end @ (Some(Entry::Return { .. }) | None) => {
                    if choices.len() >= best.0 {
                        best = (choices.len(), end);
                    }
                    let Some((last, before)) = choices.pop() else { return self.stuck(best) };
                    here = before;
                    self.put_back(last);
                    place = self.next[last];
                }
            }
        }
        Found::Order
    }

    fn choose(&self, here: &Configuration<O::State>, operation: usize) -> Option<Configuration<O::State>> {
        let chosen = self.operations[operation];
        if !here.owed.allows(chosen) {
            return None;
        }
        let state = chosen.after(&here.state)?;
        let mut lifted = here.lifted.clone();
        lifted[operation / 64] |= 1 << (operation % 64);
        Some(Configuration { lifted, state, owed: Owed::after(chosen) })
    }

    fn stuck(&self, (fitted, end): (usize, Option<Entry>)) -> Found<O> {
        let number = match end {
            Some(Entry::Return { operation } | Entry::Call { operation, .. }) => operation,
            None => 0,
        };
        Found::None { fitted, stuck_at: self.operations[number].clone() }
    }

    fn lift(&mut self, call: usize, returns: Option<usize>) {
        self.unlink(call);
        if let Some(returns) = returns {
            self.unlink(returns);
            self.unplaced -= 1;
        }
    }

    fn put_back(&mut self, call: usize) {
        if let Some(Entry::Call { returns: Some(returns), .. }) = self.entries[call] {
            self.relink(returns);
            self.unplaced += 1;
        }
        self.relink(call);
    }

    fn unlink(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    /// Undoes [`Search::unlink`]; what was taken out last is put back first.
    fn relink(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = place;
        self.previous[after] = place;
    }
}

#[cfg(test)]
mod tests;
