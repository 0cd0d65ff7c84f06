use althing_probe::Mutant;
use althing_types::{Instant, WallTime};
use clap::Parser;

use super::*;
use crate::scenario::{Base, Scenario};

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    arguments: Arguments,
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn wall(&self) -> WallTime {
        WallTime::default()
    }
}

fn parse(line: &str) -> Arguments {
    Program::parse_from(std::iter::once("sim").chain(line.split_whitespace())).arguments
}

fn says(line: &str) -> (Result<Verdict, Error>, String) {
    let mut out = Vec::new();
    let verdict = main(&parse(line), &Stopped, &mut out);
    (verdict, String::from_utf8(out).unwrap())
}

fn task(line: &str) -> Task {
    parse(line).task().unwrap()
}

#[test]
fn the_command_that_replays_a_seed_means_the_same_run() {
    let task = task("--seeds 0..50 --nodes 5 --for 1m --faults all --mutant skip-entries");
    let replay = task.replay(17);
    let again = super::tests::task(replay.strip_prefix("althing sim ").unwrap());
    assert_eq!(again.seeds, 17..18);
    assert_eq!(again.scenario, Scenario { seeds: again.scenario.seeds.clone(), ..task.scenario });
    assert_eq!(again.mutant, Some(Mutant::SkipEntries));
}

#[test]
fn flags_go_before_the_scenario_and_the_scenario_before_the_defaults() {
    let task = task("--scenario split-brain --nodes 3");
    assert_eq!((task.scenario.nodes, task.scenario.base, task.seeds), (3, Base::None, 0..6));
    let task = super::tests::task("");
    assert_eq!((task.scenario.nodes, task.scenario.base, task.seeds), (3, Base::Swarm, 0..200));
    assert_eq!(super::tests::task("--until-failure --seeds 5..9").seeds, 5..9);
    assert_eq!(super::tests::task("--for-real 10m").seeds, 0..u64::MAX);
}

#[test]
fn a_scenario_that_is_not_there_or_not_right_is_a_usage_error() {
    let (error, _) = says("--scenario split-brian");
    assert!(matches!(&error, Err(Error::Usage(what)) if what.ends_with("did you mean `split-brain`?")), "{error:?}");
    let (error, _) = says("--show split-brian");
    assert!(matches!(&error, Err(Error::Usage(what)) if what.ends_with("did you mean `split-brain`?")), "{error:?}");
}

#[test]
fn the_library_can_be_listed_and_shown() {
    let (_, list) = says("--list-scenarios");
    assert_eq!(list.lines().count(), library::LIBRARY.len());
    let (_, text) = says("--show swizzle");
    assert_eq!(Some(text.as_str()), library::find("swizzle"));
}

#[test]
fn seeds_that_are_kept_are_summed_up_and_a_single_one_is_told() {
    let (verdict, text) = says("--seeds 0..3 --for 1s --faults none --jobs 2");
    assert!(matches!(verdict, Ok(Verdict::Kept)));
    assert!(text.contains("KEPT") && text.contains("seeds       3 run") && !text.contains("seed 0"), "{text}");
    let (_, text) = says("--seed 0 --for 1s --faults none");
    assert!(text.starts_with("seed 0      kept"), "{text}");
}

#[test]
fn a_failure_leaves_a_directory_and_the_command_that_repeats_it() {
    let directory = std::env::temp_dir().join(format!("althing-sim-{}", std::process::id()));
    let line = "--seeds 0..2 --for 3s --faults none --mutant skip-entries --jobs 1 --out";
    let (verdict, text) = says(&format!("{line} {} ", directory.display()));
    assert!(matches!(verdict, Ok(Verdict::Broken)), "{text}");
    assert!(text.contains("althing sim --seed 0 --for 3s --faults none --mutant skip-entries"), "{text}");
    for file in ["trace.jsonl", "diagram.txt", "scenario.toml", "findings.txt"] {
        let written = std::fs::read_to_string(directory.join("seed-0").join(file)).unwrap();
        assert!(!written.is_empty(), "{file}");
    }
    let (verdict, text) = says(&format!("--json {line} {} ", directory.display()));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(matches!(verdict, Ok(Verdict::Broken)));
    assert_eq!((value["verdict"].as_str(), value["failures"][0]["seed"].as_u64()), (Some("failed"), Some(0)));
    let (_, text) = says(&format!(
        "--seed 1 --shrink --shrink-runs 20 {} {} ",
        &line["--seeds 0..2 ".len()..],
        directory.display()
    ));
    assert!(text.contains("0 of 0 faults are left") && text.contains("shrunk.toml --mutant skip-entries"), "{text}");
    let (verdict, _) = says(&format!("--scenario {}/seed-1/shrunk.toml --mutant skip-entries", directory.display()));
    assert!(matches!(verdict, Ok(Verdict::Kept)), "a file that says it is broken is as expected when it is");
    std::fs::remove_dir_all(directory).unwrap();
}
