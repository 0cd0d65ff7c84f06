//! Single calls, at the origin and at the replica that serves them.

use althing_api::wire::{decode_call, decode_result, encode_call, encode_result};
use althing_api::{Answer, Call, Error, ErrorKind, Outcome};
use althing_probe::{Mark, Mutant};
use althing_resilience::Deadline;
use althing_types::{Duration, GroupId, Instant, NodeId, RequestId, limits};
use bytes::Bytes;

use super::{Lent, Routed, Router, Stage};
use crate::effects::Effects;
use crate::envelope::{Message, Route};
use crate::node::Node;

/// What is taken off a call's deadline for the way to another node and back.
const WAY: Duration = Duration::from_millis(1);

/// The result of a call.
type CallResult = Result<Answer, Error>;

impl Node {
    /// Sends a client's call to a node that has a replica of its shard.
    pub(crate) fn route(&mut self, now: Instant, id: RequestId, group: GroupId, call: Call, out: &mut Effects) {
        if self.router.routed.len() >= limits::MAX_PENDING_REQUESTS {
            self.shared.metrics.overloads += 1;
            return out.responses.push((id, Err(ErrorKind::Overloaded.into())));
        }
        let deadline = self.shared.config.request_deadline(now, call.timeout);
        self.router.budget.request();
        let name = self.router.name();
        let routed = Routed { id, call, group, deadline, tried: Vec::new(), stage: Stage::Waiting };
        self.router.routed.insert(name, routed);
        self.shared.metrics.routed += 1;
        self.try_route(now, name);
    }

    /// Hands a routed call to the next replica, if there is one that has not refused it.
    fn try_route(&mut self, now: Instant, name: u64) {
        let Some(routed) = self.router.routed.get(&name) else { return };
        // Who coordinates is asked first: what goes through one replica meets no other.
        let (group, own) = (routed.group, self.shared.node());
        let coordinator = self.keyed.contains_key(&group).then(|| self.coordinator(now, group));
        let coordinator = coordinator.filter(|node| *node != own && !routed.tried.contains(node));
        let Some(to) = coordinator.or_else(|| self.replica_for(now, group, &routed.tried)) else { return };
        let epoch = self.epoch_of(routed.group);
        // Of what would come too late the client is told with the next tick.
        let Some(left) = Deadline::until(routed.deadline).travel(now, WAY) else { return };
        let call = Call { timeout: Some(left.as_duration()), ..routed.call.clone() };
        let route = Route { group: routed.group, epoch, name, call: encode_call(&call) };
        self.shared.peers.send(to, &Message::Route(route));
        if let Some(routed) = self.router.routed.get_mut(&name) {
            routed.stage = Stage::Sent(to);
        }
    }

    /// Another node's client asks for something that should be here.
    pub(crate) fn routed_here(&mut self, now: Instant, from: NodeId, route: Route, out: &mut Effects) {
        let Route { group, epoch, name, call } = route;
        if epoch > self.epoch_of(group) {
            self.map_is_behind();
        }
        if !self.serves(group) || epoch < self.epoch_of(group) {
            let current = self.entry_of(group);
            self.shared.metrics.wrong_shards += 1;
            althing_probe::hit(Mark::WrongShardAnswered);
            return self.shared.peers.send(from, &Message::WrongShard { group, name, current });
        }
        let bytes = call.len();
        let Ok(call) = decode_call(call) else {
            self.shared.metrics.frames_refused += 1;
            return;
        };
        let Some(place) = self.router.lobby.enter(now, &call.request, bytes) else {
            self.shared.metrics.overloads += 1;
            let result = encode_result(&Err(Error::not_done(ErrorKind::Overloaded)));
            return self.shared.peers.send(from, &Message::Routed { name, result });
        };
        let id = RequestId(self.router.lent_name());
        self.router.lent.insert(id, Lent { to: from, name, place });
        self.request_placed(now, id, group, call, out);
    }

    /// Answers that belong to other nodes' clients leave for them.
    pub(crate) fn return_lent(&mut self, now: Instant, out: &mut Effects) {
        if self.router.lent.is_empty() {
            return;
        }
        let Router { lent, lobby, .. } = &mut self.router;
        for (id, result) in out.responses.extract_if(.., |(id, _)| super::is_lent(id.get())) {
            let Some(Lent { to, name, place }) = lent.remove(&id) else { continue };
            lobby.leave(now, place, &result);
            self.shared.peers.send(to, &Message::Routed { name, result: encode_result(&result) });
        }
    }

    /// The replica has answered.
    pub(crate) fn routed_back(&mut self, now: Instant, from: NodeId, name: u64, result: Bytes, out: &mut Effects) {
        let Some(routed) = self.router.routed.get(&name).filter(|routed| routed.stage == Stage::Sent(from)) else {
            return;
        };
        let result = match decode_result(result) {
            Ok(result) => result,
            Err(error) => Err(Error::maybe_done(ErrorKind::Storage(format!("an answer does not parse: {error}")))),
        };
        if is_worth_another(&result) && routed.deadline > now {
            return self.refuse_route(now, name, from);
        }
        self.finish_route(name, result, out);
    }

    /// The node that was asked does not have the shard, and says how the map looks from there.
    pub(crate) fn wrong_shard(&mut self, now: Instant, from: NodeId, name: u64, current: &Bytes) {
        self.shared.metrics.wrong_shard_retries += 1;
        self.adopt_entry(current);
        if self.router.routed.get(&name).is_some_and(|routed| routed.stage == Stage::Sent(from)) {
            self.refuse_route(now, name, from);
        }
    }

    /// One replica has proved that it did nothing: the next is tried, now or with the next tick.
    fn refuse_route(&mut self, now: Instant, name: u64, by: NodeId) {
        if let Some(routed) = self.router.routed.get_mut(&name) {
            routed.tried.push(by);
            routed.stage = Stage::Waiting;
        }
        if self.router.budget.retry() {
            self.shared.metrics.route_retries += 1;
            self.try_route(now, name);
        } else {
            self.shared.metrics.route_retries_put_off += 1;
        }
    }

    fn finish_route(&mut self, name: u64, result: CallResult, out: &mut Effects) {
        if let Some(routed) = self.router.routed.remove(&name) {
            out.responses.push((routed.id, result));
        }
    }

    /// Calls that nobody would take are tried again, and those that have waited too long are told.
    pub(crate) fn tick_routes(&mut self, now: Instant, out: &mut Effects) {
        for (_, routed) in self.router.routed.extract_if(.., |_, routed| routed.deadline <= now) {
            match routed.stage {
                Stage::Sent(to) if !self.shared.peers.is_heard(now, to) => self.shared.peers.doubt(now, to),
                Stage::Sent(_) | Stage::Waiting => {}
            }
            out.responses.push((routed.id, Err(timeout(routed.stage))));
        }
        let waiting = self.router.routed.iter_mut().filter(|(_, routed)| routed.stage == Stage::Waiting);
        let names: Vec<_> = waiting
            .map(|(name, routed)| {
                routed.tried.clear();
                *name
            })
            .collect();
        for name in names {
            self.retarget(now, name, out);
            self.try_route(now, name);
        }
    }

    /// A call that waits may belong elsewhere by now, or here.
    fn retarget(&mut self, now: Instant, name: u64, out: &mut Effects) {
        let Some(routed) = self.router.routed.get(&name) else { return };
        match self.locate(&routed.call) {
            Ok(group) if self.serves(group) => {
                let Some(routed) = self.router.routed.remove(&name) else { return };
                let call = Call { timeout: Some(routed.deadline.since(now)), ..routed.call };
                self.request_placed(now, routed.id, group, call, out);
            }
            Ok(group) => {
                if let Some(routed) = self.router.routed.get_mut(&name) {
                    routed.group = group;
                }
            }
            // A table that is not in the map yet may come before the deadline; one that went says so then.
            Err(_) => {}
        }
    }

    /// The connection to a peer broke. What it had and only reads is read elsewhere; of the rest nobody knows.
    pub(crate) fn routes_lost(&mut self, now: Instant, peer: NodeId, out: &mut Effects) {
        let lost = self.router.routed.iter().filter(|(_, routed)| routed.stage == Stage::Sent(peer));
        let names: Vec<_> = lost.map(|(name, routed)| (*name, routed.call.request.is_read_only())).collect();
        for (name, reads) in names {
            if reads || althing_probe::is(Mutant::ResendRoutedWrites) {
                self.refuse_route(now, name, peer);
            } else {
                althing_probe::hit(Mark::RoutedWriteLost);
                self.finish_route(name, Err(Error::maybe_done(ErrorKind::LeaderChanged)), out);
            }
        }
    }

    /// The client of a routed call no longer waits.
    pub(crate) fn cancel_route(&mut self, id: RequestId) {
        self.router.routed.retain(|_, routed| routed.id != id);
    }
}

/// Whether another replica may do what this one has not done.
const fn is_worth_another(result: &CallResult) -> bool {
    match result {
        Err(Error { kind: ErrorKind::Learner | ErrorKind::Stopped, outcome: Outcome::NotDone }) => true,
        Ok(_) | Err(_) => false,
    }
}

/// What a client is told whose call was not answered in time.
fn timeout(stage: Stage) -> Error {
    match stage {
        Stage::Waiting => Error::not_done(ErrorKind::Timeout),
        Stage::Sent(_) => Error::maybe_done(ErrorKind::Timeout),
    }
}
