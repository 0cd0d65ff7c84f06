//! Judges what clients saw.
//!
//! * [`revisions`]: the revisions in answers agree with the order of the answers, and with each other;
//! * [`leases`]: no key goes before its lease may end.

pub mod leases;
pub mod revisions;

use crate::history::History;
use crate::report::Check;

/// What the judges say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Judgement {
    /// Promises that were broken, and how.
    pub broken: Vec<(Check, String)>,
    /// How often a judge could not tell in the time that it has.
    pub undecided: u64,
}

/// Judges a history.
#[must_use]
pub fn judge(history: &History) -> Judgement {
    let mut judgement = Judgement::default();
    judgement.broken.extend(revisions::check(&history.operations).into_iter().map(|text| (Check::Revisions, text)));
    judgement.broken.extend(leases::check(&history.leases).into_iter().map(|text| (Check::Leases, text)));
    judgement
}
