//! Every direct dependency is explained, and the lists that two tools read agree.

use std::collections::BTreeSet;

use crate::licences::ALLOWED;
use crate::repository::{assert_none, members, metadata, read};

/// The libraries that the workspace's crates import themselves.
fn direct_dependencies() -> BTreeSet<String> {
    let all = members().into_iter().flat_map(|package| &package.dependencies);
    all.map(|dependency| dependency.name.clone()).filter(|name| !name.starts_with("althing-")).collect()
}

/// The libraries named in the first column of a table, each in backquotes.
fn explained(document: &str) -> BTreeSet<String> {
    let rows = document.lines().filter_map(|line| line.strip_prefix('|'));
    let cells = rows.filter_map(|row| row.split('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_direct_dependency_is_explained() {
    let explained = explained(&read("docs/dependencies.md"));
    let missing = direct_dependencies().into_iter().filter(|name| !explained.contains(name));
    assert_none(
        &missing.map(|name| format!("{name}: add a line to docs/dependencies.md: why it is here")).collect::<Vec<_>>(),
    );
}

#[test]
fn nothing_is_explained_that_is_not_there() {
    let present: BTreeSet<&str> = metadata().packages.iter().map(|package| package.name.as_str()).collect();
    let named = explained(&read("docs/dependencies.md"));
    let stale = named.into_iter().filter(|name| !present.contains(name.as_str()));
    let wrong = stale.map(|name| format!("{name}: it is gone; take it out of docs/dependencies.md"));
    assert_none(&wrong.collect::<Vec<_>>());
}

#[test]
fn cargo_deny_is_given_the_same_licences() {
    let deny = read("deny.toml");
    let wrong = ALLOWED.iter().filter(|licence| !deny.contains(&format!("\"{licence}\"")));
    assert_none(&wrong.map(|licence| format!("{licence}: add it to deny.toml")).collect::<Vec<_>>());
}

#[test]
fn a_table_is_read_by_its_first_column() {
    let document = "text `no`\n| crate | why |\n|---|---|\n| `a` =1, `b-c` | not `d` |\n";
    assert_eq!(explained(document), BTreeSet::from(["a".to_owned(), "b-c".to_owned()]));
}
