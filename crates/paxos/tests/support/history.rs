//! Whether what clients saw of one register can be put into an order (Wing and Gong, *Testing and Verifying Concurrent Objects*,
//! 1993): each operation takes effect once between its call and its return, and what it returned is what the order says.

use std::collections::BTreeSet;

/// What a client wants of the register; a register holds a number or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    Read,
    /// Adds to the number, or to 0 if there is none. Never the same number twice in a history.
    Add(u64),
    Cas {
        expected: Option<u64>,
        new: u64,
    },
    Delete,
}

/// What a client was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Return {
    /// The value after it, and whether it was changed.
    Value(Option<u64>, Applied),
    MaybeDone,
    NotDone,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    Yes,
    No,
}

/// One operation, with the moments of its call and its return.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub call: Call,
    pub called: u64,
    pub returned: Option<(u64, Return)>,
}

impl Call {
    pub fn apply(self, value: Option<u64>) -> (Option<u64>, Applied) {
        match self {
            Self::Read => (value, Applied::No),
            Self::Add(number) => (Some(value.unwrap_or(0) + number), Applied::Yes),
            Self::Cas { expected, new } if value == expected => (Some(new), Applied::Yes),
            Self::Cas { .. } => (value, Applied::No),
            Self::Delete if value.is_none() => (None, Applied::No),
            Self::Delete => (None, Applied::Yes),
        }
    }
}

/// Whether there is such an order. Operations that may have been done are in it or not; those that were not done are not.
pub fn is_linearizable(history: &[Operation]) -> bool {
    let is_possible = |operation: &&Operation| !matches!(operation.returned, Some((_, Return::NotDone)));
    let mut operations: Vec<Operation> = history.iter().filter(is_possible).copied().collect();
    operations.retain(|operation| certain(operation).is_some() || operation.call != Call::Read);
    assert!(operations.len() <= 128, "a history for this search is short");
    search(&operations, 0, None, &mut BTreeSet::new())
}

fn certain(operation: &Operation) -> Option<(u64, Option<u64>, Applied)> {
    match operation.returned {
        Some((at, Return::Value(value, applied))) => Some((at, value, applied)),
        Some((_, Return::MaybeDone | Return::NotDone)) | None => None,
    }
}

fn search(all: &[Operation], done: u128, value: Option<u64>, seen: &mut BTreeSet<(u128, Option<u64>)>) -> bool {
    let left = || (0..all.len()).filter(|index| done >> index & 1 == 0);
    let Some(first_return) = left().filter_map(|index| Some(certain(&all[index])?.0)).min() else { return true };
    if !seen.insert((done, value)) {
        return false;
    }
    left().filter(|index| all[*index].called < first_return).any(|index| {
        let (after, applied) = all[index].call.apply(value);
        // One that may have been done and would change nothing here is as good as one that was not.
        let fits = match certain(&all[index]) {
            Some((_, told, was)) => told == after && was == applied,
            None => applied == Applied::Yes,
        };
        fits && search(all, done | 1 << index, after, seen)
    })
}

#[test]
fn histories_that_cannot_be_ordered_are_refused() {
    let operation = |call, called, returned, value, applied| Operation {
        call,
        called,
        returned: Some((returned, Return::Value(value, applied))),
    };
    let add = operation(Call::Add(5), 0, 1, Some(5), Applied::Yes);
    let stale = operation(Call::Read, 2, 3, None, Applied::No);
    let early = Operation { called: 0, ..stale };
    assert!(is_linearizable(&[add, early]), "they overlap");
    assert!(!is_linearizable(&[add, stale]), "a stale read");
    assert!(!is_linearizable(&[add, operation(Call::Read, 2, 3, Some(10), Applied::No)]), "applied twice");
    let lost = Operation { call: Call::Add(7), called: 0, returned: Some((1, Return::MaybeDone)) };
    assert!(is_linearizable(&[
        lost,
        operation(Call::Read, 2, 3, None, Applied::No),
        operation(Call::Read, 4, 5, Some(7), Applied::No)
    ]));
    let refused = Operation { returned: Some((1, Return::NotDone)), ..lost };
    assert!(!is_linearizable(&[refused, operation(Call::Read, 4, 5, Some(7), Applied::No)]));
}
