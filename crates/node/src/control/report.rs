//! What a node tells meta's replicas of itself and of its groups.

use althing_api::service::META_GROUP;
use althing_manifest::Split;
use althing_manifest::table::DEFAULT_SPLIT_BYTES;
use althing_meta::{GroupReport, Report, Stage};
use althing_types::{Duration, GroupId, Instant, NodeId};
use bytes::Bytes;

use super::Reign;
use crate::envelope::Message;
use crate::group::Group;
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

    /// Something has happened that the control plane should know at once.
    pub(crate) fn report_now(&mut self, now: Instant) {
        if !self.control.is_absent() {
            self.control.reported = None;
            self.report(now);
        }
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
            groups: self.groups.iter().map(|(id, group)| (*id, self.report_of(group))).collect(),
        }
    }

    fn report_of(&self, group: &Group) -> GroupReport {
        let mut report = group.report();
        if let Some(keyed) = self.keyed.get(&group.id) {
            (report.keys, report.bytes) = (keyed.size().keys, keyed.size().bytes);
        }
        if report.stage == Stage::Serving {
            report.stage = self.reported_stage(group.id);
            report.middle = self.outgrown(group.id).and_then(|bytes| group.middle_above(bytes));
        }
        report
    }

    /// How many bytes a shard may hold before it is split; `None` if it never is, or is already.
    fn outgrown(&self, group: GroupId) -> Option<u64> {
        let view = &self.control.view;
        let table = view.table(&view.shard(group)?.spec.table)?;
        match table.spec.split {
            Split::Hash => None,
            Split::Range if view.children(group).next().is_some() => None,
            Split::Range => Some(table.spec.split_bytes.unwrap_or(DEFAULT_SPLIT_BYTES)),
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
