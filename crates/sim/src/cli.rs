//! The simulator for people: runs seeds, shows progress, and says in one line per failure how to see it again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::PathBuf;

use althing_env::Clock;
use althing_probe::{Hits, Mutant};
use althing_types::Duration;
use clap::{Args, ValueEnum};

use crate::faults::FaultPlan;
use crate::report::{Report, Verdict};
use crate::{Options, network, run};

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Faults {
    /// A choice of faults that follows from the seed.
    #[default]
    Swarm,
    /// All faults.
    All,
    /// None.
    None,
}

impl Faults {
    fn plan(self, seed: u64) -> FaultPlan {
        match self {
            Self::Swarm => FaultPlan::swarm(seed),
            Self::All => FaultPlan::all(),
            Self::None => FaultPlan::none(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::All => "all",
            Self::None => "none",
        }
    }
}

/// Arguments of `althing sim`.
#[derive(Clone, PartialEq, Eq, Debug, Args)]
pub struct Arguments {
    /// Run this seed only
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// Run these seeds, the last one excluded
    #[arg(long, value_name = "A..B", default_value = "0..200", value_parser = parse_range)]
    pub seeds: Range<u64>,
    /// Nodes of the cluster
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    pub nodes: u64,
    /// How long faults go on, in simulated time
    #[arg(long = "for", value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
    pub duration: Duration,
    /// What goes wrong
    #[arg(long, value_enum, default_value_t)]
    pub faults: Faults,
    /// Write the trace of the run as JSON lines (with --seed)
    #[arg(long, value_name = "FILE", requires = "seed")]
    pub trace: Option<PathBuf>,
    /// Let the nodes make a mistake, to see it noticed
    #[arg(long, value_name = "NAME", hide = true, value_parser = parse_mutant)]
    pub mutant: Option<Mutant>,
    /// Go on after a seed that fails
    #[arg(long)]
    pub keep_going: bool,
}

impl Arguments {
    fn seeds(&self) -> Range<u64> {
        self.seed.map_or_else(|| self.seeds.clone(), |seed| seed..seed.saturating_add(1))
    }

    fn options(&self, seed: u64) -> io::Result<Options> {
        let mut options = Options::new(seed);
        options.nodes = self.nodes;
        options.duration = self.duration;
        options.faults = self.faults.plan(seed);
        options.mutant = self.mutant;
        if let Some(path) = &self.trace {
            options.trace = Some(Box::new(BufWriter::new(File::create(path)?)));
        }
        Ok(options)
    }

    /// The command that runs one seed of these again.
    #[must_use]
    pub fn replay(&self, seed: u64) -> String {
        let mut command =
            format!("althing sim --seed {seed} --nodes {} --for {}ms", self.nodes, self.duration.as_millis());
        if self.faults != Faults::default() {
            command.push_str(" --faults ");
            command.push_str(self.faults.name());
        }
        if let Some(mutant) = self.mutant {
            command.push_str(" --mutant ");
            command.push_str(mutant.name());
        }
        command
    }
}

/// What all seeds together came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Totals {
    seeds: u64,
    broken: u64,
    undecided: u64,
    simulated: Duration,
    done: usize,
    unknown: usize,
    watches: usize,
    leases: usize,
    frames: network::Counts,
    faults: BTreeMap<&'static str, u64>,
    marks: Hits,
}

impl Totals {
    fn add(&mut self, report: &Report) {
        let (done, unknown) = report.operations();
        self.seeds += 1;
        self.broken += u64::from(report.verdict() == Verdict::Broken);
        self.undecided += report.undecided;
        self.simulated += report.simulated;
        self.done += done;
        self.unknown += unknown;
        self.watches += report.history.watches.len();
        self.leases += report.history.leases.len();
        self.frames += report.network;
        for (kind, count) in report.faults.kinds() {
            *self.faults.entry(kind).or_default() += count;
        }
        self.marks += &report.marks;
    }
}

/// Runs what the arguments ask for and says what came of it. `clock` serves to tell how fast it went, nothing else.
pub fn main(arguments: &Arguments, clock: &dyn Clock, out: &mut dyn Write) -> io::Result<Verdict> {
    let begun = clock.now();
    let mut totals = Totals::default();
    for seed in arguments.seeds() {
        let report = run(arguments.options(seed)?);
        totals.add(&report);
        write_report(&report, out)?;
        if report.verdict() == Verdict::Broken {
            write_findings(&report, arguments, out)?;
            if !arguments.keep_going {
                break;
            }
        }
    }
    write_totals(&totals, clock.now().since(begun), out)?;
    Ok(if totals.broken == 0 { Verdict::Kept } else { Verdict::Broken })
}

fn write_report(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let (done, unknown) = report.operations();
    let verdict = match report.verdict() {
        Verdict::Kept => "kept",
        Verdict::Broken => "BROKEN",
    };
    writeln!(
        out,
        "seed {:<6} {verdict:<6} {:>4} s  {:>7} events  {done:>5} done {unknown:>3} unknown  {:>3} terms  \
         {:>3} faults  trace {:016x}",
        report.seed,
        report.simulated.as_secs(),
        report.events,
        report.terms,
        report.faults.inflicted(),
        report.trace_hash,
    )?;
    out.flush()
}

fn write_findings(report: &Report, arguments: &Arguments, out: &mut dyn Write) -> io::Result<()> {
    for finding in report.findings.iter().take(MAX_FINDINGS) {
        writeln!(out, "  {finding}")?;
    }
    if report.findings.len() > MAX_FINDINGS {
        writeln!(out, "  and {} more", report.findings.len() - MAX_FINDINGS)?;
    }
    writeln!(out, "  to see it again: {}", arguments.replay(report.seed))
}

/// Findings shown per seed: the first ones tell most.
const MAX_FINDINGS: usize = 5;

fn write_totals(totals: &Totals, elapsed: Duration, out: &mut dyn Write) -> io::Result<()> {
    let per_second = totals.simulated.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
    let verdict = if totals.broken == 0 { "KEPT: every promise, in every seed" } else { "BROKEN" };
    let frames = &totals.frames;
    let faults = totals.faults.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ");
    writeln!(out, "\n{verdict}")?;
    writeln!(out, "  seeds       {} run, {} broken, {} not decided", totals.seeds, totals.broken, totals.undecided)?;
    writeln!(out, "  simulated   {} s, {per_second:.0} s per second", totals.simulated.as_secs())?;
    writeln!(
        out,
        "  operations  {} done, {} with an unknown outcome; {} watches, {} leases",
        totals.done, totals.unknown, totals.watches, totals.leases
    )?;
    writeln!(
        out,
        "  frames      {} sent, {} dropped, {} cut off, {} doubled, {} out of order",
        frames.sent, frames.dropped, frames.cut, frames.duplicated, frames.reordered
    )?;
    writeln!(out, "  faults      {faults}")?;
    write_marks(&totals.marks, out)
}

/// Rare paths that no seed has taken, in a build that counts them.
fn write_marks(marks: &Hits, out: &mut dyn Write) -> io::Result<()> {
    let missing: Vec<_> = marks.missing().map(althing_probe::Mark::name).collect();
    if !althing_probe::ARMED || missing.is_empty() {
        return Ok(());
    }
    writeln!(out, "  not met     {}", missing.join(", "))
}

fn parse_mutant(name: &str) -> Result<Mutant, String> {
    if !althing_probe::ARMED {
        return Err(
            "mutants exist only in a build with debug assertions: cargo run -- sim, without --release".to_owned()
        );
    }
    Mutant::named(name).ok_or_else(|| {
        let names: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        format!("there is no mutant {name:?}; there are {}", names.join(", "))
    })
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("a range is written A..B")?;
    let number = |part: &str| part.trim().parse::<u64>().map_err(|error| format!("{part:?}: {error}"));
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err(format!("{text} holds no seed")) } else { Ok(range) }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" | "" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3600))),
        other => Err(format!("{other:?} is no unit of time; use ms, s, m or h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &[&str]) -> Arguments {
        Program::parse_from(std::iter::once(&"sim").chain(line)).arguments
    }

    #[test]
    fn times_and_ranges_are_read_as_people_write_them() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert!(parse_duration("ten").is_err() && parse_duration("3 weeks").is_err());
        assert_eq!(parse_range("3..7"), Ok(3..7));
        assert!(parse_range("7..3").is_err() && parse_range("7").is_err());
    }

    #[test]
    fn the_command_that_replays_a_seed_means_the_same_run() {
        let arguments = parse(&["--seeds", "0..50", "--nodes", "5", "--for", "1m", "--faults", "all"]);
        let again = arguments.replay(17);
        let words: Vec<&str> = again.split(' ').skip(2).collect();
        let replayed = parse(&words);
        assert_eq!(replayed.seeds(), 17..18);
        assert_eq!((replayed.nodes, replayed.duration, replayed.faults), (5, Duration::from_secs(60), Faults::All));
    }
}
