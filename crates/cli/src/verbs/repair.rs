//! How far the replicas of a convergent shard are with making each other whole, read from the metrics pages of their nodes.
//!
//! Each replica says it of itself; nobody gathers it. So what a node that does not answer has done is not known, and is said so.

use std::collections::{BTreeMap, BTreeSet};

use althing_manifest::{Node, Shard};
use althing_types::NodeId;
use serde::Serialize;

use super::words::{self, Names, many};
use crate::liveness::age;
use crate::objects::Cluster;
use crate::samples::{label, labelled};
use crate::table;

/// How the replicas of a shard stand.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repair {
    /// Each replica that answers with each other one, by names.
    pub replicas: Vec<Pair>,
    /// Nodes with a replica that do not answer, by name.
    pub unreached: Vec<String>,
}

/// How one replica stands with another one.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// The node whose replica says it.
    pub replica: String,
    /// The node of the other replica.
    pub with: String,
    /// The round between them that the first has begun and not ended.
    pub round: Option<Round>,
    /// The last one that came to its end since the first replica's start.
    pub last: Option<Last>,
    /// Rounds that broke off since.
    pub broken: u64,
    /// Deltas that the other has not acknowledged to the first.
    pub hints: Hints,
}

/// A round that is under way.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// `planting`, `comparing`, `mending`, or `waiting` for its budget.
    pub stage: String,
    /// How long it has taken.
    pub seconds: f64,
    /// Parts of the tree that are compared and mended; all of them only when the round is over.
    pub parts_done: u64,
    /// All parts; 0 until the tree is made.
    pub parts: u64,
    /// What it has found so far.
    #[serde(flatten)]
    pub tally: Tally,
}

/// A round that came to its end.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Last {
    /// How long ago.
    pub seconds_ago: f64,
    /// How long it took.
    pub seconds: f64,
    /// What it found.
    #[serde(flatten)]
    pub tally: Tally,
}

/// What a round has found and done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Keys in which the two trees differed.
    pub differing: u64,
    /// Keys that were mended on one side or both.
    pub mended: u64,
    /// Bytes sent and received.
    pub bytes: u64,
}

/// Deltas that wait for a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hints {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that are not kept besides, which the next round brings.
    pub left_to_repair: u64,
}

/// Asks every node that has a replica of the shard.
pub async fn ask(cluster: &Cluster, shard: &Shard, nodes: &[&Node], names: &Names) -> Repair {
    let ids: BTreeSet<NodeId> = shard.status.voters.union(&shard.status.learners).copied().collect();
    let urls = nodes.iter().filter(|node| ids.contains(&node.spec.id)).filter_map(|node| {
        let url = node.spec.client_urls.first()?;
        Some((node.spec.id, url.as_str()))
    });
    let pages = cluster.pages(urls.collect()).await;
    let mut repair = Repair::default();
    for id in &ids {
        match pages.get(id) {
            Some(page) => {
                let others = ids.iter().filter(|other| *other != id);
                repair.replicas.extend(others.map(|other| read(page, shard, (*id, *other), names)));
            }
            None => repair.unreached.push(names.name(*id)),
        }
    }
    repair.replicas.sort_by(|one, other| (&one.replica, &one.with).cmp(&(&other.replica, &other.with)));
    repair.unreached.sort();
    repair
}

/// What the page of a node says of its replica and another one.
fn read(page: &str, shard: &Shard, (own, other): (NodeId, NodeId), names: &Names) -> Pair {
    let (group, peer) = (shard.spec.group.get().to_string(), other.to_string());
    let samples = |family: &'static str| {
        labelled(page, family).filter(|(labels, _)| {
            label(labels, "group") == Some(group.as_str()) && label(labels, "peer") == Some(peer.as_str())
        })
    };
    let seconds = |family| samples(family).next().map(|(_, value)| value);
    // A count that is not shown is 0.
    let count = |family| seconds(family).map_or(0, |value| value.max(0.0) as u64);
    let round = samples("althing_repair_round_seconds").next().map(|(labels, seconds)| Round {
        stage: label(labels, "stage").unwrap_or_default().to_owned(),
        seconds,
        parts_done: count("althing_repair_round_parts_done"),
        parts: count("althing_repair_round_parts"),
        tally: Tally {
            differing: count("althing_repair_round_differing"),
            mended: count("althing_repair_round_mended"),
            bytes: count("althing_repair_round_bytes"),
        },
    });
    let last = seconds("althing_repair_last_seconds").map(|seconds_ago| Last {
        seconds_ago,
        seconds: seconds("althing_repair_last_took_seconds").unwrap_or_default(),
        tally: Tally {
            differing: count("althing_repair_last_differing"),
            mended: count("althing_repair_last_mended"),
            bytes: count("althing_repair_last_bytes"),
        },
    });
    Pair {
        replica: names.name(own),
        with: names.name(other),
        round,
        last,
        broken: count("althing_repair_broken"),
        hints: Hints {
            count: count("althing_hints_waiting"),
            bytes: count("althing_hints_waiting_bytes"),
            left_to_repair: count("althing_hints_left_to_repair"),
        },
    }
}

/// A time in words, which may be a short one.
fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds.max(0.0) * 1_000.0) } else { age(seconds) }
}

impl Tally {
    fn words(self) -> String {
        match (self.differing, self.mended) {
            (0, 0) => format!("nothing differed, {}", words::bytes(self.bytes)),
            (differing, mended) => {
                format!("{} differed, {mended} mended, {}", many(differing, "key"), words::bytes(self.bytes))
            }
        }
    }
}

impl Hints {
    fn words(self) -> String {
        let Self { count, bytes, left_to_repair } = self;
        match (count, left_to_repair) {
            (0, 0) => "-".to_owned(),
            (count, 0) => format!("{count}, {}", words::bytes(bytes)),
            (count, left) => format!("{count}, {}; {left} more left to repair", words::bytes(bytes)),
        }
    }
}

impl Round {
    /// The share that is done is rounded down: only a round that is over has 100 %.
    fn words(&self) -> String {
        let (stage, time) = (&self.stage, time(self.seconds));
        match (u128::from(self.parts_done) * 100).checked_div(u128::from(self.parts)) {
            Some(percent) => format!("{stage}, {percent} % in {time}; {}", self.tally.words()),
            None => format!("{stage} for {time}"),
        }
    }
}

impl Repair {
    /// As a table, without its heading.
    pub fn table(&self) -> String {
        let rows = self.replicas.iter().map(|pair| {
            let round = pair.round.as_ref().map_or_else(|| "-".to_owned(), Round::words);
            let last = pair.last.as_ref().map_or_else(
                || "none since its start".to_owned(),
                |last| format!("{} ago, in {}; {}", time(last.seconds_ago), time(last.seconds), last.tally.words()),
            );
            let broken = if pair.broken == 0 { String::new() } else { format!(", {} broken off", pair.broken) };
            vec![format!("  {}", pair.replica), pair.with.clone(), round, last + &broken, pair.hints.words()]
        });
        let silent = self.unreached.iter().map(|name| {
            let dash = || "-".to_owned();
            vec![format!("  {name}"), dash(), "it does not answer".to_owned(), dash(), dash()]
        });
        let mut out = Vec::new();
        // Writing to memory cannot fail.
        let head = ["  REPLICA", "WITH", "ROUND UNDER WAY", "LAST COMPLETE ROUND", "HINTS"];
        let _ = table::print(&head, rows.chain(silent).collect(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// How the shards among some objects stand, by the names of the shards; only of convergent tables.
pub type Repairs = BTreeMap<String, Repair>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_at_a_hundred_percent_only_when_it_is_over() {
        let tally = Tally { differing: 1, mended: 1, bytes: 2_048 };
        let round = Round { stage: "mending".into(), seconds: 61.0, parts_done: 65_536, parts: 65_537, tally };
        assert_eq!(round.words(), "mending, 99 % in 1 min 1 s; 1 key differed, 1 mended, 2 KiB");
        let begun = Round { stage: "planting".into(), parts_done: 0, parts: 0, ..round };
        assert_eq!(begun.words(), "planting for 1 min 1 s");
    }
}
