//! The faults of `[[at]]`: which there are, what each needs, and how a node is named.

use althing_types::{Duration, NodeId};

use super::text::Text;
use crate::clocks::Jump;
use crate::faults::{Fault, Mail};
use crate::scene::{FOLLOWER, LEADER, META};
use crate::triggers::{Blow, Moment};

/// What an entry of `[[at]]` may say besides its time and its fault.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Props {
    /// Whom it hits.
    pub node: Option<NodeId>,
    /// One side of a partition.
    pub island: Option<Vec<NodeId>>,
    /// Who is not heard.
    pub from: Option<NodeId>,
    /// Who does not hear, or who shall lead.
    pub to: Option<NodeId>,
    /// By how much, or how far forward.
    pub by: Option<Duration>,
    /// How far back.
    pub back: Option<Duration>,
    /// How much too fast, in parts per million.
    pub ppm: Option<i32>,
    /// From which the place follows.
    pub seed: Option<u32>,
}

/// The keys of an entry, in the order in which they are written.
pub const KEYS: [&str; 11] = ["time", "fault", "node", "island", "from", "to", "by", "back", "ppm", "seed", "lasting"];

/// The faults by name.
pub const FAULTS: [&str; 38] = [
    "partition",
    "one-way",
    "heal",
    "crash",
    "kill",
    "restart",
    "pause",
    "resume",
    "slow-disk",
    "fail-sync",
    "fail-write",
    "full-disk",
    "free-disk",
    "transfer",
    "stop",
    "clog",
    "unclog",
    "slow-node",
    "jump-clock",
    "drift",
    "rot",
    "rot-on-read",
    "wipe",
    "keep-image",
    "roll-back",
    "copy",
    "unplug",
    "lose-syncs",
    "keep-syncs",
    "checkpoint",
    "compact",
    "withhold-maps",
    "deliver-maps",
    "withhold-reports",
    "deliver-reports",
    "mislead",
    "undeceive",
    "destroy",
];

/// Makes the fault of a name. What it needs is taken out of the props: what is left, it does not know.
pub fn fault(name: &str, props: &mut Props) -> Result<Fault, String> {
    if let Some(fault) = on_a_node(name) {
        return Ok(fault(need(name, "node", NODE_EXAMPLE, props.node.take())?));
    }
    match name {
        "slow-disk" | "slow-node" => {
            let node = need(name, "node", NODE_EXAMPLE, props.node.take())?;
            let by = need(name, "by", "\"200ms\"", props.by.take())?;
            Ok(if name == "slow-disk" { Fault::SlowDisk { node, by } } else { Fault::SlowNode { node, by } })
        }
        "jump-clock" => {
            let node = need(name, "node", NODE_EXAMPLE, props.node.take())?;
            let jump = props.by.take().map(Jump::Forward).or_else(|| props.back.take().map(Jump::Back));
            Ok(Fault::JumpClock { node, jump: need(name, "by", "\"1h\"` (or `back = \"1h\"`)", jump)? })
        }
        "drift" => {
            let node = need(name, "node", NODE_EXAMPLE, props.node.take())?;
            Ok(Fault::Drift { node, ppm: need(name, "ppm", "-500", props.ppm.take())? })
        }
        "rot" | "rot-on-read" => {
            let node = need(name, "node", NODE_EXAMPLE, props.node.take())?;
            let seed = props.seed.take().unwrap_or_default();
            Ok(if name == "rot" { Fault::Rot { node, seed } } else { Fault::RotOnRead { node, seed } })
        }
        "transfer" => Ok(Fault::TransferLeader(need(name, "to", NODE_EXAMPLE, props.to.take())?)),
        "partition" => {
            let island = props.island.take().filter(|island| !island.is_empty());
            Ok(Fault::Partition { island: need(name, "island", "[1, 2]", island)? })
        }
        "one-way" => {
            let from = need(name, "from", NODE_EXAMPLE, props.from.take())?;
            Ok(Fault::OneWay { from, to: need(name, "to", NODE_EXAMPLE, props.to.take())? })
        }
        "heal" => Ok(Fault::Heal),
        unknown => Err(format!("unknown fault `{unknown}`{}", crate::nearest::hint(unknown, &FAULTS, "faults"))),
    }
}

/// Faults that need to know of a node, and of nothing else.
fn on_a_node(name: &str) -> Option<fn(NodeId) -> Fault> {
    Some(match name {
        "crash" => Fault::Crash,
        "kill" => Fault::Kill,
        "restart" => Fault::Restart,
        "pause" => Fault::Pause,
        "resume" => Fault::Resume,
        "fail-sync" => Fault::FailSync,
        "fail-write" => Fault::FailWrite,
        "full-disk" => Fault::FillDisk,
        "free-disk" => Fault::FreeDisk,
        "stop" => Fault::Stop,
        "clog" => Fault::Clog,
        "unclog" => Fault::Unclog,
        "wipe" => Fault::Wipe,
        "keep-image" => Fault::KeepImage,
        "roll-back" => Fault::RollBack,
        "copy" => Fault::Copy,
        "unplug" => Fault::Unplug,
        "lose-syncs" => Fault::LoseSyncs,
        "keep-syncs" => Fault::KeepSyncs,
        "checkpoint" => Fault::Checkpoint,
        "compact" => Fault::Compact,
        "withhold-maps" => |node| Fault::Withhold { node, what: Mail::Maps },
        "deliver-maps" => |node| Fault::Deliver { node, what: Mail::Maps },
        "withhold-reports" => |node| Fault::Withhold { node, what: Mail::Reports },
        "deliver-reports" => |node| Fault::Deliver { node, what: Mail::Reports },
        "mislead" => Fault::Mislead,
        "undeceive" => Fault::Undeceive,
        "destroy" => Fault::Destroy,
        _ => return None,
    })
}

const NODE_EXAMPLE: &str = "1` (or \"leader\", or \"follower\")";

fn need<T>(name: &str, key: &str, example: &str, value: Option<T>) -> Result<T, String> {
    let close = if example.ends_with(')') { "" } else { "`" };
    value.ok_or_else(|| format!("`{name}` needs `{key} = {example}{close}"))
}

/// The name of a fault and what it says besides.
pub fn describe(fault: &Fault) -> (&'static str, Props) {
    let none = Props::default();
    let on = |node: &NodeId| Props { node: Some(*node), ..Props::default() };
    match fault {
        Fault::Partition { island } => ("partition", Props { island: Some(island.clone()), ..none }),
        Fault::OneWay { from, to } => ("one-way", Props { from: Some(*from), to: Some(*to), ..none }),
        Fault::Heal => ("heal", none),
        Fault::Crash(node) => ("crash", on(node)),
        Fault::Kill(node) => ("kill", on(node)),
        Fault::Restart(node) => ("restart", on(node)),
        Fault::Pause(node) => ("pause", on(node)),
        Fault::Resume(node) => ("resume", on(node)),
        Fault::SlowDisk { node, by } => ("slow-disk", Props { by: Some(*by), ..on(node) }),
        Fault::FailSync(node) => ("fail-sync", on(node)),
        Fault::FailWrite(node) => ("fail-write", on(node)),
        Fault::FillDisk(node) => ("full-disk", on(node)),
        Fault::FreeDisk(node) => ("free-disk", on(node)),
        Fault::TransferLeader(to) => ("transfer", Props { to: Some(*to), ..none }),
        Fault::Stop(node) => ("stop", on(node)),
        Fault::Clog(node) => ("clog", on(node)),
        Fault::Unclog(node) => ("unclog", on(node)),
        Fault::SlowNode { node, by } => ("slow-node", Props { by: Some(*by), ..on(node) }),
        Fault::JumpClock { node, jump: Jump::Forward(by) } => ("jump-clock", Props { by: Some(*by), ..on(node) }),
        Fault::JumpClock { node, jump: Jump::Back(by) } => ("jump-clock", Props { back: Some(*by), ..on(node) }),
        Fault::Drift { node, ppm } => ("drift", Props { ppm: Some(*ppm), ..on(node) }),
        Fault::Rot { node, seed } => ("rot", Props { seed: Some(*seed), ..on(node) }),
        Fault::RotOnRead { node, seed } => ("rot-on-read", Props { seed: Some(*seed), ..on(node) }),
        Fault::Wipe(node) => ("wipe", on(node)),
        Fault::KeepImage(node) => ("keep-image", on(node)),
        Fault::RollBack(node) => ("roll-back", on(node)),
        Fault::Copy(node) => ("copy", on(node)),
        Fault::Unplug(node) => ("unplug", on(node)),
        Fault::LoseSyncs(node) => ("lose-syncs", on(node)),
        Fault::KeepSyncs(node) => ("keep-syncs", on(node)),
        Fault::Checkpoint(node) => ("checkpoint", on(node)),
        Fault::Compact(node) => ("compact", on(node)),
        Fault::Withhold { node, what: Mail::Maps } => ("withhold-maps", on(node)),
        Fault::Deliver { node, what: Mail::Maps } => ("deliver-maps", on(node)),
        Fault::Withhold { node, what: Mail::Reports } => ("withhold-reports", on(node)),
        Fault::Deliver { node, what: Mail::Reports } => ("deliver-reports", on(node)),
        Fault::Mislead(node) => ("mislead", on(node)),
        Fault::Undeceive(node) => ("undeceive", on(node)),
        Fault::Destroy(node) => ("destroy", on(node)),
    }
}

/// A fault in a few words, for those who read along.
#[must_use]
pub fn words(fault: &Fault) -> String {
    let list = |nodes: &[NodeId]| nodes.iter().map(|node| node_name(*node)).collect::<Vec<_>>().join(" ");
    let (name, Props { node, island, from, to, by, back, ppm, .. }) = describe(fault);
    let mut words = vec![name.to_owned()];
    words.extend(node.map(node_name));
    words.extend(island.map(|island| format!("{} | rest", list(&island))));
    words.extend(from.map(|from| format!("{} ⇸", node_name(from))));
    words.extend(to.map(node_name));
    words.extend(by.map(|by| format!("by {}", by.write())));
    words.extend(back.map(|back| format!("back by {}", back.write())));
    words.extend(ppm.map(|ppm| format!("{ppm} ppm")));
    words.join(" ")
}

fn node_name(node: NodeId) -> String {
    node_word(node).replace('"', "")
}

impl Props {
    /// A key that is still there.
    pub fn left(&self) -> Option<&'static str> {
        let left = [
            ("node", self.node.is_some()),
            ("island", self.island.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("by", self.by.is_some()),
            ("back", self.back.is_some()),
            ("ppm", self.ppm.is_some()),
            ("seed", self.seed.is_some()),
        ];
        left.into_iter().find(|(_, is_there)| *is_there).map(|(key, _)| key)
    }
}

/// What is expected of a node's name.
pub const NODE_EXPECTED: &str = "a node's number, as 1, or \"leader\", \"follower\" or \"meta\"";

/// A node that is named by a word: a role, or the id of a member that joined later, in hexadecimal.
#[must_use]
pub fn node_of(word: &str) -> Option<NodeId> {
    match word {
        "leader" => Some(LEADER),
        "follower" => Some(FOLLOWER),
        "meta" => Some(META),
        id => u64::from_str_radix(id.strip_prefix("0x")?, 16).ok().map(NodeId),
    }
}

/// A node as it is written: a role, the number of a machine of the plan, or the id of a member that joined later.
#[must_use]
pub fn node_word(node: NodeId) -> String {
    match node {
        LEADER => "\"leader\"".to_owned(),
        FOLLOWER => "\"follower\"".to_owned(),
        META => "\"meta\"".to_owned(),
        NodeId(number) if number <= crate::options::MAX_MACHINES => number.to_string(),
        NodeId(id) => format!("\"0x{id:x}\""),
    }
}

/// The moments of `[[when]]` by name.
pub const MOMENTS: [(&str, Moment); 8] = [
    ("became-leader", Moment::BecameLeader),
    ("checkpoint-begun", Moment::CheckpointBegun),
    ("snapshot-coming", Moment::SnapshotComing),
    ("membership-applied", Moment::MembershipApplied),
    ("segment-recycled", Moment::SegmentRecycled),
    ("compacting", Moment::Compacting),
    ("handing-over", Moment::HandingOver),
    ("reconciled", Moment::Reconciled),
];

/// What may hit a node at such a moment, by name.
pub const BLOWS: [(&str, Blow); 4] =
    [("crash", Blow::Crash), ("kill", Blow::Kill), ("pause", Blow::Pause), ("cut-off", Blow::CutOff)];

/// The keys of an entry of `[[when]]`.
pub const TRIGGER_KEYS: [&str; 4] = ["moment", "chance", "fault", "lasting"];

/// What stands under a name.
pub fn named<T: Copy>(names: &[(&'static str, T)], word: &str) -> Option<T> {
    names.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

/// The name under which something stands.
pub fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}
