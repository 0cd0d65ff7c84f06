//! What time brings.

use althing_api::ErrorKind;
use althing_convergent::Job;
use althing_types::{Duration, GroupId, Instant};

use super::Waiting;
use crate::effects::Effects;
use crate::node::Node;

/// How often the replica that coordinates looks for what has expired.
const TEND_EVERY: Duration = Duration::from_secs(1);
/// How often the others do.
const TEND_EVERY_BESIDE: Duration = Duration::from_secs(60);
/// How long a deadline may be ahead until it is looked at again: the wall clock may be set meanwhile.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Keys that are removed at once because they have expired.
const TENDED_AT_ONCE: usize = 256;

impl Node {
    /// Time passes: who has waited too long is told, and what was not acknowledged is sent again. Only shards are looked at of which
    /// somebody waits for something, or for which it is time.
    pub(crate) fn tick_keyed(&mut self, now: Instant, out: &mut Effects) {
        if self.keyed.is_empty() {
            return;
        }
        self.look_round(now);
        self.tick_sessions(now);
        for group in self.agenda.take_due(now) {
            self.shared.metrics.shard_looks += 1;
            self.expire_keyed(now, group, out);
            self.recount(now, group, out);
            self.ask_more(now, group);
            self.send_again(now, group);
            self.tick_round(now, group);
            self.tend(now, group);
            self.tick_rounds(now, group, out);
            self.look_again(now, group);
        }
    }

    /// Whoever is heard again may have missed something, and have what is missed here.
    fn look_round(&mut self, now: Instant) {
        let heard = self.group_peers.iter().copied().filter(|node| self.shared.peers.is_heard(now, *node)).collect();
        let hearing = self.agenda.hear(heard);
        for node in hearing.lost {
            self.keyed.values_mut().for_each(|keyed| keyed.rounds.lose(node));
        }
        if !hearing.back.is_empty() {
            self.keyed.keys().for_each(|group| self.agenda.wake(*group));
        }
    }

    /// When a shard is looked at again.
    fn look_again(&mut self, now: Instant, group: GroupId) {
        let Some(keyed) = self.keyed.get(&group) else { return };
        if keyed.is_busy() {
            return self.agenda.wake(group);
        }
        let rounds = self.next_rounds(now, group);
        if rounds <= now {
            return self.agenda.wake(group);
        }
        let at = self.next_round(now, group).min(self.next_tending(now, group)).min(rounds);
        if at < Instant::FAR_FUTURE {
            self.agenda.look_at(group, at);
        }
    }

    /// What waits is counted anew if the replicas are others by now.
    fn recount(&mut self, now: Instant, group: GroupId, out: &mut Effects) {
        let known = self.knowledge(group);
        let Some(keyed) = self.keyed.get(&group) else { return };
        let is_outdated = |waiting: &Waiting| match waiting {
            Waiting::Write(write) => write.is_outdated(known),
            Waiting::Read(read) => read.is_outdated(known),
            Waiting::Local(..)
            | Waiting::Scan(..)
            | Waiting::Flush(..)
            | Waiting::Taking(..)
            | Waiting::Asked(..)
            | Waiting::Attested(..)
            | Waiting::Differs(..)
            | Waiting::Wanted(..)
            | Waiting::Planting
            | Waiting::Round(_)
            | Waiting::Cas(_)
            | Waiting::Seen(_)
            | Waiting::Nobody => false,
        };
        let outdated = keyed.waiting.iter().filter(|(_, waiting)| is_outdated(waiting));
        let outdated: Vec<u64> = outdated.map(|(ticket, _)| *ticket).collect();
        for ticket in outdated {
            self.renew_write(now, group, ticket, known);
            self.finish_write(group, ticket, out);
            self.renew_read(group, ticket, known);
            self.finish_read(now, group, ticket, out);
        }
    }

    /// Looks for keys that have expired, and for what nobody needs any more. One replica removes them for all, unless it is away.
    fn tend(&mut self, now: Instant, group: GroupId) {
        if self.next_tending(now, group) > now {
            return;
        }
        let now_ms = self.shared.wall.at(now);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        keyed.tended = now;
        let ticket = keyed.ticket(Waiting::Nobody);
        self.agenda.push(group, Job::Tend { ticket, now_ms, budget: TENDED_AT_ONCE });
    }

    /// When there is something to tend, if nothing happens before.
    fn next_tending(&self, now: Instant, group: GroupId) -> Instant {
        let Some(keyed) = self.keyed.get(&group) else { return Instant::FAR_FUTURE };
        let Some(due_ms) = keyed.due_ms else { return Instant::FAR_FUTURE };
        let wait_ms = u64::try_from(due_ms.saturating_sub(self.shared.wall.at(now))).unwrap_or(0);
        let wait = Duration::from_millis(wait_ms).min(LOOK_AGAIN_AFTER);
        let is_first = self.coordinator(now, group) == self.shared.node();
        match (wait.is_zero(), is_first) {
            (true, true) => keyed.tended + TEND_EVERY,
            (true, false) => keyed.tended + TEND_EVERY_BESIDE,
            (false, _) => now + wait,
        }
    }

    fn expire_keyed(&mut self, now: Instant, group: GroupId, out: &mut Effects) {
        self.expire_sessions(now, group, out);
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let is_late = |waiting: &Waiting| match waiting {
            Waiting::Write(write) => write.deadline <= now,
            Waiting::Read(read) => read.deadline <= now,
            Waiting::Local(_, deadline) | Waiting::Scan(_, deadline) | Waiting::Flush(_, deadline, _) => {
                *deadline <= now
            }
            Waiting::Taking(..)
            | Waiting::Asked(..)
            | Waiting::Attested(..)
            | Waiting::Differs(..)
            | Waiting::Wanted(..)
            | Waiting::Planting
            | Waiting::Round(_)
            | Waiting::Cas(_)
            | Waiting::Seen(_)
            | Waiting::Nobody => false,
        };
        for (_, waiting) in keyed.waiting.extract_if(.., |_, waiting| is_late(waiting)) {
            if let Some((id, error)) = waiting.given_up(ErrorKind::Timeout) {
                out.responses.push((id, Err(error)));
            }
        }
    }
}
