//! What is wrong, judged from what was found.

use std::collections::{BTreeMap, BTreeSet};

use althing_manifest::{Liveness, Node, Object, Schedule, Shard, Table, Truth, condition};

use super::gather::{Facts, Objects};
use super::{Finding, Severity};
use crate::verbs::words::{many, node_of, routed, shard_of};

/// Seconds by which clocks may differ: what is measured is right to about two.
const MAX_CLOCK_DIFFERENCE: i64 = 3;
/// Of a table's quota, in hundredths, what may be used before it is told.
const MAX_QUOTA_PERCENT: i128 = 80;
/// Names that a finding lists before it only counts.
const MAX_NAMED: usize = 5;

/// Everything that is wrong.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(reason) = &facts.silence {
        let help = "see that the nodes run, or name them: --endpoints HOST:PORT; althing context list".to_owned();
        findings.push(finding(Severity::Error, "the cluster", reason, "nothing can be said of it", help));
        return findings;
    }
    reachability(facts, &mut findings);
    leaders(facts, &mut findings);
    troubles(facts, &mut findings);
    quotas(facts, &mut findings);
    clocks(facts, &mut findings);
    match &facts.objects {
        Err(reason) => findings.push(finding(
            Severity::Error,
            "the control plane",
            reason,
            "its objects cannot be read: tables serve on, but nothing is repaired, moved or changed",
            "see which nodes hold the table meta and start them: althing status",
        )),
        Ok(objects) => {
            settled(objects, &mut findings);
            versions(objects, &mut findings);
            liveness(objects, &mut findings);
            schedules(objects, &mut findings);
            tables(objects, &mut findings);
            shards(objects, &mut findings);
            spread(objects, &mut findings);
        }
    }
    findings
}

fn finding(
    severity: Severity,
    about: impl Into<String>,
    what: impl Into<String>,
    means: impl Into<String>,
    help: impl Into<String>,
) -> Finding {
    Finding { severity, about: about.into(), what: what.into(), means: means.into(), help: help.into() }
}

fn reachability(facts: &Facts, findings: &mut Vec<Finding>) {
    for (name, asked) in &facts.nodes {
        if let Err(reason) = &asked.said {
            let at = if asked.at.is_empty() { String::new() } else { format!(" at {}", asked.at) };
            findings.push(finding(
                Severity::Error,
                format!("node/{name}"),
                format!("it does not answer{at}: {reason}"),
                "what it holds has one replica less, and clients that ask it are refused",
                format!("start it, or look at its log; althing describe node {name}"),
            ));
        }
    }
}

fn leaders(facts: &Facts, findings: &mut Vec<Finding>) {
    for (name, asked) in &facts.nodes {
        if asked.said.as_ref().is_ok_and(|said| said.status.leader == 0) {
            findings.push(finding(
                Severity::Error,
                format!("node/{name}"),
                "it knows no leader of the table default",
                "it takes no writes of that table: it is cut off from the others, or too few of them run",
                "see which nodes run and reach each other: althing status",
            ));
        }
    }
}

fn troubles(facts: &Facts, findings: &mut Vec<Finding>) {
    for (name, asked) in &facts.nodes {
        for trouble in asked.said.iter().flat_map(|said| &said.status.errors) {
            let (means, help) = if trouble.contains("NOSPACE") {
                (
                    "a disk or a quota is full: writes that add are refused everywhere, reads and removals go on",
                    "make room, then lower the alarm: docs/operations.md, \"Quota and the NOSPACE alarm\"",
                )
            } else if trouble.contains("CORRUPT") {
                (
                    "a replica's data differs from the others' or fails its checksum; it does not serve",
                    "replace the node: docs/operations.md, \"Replace a node that is lost\"",
                )
            } else {
                ("the node says so itself", "look at its log; althing status")
            };
            findings.push(finding(Severity::Error, format!("node/{name}"), trouble, means, help));
        }
    }
}

fn quotas(facts: &Facts, findings: &mut Vec<Finding>) {
    for (name, asked) in &facts.nodes {
        let Ok(said) = &asked.said else { continue };
        let (used, quota) = (i128::from(said.status.db_size_in_use), i128::from(said.status.db_size_quota));
        if quota > 0 && used * 100 > quota * MAX_QUOTA_PERCENT {
            findings.push(finding(
                Severity::Warning,
                format!("node/{name}"),
                format!("{} % of the quota of the table default are used", used * 100 / quota),
                "at 100 % writes that add are refused",
                "remove what is not needed and compact, or raise quota_bytes (docs/configuration.md)",
            ));
        }
    }
}

fn clocks(facts: &Facts, findings: &mut Vec<Finding>) {
    let clocks = facts.nodes.iter().filter_map(|(name, asked)| Some((asked.said.as_ref().ok()?.clock?, name)));
    let clocks: BTreeSet<_> = clocks.collect();
    if let (Some((least, slow)), Some((most, fast))) = (clocks.first(), clocks.last())
        && most - least > MAX_CLOCK_DIFFERENCE
    {
        findings.push(finding(
            Severity::Warning,
            format!("node/{fast}"),
            format!("its clock is {} s ahead of that of node/{slow}", most - least),
            "no data depends on it, but logs and metrics of the nodes do not fit together, and certificates may be refused",
            "see that all nodes take their time from the same source (chronyc tracking)",
        ));
    }
}

fn nodes_of(objects: &Objects) -> impl Iterator<Item = &Node> {
    objects.nodes.iter().filter_map(node_of)
}

fn tables_of(objects: &Objects) -> impl Iterator<Item = &Table> {
    objects.tables.iter().filter_map(|object| match object {
        Object::Table(table) => Some(table),
        Object::Cluster(_) | Object::Node(_) | Object::Shard(_) => None,
    })
}

fn settled(objects: &Objects, findings: &mut Vec<Finding>) {
    for object in &objects.clusters {
        let Object::Cluster(cluster) = object else { continue };
        let Some(settled) = condition::get(&cluster.status.conditions, condition::SETTLED) else { continue };
        if settled.status != Truth::True {
            let why = if settled.message.is_empty() { &settled.reason } else { &settled.message };
            findings.push(finding(
                Severity::Note,
                "the cluster",
                format!("replicas are on their way: {why}"),
                "it makes itself what it should be, one step after the other",
                "wait; althing describe cluster shows how far it is",
            ));
        }
    }
}

fn versions(objects: &Objects, findings: &mut Vec<Finding>) {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in nodes_of(objects).filter(|node| !node.status.version.is_empty()) {
        versions.entry(&node.status.version).or_default().push(node.name());
    }
    if versions.len() > 1 {
        let said: Vec<String> =
            versions.iter().map(|(version, names)| format!("{version} on {}", listed(names))).collect();
        findings.push(finding(
            Severity::Warning,
            "the cluster",
            format!("its nodes run different programs: {}", said.join("; ")),
            "two versions serve together, but what is new in the later one is not used yet",
            "go on with the upgrade, one node after the other",
        ));
    }
}

fn listed(names: &[&str]) -> String {
    match names.len().checked_sub(MAX_NAMED) {
        Some(more) if more > 0 => format!("{} and {more} more", names[..MAX_NAMED].join(", ")),
        Some(_) | None => names.join(", "),
    }
}

fn liveness(objects: &Objects, findings: &mut Vec<Finding>) {
    for node in nodes_of(objects) {
        let name = node.name();
        match node.status.liveness {
            Liveness::Up => {}
            Liveness::Silent => findings.push(finding(
                Severity::Error,
                format!("node/{name}"),
                "the control plane does not hear of it",
                format!(
                    "after the grace time its {} are rebuilt on other nodes",
                    many(node.status.replicas, "replica")
                ),
                format!("start it; or, if it is lost, wait until it holds nothing, then: althing delete node {name}"),
            )),
            Liveness::Unknown => findings.push(finding(
                Severity::Warning,
                format!("node/{name}"),
                "the control plane has never heard of it",
                "it has been announced, and gets nothing before it starts",
                format!("start it; or take it back: althing delete node {name}"),
            )),
        }
    }
}

fn schedules(objects: &Objects, findings: &mut Vec<Finding>) {
    for node in nodes_of(objects) {
        let name = node.name();
        let is_drained = condition::holds(&node.status.conditions, condition::DRAINED);
        let (what, means, help) = match (node.spec.schedule, is_drained) {
            (Schedule::Active, _) => continue,
            (Schedule::Cordoned, _) => (
                "it is cordoned",
                "it gets nothing new, and until that ends replicas are repaired but not balanced",
                format!("althing uncordon {name}"),
            ),
            (Schedule::Drain, false) => {
                ("it is being drained", "its replicas move to other nodes", format!("althing drain --wait {name}"))
            }
            (Schedule::Drain, true) => (
                "it is drained",
                "it holds nothing and can be taken away",
                format!("althing delete node {name}, then stop it; or althing uncordon {name}"),
            ),
        };
        findings.push(finding(Severity::Note, format!("node/{name}"), what, means, help));
    }
}

fn tables(objects: &Objects, findings: &mut Vec<Finding>) {
    for table in tables_of(objects) {
        let Some(ready) = condition::get(&table.status.conditions, condition::READY) else { continue };
        let severity = match ready.status {
            Truth::True => continue,
            Truth::False => Severity::Error,
            Truth::Unknown => Severity::Warning,
        };
        let why = if ready.message.is_empty() { &ready.reason } else { &ready.message };
        findings.push(finding(
            severity,
            format!("table/{}", table.name()),
            format!("its guarantee ({}) does not hold now: {why}", table.spec.guarantee.name()),
            "some of its keys are not served, or not as they should be",
            format!("althing describe table {}", table.name()),
        ));
    }
}

fn shards(objects: &Objects, findings: &mut Vec<Finding>) {
    let mut by_table: BTreeMap<&str, Vec<&Shard>> = BTreeMap::new();
    for shard in routed(&objects.shards.iter().filter_map(shard_of).collect::<Vec<_>>()) {
        by_table.entry(&shard.spec.table).or_default().push(shard);
    }
    for (table, shards) in by_table {
        let named = |wanted: &dyn Fn(&Shard) -> bool| {
            shards.iter().filter(|shard| wanted(shard)).map(|shard| shard.name()).collect::<Vec<_>>()
        };
        let leaderless = named(&|shard| shard.status.leader.is_none());
        if !leaderless.is_empty() {
            findings.push(finding(
                Severity::Error,
                format!("table/{table}"),
                format!("{} of {} shards have no leader: {}", leaderless.len(), shards.len(), listed(&leaderless)),
                "their keys are not served until a majority of their replicas is there",
                format!("start the nodes that hold them: althing describe table {table}"),
            ));
        }
        let short =
            named(&|shard| shard.status.leader.is_some() && !shard.spec.replicas.is_subset(&shard.status.voters));
        if !short.is_empty() {
            findings.push(finding(
                Severity::Warning,
                format!("table/{table}"),
                format!("{} of {} shards lack a replica: {}", short.len(), shards.len(), listed(&short)),
                "they serve, and bear the loss of fewer nodes than they should until the replicas are filled",
                format!("wait, and see that it goes on: althing describe table {table}"),
            ));
        }
    }
}

/// Whether nodes and zones are enough for what tables want.
fn spread(objects: &Objects, findings: &mut Vec<Finding>) {
    let able: Vec<&Node> = nodes_of(objects)
        .filter(|node| node.spec.schedule != Schedule::Drain && node.spec.capacity > 0)
        .filter(|node| node.status.liveness != Liveness::Silent)
        .collect();
    let zones: BTreeSet<&str> = able.iter().map(|node| node.spec.zone.as_str()).collect();
    for table in tables_of(objects) {
        let (name, replicas) = (table.name(), table.spec.replicas as usize);
        if able.len() < replicas {
            findings.push(finding(
                Severity::Warning,
                format!("table/{name}"),
                format!("it wants {replicas} replicas of each shard, and {} nodes can hold some", able.len()),
                "it bears the loss of fewer nodes than it should",
                "add nodes (althing server --join), or ask for fewer replicas (spec.replicas)",
            ));
        } else if zones.len() > 1 && zones.len() < replicas {
            findings.push(finding(
                Severity::Note,
                format!("table/{name}"),
                format!("it wants {replicas} replicas of each shard, and there are {} zones", zones.len()),
                "some zone holds more than one replica of a shard: its loss may take the majority",
                "add nodes in another zone (althing server --zone)",
            ));
        }
    }
}

#[cfg(test)]
mod tests;
