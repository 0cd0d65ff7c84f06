//! Scenarios: everything that a run is asked to be, as a file that people write and read.
//!
//! ```toml
//! name = "leader-paused"
//! description = "The leader stands still until another has been elected, and wakes up believing it still leads."
//! nodes = 3
//! for = "10s"
//! seeds = "0..5"
//! base = "none"                       # or "swarm", or "all": what goes wrong before anything below is said
//!
//! [network]
//! latency = "50us..4ms, 1% to 400ms"  # usually the first, at times a spike
//! drop = "3%"
//!
//! [faults]
//! crashes = { every = "6s", lasting = "200ms..4s" }
//!
//! [[at]]
//! time = "2s"
//! fault = "pause"
//! node = "leader"                     # whoever it is by then; or "follower", or a number
//! lasting = "3s"
//!
//! [[when]]                            # whenever this happens at a node, this may hit it within 5 ms
//! moment = "became-leader"
//! chance = "10%"
//! fault = "crash"
//! lasting = "20ms..1s"
//!
//! [workload]
//! register_clients = 8
//! ```
//!
//! * `settings`: every key of the tables, what it means and where its value goes;
//! * `text`: values as people write them;
//! * `stage`: the faults of `[[at]]`;
//! * `read` and `write`: the file as a whole; an unknown key is an error that names the nearest one;
//! * `library`: the scenarios that come with the program.

pub mod library;
mod read;
pub mod settings;
mod stage;
pub mod text;
mod write;

use std::ops::Range;

use althing_probe::Mutant;
use althing_types::Duration;
use clap::ValueEnum;

pub use read::{Mistake, ScenarioError};
use settings::{SETTINGS, Setup, Value};
pub use stage::words as fault_words;

use crate::faults::{Fault, FaultPlan};
use crate::options::{Options, Tables};
use crate::report::Verdict;
use crate::scene::{Scene, scenes};
use crate::triggers::Trigger;
use crate::workload::WorkloadOptions;

/// What goes wrong before a scenario says anything of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Base {
    /// Nothing.
    #[default]
    None,
    /// A choice of faults that follows from the seed.
    Swarm,
    /// Everything.
    All,
}

impl Base {
    /// Its plan for a seed.
    #[must_use]
    pub fn plan(self, seed: u64) -> FaultPlan {
        match self {
            Self::None => FaultPlan::none(),
            Self::Swarm => FaultPlan::swarm(seed),
            Self::All => FaultPlan::all(),
        }
    }

    /// Its name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Swarm => "swarm",
            Self::All => "all",
        }
    }
}

/// A setting, as its place in [`SETTINGS`], and the value that the file gives it.
pub type Change = (usize, Value);

/// A run as data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// Its story.
    pub description: String,
    /// Nodes of the cluster.
    pub nodes: u64,
    /// How long the safety phase is.
    pub duration: Duration,
    /// The seeds that it is usually run with.
    pub seeds: Range<u64>,
    /// How it must end.
    pub expect: Verdict,
    /// What goes wrong unless it says otherwise.
    pub base: Base,
    /// What it says otherwise, in the order of the settings.
    pub changes: Vec<Change>,
    /// Faults at moments that matter, besides those of the base.
    pub triggers: Vec<Trigger>,
    /// Faults at moments of their own whose victims are numbers.
    pub schedule: Vec<(Duration, Fault)>,
    /// Faults at moments of their own with their ends.
    pub scenes: Vec<Scene>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            nodes: 3,
            duration: Duration::from_secs(20),
            seeds: 0..20,
            expect: Verdict::Kept,
            base: Base::None,
            changes: Vec::new(),
            triggers: Vec::new(),
            schedule: Vec::new(),
            scenes: Vec::new(),
        }
    }
}

impl Scenario {
    /// Reads the text of a scenario file.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        read::scenario(text)
    }

    /// The text of a file that reads as this scenario.
    #[must_use]
    pub fn to_toml(&self) -> String {
        write::scenario(self)
    }

    /// The scenario of a plan, a workload and a control plane: all that differs from a calm run with the usual clients.
    #[must_use]
    pub fn of(faults: &FaultPlan, workload: &WorkloadOptions, tables: &Tables) -> Self {
        let mut setup = Setup { faults: faults.clone(), workload: workload.clone(), tables: tables.clone() };
        let mut calm = Self::calm();
        let values = SETTINGS.iter().map(|setting| (setting.get(&mut setup), setting.get(&mut calm)));
        let changes = values.enumerate().filter(|(_, (value, calm))| value != calm);
        let changes = changes.map(|(place, (value, _))| (place, value)).collect();
        let FaultPlan { triggers, schedule, scenes, .. } = faults.clone();
        Self { changes, triggers, schedule, scenes, ..Self::default() }
    }

    /// One run of it, written down: nothing begins by chance any more, and every fault that was inflicted stands at its
    /// moment.
    #[must_use]
    pub fn recorded(&self, seed: u64, inflicted: &[(Duration, Fault)], verdict: Verdict) -> Self {
        let Setup { faults, workload, tables } = self.setup(seed);
        Self {
            name: format!("seed-{seed}"),
            description: "What chance inflicted in one run, written down.".to_owned(),
            nodes: self.nodes,
            duration: self.duration,
            seeds: seed..seed.saturating_add(1),
            expect: verdict,
            scenes: scenes(inflicted),
            ..Self::of(&faults.replaying(Vec::new()), &workload, &tables)
        }
    }

    fn calm() -> Setup {
        Setup { faults: FaultPlan::none(), workload: WorkloadOptions::default(), tables: Tables::NONE }
    }

    /// What goes wrong and what clients do, for a seed.
    #[must_use]
    pub fn setup(&self, seed: u64) -> Setup {
        let mut setup = Setup { faults: self.base.plan(seed), ..Self::calm() };
        for (place, value) in &self.changes {
            SETTINGS[*place].set(&mut setup, *value);
        }
        setup.faults.triggers.extend(&self.triggers);
        // What has neither an end nor a role to be given is no scene: whoever reads it from a file does not make one of it either.
        let is_plain = |scene: &&Scene| scene.lasting.is_none() && !scene.has_roles();
        let (plain, staged): (Vec<&Scene>, Vec<&Scene>) = self.scenes.iter().partition(is_plain);
        let plain = plain.into_iter().map(|scene| (scene.at, scene.fault.clone()));
        setup.faults.schedule = self.schedule.iter().cloned().chain(plain).collect();
        setup.faults.scenes = staged.into_iter().cloned().collect();
        setup
    }

    /// The run of a seed. Where there is a control plane, clients are on registers only and nobody changes members by hand, whatever
    /// the file says.
    #[must_use]
    pub fn options(&self, seed: u64, mutant: Option<Mutant>) -> Options {
        let Setup { mut faults, mut workload, tables } = self.setup(seed);
        let tables = (tables.shards > 0).then_some(tables);
        if tables.is_some() {
            faults = faults.without_an_operator();
            workload = workload.on_registers_only();
        }
        Options { nodes: self.nodes, duration: self.duration, faults, workload, tables, mutant, ..Options::new(seed) }
    }
}

#[cfg(test)]
mod tests;
