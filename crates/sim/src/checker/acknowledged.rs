//! No acknowledged write is lost, and no refused write happened.
//!
//! In the end every write that was acknowledged lies in the table's history, at the revision in its answer, with its key
//! and its value. A write that was refused lies nowhere in it; for this, every value that is ever written is
//! written by one operation only. An operation with an unknown outcome may be there or not, but at most once.

use std::collections::BTreeMap;
use std::fmt;

use althing_api::kv::{Event, EventKind};
use althing_types::Revision;
use bytes::Bytes;

use super::operation::{Action, Operation, Outcome};
use super::truth::Truth;

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation<'a> {
    /// The write was acknowledged, and the history does not have it.
    Lost {
        /// The write.
        write: &'a Operation,
        /// What the history has at its revision.
        found: &'a [Event],
    },
    /// The write was refused, and the history has it.
    RefusedAndDone {
        /// The write.
        write: &'a Operation,
        /// Where.
        at: Revision,
    },
    /// The write was sent once, and the history has it more than once.
    DoneTwice {
        /// The write.
        write: &'a Operation,
        /// Where.
        at: Vec<Revision>,
    },
}

impl fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { write, found } => write!(f, "{write:?} is lost; its revision holds {found:?}"),
            Self::RefusedAndDone { write, at } => write!(f, "{write:?} was refused and happened at {at}"),
            Self::DoneTwice { write, at } => write!(f, "{write:?} happened at each of {at:?}"),
        }
    }
}

/// Every promise that was broken. What lies below the compacted beginning of the history cannot be judged.
#[must_use]
pub fn check<'a>(operations: &'a [Operation], truth: &'a Truth) -> Vec<Violation<'a>> {
    let mut written: BTreeMap<(&Bytes, &Bytes), Vec<Revision>> = BTreeMap::new();
    for event in truth.since(truth.first()).filter(|event| event.kind == EventKind::Put) {
        written.entry((&event.kv.key, &event.kv.value)).or_default().push(event.kv.mod_revision);
    }
    operations.iter().filter_map(|operation| judge(operation, truth, &written)).collect()
}

fn judge<'a>(
    write: &'a Operation,
    truth: &'a Truth,
    written: &BTreeMap<(&Bytes, &Bytes), Vec<Revision>>,
) -> Option<Violation<'a>> {
    if let Some(revision) = write.acknowledged_revision()
        && revision >= truth.first()
    {
        let found = truth.at(revision);
        if !found.iter().any(|event| is_of(event, write)) {
            return Some(Violation::Lost { write, found });
        }
    }
    let at = written.get(&(&write.key, new_value(&write.action)?))?;
    match &write.outcome {
        Outcome::Refused => at.first().map(|at| Violation::RefusedAndDone { write, at: *at }),
        Outcome::Done { .. } | Outcome::Unknown => {
            (at.len() > 1).then(|| Violation::DoneTwice { write, at: at.clone() })
        }
    }
}

const fn new_value(action: &Action) -> Option<&Bytes> {
    match action {
        Action::Put(value) | Action::CompareAndSwap { new: value, .. } => Some(value),
        Action::Get | Action::Delete => None,
    }
}

fn is_of(event: &Event, write: &Operation) -> bool {
    let fits = match (event.kind, new_value(&write.action)) {
        (EventKind::Put, Some(value)) => event.kv.value == *value,
        (EventKind::Delete, None) => true,
        (EventKind::Put, None) | (EventKind::Delete, Some(_)) => false,
    };
    fits && event.kv.key == write.key
}

#[cfg(test)]
mod tests {
    use althing_api::kv::KeyValue;
    use althing_types::Instant;

    use super::super::operation::{Answer, Expected};
    use super::*;

    fn event(revision: i64, kind: EventKind, key: &'static str, value: &'static str) -> (Revision, Vec<Event>) {
        let mod_revision = Revision(revision);
        let kv = KeyValue { key: key.into(), value: value.into(), mod_revision, ..KeyValue::default() };
        (mod_revision, vec![Event { kind, kv, prev_kv: None }])
    }

    fn truth() -> Truth {
        let swap = event(4, EventKind::Put, "b", "v2");
        Truth::new(Revision(2), [event(2, EventKind::Put, "a", "v1"), event(3, EventKind::Delete, "a", ""), swap])
    }

    fn write(key: &'static str, action: Action, outcome: Outcome) -> Operation {
        Operation { client: 1, key: key.into(), action, invoked: Instant::ZERO, outcome }
    }

    fn done(revision: i64, answer: Answer) -> Outcome {
        Outcome::Done { returned: Instant::ZERO, revision: Revision(revision), answer }
    }

    fn swap(new: &'static str) -> Action {
        Action::CompareAndSwap { expected: Expected::Absent, new: new.into() }
    }

    #[test]
    fn writes_that_are_in_the_history_are_fine() {
        let history = [
            write("a", Action::Put("v1".into()), done(2, Answer::Written)),
            write("a", Action::Delete, done(3, Answer::Deleted)),
            write("a", Action::Delete, done(3, Answer::NothingToDelete)),
            write("b", swap("v2"), Outcome::Unknown),
            write("b", swap("v3"), done(4, Answer::Held(None))),
            write("b", Action::Put("v4".into()), Outcome::Unknown),
            write("b", Action::Put("v5".into()), Outcome::Refused),
            write("z", Action::Put("old".into()), done(1, Answer::Written)),
        ];
        assert_eq!(check(&history, &truth()), []);
    }

    #[test]
    fn a_lost_write_is_found() {
        let truth = truth();
        for (key, action, revision, answer) in [
            ("a", Action::Put("v9".into()), 2, Answer::Written),
            ("b", Action::Put("v1".into()), 2, Answer::Written),
            ("a", Action::Put("v1".into()), 9, Answer::Written),
            ("a", Action::Delete, 4, Answer::Deleted),
            ("a", swap("v2"), 4, Answer::Written),
        ] {
            let history = [write(key, action, done(revision, answer))];
            let found = truth.at(Revision(revision));
            assert_eq!(check(&history, &truth), [Violation::Lost { write: &history[0], found }]);
        }
    }

    #[test]
    fn a_refused_write_that_happened_is_found() {
        let history = [write("a", Action::Put("v1".into()), Outcome::Refused)];
        assert_eq!(check(&history, &truth()), [Violation::RefusedAndDone { write: &history[0], at: Revision(2) }]);
    }

    #[test]
    fn a_write_that_happened_twice_is_found() {
        let twice = [event(2, EventKind::Put, "a", "v1"), event(7, EventKind::Put, "a", "v1")];
        let history = [write("a", Action::Put("v1".into()), done(2, Answer::Written))];
        let truth = Truth::new(Revision(2), twice);
        let at = vec![Revision(2), Revision(7)];
        assert_eq!(check(&history, &truth), [Violation::DoneTwice { write: &history[0], at }]);
    }
}
