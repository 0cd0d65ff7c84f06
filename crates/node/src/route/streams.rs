//! Streams of watches that another node serves.
//!
//! What is said travels in frames, which may be lost, so both directions are numbered. The serving node repeats its last number
//! now and then: an origin that misses one ends its watches with "the replica is gone", and their clients resume from where
//! they are, as after any change of node. So a watch may end, and never skips.

use std::collections::BTreeSet;

use althing_api::keys::cross_shard_watch;
use althing_api::watch::{CancelReason, WatchCommand, WatchEvent};
use althing_api::{ErrorKind, Target};
use althing_types::{Duration, GroupId, Instant, NodeId, Revision, StreamId, TableName, WatchId};

use crate::effects::Effects;
use crate::envelope::{Message, StreamMessage};
use crate::node::Node;

/// How often a serving node says how far a stream is.
const MARK_EVERY: Duration = Duration::from_millis(500);
/// How long an origin waits for such a mark before it takes the serving node for gone.
const MARK_WITHIN: Duration = Duration::from_secs(3);

/// A stream that no replica serves.
#[derive(Clone, Debug)]
pub(crate) enum Homeless {
    /// Nobody can: its watches are refused.
    Refused(ErrorKind),
    /// It is on a table of many shards. The first watch of keys that lie in one of them says to which it belongs.
    Unbound {
        /// The table.
        table: TableName,
        /// Whether its watches end when there is no leader.
        require_leader: bool,
    },
}

/// A stream of this node's client that another node serves.
#[derive(Debug)]
pub(crate) struct Following {
    from: NodeId,
    group: GroupId,
    /// Numbers what the client has said.
    said: u64,
    /// The number of the last event that came.
    seen: u64,
    heard: Instant,
    /// Watches that were made and have not ended.
    watches: BTreeSet<WatchId>,
    revision: Revision,
}

/// A stream that this node serves for another node's client.
#[derive(Debug)]
pub(crate) struct Lending {
    to: NodeId,
    name: u64,
    /// The number of the last thing that the client has said.
    heard: u64,
    /// Numbers the events.
    sent: u64,
    marked: Instant,
}

impl Node {
    /// A client opens a stream: on a replica of this node, or at a node that has one. Where there is none, the watches that it
    /// asks for are refused.
    pub(crate) fn open_stream(
        &mut self,
        now: Instant,
        stream: StreamId,
        target: &Target,
        require_leader: bool,
        out: &mut Effects,
    ) {
        let homeless = match (self.locate_whole(target), target) {
            (Ok(group), _) => return self.bind_stream(now, stream, group, require_leader, out),
            (Err(ErrorKind::CrossShard(_)), Target::Table(table)) => {
                Homeless::Unbound { table: table.clone(), require_leader }
            }
            (Err(error), _) => Homeless::Refused(error),
        };
        self.homeless.insert(stream, homeless);
    }

    fn bind_stream(&mut self, now: Instant, stream: StreamId, group: GroupId, require_leader: bool, out: &mut Effects) {
        if self.serves(group) {
            self.streams.insert(stream, group);
            self.with(now, group, out, |group, cx| group.open_stream(cx, stream, require_leader));
        } else if !self.follow(now, stream, group, require_leader) {
            self.homeless.insert(stream, Homeless::Refused(ErrorKind::ShardUnavailable));
        }
    }

    /// The client says something on a stream of this node, or on one that has no replica.
    pub(crate) fn watch(&mut self, now: Instant, stream: StreamId, command: WatchCommand, out: &mut Effects) {
        let refused = match self.homeless.get(&stream).cloned() {
            None => match self.strays(stream, &command) {
                false => {
                    return self.with_stream(now, stream, out, |group, cx| group.watch_command(cx, stream, command));
                }
                true => cross_shard_watch(),
            },
            Some(Homeless::Refused(error)) => error,
            Some(Homeless::Unbound { table, require_leader }) => {
                let WatchCommand::Create(create) = &command else { return };
                match self.locate_watch(&table, &create.keys) {
                    Ok(group) => {
                        self.homeless.remove(&stream);
                        self.bind_stream(now, stream, group, require_leader, out);
                        return if self.is_followed(stream) {
                            self.say(stream, command);
                        } else {
                            self.watch(now, stream, command, out);
                        };
                    }
                    Err(error) => error,
                }
            }
        };
        if let WatchCommand::Create(_) = command {
            let reason = CancelReason::Refused(refused);
            out.watch.push((stream, WatchEvent::Canceled { id: WatchId(-1), revision: Revision(0), reason }));
        }
    }

    /// Whether a watch is of keys that another shard has than the one to which its stream belongs.
    pub(crate) fn strays(&self, stream: StreamId, command: &WatchCommand) -> bool {
        let WatchCommand::Create(create) = command else { return false };
        let bound = self.streams.get(&stream).copied();
        let followed = || self.router.following.get(&stream).map(|following| following.group);
        let Some(shard) = bound.or_else(followed).and_then(|group| self.control.view.shard(group)) else {
            return false;
        };
        let (group, table) = (shard.spec.group, &shard.spec.table);
        TableName::new(table).is_ok_and(|table| self.locate_watch(&table, &create.keys) != Ok(group))
    }

    /// Opens a stream at a node that has a replica. `false` if none is known.
    fn follow(&mut self, now: Instant, stream: StreamId, group: GroupId, require_leader: bool) -> bool {
        let Some(from) = self.replica_for(now, group, &[]) else { return false };
        let watches = BTreeSet::new();
        let following = Following { from, group, said: 0, seen: 0, heard: now, watches, revision: Revision::FIRST };
        self.router.following.insert(stream, following);
        self.shared.metrics.routed += 1;
        let open = StreamMessage::Open { group, require_leader };
        self.shared.peers.send(from, &Message::Stream { name: stream.get(), message: open });
        true
    }

    /// Whether another node serves the stream.
    pub(crate) fn is_followed(&self, stream: StreamId) -> bool {
        self.router.following.contains_key(&stream)
    }

    /// The client says something on a stream that another node serves.
    pub(crate) fn say(&mut self, stream: StreamId, command: WatchCommand) {
        let Some(following) = self.router.following.get_mut(&stream) else { return };
        following.said += 1;
        let message = StreamMessage::Command { number: following.said, command };
        self.shared.peers.send(following.from, &Message::Stream { name: stream.get(), message });
    }

    /// The client has taken bytes off such a stream.
    pub(crate) fn say_drained(&mut self, stream: StreamId, bytes: usize) {
        let Some(following) = self.router.following.get(&stream) else { return };
        let message = StreamMessage::Drained { bytes: bytes as u64 };
        self.shared.peers.send(following.from, &Message::Stream { name: stream.get(), message });
    }

    /// The client has closed such a stream.
    pub(crate) fn unfollow(&mut self, stream: StreamId) {
        let Some(following) = self.router.following.remove(&stream) else { return };
        let message = StreamMessage::Close;
        self.shared.peers.send(following.from, &Message::Stream { name: stream.get(), message });
    }

    /// Something about a stream has come from another node.
    pub(crate) fn stream_message(
        &mut self,
        now: Instant,
        peer: NodeId,
        name: u64,
        message: StreamMessage,
        out: &mut Effects,
    ) {
        match message {
            StreamMessage::Open { group, require_leader } => self.lend(now, peer, name, group, require_leader, out),
            StreamMessage::Command { number, command } => self.told_lent(now, peer, name, number, command, out),
            StreamMessage::Drained { bytes } => {
                if let Some(stream) = self.lent_stream(peer, name) {
                    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                    self.with_stream(now, stream, out, |group, cx| group.drained(cx, stream, bytes));
                }
            }
            StreamMessage::Close => self.take_back(now, peer, name, out),
            StreamMessage::Event { number, event } => self.followed(now, peer, StreamId(name), number, event, out),
            StreamMessage::Mark { number } => self.marked(now, peer, StreamId(name), number, out),
            StreamMessage::Ended => self.lose(StreamId(name), peer, "the node that served it has ended it", out),
        }
    }

    fn lent_stream(&self, peer: NodeId, name: u64) -> Option<StreamId> {
        self.router.lent_streams.get(&(peer, name)).copied()
    }

    /// Serves a stream for another node's client.
    fn lend(&mut self, now: Instant, to: NodeId, name: u64, group: GroupId, require_leader: bool, out: &mut Effects) {
        if !self.serves(group) || self.lent_stream(to, name).is_some() {
            return self.shared.peers.send(to, &Message::Stream { name, message: StreamMessage::Ended });
        }
        let stream = StreamId(self.router.lent_name());
        self.router.lending.insert(stream, Lending { to, name, heard: 0, sent: 0, marked: now });
        self.router.lent_streams.insert((to, name), stream);
        self.streams.insert(stream, group);
        self.with(now, group, out, |group, cx| group.open_stream(cx, stream, require_leader));
    }

    fn told_lent(
        &mut self,
        now: Instant,
        peer: NodeId,
        name: u64,
        number: u64,
        command: WatchCommand,
        out: &mut Effects,
    ) {
        let Some(stream) = self.lent_stream(peer, name) else {
            return self.shared.peers.send(peer, &Message::Stream { name, message: StreamMessage::Ended });
        };
        let Some(lending) = self.router.lending.get_mut(&stream) else { return };
        lending.heard += 1;
        if number != lending.heard {
            // Something that the client said is lost, and nobody would say it again.
            self.take_back(now, peer, name, out);
            return self.shared.peers.send(peer, &Message::Stream { name, message: StreamMessage::Ended });
        }
        self.with_stream(now, stream, out, |group, cx| group.watch_command(cx, stream, command));
    }

    /// The origin wants the stream no longer, or is gone.
    fn take_back(&mut self, now: Instant, peer: NodeId, name: u64, out: &mut Effects) {
        let Some(stream) = self.router.lent_streams.remove(&(peer, name)) else { return };
        self.router.lending.remove(&stream);
        self.with_stream(now, stream, out, |group, cx| group.close_stream(cx, stream));
        self.streams.remove(&stream);
    }

    /// Events that belong to other nodes' clients leave for them.
    pub(crate) fn return_events(&mut self, out: &mut Effects) {
        if self.router.lending.is_empty() {
            return;
        }
        let lending = &mut self.router.lending;
        for (stream, event) in out.watch.extract_if(.., |(stream, _)| super::is_lent(stream.get())) {
            let Some(lending) = lending.get_mut(&stream) else { continue };
            lending.sent += 1;
            let message = StreamMessage::Event { number: lending.sent, event };
            self.shared.peers.send(lending.to, &Message::Stream { name: lending.name, message });
        }
    }

    /// An event of a stream that another node serves.
    fn followed(
        &mut self,
        now: Instant,
        peer: NodeId,
        stream: StreamId,
        number: u64,
        event: WatchEvent,
        out: &mut Effects,
    ) {
        let Some(following) = self.router.following.get_mut(&stream).filter(|following| following.from == peer) else {
            return;
        };
        if number != following.seen + 1 {
            return self.lose(stream, peer, "an event was lost on its way", out);
        }
        following.seen = number;
        following.heard = now;
        match &event {
            WatchEvent::Created { id, revision } => {
                following.watches.insert(*id);
                following.revision = *revision;
            }
            WatchEvent::Canceled { id, revision, .. } => {
                following.watches.remove(id);
                following.revision = *revision;
            }
            WatchEvent::Events { revision, .. } | WatchEvent::Progress { revision, .. } => {
                following.revision = *revision;
            }
        }
        out.watch.push((stream, event));
    }

    /// The serving node says how far a stream is.
    fn marked(&mut self, now: Instant, peer: NodeId, stream: StreamId, number: u64, out: &mut Effects) {
        let Some(following) = self.router.following.get_mut(&stream).filter(|following| following.from == peer) else {
            let message = StreamMessage::Close;
            return self.shared.peers.send(peer, &Message::Stream { name: stream.get(), message });
        };
        following.heard = now;
        if number != following.seen {
            self.lose(stream, peer, "an event was lost on its way", out);
        }
    }

    /// The watches of a stream end: its client goes on from where they are.
    fn lose(&mut self, stream: StreamId, peer: NodeId, why: &str, out: &mut Effects) {
        if self.router.following.get(&stream).is_none_or(|following| following.from != peer) {
            return;
        }
        let Some(following) = self.router.following.remove(&stream) else { return };
        let revision = following.revision;
        let reason = CancelReason::Gone(why.to_owned());
        // A stream whose first words were lost has no watches yet, and is told all the same.
        let none = following.watches.is_empty().then_some(WatchId(-1));
        for id in following.watches.into_iter().chain(none) {
            out.watch.push((stream, WatchEvent::Canceled { id, revision, reason: reason.clone() }));
        }
    }

    /// Says how far lent streams are, and gives up those that are followed and silent.
    pub(crate) fn tick_streams(&mut self, now: Instant, out: &mut Effects) {
        for lending in self.router.lending.values_mut() {
            if now.since(lending.marked) >= MARK_EVERY {
                lending.marked = now;
                let message = StreamMessage::Mark { number: lending.sent };
                self.shared.peers.send(lending.to, &Message::Stream { name: lending.name, message });
            }
        }
        let silent = self.router.following.iter().filter(|(_, following)| now.since(following.heard) >= MARK_WITHIN);
        let silent: Vec<_> = silent.map(|(stream, following)| (*stream, following.from)).collect();
        for (stream, from) in silent {
            self.lose(stream, from, "the node that served it is silent", out);
        }
    }

    /// The connection to a peer broke.
    pub(crate) fn streams_lost(&mut self, now: Instant, peer: NodeId, out: &mut Effects) {
        let followed = self.router.following.iter().filter(|(_, following)| following.from == peer);
        let followed: Vec<_> = followed.map(|(stream, _)| *stream).collect();
        for stream in followed {
            self.lose(stream, peer, "the node that served it is gone", out);
        }
        let lent: Vec<_> = self.router.lent_streams.range((peer, 0)..=(peer, u64::MAX)).map(|(key, _)| key.1).collect();
        for name in lent {
            self.take_back(now, peer, name, out);
        }
    }

    /// The replica that served these streams goes away: their origins are told.
    pub(crate) fn end_lent(&mut self, group: GroupId) {
        let streams = &self.streams;
        let ended = |stream: &StreamId| streams.get(stream) == Some(&group);
        for (_, Lending { to, name, .. }) in self.router.lending.extract_if(.., |stream, _| ended(stream)) {
            self.router.lent_streams.remove(&(to, name));
            self.shared.peers.send(to, &Message::Stream { name, message: StreamMessage::Ended });
        }
    }
}
