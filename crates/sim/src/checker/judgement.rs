//! All checkers together: one history, one list of what is wrong with it.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::linearizability::Verdict;
use super::{
    Operation, Table, Truth, acknowledged, bank, caches, cycles, exact, fencing, leases, linearizability, refusals,
    revisions, updates, watch,
};
use crate::history::History;
use crate::report::Check;

/// Configurations that the search for a linear order of one register may visit.
pub const MAX_CONFIGURATIONS: usize = 2_000_000;

/// A run fails if the search was given up on more than so many of a hundred registers. Of the 1,920
/// registers of the 240 seeds that this was tried with, it was given up on none.
pub const MAX_UNDECIDED_PERCENT: usize = 10;

/// What the checkers say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Judgement {
    /// Promises that were broken, and how.
    pub broken: Vec<(Check, String)>,
    /// Registers on which a checker could not tell in the time that it has.
    pub undecided: u64,
}

/// Judges a history against all that was ever written.
#[must_use]
pub fn judge(history: &History, truth: &Truth) -> Judgement {
    let mut judgement = Judgement::default();
    let table = Table::new(truth);
    judgement.search(&history.operations);
    judgement.find_all(Check::Revisions, revisions::check(&history.operations));
    judgement.find_all(Check::LostWrites, acknowledged::check(&history.operations, truth));
    judgement.find_all(Check::Exactness, exact::check(&history.calls, truth, &table));
    judgement.find_all(Check::Refusals, refusals::check(&history.calls, &history.jumps));
    judgement.find_all(Check::Cycles, cycles::check(&history.transactions));
    judgement.find_all(Check::Bank, bank::check(&history.calls, truth, bank::total(truth)));
    judgement.find_all(Check::Fencing, fencing::check(history, truth, &table));
    judgement.find_all(Check::Caches, caches::check(&history.caches, &table));
    let lost = updates::check(truth).into_iter().map(|event| format!("{event:?} does not count on"));
    judgement.find_all(Check::LostUpdates, lost);
    let compactions = watch::compactions(&history.calls);
    for (number, record) in history.watches.iter().enumerate() {
        if let Err(violation) = watch::check(record, truth, &compactions) {
            judgement.find(Check::Watches, format!("watch {number} from revision {}: {violation}", record.from));
        }
    }
    judgement.find_all(Check::Leases, leases::check(&history.leases, &history.jumps));
    judgement
}

impl Judgement {
    fn search(&mut self, operations: &[Operation]) {
        match linearizability::check(operations, MAX_CONFIGURATIONS) {
            Verdict::Linearizable => {}
            Verdict::Undecided { keys } => {
                self.undecided += keys.len() as u64;
                let registers = operations.iter().map(|operation| &operation.key).collect::<BTreeSet<_>>().len();
                if keys.len() * 100 > registers * MAX_UNDECIDED_PERCENT {
                    self.find(
                        Check::Undecided,
                        format!("the search was given up on {keys:?} of {registers} registers"),
                    );
                }
            }
            violated @ Verdict::Violated { .. } => self.find(Check::Linearizability, format!("{violated:?}")),
        }
    }

    fn find_all(&mut self, check: Check, found: impl IntoIterator<Item: Display>) {
        self.broken.extend(found.into_iter().map(|found| (check, found.to_string())));
    }

    fn find(&mut self, check: Check, detail: String) {
        self.broken.push((check, detail));
    }
}
