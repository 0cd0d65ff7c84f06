//! Transactions form no cycle: who wrote before whom, who read what whom wrote, who read before whom wrote, and who was
//! answered before whom was sent agree with one order (Adya, *Weak Consistency: A Generalized Theory*, 1999; Kingsbury and
//! Alvaro, *Elle: Inferring Isolation Anomalies from Experimental Observations*, 2020). The lists tell the first three, and
//! the search is that of the crate `adya`. Unlike [`super::exact`] it knows nothing of revisions and of the truth: it
//! judges by what clients saw alone.
//!
//! The crate bounds its search for the shape of a cycle by a real clock. There is something to search for only in a
//! history that has a cycle, so what it says of one that has none does not depend on that clock.

use std::time::Duration;

use adya::history::{Interner, Mop, Op, OpType, ReadValue, Scalar};
use adya::{History, Opts, Valid, Workload};
use althing_types::Instant;
use bytes::Bytes;

use crate::history::{ListStep, Transaction};

/// How long the crate may search for the shape of a cycle.
const SEARCH: Duration = Duration::from_secs(10);

/// What is wrong with the transactions, if anything: the kinds of anomalies, and the first one explained.
#[must_use]
pub fn check(transactions: &[Transaction]) -> Option<String> {
    if transactions.iter().all(|transaction| transaction.steps.is_empty() || transaction.returned.is_none()) {
        return None;
    }
    let history = translate(transactions);
    let report = adya::check(&history, Workload::ListAppend, &Opts { timeout: SEARCH, ..Opts::default() });
    if report.valid == Valid::True {
        return None;
    }
    let first = report.anomalies.values().flatten().next().map(|anomaly| anomaly.explanation.as_str());
    Some(format!("{}: {}", report.anomaly_types.join(", "), first.unwrap_or_default()))
}

/// The history in the words of the crate: calls and returns in the order of time.
fn translate(transactions: &[Transaction]) -> History {
    let mut moments: Vec<(Instant, Moment, usize)> = Vec::new();
    for (number, transaction) in transactions.iter().enumerate().filter(|(_, known)| !known.steps.is_empty()) {
        moments.push((transaction.invoked, Moment::Call, number));
        match transaction.returned {
            Some(returned) => moments.push((returned, Moment::Return, number)),
            None => moments.push((Instant::FAR_FUTURE, Moment::Loss, number)),
        }
    }
    moments.sort_unstable();
    let mut interner = Interner::default();
    let mut operations = Vec::new();
    for (index, (at, moment, number)) in (0..).zip(moments) {
        let (kind, told) = match moment {
            Moment::Call => (OpType::Invoke, false),
            Moment::Return => (OpType::Ok, true),
            Moment::Loss => (OpType::Info, false),
        };
        let steps = &transactions[number].steps;
        operations.push(Op {
            index,
            kind,
            // A process of its own for each transaction: order within a client follows from real time.
            process: i64::try_from(number).ok(),
            value: steps.iter().map(|step| micro_operation(step, told, &mut interner)).collect(),
            time: i64::try_from(at.since(Instant::ZERO).as_nanos()).ok(),
        });
    }
    History::from_ops(operations, interner)
}

/// What happens to a transaction at a moment. At one moment calls come before returns: who cannot be told apart is
/// concurrent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Moment {
    Call,
    Return,
    Loss,
}

fn micro_operation(step: &ListStep, told: bool, interner: &mut Interner) -> Mop {
    let mut key_of = |key: &Bytes| interner.intern(Scalar::Str(String::from_utf8_lossy(key).into_owned()));
    match step {
        ListStep::Read { key, seen } => {
            let key = key_of(key);
            let value = match seen.as_ref().filter(|_| told) {
                Some(seen) => ReadValue::List(seen.iter().map(|element| intern(*element, interner)).collect()),
                None => ReadValue::Nil,
            };
            Mop::Read { key, value }
        }
        ListStep::Append { key, element } => Mop::Append { key: key_of(key), value: intern(*element, interner) },
    }
}

fn intern(element: u64, interner: &mut Interner) -> u32 {
    interner.intern(Scalar::Int(i64::try_from(element).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::ClientId;

    fn read(key: &'static str, seen: &[u64]) -> ListStep {
        ListStep::Read { key: key.into(), seen: Some(seen.to_vec()) }
    }

    fn append(key: &'static str, element: u64) -> ListStep {
        ListStep::Append { key: key.into(), element }
    }

    fn transaction(sent: u64, returned: u64, steps: Vec<ListStep>) -> Transaction {
        let returned = Some(Instant::from_nanos(returned));
        Transaction { client: ClientId(1), invoked: Instant::from_nanos(sent), returned, steps }
    }

    fn lost(sent: u64, steps: Vec<ListStep>) -> Transaction {
        Transaction { returned: None, ..transaction(sent, 0, steps) }
    }

    fn anomalies(transactions: &[Transaction]) -> String {
        check(transactions).map(|found| found.split(':').next().unwrap_or_default().to_owned()).unwrap_or_default()
    }

    #[test]
    fn a_serial_history_with_losses_is_fine() {
        let history = [
            transaction(1, 2, vec![read("x", &[]), append("x", 1)]),
            transaction(3, 4, vec![read("x", &[1]), append("x", 2), read("y", &[]), append("y", 3)]),
            lost(5, vec![append("x", 4)]),
            lost(6, vec![append("y", 5)]),
            lost(6, Vec::new()),
            transaction(7, 8, vec![read("x", &[1, 2, 4]), read("y", &[3])]),
        ];
        assert_eq!(check(&history), None);
    }

    #[test]
    fn a_history_in_which_nothing_happened_is_fine() {
        assert_eq!(check(&[]), None);
        assert_eq!(check(&[lost(1, vec![append("x", 1)])]), None);
    }

    #[test]
    fn write_skew_is_found() {
        let history = [
            transaction(1, 9, vec![read("x", &[]), read("y", &[]), append("x", 1)]),
            transaction(2, 8, vec![read("x", &[]), read("y", &[]), append("y", 2)]),
            transaction(10, 11, vec![read("x", &[1]), read("y", &[2])]),
        ];
        assert!(anomalies(&history).contains("G2-item"), "{}", anomalies(&history));
    }

    #[test]
    fn a_lost_update_is_found() {
        let history = [
            transaction(1, 9, vec![read("x", &[]), append("x", 1)]),
            transaction(2, 8, vec![read("x", &[]), append("x", 2)]),
            transaction(10, 11, vec![read("x", &[2])]),
        ];
        assert_ne!(anomalies(&history), "");
    }

    #[test]
    fn two_reads_that_saw_two_writes_in_different_orders_are_found() {
        let history = [
            transaction(1, 9, vec![append("x", 1)]),
            transaction(1, 9, vec![append("y", 2)]),
            transaction(2, 8, vec![read("x", &[1]), read("y", &[])]),
            transaction(2, 8, vec![read("x", &[]), read("y", &[2])]),
        ];
        assert!(anomalies(&history).contains("G-nonadjacent-item"), "{}", anomalies(&history));
    }

    #[test]
    fn a_stale_read_is_found_by_real_time() {
        let history = [transaction(1, 2, vec![append("x", 1)]), transaction(3, 4, vec![read("x", &[])])];
        assert!(anomalies(&history).contains("realtime"), "{}", anomalies(&history));
    }

    #[test]
    fn a_read_of_half_a_transaction_is_found() {
        let history = [
            transaction(1, 9, vec![append("x", 1), append("y", 2)]),
            transaction(2, 8, vec![read("x", &[1]), read("y", &[])]),
        ];
        assert_ne!(anomalies(&history), "");
    }
}
