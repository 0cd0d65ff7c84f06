//! What came of many runs, in a few lines for people or in one object for programs.

use std::collections::BTreeMap;
use std::io::{self, Write};

use althing_probe::Hits;
use althing_types::Duration;
use serde_json::{Value, json};

use crate::budget::Tally;
use crate::network;
use crate::report::{Finding, Report, Verdict};

/// Findings shown per seed: the first ones tell most.
const MAX_FINDINGS: usize = 5;

/// A report without the history: what crosses from the thread that ran it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// All its findings.
    pub findings: Vec<Finding>,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it was, in the world's time.
    pub simulated: Duration,
    trace_hash: u64,
    events: u64,
    operations: (usize, usize),
    watches: usize,
    leases: usize,
    undecided: u64,
    terms: u64,
    inflicted: u64,
    frames: network::Counts,
    faults: Vec<(&'static str, u64)>,
    control: Vec<(&'static str, u64)>,
    budget: Tally,
    marks: Hits,
}

impl Outcome {
    /// What is left of a report.
    #[must_use]
    pub fn of(report: Report) -> Self {
        Self {
            seed: report.seed,
            verdict: report.verdict(),
            trace_hash: report.trace_hash,
            events: report.events,
            simulated: report.simulated,
            operations: report.operations(),
            watches: report.history.watches.len(),
            leases: report.history.leases.len(),
            undecided: report.undecided,
            terms: report.terms,
            inflicted: report.faults.inflicted(),
            frames: report.network,
            faults: report.faults.kinds().to_vec(),
            control: report.control.kinds().to_vec(),
            budget: report.budget,
            marks: report.marks,
            findings: report.findings,
        }
    }

    /// The line of a seed.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let verdict = match self.verdict {
            Verdict::Kept => "kept",
            Verdict::Broken => "BROKEN",
        };
        let (done, unknown) = self.operations;
        writeln!(
            out,
            "seed {:<6} {verdict:<6} {:>4} s  {:>7} events  {done:>5} done {unknown:>3} unknown  {:>3} terms  \
             {:>3} faults  trace {:016x}",
            self.seed,
            self.simulated.as_secs(),
            self.events,
            self.terms,
            self.inflicted,
            self.trace_hash,
        )?;
        out.flush()
    }

    /// What was broken, a line each.
    pub fn write_findings(&self, out: &mut dyn Write) -> io::Result<()> {
        for finding in self.findings.iter().take(MAX_FINDINGS) {
            writeln!(out, "  {finding}")?;
        }
        if self.findings.len() > MAX_FINDINGS {
            writeln!(out, "  and {} more", self.findings.len() - MAX_FINDINGS)?;
        }
        Ok(())
    }

    /// The same for programs.
    #[must_use]
    pub fn failure(&self, replay: &str, artifacts: Option<&str>) -> Value {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "check": finding.check.to_string(),
                "at_seconds": finding.at.as_nanos() as f64 / 1e9,
                "detail": finding.detail,
            })
        });
        json!({
            "seed": self.seed,
            "trace": format!("{:016x}", self.trace_hash),
            "findings": findings.collect::<Vec<_>>(),
            "replay": replay,
            "artifacts": artifacts,
        })
    }
}

/// What all seeds together came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Seeds that were run.
    pub seeds: u64,
    /// Those that did not end as they should.
    pub failed: u64,
    /// How long all of them were, in their worlds' time.
    pub simulated: Duration,
    broken: u64,
    undecided: u64,
    done: usize,
    unknown: usize,
    watches: usize,
    leases: usize,
    frames: network::Counts,
    faults: BTreeMap<&'static str, u64>,
    control: BTreeMap<&'static str, u64>,
    budget: Tally,
    marks: Hits,
}

impl Totals {
    /// Adds a run that should have ended in a certain way.
    pub fn add(&mut self, outcome: &Outcome, expected: Verdict) {
        let (done, unknown) = outcome.operations;
        self.seeds += 1;
        self.failed += u64::from(outcome.verdict != expected);
        self.broken += u64::from(outcome.verdict == Verdict::Broken);
        self.undecided += outcome.undecided;
        self.simulated += outcome.simulated;
        self.done += done;
        self.unknown += unknown;
        self.watches += outcome.watches;
        self.leases += outcome.leases;
        self.frames += outcome.frames;
        self.marks += &outcome.marks;
        self.budget.withheld += outcome.budget.withheld;
        self.budget.tight += outcome.budget.tight;
        self.budget.tight_for += outcome.budget.tight_for;
        self.budget.spared += outcome.budget.spared;
        for (kind, count) in &outcome.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (kind, count) in &outcome.control {
            *self.control.entry(kind).or_default() += count;
        }
    }

    /// A few lines for people.
    pub fn write(&self, elapsed: Duration, out: &mut dyn Write) -> io::Result<()> {
        let per_second = self.simulated.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        let verdict = match (self.failed, self.broken) {
            (0, 0) => "KEPT: every promise, in every seed",
            (0, _) => "BROKEN, as it should be",
            _ => "FAILED",
        };
        let frames = &self.frames;
        let (faults, control) = (listed(&self.faults), listed(&self.control));
        writeln!(out, "\n{verdict}")?;
        writeln!(out, "  seeds       {} run, {} broken, {} not decided", self.seeds, self.broken, self.undecided)?;
        writeln!(out, "  simulated   {} s, {per_second:.0} s per second", self.simulated.as_secs())?;
        writeln!(
            out,
            "  operations  {} done, {} with an unknown outcome; {} watches, {} leases",
            self.done, self.unknown, self.watches, self.leases
        )?;
        writeln!(
            out,
            "  frames      {} sent, {} dropped, {} cut off, {} doubled, {} out of order",
            frames.sent, frames.dropped, frames.cut, frames.duplicated, frames.reordered
        )?;
        writeln!(out, "  faults      {}", if faults.is_empty() { "none" } else { &faults })?;
        if !control.is_empty() {
            writeln!(out, "  control     {control}")?;
        }
        let missing = self.missing();
        if !missing.is_empty() {
            writeln!(out, "  not met     {}", missing.join(", "))?;
        }
        if self.budget == Tally::default() {
            return Ok(());
        }
        let Tally { withheld, tight, tight_for, spared } = self.budget;
        writeln!(
            out,
            "  budget      {tight} times tight, for {} s; {withheld} faults withheld, {spared} machines spared",
            tight_for.as_secs()
        )
    }

    /// Rare paths that no seed has taken, in a build that counts them.
    fn missing(&self) -> Vec<&'static str> {
        let missing = self.marks.missing().filter(|_| althing_probe::ARMED);
        missing.map(althing_probe::Mark::name).collect()
    }

    /// One object for programs.
    #[must_use]
    pub fn json(&self, elapsed: Duration, failures: &[Value]) -> Value {
        let frames = &self.frames;
        json!({
            "verdict": if self.failed == 0 { "kept" } else { "failed" },
            "seeds": self.seeds,
            "broken": self.broken,
            "undecided": self.undecided,
            "simulated_seconds": self.simulated.as_secs_f64(),
            "real_seconds": elapsed.as_secs_f64(),
            "operations": { "done": self.done, "unknown": self.unknown },
            "watches": self.watches,
            "leases": self.leases,
            "frames": {
                "sent": frames.sent,
                "dropped": frames.dropped,
                "cut": frames.cut,
                "duplicated": frames.duplicated,
                "reordered": frames.reordered,
            },
            "faults": self.faults,
            "control": self.control,
            "budget": {
                "withheld": self.budget.withheld,
                "tight": self.budget.tight,
                "tight_seconds": self.budget.tight_for.as_secs_f64(),
                "spared": self.budget.spared,
            },
            "not_met": self.missing(),
            "failures": failures,
        })
    }
}

/// What has happened at all, in one line.
fn listed(counts: &BTreeMap<&'static str, u64>) -> String {
    let happened = counts.iter().filter(|(_, count)| **count > 0);
    happened.map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}
