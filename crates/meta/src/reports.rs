//! What nodes say of themselves and of the groups that they hold, as the leader of meta has heard it. Nothing of it is stored:
//! a new leader begins with nothing and waits until it has heard.
//!
//! ```text
//! report   version 2: 1 byte · name · peer urls · client urls · zone · program's version
//!          groups: varint, then each: group · flags: 1 byte (1: it leads; 2: joint configuration; 4: it names a middle) ·
//!          stage: 1 byte (0: serving; 1: filling; 2: sealed; 3: stuck) · term · applied · keys · bytes · voters · learners ·
//!          middle, if it names one
//! ```
//!
//! Numbers are varints, texts have their length before them, and lists their count.

use std::collections::{BTreeMap, BTreeSet};

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::{Duration, GroupId, Instant, NodeId};
use bytes::Bytes;

/// How long after its last report a node counts as heard. Nodes report every second or so; a few may be lost.
pub const SILENT_AFTER: Duration = Duration::from_secs(10);

/// The version of the format of a report.
const VERSION: u8 = 2;
const LEADS: u8 = 1;
const JOINT: u8 = 2;
const MIDDLE: u8 = 4;

/// What a replica is in its group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// It holds a copy.
    Holds,
    /// It leads, so what it says of the group's configuration is what is committed.
    Leads,
}

/// Whether a group is between two configurations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Configuration {
    /// It has one.
    Simple,
    /// It has an old and a new one (joint consensus), and will leave the old one by itself.
    Joint,
}

/// How far a group is in a split, as its replica has applied it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// It serves: it has nothing to do with a split, it is the parent of one that has not been sealed, or a child that was
    /// activated.
    Serving,
    /// It is a child that gets its data from its parent and serves nothing.
    Filling,
    /// It is a parent that serves nothing any more: what it held at that moment is all that its children get.
    Sealed,
    /// It is a parent that cannot fill its children from where they are, so they must be made anew. It serves.
    Stuck,
}

/// What a node says of one group that it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupReport {
    /// What its replica is.
    pub part: Part,
    /// Whether the group is between two configurations.
    pub configuration: Configuration,
    /// Its term.
    pub term: u64,
    /// The index of the last entry that it has applied.
    pub applied: u64,
    /// Keys that it holds.
    pub keys: u64,
    /// Bytes that it holds.
    pub bytes: u64,
    /// Replicas that vote, as far as it knows.
    pub voters: BTreeSet<NodeId>,
    /// Replicas that are being filled, as far as it knows.
    pub learners: BTreeSet<NodeId>,
    /// How far it is in a split.
    pub stage: Stage,
    /// A key in the middle of what it holds. Only the leader of a range shard that has outgrown its table's `splitBytes` says
    /// one.
    pub middle: Option<Bytes>,
}

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Where other nodes reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// Where it stands.
    pub zone: String,
    /// The version of the program that it runs.
    pub version: String,
    /// All groups of which it holds a replica.
    pub groups: BTreeMap<GroupId, GroupReport>,
}

impl Heard {
    /// The groups of which it holds a replica.
    #[must_use]
    pub const fn groups(&self) -> &BTreeSet<GroupId> {
        &self.groups
    }
}

/// A node that was heard.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When, last.
    pub at: Instant,
    /// What it said of itself; its groups are taken out.
    pub report: Report,
    groups: BTreeSet<GroupId>,
}

/// What was heard of all nodes since this node leads meta.
#[derive(Clone, Debug)]
pub struct Reports {
    began: Instant,
    changes: u64,
    nodes: BTreeMap<NodeId, Heard>,
    groups: BTreeMap<GroupId, BTreeMap<NodeId, GroupReport>>,
}

impl Reports {
    /// Nothing, as of the moment in which this node came to lead meta. From then on it listens, and waits for nodes that it has
    /// not heard yet as long as for those that fell silent.
    #[must_use]
    pub const fn new(began: Instant) -> Self {
        Self { began, changes: 0, nodes: BTreeMap::new(), groups: BTreeMap::new() }
    }

    /// When it began.
    #[must_use]
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// Rises whenever something other than indices, keys, bytes and middles has changed; a first or a last middle counts.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// A node's report replaces its last one.
    pub fn hear(&mut self, now: Instant, node: NodeId, mut report: Report) {
        let groups = std::mem::take(&mut report.groups);
        let held: BTreeSet<GroupId> = groups.keys().copied().collect();
        let before = self.nodes.insert(node, Heard { at: now, report: report.clone(), groups: held.clone() });
        let is_same = before.as_ref().is_some_and(|before| before.report == report && before.groups == held);
        self.changes += u64::from(!is_same);
        for group in before.into_iter().flat_map(|before| before.groups).filter(|group| !held.contains(group)) {
            self.drop_group(group, node);
        }
        for (group, report) in groups {
            let before = self.groups.entry(group).or_default().insert(node, report.clone());
            self.changes += u64::from(before.is_none_or(|before| !before.is_like(&report)));
        }
    }

    fn drop_group(&mut self, group: GroupId, node: NodeId) {
        let Some(holders) = self.groups.get_mut(&group) else { return };
        holders.remove(&node);
        if holders.is_empty() {
            self.groups.remove(&group);
        }
    }

    /// What was heard of a node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&Heard> {
        self.nodes.get(&node)
    }

    /// All nodes that were heard, by id.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Heard)> {
        self.nodes.iter().map(|(node, heard)| (*node, heard))
    }

    /// Whether a node was heard lately.
    #[must_use]
    pub fn is_up(&self, now: Instant, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|heard| now.since(heard.at) < SILENT_AFTER)
    }

    /// Since when a node is silent: its last report, or the beginning.
    #[must_use]
    pub fn last_heard(&self, node: NodeId) -> Instant {
        self.nodes.get(&node).map_or(self.began, |heard| heard.at)
    }

    /// Nodes that hold a replica of a group, by what each last said.
    pub fn holders(&self, group: GroupId) -> impl Iterator<Item = (NodeId, &GroupReport)> {
        self.groups.get(&group).into_iter().flatten().map(|(node, report)| (*node, report))
    }

    /// The group's leader: of the nodes that were heard lately and say that they lead the one with the highest term.
    #[must_use]
    pub fn leader(&self, now: Instant, group: GroupId) -> Option<(NodeId, &GroupReport)> {
        let leads = |report: &GroupReport| match report.part {
            Part::Leads => true,
            Part::Holds => false,
        };
        let leaders = self.holders(group).filter(|(node, report)| leads(report) && self.is_up(now, *node));
        leaders.max_by_key(|(node, report)| (report.term, *node))
    }
}

impl Stage {
    const fn byte(self) -> u8 {
        match self {
            Self::Serving => 0,
            Self::Filling => 1,
            Self::Sealed => 2,
            Self::Stuck => 3,
        }
    }

    fn of_byte(byte: u8) -> Result<Self, DecodeError> {
        let all = [Self::Serving, Self::Filling, Self::Sealed, Self::Stuck];
        let unknown = DecodeError::Unknown { field: "a stage", value: u64::from(byte) };
        all.into_iter().find(|stage| stage.byte() == byte).ok_or(unknown)
    }
}

impl GroupReport {
    /// Whether nothing differs but indices, keys and bytes, and which key is in the middle.
    fn is_like(&self, other: &Self) -> bool {
        let essence =
            |report: &Self| (report.part, report.configuration, report.term, report.stage, report.middle.is_some());
        essence(self) == essence(other) && self.voters == other.voters && self.learners == other.learners
    }

    fn write(&self, to: &mut Writer) {
        let leads = match self.part {
            Part::Leads => LEADS,
            Part::Holds => 0,
        };
        let joint = match self.configuration {
            Configuration::Joint => JOINT,
            Configuration::Simple => 0,
        };
        let middle = if self.middle.is_some() { MIDDLE } else { 0 };
        to.u8(leads | joint | middle);
        to.u8(self.stage.byte());
        for number in [self.term, self.applied, self.keys, self.bytes] {
            to.u64(number);
        }
        write_ids(to, &self.voters);
        write_ids(to, &self.learners);
        self.middle.iter().for_each(|middle| to.bytes(middle));
    }

    fn read(from: &mut Reader) -> Result<Self, DecodeError> {
        let flags = from.u8("a replica's flags")?;
        if flags & !(LEADS | JOINT | MIDDLE) != 0 {
            return Err(DecodeError::Unknown { field: "a replica's flags", value: u64::from(flags) });
        }
        let stage = Stage::of_byte(from.u8("a stage")?)?;
        Ok(Self {
            part: if flags & LEADS == 0 { Part::Holds } else { Part::Leads },
            configuration: if flags & JOINT == 0 { Configuration::Simple } else { Configuration::Joint },
            term: from.u64("a term")?,
            applied: from.u64("an index")?,
            keys: from.u64("a number of keys")?,
            bytes: from.u64("a number of bytes")?,
            voters: read_ids(from)?,
            learners: read_ids(from)?,
            stage,
            middle: if flags & MIDDLE == 0 { None } else { Some(from.bytes("a middle")?) },
        })
    }
}

impl Report {
    /// Its bytes on the wire.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::with_capacity(256 + self.groups.len() * 64);
        to.u8(VERSION);
        to.str(&self.name);
        write_texts(&mut to, &self.peer_urls);
        write_texts(&mut to, &self.client_urls);
        to.str(&self.zone);
        to.str(&self.version);
        to.u64(self.groups.len() as u64);
        for (group, report) in &self.groups {
            to.u64(group.get());
            report.write(&mut to);
        }
        to.finish()
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are none.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        match from.u8("a report")? {
            VERSION => {}
            found => {
                let (found, known) = (u64::from(found), u64::from(VERSION));
                return Err(DecodeError::Version { what: "a report", found, known });
            }
        }
        let mut report = Self {
            name: from.str("a name")?,
            peer_urls: read_texts(&mut from)?,
            client_urls: read_texts(&mut from)?,
            zone: from.str("a zone")?,
            version: from.str("a version")?,
            groups: BTreeMap::new(),
        };
        for _ in 0..from.u64("a number of groups")? {
            let group = GroupId(from.u64("a group")?);
            report.groups.insert(group, GroupReport::read(&mut from)?);
        }
        from.finish()?;
        Ok(report)
    }
}

fn write_texts(to: &mut Writer, texts: &[String]) {
    to.u64(texts.len() as u64);
    texts.iter().for_each(|text| to.str(text));
}

fn read_texts(from: &mut Reader) -> Result<Vec<String>, DecodeError> {
    let mut texts = Vec::new();
    for _ in 0..from.u64("a number of texts")? {
        texts.push(from.str("a text")?);
    }
    Ok(texts)
}

fn write_ids(to: &mut Writer, ids: &BTreeSet<NodeId>) {
    to.u64(ids.len() as u64);
    ids.iter().for_each(|id| to.u64(id.get()));
}

fn read_ids(from: &mut Reader) -> Result<BTreeSet<NodeId>, DecodeError> {
    let mut ids = BTreeSet::new();
    for _ in 0..from.u64("a number of nodes")? {
        ids.insert(NodeId(from.u64("a node")?));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests;
