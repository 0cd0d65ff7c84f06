//! What a node tells meta's replicas of itself and of its groups.

use althing_api::service::META_GROUP;
use althing_meta::Report;
use althing_types::{Duration, Instant, NodeId};
use bytes::Bytes;

use super::Reign;
use crate::envelope::Message;
use crate::node::Node;

/// How often a node reports.
const REPORT_EVERY: Duration = Duration::from_secs(1);

impl Node {
    /// Tells every replica of meta, so that whichever leads knows.
    pub(super) fn report(&mut self, now: Instant) {
        if self.control.reported.is_some_and(|last| now.since(last) < REPORT_EVERY) {
            return;
        }
        self.control.reported = Some(now);
        let own = self.shared.node();
        let report = self.make_report();
        let bytes = report.encode();
        let meta = self.control.view.shard(META_GROUP);
        let mut to: Vec<NodeId> = meta.map(|shard| shard.status.voters.iter().copied().collect()).unwrap_or_default();
        if to.is_empty() {
            to = self.shared.config.initial_members.iter().map(|member| member.id).collect();
        }
        for id in to.into_iter().filter(|id| *id != own) {
            self.shared.peers.send(id, &Message::Report(bytes.clone()));
        }
        self.heard_report(now, own, report);
    }

    fn heard_report(&mut self, now: Instant, from: NodeId, report: Report) {
        match &mut self.control.reign {
            Reign::Leading { reports, .. } => reports.hear(now, from, report),
            Reign::No => {}
        }
    }

    fn make_report(&self) -> Report {
        let config = &self.shared.config;
        Report {
            name: config.name.clone(),
            peer_urls: config.peer_urls.clone(),
            client_urls: config.client_urls.clone(),
            zone: config.zone.clone(),
            version: config.version.clone(),
            groups: self.groups.iter().map(|(id, group)| (*id, group.report())).collect(),
        }
    }

    /// Another node has reported.
    pub(crate) fn reported(&mut self, now: Instant, from: NodeId, bytes: Bytes) {
        match Report::decode(bytes) {
            Ok(report) => self.heard_report(now, from, report),
            Err(_) => self.shared.metrics.frames_refused += 1,
        }
    }
}
