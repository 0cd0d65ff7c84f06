//! Replicas, each an acceptor with a disk and a proposer; messages that lie about until somebody delivers them.

use std::collections::BTreeMap;

use althing_paxos::acceptor::{self, Born, Copies, Record, Shard};
use althing_paxos::message::{Ask, Word};
use althing_paxos::proposer::{self, Change, Input, Kind, Settings, Timer};
use althing_paxos::{Acceptor, Answer, Ballot, Config, Failure, Outcome, Peer, Proposer, Register, Request, Value};
use althing_types::{Duration, Instant, NodeId, RequestId};
use bytes::Bytes;

use super::history::{Applied, Call, Operation, Return};

pub const KEY: &[u8] = b"k";

/// What a replica remembers, as its store would have it.
#[derive(Clone, Default, Debug)]
struct Memory {
    shard: Option<Shard>,
    registers: BTreeMap<Bytes, Register>,
}

impl Memory {
    fn apply(&mut self, record: Record) {
        if record.forgets_all() {
            self.registers.clear();
        }
        match record {
            Record::Shard(shard) => self.shard = Some(shard),
            Record::Register { key, register } => {
                self.registers.insert(key, register);
            }
            Record::Erased { key, shard } => {
                self.registers.remove(&key);
                self.shard = Some(shard);
            }
        }
    }

    fn floor(&self) -> Ballot {
        self.shard.map_or(Ballot::ZERO, |shard| shard.floor)
    }
}

/// One entry of the map: who accepts, and since when each has had its vote without a break.
#[derive(Clone, Debug)]
struct Chart {
    config: Config,
    since: BTreeMap<Peer, u64>,
}

#[derive(Debug)]
struct Replica {
    born: Born,
    acceptor: Acceptor,
    proposer: Proposer,
    config: Config,
    /// What it has copied in the epoch of its configuration, if it is silent.
    copies: Copies,
    incarnation: u64,
    /// With what was handed over and is not durable.
    now: Memory,
    durable: Memory,
    unsynced: Vec<(u64, Record)>,
    held: Vec<(u64, Peer, Answer)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tracing {
    On,
    Off,
}

#[derive(Clone, Debug)]
pub enum Payload {
    Request(Request),
    Answer(Answer),
}

#[derive(Clone, Debug)]
pub struct Message {
    pub from: Peer,
    pub to: Peer,
    pub payload: Payload,
}

/// All of it. Time is a number that every step counts up.
pub struct World {
    replicas: BTreeMap<Peer, Replica>,
    charts: BTreeMap<u64, Chart>,
    pub network: Vec<Message>,
    timers: Vec<(Instant, Peer, Timer)>,
    pub now: Instant,
    pub steps: u64,
    pub history: Vec<Operation>,
    requests: BTreeMap<RequestId, (usize, Peer)>,
    /// Values by version: two for one version would be a value that was chosen twice.
    chosen: BTreeMap<Ballot, Value>,
    pub trace: String,
    /// Whether anybody reads the trace.
    pub tracing: Tracing,
    seed: u64,
    /// How long a request lasts.
    pub patience: Duration,
}

impl Tracing {
    fn note(self, trace: &mut String, line: impl FnOnce() -> String) {
        match self {
            Self::On => {
                trace.push_str(&line());
                trace.push('\n');
            }
            Self::Off => {}
        }
    }
}

pub fn peer(node: u64) -> Peer {
    Peer { node: NodeId(node), generation: 1 }
}

fn number(value: &Value) -> Option<u64> {
    value.present().map(|bytes| std::str::from_utf8(bytes).unwrap().parse().unwrap())
}

fn change(call: Call, current: &Value) -> Change {
    match (call, call.apply(number(current))) {
        (Call::Delete, (_, Applied::Yes)) => Change::Delete(Bytes::from_static(b"removal")),
        (_, (Some(value), Applied::Yes)) => Change::Write(value.to_string().into()),
        (_, (None, Applied::Yes) | (_, Applied::No)) => Change::Keep,
    }
}

impl World {
    pub fn new(nodes: &[u64], seed: u64) -> Self {
        let mut world = Self {
            replicas: BTreeMap::new(),
            charts: BTreeMap::new(),
            network: Vec::new(),
            timers: Vec::new(),
            now: Instant::ZERO,
            steps: 0,
            history: Vec::new(),
            requests: BTreeMap::new(),
            chosen: BTreeMap::new(),
            trace: String::new(),
            tracing: Tracing::Off,
            seed,
            patience: Duration::from_secs(2),
        };
        let peers: Vec<Peer> = nodes.iter().map(|node| peer(*node)).collect();
        let config = Config::stable(1, &peers);
        let since = peers.iter().map(|peer| (*peer, 0)).collect();
        world.charts.insert(1, Chart { config: config.clone(), since });
        for node in &peers {
            world.add(*node, &config, Born::WithTheShard);
        }
        world
    }

    fn add(&mut self, peer: Peer, config: &Config, born: Born) {
        let replica = Replica {
            born,
            proposer: self.proposer(peer, 1, config.clone()),
            config: config.clone(),
            copies: Copies::default(),
            acceptor: Acceptor::new(born),
            incarnation: 1,
            now: Memory::default(),
            durable: Memory::default(),
            unsynced: Vec::new(),
            held: Vec::new(),
        };
        self.replicas.insert(peer, replica);
        self.configure(peer, config);
        self.sync(peer, usize::MAX);
    }

    /// Who accepts from now on is written into the map.
    fn chart(&mut self, config: &Config) -> Chart {
        let epoch = config.epoch();
        let before = self.charts.range(..epoch).next_back().map(|(_, chart)| chart.since.clone()).unwrap_or_default();
        let since = |peer: Peer| (peer, before.get(&peer).copied().unwrap_or(epoch));
        let chart = || Chart { config: config.clone(), since: config.peers().into_iter().map(since).collect() };
        self.charts.entry(epoch).or_insert_with(chart).clone()
    }

    fn proposer(&self, peer: Peer, incarnation: u64, config: Config) -> Proposer {
        let seed = self.seed ^ peer.node.get() << 8 ^ incarnation << 16;
        Proposer::new(peer.node, incarnation, config, Settings::default(), seed)
    }

    pub fn peers(&self) -> Vec<Peer> {
        self.replicas.keys().copied().collect()
    }

    pub fn is_idle(&self) -> bool {
        self.network.is_empty() && self.replicas.values().all(|replica| replica.unsynced.is_empty())
    }

    // ---- clients ----

    pub fn call(&mut self, at: Peer, call: Call) {
        self.steps += 1;
        let request = RequestId(self.history.len() as u64 + 1);
        self.requests.insert(request, (self.history.len(), at));
        self.history.push(Operation { call, called: self.steps, returned: None });
        let kind = if call == Call::Read { Kind::Read } else { Kind::Change };
        self.begin(at, request, kind);
    }

    pub fn forget(&mut self, at: Peer) {
        self.steps += 1;
        self.begin(at, RequestId(1 << 32 | self.steps), Kind::Forget);
    }

    fn begin(&mut self, at: Peer, request: RequestId, kind: Kind) {
        let (key, deadline) = (Bytes::from_static(KEY), self.now + self.patience);
        self.propose(at, Input::Begin { request, key, kind, deadline });
    }

    fn returned(&mut self, request: RequestId, result: &Result<Outcome, Failure>) {
        let Some((index, _)) = self.requests.remove(&request) else { return };
        let told = match result {
            Ok(Outcome::Kept { value, .. }) => Return::Value(number(value), Applied::No),
            Ok(Outcome::Changed { value, .. }) => Return::Value(number(value), Applied::Yes),
            Ok(Outcome::Forgotten) => panic!("nobody called this"),
            Err(Failure::MaybeDone(_)) => Return::MaybeDone,
            Err(Failure::NotDone(_)) => Return::NotDone,
        };
        self.history[index].returned = Some((self.steps, told));
    }

    // ---- cores and their effects ----

    fn propose(&mut self, at: Peer, input: Input) {
        let Some(replica) = self.replicas.get_mut(&at) else { return };
        let mut out = Vec::new();
        replica.proposer.handle(self.now, input, &mut out);
        for effect in out {
            self.proposer_effect(at, effect);
        }
    }

    fn proposer_effect(&mut self, at: Peer, effect: proposer::Effect) {
        match effect {
            proposer::Effect::Send { to, request } => {
                self.network.push(Message { from: at, to, payload: Payload::Request(request) });
            }
            proposer::Effect::Compute { request, ballot, current, .. } => {
                let call = self.history[self.requests[&request].0].call;
                self.propose(at, Input::Computed { request, ballot, change: change(call, &current) });
            }
            proposer::Effect::Chosen { version, value, .. } => {
                let first = self.chosen.entry(version).or_insert_with(|| value.clone());
                assert_eq!(*first, value, "one version has two values");
                self.tracing.note(&mut self.trace, || format!("{at} chosen {}", show(version, &value)));
            }
            proposer::Effect::Done { request, result } => {
                self.tracing.note(&mut self.trace, || format!("{at} {}", show_result(&result)));
                self.returned(request, &result);
            }
            proposer::Effect::Timer { at: when, timer } => self.timers.push((when, at, timer)),
            proposer::Effect::Behind { epoch } => self.catch_up(at, epoch),
        }
    }

    fn accept(&mut self, at: Peer, act: impl FnOnce(&mut Acceptor, Option<Register>, &mut Vec<acceptor::Effect>)) {
        let Some(replica) = self.replicas.get_mut(&at) else { return };
        let mut out = Vec::new();
        act(&mut replica.acceptor, replica.now.registers.get(KEY).cloned(), &mut out);
        for effect in out {
            let Some(replica) = self.replicas.get_mut(&at) else { return };
            match effect {
                acceptor::Effect::Persist { seq, record } => {
                    self.tracing.note(&mut self.trace, || format!("{at} persists {}", show_record(&record)));
                    replica.now.apply(record.clone());
                    replica.unsynced.push((seq, record));
                }
                acceptor::Effect::Send { after, to, answer } => {
                    let is_durable = replica.unsynced.first().is_none_or(|(first, _)| after < *first);
                    if is_durable {
                        self.network.push(Message { from: at, to, payload: Payload::Answer(answer) });
                    } else {
                        replica.held.push((after, to, answer));
                    }
                }
                acceptor::Effect::Behind { epoch } => self.catch_up(at, epoch),
            }
        }
    }

    /// A node that hears of a later epoch has it from who knows it.
    fn catch_up(&mut self, at: Peer, epoch: u64) {
        let chart = self.charts.range(epoch..).next().map(|(_, chart)| chart.config.clone());
        if let Some(config) = chart {
            self.configure(at, &config);
        }
    }

    // ---- what the scripts and the simulation do ----

    /// The first so many records become durable, and what waits for them leaves.
    pub fn sync(&mut self, at: Peer, records: usize) {
        let Some(replica) = self.replicas.get_mut(&at) else { return };
        let records = records.min(replica.unsynced.len());
        for (_, record) in replica.unsynced.drain(..records) {
            replica.durable.apply(record);
        }
        let durable = replica.unsynced.first().map_or(u64::MAX, |(seq, _)| seq - 1);
        let (free, held) = std::mem::take(&mut replica.held).into_iter().partition(|(after, ..)| *after <= durable);
        replica.held = held;
        for (_, to, answer) in free {
            self.network.push(Message { from: at, to, payload: Payload::Answer(answer) });
        }
    }

    pub fn deliver(&mut self, message: Message) {
        self.steps += 1;
        let Message { from, to, payload } = message;
        if !self.replicas.contains_key(&to) {
            return;
        }
        self.tracing.note(&mut self.trace, || format!("{from}→{to} {}", show_payload(&payload)));
        match payload {
            Payload::Request(request) => {
                let request = Request::decode(request.encode()).unwrap();
                self.accept(to, |acceptor, stored, out| acceptor.handle(from, request, stored, out));
            }
            Payload::Answer(answer) => {
                let answer = Answer::decode(answer.encode()).unwrap();
                self.propose(to, Input::Answer { from, answer });
            }
        }
    }

    /// Time passes, and timers come.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.steps += 1;
        let (due, left) = std::mem::take(&mut self.timers).into_iter().partition(|(at, ..)| *at <= self.now);
        self.timers = left;
        for (_, at, timer) in due {
            self.propose(at, Input::Timer(timer));
        }
    }

    /// A process dies with what was not durable, and comes back.
    pub fn restart(&mut self, at: Peer) {
        self.steps += 1;
        let Some(mut replica) = self.replicas.remove(&at) else { return };
        replica.incarnation += 1;
        replica.now = replica.durable.clone();
        replica.acceptor = Acceptor::new(replica.born);
        replica.durable.shard.iter().for_each(|shard| replica.acceptor.recall(&Record::Shard(*shard)));
        replica.copies = Copies::default();
        replica.unsynced.clear();
        replica.held.clear();
        replica.proposer = self.proposer(at, replica.incarnation, replica.config.clone());
        self.timers.retain(|(_, of, _)| *of != at);
        let lost: Vec<RequestId> = self.requests.iter().filter(|(_, of)| of.1 == at).map(|(id, _)| *id).collect();
        for request in lost {
            self.returned(request, &Err(Failure::MaybeDone(proposer::Reason::Deadline)));
        }
        self.replicas.insert(at, replica);
    }

    /// A replica comes, or comes back with what it had.
    pub fn join(&mut self, at: Peer, config: &Config) {
        self.chart(config);
        if self.replicas.contains_key(&at) {
            self.configure(at, config);
        } else {
            self.add(at, config, Born::Later);
        }
    }

    /// A node learns of an entry of the map.
    pub fn configure(&mut self, at: Peer, config: &Config) {
        let (epoch, stage) = (config.epoch(), config.stage());
        let since = self.chart(config).since.get(&at).copied();
        let Some(replica) = self.replicas.get_mut(&at) else { return };
        if replica.config.epoch() < epoch {
            replica.config = config.clone();
            replica.copies = Copies::default();
            self.propose(at, Input::Configure(config.clone()));
        }
        self.accept(at, |acceptor, _, out| acceptor.configure(epoch, stage, since, out));
    }

    /// A node learns of the last entry of the map.
    pub fn catch_up_all(&mut self, at: Peer) {
        let newest = self.charts.last_key_value().map(|(_, chart)| chart.config.clone());
        newest.iter().for_each(|config| self.configure(at, config));
    }

    /// Whether an acceptor of this epoch is not silent, durably.
    pub fn accepts(&self, at: Peer, epoch: u64) -> bool {
        let shard = self.replicas.get(&at).and_then(|replica| replica.durable.shard);
        shard.is_some_and(|shard| shard.may_be_copied(epoch))
    }

    /// Those that are silent, each with the others of its configuration.
    pub fn silent(&self) -> Vec<(Peer, Vec<Peer>)> {
        let is_silent = |replica: &Replica| replica.acceptor.shard().is_some_and(|shard| !shard.accepts());
        let of = |(at, replica): (&Peer, &Replica)| {
            let peers = replica.config.peers();
            let others = peers.iter().copied().filter(|peer| peer != at).collect();
            (is_silent(replica) && peers.contains(at)).then_some((*at, others))
        };
        self.replicas.iter().filter_map(of).collect()
    }

    /// Copies one acceptor's memory to a newcomer, if it may be copied.
    pub fn copy(&mut self, from: Peer, to: Peer) -> bool {
        let Some(epoch) = self.replicas.get(&to).map(|replica| replica.config.epoch()) else { return false };
        let Some(source) = self.replicas.get(&from).filter(|_| self.accepts(from, epoch)) else { return false };
        let theirs = Shard { floor: source.now.floor(), ..source.durable.shard.unwrap() };
        if let Some(register) = source.now.registers.get(KEY).cloned() {
            let register = Register::decode(register.encode()).unwrap();
            self.accept(to, |acceptor, stored, out| acceptor.copy(&Bytes::from_static(KEY), register, stored, out));
        }
        // What was copied must be durable before it counts, or a crash of the newcomer would lose it.
        self.sync(to, usize::MAX);
        let Some(newcomer) = self.replicas.get_mut(&to) else { return false };
        newcomer.copies.part(&theirs);
        newcomer.copies.whole(from);
        true
    }

    /// A newcomer that has copied enough accepts from now on.
    pub fn fill(&mut self, at: Peer) -> bool {
        let Some(replica) = self.replicas.get(&at).filter(|replica| replica.copies.are_enough(&replica.config)) else {
            return false;
        };
        let (epoch, floor) = (replica.config.epoch(), replica.copies.floor());
        self.accept(at, |acceptor, _, out| acceptor.filled(epoch, floor, out));
        true
    }

    /// A replica goes, for good.
    pub fn leave(&mut self, at: Peer) {
        self.restart(at);
        self.replicas.remove(&at);
    }

    pub fn registers(&self) -> String {
        let one = |(peer, replica): (&Peer, &Replica)| match replica.now.registers.get(KEY) {
            Some(register) => format!("{peer}: {}\n", show_register(register)),
            None => format!("{peer}: nothing, floor {}\n", replica.now.floor()),
        };
        self.replicas.iter().map(one).collect()
    }
}

// ---- traces ----

fn show(version: Ballot, value: &Value) -> String {
    match number(value) {
        Some(number) => format!("{number} (version {version})"),
        None => format!("absent (version {version})"),
    }
}

fn show_register(register: &Register) -> String {
    let accepted = register.accepted.as_ref();
    let accepted = accepted.map_or("nothing".to_owned(), |a| format!("{} at {}", show(a.version, &a.value), a.ballot));
    format!("promised {}, accepted {accepted}", register.promised)
}

fn show_record(record: &Record) -> String {
    match record {
        Record::Shard(shard) => {
            format!("epoch {} {:?} {:?} floor {}", shard.epoch, shard.stage, shard.standing, shard.floor)
        }
        Record::Register { register, .. } => show_register(register),
        Record::Erased { shard, .. } => format!("nothing, floor {}", shard.floor),
    }
}

fn show_payload(payload: &Payload) -> String {
    let seen = |accepted: &Option<althing_paxos::Accepted>, floor: &Ballot| match accepted {
        Some(a) => format!("{} at {}", show(a.version, &a.value), a.ballot),
        None => format!("nothing, floor {floor}"),
    };
    match payload {
        Payload::Request(Request { ballot, ask, .. }) => match ask {
            Ask::Read => format!("Read {ballot}"),
            Ask::Prepare => format!("Prepare {ballot}"),
            Ask::Accept { version, value, next, .. } => {
                let next = next.map_or(String::new(), |next| format!(", next {next}"));
                format!("Accept {ballot}: {}{next}", show(*version, value))
            }
            Ask::Erase => format!("Erase {ballot}"),
        },
        Payload::Answer(Answer { ballot, word, .. }) => match word {
            Word::Value { accepted, floor } => format!("Value {ballot}: {}", seen(accepted, floor)),
            Word::Promised { accepted, floor } => format!("Promised {ballot}: {}", seen(accepted, floor)),
            Word::Accepted => format!("Accepted {ballot}"),
            Word::Erased => format!("Erased {ballot}"),
            Word::Refused { promised } => format!("Refused {ballot}: promised {promised}"),
            Word::WrongEpoch { current } => format!("WrongEpoch {ballot}: {current}"),
        },
    }
}

fn show_result(result: &Result<Outcome, Failure>) -> String {
    match result {
        Ok(Outcome::Kept { version, value }) => format!("kept {}", show(*version, value)),
        Ok(Outcome::Changed { version, value }) => format!("changed to {}", show(*version, value)),
        Ok(Outcome::Forgotten) => "forgotten".to_owned(),
        Err(failure) => failure.to_string(),
    }
}
