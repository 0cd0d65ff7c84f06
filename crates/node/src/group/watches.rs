//! The group's hub of watches, fed from apply and from history.

use althing_api::ErrorKind;
use althing_api::watch::WatchCommand;
use althing_probe::Mark;
use althing_strong::watch::{Change, History, Input, LeaderNeed};
use althing_strong::{Bounds, Stage};
use althing_types::{Duration, Revision, StreamId};

use super::Group;
use crate::context::Context;
use crate::effects::ReadWork;

/// How long there may be no leader before streams that need one are told. Three times the longest election timeout, as
/// one failed election is no outage.
const NO_LEADER_TIMEOUTS: u32 = 3;

impl Group {
    pub(crate) fn open_stream(&mut self, cx: &mut Context<'_>, stream: StreamId, require_leader: bool) {
        let leader = if require_leader { LeaderNeed::Required } else { LeaderNeed::None };
        self.hub_input(cx, Input::Open { stream, leader });
    }

    pub(crate) fn watch_command(&mut self, cx: &mut Context<'_>, stream: StreamId, command: WatchCommand) {
        self.hub_input(cx, Input::Command { stream, command });
    }

    pub(crate) fn drained(&mut self, cx: &mut Context<'_>, stream: StreamId, bytes: usize) {
        self.hub_input(cx, Input::Drained { stream, bytes });
    }

    pub(crate) fn history(&mut self, cx: &mut Context<'_>, from: Revision, result: Result<History, ErrorKind>) {
        self.hub_input(cx, Input::History { from, result });
    }

    pub(super) fn feed_watches(&mut self, cx: &mut Context<'_>, changes: &[Change], compacted: Option<Revision>) {
        if !changes.is_empty() {
            self.hub_input(cx, Input::Changes(changes));
        }
        if let Some(revision) = compacted {
            self.hub_input(cx, Input::Compacted(revision));
        }
    }

    /// The keys of the shard are others from here on, or it begins or ceases to serve them.
    pub(super) fn tell_bounds(&mut self, cx: &mut Context<'_>, bounds: Bounds) {
        match bounds.stage {
            // What it was filled with was never told as changes.
            Stage::Activated(_) => {
                let (revision, compacted) = (self.reader.revision(), self.reader.compact_revision());
                self.hub_input(cx, Input::Installed { revision, compacted });
            }
            Stage::Serving | Stage::Filling { .. } | Stage::Sealed(_) => {}
        }
        self.hub_input(cx, Input::Bounds(bounds));
    }

    pub(super) fn tick_watches(&mut self, cx: &mut Context<'_>) {
        if self.leader().is_some() {
            self.leader_seen = cx.now;
        } else if cx.now.since(self.leader_seen) >= no_leader_after(cx) {
            althing_probe::hit(Mark::NoLeaderTold);
            self.hub_input(cx, Input::NoLeader);
        }
        if self.hub.next_deadline().is_some_and(|deadline| deadline <= cx.now) {
            self.hub_input(cx, Input::Tick);
        }
    }

    pub(super) fn hub_input(&mut self, cx: &mut Context<'_>, input: Input<'_>) {
        self.hub.handle(cx.now, input, &mut self.hub_effects);
        cx.out.watch.append(&mut self.hub_effects.deliver);
        for request in self.hub_effects.reads.drain(..) {
            cx.out.reads.push(ReadWork::History { group: self.id, reader: self.reader.clone(), request });
        }
    }
}

fn no_leader_after(cx: &Context<'_>) -> Duration {
    let config = &cx.shared.config;
    config.tick * config.election_ticks.end * NO_LEADER_TIMEOUTS
}
