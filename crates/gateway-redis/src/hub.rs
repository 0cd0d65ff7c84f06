//! Messages: who listens to which channel, and how a message gets there.
//!
//! A message is told to whoever listens at that moment, and to nobody else: it is not kept. Each connection has a box of bounded
//! size; one that does not empty it is closed, as Redis does by `client-output-buffer-limit pubsub`. What is published on
//! one node is handed to [`Spread`], by which the node carries it to the others, and comes in there by [`Hub::deliver`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use althing_codec::{DecodeError, Reader, Writer};
use althing_datatypes::glob;
use althing_types::limits::MAX_REQUEST_BYTES;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::counters::Counters;

/// Messages that wait for one connection.
pub const MAX_WAITING_MESSAGES: usize = 16_384;
/// Bytes of messages that wait for one connection: Redis's own limit.
pub const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;
/// Channels and patterns of one connection.
pub const MAX_SUBSCRIPTIONS: usize = 65_536;

/// How a connection listens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Listening {
    /// To one channel: `SUBSCRIBE`.
    Channel,
    /// To all channels that fit a pattern: `PSUBSCRIBE`.
    Pattern,
    /// To one channel of a shard: `SSUBSCRIBE`. A name of its own beside the other channels.
    Shard,
}

/// What is published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Whether the channel is one of a shard; never [`Listening::Pattern`].
    pub kind: Listening,
    /// The channel.
    pub channel: Bytes,
    /// What is said.
    pub payload: Bytes,
}

/// The version of a message's bytes.
const MESSAGE_VERSION: u8 = 1;

impl Message {
    /// Bytes of a channel's name and of what is said in it, together, that reach other nodes: as much as any request may have.
    pub const MAX_BYTES: usize = MAX_REQUEST_BYTES;

    /// The bytes in which it travels to other nodes: `version u8 = 1 | kind u8 (0 channel, 1 shard) | channel | payload`.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::with_capacity(self.channel.len() + self.payload.len() + 8);
        writer.u8(MESSAGE_VERSION);
        writer.u8(match self.kind {
            Listening::Channel | Listening::Pattern => 0,
            Listening::Shard => 1,
        });
        writer.bytes(&self.channel);
        writer.bytes(&self.payload);
        writer.finish()
    }

    /// Reads what another node has sent.
    ///
    /// # Errors
    /// If it is no message.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8("a message's version")?;
        if version != MESSAGE_VERSION {
            let (found, known) = (u64::from(version), u64::from(MESSAGE_VERSION));
            return Err(DecodeError::Version { what: "a message", found, known });
        }
        let kind = match reader.u8("a message's kind")? {
            0 => Listening::Channel,
            1 => Listening::Shard,
            value => return Err(DecodeError::Unknown { field: "a message's kind", value: u64::from(value) }),
        };
        let message = Self { kind, channel: reader.bytes("a channel")?, payload: reader.bytes("a message")? };
        reader.finish()?;
        Ok(message)
    }
}

/// A message as one connection gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// The pattern by which the connection listens, if it is by one.
    pub pattern: Option<Bytes>,
}

impl Delivery {
    fn bytes(&self) -> usize {
        self.message.channel.len() + self.message.payload.len() + size_of::<Self>()
    }
}

/// How a message comes to other nodes.
pub trait Spread: Send + Sync + 'static {
    /// Takes a message to the others, as well as it can: a message is told at most once, and never kept.
    fn spread(&self, message: &Message);
}

/// A node without others.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Spread for Alone {
    fn spread(&self, _: &Message) {}
}

/// The sending end of a connection's box.
#[derive(Clone, Debug)]
pub struct Postbox {
    sender: mpsc::Sender<Delivery>,
    waiting: Arc<AtomicUsize>,
    full: Arc<tokio::sync::Notify>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Inbox {
    receiver: mpsc::Receiver<Delivery>,
    waiting: Arc<AtomicUsize>,
    full: Arc<tokio::sync::Notify>,
}

/// What comes of waiting at an inbox.
#[derive(Debug)]
pub enum Post {
    /// A message.
    Delivery(Delivery),
    /// So much waited that something was lost: the connection must end.
    Overflow,
}

/// A box for one connection.
#[must_use]
pub fn postbox() -> (Postbox, Inbox) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING_MESSAGES);
    let (waiting, full) = (Arc::<AtomicUsize>::default(), Arc::<tokio::sync::Notify>::default());
    let postbox = Postbox { sender, waiting: Arc::clone(&waiting), full: Arc::clone(&full) };
    (postbox, Inbox { receiver, waiting, full })
}

impl Postbox {
    fn post(&self, delivery: Delivery) {
        let bytes = delivery.bytes();
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if waiting > MAX_WAITING_BYTES || self.sender.try_send(delivery).is_err() {
            self.full.notify_one();
        }
    }
}

impl Inbox {
    /// The next message. May be dropped and called again.
    pub async fn next(&mut self) -> Post {
        tokio::select! {
            biased;
            () = self.full.notified() => Post::Overflow,
            delivery = self.receiver.recv() => match delivery {
                Some(delivery) => {
                    self.waiting.fetch_sub(delivery.bytes(), Ordering::Relaxed);
                    Post::Delivery(delivery)
                }
                // The hub forgets a connection only when that has ended.
                None => Post::Overflow,
            },
        }
    }

    /// A message that is there already.
    pub fn ready(&mut self) -> Option<Delivery> {
        let delivery = self.receiver.try_recv().ok()?;
        self.waiting.fetch_sub(delivery.bytes(), Ordering::Relaxed);
        Some(delivery)
    }
}

/// One connection's name in the hub.
pub type ClientId = u64;

type Listeners = BTreeMap<Bytes, BTreeMap<ClientId, Postbox>>;

#[derive(Default)]
struct Subscriptions {
    channels: Listeners,
    patterns: Listeners,
    shards: Listeners,
}

impl Subscriptions {
    fn of(&mut self, listening: Listening) -> &mut Listeners {
        match listening {
            Listening::Channel => &mut self.channels,
            Listening::Pattern => &mut self.patterns,
            Listening::Shard => &mut self.shards,
        }
    }
}

/// The channels of one node.
pub struct Hub {
    subscriptions: Mutex<Subscriptions>,
    spread: Box<dyn Spread>,
    counters: Arc<Counters>,
}

impl Hub {
    /// Nobody listens yet.
    #[must_use]
    pub fn new(spread: Box<dyn Spread>, counters: Arc<Counters>) -> Self {
        Self { subscriptions: Mutex::default(), spread, counters }
    }

    fn lock(&self) -> MutexGuard<'_, Subscriptions> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `client` listens.
    pub fn subscribe(&self, client: ClientId, listening: Listening, name: &Bytes, postbox: &Postbox) {
        self.lock().of(listening).entry(name.clone()).or_default().insert(client, postbox.clone());
    }

    /// `client` listens no more.
    pub fn unsubscribe(&self, client: ClientId, listening: Listening, name: &Bytes) {
        let mut subscriptions = self.lock();
        let listeners = subscriptions.of(listening);
        if let Some(boxes) = listeners.get_mut(name) {
            boxes.remove(&client);
            if boxes.is_empty() {
                listeners.remove(name);
            }
        }
    }

    /// Publishes a message here and elsewhere; how many connections of this node got it.
    pub fn publish(&self, message: &Message) -> usize {
        Counters::add(&self.counters.published, 1);
        self.spread.spread(message);
        self.deliver(message)
    }

    /// A message that was published on another node; how many connections of this one got it.
    pub fn deliver(&self, message: &Message) -> usize {
        let mut subscriptions = self.lock();
        let mut count = 0;
        let mut post = |boxes: &BTreeMap<ClientId, Postbox>, pattern: Option<&Bytes>| {
            for postbox in boxes.values() {
                postbox.post(Delivery { message: message.clone(), pattern: pattern.cloned() });
                count += 1;
            }
        };
        if let Some(boxes) = subscriptions.of(message.kind).get(&message.channel) {
            post(boxes, None);
        }
        if message.kind == Listening::Channel {
            let fit = subscriptions.patterns.iter().filter(|(pattern, _)| glob::matches(pattern, &message.channel));
            fit.for_each(|(pattern, boxes)| post(boxes, Some(pattern)));
        }
        Counters::add(&self.counters.delivered, count);
        count
    }

    /// The names that somebody listens to by name, and that fit a pattern if one is given.
    #[must_use]
    pub fn names(&self, listening: Listening, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let mut subscriptions = self.lock();
        let names = subscriptions.of(listening).keys();
        names.filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name))).cloned().collect()
    }

    /// How many connections listen to this.
    #[must_use]
    pub fn listeners(&self, listening: Listening, name: &[u8]) -> usize {
        self.lock().of(listening).get(name).map_or(0, BTreeMap::len)
    }
}

/// What one connection listens to.
#[derive(Debug, Default)]
pub struct Heard(BTreeSet<(Listening, Bytes)>);

impl Heard {
    /// Adds one; false if it was there.
    pub fn add(&mut self, listening: Listening, name: &Bytes) -> bool {
        self.0.insert((listening, name.clone()))
    }

    /// Removes one; false if it was not there.
    pub fn remove(&mut self, listening: Listening, name: &Bytes) -> bool {
        self.0.remove(&(listening, name.clone()))
    }

    /// All of a kind.
    #[must_use]
    pub fn of(&self, listening: Listening) -> Vec<Bytes> {
        let from = Bound::Included((listening, Bytes::new()));
        let range = self.0.range((from, Bound::Unbounded)).take_while(|(kind, _)| *kind == listening);
        range.map(|(_, name)| name.clone()).collect()
    }

    /// How many of a kind.
    #[must_use]
    pub fn count(&self, listening: Listening) -> usize {
        self.0.iter().filter(|(kind, _)| *kind == listening).count()
    }

    /// How many of all kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it listens to nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that it listened to; nothing afterwards.
    pub fn take(&mut self) -> BTreeSet<(Listening, Bytes)> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(channel: &'static str) -> Message {
        let (channel, payload) = (Bytes::from_static(channel.as_bytes()), Bytes::from_static(b"hi"));
        Message { kind: Listening::Channel, channel, payload }
    }

    #[test]
    fn a_message_comes_by_channel_and_by_pattern_to_who_listens_then() {
        let (hub, (postbox, mut inbox)) = (Hub::new(Box::new(Alone), Arc::default()), postbox());
        hub.subscribe(1, Listening::Channel, &Bytes::from_static(b"news"), &postbox);
        hub.subscribe(1, Listening::Pattern, &Bytes::from_static(b"n*"), &postbox);
        hub.subscribe(1, Listening::Shard, &Bytes::from_static(b"news"), &postbox);
        assert_eq!(hub.publish(&message("news")), 2);
        assert_eq!(inbox.ready().unwrap().pattern, None);
        assert_eq!(inbox.ready().unwrap().pattern, Some(Bytes::from_static(b"n*")));
        hub.unsubscribe(1, Listening::Channel, &Bytes::from_static(b"news"));
        hub.unsubscribe(1, Listening::Pattern, &Bytes::from_static(b"n*"));
        assert_eq!(hub.publish(&message("news")), 0);
        assert!(inbox.ready().is_none());
        assert!(hub.names(Listening::Channel, None).is_empty());
    }

    #[test]
    fn a_message_is_read_on_another_node_as_it_was_said() {
        for kind in [Listening::Channel, Listening::Shard] {
            let message = Message { kind, ..message("news") };
            assert_eq!(Message::decode(message.encode()), Ok(message));
        }
        for bytes in [&b""[..], &[2, 0, 0, 0], &[1, 2, 0, 0], &[1, 0, 9, 1], &[1, 0, 0, 0, 0]] {
            assert!(Message::decode(Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_does_not_take_its_messages_is_told_to_end() {
        let (hub, (postbox, mut inbox)) = (Hub::new(Box::new(Alone), Arc::default()), postbox());
        hub.subscribe(1, Listening::Channel, &Bytes::from_static(b"c"), &postbox);
        for _ in 0..=MAX_WAITING_MESSAGES {
            hub.publish(&message("c"));
        }
        assert!(matches!(inbox.next().await, Post::Overflow));
    }

    #[test]
    fn what_a_connection_listens_to_is_kept_by_kind() {
        let mut heard = Heard::default();
        let name = Bytes::from_static(b"a");
        assert!(heard.add(Listening::Pattern, &name) && heard.add(Listening::Channel, &name));
        assert!(!heard.add(Listening::Channel, &name));
        assert_eq!((heard.count(Listening::Channel), heard.len()), (1, 2));
        assert_eq!(heard.of(Listening::Pattern), std::slice::from_ref(&name));
        assert!(heard.of(Listening::Shard).is_empty());
        assert!(heard.remove(Listening::Pattern, &name) && !heard.remove(Listening::Pattern, &name));
    }
}
