//! Revisions tell the truth about time.
//!
//! Every answer carries the table's revision when it was made. All operations here are linearizable, so:
//!
//! 1. an answer's revision is at least that of every answer that was there before its operation was sent;
//! 2. a write's revision is above all of those, because it is its own;
//! 3. no two writes have the same revision;
//! 4. a value is always shown with the revision of the write that wrote it.

use std::collections::BTreeMap;

use althing_types::{Instant, Revision};
use bytes::Bytes;

use crate::history::{Action, Operation, Outcome, Presence, Seen, Version};

/// Descriptions of all that contradicts the rules.
#[must_use]
pub fn check(operations: &[Operation]) -> Vec<String> {
    let mut broken = order(operations);
    broken.extend(unique(operations));
    broken.extend(values(operations));
    broken
}

/// The revision of an answer, when it was there, and whether it is the operation's own.
fn answered(operation: &Operation) -> Option<(Instant, Revision, Own)> {
    match &operation.outcome {
        Outcome::Done { returned, seen, revision } => {
            let own = match seen {
                Seen::Written | Seen::Deleted(Presence::Present) => Own::Yes,
                Seen::Value(_) | Seen::Deleted(Presence::Absent) => Own::No,
            };
            Some((*returned, *revision, own))
        }
        Outcome::Failed { .. } | Outcome::Unknown => None,
    }
}

/// Whether a revision was made by the operation that was answered with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Own {
    Yes,
    No,
}

/// Rules 1 and 2: walks through invocations and answers in the order of time.
fn order(operations: &[Operation]) -> Vec<String> {
    let mut answers: Vec<(Instant, Revision)> =
        operations.iter().filter_map(answered).map(|(at, revision, _)| (at, revision)).collect();
    answers.sort_unstable();
    let mut floor = Revision(0);
    let mut next = 0;
    let mut broken = Vec::new();
    // Operations are recorded in the order of their invocation.
    for operation in operations {
        while next < answers.len() && answers[next].0 < operation.invoked {
            floor = floor.max(answers[next].1);
            next += 1;
        }
        let Some((_, revision, own)) = answered(operation) else { continue };
        let least = if own == Own::Yes { floor.next() } else { floor };
        if revision < least {
            broken.push(format!("revision {floor} was answered before this was sent: {operation:?}"));
        }
    }
    broken
}

/// Rule 3.
fn unique(operations: &[Operation]) -> Vec<String> {
    let mut writers: BTreeMap<Revision, &Operation> = BTreeMap::new();
    let mut broken = Vec::new();
    for operation in operations {
        if let Some((_, revision, Own::Yes)) = answered(operation)
            && let Some(other) = writers.insert(revision, operation)
        {
            broken.push(format!("two writes have one revision: {other:?} and {operation:?}"));
        }
    }
    broken
}

/// Rule 4.
fn values(operations: &[Operation]) -> Vec<String> {
    let mut written: BTreeMap<&Bytes, Revision> = BTreeMap::new();
    let mut broken = Vec::new();
    for operation in operations {
        let Outcome::Done { seen, revision, .. } = &operation.outcome else { continue };
        let shown = match (seen, &operation.action) {
            (Seen::Value(Some(Version { value, revision })), _) => (value, *revision),
            (Seen::Written, Action::Put(value) | Action::CompareAndSwap { new: value, .. }) => (value, *revision),
            _ => continue,
        };
        let first = *written.entry(shown.0).or_insert(shown.1);
        if first != shown.1 {
            broken.push(format!("value {:?} is shown with revisions {first} and {}: {operation:?}", shown.0, shown.1));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::ClientId;
    use althing_types::{Duration, NodeId};

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn operation(action: Action, invoked: u64, returned: u64, seen: Seen, revision: i64) -> Operation {
        Operation {
            client: ClientId(1),
            node: NodeId(1),
            key: Bytes::from_static(b"k"),
            action,
            invoked: at(invoked),
            outcome: Outcome::Done { returned: at(returned), seen, revision: Revision(revision) },
        }
    }

    fn put(value: &'static str, invoked: u64, returned: u64, revision: i64) -> Operation {
        operation(Action::Put(Bytes::from_static(value.as_bytes())), invoked, returned, Seen::Written, revision)
    }

    fn get(version: Option<(&'static str, i64)>, invoked: u64, returned: u64, revision: i64) -> Operation {
        let version = version.map(|(value, revision)| Version {
            value: Bytes::from_static(value.as_bytes()),
            revision: Revision(revision),
        });
        operation(Action::Get, invoked, returned, Seen::Value(version), revision)
    }

    #[test]
    fn a_history_in_order_is_fine() {
        let history = [put("a", 0, 10, 2), get(Some(("a", 2)), 11, 12, 2), put("b", 11, 20, 3)];
        assert_eq!(check(&history), Vec::<String>::new());
    }

    #[test]
    fn concurrent_answers_may_carry_any_order() {
        assert_eq!(check(&[put("a", 0, 10, 3), put("b", 5, 8, 2)]), Vec::<String>::new());
    }

    #[test]
    fn a_stale_read_is_noticed_by_its_revision() {
        let history = [put("a", 0, 10, 2), put("b", 11, 20, 3), get(Some(("a", 2)), 21, 22, 2)];
        assert_eq!(check(&history).len(), 1);
    }

    #[test]
    fn a_write_at_a_revision_that_was_answered_before_is_noticed() {
        assert_eq!(check(&[put("a", 0, 10, 2), get(Some(("a", 2)), 11, 12, 3), put("b", 13, 14, 3)]).len(), 1);
    }

    #[test]
    fn two_writes_of_one_revision_are_noticed() {
        assert_eq!(check(&[put("a", 0, 10, 2), put("b", 5, 8, 2)]).len(), 1);
    }

    #[test]
    fn a_value_with_two_revisions_is_noticed() {
        assert_eq!(check(&[put("a", 0, 10, 2), get(Some(("a", 3)), 11, 12, 3)]).len(), 1);
    }
}
