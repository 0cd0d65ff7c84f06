//! What rounds leave behind: values that nobody has committed, doubts of an earlier run, deadlines, and keys that are gone.

use althing_api::keyed::KeyedAnswer;
use althing_convergent::Job;
use althing_convergent::rounds::{Task, Wish};
use althing_paxos::proposer::Kind;
use althing_types::{Duration, GroupId, Instant, RequestId};
use bytes::Bytes;

use super::{Ticket, Whose};
use crate::effects::Effects;
use crate::keyed::Waiting;
use crate::node::Node;

/// How often the replica that coordinates looks at its registers.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often the others do.
const LOOK_EVERY_BESIDE: Duration = Duration::from_secs(30);
/// Registers that are looked at at once.
const LOOKED_AT_ONCE: usize = 256;
/// Rounds that are begun at once for nobody.
const MAX_OWN_ROUNDS: usize = 64;

/// When this replica looked last, and where it goes on.
#[derive(Debug, Default)]
pub(super) struct Care {
    looked: Instant,
    after: Option<Bytes>,
}

/// What a look at the registers has found.
pub(super) struct Found {
    pub(super) open: Vec<Bytes>,
    pub(super) absent: Vec<(Bytes, Bytes)>,
    pub(super) inherited: Vec<Bytes>,
    pub(super) next: Option<Bytes>,
}

impl Node {
    /// Looks at a page of registers now and then.
    pub(super) fn tick_care(&mut self, now: Instant, group: GroupId) {
        let coordinates = self.coordinator(now, group) == self.shared.node();
        let every = if coordinates { LOOK_EVERY } else { LOOK_EVERY_BESIDE };
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let care = &mut keyed.cas.care;
        if now.since(care.looked) < every {
            return;
        }
        care.looked = now;
        let task = Task::Unsettled { after: care.after.take(), count: LOOKED_AT_ONCE };
        let ticket = keyed.ticket(Waiting::Cas(Ticket::Own));
        self.agenda.push(group, Job::Rounds { ticket, task });
    }

    /// Makes the rounds that registers want.
    pub(super) fn look_after(&mut self, now: Instant, group: GroupId, found: Found, out: &mut Effects) {
        let coordinates = self.coordinator(now, group) == self.shared.node();
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        keyed.cas.care.after = found.next;
        let settle = found.inherited.into_iter().map(|key| (key, Wish::Settle, Kind::Change));
        let read = found.open.into_iter().map(|key| (key, Wish::Settle, Kind::Read));
        let forget = found.absent.into_iter().map(|(key, _)| (key, Wish::Settle, Kind::Forget));
        let rounds = settle.chain(read).chain(forget.filter(|_| coordinates)).take(MAX_OWN_ROUNDS);
        for (key, wish, kind) in rounds.collect::<Vec<_>>() {
            self.care_for(now, group, key, (wish, kind), out);
        }
    }

    /// Makes a round that nobody waits for, unless there is one.
    fn care_for(&mut self, now: Instant, group: GroupId, key: Bytes, wanted: (Wish, Kind), out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        if keyed.cas.cared.len() < MAX_OWN_ROUNDS && keyed.cas.cared.insert(key.clone()) {
            self.own_round_of(now, group, Whose::Nobody, key, wanted, out);
        }
    }

    /// A string is to be removed by a round: it has expired, or the table is emptied.
    pub(super) fn round_due(&mut self, now: Instant, group: GroupId, ticket: u64, key: Bytes, out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        if let Some(Waiting::Flush(..)) = keyed.waiting.get(&ticket) {
            keyed.cas.flushes.entry(ticket).or_default().left += 1;
            return self.own_round(now, group, Whose::Flush(ticket), key, Wish::Remove, out);
        }
        self.care_for(now, group, key, (Wish::Expire, Kind::Change), out);
    }

    /// All pages of a FLUSHALL are through: its client is told when its rounds are over, too.
    pub(in crate::keyed) fn flush_over(
        &mut self,
        group: GroupId,
        ticket: u64,
        id: RequestId,
        removed: u64,
        out: &mut Effects,
    ) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        match keyed.cas.flushes.get_mut(&ticket) {
            Some(flush) => {
                flush.told = Some((id, removed));
                self.flush_told(group, ticket, out);
            }
            None => self.keyed_answer(id, KeyedAnswer::Flushed(removed), out),
        }
    }

    /// A round of a FLUSHALL is over. One that failed leaves its key, which is as if it had been written anew.
    pub(super) fn flushed_by_round(&mut self, group: GroupId, ticket: u64, is_done: bool, out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        if let Some(flush) = keyed.cas.flushes.get_mut(&ticket) {
            flush.left -= 1;
            if let Some((_, removed)) = &mut flush.told {
                *removed += u64::from(is_done);
            } else if let Some(Waiting::Flush(_, _, removed)) = keyed.waiting.get_mut(&ticket) {
                *removed += u64::from(is_done);
            }
        }
        self.flush_told(group, ticket, out);
    }

    fn flush_told(&mut self, group: GroupId, ticket: u64, out: &mut Effects) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        let flush = keyed.cas.flushes.get(&ticket).filter(|flush| flush.left == 0);
        let is_given_up = !keyed.waiting.contains_key(&ticket);
        if flush.is_some_and(|flush| flush.told.is_none() && is_given_up) {
            keyed.cas.flushes.remove(&ticket);
            return;
        }
        if let Some((id, removed)) = flush.and_then(|flush| flush.told) {
            keyed.cas.flushes.remove(&ticket);
            self.keyed_answer(id, KeyedAnswer::Flushed(removed), out);
        }
    }
}
