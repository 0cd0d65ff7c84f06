//! The faults of `[[at]]`: which there are, what each needs, and how a node is named.

use althing_types::{Duration, NodeId};

use crate::faults::Fault;
use crate::scene::{FOLLOWER, LEADER};

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
    /// By how much.
    pub by: Option<Duration>,
}

/// The keys of an entry, in the order in which they are written.
pub const KEYS: [&str; 8] = ["time", "fault", "node", "island", "from", "to", "by", "lasting"];

/// The faults by name.
pub const FAULTS: [&str; 15] = [
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
];

/// Makes the fault of a name. What it needs is taken out of the props: what is left, it does not know.
pub fn fault(name: &str, props: &mut Props) -> Result<Fault, String> {
    let missing = |key: &str, example: &str| format!("`{name}` needs `{key} = {example}`");
    let mut on = |fault: fn(NodeId) -> Fault| {
        props.node.take().map(fault).ok_or_else(|| missing("node", "1` (or \"leader\", or \"follower\")`"))
    };
    match name {
        "crash" => on(Fault::Crash),
        "kill" => on(Fault::Kill),
        "restart" => on(Fault::Restart),
        "pause" => on(Fault::Pause),
        "resume" => on(Fault::Resume),
        "fail-sync" => on(Fault::FailSync),
        "fail-write" => on(Fault::FailWrite),
        "full-disk" => on(Fault::FillDisk),
        "free-disk" => on(Fault::FreeDisk),
        "stop" => on(Fault::Stop),
        "slow-disk" => {
            let by = props.by.take().ok_or_else(|| missing("by", "\"200ms\""))?;
            props.node.take().map(|node| Fault::SlowDisk { node, by }).ok_or_else(|| missing("node", "1"))
        }
        "transfer" => props.to.take().map(Fault::TransferLeader).ok_or_else(|| missing("to", "1")),
        "partition" => {
            let island = props.island.take().filter(|island| !island.is_empty());
            island.map(|island| Fault::Partition { island }).ok_or_else(|| missing("island", "[1, 2]"))
        }
        "one-way" => {
            let from = props.from.take().ok_or_else(|| missing("from", "1"))?;
            props.to.take().map(|to| Fault::OneWay { from, to }).ok_or_else(|| missing("to", "2"))
        }
        "heal" => Ok(Fault::Heal),
        unknown => Err(format!("unknown fault `{unknown}`{}", crate::nearest::hint(unknown, &FAULTS, "faults"))),
    }
}

/// The name of a fault and what it says besides.
pub fn describe(fault: &Fault) -> (&'static str, Props) {
    let on = |node: NodeId| Props { node: Some(node), ..Props::default() };
    match fault {
        Fault::Partition { island } => ("partition", Props { island: Some(island.clone()), ..Props::default() }),
        Fault::OneWay { from, to } => ("one-way", Props { from: Some(*from), to: Some(*to), ..Props::default() }),
        Fault::Heal => ("heal", Props::default()),
        Fault::Crash(node) => ("crash", on(*node)),
        Fault::Kill(node) => ("kill", on(*node)),
        Fault::Restart(node) => ("restart", on(*node)),
        Fault::Pause(node) => ("pause", on(*node)),
        Fault::Resume(node) => ("resume", on(*node)),
        Fault::SlowDisk { node, by } => ("slow-disk", Props { by: Some(*by), ..on(*node) }),
        Fault::FailSync(node) => ("fail-sync", on(*node)),
        Fault::FailWrite(node) => ("fail-write", on(*node)),
        Fault::FillDisk(node) => ("full-disk", on(*node)),
        Fault::FreeDisk(node) => ("free-disk", on(*node)),
        Fault::TransferLeader(to) => ("transfer", Props { to: Some(*to), ..Props::default() }),
        Fault::Stop(node) => ("stop", on(*node)),
    }
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
        ];
        left.into_iter().find(|(_, is_there)| *is_there).map(|(key, _)| key)
    }
}

/// What is expected of a node's name.
pub const NODE_EXPECTED: &str = "a node's number, as 1, or \"leader\" or \"follower\"";

/// A node that is named by a word: a role, or the id of a member that joined later, in hexadecimal.
#[must_use]
pub fn node_of(word: &str) -> Option<NodeId> {
    match word {
        "leader" => Some(LEADER),
        "follower" => Some(FOLLOWER),
        id => u64::from_str_radix(id.strip_prefix("0x")?, 16).ok().map(NodeId),
    }
}

/// A node as it is written: a role, the number of a founder, or the id of a member that joined later.
#[must_use]
pub fn node_word(node: NodeId) -> String {
    match node {
        LEADER => "\"leader\"".to_owned(),
        FOLLOWER => "\"follower\"".to_owned(),
        NodeId(number) if number <= crate::options::MAX_NODES => number.to_string(),
        NodeId(id) => format!("\"0x{id:x}\""),
    }
}
