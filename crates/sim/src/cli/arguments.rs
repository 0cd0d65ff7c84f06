//! The arguments of `althing sim`, and the runs that they ask for.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;

use althing_probe::Mutant;
use althing_types::Duration;
use clap::Args;

use super::Error;
use crate::Options;
use crate::nearest::nearest;
use crate::scenario::text::{Span, Text};
use crate::scenario::{Base, Scenario, library};

/// Arguments of `althing sim`.
#[derive(Clone, PartialEq, Eq, Debug, Args)]
pub struct Arguments {
    /// Run this seed only
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// Run these seeds, the last one excluded [default: 0..200, or what the scenario says]
    #[arg(long, value_name = "A..B", value_parser = text::<Range<u64>>)]
    pub seeds: Option<Range<u64>>,
    /// Run a scenario: a file, or the name of one that comes with the program
    #[arg(long, value_name = "FILE|NAME")]
    pub scenario: Option<String>,
    /// List the scenarios that come with the program
    #[arg(long, conflicts_with_all = ["show", "scenario"])]
    pub list_scenarios: bool,
    /// Print one of them
    #[arg(long, value_name = "NAME", conflicts_with = "scenario")]
    pub show: Option<String>,
    /// Nodes of the cluster [default: 3, or what the scenario says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=9))]
    pub nodes: Option<u64>,
    /// How long faults go on, in simulated time [default: 20s, or what the scenario says]
    #[arg(long = "for", value_name = "TIME", value_parser = text::<Duration>)]
    pub duration: Option<Duration>,
    /// What goes wrong [default: swarm, or what the scenario says]
    #[arg(long, value_enum)]
    pub faults: Option<Base>,
    /// Runs side by side [default: one per core]
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Go on after a seed that fails
    #[arg(long)]
    pub keep_going: bool,
    /// Go on through the seeds until one fails
    #[arg(long)]
    pub until_failure: bool,
    /// Go on through the seeds for this long, in real time
    #[arg(long, value_name = "TIME", value_parser = text::<Duration>)]
    pub for_real: Option<Duration>,
    /// Find the smallest set of faults with which the first seed that fails still fails
    #[arg(long)]
    pub shrink: bool,
    /// Runs that this may take
    #[arg(long, value_name = "N", default_value_t = 400, requires = "shrink")]
    pub shrink_runs: u32,
    /// Where to write what is known of a failure, in a directory per seed
    #[arg(long, value_name = "DIR", default_value = "sim-failures")]
    pub out: PathBuf,
    /// Write the trace of the run as JSON lines (with --seed)
    #[arg(long, value_name = "FILE", requires = "seed")]
    pub trace: Option<PathBuf>,
    /// Write a space-time diagram of the run (with --seed)
    #[arg(long, value_name = "FILE", requires = "seed")]
    pub diagram: Option<PathBuf>,
    /// Which part of the run the diagram shows, in simulated time [default: its last second]
    #[arg(long, value_name = "FROM..TO", requires = "diagram", value_parser = text::<Span>)]
    pub window: Option<Span>,
    /// Print one JSON object at the end and nothing else
    #[arg(long)]
    pub json: bool,
    /// Print a line for every seed, not only for those that fail
    #[arg(long, short)]
    pub verbose: bool,
    /// No progress line
    #[arg(long, short)]
    pub quiet: bool,
    /// Let the nodes make a mistake, to see it noticed
    #[arg(long, value_name = "NAME", hide = true, value_parser = parse_mutant)]
    pub mutant: Option<Mutant>,
}

fn text<T: Text>(text: &str) -> Result<T, String> {
    T::read(text).ok_or_else(|| format!("expected {}", T::EXPECTED))
}

/// Runs that are asked for: one scenario, many seeds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// What each run is.
    pub scenario: Scenario,
    /// From which seeds.
    pub seeds: Range<u64>,
    /// The mistake that is made.
    pub mutant: Option<Mutant>,
    /// The words of the command that ask for the same, without a seed.
    pub words: Vec<String>,
}

impl Arguments {
    /// What is to be run. Reads the scenario's file, if one is named.
    pub fn task(&self) -> Result<Task, Error> {
        let mut scenario = match &self.scenario {
            Some(name) => Self::load(name)?,
            None => Scenario { base: Base::Swarm, seeds: 0..200, ..Scenario::default() },
        };
        scenario.nodes = self.nodes.unwrap_or(scenario.nodes);
        scenario.duration = self.duration.unwrap_or(scenario.duration);
        scenario.base = self.faults.unwrap_or(scenario.base);
        let asked = self.seed.map(|seed| seed..seed.saturating_add(1)).or_else(|| self.seeds.clone());
        let is_endless = self.until_failure || self.for_real.is_some();
        let seeds = match asked {
            Some(seeds) => seeds,
            None if is_endless => scenario.seeds.start..u64::MAX,
            None => scenario.seeds.clone(),
        };
        Ok(Task { scenario, seeds, mutant: self.mutant, words: self.words() })
    }

    /// A scenario by its file or its name.
    fn load(name: &str) -> Result<Scenario, Error> {
        let text = match library::find(name) {
            Some(text) => text.to_owned(),
            None => std::fs::read_to_string(name).map_err(|error| Error::Usage(not_found(name, &error)))?,
        };
        Scenario::parse(&text).map_err(|error| Error::Usage(format!("{name} is no scenario:\n{error}")))
    }

    fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut say = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
        if let Some(scenario) = &self.scenario {
            say("--scenario", scenario.clone());
        }
        if let Some(nodes) = self.nodes {
            say("--nodes", nodes.to_string());
        }
        if let Some(duration) = self.duration {
            say("--for", duration.write());
        }
        if let Some(faults) = self.faults {
            say("--faults", faults.name().to_owned());
        }
        if let Some(mutant) = self.mutant {
            say("--mutant", mutant.name().to_owned());
        }
        words
    }
}

fn parse_mutant(name: &str) -> Result<Mutant, String> {
    if !althing_probe::ARMED {
        return Err(
            "mutants exist only in a build with debug assertions: cargo run -- sim, without --release".to_owned()
        );
    }
    Mutant::named(name).ok_or_else(|| {
        let names: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        format!("there is no mutant {name:?}{}", crate::nearest::hint(name, &names, "mutants"))
    })
}

fn not_found(name: &str, error: &std::io::Error) -> String {
    let known = library::LIBRARY.iter().map(|(name, _)| *name);
    let hint = nearest(name, known).map(|known| format!("; did you mean `{known}`?"));
    let hint = hint.unwrap_or_else(|| "; --list-scenarios shows those that come with the program".to_owned());
    format!("cannot read the scenario {name}: {error}{hint}")
}

impl Task {
    /// The run of one of the seeds.
    #[must_use]
    pub fn options(&self, seed: u64) -> Options {
        self.scenario.options(seed, self.mutant)
    }

    /// The command that runs one of the seeds again.
    #[must_use]
    pub fn replay(&self, seed: u64) -> String {
        let seed = ["--seed".to_owned(), seed.to_string()];
        let words: Vec<&str> = seed.iter().chain(&self.words).map(String::as_str).collect();
        format!("althing sim {}", words.join(" "))
    }

    /// The command that runs another scenario with the same mistake.
    #[must_use]
    pub fn replay_file(&self, file: &str) -> String {
        let mutant = self.mutant.map(|mutant| format!(" --mutant {}", mutant.name())).unwrap_or_default();
        format!("althing sim --scenario {file}{mutant}")
    }
}
