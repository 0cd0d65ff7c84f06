//! From a run that fails to the smallest one that still fails in the same way.
//!
//! What chance did is written down first ([`Scenario::recorded`]), so that faults can be left out one by one without moving
//! the others. Then, over and over until nothing more goes: faults (delta debugging), nodes, settings (back to calm), clients
//! (kind by kind), the length of the run, the length of each fault, and its moment to the millisecond. Every step is a run, and a run that fails by the same
//! check is kept. The order is fixed and nothing is drawn: one failure always shrinks to the same scenario.

mod ddmin;

use althing_probe::Mutant;
use althing_types::{Duration, Instant};

pub use ddmin::ddmin;

use crate::options::MAX_NODES;
use crate::report::{Check, Report};
use crate::run;
use crate::scenario::settings::{Field, SETTINGS, Value};
use crate::scenario::text::Text;
use crate::scenario::{Scenario, fault_words};
use crate::scene::Scene;

/// A run is never made shorter than this.
const SHORTEST_RUN: Duration = Duration::from_millis(500);
/// A fault is never made shorter than this.
const SHORTEST_FAULT: Duration = Duration::from_millis(10);

/// What came of shrinking.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest scenario that was found. It still fails.
    pub scenario: Scenario,
    /// How.
    pub report: Report,
    /// Runs that it took.
    pub runs: u32,
    /// Whether nothing more could be left out, or the runs were used up first.
    pub end: End,
    /// Faults that there were at first.
    pub faults_before: usize,
}

/// Why the search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Nothing more can be left out.
    Smallest,
    /// There were no more runs.
    OutOfRuns,
}

/// Shrinks the run of a seed. `None` if the run, written down, does not fail by this check any more.
///
/// `limit` bounds the runs; `progress` is told what is being tried.
pub fn shrink(
    scenario: &Scenario,
    report: &Report,
    mutant: Option<Mutant>,
    limit: u32,
    progress: &mut dyn FnMut(&str),
) -> Option<Shrunk> {
    let finding = report.findings.first()?;
    let recorded = scenario.recorded(report.seed, &report.inflicted, report.verdict());
    let faults_before = recorded.scenes.len();
    let mut search = Search { seed: report.seed, mutant, check: finding.check, limit, runs: 0, progress, best: None };
    let mut cut = recorded.clone();
    forget_after(&mut cut, finding.at);
    if !search.keeps(cut) && !search.keeps(recorded) {
        return None;
    }
    while search.round() {}
    let end = if search.runs < search.limit { End::Smallest } else { End::OutOfRuns };
    let (scenario, report) = search.best?;
    Some(Shrunk { scenario, report, runs: search.runs, end, faults_before })
}

/// What came after the failure cannot have caused it.
fn forget_after(scenario: &mut Scenario, failed: Instant) {
    let failed = failed.since(Instant::ZERO);
    scenario.scenes.retain(|scene| scene.at <= failed);
    scenario.duration = scenario.duration.min(round_up(failed));
}

fn round_up(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).saturating_add(1))
}

struct Search<'a> {
    seed: u64,
    mutant: Option<Mutant>,
    check: Check,
    limit: u32,
    runs: u32,
    progress: &'a mut dyn FnMut(&str),
    best: Option<(Scenario, Report)>,
}

impl Search<'_> {
    /// Runs a scenario, and keeps it if it still fails.
    fn keeps(&mut self, scenario: Scenario) -> bool {
        if self.runs >= self.limit {
            return false;
        }
        self.runs += 1;
        let faults = self.best.as_ref().map_or(scenario.scenes.len(), |(best, _)| best.scenes.len());
        (self.progress)(&format!("shrinking: run {} of {} at the most, {faults} faults left", self.runs, self.limit));
        let report = run(scenario.options(self.seed, self.mutant));
        let fails = report.findings.iter().any(|finding| finding.check == self.check);
        if fails {
            self.best = Some((scenario, report));
        }
        fails
    }

    fn best(&self) -> Scenario {
        self.best.as_ref().map(|(scenario, _)| scenario.clone()).unwrap_or_default()
    }

    /// Tries a change of the best scenario.
    fn tries(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut scenario = self.best();
        change(&mut scenario);
        scenario != self.best() && self.keeps(scenario)
    }

    /// Tries everything once. `false` if nothing more goes.
    fn round(&mut self) -> bool {
        let before = self.best();
        self.faults();
        self.nodes();
        self.settings();
        self.clients();
        self.length();
        self.lengths_of_faults();
        self.moments();
        self.best() != before && self.runs < self.limit
    }

    fn faults(&mut self) {
        let best = self.best();
        ddmin(best.scenes.clone(), |scenes| {
            scenes.len() == best.scenes.len() || self.keeps(Scenario { scenes: scenes.to_vec(), ..best.clone() })
        });
    }

    /// Whatever is not as in a calm run, but for the clients and the control plane.
    fn settings(&mut self) {
        let best = self.best();
        let is_workload = |change: &(usize, Value)| ["workload", "control_plane"].contains(&SETTINGS[change.0].section);
        let (clients, others): (Vec<_>, Vec<_>) = best.changes.iter().copied().partition(is_workload);
        ddmin(others.clone(), |part| {
            let mut changes = [part, &clients].concat();
            changes.sort_by_key(|(place, _)| *place);
            part.len() == others.len() || self.keeps(Scenario { changes, ..best.clone() })
        });
    }

    fn clients(&mut self) {
        for (place, setting) in SETTINGS.iter().enumerate() {
            let Field::Count(field) = setting.field else { continue };
            if setting.section != "workload" {
                continue;
            }
            let count = |search: &Self| *field(&mut search.best().setup(search.seed)) as u64;
            let set = |scenario: &mut Scenario, number| {
                scenario.changes.retain(|(other, _)| *other != place);
                scenario.changes.push((place, Value::Number(number)));
                scenario.changes.sort_by_key(|(place, _)| *place);
            };
            if count(self) == 0 || self.tries(|scenario| set(scenario, 0)) {
                continue;
            }
            loop {
                let half = count(self) / 2;
                if half == 0 || !self.tries(|scenario| set(scenario, half)) {
                    break;
                }
            }
        }
    }

    fn length(&mut self) {
        for (numerator, denominator) in [(1, 2), (3, 4), (9, 10)] {
            loop {
                let shorter = round_up(self.best().duration * numerator / denominator).max(SHORTEST_RUN);
                if shorter >= self.best().duration || !self.tries(|scenario| shorten(scenario, shorter)) {
                    break;
                }
            }
        }
    }

    fn nodes(&mut self) {
        // The machines of a control plane are numbered after the founders: with fewer of these, each would be another one.
        if self.best().setup(self.seed).tables.shards > 0 {
            return;
        }
        while self.best().nodes > 1 {
            let fewer = self.best().nodes - 1;
            let is_there =
                |scene: &Scene| !scene.fault.nodes().iter().any(|node| (fewer + 1..=MAX_NODES).contains(&node.get()));
            let smaller = |scenario: &mut Scenario| {
                scenario.nodes = fewer;
                scenario.scenes.retain(is_there);
            };
            if !self.tries(smaller) {
                break;
            }
        }
    }

    fn moments(&mut self) {
        for place in 0..self.best().scenes.len() {
            let rounded = round_down(self.best().scenes[place].at);
            self.tries(|scenario| scenario.scenes[place].at = rounded);
        }
    }

    fn lengths_of_faults(&mut self) {
        for place in 0..self.best().scenes.len() {
            loop {
                let lasting = self.best().scenes[place].lasting;
                let Some(half) = lasting.map(|time| round_up(time / 2)).filter(|half| *half >= SHORTEST_FAULT) else {
                    break;
                };
                if !self.tries(|scenario| scenario.scenes[place].lasting = Some(half)) {
                    break;
                }
            }
        }
    }
}

/// To the millisecond, which reads better and mostly does as well.
fn round_down(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn shorten(scenario: &mut Scenario, duration: Duration) {
    scenario.duration = duration;
    scenario.scenes.retain(|scene| scene.at < duration);
}

impl Shrunk {
    /// What is left, in words: a line each.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let Scenario { nodes, duration, changes, scenes, .. } = &self.scenario;
        let end = match self.end {
            End::Smallest => "nothing more can be left out",
            End::OutOfRuns => "there may be more to leave out with more --shrink-runs",
        };
        let mut lines = vec![
            format!("{} of {} faults are left after {} runs; {end}", scenes.len(), self.faults_before, self.runs),
            format!("{nodes} nodes for {}", duration.write()),
        ];
        lines.extend(changes.iter().map(|(place, value)| {
            let setting = &SETTINGS[*place];
            format!("{}: {} = {}", setting.section, setting.key, setting.write(*value))
        }));
        lines.extend(scenes.iter().map(|scene| {
            let lasting = scene.lasting.map(|time| format!(", for {}", time.write())).unwrap_or_default();
            format!("at {}: {}{lasting}", scene.at.write(), fault_words(&scene.fault))
        }));
        lines
    }
}
