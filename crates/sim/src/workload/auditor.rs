//! The last client: when all others have ended, it looks who the members are, reads every register once more, and asks
//! every node for its hash until they all agree.

use std::collections::BTreeMap;

use althing_api::Error;
use althing_api::kv::{KeyRange, RangeRequest};
use althing_api::request::{Answer, Body, Request};
use althing_types::{Duration, NodeId, Revision};

use super::operator::members;
use super::register::{done, register_key};
use super::{Ask, Context, News, Ticket};
use crate::checker::{Action, Operation, Outcome};
use crate::history::ClientId;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// What a node said about its replica: the hash of all that it holds, and its revision.
pub type Fingerprint = (u32, Revision);

/// What is looked at in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The members, every register, and whether the members' replicas of the default table are equal.
    Replicas,
    /// Every register. Where replicas belong and whether they are there is the world's to see.
    Registers,
}

/// How far the audit is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Audit {
    /// It has not begun.
    Waiting,
    /// It asks who the members are.
    Listing,
    /// It reads this register.
    Reading(u64),
    /// It asks nodes; these have answered in this round.
    Comparing(BTreeMap<NodeId, Fingerprint>),
    /// All registers are read and all replicas are equal.
    Finished,
}

/// The last client.
#[derive(Debug)]
pub struct Auditor {
    client: ClientId,
    scope: Scope,
    ticket: Ticket,
    audit: Audit,
    /// The read under way, as its place in the history.
    read: Option<usize>,
    asked: NodeId,
    /// What the last whole round of comparing gave, for the finding if it stays so.
    last_round: BTreeMap<NodeId, Fingerprint>,
}

impl Auditor {
    /// An auditor that waits.
    #[must_use]
    pub fn new(client: ClientId, scope: Scope) -> Self {
        Self {
            client,
            scope,
            ticket: Ticket::default(),
            audit: Audit::Waiting,
            read: None,
            asked: NodeId::NONE,
            last_round: BTreeMap::new(),
        }
    }

    /// How far it is.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// What the last whole round of comparing gave.
    #[must_use]
    pub fn last_round(&self) -> &BTreeMap<NodeId, Fingerprint> {
        &self.last_round
    }

    /// Begins.
    pub(crate) fn begin(&mut self) {
        self.audit = match self.scope {
            Scope::Replicas => Audit::Listing,
            Scope::Registers => Audit::Reading(0),
        };
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.ask(cx),
            News::Answered { ticket, result } if ticket == self.ticket => self.answered(result, cx),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        self.ticket = self.ticket.next();
        match &self.audit {
            Audit::Waiting | Audit::Finished => {}
            Audit::Listing => {
                let node = cx.any_node();
                cx.call(self.ticket, node, Request::MemberList { linearizable: true });
            }
            Audit::Reading(register) => {
                let key = register_key(*register);
                let node = cx.any_node();
                self.read = Some(cx.shared.history.operations.len());
                cx.call(self.ticket, node, Request::Range(RangeRequest::new(KeyRange::single(key.clone()))));
                cx.shared.history.operations.push(Operation {
                    client: self.client.0,
                    key,
                    action: Action::Get,
                    invoked: cx.now,
                    outcome: Outcome::Unknown,
                });
            }
            Audit::Comparing(known) => {
                let Some(node) = cx.nodes.iter().find(|node| !known.contains_key(node)) else { return };
                self.asked = *node;
                cx.call(self.ticket, *node, Request::Hash);
            }
        }
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        let audit = std::mem::replace(&mut self.audit, Audit::Waiting);
        self.audit = match (audit, result) {
            (Audit::Listing, Ok(answer)) => {
                members(&answer, cx);
                Audit::Reading(0)
            }
            (Audit::Reading(register), result) => self.read_done(register, result, cx),
            (Audit::Comparing(known), Ok(answer)) => self.compare(known, &answer, cx),
            (audit, _) => audit,
        };
        let pause = if self.is_between_rounds() { PAUSE } else { Duration::ZERO };
        if self.audit != Audit::Finished {
            cx.asks.push(Ask::Wake(pause));
        }
    }

    fn is_between_rounds(&self) -> bool {
        matches!(&self.audit, Audit::Comparing(known) if known.is_empty())
    }

    fn read_done(&mut self, register: u64, result: Result<Answer, Error>, cx: &mut Context<'_>) -> Audit {
        let Some(place) = self.read.take() else { return Audit::Reading(register) };
        let operation = &mut cx.shared.history.operations[place];
        let Ok(answer) = result else {
            operation.outcome = Outcome::Refused;
            return Audit::Reading(register);
        };
        operation.outcome = done(&Action::Get, answer, cx.now);
        match self.scope {
            _ if register + 1 < cx.options.registers => Audit::Reading(register + 1),
            Scope::Replicas => Audit::Comparing(BTreeMap::new()),
            Scope::Registers => Audit::Finished,
        }
    }

    fn compare(&mut self, mut known: BTreeMap<NodeId, Fingerprint>, answer: &Answer, cx: &Context<'_>) -> Audit {
        let Body::Hash(hash) = answer.body else { panic!("a request for a hash was answered with {answer:?}") };
        known.insert(self.asked, (hash, answer.header.revision));
        if known.len() < cx.nodes.len() {
            return Audit::Comparing(known);
        }
        let equal = known.values().all(|print| Some(print) == known.values().next());
        self.last_round = known;
        if equal { Audit::Finished } else { Audit::Comparing(BTreeMap::new()) }
    }
}
