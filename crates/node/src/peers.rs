//! One frame per peer and turn, and what has come from whom.

use std::collections::BTreeMap;

use althing_codec::Writer;
use althing_probe::Mark;
use althing_types::{Duration, Instant, NodeId, limits};
use bytes::Bytes;

use crate::envelope::{FrameHeader, Message, begin_frame};

/// How long a peer hears nothing before an empty frame says that this node lives.
pub const PING_AFTER: Duration = Duration::from_millis(250);
/// How long a silent peer is trusted before groups that it leads are woken. It only wakes them; Raft decides.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Peer {
    /// The frame under way, if anything is to be said this turn.
    frame: Option<Writer>,
    /// Frames of this turn that are full.
    full: Vec<Bytes>,
    next_sequence: u64,
    last_sent: Instant,
    last_heard: Instant,
    /// The newest frame that came: its incarnation and sequence.
    newest: Option<FrameHeader>,
    /// Since when there is reason to think that it does not answer: the connection broke, or a call came to nothing.
    doubted: Option<Instant>,
}

/// What there is to hope of a peer that is to be asked for something, the best first. It decides who is asked, never what is
/// true.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hope {
    /// It was heard of lately.
    Heard,
    /// Nothing is known: this node had nothing to do with it.
    Unknown,
    /// It did not answer, this long ago. Those of whom that is long ago are asked first.
    Doubtful(Instant),
}

/// What a frame is among those of its peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Old or repeated: it is to be ignored.
    Old,
    /// The next of the peer's run.
    New,
    /// The first of another run: what was under way with the last one is lost.
    Restarted,
}

/// The peers of a node.
#[derive(Debug, Default)]
pub struct Peers {
    incarnation: u64,
    peers: BTreeMap<NodeId, Peer>,
}

impl Peers {
    /// No peers yet.
    #[must_use]
    pub fn new(incarnation: u64) -> Self {
        Self { incarnation, peers: BTreeMap::new() }
    }

    /// Says something to a peer with this turn's frame.
    pub fn send(&mut self, to: NodeId, message: &Message) {
        let incarnation = self.incarnation;
        let peer = self.peers.entry(to).or_default();
        let frame = peer.frame.get_or_insert_with(|| {
            peer.next_sequence += 1;
            begin_frame(FrameHeader { incarnation, sequence: peer.next_sequence })
        });
        message.encode(frame);
        // A message is at most an append of MAX_APPEND_BYTES and one request, so a frame closed here is within limits.
        if frame.len() > limits::MAX_FRAME_BYTES / 4
            && let Some(frame) = peer.frame.take()
        {
            peer.full.push(frame.finish());
        }
    }

    /// Says the same to several peers.
    pub fn send_to(&mut self, peers: Vec<NodeId>, message: &Message) {
        peers.into_iter().for_each(|peer| self.send(peer, message));
    }

    /// Takes note of a frame that has come.
    pub fn heard(&mut self, now: Instant, from: NodeId, header: FrameHeader) -> Heard {
        let peer = self.peers.entry(from).or_default();
        let heard = match peer.newest {
            None => Heard::New,
            Some(newest) if header.incarnation > newest.incarnation => Heard::Restarted,
            Some(newest) if header.incarnation == newest.incarnation && header.sequence > newest.sequence => Heard::New,
            Some(_) => {
                althing_probe::hit(Mark::StaleFrame);
                return Heard::Old;
            }
        };
        peer.newest = Some(header);
        peer.last_heard = now;
        peer.doubted = None;
        heard
    }

    /// Pings those among `members` who have heard nothing for a while.
    pub fn ping(&mut self, now: Instant, members: impl Iterator<Item = NodeId>) {
        let incarnation = self.incarnation;
        for id in members {
            let peer = self.peers.entry(id).or_default();
            if peer.frame.is_none() && now.since(peer.last_sent) >= PING_AFTER {
                peer.next_sequence += 1;
                peer.frame = Some(begin_frame(FrameHeader { incarnation, sequence: peer.next_sequence }));
            }
        }
    }

    /// Whether a peer has been heard lately. One that has never been heard has not.
    pub fn is_heard(&self, now: Instant, id: NodeId) -> bool {
        let peer = self.peers.get(&id).filter(|peer| peer.newest.is_some());
        peer.is_some_and(|peer| now.since(peer.last_heard) < SUSPECT_AFTER)
    }

    /// A peer seems not to answer.
    pub fn doubt(&mut self, now: Instant, id: NodeId) {
        self.peers.entry(id).or_default().doubted = Some(now);
    }

    /// A connection to a peer stands (again).
    pub fn connected(&mut self, id: NodeId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.doubted = None;
        }
    }

    /// What there is to hope of a peer.
    pub fn hope(&self, now: Instant, id: NodeId) -> Hope {
        match self.peers.get(&id).and_then(|peer| peer.doubted) {
            Some(since) => Hope::Doubtful(since),
            None if self.is_heard(now, id) => Hope::Heard,
            None => Hope::Unknown,
        }
    }

    /// Those that have been silent for longer than they are trusted.
    pub fn suspects(&self, now: Instant) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.iter().filter(move |(_, peer)| now.since(peer.last_heard) >= SUSPECT_AFTER).map(|(id, _)| *id)
    }

    /// Takes this turn's frames.
    pub fn take_frames(&mut self, now: Instant, out: &mut Vec<(NodeId, Bytes)>) {
        for (id, peer) in &mut self.peers {
            let last = peer.frame.take().map(Writer::finish);
            for frame in peer.full.drain(..).chain(last) {
                peer.last_sent = now;
                out.push((*id, frame));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_more_hope_of_the_unknown_than_of_those_that_did_not_answer() {
        let (mut peers, now) = (Peers::new(1), Instant::ZERO + SUSPECT_AFTER);
        let header = |sequence| FrameHeader { incarnation: 1, sequence };
        peers.heard(now, NodeId(2), header(1));
        peers.doubt(now, NodeId(4));
        peers.doubt(now + SUSPECT_AFTER, NodeId(5));
        let mut ids = [5, 4, 3, 2].map(NodeId);
        ids.sort_by_key(|id| peers.hope(now, *id));
        assert_eq!(ids, [2, 3, 4, 5].map(NodeId));
        peers.heard(now, NodeId(5), header(1));
        peers.connected(NodeId(4));
        assert_eq!([5, 4].map(|id| peers.hope(now, NodeId(id))), [Hope::Heard, Hope::Unknown]);
    }

    #[test]
    fn a_frame_of_another_run_says_that_its_peer_was_restarted() {
        let mut peers = Peers::new(1);
        let mut heard =
            |incarnation, sequence| peers.heard(Instant::ZERO, NodeId(2), FrameHeader { incarnation, sequence });
        assert_eq!([heard(3, 1), heard(3, 2), heard(3, 2)], [Heard::New, Heard::New, Heard::Old]);
        assert_eq!([heard(4, 1), heard(3, 9), heard(4, 2)], [Heard::Restarted, Heard::Old, Heard::New]);
    }
}
