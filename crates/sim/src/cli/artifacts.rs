//! What is kept of a failure: the trace, the picture, what happened as a scenario, what was found, and what is left of it
//! when all is left out that can be.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;

use althing_types::{Duration, Instant};

use super::arguments::Task;
use super::summary::Outcome;
use crate::diagram::draw::{Size, draw};
use crate::report::{Check, Finding, Report, Verdict};
use crate::scenario::Scenario;
use crate::scenario::text::Span;
use crate::shrink::{Shrunk, shrink};
use crate::{Options, run};

/// How much of a run before its failure a picture shows.
const LAST_STRETCH: Duration = Duration::from_secs(1);

/// Runs the seed again, this time with everything written down.
pub fn write(task: &Task, outcome: &Outcome, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let trace = BufWriter::new(File::create(directory.join("trace.jsonl"))?);
    let record = Some(window(&outcome.findings, outcome.simulated));
    let report = quietly(|| run(Options { trace: Some(Box::new(trace)), record, ..task.options(outcome.seed) }));
    write_diagram(&report, &directory.join("diagram.txt"))?;
    fs::write(directory.join("scenario.toml"), recorded(task, &report))?;
    let findings: Vec<String> = outcome.findings.iter().map(|finding| format!("{finding}\n")).collect();
    fs::write(directory.join("findings.txt"), format!("{}\n{}\n", findings.concat(), task.replay(outcome.seed)))
}

/// The last stretch before the first finding; before the end of the run, if nothing was found.
pub fn window(findings: &[Finding], simulated: Duration) -> Span {
    let most = findings.first().map_or(simulated, |finding| failed_at(finding).since(Instant::ZERO));
    Span { least: most.saturating_sub(LAST_STRETCH), most }
}

/// When it went wrong. A checker notices only when the run is over; then it is the latest moment that it speaks of.
fn failed_at(finding: &Finding) -> Instant {
    let moments = finding.detail.split(|character: char| !character.is_ascii_alphanumeric() && character != '.');
    let moments = moments.filter_map(moment).filter(|moment| *moment < finding.at);
    match finding.check {
        Check::Ledger
        | Check::Undecided
        | Check::Recovery
        | Check::Crash
        | Check::Memory
        | Check::Service
        | Check::Control
        | Check::Progress
        | Check::Convergence => finding.at,
        Check::Linearizability
        | Check::Revisions
        | Check::Leases
        | Check::Watches
        | Check::LostWrites
        | Check::Exactness
        | Check::Cycles
        | Check::Bank
        | Check::Fencing
        | Check::Caches
        | Check::LostUpdates
        | Check::Carts
        | Check::Decided
        | Check::Refusals => moments.max().unwrap_or(finding.at),
    }
}

/// A moment as [`Instant`] prints it: seconds with nine digits behind the point, and an `s`.
fn moment(word: &str) -> Option<Instant> {
    let (seconds, nanos) = word.strip_suffix('s')?.split_once('.')?;
    let nanos = Some(nanos).filter(|digits| digits.len() == 9)?;
    Some(Instant::from_nanos(seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)? + nanos.parse::<u64>().ok()?))
}

/// Does again what panicked before: once is enough to say so.
fn quietly<T>(act: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = act();
    std::panic::set_hook(hook);
    done
}

/// Draws what a run has recorded.
pub fn write_diagram(report: &Report, path: &Path) -> io::Result<()> {
    let drawn = report.recording.as_ref().map(|recording| draw(recording, Size::default()));
    fs::write(path, drawn.unwrap_or_default())
}

/// The run as a scenario in which nothing begins by chance: every fault that chance inflicted stands at its moment.
fn recorded(task: &Task, report: &Report) -> String {
    let scenario = task.scenario.recorded(report.seed, &report.inflicted, report.verdict());
    let again = quietly(|| run(scenario.options(report.seed, task.mutant)));
    let check = |report: &Report| report.findings.first().map(|finding| finding.check);
    let note = match (report.verdict(), check(&again) == check(report)) {
        (Verdict::Broken, true) => "It ends as the run did that it was written down from.",
        (Verdict::Broken, false) => "It does NOT end as the run did: what broke there depends on more than faults.",
        (Verdict::Kept, _) => "The run that it was written down from broke no promise, though it should have.",
    };
    format!("# {note}\n# The run itself: {}\n{}", task.replay(report.seed), scenario.to_toml())
}

/// Shrinks a failure, keeps what is left, and says what that is; `None` if it cannot be shrunk.
pub fn write_shrunk(
    task: &Task,
    seed: u64,
    limit: u32,
    directory: &Path,
    progress: &mut dyn FnMut(&str),
) -> io::Result<Option<Vec<String>>> {
    let small = quietly(|| shrink(&task.scenario, &run(task.options(seed)), task.mutant, limit, progress));
    let Some(small) = small else { return Ok(None) };
    fs::create_dir_all(directory)?;
    let file = directory.join("shrunk.toml");
    let replay = task.replay_file(&file.display().to_string());
    fs::write(&file, shrunk_file(&small, &replay))?;
    let record = Some(window(&small.report.findings, small.report.simulated));
    let pictured = quietly(|| run(Options { record, ..small.scenario.options(seed, task.mutant) }));
    write_diagram(&pictured, &directory.join("shrunk.txt"))?;
    let mut lines = small.words();
    lines.push(format!("to see it: {replay}"));
    Ok(Some(lines))
}

fn shrunk_file(small: &Shrunk, replay: &str) -> String {
    let finding = small.report.findings.first().map(ToString::to_string).unwrap_or_default();
    let finding: String = finding.lines().next().unwrap_or_default().chars().take(200).collect();
    let scenario =
        Scenario { description: "The smallest run found that still fails.".to_owned(), ..small.scenario.clone() };
    format!("# {finding}\n# {replay}\n{}", scenario.to_toml())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: Check, detail: &str) -> Finding {
        Finding { at: Instant::from_nanos(9_000_000_000), check, detail: detail.into() }
    }

    #[test]
    fn the_picture_ends_where_it_went_wrong_not_where_it_was_noticed() {
        let detail = "stuck at Operation { invoked: 3.100000000s, returned: 3.250000000s }, last 9.500000000s";
        let of = |finding: Finding| window(&[finding], Duration::from_secs(9)).most;
        assert_eq!(of(finding(Check::Linearizability, detail)), Duration::from_millis(3250));
        assert_eq!(of(finding(Check::Ledger, detail)), Duration::from_secs(9));
        assert_eq!(of(finding(Check::Watches, "an event is missing")), Duration::from_secs(9));
        assert_eq!(window(&[], Duration::from_secs(4)).least, Duration::from_secs(3));
    }
}
