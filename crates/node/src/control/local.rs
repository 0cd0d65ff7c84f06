//! Doing what the map says with this node's own replicas: they come, conform and go.

use std::collections::{BTreeMap, BTreeSet};

use althing_api::service::FIRST_SHARD_GROUP;
use althing_manifest::{Guarantee, Phase, Shard, Slice};
use althing_placement::Placement;
use althing_probe::{Mark, Mutant};
use althing_strong::Role;
use althing_types::{Duration, GroupId, Instant, NodeId};
use bytes::Bytes;

use crate::effects::Effects;
use crate::envelope::{Message, Question};
use crate::node::Node;
use crate::presence::{Content, ReplicaBirth};
use crate::replicas::Farewell;

/// Replicas that come to a node in one turn at the most, so that a turn stays short.
const MAX_OPENED_PER_TURN: usize = 64;
/// How often a group that may have left a replica behind is asked.
const DOUBT_EVERY: Duration = Duration::from_secs(1);

/// How long a replica of a range shard stays when its shard is no more. If the shard was split, calls may wait at replicas that have
/// not applied the seal yet: they hear of it from those that stay, refuse what is late, and it goes on at the children.
const RETIRED_LINGERS: Duration = Duration::from_secs(5);

/// What the map wants of this node's replica of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    /// It should be there.
    Here,
    /// It should leave, and its group still counts on it: the leader takes it out first.
    Leaving,
    /// Nobody counts on it, as far as this map knows.
    Elsewhere,
    /// The shard is being deleted, or is.
    Gone,
}

/// A question to a group that may have left this node's replica behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Doubt {
    asked: Instant,
    /// What the replica had heard from its group until then. If it has heard more since, an answer says nothing.
    heard: u64,
}

impl Node {
    /// Takes one step towards what the map wants of this node.
    pub(super) fn fit(&mut self, now: Instant, out: &mut Effects) {
        self.open_wanted(now, out);
        self.close_unwanted(now, out);
        self.conform_led(now, out);
    }

    fn wish(&self, group: GroupId) -> Wish {
        match self.control.view.shard(group) {
            Some(shard) => wish(shard, self.shared.node()),
            None if group >= FIRST_SHARD_GROUP && self.control.view.is_spent(group) => Wish::Gone,
            None => Wish::Leaving,
        }
    }

    fn open_wanted(&mut self, now: Instant, out: &mut Effects) {
        let own = self.shared.node();
        let missing = self.control.view.shards().filter(|shard| {
            let group = shard.spec.group;
            let is_absent = !self.groups.contains_key(&group) && !self.comings.is_moving(group);
            let may_come = !self.comings.is_retired(group) || althing_probe::is(Mutant::ReturnByOldMap);
            wish(shard, own) == Wish::Here && is_absent && may_come
        });
        let births = missing.map(|shard| {
            let group = shard.spec.group;
            // Until a shard was seen alive the wish for its replicas does not change, so all its founders agree on who they are.
            let founds =
                shard.status.epoch == 0 && !self.comings.is_grave(group) || althing_probe::is(Mutant::FoundAgain);
            let birth = if founds { founding(shard) } else { ReplicaBirth::Joined };
            (group, birth, self.content_of(shard))
        });
        let births: Vec<_> = births.take(MAX_OPENED_PER_TURN).collect();
        if !births.is_empty() {
            self.keep_map(now);
        }
        for (group, birth, content) in births {
            match birth {
                ReplicaBirth::Shard(_) | ReplicaBirth::Piece { .. } => althing_probe::hit(Mark::ShardFounded),
                ReplicaBirth::Cluster | ReplicaBirth::Joined => {}
            }
            self.open_replica(group, birth, content, out);
        }
    }

    /// What replicas of a shard hold, by the guarantee of its table. A table that is on its way out says nothing any more, nor does a
    /// replica that comes now.
    fn content_of(&self, shard: &Shard) -> Content {
        let table = self.control.view.table(&shard.spec.table);
        match table.map_or(Guarantee::Strong, |table| table.spec.guarantee) {
            Guarantee::Convergent => Content::Convergent,
            Guarantee::Strong | Guarantee::Stream | Guarantee::Blob => Content::Logged,
        }
    }

    /// Replicas that nobody counts on go. The map may be an old one, so the group itself has the last word: a replica that
    /// has applied its own removal goes, and one that may have missed it asks.
    fn close_unwanted(&mut self, now: Instant, out: &mut Effects) {
        let own = self.shared.node();
        let (mut gone, mut doubtful) = (Vec::new(), BTreeSet::new());
        let mut lingering = BTreeMap::new();
        for group in self.groups.values() {
            match self.wish(group.id) {
                Wish::Gone if group.bounds().is_some() => {
                    let since = self.control.lingering.get(&group.id).copied().unwrap_or(now);
                    lingering.insert(group.id, since);
                    if now.since(since) >= RETIRED_LINGERS || althing_probe::is(Mutant::ReturnByOldMap) {
                        gone.push((group.id, Farewell::Retired));
                    }
                }
                Wish::Gone => gone.push((group.id, Farewell::Retired)),
                Wish::Elsewhere if group.is_left_behind(own) || althing_probe::is(Mutant::LeaveAtOnce) => {
                    if !self.owes(group.id) {
                        gone.push((group.id, Farewell::Left));
                    }
                }
                Wish::Elsewhere => {
                    doubtful.insert(group.id);
                }
                Wish::Here | Wish::Leaving => {}
            }
        }
        self.control.lingering = lingering;
        for (group, farewell) in gone {
            self.close_replica(now, group, farewell, out);
        }
        self.control.doubts.retain(|group, _| doubtful.contains(group));
        for group in doubtful {
            self.doubt(now, group);
        }
    }

    /// Asks a group whether it still counts on this node's replica.
    fn doubt(&mut self, now: Instant, group: GroupId) {
        if self.control.doubts.get(&group).is_some_and(|doubt| now.since(doubt.asked) < DOUBT_EVERY) {
            return;
        }
        let Some(held) = self.groups.get(&group) else { return };
        let heard = held.heard();
        althing_probe::hit(Mark::ReplicaDoubted);
        self.control.doubts.insert(group, Doubt { asked: now, heard });
        let ticket = self.shared.internal_ticket();
        let voters = self.control.view.shard(group).map(|shard| shard.status.voters.clone()).unwrap_or_default();
        let own = self.shared.node();
        for voter in voters.into_iter().filter(|voter| *voter != own) {
            self.shared.peers.send(voter, &Message::Ask { group, ticket, question: Question::Membership });
        }
    }

    /// The group's leader says that this node is no member. It says so after everything that it has sent before, so if the
    /// replica has heard nothing of its group since it asked, it has promised nothing that still counts.
    ///
    /// What it leaves behind begins with that leader's term: one of an earlier term may still count on what the replica had, and must
    /// not take a later one, which has nothing, for it.
    pub(crate) fn left_behind(&mut self, now: Instant, group: GroupId, term: u64, out: &mut Effects) {
        let Some(doubt) = self.control.doubts.remove(&group) else { return };
        let heard = self.groups.get(&group).map(crate::group::Group::heard);
        if heard == Some(doubt.heard) && self.wish(group) == Wish::Elsewhere && !self.owes(group) {
            althing_probe::hit(Mark::ReplicaLeftBehind);
            self.close_replica(now, group, Farewell::LeftBehind(term), out);
        }
    }

    fn conform_led(&mut self, now: Instant, out: &mut Effects) {
        let joint: Vec<_> = self.groups.values().filter(|group| group.stands_joint()).map(|group| group.id).collect();
        for id in joint {
            self.with(now, id, out, |group, cx| group.leave_joint(cx));
        }
        let led = self.groups.values().filter(|group| group.is_serving_leader());
        let wanted: Vec<_> = led
            .filter_map(|group| {
                let shard = self.control.view.shard(group.id)?;
                // A wish is a step from what meta has seen. A map that is older than this term, or than the voters, may wish
                // back what was left long ago.
                let is_seen = shard.status.term == group.replica.term() && group.has_voters(&shard.status.voters);
                if !is_seen && !althing_probe::is(Mutant::ConformToOldMap) {
                    return None;
                }
                let wanted = Placement { replicas: shard.spec.replicas.clone(), leader: shard.spec.leader };
                (!wanted.replicas.is_empty() && !group.is_settled(&wanted)).then_some((group.id, wanted))
            })
            .collect();
        for (id, wanted) in wanted {
            let voters = self.groups.get(&id).map(|group| group.standing().voters).unwrap_or_default();
            // Voters are added and replaced one at a time.
            let leave = voters.difference(&wanted.replicas).copied().collect::<BTreeSet<_>>();
            let grows = wanted.replicas.len() > voters.len();
            let size = voters.len() + usize::from(grows);
            if (grows || !leave.is_empty()) && !self.may_replace(now, id, &voters, &leave, size) {
                continue;
            }
            self.with(now, id, out, |group, cx| group.conform(cx, &wanted));
        }
    }
}

/// How the first replicas of a shard are born.
fn founding(shard: &Shard) -> ReplicaBirth {
    let voters = shard.spec.replicas.iter().copied().collect();
    match &shard.spec.slice {
        Slice::Hash(_) => ReplicaBirth::Shard(voters),
        // The system's tables are whole for ever.
        Slice::Range(_) if shard.spec.group < FIRST_SHARD_GROUP => ReplicaBirth::Shard(voters),
        Slice::Range(range) => {
            let (start, end) = (range.start.clone().into(), range.end.clone().map(Bytes::from));
            let role = match shard.spec.phase {
                Phase::Filling => Role::Fill,
                Phase::Serving | Phase::Retiring => Role::Serve,
            };
            ReplicaBirth::Piece { voters, slice: althing_strong::Slice { start, end }, role }
        }
    }
}

/// What a shard's entry wants of a node.
fn wish(shard: &Shard, node: NodeId) -> Wish {
    match shard.spec.phase {
        Phase::Retiring => Wish::Gone,
        Phase::Serving | Phase::Filling if shard.spec.replicas.contains(&node) => Wish::Here,
        Phase::Serving | Phase::Filling
            if shard.status.voters.contains(&node) || shard.status.learners.contains(&node) =>
        {
            Wish::Leaving
        }
        // Nothing was said yet of who is there.
        Phase::Serving | Phase::Filling if shard.status.voters.is_empty() => Wish::Leaving,
        Phase::Serving | Phase::Filling => Wish::Elsewhere,
    }
}
