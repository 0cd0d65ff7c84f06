//! Filling the children of a shard that is split: what the leader of the parent does.

use std::collections::{BTreeMap, VecDeque};

use althing_api::ErrorKind;
use althing_manifest::{Phase, Slice as Keys};
use althing_meta::Stage as Reported;
use althing_probe::Mutant;
use althing_strong::bounds::START;
use althing_strong::feed::PAGE_BYTES;
use althing_strong::layout::VersionId;
use althing_strong::{Command, Feed, Page, Seal, Stage};
use althing_types::{Duration, GroupId, Instant};
use bytes::Bytes;

use crate::effects::{Effects, FeedSource, ReadWork};
use crate::group::Group;
use crate::node::Node;

/// How long what was proposed for a split may take before it is proposed again.
const PROPOSED_WITHIN: Duration = Duration::from_secs(2);
/// The same once the parent is sealed: clients wait then, and what comes twice does no harm.
const PROPOSED_WITHIN_SEALED: Duration = Duration::from_millis(250);
/// Pages that a child is given before it has the first of them, so that filling is not one round of its log per page. Each may
/// be of [`PAGE_BYTES`] and waits in memory and in the child's log.
const MAX_PAGES_IN_FLIGHT: usize = 4;
/// A child that lacks fewer revisions than this, and was told all there was with one page, is near enough for the seal: it gets
/// the rest in another one.
const NEAR_REVISIONS: i64 = 1024;

/// The parents that this node leads and whose children it fills. All of it may be lost.
#[derive(Debug, Default)]
pub(crate) struct Fillings(BTreeMap<GroupId, Filling>);

/// A parent that is being split.
#[derive(Debug)]
struct Filling {
    at: Bytes,
    /// Left and right.
    children: [GroupId; 2],
    fillers: [Filler; 2],
    /// When the seal was proposed last.
    sealing: Option<Instant>,
    /// When this node, leading, saw the parent sealed.
    sealed: Option<Instant>,
}

/// One child that is being filled.
#[derive(Debug)]
struct Filler {
    work: Work,
    /// Where the child will stand when it has the pages that it was given, in their order, and when each was given.
    in_flight: VecDeque<(VersionId, Instant)>,
    distance: Distance,
    /// When the activation was proposed last.
    activating: Option<Instant>,
}

/// What is under way for a child.
#[derive(Debug)]
enum Work {
    /// Nothing. A feed goes on from where it is.
    Idle(Option<Box<Feed>>),
    /// The reader makes a page.
    Reading,
    /// No feed of this replica goes on where the child stands: the child must be begun anew.
    Stuck,
}

/// How far a child is behind its parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Distance {
    Far,
    Near,
}

impl Default for Filler {
    fn default() -> Self {
        Self { work: Work::Idle(None), in_flight: VecDeque::new(), distance: Distance::Far, activating: None }
    }
}

impl Filler {
    /// The child stands here. A page that it should have by now was lost, and with it all that follow: it is told from there again.
    fn stands(&mut self, now: Instant, next: VersionId, patience: Duration) {
        while self.in_flight.front().is_some_and(|(end, _)| *end <= next) {
            self.in_flight.pop_front();
        }
        let is_lost = self.in_flight.front().is_some_and(|(_, given)| is_due(Some(*given), now, patience));
        if is_lost && let Work::Idle(feed) = &mut self.work {
            *feed = None;
            self.in_flight.clear();
        }
    }

    /// Where the child will stand when it has all that it was given.
    fn told(&self, next: VersionId) -> VersionId {
        self.in_flight.back().map_or(next, |(end, _)| *end)
    }
}

/// How long what is proposed for a parent may take.
const fn patience(sealed: Option<&Seal>) -> Duration {
    match sealed {
        Some(_) => PROPOSED_WITHIN_SEALED,
        None => PROPOSED_WITHIN,
    }
}

/// Whether something that was proposed at this moment should have happened by now.
fn is_due(proposed: Option<Instant>, now: Instant, patience: Duration) -> bool {
    proposed.is_none_or(|at| now.since(at) >= patience)
}

impl Node {
    /// Looks which shards are to be split and are led here, and takes the next step with each.
    pub(crate) fn tend_splits(&mut self, now: Instant, out: &mut Effects) {
        let is_led = |parent: &GroupId| self.groups.get(parent).is_some_and(Group::is_serving_leader);
        let parents = self.control.view.parents().filter(is_led);
        let wanted: BTreeMap<GroupId, (Bytes, [GroupId; 2])> =
            parents.filter_map(|parent| Some((parent, self.pieces(parent)?))).collect();
        let fillings = &mut self.fillings.0;
        fillings
            .retain(|parent, filling| wanted.get(parent).is_some_and(|(_, children)| *children == filling.children));
        for (parent, (at, children)) in wanted {
            let fillers = Default::default();
            fillings.entry(parent).or_insert(Filling { at, children, fillers, sealing: None, sealed: None });
        }
        let parents: Vec<_> = self.fillings.0.keys().copied().collect();
        for parent in parents {
            self.fill(now, parent, out);
        }
    }

    /// How far a shard is that serves: it is stuck if it was barred from the children that the map gives it.
    pub(crate) fn reported_stage(&self, parent: GroupId) -> Reported {
        let barred = self.groups.get(&parent).and_then(Group::bounds).map_or(GroupId(0), |bounds| bounds.barred);
        let is_barred = self.control.view.children(parent).any(|child| child.spec.group <= barred);
        if is_barred { Reported::Stuck } else { Reported::Serving }
    }

    /// The children that a shard is to be split into, left and right, and the key that divides them.
    fn pieces(&self, parent: GroupId) -> Option<(Bytes, [GroupId; 2])> {
        let view = &self.control.view;
        let mut children = view.children(parent);
        let (one, other) = (children.next()?, children.next()?);
        if view.shard(parent)?.spec.phase != Phase::Serving || children.next().is_some() {
            return None;
        }
        let start = |slice: &Keys| match slice {
            Keys::Range(range) => Some(Bytes::copy_from_slice(&range.start)),
            Keys::Hash(_) => None,
        };
        let (first, second) = (start(&one.spec.slice)?, start(&other.spec.slice)?);
        let (one, other) = (one.spec.group, other.spec.group);
        Some(if first < second { (second, [one, other]) } else { (first, [other, one]) })
    }

    /// Something was applied: a parent has more to tell, or a child has what it was told.
    pub(crate) fn split_applied(&mut self, now: Instant, group: GroupId, out: &mut Effects) {
        if self.fillings.0.is_empty() {
            return;
        }
        let parent = self.control.view.shard(group).and_then(|shard| shard.spec.parent);
        for parent in parent.into_iter().chain([group]) {
            self.fill(now, parent, out);
        }
    }

    /// Takes the next step with a parent and its children.
    fn fill(&mut self, now: Instant, parent: GroupId, out: &mut Effects) {
        if !self.fillings.0.contains_key(&parent) {
            return;
        }
        let stage = |group: &GroupId| self.groups.get(group).and_then(Group::bounds).map(|it| it.stage);
        let sealed = match stage(&parent) {
            Some(Stage::Sealed(seal)) => Some(seal),
            Some(Stage::Serving | Stage::Activated(_)) => None,
            // A child is no parent before it serves, and a shard without bounds is never split.
            Some(Stage::Filling { .. }) | None => return,
        };
        for side in [0, 1] {
            self.fill_child(now, parent, side, sealed.as_ref(), out);
        }
        match sealed {
            Some(_) => self.note_pause(now, parent),
            None => self.seal_or_bar(now, parent, out),
        }
    }

    fn fill_child(&mut self, now: Instant, parent: GroupId, side: usize, sealed: Option<&Seal>, out: &mut Effects) {
        let Some(held) = self.groups.get(&parent) else { return };
        let (reader, end) = (held.reader(), VersionId::after(held.revision()));
        let Some(filling) = self.fillings.0.get_mut(&parent) else { return };
        let child = filling.children[side];
        let filler = &mut filling.fillers[side];
        let Some(bounds) = self.groups.get(&child).and_then(Group::bounds) else { return };
        let Stage::Filling { next, .. } = bounds.stage else { return };
        let patience = patience(sealed);
        filler.stands(now, next, patience);
        let feed = match std::mem::replace(&mut filler.work, Work::Idle(None)) {
            Work::Idle(feed) => feed,
            // The seal came first, so the child is further than it seemed from here.
            Work::Stuck if sealed.is_some() => None,
            work @ (Work::Reading | Work::Stuck) => {
                filler.work = work;
                return;
            }
        };
        let told = filler.told(next);
        if told < end && !(sealed.is_some() && althing_probe::is(Mutant::ActivateShort)) {
            // After the seal clients wait for the rest.
            if sealed.is_none() && filler.in_flight.len() >= MAX_PAGES_IN_FLIGHT {
                filler.work = Work::Idle(feed);
                return;
            }
            filler.work = Work::Reading;
            let source = match feed.filter(|feed| feed.next() == told) {
                Some(feed) => FeedSource::Next(feed),
                None => FeedSource::Start { reader, slice: bounds.slice, from: told },
            };
            let max_bytes = self.page_bytes();
            return out.reads.push(ReadWork::Feed { parent, child, source, max_bytes });
        }
        filler.work = Work::Idle(feed);
        filler.distance = Distance::Near;
        // The activation follows the last pages in the child's log: it need not wait until they are applied.
        if let Some(seal) = sealed.filter(|_| is_due(filler.activating, now, patience)) {
            filler.activating = Some(now);
            let command = Command::Activate { revision: seal.revision, compacted: seal.compacted };
            self.with(now, child, out, |group, cx| group.propose_unasked(cx, command));
        }
    }

    /// Bytes that a page should have, about.
    fn page_bytes(&self) -> usize {
        self.shared.config.snapshot_chunk_bytes.min(PAGE_BYTES)
    }

    /// A page for a child was read, or there was nothing more.
    pub(crate) fn fed(
        &mut self,
        now: Instant,
        parent: GroupId,
        child: GroupId,
        feed: Option<Box<Feed>>,
        page: Result<Option<Page>, ErrorKind>,
        out: &mut Effects,
    ) {
        let revision = self.groups.get(&parent).map(Group::revision);
        let page_bytes = self.page_bytes();
        let Some(filling) = self.fillings.0.get_mut(&parent) else { return };
        let Some(side) = filling.children.iter().position(|group| *group == child) else { return };
        let filler = &mut filling.fillers[side];
        let (feed, page) = match (feed, page) {
            (Some(feed), Ok(Some(page))) => (feed, page),
            (feed, Ok(None)) => {
                filler.work = Work::Idle(feed);
                return;
            }
            (_, Err(ErrorKind::Compacted { .. })) => {
                filler.work = Work::Stuck;
                return self.fill(now, parent, out);
            }
            // The next tick tries again.
            (_, Err(_)) | (None, Ok(Some(_))) => {
                filler.work = Work::Idle(None);
                return;
            }
        };
        let behind = revision.map_or(i64::MAX, |revision| revision.get() - page.next.main.get());
        // A page that is not full told all there was.
        let is_full = page.bytes() >= page_bytes;
        filler.distance = if behind < NEAR_REVISIONS && !is_full { Distance::Near } else { Distance::Far };
        filler.work = Work::Idle(Some(feed));
        filler.in_flight.push_back((page.next, now));
        self.with(now, child, out, |group, cx| group.propose_unasked(cx, Command::Ingest(page)));
        self.fill(now, parent, out);
    }

    /// Seals a parent whose children are both near; bars it from children that are stuck. Both go through its log, so whichever
    /// comes first counts, and the control plane takes children away only after a bar.
    fn seal_or_bar(&mut self, now: Instant, parent: GroupId, out: &mut Effects) {
        let Some(filling) = self.fillings.0.get_mut(&parent) else { return };
        if !is_due(filling.sealing, now, PROPOSED_WITHIN) {
            return;
        }
        let (at, children) = (filling.at.clone(), filling.children);
        if filling.fillers.iter().any(|filler| matches!(filler.work, Work::Stuck)) {
            filling.sealing = Some(now);
            let command = Command::Bar { child: children[0].max(children[1]) };
            self.with(now, parent, out, |group, cx| {
                group.propose_own(cx, command);
            });
            return;
        }
        if filling.fillers.iter().any(|filler| filler.distance == Distance::Far) {
            return;
        }
        let position = |child: &GroupId| match self.groups.get(child)?.bounds()?.stage {
            Stage::Filling { next, .. } => Some(next),
            Stage::Serving | Stage::Activated(_) | Stage::Sealed(_) => None,
        };
        let filled = children.iter().map(|child| position(child).unwrap_or(START)).min().unwrap_or(START);
        filling.sealing = Some(now);
        let command = Command::Seal { at, children, filled };
        self.with(now, parent, out, |group, cx| {
            group.propose_own(cx, command);
        });
    }

    /// Counts a split that is through, and how long nobody served, as this node has seen it.
    fn note_pause(&mut self, now: Instant, parent: GroupId) {
        let Some(filling) = self.fillings.0.get_mut(&parent) else { return };
        let since = *filling.sealed.get_or_insert(now);
        let serves = |child: &GroupId| {
            let bounds = self.groups.get(child).and_then(Group::bounds);
            bounds.is_some_and(|bounds| matches!(bounds.stage, Stage::Activated(_)))
        };
        if filling.children.iter().all(serves) && filling.sealing.take().is_some() {
            let pause = u64::try_from(now.since(since).as_nanos()).unwrap_or(u64::MAX);
            let metrics = &mut self.shared.metrics;
            metrics.splits += 1;
            metrics.split_pause_nanos = metrics.split_pause_nanos.max(pause);
        }
    }
}
