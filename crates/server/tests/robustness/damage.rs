//! Proof that the judges can find something on this path: one calm run of real processes is judged clean, then its evidence
//! is damaged in one place after another, and each damage is found by the check that it is meant for.

use std::time::Duration;

use althing_api::kv::Event;
use althing_sim::checker::watch::Step;
use althing_sim::checker::{Action, Answer, Outcome, Truth};
use althing_sim::history::LeaseStep;
use althing_types::Revision;

use crate::artifact;
use crate::bank::BankOutcome;
use crate::evidence::Evidence;
use crate::run::{self, Plan};

/// One damage: what it is, who must find it, and how it is done. `false` if there was nothing to damage.
type Damage = (&'static str, &'static str, fn(&mut Evidence) -> bool);

const DAMAGES: [Damage; 9] = [
    ("an acknowledged write is not in the table's history", "LostWrites", drop_an_acknowledged_write),
    ("a write that was refused is in it", "LostWrites", refuse_a_write_that_was_done),
    ("two reads are swapped", "Linearizability", swap_two_reads),
    ("a write was told the revision of the one before", "Revisions", tell_an_old_revision),
    ("a watch is not given an event", "Watches", remove_a_watch_event),
    ("a watch is given a response twice", "Watches", repeat_a_watch_response),
    ("a key goes at once with its lease granted", "Leases", end_a_lease_early),
    ("money is lost on the way", "Bank", lose_money),
    ("a transfer is told to have failed", "Bank", deny_a_transfer),
];

fn drop_an_acknowledged_write(evidence: &mut Evidence) -> bool {
    let writes = evidence.history.operations.iter().filter_map(|operation| operation.acknowledged_revision());
    let Some(lost) = writes.max() else { return false };
    rewrite_truth(evidence, |revision, events| if revision == lost { Vec::new() } else { events });
    true
}

fn refuse_a_write_that_was_done(evidence: &mut Evidence) -> bool {
    let is_put = |action: &Action| matches!(action, Action::Put(_));
    let mut operations = evidence.history.operations.iter_mut();
    let Some(put) = operations.find(|o| is_put(&o.action) && o.acknowledged_revision().is_some()) else { return false };
    put.outcome = Outcome::Refused;
    true
}

/// Two reads of one key, the second sent after the first was answered, that saw different versions.
fn swap_two_reads(evidence: &mut Evidence) -> bool {
    let operations = &mut evidence.history.operations;
    for first in 0..operations.len() {
        let Some((returned, seen)) = read(&operations[first].outcome) else { continue };
        let later = (first + 1..operations.len()).find(|later| {
            let later = &operations[*later];
            later.key == operations[first].key
                && later.invoked > returned
                && read(&later.outcome).is_some_and(|(_, other)| other != seen)
        });
        if let Some(later) = later {
            let (one, other) = (answer_of(&operations[first].outcome), answer_of(&operations[later].outcome));
            set_answer(&mut operations[first].outcome, other);
            set_answer(&mut operations[later].outcome, one);
            return true;
        }
    }
    false
}

fn read(outcome: &Outcome) -> Option<(althing_types::Instant, &Answer)> {
    match outcome {
        Outcome::Done { returned, answer: answer @ Answer::Held(Some(_)), .. } => Some((*returned, answer)),
        Outcome::Done { .. } | Outcome::Refused | Outcome::Unknown => None,
    }
}

fn answer_of(outcome: &Outcome) -> Option<Answer> {
    match outcome {
        Outcome::Done { answer, .. } => Some(answer.clone()),
        Outcome::Refused | Outcome::Unknown => None,
    }
}

fn set_answer(outcome: &mut Outcome, new: Option<Answer>) {
    if let (Outcome::Done { answer, .. }, Some(new)) = (outcome, new) {
        *answer = new;
    }
}

fn tell_an_old_revision(evidence: &mut Evidence) -> bool {
    let operations = &mut evidence.history.operations;
    let Some(last) = operations.iter().rposition(|operation| operation.acknowledged_revision().is_some()) else {
        return false;
    };
    match &mut operations[last].outcome {
        Outcome::Done { revision, .. } => *revision = Revision(2),
        Outcome::Refused | Outcome::Unknown => return false,
    }
    true
}

fn remove_a_watch_event(evidence: &mut Evidence) -> bool {
    let steps = evidence.history.watches.iter_mut().flat_map(|watch| &mut watch.steps);
    let events = steps.filter_map(|step| match step {
        Step::Events { events, .. } => Some(events),
        Step::Progress(_) | Step::Resumed(_) | Step::Compacted(_) | Step::Refused(_) | Step::Ended(_) => None,
    });
    events.last().is_some_and(|events| events.pop().is_some())
}

fn repeat_a_watch_response(evidence: &mut Evidence) -> bool {
    evidence.history.watches.iter_mut().any(|watch| {
        let place = watch.steps.iter().position(|step| matches!(step, Step::Events { .. }));
        place.is_some_and(|place| {
            watch.steps.insert(place, watch.steps[place].clone());
            true
        })
    })
}

fn end_a_lease_early(evidence: &mut Evidence) -> bool {
    let Some(lease) = evidence.history.leases.first_mut() else { return false };
    let LeaseStep::Alive { sent, answered } = lease.steps[0] else { return false };
    lease.steps.insert(1, LeaseStep::KeyGone { sent: answered, answered: sent + Duration::from_millis(1) });
    true
}

fn lose_money(evidence: &mut Evidence) -> bool {
    let moved = evidence.bank.iter().find_map(|record| match record.outcome {
        BankOutcome::Moved { revision, .. } => Some(revision),
        BankOutcome::Shown { .. } | BankOutcome::Guarded { .. } | BankOutcome::Refused | BankOutcome::Unknown => None,
    });
    let Some(moved) = moved else { return false };
    rewrite_truth(evidence, |revision, mut events| {
        if revision == moved {
            events.pop();
        }
        events
    });
    true
}

fn deny_a_transfer(evidence: &mut Evidence) -> bool {
    evidence.bank.iter_mut().any(|record| match record.outcome {
        BankOutcome::Moved { .. } => {
            record.outcome = BankOutcome::Refused;
            true
        }
        BankOutcome::Shown { .. } | BankOutcome::Guarded { .. } | BankOutcome::Refused | BankOutcome::Unknown => false,
    })
}

fn rewrite_truth(evidence: &mut Evidence, change: impl Fn(Revision, Vec<Event>) -> Vec<Event>) {
    let truth = &evidence.truth;
    let revisions = (1..=truth.last().get()).map(Revision);
    let changes = revisions.map(|revision| (revision, change(revision, truth.at(revision).to_vec())));
    let changes: Vec<_> = changes.filter(|(_, events)| !events.is_empty()).collect();
    evidence.truth = Truth::new(Revision(1), changes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_to_what_a_calm_run_saw_is_found_by_the_check_that_it_is_meant_for() {
    let (evidence, findings, counts) = run::run(&Plan::calm(1, Duration::from_secs(2))).await;
    println!("{counts}");
    assert_eq!((findings, evidence.judge()), (Vec::new(), Vec::new()), "without damage nothing is found");
    assert_eq!(counts.unknown + counts.refused, 0, "on a calm day everything is answered");
    for (what, check, damage) in DAMAGES {
        let mut damaged = evidence.clone();
        assert!(damage(&mut damaged), "{what}: there was nothing to damage");
        let findings = damaged.judge();
        assert!(
            findings.iter().any(|finding| finding.starts_with(check)),
            "{what}: not found by {check}: {findings:?}"
        );
    }
    let lines = artifact::lines(&evidence, &["one".to_owned()]);
    assert_eq!(lines[0]["detail"], "one");
    let operations = lines.iter().filter(|line| line["kind"] == "operation").count();
    assert_eq!(operations, evidence.history.operations.len(), "each operation is written down");
}
