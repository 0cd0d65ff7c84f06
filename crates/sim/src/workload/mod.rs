//! Clients: what they ask, and what they write into the history.
//!
//! A client is a state machine. The world tells it what reached it ([`News`]); it answers with what it wants done
//! ([`Ask`]). It knows neither the network nor the nodes' insides, only their ids; it sees what a program with a client
//! library would see, and the world's time, with which it fills the history.
//!
//! * [`register`]: reads, writes, removals and compare-and-swaps on registers, one of them hot;
//! * [`lease`]: grants, a key attached, keep-alives, and reads that look whether the key went too early;
//! * [`watch`]: follows keys of all kinds from some revision, changing nodes and resuming, at times reading slowly;
//! * [`keeper`]: compacts now and then;
//! * [`bank`]: moves money between accounts;
//! * [`list`]: transactions that append to several lists;
//! * [`lock`]: takes locks with a fencing token and writes to what they guard;
//! * [`range`]: reads ranges in every way, at revisions of the past and of the future;
//! * [`controller`], [`reflector`], [`compactor`]: what Kubernetes does with its objects;
//! * [`cart`]: a client of a convergent table;
//! * [`decided`]: a client of one whose strings are decided by rounds;
//! * [`operator`]: adds members, gives them a vote, removes others;
//! * [`steward`]: where there is a control plane, creates the table, registers nodes, drains them;
//! * [`auditor`]: when all others have ended, reads everything once more and compares the replicas.

mod asks;
pub mod auditor;
pub mod bank;
pub mod cart;
pub mod compactor;
pub mod controller;
pub mod decided;
pub mod keeper;
pub mod lease;
pub mod list;
pub mod lock;
pub mod operator;
pub mod range;
pub mod reflector;
pub mod register;
mod session;
pub mod steward;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};

use althing_api::error::ErrorKind;
use althing_api::request::{Answer, Request};
use althing_api::watch::{WatchCommand, WatchEvent};
use althing_api::{Call, Error, Target};
use althing_types::{Duration, Instant, NodeId, Revision};
use bytes::Bytes;
use fastrand::Rng;

use crate::history::{ClientId, History};
use crate::options::Options;
use crate::random::{Latency, between, stream};

/// Bytes of a large value of a convergent table: what is kept of it fills several sectors of the log.
const LARGE_BYTES: usize = 1500;

/// The place of a client in the world. A client that is retired is followed by another in the same place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub usize);

/// Names one call or stream of one slot; each is one more than the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    /// The next.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What reaches a client.
#[derive(Clone, Hash, Debug)]
pub enum News {
    /// The time that it wanted to wait is over.
    Wake,
    /// A call is answered. A connection that broke, a node that refused it and a deadline that passed are answers, too.
    Answered {
        /// Which call.
        ticket: Ticket,
        /// The answer.
        result: Result<Answer, Error>,
    },
    /// Something came on a stream.
    Streamed {
        /// Which stream.
        ticket: Ticket,
        /// What.
        event: WatchEvent,
    },
    /// A stream broke.
    Broken {
        /// Which stream.
        ticket: Ticket,
    },
}

/// What a client wants done.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Wake me in a while.
    Wake(Duration),
    /// Send a call, and answer it with an error when `patience` is over.
    Call {
        /// Names the answer.
        ticket: Ticket,
        /// To which node.
        node: NodeId,
        /// What.
        call: Call,
        /// How long the client waits.
        patience: Duration,
    },
    /// Open a stream of watches and say this on it.
    Open {
        /// Names the stream.
        ticket: Ticket,
        /// To which node.
        node: NodeId,
        /// What is said first.
        first: WatchCommand,
    },
    /// Say something on a stream.
    Say {
        /// Which stream.
        ticket: Ticket,
        /// At which node.
        node: NodeId,
        /// What.
        command: WatchCommand,
    },
    /// So many bytes of events have been read off a stream.
    Drained {
        /// Which stream.
        ticket: Ticket,
        /// At which node.
        node: NodeId,
        /// How many.
        bytes: usize,
    },
    /// Each of these should have a machine.
    SetUp(Vec<NodeId>),
    /// Nobody but these should have a machine.
    RetireOthers(Vec<NodeId>),
    /// Close a stream.
    Close {
        /// Which stream.
        ticket: Ticket,
        /// At which node.
        node: NodeId,
    },
}

/// How much of what clients do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkloadOptions {
    /// Clients on registers. At most 10: more concurrent operations on the hot register cannot be judged in time.
    pub register_clients: usize,
    /// Registers, the hot one included.
    pub registers: u64,
    /// How many of a hundred operations go to the hot register.
    pub hot_percent: u32,
    /// How many of a hundred values on registers are large: up to 8 kB, so that a batch of the log has many sectors.
    pub large_percent: u32,
    /// Clients that hold leases.
    pub lease_clients: usize,
    /// Clients that watch.
    pub watch_clients: usize,
    /// Clients that compact.
    pub keepers: usize,
    /// Clients that move money between accounts.
    pub bank_clients: usize,
    /// Accounts.
    pub accounts: u64,
    /// Clients with transactions on lists.
    pub list_clients: usize,
    /// Clients that take locks.
    pub lock_clients: usize,
    /// Clients that read ranges in every way, also at revisions of the past and of the future.
    pub range_clients: usize,
    /// Clients that create, update and delete objects as controllers of Kubernetes do.
    pub controllers: usize,
    /// Objects.
    pub objects: u64,
    /// Clients that list objects in pages, then follow them with a watch.
    pub reflectors: usize,
    /// Clients that compact as the API server of Kubernetes does.
    pub compactors: usize,
    /// Clients of the convergent table, if there is one.
    pub cart_clients: usize,
    /// Keys of each kind that they use, one of them hot.
    pub carts: u64,
    /// Clients of the table whose strings are decided by rounds, if there is one. At most [`MAX_REGISTER_CLIENTS`].
    pub decided_clients: usize,
    /// Locks that they use, one of them hot, and three times as many counters.
    pub locks: u64,
    /// How long a client on registers, of a convergent table or with a lease pauses between two operations.
    pub think: Latency,
    /// How long the others pause.
    pub leisure: Latency,
    /// The shortest time that a client waits for an answer.
    pub least_patience: Duration,
    /// The longest.
    pub most_patience: Duration,
}

/// Clients on registers at the most.
pub const MAX_REGISTER_CLIENTS: usize = 10;

impl Default for WorkloadOptions {
    fn default() -> Self {
        Self {
            register_clients: 6,
            registers: 8,
            hot_percent: 25,
            large_percent: 8,
            lease_clients: 2,
            watch_clients: 3,
            keepers: 1,
            bank_clients: 2,
            accounts: 6,
            list_clients: 2,
            lock_clients: 3,
            range_clients: 1,
            controllers: 2,
            objects: 24,
            reflectors: 2,
            compactors: 1,
            cart_clients: 0,
            carts: 4,
            decided_clients: 0,
            locks: 4,
            think: Latency::even(Duration::from_millis(1), Duration::from_millis(60)),
            leisure: Latency::even(Duration::from_millis(30), Duration::from_millis(300)),
            least_patience: Duration::from_millis(500),
            most_patience: Duration::from_secs(5),
        }
    }
}

impl WorkloadOptions {
    /// Clients on registers, and no others.
    #[must_use]
    pub fn of_registers() -> Self {
        Self { registers: 24, ..Self::default().on_registers_only() }
    }

    /// The same without the clients that are not on registers, nor of a convergent table.
    #[must_use]
    pub fn on_registers_only(self) -> Self {
        Self {
            lease_clients: 0,
            watch_clients: 0,
            keepers: 0,
            bank_clients: 0,
            list_clients: 0,
            lock_clients: 0,
            range_clients: 0,
            controllers: 0,
            reflectors: 0,
            compactors: 0,
            ..self
        }
    }
}

/// What all clients share: the history, and numbers that must be unique.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// The history so far.
    pub history: History,
    /// The greatest revision that any answer showed.
    pub revision: Revision,
    /// Nodes whose machines were given up: the operator removes them.
    pub condemned: BTreeSet<NodeId>,
    /// A machine that has lost what it had synced, and has not been replaced yet: nobody else's vote may be taken away now.
    pub lost: Option<NodeId>,
    /// A voter whose removal was asked for, until it is certain what came of it: no machine may lose anything now.
    pub removing: Option<NodeId>,
    /// The resource outside of the store that locks guard.
    pub resource: lock::Resource,
    clients: u64,
    values: u64,
    elements: u64,
}

impl Shared {
    /// A client id that nobody had.
    pub fn new_client(&mut self) -> ClientId {
        self.clients += 1;
        ClientId(self.clients)
    }

    /// A value that nobody wrote.
    pub fn new_value(&mut self) -> u64 {
        self.values += 1;
        self.values
    }

    /// An element that is in no list.
    pub fn new_element(&mut self) -> u64 {
        self.elements += 1;
        self.elements
    }

    /// Elements so far.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.elements
    }

    fn saw(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }
}

/// What a client is handed with each piece of news.
#[derive(Debug)]
pub struct Context<'a> {
    /// The world's time.
    pub now: Instant,
    /// The workload's stream.
    pub rng: &'a mut Rng,
    /// All nodes.
    pub nodes: &'a [NodeId],
    /// The table that is meant.
    pub table: &'a Target,
    /// How much of what.
    pub options: &'a WorkloadOptions,
    /// The history and the counters.
    pub shared: &'a mut Shared,
    /// What the client wants done, in order.
    pub asks: &'a mut Vec<Ask>,
}

impl Context<'_> {
    /// Any node.
    pub fn any_node(&mut self) -> NodeId {
        self.nodes[self.rng.usize(..self.nodes.len())]
    }

    /// A value that is written once, and says so by itself; now and then a large one.
    fn unique_value(&mut self) -> Bytes {
        let unique = self.shared.new_value();
        match self.rng.u32(0..100) < self.options.large_percent {
            true => Bytes::from(format!("{unique:0LARGE_BYTES$}")),
            false => Bytes::from(unique.to_string()),
        }
    }

    fn patience(&mut self) -> Duration {
        between(self.options.least_patience, self.options.most_patience, self.rng)
    }

    fn rest(&mut self) {
        let pause = self.options.think.draw(self.rng);
        self.asks.push(Ask::Wake(pause));
    }

    /// Sends a call; now and then it carries the client's own deadline.
    fn call(&mut self, ticket: Ticket, node: NodeId, request: Request) {
        let patience = self.patience();
        let timeout = self.rng.bool().then_some(patience);
        let call = Call { target: self.table.clone(), timeout, ..Call::new(request) };
        self.asks.push(Ask::Call { ticket, node, call, patience });
    }
}

/// One client.
#[derive(Debug)]
pub enum Client {
    /// On registers.
    Register(register::RegisterClient),
    /// With a lease.
    Lease(lease::LeaseClient),
    /// Watching.
    Watch(watch::WatchClient),
    /// Compacting.
    Keeper(keeper::Keeper),
    /// Moving money.
    Bank(bank::BankClient),
    /// Appending to lists.
    List(list::ListClient),
    /// Taking locks.
    Lock(lock::LockClient),
    /// Reading ranges.
    Range(range::RangeClient),
    /// Working on objects.
    Controller(controller::Controller),
    /// Copying objects.
    Reflector(reflector::Reflector),
    /// Compacting by turns.
    Compactor(compactor::Compactor),
    /// Of a convergent table.
    Cart(cart::CartClient),
    /// Of a table whose strings are decided by rounds.
    Decided(decided::DecidedClient),
    /// Changing the members.
    Operator(operator::Operator),
    /// Changing objects of the control plane.
    Steward(steward::Steward),
    /// Reading and comparing at the end.
    Auditor(auditor::Auditor),
}

impl Client {
    /// Handles what reached the client.
    pub fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        if let News::Answered { result: Ok(answer), .. } = &news {
            cx.shared.saw(answer.header.revision);
        }
        match self {
            Self::Register(client) => client.handle(news, cx),
            Self::Lease(client) => client.handle(news, cx),
            Self::Watch(client) => client.handle(news, cx),
            Self::Keeper(client) => client.handle(news, cx),
            Self::Bank(client) => client.handle(news, cx),
            Self::List(client) => client.handle(news, cx),
            Self::Lock(client) => client.handle(news, cx),
            Self::Range(client) => client.handle(news, cx),
            Self::Controller(client) => client.handle(news, cx),
            Self::Reflector(client) => client.handle(news, cx),
            Self::Compactor(client) => client.handle(news, cx),
            Self::Cart(client) => client.handle(news, cx),
            Self::Decided(client) => client.handle(news, cx),
            Self::Operator(client) => client.handle(news, cx),
            Self::Steward(client) => client.handle(news, cx),
            Self::Auditor(client) => client.handle(news, cx),
        }
    }

    /// Begin nothing new from now on.
    pub fn finish(&mut self) {
        match self {
            Self::Register(client) => client.finish(),
            Self::Lease(client) => client.finish(),
            Self::Keeper(client) => client.finish(),
            Self::Watch(client) => client.finish(),
            Self::Bank(client) => client.finish(),
            Self::List(client) => client.finish(),
            Self::Lock(client) => client.finish(),
            Self::Range(client) => client.finish(),
            Self::Controller(client) => client.finish(),
            Self::Reflector(client) => client.finish(),
            Self::Compactor(client) => client.finish(),
            Self::Cart(client) => client.finish(),
            Self::Decided(client) => client.finish(),
            Self::Operator(client) => client.finish(),
            Self::Steward(client) => client.finish(),
            Self::Auditor(_) => {}
        }
    }
}

impl Client {
    /// The run is over; see [`watch::WatchClient::conclude`].
    pub(crate) fn conclude(&self, quiet: Instant, revision: Revision, shared: &mut Shared) {
        match self {
            Self::Watch(client) => client.conclude(quiet, revision, shared),
            Self::Reflector(client) => client.conclude(quiet, revision, shared),
            Self::Register(_)
            | Self::Lease(_)
            | Self::Keeper(_)
            | Self::Bank(_)
            | Self::List(_)
            | Self::Lock(_)
            | Self::Range(_)
            | Self::Controller(_)
            | Self::Compactor(_)
            | Self::Cart(_)
            | Self::Decided(_)
            | Self::Operator(_)
            | Self::Steward(_)
            | Self::Auditor(_) => {}
        }
    }

    /// What kind of client it is, in a word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Register(_) => "register",
            Self::Lease(_) => "lease",
            Self::Watch(_) => "watch",
            Self::Keeper(_) => "keeper",
            Self::Bank(_) => "bank",
            Self::List(_) => "list",
            Self::Lock(_) => "lock",
            Self::Range(_) => "range",
            Self::Controller(_) => "controller",
            Self::Reflector(_) => "reflector",
            Self::Compactor(_) => "compactor",
            Self::Cart(_) => "cart",
            Self::Decided(_) => "decided",
            Self::Operator(_) => "operator",
            Self::Steward(_) => "steward",
            Self::Auditor(_) => "auditor",
        }
    }
}

/// What each client draws from: a stream of its own, named by its kind and its number among these.
pub(crate) fn chances(seed: u64, clients: &[Client]) -> Vec<Rng> {
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    let stream_of = |client: &Client| {
        let number = numbers.entry(client.kind()).or_default();
        *number += 1;
        stream(seed, &format!("client {} {number}", client.kind()))
    };
    clients.iter().map(stream_of).collect()
}

/// All clients that a run wants, in their slots; the last one is the auditor.
pub fn clients(run: &Options, shared: &mut Shared) -> Vec<Client> {
    let options = &run.workload;
    assert!(options.register_clients <= MAX_REGISTER_CLIENTS, "at most {MAX_REGISTER_CLIENTS} clients on registers");
    let mut clients = Vec::new();
    let registers = options.register_clients;
    add(&mut clients, registers, || Client::Register(register::RegisterClient::new(shared.new_client())));
    add(&mut clients, options.lease_clients, || Client::Lease(lease::LeaseClient::new(shared.new_client())));
    add(&mut clients, options.watch_clients, || Client::Watch(watch::WatchClient::default()));
    add(&mut clients, options.keepers, || Client::Keeper(keeper::Keeper::default()));
    add(&mut clients, options.bank_clients, || Client::Bank(bank::BankClient::default()));
    add(&mut clients, options.list_clients, || Client::List(list::ListClient::new(shared.new_client())));
    add(&mut clients, options.lock_clients, || Client::Lock(lock::LockClient::new(shared.new_client())));
    add(&mut clients, options.range_clients, || Client::Range(range::RangeClient::default()));
    add(&mut clients, options.controllers, || Client::Controller(controller::Controller::default()));
    add(&mut clients, options.reflectors, || Client::Reflector(reflector::Reflector::default()));
    add(&mut clients, options.compactors, || Client::Compactor(compactor::Compactor::default()));
    add(&mut clients, options.cart_clients, || Client::Cart(cart::CartClient::default()));
    assert!(
        options.decided_clients <= MAX_REGISTER_CLIENTS,
        "at most {MAX_REGISTER_CLIENTS} clients on decided strings"
    );
    add(&mut clients, options.decided_clients, || Client::Decided(decided::DecidedClient::default()));
    clients.push(match &run.tables {
        None => Client::Operator(operator::Operator::new(run.faults.membership, run.nodes)),
        Some(tables) => Client::Steward(steward::Steward::new(tables.clone(), run.nodes)),
    });
    let scope = if run.tables.is_some() { auditor::Scope::Registers } else { auditor::Scope::Replicas };
    clients.push(Client::Auditor(auditor::Auditor::new(shared.new_client(), scope)));
    clients
}

fn add(clients: &mut Vec<Client>, count: usize, new: impl FnMut() -> Client) {
    clients.extend(std::iter::repeat_with(new).take(count));
}

/// The error of a node that could not be reached: the call was never sent.
#[must_use]
pub fn unreachable() -> Error {
    Error::not_done(ErrorKind::Stopped)
}

/// The error of a connection that broke or a deadline that passed.
#[must_use]
pub fn lost() -> Error {
    Error::maybe_done(ErrorKind::Timeout)
}

/// Whether a client goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Drive {
    /// It begins new work whenever it wakes.
    #[default]
    Working,
    /// It ends what it has begun.
    Finishing,
}
