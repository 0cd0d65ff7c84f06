//! Values in words for people.

use std::collections::{BTreeMap, BTreeSet};

use althing_manifest::shard::Slice;
use althing_manifest::{Condition, Object, Phase, Schedule, Shard, Truth, condition, text};
use althing_types::{GroupId, NodeId};

/// The names of nodes by their ids.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names(BTreeMap<NodeId, String>);

impl Names {
    /// Of these objects, those that are nodes.
    pub fn of(objects: &[Object]) -> Self {
        Self(objects.iter().filter_map(node_of).map(|node| (node.spec.id, node.name().to_owned())).collect())
    }

    /// The name of a node, or its id if it has no object.
    pub fn name(&self, id: NodeId) -> String {
        self.0.get(&id).cloned().unwrap_or_else(|| text::node_id_text(id))
    }

    /// The names of nodes, in the order of names.
    pub fn list(&self, ids: &BTreeSet<NodeId>) -> String {
        let mut names: Vec<String> = ids.iter().map(|id| self.name(*id)).collect();
        names.sort();
        if names.is_empty() { "-".to_owned() } else { names.join(",") }
    }
}

/// The node that an object is.
pub fn node_of(object: &Object) -> Option<&althing_manifest::Node> {
    match object {
        Object::Node(node) => Some(node),
        Object::Cluster(_) | Object::Table(_) | Object::Shard(_) => None,
    }
}

/// The shard that an object is.
pub fn shard_of(object: &Object) -> Option<&Shard> {
    match object {
        Object::Shard(shard) => Some(shard),
        Object::Cluster(_) | Object::Table(_) | Object::Node(_) => None,
    }
}

/// Of all shards those to which requests go, so that no key counts twice while a shard is split.
pub fn routed<'a>(shards: &[&'a Shard]) -> Vec<&'a Shard> {
    let serving: BTreeSet<GroupId> =
        shards.iter().filter(|shard| shard.spec.phase == Phase::Serving).map(|shard| shard.spec.group).collect();
    let is_routed = |shard: &Shard| match shard.spec.phase {
        Phase::Serving => true,
        Phase::Filling => !shard.spec.parent.is_some_and(|parent| serving.contains(&parent)),
        Phase::Retiring => false,
    };
    shards.iter().copied().filter(|shard| is_routed(shard)).collect()
}

/// A size: `64 MiB`, `1.5 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if value.fract() < 0.05 => format!("{value:.0} {}", UNITS[unit]),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

/// Which keys of its table a shard holds.
pub fn slice(slice: &Slice) -> String {
    match slice {
        Slice::Hash(part) => format!("{}/{}", part.index + 1, part.of),
        Slice::Range(range) => {
            let start = if range.start.is_empty() { String::new() } else { text::escape(&range.start) };
            let end = range.end.as_deref().map(text::escape).unwrap_or_default();
            format!("[{start}..{end})")
        }
    }
}

/// How a node stands: whether it is heard of, and whether it gets replicas.
pub fn node_state(node: &althing_manifest::Node) -> String {
    let liveness = node.status.liveness.name();
    let is_drained = condition::holds(&node.status.conditions, condition::DRAINED);
    match (node.spec.schedule, is_drained) {
        (Schedule::Active, _) => liveness.to_owned(),
        (Schedule::Cordoned, _) => format!("{liveness},cordoned"),
        (Schedule::Drain, false) => format!("{liveness},draining"),
        (Schedule::Drain, true) => format!("{liveness},drained"),
    }
}

/// Whether a condition holds: `True`, or why not.
pub fn holds(conditions: &[Condition], about: &str) -> String {
    match condition::get(conditions, about) {
        None => Truth::Unknown.name().to_owned(),
        Some(found) if found.status == Truth::True => "True".to_owned(),
        Some(found) => format!("{} ({})", found.status.name(), found.reason),
    }
}

/// Labels: `a=b,c=d`.
pub fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() { "-".to_owned() } else { pairs.join(",") }
}

/// A text, or a dash for none.
pub fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// One thing or many: `1 shard`, `2 shards`.
pub fn many(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_manifest::shard::RangeSlice;

    #[test]
    fn sizes_are_in_the_unit_that_people_would_use() {
        let said: Vec<String> = [0, 1023, 1024, 1536, 64 << 20, (3 << 30) + (1 << 29), u64::MAX].map(bytes).to_vec();
        assert_eq!(said, ["0 B", "1023 B", "1 KiB", "1.5 KiB", "64 MiB", "3.5 GiB", "16777216 TiB"]);
    }

    #[test]
    fn a_slice_is_a_part_or_a_range() {
        assert_eq!(slice(&Slice::part(0, 4)), "1/4");
        let range = RangeSlice { start: b"a\x00".to_vec(), end: None };
        assert_eq!(slice(&Slice::Range(range)), "[a%00..)");
    }
}
