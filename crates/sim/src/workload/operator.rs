//! The operator: adds members, first without a vote, gives them one, and removes others, so that elections, snapshots and
//! reads meet changes of the configuration at bad moments.
//!
//! Before each step it asks who the members are, sees to it that every member has a machine and nobody else does
//! ([`Ask::Members`]), and makes one change. The cluster never has fewer voters than it was born with for its doing,
//! except where a change took effect that the operator had given up.

use althing_api::Error;
use althing_api::cluster::Member;
use althing_api::request::{Answer, Body, Request};
use althing_types::Duration;

use super::{Ask, Context, Drive, News, Ticket};
use crate::faults::Episodes;

/// How long it waits when it could not learn who the members are.
const RETRY: Duration = Duration::from_millis(200);

/// What the operator waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Members,
    Change,
}

/// A client that changes the members.
#[derive(Debug)]
pub struct Operator {
    pace: Episodes,
    voters: u64,
    ticket: Ticket,
    stage: Stage,
    drive: Drive,
}

impl Operator {
    /// An operator of a cluster that was born with so many voters.
    #[must_use]
    pub fn new(pace: Episodes, voters: u64) -> Self {
        Self { pace, voters, ticket: Ticket::default(), stage: Stage::Members, drive: Drive::default() }
    }

    pub(super) fn finish(&mut self) {
        self.drive = Drive::Finishing;
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake if self.pace == Episodes::NONE || self.drive == Drive::Finishing => {}
            News::Wake => self.send(Stage::Members, Request::MemberList { linearizable: true }, cx),
            News::Answered { ticket, result } if ticket == self.ticket => self.answered(result, cx),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        match (self.stage, result) {
            (Stage::Members, Ok(answer)) => self.change(members(&answer), cx),
            (Stage::Members, Err(_)) => cx.asks.push(Ask::Wake(RETRY)),
            (Stage::Change, _) => {
                let pause = self.pace.draw_gap(cx.rng).unwrap_or(RETRY);
                cx.asks.push(Ask::Wake(pause));
            }
        }
    }

    fn change(&mut self, members: &[Member], cx: &mut Context<'_>) {
        cx.asks.push(Ask::Members(members.iter().map(|member| member.id).collect()));
        if self.drive == Drive::Finishing {
            return;
        }
        let voters: Vec<_> = members.iter().filter(|member| !member.is_learner).map(|member| member.id).collect();
        let learner = members.iter().find(|member| member.is_learner).map(|member| member.id);
        let request = match learner {
            Some(id) if cx.rng.u32(0..5) > 0 => Request::MemberPromote(id),
            Some(id) => Request::MemberRemove(id),
            None if voters.len() as u64 > self.voters => Request::MemberRemove(voters[cx.rng.usize(..voters.len())]),
            None => Request::MemberAdd {
                peer_urls: vec![format!("http://machine-{}:2380", cx.shared.new_value())],
                is_learner: cx.rng.u32(0..4) > 0,
            },
        };
        self.send(Stage::Change, request, cx);
    }

    fn send(&mut self, stage: Stage, request: Request, cx: &mut Context<'_>) {
        self.stage = stage;
        self.ticket = self.ticket.next();
        let node = cx.any_node();
        cx.call(self.ticket, node, request);
    }
}

/// The members in an answer to a request for them.
pub(super) fn members(answer: &Answer) -> &[Member] {
    match &answer.body {
        Body::Members(members) => members,
        other => panic!("a request for the members was answered with {other:?}"),
    }
}
