//! All checkers together: one history, one list of what is wrong with it.

use super::linearizability::Verdict;
use super::{Truth, acknowledged, leases, linearizability, revisions, watch};
use crate::history::History;
use crate::report::Check;

/// Configurations that the search for a linear order of one register may visit.
const MAX_CONFIGURATIONS: usize = 2_000_000;

/// What the checkers say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Judgement {
    /// Promises that were broken, and how.
    pub broken: Vec<(Check, String)>,
    /// How often a checker could not tell in the time that it has.
    pub undecided: u64,
}

/// Judges a history against all that was ever written.
#[must_use]
pub fn judge(history: &History, truth: &Truth) -> Judgement {
    let mut judgement = Judgement::default();
    let operations = &history.operations;
    match linearizability::check(operations, MAX_CONFIGURATIONS) {
        Verdict::Linearizable => {}
        Verdict::Undecided { .. } => judgement.undecided += 1,
        violated @ Verdict::Violated { .. } => judgement.find(Check::Linearizability, format!("{violated:?}")),
    }
    for violation in revisions::check(operations) {
        judgement.find(Check::Revisions, violation.to_string());
    }
    for violation in acknowledged::check(operations, truth) {
        judgement.find(Check::LostWrites, violation.to_string());
    }
    for (number, record) in history.watches.iter().enumerate() {
        if let Err(violation) = watch::check(record, truth) {
            judgement.find(Check::Watches, format!("watch {number} from revision {}: {violation}", record.from));
        }
    }
    for early in leases::check(&history.leases, &history.jumps) {
        judgement.find(Check::Leases, early);
    }
    judgement
}

impl Judgement {
    fn find(&mut self, check: Check, detail: String) {
        self.broken.push((check, detail));
    }
}
