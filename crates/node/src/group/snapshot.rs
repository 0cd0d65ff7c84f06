//! The group's snapshots, out and in. The picture stands in [`crate::transfer`].

use std::collections::BTreeMap;

use althing_consensus::SnapshotMeta;
use althing_probe::Mark;
use althing_storage::engine::Applied;
use althing_storage::wal::{Record, RecordKind};
use althing_strong::Export;
use althing_types::{NodeId, SpaceId};
use bytes::Bytes;

use super::Group;
use super::raft::encode_snapshot_record;
use super::requests::fail;
use crate::context::Context;
use crate::effects::{ExportSource, ReadWork, Work};
use crate::envelope::{Message, Page, TransferState};
use crate::input::{ExportPurpose, GroupState, ImportOutcome};
use crate::transfer::{Incoming, Outgoing, Stage, TRANSFER_TIMEOUT};

impl Group {
    pub(crate) fn snapshots_leaving(&self) -> usize {
        self.outgoing.len()
    }

    /// Where the group stands, and what a snapshot is filling.
    pub(crate) fn spaces(&self) -> Vec<SpaceId> {
        [self.space].into_iter().chain(self.incoming.as_ref().map(|incoming| incoming.space)).collect()
    }

    pub(crate) const fn has_snapshot_coming(&self) -> bool {
        self.incoming.is_some()
    }

    /// A follower needs a snapshot.
    pub(super) fn start_transfer(&mut self, cx: &mut Context<'_>, to: NodeId) {
        if self.outgoing.contains_key(&to) {
            return;
        }
        let transfer = cx.shared.new_transfer();
        cx.shared.metrics.snapshots_sent += 1;
        self.outgoing.insert(to, Outgoing::new(transfer, cx.now));
        let purpose = ExportPurpose::Follower { group: self.id, to, transfer };
        let source = ExportSource::Start(self.reader.clone());
        cx.out.reads.push(ReadWork::Page { purpose, source, max_bytes: cx.shared.config.snapshot_chunk_bytes });
    }

    /// A page of an export to a follower has been read.
    pub(crate) fn exported(
        &mut self,
        cx: &mut Context<'_>,
        to: NodeId,
        transfer: u64,
        export: Option<Box<Export>>,
        result: Result<Option<Bytes>, althing_api::Error>,
    ) {
        let Some(outgoing) = self.outgoing.get_mut(&to).filter(|outgoing| outgoing.transfer == transfer) else {
            return;
        };
        match result {
            Ok(page) => {
                outgoing.page(export, page);
                self.pump(cx, to);
            }
            Err(_) => self.end_transfer(to, false),
        }
    }

    /// Sends what may be sent and reads what may be read ahead.
    fn pump(&mut self, cx: &mut Context<'_>, to: NodeId) {
        let (group, term) = (self.id, self.replica.term());
        let Some(outgoing) = self.outgoing.get_mut(&to) else { return };
        while let Some((number, bytes, last)) = outgoing.next_page(cx.now) {
            let page = Page { group, transfer: outgoing.transfer, term, number, last, bytes };
            cx.shared.peers.send(to, &Message::Page(page));
        }
        if let Some(export) = outgoing.take_export() {
            let purpose = ExportPurpose::Follower { group, to, transfer: outgoing.transfer };
            let source = ExportSource::Next(export);
            cx.out.reads.push(ReadWork::Page { purpose, source, max_bytes: cx.shared.config.snapshot_chunk_bytes });
        }
    }

    /// The follower says how far it is.
    pub(crate) fn page_acknowledged(
        &mut self,
        cx: &mut Context<'_>,
        from: NodeId,
        transfer: u64,
        pages: u64,
        state: TransferState,
    ) {
        let Some(outgoing) = self.outgoing.get_mut(&from).filter(|outgoing| outgoing.transfer == transfer) else {
            return;
        };
        match state {
            TransferState::Going => {
                outgoing.acknowledged = outgoing.acknowledged.max(pages.min(outgoing.sent));
                outgoing.moved = cx.now;
                self.pump(cx, from);
            }
            TransferState::Installed => self.end_transfer(from, true),
            TransferState::Failed => self.end_transfer(from, false),
        }
    }

    /// Whether a snapshot is on its way from here to a follower.
    pub(crate) fn sends_snapshot_to(&self, follower: NodeId) -> bool {
        self.outgoing.contains_key(&follower)
    }

    /// The follower has begun another run, which has nothing of the snapshot that was on its way to the last one. It is probed
    /// anew, and sent another one if it needs that.
    pub(crate) fn receiver_restarted(&mut self, follower: NodeId) {
        self.end_transfer(follower, false);
    }

    fn end_transfer(&mut self, to: NodeId, ok: bool) {
        if !ok {
            althing_probe::hit(Mark::TransferFailed);
        }
        self.outgoing.remove(&to);
        self.step(althing_consensus::Input::SnapshotSent { to, ok });
    }

    /// A page comes in.
    pub(crate) fn page(&mut self, cx: &mut Context<'_>, from: NodeId, page: Page) {
        self.heard += 1;
        if page.term < self.replica.term() {
            return self.acknowledge(cx, from, page.transfer, 0, TransferState::Failed);
        }
        if self.incoming.as_ref().is_none_or(|incoming| incoming.transfer != page.transfer) {
            if page.number != 0 {
                return self.acknowledge(cx, from, page.transfer, 0, TransferState::Failed);
            }
            if self.incoming.is_some() {
                althing_probe::hit(Mark::TransferReplaced);
            }
            self.abandon_incoming(cx);
            let space = cx.shared.new_space();
            let (transfer, term, moved) = (page.transfer, page.term, cx.now);
            self.incoming = Some(Incoming { transfer, from, term, space, received: 0, stage: Stage::Filling, moved });
        }
        let Some(incoming) = &mut self.incoming else { return };
        if incoming.received != page.number {
            althing_probe::hit(Mark::PageOutOfOrder);
            return self.fail_incoming(cx);
        }
        incoming.received += 1;
        incoming.moved = cx.now;
        let (group, transfer, space) = (self.id, page.transfer, incoming.space);
        cx.out.work.push(Work::Import { group, transfer, space, page: page.bytes, last: page.last });
    }

    /// The applier has put a page into the new space.
    pub(crate) fn imported(&mut self, cx: &mut Context<'_>, transfer: u64, pages: u64, outcome: ImportOutcome) {
        let Some(incoming) = self.incoming.as_mut().filter(|incoming| incoming.transfer == transfer) else { return };
        incoming.moved = cx.now;
        let from = incoming.from;
        match outcome {
            ImportOutcome::Going => self.acknowledge(cx, from, transfer, pages, TransferState::Going),
            ImportOutcome::Complete(applied, conf_state) => {
                incoming.stage = Stage::Complete { applied, conf_state };
                cx.shared.wal.want_checkpoint();
            }
            ImportOutcome::Failed(_) => self.fail_incoming(cx),
        }
    }

    /// A checkpoint is durable: if it covers the whole of a snapshot, Raft takes it.
    pub(super) fn try_install(&mut self, cx: &mut Context<'_>, spaces: &BTreeMap<SpaceId, Applied>) {
        let Some(incoming) = &self.incoming else { return };
        let Stage::Complete { applied, conf_state } = &incoming.stage else { return };
        if spaces.get(&incoming.space) != Some(applied) {
            return cx.shared.wal.want_checkpoint();
        }
        let conf_state = super::decode_conf_state(conf_state);
        let meta = SnapshotMeta { index: applied.index, term: applied.term, conf_state };
        let (from, term) = (incoming.from, incoming.term);
        self.touched = true;
        match self.replica.install_snapshot(meta, from, term, &mut self.effects) {
            Ok(()) => {
                cx.shared.metrics.snapshots_installed += 1;
            }
            Err(_) => self.fail_incoming(cx),
        }
    }

    /// Raft has restored its log at the snapshot: the log records the new space, and the group stands on it.
    pub(super) fn install(&mut self, cx: &mut Context<'_>, meta: &SnapshotMeta, seq: u64) {
        let Some(incoming) = self.incoming.take() else { return };
        let payload = encode_snapshot_record(meta, incoming.space);
        cx.shared.wal.push(Record { group: self.id, kind: RecordKind::Snapshot, index: meta.index, payload });
        cx.out.work.push(Work::Install { group: self.id, space: incoming.space });
        self.retired = Some((seq, self.space));
        self.space = incoming.space;
        self.acknowledge(cx, incoming.from, incoming.transfer, incoming.received, TransferState::Installed);
    }

    /// The applier stands on the new space.
    pub(crate) fn installed(&mut self, cx: &mut Context<'_>, state: GroupState) {
        self.space = state.space;
        self.applied = state.applied;
        self.reader = state.reader;
        self.step(althing_consensus::Input::Applied { index: state.applied.index });
        let (revision, compacted) = (self.reader.revision(), self.reader.compact_revision());
        self.hub_input(cx, althing_strong::watch::Input::Installed { revision, compacted });
        if let Some(bounds) = self.bounds() {
            self.hub_input(cx, althing_strong::watch::Input::Bounds(bounds));
        }
        // The snapshot may hold what these proposed, without their results.
        for ticket in self.proposals.take_sent_up_to(state.applied.term) {
            althing_probe::hit(Mark::ResultInSnapshot);
            fail(cx, ticket, althing_api::Error::maybe_done(althing_api::ErrorKind::LeaderChanged));
        }
        self.members_changed(cx);
        self.serve_reads(cx);
    }

    fn acknowledge(&mut self, cx: &mut Context<'_>, to: NodeId, transfer: u64, pages: u64, state: TransferState) {
        self.send(cx, to, &Message::PageAck { group: self.id, transfer, pages, state });
    }

    fn fail_incoming(&mut self, cx: &mut Context<'_>) {
        if let Some(incoming) = &self.incoming {
            let (from, transfer) = (incoming.from, incoming.transfer);
            self.acknowledge(cx, from, transfer, 0, TransferState::Failed);
        }
        self.abandon_incoming(cx);
    }

    fn abandon_incoming(&mut self, cx: &mut Context<'_>) {
        if let Some(incoming) = self.incoming.take() {
            cx.out.work.push(Work::DropSpace(incoming.space));
        }
    }

    /// Transfers that stand still are given up.
    pub(super) fn tick_transfers(&mut self, cx: &mut Context<'_>) {
        let still = |outgoing: &Outgoing| cx.now.since(outgoing.moved) >= TRANSFER_TIMEOUT;
        let stuck: Vec<_> = self.outgoing.iter().filter(|(_, outgoing)| still(outgoing)).map(|(to, _)| *to).collect();
        for to in stuck {
            self.end_transfer(to, false);
        }
        if self.incoming.as_ref().is_some_and(|incoming| cx.now.since(incoming.moved) >= TRANSFER_TIMEOUT) {
            self.fail_incoming(cx);
        }
    }
}
