//! The world: one thread, one heap, one truth.
//!
//! Everything that happens is an [`Event`] on the agenda. The world takes the next, writes it into the trace, and lets it
//! happen: to a node (as an input for its next turn), to a disk, to a client, or to the world itself (a fault). What
//! follows from it goes on the agenda, at a time that is drawn from the stream of its concern.
//!
//! * `turn`: a node's turn and what comes of its effects;
//! * `clients`: calls and streams between clients and nodes;
//! * `havoc`: faults; `damage`: those that take what was synced; `moments`: when triggers may strike;
//! * `links`: connections between nodes, and who is let in;
//! * `witness`: what the ledger is shown, and what nodes keep in memory;
//! * `carts`: what replicas of a convergent table hold in the end, and its judging;
//! * `decided`: judging of strings that are decided by rounds;
//! * `tables`: judging and settling where there is a control plane; `stretch`: who serves meanwhile; `hearsay`: what nodes are
//!   told of the cluster;
//! * `record`: what a diagram shows of it;
//! * `finish`: the liveness phase and the end.

mod carts;
mod clients;
mod damage;
mod decided;
mod describe;
mod finish;
mod havoc;
mod hearsay;
mod links;
mod moments;
mod record;
mod stretch;
mod tables;
mod turn;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use althing_api::watch::WatchCommand;
use althing_api::{Call, Target};
use althing_node::ReadWork;
use althing_probe::{Guard, Mutant};
use althing_types::{Duration, GroupId, Instant, NodeId, Revision};
use bytes::Bytes;
use fastrand::Rng;

use self::clients::Outstanding;
use self::hearsay::Hearsay;
use self::stretch::Stretch;
use crate::agenda::{Agenda, Due};
use crate::budget::{Budget, Margin};
use crate::clocks::LocalClock;
use crate::diagram::Recorder;
use crate::faults::Fault;
use crate::host::{Host, LogSize, Origin, Stage};
use crate::ledger::Ledger;
use crate::nemesis::{KINDS, Kind};
use crate::network::{Flight, Network};
use crate::options::{MAX_NODES, MAX_SPARES, Options};
use crate::random::{Streams, up_to};
use crate::report::{Check, ControlCounts, FaultCounts, Finding, Report};
use crate::scene::Scene;
use crate::trace::{Line, Payload, Trace};
use crate::workload::{self, Client, News, Shared, Slot, Ticket};

pub use finish::{EQUAL_WITHIN, WRITE_WITHIN};

/// With more nodes besides the founders, the map is too large for the small logs of other runs.
const FEW_SPARES: u64 = 12;

/// Something that happens.
#[derive(Debug)]
pub enum Event {
    /// A frame arrives.
    Frame {
        /// From here.
        from: NodeId,
        /// There.
        to: NodeId,
        /// This.
        bytes: Bytes,
        /// If it comes twice: the life of its receiver in which both of them count. A connection is with one process, so
        /// what was sent to one life never reaches two of them.
        only_in: Option<u64>,
    },
    /// Something happens within a process.
    Process {
        /// On which machine.
        node: NodeId,
        /// In which of its lives; void in any other.
        life: u64,
        /// What.
        what: Happening,
    },
    /// A client's message arrives at a node.
    Arrival {
        /// Whose.
        slot: Slot,
        /// Of which call or stream.
        ticket: Ticket,
        /// Where.
        node: NodeId,
        /// What it says.
        what: Arrival,
    },
    /// Something reaches a client.
    News {
        /// Whom.
        slot: Slot,
        /// What.
        news: News,
    },
    /// A client has waited long enough.
    Patience {
        /// Who.
        slot: Slot,
        /// For what.
        ticket: Ticket,
    },
    /// Something goes wrong, or stops going wrong.
    Fault(Fault),
    /// A scene of the scenario is played.
    Scene(Scene),
    /// A supervisor starts a node.
    Start(NodeId),
    /// Time for an episode of a kind to begin.
    Episode(Kind),
    /// The run comes to its next phase.
    Phase(Phase),
    /// The control plane may have had no quorum since this moment.
    Note(Instant),
}

/// Something that happens within a process.
#[derive(Debug)]
pub enum Happening {
    /// The node's clock ticks.
    Tick,
    /// The node takes its turn.
    Turn,
    /// What was written to the log is synced.
    Synced,
    /// The applier takes its turn.
    Work,
    /// A read is done.
    Read(Box<ReadWork>),
    /// A checkpoint is durable.
    Checkpointed,
    /// Time for what the applier and the engine do in the background.
    Background,
    /// Time for a checkpoint that nobody asked for.
    Checkpoint,
    /// A hint about a connection.
    Peer(NodeId, PeerHint),
}

/// What a transport says of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerHint {
    /// It stands.
    Up,
    /// It broke.
    Down,
}

/// What a client says to a node.
#[derive(Hash, Debug)]
pub enum Arrival {
    /// A call.
    Call(Call),
    /// It no longer waits for the call.
    Cancel,
    /// A new stream and the first thing said on it.
    Open(WatchCommand),
    /// More on a stream.
    Say(WatchCommand),
    /// So many bytes were read off it.
    Drained(usize),
    /// It is closed.
    Close,
}

/// Phases of a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Phase {
    /// Faults come and go.
    Safety,
    /// All is healed; clients go on.
    Liveness,
    /// Clients end what they have begun.
    Quiet,
    /// Everything is read once more, and replicas are compared.
    Audit,
    /// The end.
    Over,
}

/// All of it.
pub struct World {
    options: Options,
    streams: Streams,
    agenda: Agenda<Event>,
    trace: Trace,
    network: Network,
    /// The members that the cluster was born with.
    founders: Vec<NodeId>,
    /// Machines that are in use. Those of members that have left stay in `hosts`, switched off.
    nodes: Vec<NodeId>,
    hosts: BTreeMap<NodeId, Host<Event>>,
    clients: Vec<Client>,
    /// What clients on registers write to.
    table: Target,
    shared: Shared,
    /// What each client draws from, so that one more client moves nobody else's chances.
    chances: Vec<Rng>,
    outstanding: BTreeMap<(Slot, Ticket), Outstanding>,
    /// Streams that clients believe to be open.
    open: BTreeSet<(Slot, Ticket)>,
    ledger: Ledger,
    /// Who led the greatest term that anybody has seen.
    leader: Option<(u64, NodeId)>,
    phase: Phase,
    healed: Instant,
    /// When the clients had ended, and the greatest revision that they had seen by then.
    quiet: Option<(Instant, Revision)>,
    counts: FaultCounts,
    inflicted: Vec<(Duration, Fault)>,
    budget: Budget,
    /// Nodes that were the only voter of some group at some time.
    alone: BTreeSet<NodeId>,
    /// What would be left after the loss that the budget has allowed last.
    margin: Margin,
    /// Connections that stand.
    links: BTreeSet<(NodeId, NodeId)>,
    /// Requests that the world has made in its own name.
    requests: u64,
    /// What nodes are told of the cluster, and should not believe.
    hearsay: Hearsay,
    /// Since when nothing has changed of who is up and who hears whom.
    stretch: Option<Stretch>,
    /// How often each call was sent to another node: by whom, and its name there.
    routed: BTreeMap<(NodeId, u64), u64>,
    control: ControlCounts,
    /// Of each shard the last entry that changed its voters, and how many it has had at the most.
    voters: BTreeMap<GroupId, (u64, usize)>,
    findings: Vec<Finding>,
    recorder: Option<Recorder>,
    /// The mistake that is made as long as this world lives.
    _mutant: Option<Guard>,
}

/// How a machine that is there from the beginning came to the cluster.
fn origin(options: &Options, is_founder: bool) -> Origin {
    match (&options.tables, is_founder) {
        (None, _) => Origin::Founder,
        (Some(_), true) => Origin::FounderOfTables,
        (Some(_), false) => Origin::Registered,
    }
}

/// How many voters a group must have for a lost machine to count as replaced. Where there is a control plane, shards differ in how many they
/// have, and it never lets one have fewer than before.
fn voters_to_keep(options: &Options) -> usize {
    if options.tables.is_some() { 0 } else { usize::try_from(options.nodes).unwrap_or(usize::MAX) }
}

/// Many nodes, or shards that split, make a large map.
fn log_size(options: &Options) -> LogSize {
    match &options.tables {
        Some(tables) if tables.spares as u64 > FEW_SPARES || tables.split_kib > 0 => LogSize::Large,
        Some(_) | None => LogSize::Small,
    }
}

impl World {
    /// A world before anything has happened.
    #[must_use]
    pub fn new(mut options: Options) -> Self {
        assert!((1..=MAX_NODES).contains(&options.nodes), "1 to {MAX_NODES} nodes");
        let mutant = options.mutant.map(Mutant::activate);
        // What this thread has counted before belongs to another run.
        let _ = althing_probe::take();
        let mut streams = Streams::new(options.seed);
        let network = Network::new(options.faults.network, streams.network.fork());
        let spares = options.tables.as_ref().map_or(0, |tables| tables.spares as u64);
        assert!(spares <= MAX_SPARES, "at most {MAX_SPARES} nodes besides the founders");
        let founders: Vec<NodeId> = (1..=options.nodes).map(NodeId).collect();
        let nodes: Vec<NodeId> = (1..=options.nodes + spares).map(NodeId).collect();
        let hosts = nodes
            .iter()
            .map(|id| {
                let clock = if althing_probe::is(Mutant::RushClocks) {
                    LocalClock::rushing()
                } else {
                    LocalClock::draw(&options.faults.clocks, &mut streams.clocks)
                };
                let origin = origin(&options, founders.contains(id));
                let mut host = Host::new(*id, origin, clock, streams.directories.u64(..));
                host.log = log_size(&options);
                host.zone = options.tables.as_ref().map(|tables| tables.zone_of(*id)).unwrap_or_default();
                (*id, host)
            })
            .collect();
        let voters = voters_to_keep(&options);
        let mut shared = Shared::default();
        let clients = workload::clients(&options, &mut shared);
        let chances = workload::chances(options.seed, &clients);
        let trace = Trace::new(options.trace.take());
        let recorder = options.record.map(Recorder::new);
        let table = Self::table_of_clients(options.tables.is_some());
        Self {
            hearsay: Hearsay::new(&options.faults),
            options,
            streams,
            agenda: Agenda::default(),
            trace,
            network,
            founders,
            nodes,
            hosts,
            clients,
            table,
            shared,
            chances,
            outstanding: BTreeMap::new(),
            open: BTreeSet::new(),
            ledger: Ledger::default(),
            leader: None,
            phase: Phase::Safety,
            healed: Instant::FAR_FUTURE,
            quiet: None,
            counts: FaultCounts::default(),
            inflicted: Vec::new(),
            budget: Budget::new(voters),
            alone: BTreeSet::new(),
            margin: Margin::Ample,
            links: BTreeSet::new(),
            requests: 0,
            stretch: None,
            routed: BTreeMap::new(),
            control: ControlCounts::default(),
            voters: BTreeMap::new(),
            findings: Vec::new(),
            recorder,
            _mutant: mutant,
        }
    }

    /// Lets everything happen, and says what came of it. A panic of a node is a finding, not the end of the simulator.
    #[must_use]
    pub fn run(mut self) -> Report {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            self.begin();
            while self.phase != Phase::Over && self.findings.is_empty() {
                let Some(due) = self.agenda.take_next() else { break };
                self.happen(due);
            }
        }));
        if let Err(panic) = ended {
            self.find(Check::Crash, format!("a panic: {}", panic_text(&*panic)));
        }
        self.report()
    }

    fn begin(&mut self) {
        for node in self.nodes.clone() {
            let start = up_to(Duration::from_millis(50), &mut self.streams.supervisor);
            self.agenda.after(start, Event::Start(node));
        }
        for slot in 0..self.clients.len() {
            let start = up_to(Duration::from_millis(500), &mut self.streams.workload);
            self.agenda.after(start, Event::News { slot: Slot(slot), news: News::Wake });
        }
        for kind in KINDS {
            self.plan_episode(kind);
        }
        for (at, fault) in self.options.faults.schedule.clone() {
            self.agenda.after(at, Event::Fault(fault));
        }
        for scene in self.options.faults.scenes.clone() {
            self.agenda.after(scene.at, Event::Scene(scene));
        }
        self.agenda.after(self.options.duration, Event::Phase(Phase::Liveness));
    }

    fn happen(&mut self, due: Due<Event>) {
        let Some(event) = self.admit(due.event) else { return };
        self.write_trace(due.at, due.sequence, &event);
        self.record_event(due.at, &event);
        match event {
            Event::Frame { from, to, bytes, only_in } => self.frame_arrives(Flight { from, to, bytes, only_in }),
            Event::Process { node, what, .. } => self.process_event(node, what),
            Event::Arrival { slot, ticket, node, what } => self.arrival(slot, ticket, node, what),
            Event::News { slot, news } => self.news(slot, news),
            Event::Patience { slot, ticket } => self.patience_ends(slot, ticket),
            Event::Fault(fault) => self.inflict(fault),
            Event::Scene(scene) => self.play(scene),
            Event::Start(node) => self.restart(node),
            Event::Episode(kind) => self.begin_episode(kind),
            Event::Phase(phase) => self.enter(phase),
            Event::Note(since) => self.note(since),
        }
        self.record_standings();
    }

    /// Drops what concerns an earlier life of a process, and keeps back what a process that stands still cannot notice.
    fn admit(&mut self, event: Event) -> Option<Event> {
        let node = match &event {
            Event::Process { node, life, .. } => {
                if self.hosts[node].life != *life {
                    return None;
                }
                *node
            }
            Event::Frame { to, .. } => *to,
            Event::Arrival { node, .. } => *node,
            Event::News { .. }
            | Event::Patience { .. }
            | Event::Fault(_)
            | Event::Scene(_)
            | Event::Start(_)
            | Event::Episode(_)
            | Event::Phase(_)
            | Event::Note(_) => return Some(event),
        };
        // A new member has no machine before the operator has set one up.
        match &mut self.hosts.get_mut(&node)?.stage {
            Stage::Paused { waiting, .. } => {
                waiting.push(event);
                None
            }
            Stage::Running(_) | Stage::Down => Some(event),
        }
    }

    fn host(&mut self, node: NodeId) -> &mut Host<Event> {
        self.hosts.get_mut(&node).expect("every node has a machine, and no machine is ever removed")
    }

    /// Something happens in the present life of a process after a while.
    fn plan(&mut self, node: NodeId, after: Duration, what: Happening) {
        let life = self.host(node).life;
        self.agenda.after(after, Event::Process { node, life, what });
    }

    fn find(&mut self, check: Check, detail: impl Into<String>) {
        let detail = detail.into();
        self.record_finding(&format!("{check}: {detail}"));
        self.findings.push(Finding { at: self.agenda.now(), check, detail });
    }

    fn write_trace(&mut self, at: Instant, sequence: u64, event: &Event) {
        let line = |node, kind, peer, payload| Line { at, sequence, node, kind, peer, payload, note: "" };
        let world = NodeId::NONE;
        let line = match event {
            Event::Frame { from, to, bytes, .. } => line(*to, "frame", from.get(), Payload::Bytes(bytes)),
            Event::Process { node, what, .. } => line(*node, what.name(), 0, Payload::None),
            Event::Arrival { slot, node, what, .. } => line(*node, "arrival", client(*slot), Payload::Value(what)),
            Event::News { slot, news } => line(world, "news", client(*slot), Payload::Value(news)),
            Event::Patience { slot, .. } => line(world, "patience", client(*slot), Payload::None),
            Event::Fault(fault) => line(world, "fault", 0, Payload::Value(fault)),
            Event::Scene(scene) => line(world, "scene", 0, Payload::Value(scene)),
            Event::Start(node) => line(*node, "start", 0, Payload::None),
            Event::Episode(kind) => line(world, "episode", 0, Payload::Value(kind)),
            Event::Phase(phase) => line(world, "phase", 0, Payload::Value(phase)),
            Event::Note(_) => line(world, "note", 0, Payload::None),
        };
        let note = if self.trace.is_written() { describe::event(event) } else { String::new() };
        self.trace.add(&Line { note: &note, ..line });
    }

    fn report(mut self) -> Report {
        self.trace.flush();
        self.conclude();
        let judgement = self.judge();
        let control = self.control_counts();
        let now = self.agenda.now();
        let found = judgement.broken.into_iter().map(|(check, detail)| Finding { at: now, check, detail });
        self.findings.extend(found);
        Report {
            seed: self.options.seed,
            trace_hash: self.trace.digest(),
            events: self.trace.lines(),
            simulated: now.since(Instant::ZERO),
            network: self.network.counts(),
            faults: self.counts,
            control,
            inflicted: self.inflicted,
            budget: self.budget.close(now),
            entries: self.ledger.entries() as u64,
            log_bytes: self.hosts.values().map(Host::bytes_written).sum(),
            terms: self.ledger.terms_led() as u64,
            history: self.shared.history,
            undecided: judgement.undecided,
            marks: althing_probe::take(),
            findings: self.findings,
            recording: self.recorder.map(Recorder::finish),
        }
    }
}

impl Happening {
    fn name(&self) -> &'static str {
        match self {
            Self::Tick => "tick",
            Self::Turn => "turn",
            Self::Synced => "synced",
            Self::Work => "work",
            Self::Read(_) => "read",
            Self::Checkpointed => "checkpointed",
            Self::Background => "background",
            Self::Checkpoint => "checkpoint",
            Self::Peer(_, PeerHint::Up) => "peer up",
            Self::Peer(_, PeerHint::Down) => "peer down",
        }
    }
}

/// How a trace calls a client: from one on, since zero means none.
const fn client(slot: Slot) -> u64 {
    slot.0 as u64 + 1
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}
