//! The scenarios that come with the program: famous bad days.

use super::Scenario;

macro_rules! file {
    ($name:literal) => {
        ($name, include_str!(concat!("../../scenarios/", $name, ".toml")))
    };
}

/// Name and text of each, by name.
pub const LIBRARY: &[(&str, &str)] = &[
    file!("a-hundred-nodes"),
    file!("a-zone-is-lost"),
    file!("carts-in-a-storm"),
    file!("cascade-of-elections"),
    file!("clocks-a-day-apart"),
    file!("clocks-an-hour-apart"),
    file!("clocks-that-jump"),
    file!("compaction-under-a-slow-watcher"),
    file!("convergent-churn"),
    file!("decided-strings"),
    file!("everything"),
    file!("full-disk"),
    file!("gray-network"),
    file!("hints-that-lie"),
    file!("leader-paused-through-its-lease"),
    file!("members-change-in-a-partition"),
    file!("meta-without-a-quorum"),
    file!("one-slow-disk"),
    file!("partitioned-carts"),
    file!("reconciler-killed-at-every-step"),
    file!("rolling-power-cuts"),
    file!("rotten-log"),
    file!("snapshot-to-a-moving-target"),
    file!("split-brain"),
    file!("split-brain-one-way"),
    file!("splits-under-load"),
    file!("stale-routers"),
    file!("swizzle"),
    file!("torn-deltas"),
    file!("wiped-and-restored"),
    file!("yesterdays-backup"),
];

/// The text of a scenario of the library.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    LIBRARY.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// All of them, read.
pub fn all() -> impl Iterator<Item = Scenario> {
    LIBRARY.iter().map(|(_, text)| Scenario::parse(text).expect("a test reads every scenario of the library"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_read_under_its_own_name_and_tells_its_story() {
        for (scenario, (name, text)) in all().zip(LIBRARY) {
            assert_eq!(scenario.name, *name);
            assert!(!scenario.description.is_empty() && text.starts_with("# "), "{name} has no story");
        }
        assert!(LIBRARY.is_sorted());
    }

    #[test]
    fn every_file_of_the_directory_is_in_the_library() {
        let directory = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap();
        assert_eq!(directory.count(), LIBRARY.len());
    }
}
