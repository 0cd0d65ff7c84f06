//! The core: inputs to `foca` and back.

use althing_types::{Duration, Instant, NodeId};
use bytes::Bytes;
use foca::{OwnedNotification, State};

use crate::codec::{self, Observed};
use crate::config::{self, Config, MAX_MEMBERS, Scale, Timing};
use crate::identity::{Contact, Identity};
use crate::io::{Datagram, Effects, Event, Input, Liveness, Metrics, Peer, Seed};
use crate::members::Members;
use crate::piggyback::{self, Piggyback};
use crate::seal::{Dropped, Seal};
use crate::state::{Item, Key, MAX_TEXT_BYTES, NodeState, Stamp, Table, Value};
use crate::swim::{Calls, SeededRng, Swim};
use crate::timers::{Timer, Timers};

/// Where the node stands with its cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nothing was exchanged with anybody yet.
    Joining,
    /// It takes part.
    Member,
    /// It has left.
    Left,
}

/// Whether a timer of a kind is set, of which there is one at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pending {
    /// It is not.
    Idle,
    /// It is.
    Set,
}

/// One node's part in the membership. See the crate's documentation for what the host owes.
pub struct Gossip {
    pub(crate) seal: Seal,
    pub(crate) timing: Timing,
    pub(crate) scale: Scale,
    pub(crate) swim: Swim,
    pub(crate) timers: Timers,
    pub(crate) members: Members,
    pub(crate) table: Table,
    pub(crate) news: Piggyback,
    pub(crate) seeds: Vec<Seed>,
    pub(crate) phase: Phase,
    pub(crate) random: fastrand::Rng,
    pub(crate) metrics: Metrics,
    /// How long to wait before a seed is asked again.
    pub(crate) join_wait: Duration,
    /// This node's incarnation, as `foca` last sent it.
    pub(crate) incarnation: u16,
    /// The next sending of news.
    spreading: Pending,
    /// The next question to a seed.
    pub(crate) asking: Pending,
    /// Writes of the node's own state so far.
    version: u64,
}

impl Gossip {
    /// A node that knows nobody.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let Config { identity, seal, seed, timing } = config;
        let mut random = fastrand::Rng::with_seed(seed);
        let scale = Scale::of(1, &timing);
        let rng = SeededRng(random.fork());
        let swim = Swim::new(identity, config::swim(&timing, scale), rng, codec::SwimCodec);
        Self {
            seal,
            scale,
            swim,
            timers: Timers::default(),
            members: Members::default(),
            table: Table::default(),
            news: Piggyback::default(),
            seeds: Vec::new(),
            phase: Phase::Joining,
            random,
            metrics: Metrics::default(),
            join_wait: timing.probe_period,
            incarnation: 0,
            spreading: Pending::Idle,
            asking: Pending::Idle,
            version: 0,
            timing,
        }
    }

    /// Takes in what has happened, and whatever is due by now.
    pub fn handle(&mut self, now: Instant, input: Input, out: &mut Effects) {
        if self.phase == Phase::Left {
            return;
        }
        self.forgive(now, out);
        match input {
            Input::Tick => {}
            Input::Datagram(bytes) => {
                if let Err(reason) = self.datagram(now, &bytes, out) {
                    self.metrics.datagrams_dropped[reason.index()] += 1;
                }
            }
            Input::Page { from, page } => self.page(now, from, &page, out),
            Input::Exchanged { with: _, outcome } => self.exchanged(outcome),
            Input::Join(seeds) => self.join(now, seeds, out),
            Input::Leave => return self.leave(now, out),
            Input::Set { key, value } => self.set(key, value, out),
        }
        while let Some(timer) = self.timers.pop(now) {
            self.due(now, timer, out);
        }
        self.settle(now);
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        match self.phase {
            Phase::Joining | Phase::Member => self.timers.next().unwrap_or(Instant::FAR_FUTURE),
            Phase::Left => Instant::FAR_FUTURE,
        }
    }

    /// Under which identity the node is a member at present.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        self.swim.identity()
    }

    /// All other nodes that are or were members, by id.
    pub fn peers(&self, now: Instant) -> impl Iterator<Item = Peer> {
        self.members.peers(now)
    }

    /// How many other members are alive or suspected.
    #[must_use]
    pub const fn active(&self) -> usize {
        self.swim.num_members()
    }

    /// How a member looks; `None` for one that was never seen active, or is forgotten.
    #[must_use]
    pub fn liveness(&self, node: NodeId) -> Option<Liveness> {
        self.members.get(node).map(|known| known.liveness)
    }

    /// What a node says of itself.
    #[must_use]
    pub fn state(&self, node: NodeId) -> Option<&NodeState> {
        self.table.node(node)
    }

    /// The counters.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Lets the protocol take a step and carries out what it called for.
    pub(crate) fn step(
        &mut self,
        now: Instant,
        out: &mut Effects,
        act: impl FnOnce(&mut Swim, &mut Calls) -> Result<(), foca::Error>,
    ) -> Result<(), foca::Error> {
        let mut calls = Calls::default();
        let result = act(&mut self.swim, &mut calls);
        for (timer, after) in calls.timers {
            let raised = match &timer {
                foca::Timer::ChangeSuspectToDown { member_id, .. } => Some(member_id.node),
                foca::Timer::ProbeRandomMember(_)
                | foca::Timer::SendIndirectProbe { .. }
                | foca::Timer::PeriodicAnnounce(_)
                | foca::Timer::PeriodicAnnounceDown(_)
                | foca::Timer::PeriodicGossip(_)
                | foca::Timer::RemoveDown(_) => None,
            };
            self.timers.set(now + after, Timer::Swim(timer));
            if let Some(node) = raised {
                self.look(node, now, out);
            }
        }
        for note in calls.notes {
            self.note(&note, now, out);
        }
        for (to, message) in calls.sends {
            self.send(&to, &message, out);
        }
        result
    }

    /// A step whose failure is `foca`'s own notion of a bug.
    pub(crate) fn sure_step(
        &mut self,
        now: Instant,
        out: &mut Effects,
        act: impl FnOnce(&mut Swim, &mut Calls) -> Result<(), foca::Error>,
    ) {
        if self.step(now, out, act).is_err() {
            self.metrics.irregularities += 1;
        }
    }

    fn send(&mut self, to: &Identity, message: &[u8], out: &mut Effects) {
        self.incarnation = codec::incarnation(message).unwrap_or(self.incarnation);
        let payload = self.news.payload(message, &self.table, self.scale.transmissions.get().into());
        let bytes = self.seal.close(&payload);
        self.metrics.datagrams_sent += 1;
        self.metrics.datagram_bytes_sent += bytes.len() as u64;
        out.datagrams.push(Datagram { to: to.node, contact: to.contact.clone(), bytes });
    }

    fn note(&mut self, note: &OwnedNotification<Identity>, now: Instant, out: &mut Effects) {
        let event = match note {
            OwnedNotification::MemberUp(identity) => Some(self.members.up(identity, now, self.expected_silence())),
            OwnedNotification::MemberDown(identity) => {
                let how = if self.has_departed(identity) { Liveness::Left } else { Liveness::Down };
                self.metrics.downs += u64::from(how == Liveness::Down);
                self.members.ended(identity, how, now)
            }
            OwnedNotification::Rename(_, identity) => self.members.renewed(identity, now),
            OwnedNotification::Rejoin(identity) => {
                self.metrics.rejoins += 1;
                self.incarnation = 0;
                Some(Event::Rejoined(identity.clone()))
            }
            OwnedNotification::Active | OwnedNotification::Defunct => None,
            OwnedNotification::Idle => {
                // Everybody is gone, or this node is: it asks the seeds again.
                self.arm_join(now + self.timing.probe_period);
                None
            }
        };
        out.events.extend(event);
    }

    /// How long a member is silent as a rule: in each period it probes, and is probed by, one of the others.
    fn expected_silence(&self) -> Duration {
        let others = u32::try_from(self.swim.num_members()).unwrap_or(u32::MAX);
        self.timing.probe_period * (others / 2).max(1)
    }

    /// Whether the owner itself has said that this life of it ends.
    pub(crate) fn has_departed(&self, identity: &Identity) -> bool {
        self.table.node(identity.node).is_some_and(|state| {
            let generation = state.stamp(Key::Departed).map(|stamp| stamp.generation);
            generation == Some(identity.generation) && state.number(Key::Departed) == Some(identity.renewal)
        })
    }

    /// Compares how a member looks with how `foca` sees it.
    pub(crate) fn look(&mut self, node: NodeId, now: Instant, out: &mut Effects) {
        let found = self.swim.iter_membership_state().find(|member| member.id().node == node);
        let event = found.and_then(|member| self.members.seen(member, now));
        self.metrics.suspicions += u64::from(matches!(event, Some(Event::Suspected(_))));
        out.events.extend(event);
    }

    fn datagram(&mut self, now: Instant, bytes: &Bytes, out: &mut Effects) -> Result<(), Dropped> {
        let payload = self.seal.open(bytes)?;
        let (message, items) = piggyback::take_apart(payload).map_err(|_| Dropped::Malformed)?;
        let Observed { from, updates } = codec::observe(&message).map_err(|_| Dropped::Malformed)?;
        if from.node == self.identity().node {
            return Err(Dropped::Myself);
        }
        if !self.has_room(updates.iter().map(|update| update.id().node).chain([from.node])) {
            return Err(Dropped::Crowded);
        }
        self.metrics.datagrams_received += 1;
        self.metrics.datagram_bytes_received += bytes.len() as u64;
        for item in items {
            self.learn(item, Telling::On, out);
        }
        let mut changed: Vec<_> = updates.iter().filter(|update| self.members.may_change(update)).collect();
        changed.dedup_by_key(|update| update.id().node);
        let suspected = |known: &crate::members::Known| known.liveness == Liveness::Suspected;
        let sender_may_change = self.members.get(from.node).is_none_or(suspected);
        // What `foca` refuses after `observe` has read it is out of order, not out of form.
        self.sure_step(now, out, |swim, calls| swim.handle_data(&message, calls));
        self.members.heard(&from, now);
        let sender = sender_may_change.then_some(from.node);
        for node in changed.iter().map(|update| update.id().node).chain(sender) {
            self.look(node, now, out);
        }
        Ok(())
    }

    /// Whether the membership can hold these nodes too.
    pub(crate) fn has_room(&self, nodes: impl Iterator<Item = NodeId>) -> bool {
        let held = self.swim.iter_membership_state().len();
        let nodes: std::collections::BTreeSet<NodeId> = nodes.collect();
        if held + nodes.len() <= MAX_MEMBERS {
            return true;
        }
        let known = self.swim.iter_membership_state().filter(|member| nodes.contains(&member.id().node)).count();
        held + nodes.len() - known <= MAX_MEMBERS
    }

    /// Takes in what a node says of itself.
    pub(crate) fn learn(&mut self, item: Item, telling: Telling, out: &mut Effects) {
        let (node, key) = (item.node, item.key);
        let is_known = self.table.node(node).is_some();
        if node == self.identity().node || (!is_known && self.table.len() >= MAX_MEMBERS) {
            return;
        }
        if self.table.merge(item) {
            if telling == Telling::On {
                self.news.add(node, key);
            }
            out.events.push(Event::State { node, key });
            if key == Key::Departed {
                self.take_for_left(node, out);
            }
        }
    }

    /// A member that is down has said that it was leaving; that news took the longer way.
    fn take_for_left(&mut self, node: NodeId, out: &mut Effects) {
        let Some(known) = self.members.get(node) else { return };
        let (identity, liveness, since) = (known.identity.clone(), known.liveness, known.since);
        if liveness == Liveness::Down && self.has_departed(&identity) {
            out.events.extend(self.members.ended(&identity, Liveness::Left, since));
        }
    }

    fn set(&mut self, key: Key, value: Value, out: &mut Effects) {
        let value = match value {
            Value::Number(number) => Value::Number(number),
            Value::Text(mut text) => {
                text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
                Value::Text(text)
            }
        };
        let Identity { node, generation, .. } = *self.identity();
        self.version += 1;
        let stamp = Stamp { generation, version: self.version };
        self.table.merge(Item { node, stamp, key, value });
        self.news.add(node, key);
        out.events.push(Event::State { node, key });
    }

    fn leave(&mut self, now: Instant, out: &mut Effects) {
        self.set(Key::Departed, Value::Number(self.identity().renewal), out);
        self.sure_step(now, out, |swim, calls| swim.leave_cluster(calls));
        self.phase = Phase::Left;
    }

    fn due(&mut self, now: Instant, timer: Timer, out: &mut Effects) {
        match timer {
            Timer::Swim(timer) => self.swim_due(now, timer, out),
            Timer::Spread => {
                self.spreading = Pending::Idle;
                self.sure_step(now, out, |swim, calls| swim.gossip(calls));
            }
            Timer::PushPull => {
                self.push_pull(out);
                self.arm_push_pull(now);
            }
            Timer::Join => {
                self.asking = Pending::Idle;
                self.ask_a_seed(now, out);
            }
            Timer::Suspicion { identity, incarnation } => self.suspicion_due(now, &identity, incarnation, out),
        }
    }

    fn swim_due(&mut self, now: Instant, timer: foca::Timer<Identity>, out: &mut Effects) {
        let removed = match &timer {
            foca::Timer::RemoveDown(identity) => Some(identity.node),
            foca::Timer::ProbeRandomMember(_)
            | foca::Timer::SendIndirectProbe { .. }
            | foca::Timer::ChangeSuspectToDown { .. }
            | foca::Timer::PeriodicAnnounce(_)
            | foca::Timer::PeriodicAnnounceDown(_)
            | foca::Timer::PeriodicGossip(_) => None,
        };
        self.sure_step(now, out, |swim, calls| swim.handle_timer(timer, calls));
        if let Some(node) = removed
            && !self.swim.iter_membership_state().any(|member| member.id().node == node)
        {
            self.table.forget(node);
            self.news.forget(node);
            out.events.extend(self.members.forget(node));
        }
    }

    /// A member that another one holds for dead had its time to refute it.
    fn suspicion_due(&mut self, now: Instant, identity: &Identity, incarnation: u16, out: &mut Effects) {
        let Some(known) = self.members.get(identity.node) else { return };
        if known.identity != *identity || known.incarnation != incarnation || known.liveness != Liveness::Suspected {
            return;
        }
        let down = foca::Member::new(identity.clone(), incarnation, State::Down);
        self.sure_step(now, out, |swim, calls| swim.apply_many(std::iter::once(down), true, calls));
    }

    /// What follows from every step: the size of the cluster, and news that waits.
    fn settle(&mut self, now: Instant) {
        let scale = Scale::of(self.swim.num_members() + 1, &self.timing);
        if scale != self.scale {
            self.scale = scale;
            let replaced = self.swim.set_config(config::swim(&self.timing, scale));
            self.metrics.irregularities += u64::from(replaced.is_err());
        }
        let has_news = !self.news.is_empty() || self.swim.updates_backlog() > 0;
        if has_news && self.swim.num_members() > 0 && self.spreading == Pending::Idle {
            self.spreading = Pending::Set;
            self.timers.set(now + self.timing.gossip_interval, Timer::Spread);
        }
    }

    /// The identity that stands for a seed of which only id and contact are known.
    pub(crate) const fn unknown_life(node: NodeId, contact: Contact) -> Identity {
        Identity { node, generation: 0, renewal: 0, contact }
    }
}

/// Whether what was learned is passed on with datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Telling {
    /// It is.
    On,
    /// It is not: it is no news to the others.
    Off,
}
