//! What the recorder of a space-time diagram sees. It has no part in the run, and costs nothing without one.

use althing_consensus::Role;
use althing_types::Instant;

use super::{Event, World};
use crate::diagram::{Column, Standing, What, ask, label, news};
use crate::host::{Host, Stage};

impl World {
    /// An event is about to happen.
    pub(super) fn record_event(&mut self, at: Instant, event: &Event) {
        let Some(recorder) = self.recorder.as_mut().filter(|recorder| recorder.is_open(at)) else { return };
        let what = match event {
            Event::Frame { from, to, bytes, .. } => Some(What::Frame { from: *from, to: *to, label: label(bytes) }),
            Event::Arrival { slot, node, what, .. } => {
                ask(what).map(|words| What::Asked { client: slot.0 as u64 + 1, node: *node, words })
            }
            Event::News { slot, news: what } => news(what).map(|words| What::Told { client: slot.0 as u64 + 1, words }),
            Event::Patience { slot, ticket } if self.outstanding.contains_key(&(*slot, *ticket)) => {
                Some(What::Told { client: slot.0 as u64 + 1, words: "gives up waiting".to_owned() })
            }
            Event::Fault(fault) => Some(What::Fault(fault.clone())),
            Event::Phase(phase) => Some(What::Phase(format!("{phase:?}").to_lowercase())),
            Event::Patience { .. }
            | Event::Process { .. }
            | Event::Scene(_)
            | Event::Start(_)
            | Event::Episode(_)
            | Event::Note(_) => None,
        };
        if let Some(what) = what {
            recorder.add(at, what);
        }
    }

    /// An event has happened.
    pub(super) fn record_standings(&mut self) {
        let now = self.agenda.now();
        let Some(recorder) = &mut self.recorder else { return };
        for (node, host) in &self.hosts {
            recorder.sees(now, *node, column(host));
        }
    }

    pub(super) fn record_finding(&mut self, words: &str) {
        let now = self.agenda.now();
        if let Some(recorder) = &mut self.recorder {
            recorder.add(now, What::Finding(words.to_owned()));
        }
    }
}

/// What a machine shows of the first group that it has a replica of.
fn column(host: &Host<Event>) -> Column {
    let process = match &host.stage {
        Stage::Down => return Column::default(),
        Stage::Running(process) | Stage::Paused { process, .. } => process,
    };
    let Some(group) = process.node.group_metrics().next() else {
        return Column { standing: Standing::Recovering, term: 0 };
    };
    let standing = match (&host.stage, group.role) {
        (Stage::Paused { .. }, _) => Standing::Paused,
        (_, Role::Recovering) => Standing::Recovering,
        (_, Role::Follower { .. }) => Standing::Follower,
        (_, Role::PreCandidate) => Standing::PreCandidate,
        (_, Role::Candidate) => Standing::Candidate,
        (_, Role::Leader { .. }) => Standing::Leader,
        (_, Role::Learner { .. }) => Standing::Learner,
        (_, Role::Removed) => Standing::Removed,
    };
    Column { standing, term: group.term }
}

#[cfg(test)]
mod tests {
    use althing_types::{Duration, NodeId};

    use crate::diagram::What;
    use crate::scenario::text::Span;
    use crate::{FaultPlan, Options, run};

    #[test]
    fn a_run_that_is_recorded_is_the_same_run() {
        let options = || Options { duration: Duration::from_secs(2), faults: FaultPlan::all(), ..Options::new(3) };
        let window = Span { least: Duration::from_millis(500), most: Duration::from_secs(2) };
        let (plain, recorded) = (run(options()), run(Options { record: Some(window), ..options() }));
        assert_eq!(plain.trace_hash, recorded.trace_hash);
        assert_eq!(plain.recording, None);
        let recording = recorded.recording.expect("it was asked for");
        assert!(recording.first.len() >= 3);
        let has = |wanted: fn(&What) -> bool| recording.steps.iter().any(|step| wanted(&step.what));
        assert!(has(|what| matches!(what, What::Frame { from: NodeId(_), .. })));
        assert!(has(|what| matches!(what, What::Asked { .. })) && has(|what| matches!(what, What::Told { .. })));
        assert!(has(|what| matches!(what, What::Stands { .. })) && has(|what| matches!(what, What::Fault(_))));
    }
}
