//! Reconciling, on the node that leads meta.
//!
//! What the reconcilers write goes through meta's log like anybody's writes, and each write names the revision that it was
//! decided on. A leader that is deposed, or that dies between any two of them, leaves nothing half done that its successor
//! would not find.

use althing_api::kv::{Compare, DeleteRangeRequest, KeyRange, Operation, PutLease, PutRequest, PutValue, TxnRequest};
use althing_api::service::META_GROUP;
use althing_meta::{Founder, Reconciler, Reports, Write};
use althing_probe::{Mark, Mutant};
use althing_strong::Command;
use althing_types::{Duration, Instant};

use super::Reign;
use crate::effects::Effects;
use crate::node::Node;

/// How long a reconciler waits for what it has proposed before it looks again.
const PROPOSED_WITHIN: Duration = Duration::from_secs(2);

impl Node {
    /// One turn of the reconcilers, if this node leads meta and has applied what they proposed last.
    pub(super) fn lead(&mut self, now: Instant, out: &mut Effects) {
        let Some(group) = self.groups.get(&META_GROUP).filter(|group| group.is_serving_leader()) else {
            match std::mem::replace(&mut self.control.reign, Reign::No) {
                Reign::Leading { proposed: Some(_), .. } => althing_probe::hit(Mark::ReconcilerDeposed),
                Reign::Leading { proposed: None, .. } | Reign::No => {}
            }
            return;
        };
        let (term, applied) = (group.replica.term(), group.applied_index());
        match &self.control.reign {
            Reign::Leading { term: known, .. } if *known == term => {}
            Reign::Leading { .. } | Reign::No => {
                let reconciler = Box::new(Reconciler::new(self.founders()));
                let reports = Box::new(Reports::new(now));
                self.control.reign = Reign::Leading { term, reconciler, reports, proposed: None };
                // What this node knows of itself should not wait for the next report.
                self.control.reported = None;
                self.report(now);
            }
        }
        let control = &mut self.control;
        let Reign::Leading { reconciler, reports, proposed, .. } = &mut control.reign else { return };
        if proposed.is_some_and(|(index, at)| applied < index && now.since(at) < PROPOSED_WITHIN) {
            return;
        }
        let mut writes = Vec::new();
        reconciler.turn(now, &control.view, reports, &mut writes);
        if !writes.is_empty() {
            self.propose_writes(now, writes, out);
        }
    }

    fn propose_writes(&mut self, now: Instant, writes: Vec<Write>, out: &mut Effects) {
        self.shared.metrics.reconciled += writes.len() as u64;
        let mut last = None;
        self.with(now, META_GROUP, out, |group, cx| {
            for write in writes {
                if !group.propose_own(cx, command(write)) {
                    break;
                }
            }
            last = Some(group.replica.last_index());
        });
        if let (Reign::Leading { proposed, .. }, Some(index)) = (&mut self.control.reign, last) {
            *proposed = Some((index, now));
        }
    }

    fn founders(&self) -> Vec<Founder> {
        let founder = |member: &althing_api::cluster::Member| Founder {
            id: member.id,
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            client_urls: member.client_urls.clone(),
            zone: String::new(),
        };
        self.shared.config.initial_members.iter().map(founder).collect()
    }
}

/// A write that takes effect only on what it was decided on.
fn command(write: Write) -> Command {
    let compared = write.compares().filter(|_| !althing_probe::is(Mutant::ReconcileBlindly));
    let compare = compared.map(|(key, revision)| Compare::mod_is(key.clone(), revision)).collect();
    let keys = KeyRange::single(write.key.clone());
    let operation = match write.value {
        Some(value) => Operation::Put(PutRequest {
            key: write.key,
            value: PutValue::Set(value),
            lease: PutLease::Set(None),
            prev_kv: false,
        }),
        None => Operation::DeleteRange(DeleteRangeRequest { keys, prev_kv: false }),
    };
    Command::Txn(TxnRequest { compare, success: vec![operation], failure: Vec::new() })
}
