//! Locks: one holder at a time, tokens that rise, and nobody who comes with an older token gets through after a newer one.
//!
//! * While a holder's lease lives for certain and it has not let go, nobody else is told that the lock is theirs.
//! * A lock's tokens are given once each, and one that was asked for after another was given is greater.
//! * The resource outside of the store lets tokens through that never fall, each of them one that its sender was given.
//! * In the history of the store, the tokens in the values of a guarded key never fall, and each value was written while
//!   a key stood that was created at its token's revision. This says nothing about clients: it holds for paused holders and
//!   for writes whose answer was lost as well.

use std::collections::BTreeMap;

use althing_api::kv::EventKind;
use althing_types::{Instant, Revision};
use bytes::Bytes;

use super::leases;
use super::table::Table;
use super::truth::Truth;
use crate::history::{Admission, History, LeaseStep, LessorJump, Tenure, Visit};
use crate::workload::lock::{GUARDED_PREFIX, token};

/// Descriptions of all that is wrong.
#[must_use]
pub fn check(history: &History, truth: &Truth, table: &Table) -> Vec<String> {
    let History { tenures, visits, jumps, .. } = history;
    let mut broken = Vec::new();
    let mut locks: BTreeMap<&Bytes, Vec<&Tenure>> = BTreeMap::new();
    for tenure in tenures {
        locks.entry(&tenure.lock).or_default().push(tenure);
    }
    for tenures in locks.values() {
        for (place, first) in tenures.iter().enumerate() {
            // They lie in the order in which they were acquired.
            broken.extend(tenures[place + 1..].iter().filter_map(|second| compare(first, second, jumps)));
        }
    }
    broken.extend(outside(tenures, visits));
    broken.extend(inside(truth, table));
    broken
}

/// What is wrong with two tenures of one lock, of which the first was acquired before the second.
fn compare(first: &Tenure, second: &Tenure, jumps: &[LessorJump]) -> Option<String> {
    if first.token == second.token {
        return Some(format!("one token for {first:?} and {second:?}"));
    }
    if second.requested <= first.acquired {
        return None;
    }
    if second.token < first.token {
        return Some(format!("the token fell from {first:?} to {second:?}"));
    }
    holds(first, second.acquired, jumps)
        .then(|| format!("{second:?} was acquired while the lock was held for certain: {first:?}"))
}

/// Whether a holder has the lock for certain at `now`, by what it knew then.
fn holds(tenure: &Tenure, now: Instant, jumps: &[LessorJump]) -> bool {
    let mut held = false;
    for step in &tenure.steps {
        match step {
            LeaseStep::Alive { sent, answered } if *answered <= now => {
                held |= leases::lives(tenure.ttl_seconds, *sent, now, jumps);
            }
            LeaseStep::Revoked { sent } => return held && now < *sent,
            LeaseStep::Alive { .. } | LeaseStep::KeySeen { .. } | LeaseStep::KeyGone { .. } => {}
        }
    }
    held
}

fn outside(tenures: &[Tenure], visits: &[Visit]) -> Vec<String> {
    let mut newest: BTreeMap<&Bytes, Revision> = BTreeMap::new();
    let mut broken = Vec::new();
    for visit in visits {
        let given = tenures.iter().any(|tenure| {
            (&tenure.lock, tenure.token, tenure.client) == (&visit.lock, visit.token, visit.client)
                && tenure.acquired <= visit.at
        });
        if !given {
            broken.push(format!("nobody was given the token of {visit:?}"));
        }
        let newest = newest.entry(&visit.lock).or_default();
        match visit.admission {
            Admission::Admitted if visit.token < *newest => {
                broken.push(format!("{visit:?} got through after token {newest}"));
            }
            Admission::TurnedAway if visit.token >= *newest => {
                broken.push(format!("{visit:?} was turned away after token {newest}"));
            }
            Admission::Admitted => *newest = visit.token,
            Admission::TurnedAway => {}
        }
    }
    broken
}

fn inside(truth: &Truth, table: &Table) -> Vec<String> {
    let mut newest: BTreeMap<&Bytes, Revision> = BTreeMap::new();
    let mut broken = Vec::new();
    let writes = truth.since(truth.first()).filter(|event| event.kv.key.starts_with(GUARDED_PREFIX));
    for event in writes.filter(|event| event.kind == EventKind::Put) {
        let token = token(&event.kv.value).unwrap_or_default();
        let newest = newest.entry(&event.kv.key).or_default();
        if token < *newest {
            broken.push(format!("{event:?} got through after token {newest}"));
        }
        *newest = token.max(*newest);
        let before = Revision(event.kv.mod_revision.0 - 1);
        let made = truth.at(token).iter().map(|event| &event.kv.key);
        let stands = |key: &Bytes| table.get(key, before).is_some_and(|kv| kv.create_revision == token);
        if !made.into_iter().any(stands) {
            broken.push(format!("{event:?} got through without its lock"));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use althing_api::kv::{Event, KeyValue};
    use althing_types::Duration;

    use super::*;
    use crate::history::ClientId;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    /// Requested when its lease of two seconds was, told ten milliseconds later.
    fn tenure(client: u64, token: i64, requested: u64) -> Tenure {
        Tenure {
            client: ClientId(client),
            lock: "single".into(),
            key: "x/lock".into(),
            token: Revision(token),
            requested: at(requested),
            acquired: at(requested + 10),
            ttl_seconds: 2,
            steps: vec![LeaseStep::Alive { sent: at(requested), answered: at(requested + 5) }],
        }
    }

    fn visit(client: u64, token: i64, millis: u64, admission: Admission) -> Visit {
        Visit { client: ClientId(client), lock: "single".into(), token: Revision(token), at: at(millis), admission }
    }

    fn put(revision: i64, key: &'static str, value: &'static str) -> (Revision, Vec<Event>) {
        let (mod_revision, create_revision) = (Revision(revision), Revision(revision));
        let kv =
            KeyValue { key: key.into(), value: value.into(), mod_revision, create_revision, ..KeyValue::default() };
        (mod_revision, vec![Event { kind: EventKind::Put, kv, prev_kv: None }])
    }

    fn gone(revision: i64, key: &'static str) -> (Revision, Vec<Event>) {
        let (revision, mut events) = put(revision, key, "");
        events[0].kind = EventKind::Delete;
        (revision, events)
    }

    fn judged(tenures: &[Tenure], visits: &[Visit], changes: Vec<(Revision, Vec<Event>)>) -> usize {
        let truth = Truth::new(Revision(2), changes);
        let history = History { tenures: tenures.to_vec(), visits: visits.to_vec(), ..History::default() };
        check(&history, &truth, &Table::new(&truth)).len()
    }

    #[test]
    fn holders_one_after_another_with_rising_tokens_are_fine() {
        let tenures = [tenure(1, 5, 0), tenure(2, 9, 2000)];
        let visits = [
            visit(1, 5, 100, Admission::Admitted),
            visit(2, 9, 2100, Admission::Admitted),
            visit(1, 5, 2200, Admission::TurnedAway),
        ];
        let changes = vec![
            put(5, "x/lock", "1"),
            put(6, "g/single", "5 2"),
            gone(8, "x/lock"),
            put(9, "x/lock", "3"),
            put(10, "g/single", "9 4"),
        ];
        assert_eq!(judged(&tenures, &visits, changes), 0);
    }

    #[test]
    fn two_holders_at_one_time_are_found() {
        assert_eq!(judged(&[tenure(1, 5, 0), tenure(2, 9, 1500)], &[], Vec::new()), 1);
        let mut first = tenure(1, 5, 0);
        first.steps.push(LeaseStep::Alive { sent: at(1500), answered: at(1600) });
        assert_eq!(judged(&[first.clone(), tenure(2, 9, 3000)], &[], Vec::new()), 1);
        first.steps.push(LeaseStep::Revoked { sent: at(2900) });
        assert_eq!(judged(&[first, tenure(2, 9, 3000)], &[], Vec::new()), 0);
    }

    #[test]
    fn a_holder_whose_lessor_jumped_ahead_may_have_lost_the_lock() {
        let truth = Truth::new(Revision(2), Vec::new());
        let jumps = vec![LessorJump { at: at(300), by: Duration::from_secs(1) }];
        let tenures = vec![tenure(1, 5, 0), tenure(2, 9, 1500)];
        let history = History { tenures, jumps, ..History::default() };
        assert_eq!(check(&history, &truth, &Table::new(&truth)), Vec::<String>::new());
    }

    #[test]
    fn tokens_that_fall_or_are_given_twice_are_found() {
        assert_eq!(judged(&[tenure(1, 9, 0), tenure(2, 5, 5000)], &[], Vec::new()), 1);
        assert_eq!(judged(&[tenure(1, 9, 0), tenure(2, 9, 5000)], &[], Vec::new()), 1);
    }

    #[test]
    fn an_older_token_after_a_newer_one_and_one_that_nobody_was_given_are_found() {
        let tenures = [tenure(1, 5, 0), tenure(2, 9, 2000)];
        let newer = visit(2, 9, 2100, Admission::Admitted);
        let late = visit(1, 5, 2200, Admission::Admitted);
        assert_eq!(judged(&tenures, &[newer.clone(), late], Vec::new()), 1);
        assert_eq!(judged(&tenures, &[newer, visit(1, 9, 2200, Admission::Admitted)], Vec::new()), 1);
        assert_eq!(judged(&tenures, &[visit(2, 9, 2100, Admission::TurnedAway)], Vec::new()), 1);
    }

    #[test]
    fn a_guarded_write_without_its_lock_or_after_a_newer_token_is_found() {
        let lost = vec![put(5, "x/lock", "1"), gone(6, "x/lock"), put(7, "g/single", "5 2")];
        assert_eq!(judged(&[], &[], lost), 1);
        let back = vec![put(5, "q/1", "1"), put(6, "q/2", "2"), put(7, "g/queue", "6 3"), put(8, "g/queue", "5 4")];
        assert_eq!(judged(&[], &[], back), 1);
    }
}
