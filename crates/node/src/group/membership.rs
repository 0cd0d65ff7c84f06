//! Members: who may come, who may go, and what a node says of itself.

use althing_api::ErrorKind;
use althing_api::Request;
use althing_api::cluster::Member;
use althing_api::service::DEFAULT_GROUP;
use althing_consensus::{Change, ConfChange};
use althing_strong::{Command, Proposal as LogProposal};
use althing_types::{Duration, Instant, NodeId, RequestId};
use bytes::Bytes;

use super::requests::fail;
use super::{Group, results};
use crate::context::Context;
use crate::effects::Membership;

/// How long between two tries of a node to publish its name and addresses.
const PUBLISH_EVERY: Duration = Duration::from_secs(2);
/// A learner is ready to vote when it has this share of the leader's log, in percent (etcd's rule).
const READY_PERCENT: u64 = 90;

/// Whether the members' table says of this node what it says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Publication {
    /// Not known; look.
    #[default]
    Unknown,
    /// Proposed at this moment.
    Proposed(Instant),
    /// It does.
    Done,
}

impl Group {
    pub(super) fn membership_request(
        &mut self,
        cx: &mut Context<'_>,
        ticket: RequestId,
        request: &Request,
        deadline: Instant,
    ) {
        let command = match request {
            Request::MemberAdd { peer_urls, is_learner } => Command::MemberAdd(Member {
                id: NodeId(cx.shared.rng.u64(1..)),
                peer_urls: peer_urls.clone(),
                is_learner: *is_learner,
                ..Member::default()
            }),
            Request::MemberPromote(id) => Command::MemberPromote(*id),
            Request::MemberRemove(id) => Command::MemberRemove(*id),
            Request::MemberUpdate { id, peer_urls } => return self.update_member(cx, ticket, *id, peer_urls, deadline),
            other => return fail(cx, ticket, ErrorKind::Unsupported(format!("{other:?} changes no members"))),
        };
        self.propose_with(cx, ticket, command, deadline, |proposal| proposal.membership = true);
    }

    fn update_member(
        &mut self,
        cx: &mut Context<'_>,
        ticket: RequestId,
        id: NodeId,
        urls: &[String],
        deadline: Instant,
    ) {
        let members = self.reader.members().unwrap_or_default();
        let Some(member) = members.into_iter().find(|member| member.id == id) else {
            return fail(cx, ticket, ErrorKind::MemberNotFound(id));
        };
        let member = Member { peer_urls: urls.to_vec(), ..member };
        self.propose(cx, ticket, Command::MemberUpsert(member), deadline);
    }

    /// The leader checks a change of the members and proposes it.
    pub(super) fn propose_membership(&mut self, data: Bytes) -> Result<(), ErrorKind> {
        let proposal =
            LogProposal::decode(data.clone()).map_err(|error| ErrorKind::InvalidArgument(error.to_string()))?;
        // A follower may have applied a change, and said so, before its leader: what comes next is judged with it.
        if self.replica.has_pending_conf_change() {
            return Err(ErrorKind::Unhealthy);
        }
        self.reader.check_members(&proposal.command)?;
        let change = match &proposal.command {
            Command::MemberAdd(member) if member.is_learner => Change::AddLearner(member.id),
            Command::MemberAdd(member) => Change::AddVoter(member.id),
            Command::MemberPromote(id) => {
                self.check_ready(*id)?;
                Change::Promote(*id)
            }
            Command::MemberRemove(id) => Change::Remove(*id),
            other => return Err(ErrorKind::InvalidArgument(format!("{other:?} changes no members"))),
        };
        let input = althing_consensus::Input::ProposeConfChange { change: ConfChange::Change(vec![change]), data };
        self.offer(input).map_err(results::refusal)
    }

    fn check_ready(&self, id: NodeId) -> Result<(), ErrorKind> {
        let reached = self.replica.progress(id).map_or(0, |progress| progress.match_index);
        if reached * 100 < self.replica.commit() * READY_PERCENT {
            return Err(ErrorKind::LearnerNotReady(id));
        }
        Ok(())
    }

    /// The transport should know who there is now, and Raft may have to start with a newcomer.
    pub(super) fn members_changed(&mut self, cx: &mut Context<'_>) {
        if let (Ok(members), Ok(removed)) = (self.reader.members(), self.reader.removed_members())
            && self.id == DEFAULT_GROUP
        {
            self.publication = Publication::Unknown;
            cx.out.members = Some(Membership { members, removed });
        }
    }

    /// Sees to it that the members' table has this node's name and addresses.
    pub(super) fn publish(&mut self, cx: &mut Context<'_>) {
        if self.id != DEFAULT_GROUP {
            return;
        }
        match self.publication {
            Publication::Done => return,
            Publication::Proposed(at) if cx.now.since(at) < PUBLISH_EVERY => return,
            Publication::Proposed(_) | Publication::Unknown => {}
        }
        let node = cx.shared.node();
        let members = self.reader.members().unwrap_or_default();
        let Some(member) = members.into_iter().find(|member| member.id == node) else { return };
        let config = &cx.shared.config;
        if member.name == config.name && member.client_urls == config.client_urls {
            self.publication = Publication::Done;
            return;
        }
        if self.leader().is_none() {
            return;
        }
        let (name, client_urls) = (config.name.clone(), config.client_urls.clone());
        let ticket = cx.shared.internal_ticket();
        let deadline = cx.now + PUBLISH_EVERY;
        self.publication = Publication::Proposed(cx.now);
        self.propose(cx, ticket, Command::MemberUpsert(Member { name, client_urls, ..member }), deadline);
    }
}
