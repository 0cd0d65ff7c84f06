//! Where the replicas of a table are: a row for each node, a column for each shard.
//!
//! ```text
//!            shards 16 to 23
//!   n1  z=a  LooLooLo
//!   n2  z=b  oLooLooL
//!   n3  z=c  ooLoo!oo
//! ```

use std::collections::BTreeSet;

use althing_manifest::{Node, Shard};
use althing_types::NodeId;

use super::words::Names;
use crate::screen::{Ink, Look};

/// Shards in one block of rows: what fits a line of 80 characters beside a name.
const PER_BLOCK: usize = 64;
/// Shards that are drawn at the most: more is no picture any more, and `althing get shards` lists them.
pub const MAX_SHARDS: usize = 512;

/// What the letters mean.
pub const LEGEND: &str =
    "L leads   o votes   + is being filled   ! is wanted and not there   x is there and not wanted   . nothing";

/// What a node has of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cell {
    Leads,
    Votes,
    Learns,
    Missing,
    Surplus,
    Nothing,
}

impl Cell {
    fn of(node: NodeId, shard: &Shard) -> Self {
        let (spec, status) = (&shard.spec, &shard.status);
        let is_wanted = spec.replicas.contains(&node);
        if status.leader == Some(node) {
            Self::Leads
        } else if status.voters.contains(&node) {
            if is_wanted { Self::Votes } else { Self::Surplus }
        } else if status.learners.contains(&node) {
            if is_wanted { Self::Learns } else { Self::Surplus }
        } else if is_wanted {
            Self::Missing
        } else {
            Self::Nothing
        }
    }

    fn drawn(self, look: Look) -> String {
        match self {
            Self::Leads => look.ink(Ink::Heading, "L"),
            Self::Votes => "o".to_owned(),
            Self::Learns => look.ink(Ink::Warning, "+"),
            Self::Missing => look.ink(Ink::Bad, "!"),
            Self::Surplus => look.ink(Ink::Warning, "x"),
            Self::Nothing => look.ink(Ink::Faint, "."),
        }
    }
}

/// Draws shards, which are in the order of their groups, on nodes.
pub fn draw(shards: &[&Shard], nodes: &[&Node], names: &Names, look: Look) -> String {
    let rows = rows(shards, nodes, names);
    let width = rows.iter().map(|(_, title)| title.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for block in shards.chunks(PER_BLOCK).take(MAX_SHARDS / PER_BLOCK) {
        let (first, last) = (block[0].spec.group, block[block.len() - 1].spec.group);
        let range = if block.len() == 1 { format!("shard {first}") } else { format!("shards {first} to {last}") };
        text.push_str(&format!("  {:width$}  {}\n", "", look.ink(Ink::Faint, &range)));
        for (node, title) in &rows {
            let cells: String = block.iter().map(|shard| Cell::of(*node, shard).drawn(look)).collect();
            text.push_str(&format!("  {title:width$}  {cells}\n"));
        }
    }
    if shards.len() > MAX_SHARDS {
        text.push_str(&format!("  and {} more shards: althing get shards\n", shards.len() - MAX_SHARDS));
    }
    text
}

/// The nodes that have something to do with the shards, by zone and name; those without an object come last.
fn rows(shards: &[&Shard], nodes: &[&Node], names: &Names) -> Vec<(NodeId, String)> {
    let mut ids: BTreeSet<NodeId> = nodes.iter().map(|node| node.spec.id).collect();
    let known = ids.clone();
    for shard in shards {
        ids.extend(shard.spec.replicas.iter().chain(&shard.status.voters).chain(&shard.status.learners));
    }
    let mut listed: Vec<&&Node> = nodes.iter().collect();
    listed.sort_by_key(|node| (node.spec.zone.clone(), node.name().to_owned()));
    let title = |node: &Node| match node.spec.zone.as_str() {
        "" => node.name().to_owned(),
        zone => format!("{} ({zone})", node.name()),
    };
    let mut rows: Vec<_> = listed.into_iter().map(|node| (node.spec.id, title(node))).collect();
    rows.extend(ids.difference(&known).map(|id| (*id, names.name(*id))));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_manifest::{NodeSpec, ShardSpec};
    use serde_json::json;

    fn shard(group: u64, wanted: &[u64], voters: &[u64], learners: &[u64], leader: u64) -> Shard {
        let ids = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect::<BTreeSet<_>>();
        let replicas: Vec<String> = wanted.iter().map(|id| format!("{id:x}")).collect();
        let slice = json!({ "hash": { "index": 0, "of": 1 } });
        let spec = json!({ "table": "t", "group": group, "slice": slice, "replicas": replicas });
        let spec: ShardSpec = serde_json::from_value(spec).unwrap();
        let mut shard = Shard::new(&format!("t-{group}"), spec);
        shard.status.voters = ids(voters);
        shard.status.learners = ids(learners);
        shard.status.leader = (leader != 0).then_some(NodeId(leader));
        shard
    }

    #[test]
    fn a_picture_shows_who_leads_who_is_filled_and_who_is_missing() {
        let node =
            |name: &str, id, zone: &str| Node::new(name, NodeSpec { zone: zone.into(), ..NodeSpec::new(NodeId(id)) });
        let nodes = [node("n1", 1, "b"), node("n2", 2, "a"), node("n3", 3, "")];
        let shards = [shard(16, &[1, 2, 3], &[1, 2, 3], &[], 1), shard(17, &[1, 2, 3], &[2, 4], &[3], 2)];
        let nodes: Vec<&Node> = nodes.iter().collect();
        let shards: Vec<&Shard> = shards.iter().collect();
        let text = draw(&shards, &nodes, &Names::default(), Look::Plain);
        assert_eq!(text, "          shards 16 to 17\n  n3      o+\n  n2 (a)  oL\n  n1 (b)  L!\n  4       .x\n");
    }
}
