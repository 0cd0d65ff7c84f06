//! Push/pull: whom to call, and what to believe of what is told.
//!
//! What another node says of a third one is taken with care. That a member is *alive* or *suspected* is taken as if it had
//! come with a datagram. That it is *down* is taken for a suspicion if it looks well from here: it gets the time to refute
//! it. So the two sides of a healed partition do not declare each other's members dead once more; and a node that hears
//! that it is itself held for dead renews its identity, and is a member again on both sides.

use althing_types::{Instant, NodeId};
use bytes::Bytes;
use foca::{Member, State};

use crate::gossip::{Gossip, Pending, Phase, Telling};
use crate::identity::Identity;
use crate::io::{Effects, Event, Exchange, Liveness, Outcome, Seed};
use crate::page::{self, Page};
use crate::timers::Timer;

/// As much news of one page is passed on with datagrams. A page with more means that this node is new or was away for long: it
/// has much to learn and little to tell.
const MAX_NEWS: usize = 16;
/// The longest wait before a seed is asked again, in push/pull intervals.
const MAX_JOIN_WAIT_INTERVALS: u32 = 1;

impl Gossip {
    /// All that the node knows, in pages of at most [`page::MAX_PAGE_BYTES`], at most [`page::MAX_PAGES`] of them.
    #[must_use]
    pub fn pages(&self) -> Vec<Bytes> {
        let owner = Member::new(self.identity().clone(), self.incarnation, State::Alive);
        page::pages(&owner, self.swim.iter_membership_state(), self.table.items())
    }

    pub(crate) fn join(&mut self, now: Instant, seeds: Vec<Seed>, out: &mut Effects) {
        let me = self.identity().node;
        self.seeds = seeds.into_iter().filter(|seed| seed.node != me).collect();
        self.join_wait = self.timing.probe_period;
        // Soon once more, with somebody else: who joined in the same moment missed some of the others' news.
        let soon = self.timing.probe_period.mul_f64(3.0 + self.random.f64() * 4.0);
        self.timers.set(now + soon, Timer::PushPull);
        self.ask_a_seed(now, out);
    }

    /// Asks one seed, and sets the time for the next one if that does not help.
    pub(crate) fn ask_a_seed(&mut self, now: Instant, out: &mut Effects) {
        if self.phase == Phase::Member && self.swim.num_members() > 0 {
            self.join_wait = self.timing.probe_period;
            return;
        }
        if self.seeds.is_empty() {
            return;
        }
        let Seed { node, contact } = self.seeds[self.random.usize(..self.seeds.len())].clone();
        out.exchanges.push(Exchange { with: node, contact: contact.clone() });
        // Where push/pull does not get through, a datagram may.
        let seed = Self::unknown_life(node, contact);
        self.sure_step(now, out, |swim, calls| swim.announce(seed, calls));
        let wait = self.join_wait.mul_f64(0.75 + self.random.f64() / 2.0);
        self.arm_join(now + wait);
        self.join_wait = (self.join_wait * 2).min(self.timing.push_pull_interval * MAX_JOIN_WAIT_INTERVALS);
    }

    /// Sets when a seed is asked again, unless that is set.
    pub(crate) fn arm_join(&mut self, at: Instant) {
        if self.asking == Pending::Idle {
            self.asking = Pending::Set;
            self.timers.set(at, Timer::Join);
        }
    }

    pub(crate) fn exchanged(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => {
                self.metrics.exchanges_done += 1;
                self.phase = Phase::Member;
            }
            Outcome::Failed => self.metrics.exchanges_failed += 1,
        }
    }

    /// Sets the next push/pull, at a time of this node's own.
    pub(crate) fn arm_push_pull(&mut self, now: Instant) {
        let wait = self.timing.push_pull_interval.mul_f64(0.75 + self.random.f64() / 2.0);
        self.timers.set(now + wait, Timer::PushPull);
    }

    /// Calls a member that is active, and one that should be and is not.
    pub(crate) fn push_pull(&mut self, out: &mut Effects) {
        let (mut active, mut lapsed) = (Vec::new(), Vec::new());
        for (node, known) in self.members.iter() {
            let exchange = Exchange { with: *node, contact: known.identity.contact.clone() };
            match known.liveness {
                Liveness::Alive | Liveness::Suspected => active.push(exchange),
                Liveness::Down => lapsed.push(exchange),
                Liveness::Left => {}
            }
        }
        let unknown = self.seeds.iter().filter(|seed| self.members.get(seed.node).is_none());
        lapsed.extend(unknown.map(|seed| Exchange { with: seed.node, contact: seed.contact.clone() }));
        for candidates in [active, lapsed] {
            if !candidates.is_empty() {
                out.exchanges.push(candidates[self.random.usize(..candidates.len())].clone());
            }
        }
    }

    /// Takes in a page of what another node believes.
    pub(crate) fn page(&mut self, now: Instant, from: NodeId, bytes: &Bytes, out: &mut Effects) {
        let accepted = page::read(bytes).ok().filter(|page| {
            let nodes = page.members.iter().chain([&page.owner]).map(|member| member.id().node);
            page.owner.id().node == from && from != self.identity().node && self.has_room(nodes)
        });
        let Some(Page { owner, more: _, members, items }) = accepted else {
            self.metrics.pages_refused += 1;
            return;
        };
        self.metrics.pages_received += 1;
        let is_news = |member: &&Member<Identity>| self.members.get(member.id().node).is_none();
        let telling = if members.iter().filter(is_news).count() <= MAX_NEWS { Telling::On } else { Telling::Off };
        let state_telling = if items.len() <= MAX_NEWS || self.phase == Phase::Member { telling } else { Telling::Off };
        for item in items {
            self.learn(item, state_telling, out);
        }
        self.sure_step(now, out, |swim, calls| swim.apply_many(std::iter::once(owner.clone()), true, calls));
        self.members.heard(owner.id(), now);
        let claims: Vec<_> = members.into_iter().filter_map(|claim| self.weigh(now, claim)).collect();
        let touched: Vec<_> =
            claims.iter().filter(|claim| self.members.may_change(claim)).map(|c| c.id().node).collect();
        let broadcast = telling == Telling::On;
        self.sure_step(now, out, |swim, calls| swim.apply_many(claims.into_iter(), broadcast, calls));
        for node in touched.into_iter().chain([from]) {
            self.look(node, now, out);
        }
    }

    /// What is believed of a claim about a member.
    fn weigh(&mut self, now: Instant, claim: Member<Identity>) -> Option<Member<Identity>> {
        let id = claim.id();
        if id.node == self.identity().node {
            // Of this node only its present life matters.
            return (id == self.identity()).then_some(claim);
        }
        match claim.state() {
            State::Alive | State::Suspect => Some(claim),
            State::Down => {
                let looks_well = |known: &crate::members::Known| known.liveness.is_active() && known.identity == *id;
                if self.has_departed(id) || !self.members.get(id.node).is_some_and(looks_well) {
                    return Some(claim);
                }
                let (identity, incarnation) = (id.clone(), claim.incarnation());
                self.timers
                    .set(now + self.scale.suspicion, Timer::Suspicion { identity: identity.clone(), incarnation });
                Some(Member::new(identity, incarnation, State::Suspect))
            }
        }
    }

    /// Does not count time in which this node did not run.
    pub(crate) fn forgive(&mut self, now: Instant, out: &mut Effects) {
        let Some(late) = self.timers.forgive(now, self.timing.probe_period) else { return };
        out.events.push(Event::Paused(late));
        if late >= self.scale.suspicion {
            // The others may have declared it down meanwhile: it asks.
            self.push_pull(out);
        }
    }
}
