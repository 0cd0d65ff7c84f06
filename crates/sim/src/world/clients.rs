//! Between clients and nodes.

use althing_api::Target;
use althing_api::error::Outcome;
use althing_api::kv::Consistency;
use althing_api::watch::{WatchCommand, WatchEvent};
use althing_api::{Answer, Call, Error, Request};
use althing_node::Input;
use althing_probe::Mutant;
use althing_types::{NodeId, RequestId, StreamId};

use super::{Arrival, Event, World};
use crate::history::{CallEnd, CallRecord};
use crate::host::Process;
use crate::host::process::Caller;
use crate::workload::{Ask, Context, News, Slot, Ticket, lost, unreachable};

/// A call without an answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outstanding {
    /// Where it went.
    node: NodeId,
    /// Its place in the history.
    place: usize,
}

impl World {
    /// Something reaches a client, who asks for more.
    pub(super) fn news(&mut self, slot: Slot, news: News) {
        match &news {
            // Only the first answer counts: the client has stopped waiting for this one.
            News::Answered { ticket, result } => match self.outstanding.remove(&(slot, *ticket)) {
                Some(call) => self.record_end(call.place, result),
                None => return,
            },
            News::Streamed { ticket, .. } if !self.open.contains(&(slot, *ticket)) => return,
            News::Broken { ticket } if !self.open.remove(&(slot, *ticket)) => return,
            News::Streamed { .. } | News::Broken { .. } | News::Wake => {}
        }
        self.shared.lost = self.budget.lost();
        let mut asks = Vec::new();
        let mut context = Context {
            now: self.agenda.now(),
            rng: &mut self.chances[slot.0],
            nodes: &self.nodes,
            table: &self.table,
            options: &self.options.workload,
            shared: &mut self.shared,
            asks: &mut asks,
        };
        self.clients[slot.0].handle(news, &mut context);
        for ask in asks {
            self.ask(slot, ask);
        }
        self.check_audit(slot);
    }

    fn ask(&mut self, slot: Slot, ask: Ask) {
        match ask {
            Ask::Wake(after) => self.agenda.after(after, Event::News { slot, news: News::Wake }),
            Ask::Call { ticket, node, call, patience } => {
                let place = self.record_call(&call);
                self.outstanding.insert((slot, ticket), Outstanding { node, place });
                self.agenda.after(patience, Event::Patience { slot, ticket });
                self.send_to_node(slot, ticket, node, Arrival::Call(call));
            }
            Ask::Open { ticket, node, first } => {
                self.open.insert((slot, ticket));
                self.send_to_node(slot, ticket, node, Arrival::Open(first));
            }
            Ask::Say { ticket, node, command } => self.send_to_node(slot, ticket, node, Arrival::Say(command)),
            Ask::Drained { ticket, node, bytes } => self.send_to_node(slot, ticket, node, Arrival::Drained(bytes)),
            Ask::SetUp(members) => self.set_up(&members),
            Ask::RetireOthers(members) => self.retire_others(&members),
            Ask::Close { ticket, node } => {
                self.open.remove(&(slot, ticket));
                self.send_to_node(slot, ticket, node, Arrival::Close);
            }
        }
    }

    pub(super) fn record_call(&mut self, call: &Call) -> usize {
        let calls = &mut self.shared.history.calls;
        let (target, request) = (call.target.clone(), call.request.clone());
        calls.push(CallRecord { target, invoked: self.agenda.now(), request, end: CallEnd::Unknown });
        calls.len() - 1
    }

    fn record_end(&mut self, place: usize, result: &Result<Answer, Error>) {
        let returned = self.agenda.now();
        self.shared.history.calls[place].end = match result {
            Ok(answer) => CallEnd::Answered { returned, answer: answer.clone() },
            Err(Error { kind, outcome: Outcome::NotDone }) => CallEnd::Refused { returned, why: kind.clone() },
            Err(Error { outcome: Outcome::MaybeDone, .. }) => CallEnd::Unknown,
        };
    }

    fn send_to_node(&mut self, slot: Slot, ticket: Ticket, node: NodeId, what: Arrival) {
        let at = self.network.to_node(self.agenda.now(), slot.0);
        self.agenda.at(at, Event::Arrival { slot, ticket, node, what });
    }

    fn send_to_client(&mut self, slot: Slot, news: News) {
        let at = self.network.to_client(self.agenda.now(), slot.0);
        self.agenda.at(at, Event::News { slot, news });
    }

    /// A client's message has come to where a node should be.
    pub(super) fn arrival(&mut self, slot: Slot, ticket: Ticket, node: NodeId, mut what: Arrival) {
        let caller = (slot, ticket);
        match &mut what {
            Arrival::Call(call) => self.spoil(caller, node, call),
            Arrival::Open(command) | Arrival::Say(command) => spoil_watch(command),
            Arrival::Cancel | Arrival::Drained(_) | Arrival::Close => {}
        }
        let Some(process) = self.host(node).running() else { return self.nobody_there(slot, ticket, &what) };
        let input = match what {
            Arrival::Call(call) => Some(Input::Request { id: process.new_request(caller), call }),
            Arrival::Cancel => process.request_of(caller).map(|id| Input::Cancel { id }),
            Arrival::Open(first) => return self.open_stream(slot, ticket, node, first),
            Arrival::Say(command) => process.stream_of(caller).map(|stream| Input::Watch { stream, command }),
            Arrival::Drained(bytes) => process.stream_of(caller).map(|stream| Input::WatchDrained { stream, bytes }),
            Arrival::Close => process.stream_of(caller).map(|stream| {
                process.streams.remove(&stream);
                Input::WatchClose { stream }
            }),
        };
        if let Some(input) = input {
            self.input(node, input);
        }
    }

    /// What a host that is a mutant does to a call.
    fn spoil(&mut self, caller: Caller, node: NodeId, call: &mut Call) {
        match &mut call.request {
            Request::Range(range) if althing_probe::is(Mutant::SerializableReads) => {
                range.consistency = Consistency::Serializable;
            }
            Request::Put(_) if althing_probe::is(Mutant::RepeatWrites) => {
                let Some(process) = self.host(node).running() else { return };
                let id = process.new_request(caller);
                self.input(node, Input::Request { id, call: call.clone() });
            }
            Request::Txn(txn) if althing_probe::is(Mutant::IgnoreComparisons) => txn.compare.clear(),
            Request::Range(range) if range.limit > 0 && althing_probe::is(Mutant::ReadPagesNow) => {
                range.revision = None;
            }
            Request::Compact { revision, .. } if althing_probe::is(Mutant::CompactTooMuch) => {
                *revision = revision.next();
            }
            _ => {}
        }
    }

    fn open_stream(&mut self, slot: Slot, ticket: Ticket, node: NodeId, first: WatchCommand) {
        let require_leader = self.streams.workload.u32(0..4) == 0;
        let Some(process) = self.host(node).running() else { return };
        let stream = process.new_stream((slot, ticket));
        self.input(node, Input::WatchOpen { stream, target: Target::default(), require_leader });
        self.input(node, Input::Watch { stream, command: first });
    }

    fn nobody_there(&mut self, slot: Slot, ticket: Ticket, what: &Arrival) {
        match what {
            Arrival::Call(_) => self.send_to_client(slot, News::Answered { ticket, result: Err(unreachable()) }),
            Arrival::Open(_) => self.send_to_client(slot, News::Broken { ticket }),
            Arrival::Cancel | Arrival::Say(_) | Arrival::Drained(_) | Arrival::Close => {}
        }
    }

    pub(super) fn respond(&mut self, node: NodeId, responses: Vec<(RequestId, Result<Answer, Error>)>) {
        for (id, result) in responses {
            let Some(process) = self.host(node).running() else { return };
            if let Some((slot, ticket)) = process.requests.remove(&id) {
                self.send_to_client(slot, News::Answered { ticket, result });
            }
        }
    }

    pub(super) fn stream(&mut self, node: NodeId, events: Vec<(StreamId, WatchEvent)>) {
        for (stream, event) in events {
            if althing_probe::every(Mutant::LoseWatchEvents, 50) {
                continue;
            }
            let Some(process) = self.host(node).running() else { return };
            if let Some((slot, ticket)) = process.streams.get(&stream).copied() {
                self.send_to_client(slot, News::Streamed { ticket, event });
            }
        }
    }

    pub(super) fn patience_ends(&mut self, slot: Slot, ticket: Ticket) {
        let Some(node) = self.outstanding.get(&(slot, ticket)).map(|call| call.node) else { return };
        if self.streams.workload.bool() {
            self.send_to_node(slot, ticket, node, Arrival::Cancel);
        }
        self.news(slot, News::Answered { ticket, result: Err(lost()) });
    }

    /// The connections of a process that has ended break.
    pub(super) fn break_connections(&mut self, process: &Process) {
        for (slot, ticket) in process.requests.values().copied() {
            self.send_to_client(slot, News::Answered { ticket, result: Err(lost()) });
        }
        for (slot, ticket) in process.streams.values().copied() {
            self.send_to_client(slot, News::Broken { ticket });
        }
    }
}

/// What a host that is a mutant does to a command on a stream.
fn spoil_watch(command: &mut WatchCommand) {
    if let WatchCommand::Create(create) = command
        && althing_probe::is(Mutant::ForgetVersionsBefore)
    {
        create.prev_kv = false;
    }
}
