//! Elements of sets, fields of hashes, members of sorted sets: each was added by one operation only.
//!
//! Whoever removes an element and is told that it was there has seen the one event that added it. So it never comes back.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Action, Final, Losses, Operation, Outcome, Shown, Violation, meet};

/// All that was done with one key.
#[derive(Default)]
struct Story<'a> {
    adds: Vec<(&'a Bytes, &'a Operation)>,
    removals: BTreeMap<&'a Bytes, Vec<&'a Operation>>,
    deletions: Vec<&'a Operation>,
    reads: Vec<(&'a BTreeSet<Bytes>, &'a Operation)>,
}

/// Every promise about the elements of one key that was broken.
#[must_use]
pub fn check<'a>(operations: &[&'a Operation], end: &Final, losses: Losses) -> Vec<Violation<'a>> {
    let story = Story::of(operations);
    let mut found = Vec::new();
    for (element, add) in &story.adds {
        story.judge_add(element, add, end, losses, &mut found);
        story.judge_removals(element, end, losses, &mut found);
    }
    let added: BTreeSet<_> = story.adds.iter().map(|(element, _)| *element).collect();
    let shown = story.reads.iter().flat_map(|(shown, _)| shown.iter()).chain(&end.elements);
    let strange = shown.filter(|element| !added.contains(element)).cloned();
    let key = || operations.first().map_or_else(Bytes::new, |operation| operation.key.clone());
    found.extend(strange.map(|found| Violation::FromNowhere { key: key(), found }));
    found
}

impl<'a> Story<'a> {
    fn of(operations: &[&'a Operation]) -> Self {
        let mut story = Self::default();
        for operation in operations {
            match &operation.action {
                Action::Add(element) => story.adds.push((element, operation)),
                Action::Remove(element) => story.removals.entry(element).or_default().push(operation),
                Action::Delete => story.deletions.push(operation),
                Action::Read => {
                    if let Some(Shown::Elements(shown)) = operation.shown() {
                        story.reads.push((shown, operation));
                    }
                }
                Action::Put(_) | Action::Count(_) | Action::Share(_) | Action::Expire(_) => {}
            }
        }
        story
    }

    /// Whoever may have taken it away after this operation began.
    fn removers(&self, element: &Bytes, add: &'a Operation) -> impl Iterator<Item = &'a Operation> {
        let of_element = self.removals.get(element).into_iter().flatten().chain(&self.deletions).copied();
        of_element.filter(|removal| removal.may_follow(add.invoked)).collect::<Vec<_>>().into_iter()
    }

    fn judge_add(
        &self,
        element: &Bytes,
        add: &'a Operation,
        end: &Final,
        losses: Losses,
        found: &mut Vec<Violation<'a>>,
    ) {
        let is_there = end.elements.contains(element);
        let was_shown = self.reads.iter().any(|(shown, _)| shown.contains(element));
        match add.outcome {
            Outcome::Refused if is_there || was_shown => found.push(Violation::RefusedAndDone(add)),
            Outcome::Refused | Outcome::Unknown => {}
            Outcome::Done { returned, .. } => {
                if !losses.spare(add.level) {
                    return;
                }
                if !is_there && self.removers(element, add).next().is_none() {
                    found.push(Violation::Lost(add));
                }
                for (shown, read) in &self.reads {
                    let should = read.invoked > returned && meet(read.level, add.level);
                    let removed = || self.removers(element, add).any(|removal| read.may_follow(removal.invoked));
                    if should && !shown.contains(element) && !removed() {
                        found.push(Violation::Missed { read, write: add });
                    }
                }
            }
        }
    }

    /// Whoever was told that the element was there has removed it for good.
    fn judge_removals(&self, element: &Bytes, end: &Final, losses: Losses, found: &mut Vec<Violation<'a>>) {
        for removal in self.removals.get(element).into_iter().flatten().copied() {
            let Outcome::Done { returned, shown: Shown::Done(1..) } = &removal.outcome else { continue };
            if !losses.spare(removal.level) {
                continue;
            }
            if end.elements.contains(element) {
                found.push(Violation::Resurrected { element: element.clone(), removal });
            }
            for (shown, read) in &self.reads {
                if read.invoked > *returned && meet(read.level, removal.level) && shown.contains(element) {
                    found.push(Violation::Missed { read, write: removal });
                }
            }
        }
    }
}
