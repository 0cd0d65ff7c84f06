//! What the core is told and what it wants done.

use althing_types::{Duration, Instant, NodeId};
use bytes::Bytes;

use crate::identity::{Contact, Identity};
use crate::seal::Dropped;
use crate::state::{Key, Value};

/// A node that is known before anybody is: where a newcomer asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seed {
    /// Its id.
    pub node: NodeId,
    /// Where it is reached.
    pub contact: Contact,
}

/// How a push/pull that the core asked for has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Both sides have all pages.
    Done,
    /// The node could not be reached, or the connection broke. Pages that came before count.
    Failed,
}

/// What has happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// Time has passed; given at [`crate::Gossip::next_deadline`], or whenever.
    Tick,
    /// A datagram came in, from whomever.
    Datagram(Bytes),
    /// A page of a push/pull came in over a connection whose handshake showed `from`.
    Page {
        /// Who sent it.
        from: NodeId,
        /// Its bytes.
        page: Bytes,
    },
    /// A push/pull that was asked for has ended.
    Exchanged {
        /// With whom.
        with: NodeId,
        /// How.
        outcome: Outcome,
    },
    /// Join the cluster of these; the node itself may be among them.
    Join(Vec<Seed>),
    /// Leave the cluster in good order. Nothing is answered after it.
    Leave,
    /// Say this of the node itself from now on.
    Set {
        /// What about.
        key: Key,
        /// What; a text is cut to [`crate::state::MAX_TEXT_BYTES`].
        value: Value,
    },
}

/// A datagram to send. It may be lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// To which node.
    pub to: NodeId,
    /// Where it is reached.
    pub contact: Contact,
    /// At most [`crate::MAX_DATAGRAM_BYTES`].
    pub bytes: Bytes,
}

/// A push/pull to start: connect, send all of [`crate::Gossip::pages`], give what comes back as [`Input::Page`], and
/// report the end as [`Input::Exchanged`]. The called side gives the pages as inputs too and answers with its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// With which node.
    pub with: NodeId,
    /// Where it is reached.
    pub contact: Contact,
}

/// What has become known. For metrics, for people and as a hint: it never decides anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A node is a member: for the first time, or after it was down or had left.
    Joined(Identity),
    /// It does not answer; it may refute this.
    Suspected(Identity),
    /// It has refuted the suspicion.
    Refuted(Identity),
    /// It was declared down.
    Down(Identity),
    /// It has left in good order.
    Left(Identity),
    /// It was restarted, or had to renew itself, while it was a member.
    Renewed(Identity),
    /// It is forgotten: it was down for so long.
    Forgotten(NodeId),
    /// It says something new of itself.
    State {
        /// The owner.
        node: NodeId,
        /// What about.
        key: Key,
    },
    /// This node learned that it was thought dead, and is a member again under this identity.
    Rejoined(Identity),
    /// Deadlines were moved by this much, as this node did not run for so long.
    Paused(Duration),
}

/// What is to be done. The host drains it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Effects {
    /// Datagrams to send.
    pub datagrams: Vec<Datagram>,
    /// Push/pulls to start.
    pub exchanges: Vec<Exchange>,
    /// What has become known.
    pub events: Vec<Event>,
}

/// How a member looks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Liveness {
    /// It answers, or others say so.
    Alive,
    /// It has not answered and may refute that.
    Suspected,
    /// It was declared down.
    Down,
    /// It has left in good order.
    Left,
}

impl Liveness {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Alive, Self::Suspected, Self::Down, Self::Left];

    /// Its name for metrics and people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspected => "suspected",
            Self::Down => "down",
            Self::Left => "left",
        }
    }

    /// Whether it takes part: a suspected member does until it is declared down.
    #[must_use]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Alive | Self::Suspected => true,
            Self::Down | Self::Left => false,
        }
    }
}

/// One member, as this node sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct Peer {
    /// Its present life.
    pub identity: Identity,
    /// How it looks.
    pub liveness: Liveness,
    /// Since when it looks so.
    pub since: Instant,
    /// With which incarnation; a member counts it up to refute a suspicion.
    pub incarnation: u16,
    /// How surprising its silence is; see [`crate::phi`].
    pub phi: f64,
}

/// Counters since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metrics {
    /// Datagrams handed out to be sent.
    pub datagrams_sent: u64,
    /// Their bytes.
    pub datagram_bytes_sent: u64,
    /// Datagrams accepted.
    pub datagrams_received: u64,
    /// Their bytes.
    pub datagram_bytes_received: u64,
    /// Datagrams dropped, by [`Dropped::index`].
    pub datagrams_dropped: [u64; Dropped::ALL.len()],
    /// Push/pulls that this node called for and that were done.
    pub exchanges_done: u64,
    /// Those that failed.
    pub exchanges_failed: u64,
    /// Pages of push/pull accepted.
    pub pages_received: u64,
    /// Pages that did not parse or were not the sender's own.
    pub pages_refused: u64,
    /// Members that were found suspected.
    pub suspicions: u64,
    /// Members that were found declared down.
    pub downs: u64,
    /// How often this node was thought dead and renewed itself.
    pub rejoins: u64,
    /// What `foca` reports as out of order; its own notion of a bug.
    pub irregularities: u64,
}

impl Metrics {
    /// Datagrams dropped for this reason.
    #[must_use]
    pub const fn dropped(&self, reason: Dropped) -> u64 {
        self.datagrams_dropped[reason.index()]
    }
}
