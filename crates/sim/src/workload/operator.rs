//! The operator: adds members, first without a vote, gives them one, and removes others, so that elections, snapshots and
//! reads meet changes of the configuration at bad moments.
//!
//! Before each step it asks who the members are, sees to it that every member has a machine and nobody else does, and
//! makes one change. Where nobody can say for certain who the members are, because a new voter is counted that has no
//! machine yet, it asks any node what it knows, and sets machines up by that. The cluster never has fewer voters than it
//! was born with for its doing, except where a change took effect that it had given up.

use althing_api::cluster::Member;
use althing_api::request::{Answer, Body, Request};
use althing_api::{Call, Error};
use althing_types::{Duration, NodeId};

use super::{Ask, Context, Drive, News, Ticket};
use crate::faults::Episodes;

/// How long it waits for a list of the members, and between two tries.
const LIST_PATIENCE: Duration = Duration::from_millis(500);

/// What the operator waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The members, for certain.
    Members,
    /// The members as some node knows them.
    Hearsay,
    Change,
}

/// A client that changes the members.
#[derive(Debug)]
pub struct Operator {
    pace: Episodes,
    voters: u64,
    /// Who had a vote when it was last told for certain.
    known_voters: Vec<NodeId>,
    ticket: Ticket,
    stage: Stage,
    drive: Drive,
    rest: Rest,
}

/// Whether it will wake by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rest {
    /// A wake or an answer is on its way to it.
    Awake,
    /// It has nothing to do until it is roused.
    Asleep,
}

impl Operator {
    /// An operator of a cluster that was born with so many voters.
    #[must_use]
    pub fn new(pace: Episodes, voters: u64) -> Self {
        let (ticket, drive) = (Ticket::default(), Drive::default());
        Self { pace, voters, known_voters: Vec::new(), ticket, stage: Stage::Change, drive, rest: Rest::Awake }
    }

    pub(super) fn finish(&mut self) {
        self.drive = Drive::Finishing;
    }

    /// There is something to do. `true` if it must be woken for that.
    pub(crate) fn rouse(&mut self) -> bool {
        std::mem::replace(&mut self.rest, Rest::Awake) == Rest::Asleep
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake if self.pace == Episodes::NONE && cx.shared.condemned.is_empty() => self.rest = Rest::Asleep,
            News::Wake => self.list(cx),
            News::Answered { ticket, result } if ticket == self.ticket => self.answered(result, cx),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    /// Asks for certain first, and for hearsay if that fails.
    fn list(&mut self, cx: &mut Context<'_>) {
        self.stage = match self.stage {
            Stage::Members => Stage::Hearsay,
            Stage::Hearsay | Stage::Change => Stage::Members,
        };
        let request = Request::MemberList { linearizable: self.stage == Stage::Members };
        self.send(request, LIST_PATIENCE, cx);
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        match (self.stage, result) {
            (Stage::Members, Ok(answer)) => {
                let members = members(&answer, cx);
                let voters = members.iter().filter(|member| !member.is_learner);
                self.known_voters = voters.map(|member| member.id).collect();
                cx.shared.removing = None;
                self.change(&members, cx);
            }
            (Stage::Hearsay, Ok(answer)) => {
                cx.asks.push(Ask::SetUp(ids(&list_of(&answer))));
                cx.asks.push(Ask::Wake(LIST_PATIENCE));
            }
            (Stage::Members | Stage::Hearsay, Err(_)) => cx.asks.push(Ask::Wake(LIST_PATIENCE)),
            (Stage::Change, result) => {
                if let Ok(Answer { body: Body::MemberAdd { added, .. }, .. }) = result {
                    cx.asks.push(Ask::SetUp(vec![added.id]));
                }
                let gap = self.pace.draw_gap(cx.rng).unwrap_or(LIST_PATIENCE);
                // A member that is lost for good is in the way of all others; its removal is tried again soon.
                let is_hindered = cx.nodes.iter().any(|node| cx.shared.condemned.contains(node));
                let pause = if is_hindered { gap.min(LIST_PATIENCE) } else { gap };
                cx.asks.push(Ask::Wake(pause));
            }
        }
    }

    fn change(&mut self, members: &[Member], cx: &mut Context<'_>) {
        let Some(request) = self.next_change(members, cx) else {
            match cx.shared.lost {
                Some(_) if self.drive == Drive::Working => cx.asks.push(Ask::Wake(LIST_PATIENCE)),
                Some(_) | None => self.rest = Rest::Asleep,
            }
            return;
        };
        self.stage = Stage::Change;
        let patience = cx.patience();
        self.send(request, patience, cx);
    }

    fn next_change(&self, members: &[Member], cx: &mut Context<'_>) -> Option<Request> {
        if let Some(lost) = members.iter().find(|member| cx.shared.condemned.contains(&member.id)) {
            return Some(Request::MemberRemove(lost.id));
        }
        let voters: Vec<_> = members.iter().filter(|member| !member.is_learner).map(|member| member.id).collect();
        let learner = members.iter().find(|member| member.is_learner).map(|member| member.id);
        let is_whole = voters.len() as u64 >= self.voters && learner.is_none();
        if self.drive == Drive::Finishing || (self.pace == Episodes::NONE && is_whole) {
            return None;
        }
        Some(match learner {
            Some(id) if cx.rng.u32(0..5) > 0 || self.pace == Episodes::NONE => Request::MemberPromote(id),
            Some(id) => Request::MemberRemove(id),
            None if voters.len() as u64 > self.voters && cx.shared.lost.is_none() => {
                let removed = voters[cx.rng.usize(..voters.len())];
                cx.shared.removing = Some(removed);
                Request::MemberRemove(removed)
            }
            None if voters.len() as u64 > self.voters => return None,
            None => Request::MemberAdd {
                peer_urls: vec![format!("http://machine-{}:2380", cx.shared.new_value())],
                is_learner: cx.rng.u32(0..4) > 0,
            },
        })
    }

    /// A machine that has a vote and was not given up, as far as is known: learners answer little, lost machines nothing.
    fn whom_to_ask(&self, cx: &mut Context<'_>) -> NodeId {
        let is_able = |node: &NodeId| {
            let has_vote = self.known_voters.is_empty() || self.known_voters.contains(node);
            has_vote && !cx.shared.condemned.contains(node)
        };
        let able: Vec<NodeId> = cx.nodes.iter().copied().filter(is_able).collect();
        if able.is_empty() { cx.any_node() } else { able[cx.rng.usize(..able.len())] }
    }

    fn send(&mut self, request: Request, patience: Duration, cx: &mut Context<'_>) {
        self.ticket = self.ticket.next();
        let node = self.whom_to_ask(cx);
        let ticket = self.ticket;
        let call = Call { timeout: Some(patience), ..Call::new(request) };
        cx.asks.push(Ask::Call { ticket, node, call, patience });
    }
}

/// The members in an answer that is certain: each of them gets a machine, and nobody else keeps one.
pub(super) fn members(answer: &Answer, cx: &mut Context<'_>) -> Vec<Member> {
    let members = list_of(answer);
    cx.asks.push(Ask::RetireOthers(ids(&members)));
    cx.asks.push(Ask::SetUp(ids(&members)));
    members
}

fn list_of(answer: &Answer) -> Vec<Member> {
    match &answer.body {
        Body::Members(members) => members.clone(),
        other => panic!("a request for the members was answered with {other:?}"),
    }
}

fn ids(members: &[Member]) -> Vec<NodeId> {
    members.iter().map(|member| member.id).collect()
}
