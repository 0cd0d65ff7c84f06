//! The countdown itself: what a leader knows of every lease.

use std::collections::{BTreeMap, BTreeSet};

use althing_probe::{Mark, Mutant};
use althing_types::{Duration, Instant, LeaseId, RequestId};

use super::budget::Budget;
use super::protocol::{Effects, LeaseRecord, LessorConfig, RenewError, Renewed};

/// How far a lease is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// It counts. `timer` is its entry among the timers, at or before its deadline: a renewal moves only the deadline.
    Alive { timer: Instant },
    /// Its time has passed; it waits for its revocation to be proposed, since its deadline.
    Expired,
    /// Its revocation was proposed; it will be applied, or this replica does not lead any more.
    Revoking,
}

/// What the log says, or may come to say, that a new leader gives the lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Saved {
    /// All of its time.
    Full,
    /// Less: a checkpoint was applied or proposed.
    Part,
    /// Less, and a checkpoint that gives it all was proposed, or was refused and is proposed again at `retry_at`.
    Restoring { retry_at: Option<Instant> },
}

/// One lease.
struct Lease {
    ttl_seconds: i64,
    deadline: Instant,
    renewed_at: Instant,
    state: State,
    saved: Saved,
    /// Its entry among the checkpoint timers.
    checkpoint_at: Option<Instant>,
    /// Renewals to be answered once it is restored.
    waiting: Vec<RequestId>,
}

impl Lease {
    fn ttl(&self) -> Duration {
        seconds(self.ttl_seconds)
    }
}

/// What a timer looks at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Deadline,
    RetryRestore,
}

/// All leases of a group, on its leader.
pub(super) struct Leading {
    config: LessorConfig,
    leases: BTreeMap<LeaseId, Lease>,
    timers: BTreeSet<(Instant, LeaseId, Timer)>,
    checkpoints: BTreeSet<(Instant, LeaseId)>,
    /// Leases whose time has passed, by deadline.
    expired: BTreeSet<(Instant, LeaseId)>,
    revoking: usize,
    /// No revocation is proposed before, because one was refused.
    revoke_from: Instant,
    budget: Budget,
}

impl Leading {
    /// Begins to count: every lease restarts at what the log gives it.
    pub(super) fn new(now: Instant, config: &LessorConfig, leases: &[LeaseRecord]) -> Self {
        let mut leading = Self {
            config: config.clone(),
            leases: BTreeMap::new(),
            timers: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
            expired: BTreeSet::new(),
            revoking: 0,
            revoke_from: now,
            budget: Budget::new(now, config.revokes_per_second),
        };
        for record in leases {
            althing_probe::hit(Mark::LeasesTakenOver);
            let remaining = seconds(record.remaining_seconds);
            let deadline = if althing_probe::is(Mutant::ShortTakeover) {
                now + remaining / 2
            } else {
                now + remaining + config.grace
            };
            let saved = if record.remaining_seconds < record.ttl_seconds { Saved::Part } else { Saved::Full };
            leading.add(now, record.id, record.ttl_seconds, deadline, saved);
        }
        leading
    }

    /// Stops counting; whoever waits is told to ask the next leader.
    pub(super) fn step_down(self, out: &mut Effects) {
        for lease in self.leases.into_values() {
            lease.waiting.iter().for_each(|_| althing_probe::hit(Mark::RenewalLostLeader));
            answer(lease.waiting, Err(RenewError::NotLeader), out);
        }
    }

    /// Counts a new lease down. One that is known was among those that this leader began with: whoever told of them may
    /// have seen what was applied since.
    pub(super) fn granted(&mut self, now: Instant, id: LeaseId, ttl_seconds: i64) {
        if self.leases.contains_key(&id) {
            self.extend(now, id);
        } else {
            self.add(now, id, ttl_seconds, now + seconds(ttl_seconds), Saved::Full);
        }
    }

    /// Forgets a lease.
    pub(super) fn revoked(&mut self, now: Instant, id: LeaseId, out: &mut Effects) {
        if let Some(lease) = self.remove(id) {
            answer(lease.waiting, Err(RenewError::NotFound), out);
        }
        self.propose_revocations(now, out);
    }

    /// Answers those who waited for a lease to be restored.
    pub(super) fn checkpointed(&mut self, now: Instant, id: LeaseId, remaining_seconds: i64, out: &mut Effects) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let Saved::Restoring { retry_at } = lease.saved else { return };
        if remaining_seconds < lease.ttl_seconds {
            return;
        }
        lease.saved = Saved::Full;
        if let Some(retry_at) = retry_at {
            self.timers.remove(&(retry_at, id, Timer::RetryRestore));
        }
        let waiting = std::mem::take(&mut lease.waiting);
        let result = Ok(lease.ttl_seconds);
        self.extend(now, id);
        answer(waiting, result, out);
    }

    /// Takes a revocation back that did not get into the log, and holds the next ones off for a while.
    pub(super) fn revoke_refused(&mut self, now: Instant, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        if lease.state == State::Revoking {
            althing_probe::hit(Mark::RevocationRefused);
            lease.state = State::Expired;
            self.expired.insert((lease.deadline, id));
            self.revoking -= 1;
            self.revoke_from = now + self.config.retry;
        }
    }

    /// Proposes again after a while, if somebody waits for it. A remainder that was not written is let go: that the log
    /// may give less than the full time is assumed from the proposal on.
    pub(super) fn checkpoint_refused(&mut self, now: Instant, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        if lease.saved == (Saved::Restoring { retry_at: None }) {
            let retry_at = now + self.config.retry;
            lease.saved = Saved::Restoring { retry_at: Some(retry_at) };
            self.timers.insert((retry_at, id, Timer::RetryRestore));
        }
    }

    /// Keeps a lease alive from now on, and answers unless the log gives it less than its time.
    pub(super) fn renew(&mut self, now: Instant, id: LeaseId, request: RequestId, out: &mut Effects) {
        let Some(lease) = self.leases.get_mut(&id) else {
            return answer(vec![request], Err(RenewError::NotFound), out);
        };
        match (lease.state, lease.saved) {
            (State::Revoking, _) => {
                althing_probe::hit(Mark::RenewedTooLate);
                return answer(vec![request], Err(RenewError::NotFound), out);
            }
            (State::Alive { .. } | State::Expired, Saved::Full) => {
                answer(vec![request], Ok(lease.ttl_seconds), out);
            }
            (State::Alive { .. } | State::Expired, Saved::Part) if althing_probe::is(Mutant::RenewWithoutRestoring) => {
                answer(vec![request], Ok(lease.ttl_seconds), out);
            }
            (State::Alive { .. } | State::Expired, Saved::Part) => {
                althing_probe::hit(Mark::RenewalWaited);
                lease.waiting.push(request);
                self.restore(id, out);
            }
            (State::Alive { .. } | State::Expired, Saved::Restoring { .. }) => lease.waiting.push(request),
        }
        self.extend(now, id);
    }

    /// How long the lease still lives.
    pub(super) fn remaining(&self, now: Instant, id: LeaseId) -> Option<Duration> {
        self.leases.get(&id).map(|lease| lease.deadline.since(now))
    }

    /// Looks at everything that is due.
    pub(super) fn tick(&mut self, now: Instant, out: &mut Effects) {
        while let Some((due, id, timer)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.remove(&(due, id, timer));
            match timer {
                Timer::Deadline => self.look_at_deadline(now, id),
                Timer::RetryRestore => self.restore(id, out),
            }
        }
        while out.checkpoint.len() < self.config.max_checkpoint_leases
            && let Some((due, id)) = self.checkpoints.first().copied()
            && due <= now
        {
            self.checkpoints.remove(&(due, id));
            self.look_at_checkpoint(now, id, out);
        }
        self.propose_revocations(now, out);
    }

    /// When `tick` is next needed.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(due, ..)| *due);
        let checkpoint = self.checkpoints.first().map(|(due, _)| *due);
        let can_revoke = !self.expired.is_empty() && self.revoking < self.config.max_revokes_in_flight;
        let revoke = can_revoke.then(|| self.budget.ready_at().max(self.revoke_from));
        timer.into_iter().chain(checkpoint).chain(revoke).min()
    }

    fn add(&mut self, now: Instant, id: LeaseId, ttl_seconds: i64, deadline: Instant, saved: Saved) {
        let lease = Lease {
            ttl_seconds,
            deadline,
            renewed_at: now,
            state: State::Alive { timer: deadline },
            saved,
            checkpoint_at: None,
            waiting: Vec::new(),
        };
        self.timers.insert((deadline, id, Timer::Deadline));
        self.leases.insert(id, lease);
        self.schedule_checkpoint(now, id);
    }

    fn remove(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        match lease.state {
            State::Alive { timer } => {
                self.timers.remove(&(timer, id, Timer::Deadline));
            }
            State::Expired => {
                self.expired.remove(&(lease.deadline, id));
            }
            State::Revoking => self.revoking -= 1,
        }
        if let Saved::Restoring { retry_at: Some(retry_at) } = lease.saved {
            self.timers.remove(&(retry_at, id, Timer::RetryRestore));
        }
        if let Some(due) = lease.checkpoint_at {
            self.checkpoints.remove(&(due, id));
        }
        Some(lease)
    }

    /// Gives a lease that is not being revoked its full time from now on.
    fn extend(&mut self, now: Instant, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        if althing_probe::is(Mutant::IgnoreRenewals) {
            return;
        }
        let deadline = lease.deadline.max(now + lease.ttl());
        match lease.state {
            State::Alive { .. } => {}
            State::Expired => {
                althing_probe::hit(Mark::RenewedInTime);
                self.expired.remove(&(lease.deadline, id));
                lease.state = State::Alive { timer: deadline };
                self.timers.insert((deadline, id, Timer::Deadline));
            }
            State::Revoking => return,
        }
        lease.deadline = deadline;
        lease.renewed_at = now;
        self.schedule_checkpoint(now, id);
    }

    fn look_at_deadline(&mut self, now: Instant, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        if lease.deadline > now {
            lease.state = State::Alive { timer: lease.deadline };
            self.timers.insert((lease.deadline, id, Timer::Deadline));
        } else {
            lease.state = State::Expired;
            self.expired.insert((lease.deadline, id));
        }
    }

    /// Arms the checkpoint timer of a lease that lives longer than the interval, unless it is armed.
    fn schedule_checkpoint(&mut self, now: Instant, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        if lease.checkpoint_at.is_none() && lease.deadline.since(now) > self.config.checkpoint_interval {
            let renewed = lease.renewed_at + self.config.checkpoint_interval;
            let due = if renewed > now { renewed } else { now + self.config.checkpoint_interval };
            lease.checkpoint_at = Some(due);
            self.checkpoints.insert((due, id));
        }
    }

    /// Writes the remainder of a lease that was not renewed for an interval.
    fn look_at_checkpoint(&mut self, now: Instant, id: LeaseId, out: &mut Effects) {
        let interval = self.config.checkpoint_interval;
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.checkpoint_at = None;
        match (lease.state, lease.saved) {
            (State::Alive { .. }, Saved::Full | Saved::Part) if now.since(lease.renewed_at) >= interval => {
                althing_probe::hit(Mark::LeaseCheckpointed);
                lease.saved = Saved::Part;
                out.checkpoint.push((id, whole_seconds(lease.deadline.since(now)).min(lease.ttl_seconds)));
                self.schedule_checkpoint(now, id);
            }
            (State::Alive { .. }, Saved::Full | Saved::Part) => self.schedule_checkpoint(now, id),
            // Whoever is restored or renewed is scheduled again.
            (State::Alive { .. }, Saved::Restoring { .. }) | (State::Expired | State::Revoking, _) => {}
        }
    }

    /// Proposes that the log gives the lease all of its time.
    fn restore(&mut self, id: LeaseId, out: &mut Effects) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.saved = Saved::Restoring { retry_at: None };
            out.checkpoint.push((id, lease.ttl_seconds));
        }
    }

    /// Proposes the revocations of those that have waited longest, as fast as is allowed.
    fn propose_revocations(&mut self, now: Instant, out: &mut Effects) {
        while now >= self.revoke_from
            && self.revoking < self.config.max_revokes_in_flight
            && let Some((deadline, id)) = self.expired.first().copied()
            && self.budget.pay(now)
        {
            self.expired.remove(&(deadline, id));
            self.propose_revocation(id, out);
        }
    }

    fn propose_revocation(&mut self, id: LeaseId, out: &mut Effects) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        lease.state = State::Revoking;
        self.revoking += 1;
        if let Saved::Restoring { retry_at } = lease.saved {
            lease.saved = Saved::Part;
            if let Some(retry_at) = retry_at {
                self.timers.remove(&(retry_at, id, Timer::RetryRestore));
            }
        }
        answer(std::mem::take(&mut lease.waiting), Err(RenewError::NotFound), out);
        out.revoke.push(id);
    }
}

fn answer(requests: Vec<RequestId>, result: Result<i64, RenewError>, out: &mut Effects) {
    out.renewed.extend(requests.into_iter().map(|request| Renewed { request, result }));
}

/// A time to live as a duration; nothing below zero.
fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

/// Rounded up: a checkpoint may give too much, never too little.
fn whole_seconds(duration: Duration) -> i64 {
    let partial = u64::from(duration.subsec_nanos() > 0);
    i64::try_from(duration.as_secs().saturating_add(partial)).unwrap_or(i64::MAX)
}
