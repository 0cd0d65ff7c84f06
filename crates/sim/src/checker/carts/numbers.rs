//! Counters: every acknowledged increment counts once, one of which nobody knows counts once or not at all.

use althing_types::Instant;

use super::{Action, Final, Losses, Operation, Outcome, Shown, Violation, meet};

/// Every promise about a counter that was broken.
#[must_use]
pub fn check<'a>(operations: &[&'a Operation], end: &Final, losses: Losses) -> Vec<Violation<'a>> {
    let Some(key) = operations.first().map(|operation| operation.key.clone()) else { return Vec::new() };
    let settled = settled(operations);
    let mut found = Vec::new();
    let mut judge = |read: Option<&'a Operation>, stands_at: i64| {
        let least = settled
            .map_or(0, |settled| sum(operations, |count| counts_for(count, read, losses) && count.invoked > settled));
        let most =
            sum(operations, |count| !count.is_refused() && read.is_none_or(|read| read.may_follow(count.invoked)));
        if !(least..=most).contains(&stands_at) {
            found.push(Violation::Miscounted { key: key.clone(), read, stands_at, least, most });
        }
    };
    judge(None, end.number.unwrap_or_default());
    for read in operations.iter().filter(|operation| operation.action == Action::Read) {
        if let Some(Shown::Number(number)) = read.shown() {
            judge(Some(read), *number);
        }
    }
    found
}

/// Whether an increment must be in what a read shows, or, without one, in what is there in the end.
fn counts_for(count: &Operation, read: Option<&Operation>, losses: Losses) -> bool {
    let Outcome::Done { returned, .. } = count.outcome else { return false };
    losses.spare(count.level) && read.is_none_or(|read| read.invoked > returned && meet(read.level, count.level))
}

fn sum(operations: &[&Operation], counts: impl Fn(&Operation) -> bool) -> i64 {
    let by = |operation: &&&Operation| match operation.action {
        Action::Count(by) if counts(operation) => Some(by),
        _ => None,
    };
    operations.iter().filter_map(|operation| by(&operation)).sum()
}

/// When the last deletion was over: what was added later is there. `None` if nobody knows.
fn settled(operations: &[&Operation]) -> Option<Instant> {
    let deletions = operations.iter().filter(|operation| operation.action == Action::Delete && !operation.is_refused());
    deletions.map(|deletion| deletion.done()).try_fold(Instant::ZERO, |last, done| Some(last.max(done?)))
}
