//! The table's revision never goes back: an answer whose request was sent after another answer had come shows no lower
//! revision; a write is given a higher one than every answer before it, and no two writes are given the same.
//!
//! This holds for operations of all keys together, since a table has one revision. It is judged over linearizable
//! operations; a serializable read may rightly be behind.

use std::collections::BTreeMap;
use std::fmt;

use althing_types::{Instant, Revision};

use super::operation::{Operation, Outcome};

/// Two answers that contradict each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation<'a> {
    /// The later request was answered with a revision that is too low.
    WentBack {
        /// Answered before `later` was sent.
        earlier: &'a Operation,
        /// The one with the lower revision, or, if it is a write, with the same.
        later: &'a Operation,
    },
    /// Two writes with one revision.
    GivenTwice {
        /// One.
        first: &'a Operation,
        /// The other.
        second: &'a Operation,
    },
}

impl fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WentBack { earlier, later } => write!(f, "the revision went back from {earlier:?} to {later:?}"),
            Self::GivenTwice { first, second } => write!(f, "one revision for {first:?} and {second:?}"),
        }
    }
}

/// Every contradiction, each later operation at most once.
#[must_use]
pub fn check(operations: &[Operation]) -> Vec<Violation<'_>> {
    let mut violations = went_back(operations);
    let mut writes: BTreeMap<Revision, &Operation> = BTreeMap::new();
    for operation in operations {
        if let Some(revision) = operation.acknowledged_revision()
            && let Some(first) = writes.insert(revision, operation)
        {
            violations.push(Violation::GivenTwice { first, second: operation });
        }
    }
    violations
}

fn went_back(operations: &[Operation]) -> Vec<Violation<'_>> {
    let mut by_invocation: Vec<(Instant, Revision, &Operation)> = Vec::new();
    let mut by_return: Vec<(Instant, Revision, &Operation)> = Vec::new();
    for operation in operations {
        if let Outcome::Done { returned, revision, .. } = operation.outcome {
            by_invocation.push((operation.invoked, revision, operation));
            by_return.push((returned, revision, operation));
        }
    }
    by_invocation.sort_by_key(|(invoked, ..)| *invoked);
    by_return.sort_by_key(|(returned, ..)| *returned);
    let mut returned = by_return.into_iter().peekable();
    let mut highest: Option<(Revision, &Operation)> = None;
    let mut violations = Vec::new();
    for (invoked, revision, later) in by_invocation {
        while let Some((_, revision, earlier)) = returned.next_if(|(at, ..)| *at < invoked) {
            if highest.is_none_or(|(known, _)| revision > known) {
                highest = Some((revision, earlier));
            }
        }
        let least = |known: Revision| if later.acknowledged_revision().is_some() { known.next() } else { known };
        if let Some((known, earlier)) = highest
            && revision < least(known)
        {
            violations.push(Violation::WentBack { earlier, later });
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::operation::{Action, Answer};
    use super::*;

    fn done(sent: u64, returned: u64, revision: i64, action: Action, answer: Answer) -> Operation {
        let returned = Instant::from_nanos(returned);
        let outcome = Outcome::Done { returned, revision: Revision(revision), answer };
        Operation { client: 1, key: "k".into(), action, invoked: Instant::from_nanos(sent), outcome }
    }

    fn read(sent: u64, returned: u64, revision: i64) -> Operation {
        done(sent, returned, revision, Action::Get, Answer::Held(None))
    }

    fn write(sent: u64, returned: u64, revision: i64) -> Operation {
        done(sent, returned, revision, Action::Put("v".into()), Answer::Written)
    }

    #[test]
    fn revisions_that_rise_with_time_are_fine() {
        let history = [write(1, 2, 2), read(3, 4, 2), read(3, 9, 2), write(5, 8, 3), read(10, 11, 3)];
        assert_eq!(check(&history), []);
    }

    #[test]
    fn concurrent_answers_may_come_in_any_order() {
        assert_eq!(check(&[write(1, 9, 5), read(2, 8, 3), write(3, 9, 4)]), []);
    }

    #[test]
    fn a_read_below_an_earlier_answer_is_found_even_behind_a_lower_one() {
        let history = [write(1, 2, 7), read(3, 4, 7), read(5, 6, 6)];
        let expected = Violation::WentBack { earlier: &history[0], later: &history[2] };
        assert_eq!(check(&history), [expected]);
    }

    #[test]
    fn a_write_must_rise_above_what_was_seen_before_it() {
        let history = [read(1, 2, 7), write(3, 4, 7)];
        assert_eq!(check(&history), [Violation::WentBack { earlier: &history[0], later: &history[1] }]);
    }

    #[test]
    fn one_revision_for_two_writes_is_found() {
        let history = [write(1, 9, 7), write(2, 8, 7)];
        assert_eq!(check(&history), [Violation::GivenTwice { first: &history[0], second: &history[1] }]);
    }
}
