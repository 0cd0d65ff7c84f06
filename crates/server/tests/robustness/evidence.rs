//! All that one run leaves for the judges.

use althing_sim::checker::{Judgement, Truth, judge};
use althing_sim::history::History;
use althing_sim::report::Check;

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
    ///
    /// One of the simulator's is not asked: whether each event of the table comes from a call and each answer fits to the
    /// letter. It needs every call word for word, and only compactions are written down so here.
    pub fn judge(&self) -> Vec<String> {
        let Judgement { broken, undecided } = judge(&self.history, &self.truth);
        let asked = broken.into_iter().filter(|(check, _)| *check != Check::Exactness);
        let mut findings: Vec<_> = asked.map(|(check, detail)| format!("{check:?}: {detail}")).collect();
        if undecided > 0 {
            findings.push("Undecided: the search for a linear order was given up".to_owned());
        }
        findings.extend(bank::check(&self.bank, &self.truth).into_iter().map(|detail| format!("Bank: {detail}")));
        findings
    }
}
