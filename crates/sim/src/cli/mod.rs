//! The simulator for people: runs seeds, shows progress, and says in one line per failure how to see it again.
//!
//! * `arguments`: the command line, and the runs that it asks for;
//! * `pool`: seeds side by side;
//! * `progress`: how far it is;
//! * `summary`: what came of it;
//! * `artifacts`: what is kept of a failure.
//!
//! This is the only part of the crate with threads, files and a clock. A run has none of them.

mod arguments;
mod artifacts;
mod pool;
mod progress;
mod summary;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use althing_env::Clock;
use althing_types::Duration;
use serde_json::Value;

pub use arguments::{Arguments, Task};
use progress::{Progress, bar};
use summary::{Outcome, Totals};

use crate::report::Verdict;
use crate::scenario::library;
use crate::{Options, run};

/// Seeds that fail and whose runs are kept in files; a sweep with a thousand failures needs no thousand directories.
const MAX_ARTIFACTS: usize = 10;

/// Why nothing was run, or nothing could be said of it.
#[derive(Debug)]
pub enum Error {
    /// The command line or the scenario must be corrected first.
    Usage(String),
    /// Something could not be written.
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(what) => f.write_str(what),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// Runs what the arguments ask for and says what came of it. `clock` serves to tell how long it took, and when to stop.
pub fn main(arguments: &Arguments, clock: &dyn Clock, out: &mut dyn Write) -> Result<Verdict, Error> {
    if arguments.list_scenarios {
        return list(out);
    }
    if let Some(name) = &arguments.show {
        let text = library::find(name).ok_or_else(|| Error::Usage(no_such(name)))?;
        out.write_all(text.as_bytes())?;
        return Ok(Verdict::Kept);
    }
    let task = arguments.task()?;
    write_asked(arguments, &task)?;
    let mut sweep = Sweep { arguments, task: &task, clock, out, totals: Totals::default(), failures: Vec::new() };
    sweep.run()
}

fn list(out: &mut dyn Write) -> Result<Verdict, Error> {
    for scenario in library::all() {
        writeln!(out, "{:<34} {}", scenario.name, scenario.description)?;
    }
    Ok(Verdict::Kept)
}

fn no_such(name: &str) -> String {
    let known: Vec<&str> = library::LIBRARY.iter().map(|(name, _)| *name).collect();
    format!("there is no scenario {name}{}", crate::nearest::hint(name, &known, "scenarios"))
}

/// Runs the seed once more, with its trace and its picture, if they are wanted.
fn write_asked(arguments: &Arguments, task: &Task) -> io::Result<()> {
    let Arguments { trace, diagram, window, .. } = arguments;
    let options = || task.options(task.seeds.start);
    let mut record = *window;
    if diagram.is_some() && window.is_none() {
        // Where it ends is not known before it has ended.
        let report = run(options());
        record = Some(artifacts::window(&report.findings, report.simulated));
    }
    let file = trace.as_ref().map(File::create).transpose()?;
    if file.is_none() && diagram.is_none() {
        return Ok(());
    }
    let sink = file.map(|file| Box::new(BufWriter::new(file)) as Box<dyn Write>);
    let report = run(Options { trace: sink, record, ..options() });
    diagram.as_ref().map_or(Ok(()), |path| artifacts::write_diagram(&report, path))
}

/// All seeds of a task, one after another or side by side.
struct Sweep<'a> {
    arguments: &'a Arguments,
    task: &'a Task,
    clock: &'a dyn Clock,
    out: &'a mut dyn Write,
    totals: Totals,
    failures: Vec<Value>,
}

impl Sweep<'_> {
    fn run(&mut self) -> Result<Verdict, Error> {
        let begun = self.clock.now();
        let (task, clock, arguments) = (self.task, self.clock, self.arguments);
        let progress = Progress::new(!arguments.quiet && !arguments.json);
        let limit = arguments.for_real.unwrap_or(Duration::MAX);
        let all = Some(task.seeds.end).filter(|end| *end != u64::MAX).map(|end| end - task.seeds.start);
        let state = std::cell::RefCell::new((&mut *self, Ok(())));
        let each = |outcome: Outcome| {
            let (sweep, result) = &mut *state.borrow_mut();
            progress.clear();
            match sweep.finished(&outcome) {
                Ok(flow) => flow,
                Err(error) => {
                    *result = Err(error);
                    ControlFlow::Break(())
                }
            }
        };
        let look = || {
            let totals = &state.borrow().0.totals;
            let elapsed = clock.now().since(begun);
            progress.show(&bar(totals.seeds, all, totals.failed, totals.simulated, elapsed));
            if elapsed >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let jobs = arguments.jobs.map_or_else(cores, usize::from);
        pool::run(task.seeds.clone(), jobs, |seed| Outcome::of(run(task.options(seed))), each, look);
        progress.clear();
        state.into_inner().1?;
        self.conclude(clock.now().since(begun))
    }

    /// One seed is done.
    fn finished(&mut self, outcome: &Outcome) -> io::Result<ControlFlow<()>> {
        let expected = self.task.scenario.expect;
        self.totals.add(outcome, expected);
        let has_failed = outcome.verdict != expected;
        let is_alone = self.task.seeds.end - self.task.seeds.start == 1;
        if !self.arguments.json && (has_failed || is_alone || self.arguments.verbose) {
            outcome.write(self.out)?;
            outcome.write_findings(self.out)?;
        }
        if !has_failed {
            return Ok(ControlFlow::Continue(()));
        }
        self.failed(outcome)?;
        Ok(if self.arguments.keep_going { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    /// Keeps what is known of a failure and says how to see it again.
    fn failed(&mut self, outcome: &Outcome) -> io::Result<()> {
        let replay = self.task.replay(outcome.seed);
        let directory = self.arguments.out.join(format!("seed-{}", outcome.seed));
        let is_kept = self.failures.len() < MAX_ARTIFACTS;
        if is_kept {
            artifacts::write(self.task, outcome, &directory)?;
        }
        let directory = is_kept.then(|| directory.display().to_string());
        if !self.arguments.json {
            writeln!(self.out, "  to see it again: {replay}")?;
            if let Some(directory) = &directory {
                writeln!(self.out, "  what is known of it: {directory}")?;
            }
        }
        if self.arguments.shrink && self.failures.is_empty() {
            self.shrink(outcome.seed)?;
        }
        self.failures.push(outcome.failure(&replay, directory.as_deref()));
        Ok(())
    }

    fn shrink(&mut self, seed: u64) -> io::Result<()> {
        let progress = Progress::new(!self.arguments.quiet && !self.arguments.json);
        let directory = self.arguments.out.join(format!("seed-{seed}"));
        let mut show = |text: &str| progress.show(text);
        let lines = artifacts::write_shrunk(self.task, seed, self.arguments.shrink_runs, &directory, &mut show)?;
        progress.clear();
        if self.arguments.json {
            return Ok(());
        }
        let lines =
            lines.unwrap_or_else(|| vec!["it cannot be shrunk: written down, the run does not fail".to_owned()]);
        writeln!(self.out, "  shrunk:")?;
        lines.iter().try_for_each(|line| writeln!(self.out, "    {line}"))
    }

    fn conclude(&mut self, elapsed: Duration) -> Result<Verdict, Error> {
        if self.arguments.json {
            writeln!(self.out, "{}", self.totals.json(elapsed, &self.failures))?;
        } else {
            self.totals.write(elapsed, self.out)?;
        }
        Ok(if self.totals.failed == 0 { Verdict::Kept } else { Verdict::Broken })
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests;
