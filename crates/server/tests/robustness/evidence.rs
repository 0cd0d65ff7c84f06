//! All that one run leaves for the judges.

use althing_sim::checker::{Judgement, Truth, judge};
use althing_sim::history::History;

use crate::bank::{self, BankRecord};

/// What clients saw, and what the table holds.
#[derive(Clone)]
pub struct Evidence {
    pub history: History,
    pub bank: Vec<BankRecord>,
    /// From the first revision on.
    pub truth: Truth,
}

impl Evidence {
    /// Everything that is wrong: the simulator's judges, then the bank's.
    pub fn judge(&self) -> Vec<String> {
        let Judgement { broken, undecided } = judge(&self.history, &self.truth);
        let mut findings: Vec<_> = broken.into_iter().map(|(check, detail)| format!("{check:?}: {detail}")).collect();
        if undecided > 0 {
            findings.push("Undecided: the search for a linear order was given up".to_owned());
        }
        findings.extend(bank::check(&self.bank, &self.truth).into_iter().map(|detail| format!("Bank: {detail}")));
        findings
    }
}
