//! What is kept of a failure: the trace, the picture, what happened as a scenario, what was found, and what is left of it
//! when all is left out that can be.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;

use althing_types::{Duration, Instant};

use super::arguments::Task;
use super::summary::Outcome;
use crate::diagram::draw::{Size, draw};
use crate::report::{Finding, Report, Verdict};
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
    let report = run(Options { trace: Some(Box::new(trace)), record, ..task.options(outcome.seed) });
    write_diagram(&report, &directory.join("diagram.txt"))?;
    fs::write(directory.join("scenario.toml"), recorded(task, &report))?;
    let findings: Vec<String> = outcome.findings.iter().map(|finding| format!("{finding}\n")).collect();
    fs::write(directory.join("findings.txt"), format!("{}\n{}\n", findings.concat(), task.replay(outcome.seed)))
}

/// The last stretch before the first finding; before the end of the run, if nothing was found.
pub fn window(findings: &[Finding], simulated: Duration) -> Span {
    let most = findings.first().map_or(simulated, |finding| finding.at.since(Instant::ZERO));
    Span { least: most.saturating_sub(LAST_STRETCH), most }
}

/// Draws what a run has recorded.
pub fn write_diagram(report: &Report, path: &Path) -> io::Result<()> {
    let drawn = report.recording.as_ref().map(|recording| draw(recording, Size::default()));
    fs::write(path, drawn.unwrap_or_default())
}

/// The run as a scenario in which nothing begins by chance: every fault that chance inflicted stands at its moment.
fn recorded(task: &Task, report: &Report) -> String {
    let scenario = task.scenario.recorded(report.seed, &report.inflicted, report.verdict());
    let again = run(scenario.options(report.seed, task.sabotage));
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
    let report = run(task.options(seed));
    let Some(small) = shrink(&task.scenario, &report, task.sabotage, limit, progress) else { return Ok(None) };
    fs::create_dir_all(directory)?;
    let file = directory.join("shrunk.toml");
    let replay = task.replay_file(&file.display().to_string());
    fs::write(&file, shrunk_file(&small, &replay))?;
    let record = Some(window(&small.report.findings, small.report.simulated));
    let pictured = run(Options { record, ..small.scenario.options(seed, task.sabotage) });
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
