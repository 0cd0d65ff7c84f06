//! Strings: a value that was acknowledged is there, beside others if need be, unless somebody may have seen and replaced it. Who has
//! indeed seen it is judged by [`super::events`].

use bytes::Bytes;

use super::{Action, Final, Losses, Operation, Outcome, Shown, Violation};

/// Every promise about a string that was broken.
#[must_use]
pub fn check<'a>(operations: &[&'a Operation], end: &Final, losses: Losses) -> Vec<Violation<'a>> {
    let mut found = Vec::new();
    let replaces = |operation: &&&Operation| matches!(operation.action, Action::Put(_) | Action::Delete);
    let replacements: Vec<_> = operations.iter().filter(replaces).collect();
    for write in operations.iter().copied() {
        let Action::Put(value) = &write.action else { continue };
        let is_there = end.siblings.contains(value);
        let was_shown = || operations.iter().any(|read| read.shown() == Some(&Shown::Value(Some(value.clone()))));
        let mut others = replacements.iter().filter(|other| ***other != write);
        match write.outcome {
            Outcome::Refused if is_there || was_shown() => found.push(Violation::RefusedAndDone(write)),
            Outcome::Refused | Outcome::Unknown => {}
            Outcome::Done { .. } => {
                if losses.spare(write.level) && !is_there && !others.any(|other| other.may_follow(write.invoked)) {
                    found.push(Violation::Lost(write));
                }
            }
        }
    }
    let written =
        |value: &Bytes| operations.iter().any(|other| matches!(&other.action, Action::Put(put) if put == value));
    let shown = operations.iter().filter_map(|read| match read.shown() {
        Some(Shown::Value(value)) => value.as_ref(),
        Some(Shown::Done(_) | Shown::Number(_) | Shown::Elements(_)) | None => None,
    });
    for value in shown.chain(&end.siblings).filter(|value| !written(value)) {
        let key = operations.first().map(|operation| operation.key.clone()).unwrap_or_default();
        found.push(Violation::FromNowhere { key, found: value.clone() });
    }
    found
}
