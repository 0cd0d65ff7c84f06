//! What nodes are told of the cluster and should not believe blindly: maps and reports that are withheld, and hints about
//! who is up and who is down that lie.
//!
//! A lie is told to one node, with its ticks: a connection that stands is said to have broken, or one that broke to stand, and
//! machines that are down go on sending what they reported last. Nothing of this may decide what is true; it may cost time.

use std::collections::{BTreeMap, BTreeSet};

use althing_node::Input;
use althing_node::envelope::{FrameHeader, Message, begin_frame, open_frame};
use althing_types::NodeId;
use bytes::Bytes;

use super::World;
use crate::faults::{Episodes, Fault, FaultPlan, Mail};
use crate::host::Stage;

/// One tick in so many of a node that is lied to brings a lie.
const LIES_IN: u32 = 6;
/// Frames of the dead are numbered from here on, above all that they have sent while they lived.
const GHOSTS: u64 = 1 << 40;

/// What is withheld, who is lied to, and what machines said last.
#[derive(Debug, Default)]
pub(super) struct Hearsay {
    withheld: BTreeSet<(NodeId, Mail)>,
    misled: BTreeSet<NodeId>,
    /// Whether the last report of each machine is kept, for it to be repeated once the machine is down.
    memory: Memory,
    last_words: BTreeMap<NodeId, (u64, Bytes)>,
    ghosts: u64,
}

/// Whether reports are remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Memory {
    /// Nobody will ask for them.
    #[default]
    Off,
    /// They are.
    On,
}

impl Hearsay {
    /// Nothing is withheld and nobody is lied to yet.
    pub(super) fn new(plan: &FaultPlan) -> Self {
        let is_lie = |fault: &Fault| matches!(fault, Fault::Mislead(_));
        let faults = plan.schedule.iter().map(|(_, fault)| fault);
        let lies =
            plan.lies != Episodes::NONE || faults.chain(plan.scenes.iter().map(|scene| &scene.fault)).any(is_lie);
        Self { memory: if lies { Memory::On } else { Memory::Off }, ..Self::default() }
    }

    /// Whether every node hears what it should.
    pub(super) fn is_honest(&self) -> bool {
        self.withheld.is_empty() && self.misled.is_empty()
    }

    pub(super) fn withhold(&mut self, node: NodeId, what: Mail) {
        self.withheld.insert((node, what));
    }

    pub(super) fn deliver(&mut self, node: NodeId, what: Mail) {
        self.withheld.remove(&(node, what));
    }

    pub(super) fn mislead(&mut self, node: NodeId) {
        self.misled.insert(node);
    }

    pub(super) fn undeceive(&mut self, node: NodeId) {
        self.misled.remove(&node);
    }

    /// Everybody hears everything from now on, and the truth.
    pub(super) fn heal(&mut self) {
        self.withheld.clear();
        self.misled.clear();
    }

    /// Whether the network keeps a message to itself.
    fn keeps(&mut self, from: NodeId, to: NodeId, header: FrameHeader, message: &Message) -> bool {
        match message {
            Message::MapUpdate(_) => self.withheld.contains(&(to, Mail::Maps)),
            Message::Report(report) => {
                if self.memory == Memory::On {
                    self.last_words.insert(from, (header.incarnation, report.clone()));
                }
                self.withheld.contains(&(from, Mail::Reports))
            }
            Message::Raft(..)
            | Message::Forward(_)
            | Message::Refused { .. }
            | Message::Ask { .. }
            | Message::Told { .. }
            | Message::Mail(_)
            | Message::Page(_)
            | Message::PageAck { .. }
            | Message::Route(_)
            | Message::Routed { .. }
            | Message::WrongShard { .. }
            | Message::Stream { .. }
            | Message::Keyed(..)
            | Message::MapWant { .. } => false,
        }
    }
}

impl World {
    /// What of a frame goes on its way.
    pub(super) fn passes(&mut self, from: NodeId, to: NodeId, bytes: Bytes) -> Bytes {
        if self.hearsay.withheld.is_empty() && self.hearsay.memory == Memory::Off {
            return bytes;
        }
        let Ok((header, mut reader)) = open_frame(bytes.clone()) else { return bytes };
        let mut frame = begin_frame(header);
        let mut kept = 0;
        while reader.remaining() > 0 {
            let Ok(message) = Message::decode(&mut reader) else { return bytes };
            if self.hearsay.keeps(from, to, header, &message) {
                kept += 1;
            } else {
                message.encode(&mut frame);
            }
        }
        self.control.withheld += kept;
        if kept == 0 { bytes } else { frame.finish() }
    }

    /// A node ticks: if it is lied to, it may hear a lie with that.
    pub(super) fn lie(&mut self, node: NodeId) {
        if !self.hearsay.misled.contains(&node) {
            return;
        }
        let rng = &mut self.streams.lies;
        let (speaks, kind) = (rng.u32(0..LIES_IN) == 0, rng.u32(0..4));
        let whom = self.nodes[rng.usize(..self.nodes.len())];
        if !speaks {
            return;
        }
        let others: Vec<NodeId> = self.nodes.iter().copied().filter(|other| *other != node).collect();
        match kind {
            0 if whom != node => self.hint(node, Input::PeerDown(whom)),
            1 if whom != node => self.hint(node, Input::PeerUp(whom)),
            2 => others.into_iter().for_each(|other| self.hint(node, Input::PeerDown(other))),
            _ => self.raise_the_dead(node),
        }
    }

    fn hint(&mut self, node: NodeId, hint: Input) {
        self.control.lies += 1;
        self.input(node, hint);
    }

    /// Every machine that is down reports once more to a node.
    fn raise_the_dead(&mut self, node: NodeId) {
        let is_down = |id: &NodeId| self.hosts.get(id).is_some_and(|host| matches!(host.stage, Stage::Down));
        let dead: Vec<_> = self.hearsay.last_words.iter().filter(|(id, _)| **id != node && is_down(id)).collect();
        let frames: Vec<_> = dead
            .into_iter()
            .zip(self.hearsay.ghosts + 1..)
            .map(|((id, (incarnation, report)), number)| {
                let mut frame = begin_frame(FrameHeader { incarnation: *incarnation, sequence: GHOSTS + number });
                Message::Report(report.clone()).encode(&mut frame);
                (*id, frame.finish())
            })
            .collect();
        self.hearsay.ghosts += frames.len() as u64;
        for (from, bytes) in frames {
            self.hint(node, Input::Frame { from, bytes });
        }
    }
}
