//! How the map reaches every node.
//!
//! A replica of meta reads its own. Any other node asks one that has a replica, and is sent what changes for as long as it goes
//! on asking. Whoever is asked answers with what it has, if that is newer: a node that knows no replica of meta that lives
//! finds the map all the same.

use std::collections::BTreeSet;

use althing_api::cluster::Member;
use althing_api::kv::{EventKind, KeyRange, RangeRequest};
use althing_api::service::{DEFAULT_GROUP, META_GROUP};
use althing_meta::view::Scope;
use althing_meta::{Entry, Taken, Update, View};
use althing_probe::Mark;
use althing_storage::wal::{Record, RecordKind};
use althing_strong::{ApplyOutput, Reader};
use althing_types::{Duration, GroupId, Instant, NodeId, Revision, limits};
use bytes::Bytes;

use crate::effects::{Effects, Membership};
use crate::envelope::Message;
use crate::group::Group;
use crate::node::Node;

/// How often a node without meta asks for what is newer, though it is sent what changes.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long a node that has asked is sent what changes.
const SUBSCRIBED_FOR: Duration = Duration::from_secs(4);
/// How often the map is written into the log at the most. A copy that is older than the map costs a question after a start.
const WRITE_EVERY: Duration = Duration::from_secs(2);
/// A map of more bytes is not kept: no batch of the log could hold it, and a log that is given what it cannot hold fails. An older
/// copy, or none, costs a question after a start.
const MAX_KEPT_BYTES: usize = limits::MAX_WAL_BATCH_BYTES / 2;
/// Under this group the log keeps what belongs to no replica.
pub(crate) const NO_GROUP: GroupId = GroupId(0);

/// A node that follows this node's map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber {
    have: Revision,
    asked: Instant,
}

/// The map as the log kept it; none if it cannot be read, for it is only a copy.
pub(crate) fn recovered(map: Option<Bytes>) -> View {
    let mut view = View::new();
    if let Some(Ok(update)) = map.map(Update::decode) {
        view.take(&update);
    }
    view
}

impl Node {
    /// Whether this node reads the map from its own replica of meta, which hears of a leader.
    fn has_meta(&self) -> bool {
        self.serves(META_GROUP) && self.groups.get(&META_GROUP).is_some_and(|group| group.leader().is_some())
    }

    /// Takes the whole map from this node's replica of meta.
    pub(crate) fn load_map(&mut self, out: &mut Effects) {
        let Some(group) = self.groups.get(&META_GROUP).filter(|_| !self.control.is_absent()) else { return };
        let reader = group.reader();
        let Some(whole) = read_objects(&reader) else { return };
        match self.control.view.take(&whole) {
            Taken::Changed => self.map_changed(out),
            Taken::Known | Taken::Gap => {}
        }
    }

    /// Meta's replica has applied something.
    pub(crate) fn meta_applied(&mut self, output: &ApplyOutput, out: &mut Effects) {
        if self.control.is_absent() || output.changes.is_empty() {
            return;
        }
        let view = &mut self.control.view;
        for change in &output.changes {
            for event in change.events.iter() {
                let value = match event.kind {
                    EventKind::Put => Some(event.kv.value.clone()),
                    EventKind::Delete => None,
                };
                view.put(change.revision, &event.kv.key, value);
            }
        }
        self.map_changed(out);
    }

    /// Asks for a newer map, if this node has none of its own.
    pub(super) fn ask_for_map(&mut self, now: Instant) {
        if self.has_meta() || now.since(self.control.asked) < ASK_EVERY && self.control.asks > 0 {
            return;
        }
        let own = self.shared.node();
        let replicas = self.control.view.shard(META_GROUP).map(|shard| shard.status.voters.clone()).unwrap_or_default();
        let known = self.control.view.nodes().map(|node| node.spec.id);
        let hinted = self.shared.config.initial_members.iter().map(|member| member.id);
        let mut seen = BTreeSet::from([own]);
        let replicas: Vec<NodeId> = replicas.into_iter().filter(|id| seen.insert(*id)).collect();
        let others: Vec<NodeId> = known.chain(hinted).filter(|id| seen.insert(*id)).collect();
        let Some(to) = whom_to_ask(&replicas, &others, self.control.asks) else { return };
        self.control.asked = now;
        self.control.asks += 1;
        let have = u64::try_from(self.control.view.revision().0).unwrap_or_default();
        self.shared.peers.send(to, &Message::MapWant { have });
    }

    /// The map is known to be newer elsewhere.
    pub(crate) fn map_is_behind(&mut self) {
        self.control.asked = Instant::ZERO;
    }

    /// Another node wants what is newer.
    pub(crate) fn map_wanted(&mut self, now: Instant, from: NodeId, have: u64) {
        if self.control.is_absent() {
            return;
        }
        let have = Revision(i64::try_from(have).unwrap_or(i64::MAX));
        self.control.subscribers.insert(from, Subscriber { have, asked: now });
        self.push_map(now);
    }

    /// Sends what is newer to those who follow.
    pub(super) fn push_map(&mut self, now: Instant) {
        let control = &mut self.control;
        control.subscribers.retain(|_, subscriber| now.since(subscriber.asked) < SUBSCRIBED_FOR);
        let newest = control.view.revision();
        for (to, subscriber) in &mut control.subscribers {
            if let Some(update) = control.view.update_since(subscriber.have) {
                subscriber.have = newest;
                althing_probe::hit(Mark::MapPushed);
                self.shared.peers.send(*to, &Message::MapUpdate(update.encode()));
            }
        }
    }

    /// A newer map has come.
    pub(crate) fn map_update(&mut self, bytes: Bytes, out: &mut Effects) {
        let Ok(update) = Update::decode(bytes) else {
            self.shared.metrics.frames_refused += 1;
            return;
        };
        if self.control.is_absent() {
            return;
        }
        match self.control.view.take(&update) {
            Taken::Changed => self.map_changed(out),
            Taken::Known => {}
            Taken::Gap => {
                althing_probe::hit(Mark::MapGap);
                self.map_is_behind();
            }
        }
    }

    /// The map says something new: it is looked at with the next tick, and the transport should know who there is.
    pub(crate) fn map_changed(&mut self, out: &mut Effects) {
        self.control.looked = Instant::ZERO;
        out.members = Some(self.membership());
    }

    /// The map as this node has it.
    #[must_use]
    pub const fn map(&self) -> &View {
        &self.control.view
    }

    /// Who belongs to the cluster: the nodes of the map, and the members of the default table.
    #[must_use]
    pub fn membership(&self) -> Membership {
        let reader = self.groups.get(&DEFAULT_GROUP).map(Group::reader);
        let mut membership = Membership::of(reader.as_ref(), &self.shared.config.initial_members);
        for node in self.control.view.nodes() {
            membership.removed.remove(&node.spec.id);
            let member = membership.members.iter_mut().find(|member| member.id == node.spec.id);
            match member {
                Some(member) if member.peer_urls.is_empty() => member.peer_urls.clone_from(&node.spec.peer_urls),
                Some(_) => {}
                None => membership.members.push(Member {
                    id: node.spec.id,
                    name: node.name().to_owned(),
                    peer_urls: node.spec.peer_urls.clone(),
                    client_urls: node.spec.client_urls.clone(),
                    is_learner: false,
                }),
            }
        }
        membership
    }

    /// Keeps a copy of the map in the log, where a start finds it.
    pub(super) fn write_map(&mut self, now: Instant) {
        let control = &mut self.control;
        if control.view.revision() <= control.written || now.since(control.written_at) < WRITE_EVERY {
            return;
        }
        self.keep_map(now);
    }

    /// Writes the map into the log now, unless it has it.
    pub(super) fn keep_map(&mut self, now: Instant) {
        let control = &mut self.control;
        if control.view.revision() <= control.written {
            return;
        }
        control.written = control.view.revision();
        control.written_at = now;
        let payload = control.view.whole().encode();
        if payload.len() <= MAX_KEPT_BYTES {
            self.shared.wal.push(Record { group: NO_GROUP, kind: RecordKind::Map, index: 0, payload });
        }
    }
}

/// Whom a node asks for a newer map for the n-th time: by turns one that has meta, as far as is known, and one that has not, in
/// case that those that have are others by now. So, however many nodes there are, one that has meta is asked every other time.
fn whom_to_ask(replicas: &[NodeId], others: &[NodeId], asks: usize) -> Option<NodeId> {
    let (first, second) = if asks.is_multiple_of(2) { (replicas, others) } else { (others, replicas) };
    let whom = if first.is_empty() { second } else { first };
    whom.get((asks / 2).checked_rem(whom.len())?).copied()
}

/// All objects of meta's table; `None` if they cannot be read.
fn read_objects(reader: &Reader) -> Option<Update> {
    let (found, until) = reader.range(&RangeRequest::new(KeyRange::under(althing_manifest::kind::ROOT))).ok()?;
    let entry = |kv: althing_api::kv::KeyValue| Entry { key: kv.key, revision: kv.mod_revision, value: kv.value };
    let mut entries: Vec<_> = found.kvs.into_iter().map(entry).collect();
    entries.sort_by_key(|entry| entry.revision);
    Some(Update { scope: Scope::Whole, until, entries, gone: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All were asked one after another once, so that with a hundred nodes the map was two minutes late.
    #[test]
    fn a_node_that_has_meta_is_asked_every_other_time_however_many_nodes_there_are() {
        let replicas = [1, 2, 3].map(NodeId);
        let others: Vec<NodeId> = (4..=100).map(NodeId).collect();
        let asked: Vec<_> = (0..12).filter_map(|asks| whom_to_ask(&replicas, &others, asks)).collect();
        assert_eq!(asked, [1, 4, 2, 5, 3, 6, 1, 7, 2, 8, 3, 9].map(NodeId));
    }

    #[test]
    fn where_only_one_kind_is_known_all_of_it_are_asked() {
        let ids = [1, 2].map(NodeId);
        for (replicas, others) in [(&ids[..], &[][..]), (&[][..], &ids[..])] {
            let asked: BTreeSet<_> = (0..4).filter_map(|asks| whom_to_ask(replicas, others, asks)).collect();
            assert_eq!(asked, BTreeSet::from(ids));
        }
        assert_eq!(whom_to_ask(&[], &[], 7), None);
    }
}
