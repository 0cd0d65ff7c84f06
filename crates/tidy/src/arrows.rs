//! Arrows point down. The floors are those of ARCHITECTURE.md.

use std::collections::BTreeMap;

use cargo_metadata::DependencyKind;

use crate::repository::{assert_none, members};

/// The floors, from the ground up. Crates on one floor do not import each other, except for [`BESIDE`].
const FLOORS: [&[&str]; 10] = [
    &["types", "codec", "probe"],
    &[
        "clock",
        "consensus",
        "crdt",
        "datatypes",
        "gossip",
        "manifest",
        "merkle",
        "meta",
        "paxos",
        "placement",
        "quorum",
        "resilience",
    ],
    &["env", "api", "faultdisk"],
    &["storage"],
    &["convergent", "strong"],
    &["node"],
    &["etcd-proto", "gateway-etcd", "gateway-http", "gateway-redis"],
    &["runtime", "sim"],
    &["cli", "bench", "server"],
    &["tidy"],
];

/// Who may import whom on their own floor.
const BESIDE: [(&str, &str); 10] = [
    ("crdt", "clock"),
    ("datatypes", "clock"),
    ("datatypes", "crdt"),
    ("manifest", "quorum"),
    ("meta", "manifest"),
    ("meta", "placement"),
    ("faultdisk", "env"),
    ("gateway-etcd", "etcd-proto"),
    ("cli", "bench"),
    ("server", "cli"),
];

/// Who must not import whom although it lies below: a gateway sees the node through `api` only.
const NEVER: [(&str, &str); 15] = [
    ("gateway-etcd", "node"),
    ("gateway-etcd", "strong"),
    ("gateway-etcd", "storage"),
    ("gateway-etcd", "consensus"),
    ("gateway-http", "node"),
    ("gateway-http", "strong"),
    ("gateway-http", "storage"),
    ("gateway-http", "consensus"),
    ("gateway-redis", "node"),
    ("gateway-redis", "strong"),
    ("gateway-redis", "storage"),
    ("gateway-redis", "consensus"),
    ("sim", "gateway-redis"),
    ("sim", "gateway-http"),
    ("sim", "gateway-etcd"),
];

/// What tests may import from above: a disk that fails.
const ABOVE_IN_TESTS: [&str; 1] = ["faultdisk"];

/// Libraries that belong to some crates only, so that their types stay behind one door.
const ONLY_IN: [(&str, &[&str]); 10] = [
    ("raft", &["consensus"]),
    ("raft-proto", &["consensus"]),
    ("protobuf", &["consensus"]),
    ("slog", &["consensus"]),
    ("foca", &["gossip"]),
    ("lsm-tree", &["storage"]),
    ("redb", &["storage"]),
    ("hyper", &["runtime", "gateway-etcd"]),
    ("tonic", &["etcd-proto", "gateway-etcd", "cli", "bench", "server"]),
    ("tokio", &["gateway-etcd", "gateway-http", "gateway-redis", "runtime", "cli", "bench", "server"]),
];

/// One import: who, whom, and for what.
#[derive(Clone, Debug)]
struct Arrow {
    from: String,
    to: String,
    kind: DependencyKind,
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

fn judge_own(arrow: &Arrow) -> Option<String> {
    let (from, to) = (arrow.from.as_str(), arrow.to.as_str());
    let Some(from_floor) = floor(from) else { return Some(format!("{from}: give it a floor in crates/tidy")) };
    let Some(to_floor) = floor(to) else { return Some(format!("{to}: give it a floor in crates/tidy")) };
    let in_tests = arrow.kind == DependencyKind::Development;
    if NEVER.contains(&(from, to)) {
        return Some(format!("{from} imports {to}, of which it must know nothing"));
    }
    let is_down = to_floor < from_floor || BESIDE.contains(&(from, to));
    let is_allowed = is_down || (in_tests && ABOVE_IN_TESTS.contains(&to));
    (!is_allowed).then(|| format!("{from} imports {to}, which does not lie below it; move what it needs down"))
}

fn judge_library(arrow: &Arrow) -> Option<String> {
    let owners: BTreeMap<&str, &[&str]> = BTreeMap::from(ONLY_IN);
    let owners = owners.get(arrow.to.as_str())?;
    let is_allowed = owners.contains(&arrow.from.as_str());
    (!is_allowed).then(|| format!("{} imports the library {}, which only {owners:?} may", arrow.from, arrow.to))
}

fn short(name: &str) -> Option<&str> {
    name.strip_prefix("althing-")
}

/// All imports of the workspace's crates: those of each other, and those of libraries.
fn arrows() -> (Vec<Arrow>, Vec<Arrow>) {
    let all = members().into_iter().flat_map(|package| {
        let from = short(&package.name).unwrap_or(&package.name).to_owned();
        package.dependencies.iter().map(move |dependency| Arrow {
            from: from.clone(),
            to: dependency.name.clone(),
            kind: dependency.kind,
        })
    });
    let (own, libraries): (Vec<Arrow>, Vec<Arrow>) = all.partition(|arrow| short(&arrow.to).is_some());
    let own = own.into_iter().map(|arrow| Arrow { to: short(&arrow.to).unwrap_or_default().to_owned(), ..arrow });
    (own.collect(), libraries)
}

#[test]
fn every_crate_has_a_floor_and_its_short_name_as_directory() {
    let wrong: Vec<String> = members()
        .into_iter()
        .filter_map(|package| {
            let directory = package.manifest_path.parent()?.file_name()?;
            let fits = short(&package.name) == Some(directory) && floor(directory).is_some();
            (!fits)
                .then(|| format!("{} in {directory}: give it a floor and the name althing-{directory}", package.name))
        })
        .collect();
    assert_none(&wrong);
}

#[test]
fn arrows_between_crates_point_down() {
    let wrong: Vec<String> = arrows().0.iter().filter_map(judge_own).collect();
    assert_none(&wrong);
}

#[test]
fn libraries_stay_behind_their_doors() {
    let wrong: Vec<String> = arrows().1.iter().filter_map(judge_library).collect();
    assert_none(&wrong);
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    let wrong: Vec<String> = members()
        .into_iter()
        .filter(|package| {
            let manifest = std::fs::read_to_string(&package.manifest_path).expect("a manifest can be read");
            !manifest.contains("[lints]\nworkspace = true")
        })
        .map(|package| format!("{}: add [lints] workspace = true", package.manifest_path))
        .collect();
    assert_none(&wrong);
}

#[test]
fn an_arrow_that_goes_up_or_sideways_is_found() {
    let judge = |from: &str, to: &str, kind| judge_own(&Arrow { from: from.into(), to: to.into(), kind }).is_none();
    assert!(judge("node", "types", DependencyKind::Normal));
    assert!(judge("server", "cli", DependencyKind::Normal));
    assert!(judge("consensus", "faultdisk", DependencyKind::Development));
    assert!(!judge("types", "node", DependencyKind::Normal), "up");
    assert!(!judge("types", "node", DependencyKind::Development), "up in tests");
    assert!(!judge("consensus", "faultdisk", DependencyKind::Normal), "up, not in tests");
    assert!(!judge("sim", "runtime", DependencyKind::Normal), "sideways");
    assert!(!judge("gateway-etcd", "node", DependencyKind::Build), "behind api");
    assert!(!judge("node", "newcomer", DependencyKind::Normal), "without a floor");
}

#[test]
fn a_library_outside_its_door_is_found() {
    let judge = |from: &str, to: &str| {
        judge_library(&Arrow { from: from.into(), to: to.into(), kind: DependencyKind::Normal }).is_none()
    };
    assert!(judge("consensus", "raft") && judge("node", "bytes"));
    assert!(!judge("node", "raft") && !judge("node", "tokio"));
}
