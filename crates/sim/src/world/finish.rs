//! After the faults: all is healed, writes must succeed, replicas must become equal.

use althing_types::{Duration, NodeId};

use super::{Event, Phase, World};
use crate::checker::{carts, decided};
use crate::faults::{DiskFaults, NetworkFaults};
use crate::options::Tables;
use crate::report::Check;
use crate::workload::auditor::{Audit, Auditor};
use crate::workload::cart::CARTS;
use crate::workload::decided::LOCKS;
use crate::workload::{Client, News, Slot};

/// After all is healed, a write must succeed within this time of the world.
pub const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// Clients have this long to end what they have begun: longer than any of them waits for an answer.
const QUIET_FOR: Duration = Duration::from_secs(6);
/// After the clients have ended, all registers must be read and all replicas equal within this time.
pub const EQUAL_WITHIN: Duration = Duration::from_secs(30);

/// Longer by this for a convergent table if a process has died or a replica has moved: what its coordinator would have sent again
/// comes by the next round of repair.
const REPAIRED_WITHIN: Duration = Duration::from_secs(310);
/// Longer by this for each node besides the founders of a cluster with a control plane.
const PER_SPARE: Duration = Duration::from_millis(300);

/// How often it is looked whether all replicas are where they belong.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl World {
    pub(super) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        match phase {
            Phase::Safety => {}
            Phase::Liveness => {
                self.check_rebuilt();
                self.next_stretch();
                self.heal();
                self.agenda.after(WRITE_WITHIN, Event::Phase(Phase::Quiet));
            }
            Phase::Quiet => {
                self.check_progress();
                self.clients.iter_mut().for_each(Client::finish);
                self.agenda.after(QUIET_FOR, Event::Phase(Phase::Audit));
            }
            Phase::Audit => {
                self.quiet = Some((self.agenda.now(), self.shared.revision));
                let slot = self.auditor_slot();
                if let Client::Auditor(auditor) = &mut self.clients[slot.0] {
                    auditor.begin();
                }
                self.agenda.after(Duration::ZERO, Event::News { slot, news: News::Wake });
                let within = self.equal_within();
                self.agenda.after(within, Event::Phase(Phase::Over));
            }
            Phase::Over => {
                let state =
                    self.auditor().map(|auditor| format!("{:?}, last {:?}", auditor.audit(), auditor.last_round()));
                self.find(
                    Check::Convergence,
                    format!(
                        "{:?} after the last write: {} {}",
                        self.equal_within(),
                        state.unwrap_or_default(),
                        self.unsettled().unwrap_or_default()
                    ),
                );
            }
        }
    }

    /// How long replicas may take to become equal, and to come to where they belong: the more nodes, the more may have to move.
    fn equal_within(&self) -> Duration {
        let spares = self.options.tables.as_ref().map_or(0, |tables| tables.spares);
        let is_convergent = self.options.tables.as_ref().is_some_and(Tables::is_convergent);
        let has_lost_hints = self.counts.restarts > 0 || !self.voters.is_empty();
        let repaired = if is_convergent && has_lost_hints { REPAIRED_WITHIN } else { Duration::ZERO };
        EQUAL_WITHIN + repaired + PER_SPARE * u32::try_from(spares).unwrap_or(u32::MAX)
    }

    /// Ends every fault that is under way.
    fn heal(&mut self) {
        self.healed = self.agenda.now();
        self.network.heal();
        self.hearsay.heal();
        self.network.set_faults(NetworkFaults::CALM);
        self.options.faults.disk = DiskFaults::CALM;
        self.condemn_astray();
        for node in self.nodes.clone() {
            self.unclog(node);
            self.keep_syncs(node);
            self.host(node).mend();
            self.resume(node);
            self.restart(node);
        }
    }

    fn check_progress(&mut self) {
        let healed = self.healed;
        let written = self
            .shared
            .history
            .operations
            .iter()
            .any(|operation| operation.invoked >= healed && operation.acknowledged_revision().is_some());
        if !written && self.options.workload.register_clients > 0 {
            self.find(Check::Progress, format!("no write succeeded within {WRITE_WITHIN:?} after all was healed"));
        }
        let is_answered = |operation: &carts::Operation| operation.invoked >= healed && operation.done().is_some();
        let answered = self.shared.history.carts.iter().any(is_answered);
        if !answered && self.options.workload.cart_clients > 0 {
            self.find(Check::Progress, format!("no client of {CARTS} was answered within {WRITE_WITHIN:?}"));
        }
        let is_answered = |operation: &decided::Operation| operation.invoked >= healed && operation.done().is_some();
        let answered = self.shared.history.decided.iter().any(is_answered);
        if !answered && self.options.workload.decided_clients > 0 {
            self.find(Check::Progress, format!("no client of {LOCKS} was answered within {WRITE_WITHIN:?}"));
        }
    }

    /// Tells the watches that the run is over: those that had the time must have seen everything.
    pub(super) fn conclude(&mut self) {
        let Some((quiet, revision)) = self.quiet.filter(|_| self.findings.is_empty()) else { return };
        for client in &self.clients {
            client.conclude(quiet, revision, &mut self.shared);
        }
    }

    fn auditor_slot(&self) -> Slot {
        Slot(self.clients.len() - 1)
    }

    fn auditor(&self) -> Option<&Auditor> {
        match self.clients.last() {
            Some(Client::Auditor(auditor)) => Some(auditor),
            _ => None,
        }
    }

    /// The run is over once the auditor has nothing left to ask.
    pub(super) fn check_audit(&mut self, slot: Slot) {
        if slot != self.auditor_slot() || self.auditor().is_none_or(|auditor| *auditor.audit() != Audit::Finished) {
            return;
        }
        if self.unsettled().is_some() {
            self.agenda.after(LOOK_EVERY, Event::News { slot, news: News::Wake });
        } else {
            self.phase = Phase::Over;
        }
    }

    /// Who leads, as far as anybody has seen.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.leader.map(|(_, node)| node)
    }
}
