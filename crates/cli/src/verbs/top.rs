//! `althing top`: what nodes, tables and shards use.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use althing_manifest::{Kind, Node, Shard, Table};
use clap::{Args, Subcommand};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::words::{self, Names, node_of, shard_of};
use crate::error::CliError;
use crate::objects::Cluster;
use crate::remote::RemoteArgs;
use crate::samples;
use crate::screen::Screen;
use crate::table;

/// Of what.
#[derive(Debug, Subcommand)]
pub enum TopCommand {
    /// Requests, reads and applied entries in a second, and what is on disk; the busiest first.
    Nodes(TopNodesArgs),
    /// Keys and bytes, the largest first.
    Tables(TopArgs),
    /// Keys and bytes, the largest first.
    Shards(TopArgs),
}

/// Settings of `althing top nodes`.
#[derive(Clone, Debug, Args)]
pub struct TopNodesArgs {
    /// Between two looks at each node, from which rates are made, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    pub interval_ms: u64,
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Settings of the others.
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    /// At most so many lines.
    #[arg(long, value_name = "LINES", default_value_t = 20)]
    pub limit: usize,
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

impl TopCommand {
    pub(super) const fn remote(&self) -> &RemoteArgs {
        match self {
            Self::Nodes(args) => &args.remote,
            Self::Tables(args) | Self::Shards(args) => &args.remote,
        }
    }
}

/// Shows it.
pub async fn run(command: &TopCommand, cluster: &Cluster, screen: &mut Screen<'_>) -> Result<(), CliError> {
    let nodes = cluster.list(Kind::Node, None).await?.items;
    let shards = cluster.list(Kind::Shard, None).await?.items;
    let shards: Vec<&Shard> = shards.iter().filter_map(shard_of).collect();
    let (head, rows): (&[&str], _) = match command {
        TopCommand::Nodes(args) => {
            let nodes: Vec<&Node> = nodes.iter().filter_map(node_of).collect();
            let first = pages(&cluster.remote, &nodes).await;
            sleep(Duration::from_millis(args.interval_ms)).await;
            let second = pages(&cluster.remote, &nodes).await;
            let seconds = Duration::from_millis(args.interval_ms).as_secs_f64();
            (&NODES, node_rows(&nodes, &first, &second, seconds))
        }
        TopCommand::Tables(args) => {
            let tables = cluster.list(Kind::Table, None).await?.items;
            let tables: Vec<&Table> = tables
                .iter()
                .filter_map(|object| match object {
                    althing_manifest::Object::Table(table) => Some(table),
                    _ => None,
                })
                .collect();
            (&TABLES, table_rows(&tables, &words::routed(&shards), args.limit))
        }
        TopCommand::Shards(args) => (&SHARDS, shard_rows(&shards, &Names::of(&nodes), args.limit)),
    };
    table::print(head, rows, screen.out).map_err(CliError::failed)
}

const NODES: [&str; 10] =
    ["NAME", "ZONE", "REPLICAS", "LEADERS", "REQUESTS/S", "READS/S", "APPLIED/S", "WAITING", "LOG", "DATA"];
const TABLES: [&str; 6] = ["NAME", "SHARDS", "KEYS", "BYTES", "MEAN-SHARD", "LARGEST-SHARD"];
const SHARDS: [&str; 6] = ["NAME", "SLICE", "LEADER", "VOTERS", "KEYS", "BYTES"];

/// The metrics pages of nodes by name, of those that answer. All are asked at once.
pub async fn pages(remote: &RemoteArgs, nodes: &[&Node]) -> BTreeMap<String, String> {
    let mut asked = JoinSet::new();
    for node in nodes {
        let Some(url) = node.spec.client_urls.first().cloned() else { continue };
        let (remote, name) = (remote.clone(), node.name().to_owned());
        asked.spawn(async move { (name, remote.metrics(&url).await) });
    }
    let mut pages = BTreeMap::new();
    while let Some(answered) = asked.join_next().await {
        if let Ok((name, Ok(page))) = answered {
            pages.insert(name, page);
        }
    }
    pages
}

fn node_rows(
    nodes: &[&Node],
    first: &BTreeMap<String, String>,
    second: &BTreeMap<String, String>,
    seconds: f64,
) -> Vec<Vec<String>> {
    let rate = |name: &str, family: &str| {
        let sample = |pages: &BTreeMap<String, String>| samples::value(pages.get(name)?, family);
        Some(((sample(second)? - sample(first)?) / seconds).max(0.0))
    };
    let mut rows: Vec<_> = nodes
        .iter()
        .map(|node| {
            let name = node.name();
            let page = second.get(name).map(String::as_str).unwrap_or_default();
            let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
            let size = |family| {
                samples::value(page, family).map_or_else(|| "-".to_owned(), |value| words::bytes(value.max(0.0) as u64))
            };
            let requests = rate(name, "althing_requests_total");
            let row = vec![
                name.to_owned(),
                words::or_dash(&node.spec.zone),
                node.status.replicas.to_string(),
                node.status.leaders.to_string(),
                shown(requests),
                shown(rate(name, "althing_reads_total")),
                shown(rate(name, "althing_applied_entries_total")),
                shown(samples::value(page, "althing_requests_pending")),
                size("althing_wal_bytes"),
                size("althing_engine_disk_bytes"),
            ];
            (Reverse(requests.map_or(0, |rate| rate as u64)), row)
        })
        .collect();
    rows.sort();
    rows.into_iter().map(|(_, row)| row).collect()
}

fn table_rows(tables: &[&Table], shards: &[&Shard], limit: usize) -> Vec<Vec<String>> {
    let mut rows: Vec<_> = tables
        .iter()
        .map(|table| {
            let own = shards.iter().filter(|shard| shard.spec.table == table.name());
            let (mut count, mut keys, mut bytes, mut largest) = (0_u64, 0_u64, 0_u64, 0_u64);
            for shard in own {
                count += 1;
                keys = keys.saturating_add(shard.status.keys);
                bytes = bytes.saturating_add(shard.status.bytes);
                largest = largest.max(shard.status.bytes);
            }
            let mean = bytes.checked_div(count).unwrap_or_default();
            let cells =
                [count.to_string(), keys.to_string(), words::bytes(bytes), words::bytes(mean), words::bytes(largest)];
            (Reverse(bytes), std::iter::once(table.name().to_owned()).chain(cells).collect::<Vec<_>>())
        })
        .collect();
    rows.sort();
    rows.into_iter().take(limit).map(|(_, row)| row).collect()
}

fn shard_rows(shards: &[&Shard], names: &Names, limit: usize) -> Vec<Vec<String>> {
    let mut sorted: Vec<&&Shard> = shards.iter().collect();
    sorted.sort_by_key(|shard| (Reverse(shard.status.bytes), shard.name().to_owned()));
    let row = |shard: &&Shard| {
        vec![
            shard.name().to_owned(),
            words::slice(&shard.spec.slice),
            shard.status.leader.map_or_else(|| "-".to_owned(), |leader| names.name(leader)),
            names.list(&shard.status.voters),
            shard.status.keys.to_string(),
            words::bytes(shard.status.bytes),
        ]
    };
    sorted.into_iter().take(limit).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_manifest::NodeSpec;
    use althing_types::NodeId;

    #[test]
    fn rates_are_made_of_two_looks_and_a_silent_node_has_none() {
        let nodes = [Node::new("n1", NodeSpec::new(NodeId(1))), Node::new("n2", NodeSpec::new(NodeId(2)))];
        let nodes: Vec<&Node> = nodes.iter().collect();
        let page = |requests| format!("althing_requests_total {requests}\nalthing_wal_bytes 2048\n");
        let first = BTreeMap::from([("n2".to_owned(), page(100))]);
        let second = BTreeMap::from([("n2".to_owned(), page(350))]);
        let rows = node_rows(&nodes, &first, &second, 0.5);
        assert_eq!(rows[0], ["n2", "-", "0", "0", "500", "-", "-", "-", "2 KiB", "-"]);
        assert_eq!(rows[1], ["n1", "-", "0", "0", "-", "-", "-", "-", "-", "-"]);
    }
}
