//! Watches: every event of the keys from the first revision on, in order, once, whole revisions at a time, also across
//! streams that broke; and progress is told only when it is true.

use std::collections::BTreeSet;
use std::fmt;

use althing_api::kv::{Event, EventKind, KeyRange};
use althing_api::request::Request;
use althing_api::watch::{CancelReason, WatchFilter};
use althing_types::Revision;

use super::truth::Truth;
use crate::history::{CallEnd, CallRecord};

/// One watch, followed across as many streams as it took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchRecord {
    /// Its keys.
    pub keys: KeyRange,
    /// What it leaves out.
    pub filter: WatchFilter,
    /// Whether it asked for the version before.
    pub prev_kv: bool,
    /// Whether it allows fragments.
    pub fragment: bool,
    /// Its first revision.
    pub from: Revision,
    /// What came, in order.
    pub steps: Vec<Step>,
}

/// One thing that a watch was told, or that happened to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A response with events; `more` if it is a fragment that goes on.
    Events {
        /// The table's revision in its header.
        revision: Revision,
        /// The events.
        events: Vec<Event>,
        /// Whether the same revisions go on in the next response.
        more: bool,
    },
    /// Everything at or below this revision has been sent.
    Progress(Revision),
    /// The stream broke, and the watch was begun again, maybe on another node, at the revision after its last event.
    Resumed(Revision),
    /// The next revision is compacted, and the watch was begun again at this one: what lies between is rightly missing.
    Compacted(Revision),
    /// It was refused, for this reason.
    Refused(CancelReason),
    /// The run has ended, the table was read as far as this revision, and the watch was given the time to see it.
    Ended(Revision),
}

/// A promise that was broken, at this step of the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which step, counted from 0.
    pub step: usize,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// An event came that is not in the history.
    Foreign(Box<Event>),
    /// An event came again, or after a later one.
    Repeated(Revision),
    /// This event should have come before the one that came.
    Missing(Box<Event>),
    /// One revision came in two responses that are not fragments, or a fragment's rest never came.
    Cut(Revision),
    /// The header's revision is below that of its events or of an earlier response.
    HeaderWentBack(Revision),
    /// Progress was told although this event had not come.
    ProgressTooEarly(Box<Event>),
    /// A watch was told that its next revision is compacted, and nobody had asked for a compaction at this revision, or it
    /// is not above the next one.
    NotCompacted(Revision),
    /// The event carries a version before that is not the one that was there, or none although there was one that is
    /// not compacted, or one although none was asked for.
    WrongBefore(Box<Event>),
    /// A response is a fragment, and no fragments were asked for.
    Fragment(Revision),
    /// It was refused although what it asked for is allowed.
    WronglyRefused(CancelReason),
    /// A watch was begun again at a revision above its next one, which is a fault of the one who watches.
    ResumedTooLate(Revision),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at step {}: {:?}", self.step, self.fault)
    }
}

/// The revisions at which anybody asked to compact, without those that were refused.
#[must_use]
pub fn compactions(calls: &[CallRecord]) -> BTreeSet<Revision> {
    let asked = |call: &CallRecord| match (&call.request, &call.end) {
        (_, CallEnd::Refused { .. }) => None,
        (Request::Compact { revision, .. }, CallEnd::Answered { .. } | CallEnd::Unknown) => Some(*revision),
        _ => None,
    };
    calls.iter().filter_map(asked).collect()
}

/// The first promise that was broken to this watch, if any; `compactions` are those that were asked for.
///
/// # Errors
/// The step and the fault.
pub fn check(record: &WatchRecord, truth: &Truth, compactions: &BTreeSet<Revision>) -> Result<(), Violation> {
    let (next, header) = (record.from, Revision(0));
    let mut follower = Follower { record, truth, compactions, next, header, open: None, taken: 0 };
    for (number, step) in record.steps.iter().enumerate() {
        follower.step(step).map_err(|fault| Violation { step: number, fault })?;
    }
    Ok(())
}

/// Follows a watch along the history.
struct Follower<'a> {
    record: &'a WatchRecord,
    truth: &'a Truth,
    compactions: &'a BTreeSet<Revision>,
    /// The least revision of which events may still come.
    next: Revision,
    /// The greatest header of this stream.
    header: Revision,
    /// The revision that a fragment left open.
    open: Option<Revision>,
    /// Events of `open` that have come.
    taken: usize,
}

impl<'a> Follower<'a> {
    fn step(&mut self, step: &Step) -> Result<(), Fault> {
        match step {
            Step::Events { revision, events, more } => self.events(*revision, events, *more),
            Step::Progress(revision) => self.progress(*revision),
            Step::Compacted(from) if !self.compactions.contains(from) || *from <= self.next => {
                Err(Fault::NotCompacted(*from))
            }
            Step::Resumed(from) if *from > self.next => Err(Fault::ResumedTooLate(*from)),
            Step::Resumed(from) | Step::Compacted(from) => {
                (self.next, self.header) = (*from, Revision(0));
                (self.open, self.taken) = (None, 0);
                Ok(())
            }
            Step::Refused(reason) => Err(Fault::WronglyRefused(reason.clone())),
            Step::Ended(revision) => match self.expected().next() {
                Some(event) if event.kv.mod_revision <= *revision => Err(Fault::Missing(Box::new(event.clone()))),
                Some(_) | None => Ok(()),
            },
        }
    }

    /// The events that should still come, in order.
    fn expected(&self) -> impl Iterator<Item = &'a Event> + use<'a> {
        let record = self.record;
        self.truth.since(self.next).filter(move |event| wants(record, event)).skip(self.taken)
    }

    fn events(&mut self, header: Revision, events: &[Event], more: bool) -> Result<(), Fault> {
        self.raise(header)?;
        if more && !self.record.fragment {
            return Err(Fault::Fragment(header));
        }
        if let (Some(open), Some(event)) = (self.open, events.first())
            && event.kv.mod_revision != open
        {
            return Err(Fault::Cut(open));
        }
        let mut expected = self.expected();
        for event in events {
            let wanted = expected.next();
            if wanted.is_none_or(|wanted| !is_same(wanted, event)) {
                return Err(self.explain(event, wanted));
            }
            if wanted.is_some_and(|wanted| !self.is_right_before(wanted, event)) {
                return Err(Fault::WrongBefore(Box::new(event.clone())));
            }
        }
        let Some(last) = events.last().map(|event| event.kv.mod_revision) else { return Ok(()) };
        if last > header {
            return Err(Fault::HeaderWentBack(header));
        }
        let cut = expected.next().is_some_and(|following| following.kv.mod_revision == last);
        if cut != more {
            return Err(Fault::Cut(last));
        }
        self.move_to(last, more, events.iter().filter(|event| event.kv.mod_revision == last).count());
        Ok(())
    }

    /// Whether an event carries the version before as it was asked for. One that is compacted may be missing.
    fn is_right_before(&self, known: &Event, event: &Event) -> bool {
        match &event.prev_kv {
            Some(_) => self.record.prev_kv && event.prev_kv == known.prev_kv,
            None => {
                let compacted = self.compactions.range(event.kv.mod_revision..).next().is_some();
                !self.record.prev_kv || known.prev_kv.is_none() || compacted
            }
        }
    }

    fn move_to(&mut self, last: Revision, more: bool, of_last: usize) {
        if more {
            let before = if self.next == last { self.taken } else { 0 };
            (self.next, self.open, self.taken) = (last, Some(last), before + of_last);
        } else {
            (self.next, self.open, self.taken) = (last.next(), None, 0);
        }
    }

    fn explain(&self, event: &Event, wanted: Option<&Event>) -> Fault {
        let known = self.truth.at(event.kv.mod_revision).iter().any(|known| is_same(known, event));
        if !known || !wants(self.record, event) {
            Fault::Foreign(Box::new(event.clone()))
        } else {
            match wanted {
                Some(wanted) if wanted.kv.mod_revision <= event.kv.mod_revision => {
                    Fault::Missing(Box::new(wanted.clone()))
                }
                Some(_) | None => Fault::Repeated(event.kv.mod_revision),
            }
        }
    }

    fn progress(&mut self, revision: Revision) -> Result<(), Fault> {
        self.raise(revision)?;
        match self.expected().next() {
            Some(event) if event.kv.mod_revision <= revision => Err(Fault::ProgressTooEarly(Box::new(event.clone()))),
            Some(_) | None => {
                self.next = self.next.max(revision.next());
                Ok(())
            }
        }
    }

    fn raise(&mut self, header: Revision) -> Result<(), Fault> {
        if header < self.header {
            return Err(Fault::HeaderWentBack(header));
        }
        self.header = header;
        Ok(())
    }
}

fn wants(record: &WatchRecord, event: &Event) -> bool {
    let passes = match event.kind {
        EventKind::Put => !record.filter.no_put,
        EventKind::Delete => !record.filter.no_delete,
    };
    passes && record.keys.contains(&event.kv.key)
}

/// The same event, whatever it says of the version before.
fn is_same(known: &Event, event: &Event) -> bool {
    known.kind == event.kind && known.kv == event.kv
}

#[cfg(test)]
mod tests {
    use althing_api::kv::{KeyValue, RangeEnd};

    use super::*;

    fn event(revision: i64, key: &'static str) -> Event {
        let kv = KeyValue { key: key.into(), mod_revision: Revision(revision), ..KeyValue::default() };
        Event { kind: if key == "d" { EventKind::Delete } else { EventKind::Put }, kv, prev_kv: None }
    }

    /// 2: a, 3: z, 4: a b d, 5: b, 6: a
    fn truth() -> Truth {
        let change = |revision, keys: &[&'static str]| {
            (Revision(revision), keys.iter().map(|key| event(revision, key)).collect::<Vec<_>>())
        };
        Truth::new(
            Revision(2),
            [change(2, &["a"]), change(3, &["z"]), change(4, &["a", "b", "d"]), change(5, &["b"]), change(6, &["a"])],
        )
    }

    fn events(header: i64, events: &[(i64, &'static str)]) -> Step {
        let events = events.iter().map(|(revision, key)| event(*revision, key)).collect();
        Step::Events { revision: Revision(header), events, more: false }
    }

    fn fragment(header: i64, of: &[(i64, &'static str)]) -> Step {
        match events(header, of) {
            Step::Events { revision, events, .. } => Step::Events { revision, events, more: true },
            other => other,
        }
    }

    /// A watch of a to d (not including e), from revision 2.
    fn judged(steps: &[Step]) -> Result<(), Fault> {
        let keys = KeyRange { start: "a".into(), end: RangeEnd::Before("e".into()) };
        let record = WatchRecord {
            keys,
            filter: WatchFilter::default(),
            prev_kv: false,
            fragment: true,
            from: Revision(2),
            steps: steps.to_vec(),
        };
        check(&record, &truth(), &BTreeSet::from([Revision(5)])).map_err(|violation| violation.fault)
    }

    const ALL_OF_4: [(i64, &str); 3] = [(4, "a"), (4, "b"), (4, "d")];

    #[test]
    fn a_watch_that_was_given_everything_is_fine() {
        let steps = [
            events(3, &[(2, "a")]),
            Step::Progress(Revision(3)),
            events(5, &[(4, "a"), (4, "b"), (4, "d"), (5, "b")]),
            Step::Resumed(Revision(6)),
            events(6, &[(6, "a")]),
            Step::Progress(Revision(6)),
            Step::Ended(Revision(6)),
        ];
        assert_eq!(judged(&steps), Ok(()));
    }

    #[test]
    fn fragments_and_repeats_after_a_resumption_further_back_are_fine() {
        let steps = [
            events(6, &[(2, "a")]),
            fragment(6, &[(4, "a"), (4, "b")]),
            Step::Resumed(Revision(4)),
            fragment(6, &[(4, "a")]),
            fragment(6, &[(4, "b")]),
            events(6, &[(4, "d")]),
            events(6, &[(5, "b")]),
            Step::Resumed(Revision(5)),
            events(6, &[(5, "b"), (6, "a")]),
            Step::Ended(Revision(6)),
        ];
        assert_eq!(judged(&steps), Ok(()));
    }

    #[test]
    fn what_was_compacted_is_rightly_missing() {
        assert_eq!(judged(&[Step::Compacted(Revision(5)), events(6, &[(5, "b"), (6, "a")])]), Ok(()));
    }

    #[test]
    fn filters_leave_out_what_they_say() {
        let keys = KeyRange::all();
        let filter = WatchFilter { no_put: true, no_delete: false };
        let steps = vec![events(6, &[(4, "d")]), Step::Ended(Revision(6))];
        assert_eq!(
            check(
                &WatchRecord { keys, filter, prev_kv: false, fragment: true, from: Revision(2), steps },
                &truth(),
                &BTreeSet::from([Revision(5)])
            ),
            Ok(())
        );
    }

    #[test]
    fn a_lost_event_is_found_by_the_next_one_and_at_the_end() {
        let lost = Fault::Missing(Box::new(event(2, "a")));
        assert_eq!(judged(&[events(6, &ALL_OF_4)]), Err(lost.clone()));
        assert_eq!(judged(&[Step::Ended(Revision(6))]), Err(lost));
        let within = Fault::Missing(Box::new(event(4, "b")));
        assert_eq!(judged(&[events(6, &[(2, "a"), (4, "a"), (4, "d")])]), Err(within));
    }

    #[test]
    fn a_repeated_event_is_found() {
        assert_eq!(judged(&[events(2, &[(2, "a")]), events(3, &[(2, "a")])]), Err(Fault::Repeated(Revision(2))));
    }

    #[test]
    fn a_time_travelling_event_is_found() {
        let steps = [events(6, &[(2, "a")]), events(6, &ALL_OF_4), events(6, &[(5, "b"), (2, "a")])];
        assert_eq!(judged(&steps), Err(Fault::Repeated(Revision(2))));
    }

    #[test]
    fn a_revision_that_is_cut_is_found() {
        let steps = [events(6, &[(2, "a"), (4, "a"), (4, "b")])];
        assert_eq!(judged(&steps), Err(Fault::Cut(Revision(4))));
        let steps = [events(6, &[(2, "a")]), fragment(6, &[(4, "a"), (4, "b")]), events(6, &[(5, "b")])];
        assert_eq!(judged(&steps), Err(Fault::Cut(Revision(4))));
        assert_eq!(judged(&[fragment(6, &[(2, "a")])]), Err(Fault::Cut(Revision(2))), "a fragment without a rest");
    }

    #[test]
    fn an_event_from_nowhere_or_of_another_key_is_found() {
        for foreign in [event(2, "b"), event(3, "z"), event(9, "a")] {
            let step = Step::Events { revision: Revision(9), events: vec![foreign.clone()], more: false };
            assert_eq!(judged(&[step]), Err(Fault::Foreign(Box::new(foreign))));
        }
    }

    #[test]
    fn progress_before_its_events_is_found() {
        let early = Fault::ProgressTooEarly(Box::new(event(4, "a")));
        assert_eq!(judged(&[events(2, &[(2, "a")]), Step::Progress(Revision(4))]), Err(early));
        assert_eq!(judged(&[events(2, &[(2, "a")]), Step::Progress(Revision(3))]), Ok(()));
    }

    #[test]
    fn an_event_at_or_below_told_progress_never_comes_again() {
        let steps = [events(2, &[(2, "a")]), Step::Progress(Revision(3)), events(3, &[(2, "a")])];
        assert_eq!(judged(&steps), Err(Fault::Repeated(Revision(2))));
    }

    #[test]
    fn a_header_that_goes_back_is_found() {
        let steps = [events(6, &[(2, "a")]), events(5, &ALL_OF_4)];
        assert_eq!(judged(&steps), Err(Fault::HeaderWentBack(Revision(5))));
        assert_eq!(judged(&[events(1, &[(2, "a")])]), Err(Fault::HeaderWentBack(Revision(1))));
    }

    #[test]
    fn whoever_resumes_beyond_the_next_revision_is_told_that_it_is_their_own_fault() {
        let steps = [events(6, &[(2, "a")]), Step::Resumed(Revision(4))];
        assert_eq!(judged(&steps), Err(Fault::ResumedTooLate(Revision(4))));
    }

    /// A watch of everything from revision 2 with the version before, where 3 replaces what 2 wrote.
    fn with_before(prev_kv: Option<KeyValue>, compacted: i64) -> Result<(), Fault> {
        let first = event(2, "a");
        let second = Event { prev_kv: Some(first.kv.clone()), ..event(3, "a") };
        let truth = Truth::new(Revision(2), [(Revision(2), vec![first.clone()]), (Revision(3), vec![second])]);
        let seen = vec![first, Event { prev_kv, ..event(3, "a") }];
        let record = WatchRecord {
            keys: KeyRange::all(),
            filter: WatchFilter::default(),
            prev_kv: true,
            fragment: false,
            from: Revision(2),
            steps: vec![Step::Events { revision: Revision(3), events: seen, more: false }],
        };
        check(&record, &truth, &BTreeSet::from([Revision(compacted)])).map_err(|violation| violation.fault)
    }

    #[test]
    fn the_version_before_must_be_the_one_that_was_there() {
        assert_eq!(with_before(Some(event(2, "a").kv), 2), Ok(()));
        let wrong = Some(KeyValue { version: 9, ..event(2, "a").kv });
        assert!(matches!(with_before(wrong, 9), Err(Fault::WrongBefore(_))));
    }

    #[test]
    fn the_version_before_may_be_missing_only_if_it_is_compacted() {
        assert!(matches!(with_before(None, 2), Err(Fault::WrongBefore(_))));
        assert_eq!(with_before(None, 3), Ok(()));
    }

    #[test]
    fn a_version_before_that_nobody_asked_for_is_found() {
        let told = Event { prev_kv: Some(event(1, "a").kv), ..event(2, "a") };
        let step = Step::Events { revision: Revision(6), events: vec![told.clone()], more: false };
        assert_eq!(judged(&[step]), Err(Fault::WrongBefore(Box::new(told))));
    }

    #[test]
    fn a_compaction_that_nobody_asked_for_or_that_is_no_reason_is_found() {
        assert_eq!(judged(&[Step::Compacted(Revision(4))]), Err(Fault::NotCompacted(Revision(4))));
        let seen = [events(6, &[(2, "a")]), events(6, &ALL_OF_4), Step::Compacted(Revision(5))];
        assert_eq!(judged(&seen), Err(Fault::NotCompacted(Revision(5))));
    }

    #[test]
    fn a_refusal_without_a_reason_is_found() {
        let refused = Step::Refused(CancelReason::TooMany);
        assert_eq!(judged(&[refused]), Err(Fault::WronglyRefused(CancelReason::TooMany)));
    }
}
