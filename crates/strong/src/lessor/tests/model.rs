//! A lessor over a log that refuses proposals and changes leaders: no lease ends before what was promised, every lease ends
//! once nobody renews it, and every renewal is answered once.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use althing_types::{Duration, Instant, LeaseId, RequestId};
use proptest::prelude::*;

use super::super::{Effects, Input, LeaseRecord, Lessor, LessorConfig};

#[derive(Clone, Debug)]
enum Step {
    Grant(i64, i64),
    Renew(i64),
    Pass(u64),
    /// Apply this many proposals.
    Apply(usize),
    /// Proposals are refused from now on, or no more.
    Refuse(bool),
    /// The leader changes; this many of its proposals survive.
    Change(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..5_i64, 1..40_i64).prop_map(|(id, ttl)| Step::Grant(id, ttl)),
        4 => (0..5_i64).prop_map(Step::Renew),
        5 => (1..6000_u64).prop_map(Step::Pass),
        5 => (1..6_usize).prop_map(Step::Apply),
        1 => any::<bool>().prop_map(Step::Refuse),
        1 => (0..4_usize, 0..3000_u64).prop_map(|(survive, millis)| Step::Change(survive, millis)),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Logged {
    Grant(LeaseId, i64),
    Revoke(LeaseId),
    Checkpoint(LeaseId, i64),
}

struct World {
    lessor: Lessor,
    now: Instant,
    log: VecDeque<Logged>,
    applied: BTreeMap<LeaseId, LeaseRecord>,
    /// Until when each lease must live.
    promised: BTreeMap<LeaseId, Instant>,
    asked: BTreeMap<RequestId, LeaseId>,
    requests: u64,
    refusing: bool,
}

impl World {
    fn new() -> Self {
        let config = LessorConfig {
            grace: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(10),
            max_checkpoint_leases: 2,
            revokes_per_second: 3,
            max_revokes_in_flight: 2,
            retry: Duration::from_secs(3),
        };
        let mut world = Self {
            lessor: Lessor::new(config),
            now: Instant::from_nanos(1),
            log: VecDeque::new(),
            applied: BTreeMap::new(),
            promised: BTreeMap::new(),
            asked: BTreeMap::new(),
            requests: 0,
            refusing: false,
        };
        world.input(Input::BecameLeader(&[]));
        world
    }

    fn input(&mut self, input: Input<'_>) {
        let mut out = Effects::default();
        self.lessor.handle(self.now, input, &mut out);
        self.effects(out);
    }

    fn effects(&mut self, out: Effects) {
        for renewed in out.renewed {
            let id = self.asked.remove(&renewed.request).expect("answered once");
            if let Ok(ttl) = renewed.result {
                let until = self.now + Duration::from_secs(ttl.unsigned_abs());
                self.promised.insert(id, until);
            }
        }
        for id in out.revoke {
            assert!(self.now >= self.promised[&id], "{id} is revoked at {:?}", self.now);
            self.propose(Logged::Revoke(id), Input::RevokeRefused(id));
        }
        for (id, remaining) in out.checkpoint {
            self.propose(Logged::Checkpoint(id, remaining), Input::CheckpointRefused(id));
        }
    }

    fn propose(&mut self, entry: Logged, refused: Input<'_>) {
        if self.refusing {
            self.input(refused);
        } else {
            self.log.push_back(entry);
        }
    }

    fn apply_next(&mut self) {
        match self.log.pop_front() {
            None => {}
            Some(Logged::Grant(id, ttl_seconds)) => self.grant(id, ttl_seconds),
            Some(Logged::Revoke(id)) => {
                let known = self.applied.remove(&id).is_some();
                assert!(known, "{id} was revoked twice");
                assert!(self.now >= self.promised[&id], "{id} ends at {:?}", self.now);
                self.input(Input::Revoked(id));
            }
            Some(Logged::Checkpoint(id, remaining_seconds)) => {
                if let Some(record) = self.applied.get_mut(&id) {
                    record.remaining_seconds = remaining_seconds;
                    self.input(Input::Checkpointed { id, remaining_seconds });
                }
            }
        }
    }

    fn grant(&mut self, id: LeaseId, ttl_seconds: i64) {
        if let Entry::Vacant(vacant) = self.applied.entry(id) {
            vacant.insert(LeaseRecord { id, ttl_seconds, remaining_seconds: ttl_seconds });
            self.promised.insert(id, self.now + Duration::from_secs(ttl_seconds.unsigned_abs()));
            self.input(Input::Granted { id, ttl_seconds });
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Grant(id, ttl) => self.log.push_back(Logged::Grant(LeaseId(id), ttl)),
            Step::Renew(id) => {
                self.requests += 1;
                let request = RequestId(self.requests);
                self.asked.insert(request, LeaseId(id));
                let mut out = Effects::default();
                self.lessor.renew(self.now, LeaseId(id), request, &mut out);
                self.effects(out);
            }
            Step::Pass(millis) => {
                self.now += Duration::from_millis(millis);
                self.input(Input::Tick);
            }
            Step::Apply(count) => (0..count).for_each(|_| self.apply_next()),
            Step::Refuse(refusing) => self.refusing = refusing,
            Step::Change(survive, millis) => {
                self.input(Input::LostLeadership);
                assert!(self.asked.is_empty(), "whoever waits is answered when the leadership goes");
                self.log.truncate(survive);
                self.now += Duration::from_millis(millis);
                (0..survive).for_each(|_| self.apply_next());
                let records: Vec<LeaseRecord> = self.applied.values().copied().collect();
                self.input(Input::BecameLeader(&records));
            }
        }
    }

    fn settle(&mut self) {
        let last = self.promised.values().max().copied().unwrap_or(self.now).max(self.now);
        // The longest lease, granted again by a new leader with its grace, the queue of five at three a second, and retries.
        let bound = last + Duration::from_secs(40 + 1 + 2 + 3);
        while let Some(due) = self.lessor.next_deadline() {
            assert!(due <= bound, "{:?} is left at {due:?}, promised until {:?}", self.applied, self.promised);
            self.now = self.now.max(due);
            self.input(Input::Tick);
            while !self.log.is_empty() {
                self.apply_next();
            }
        }
        assert_eq!((self.applied.len(), self.asked.len()), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_lease_ends_early_and_every_lease_ends(steps in proptest::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.step(Step::Refuse(false));
        world.step(Step::Apply(usize::from(u8::MAX)));
        world.settle();
        let leases: BTreeSet<LeaseId> = world.applied.keys().copied().collect();
        prop_assert!(leases.is_empty());
    }
}
