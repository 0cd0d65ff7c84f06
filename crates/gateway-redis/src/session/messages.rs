//! `SUBSCRIBE`, `PUBLISH` and their kin.

use bytes::Bytes;

use super::Session;
use crate::command::{Answer, Answering};
use crate::hub::{Delivery, Listening, MAX_SUBSCRIPTIONS, Message};
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::wire::Value;

/// The words that answers and messages of a kind begin with.
const fn verbs(listening: Listening) -> (&'static str, &'static str, &'static str) {
    match listening {
        Listening::Channel => ("subscribe", "unsubscribe", "message"),
        Listening::Pattern => ("psubscribe", "punsubscribe", "pmessage"),
        Listening::Shard => ("ssubscribe", "sunsubscribe", "smessage"),
    }
}

/// `SUBSCRIBE channel...`
pub fn subscribe(session: &mut Session, words: &[Bytes]) -> Answer {
    session.subscribe(Listening::Channel, &words[1..])
}

/// `PSUBSCRIBE pattern...`
pub fn psubscribe(session: &mut Session, words: &[Bytes]) -> Answer {
    session.subscribe(Listening::Pattern, &words[1..])
}

/// `SSUBSCRIBE channel...`
pub fn ssubscribe(session: &mut Session, words: &[Bytes]) -> Answer {
    session.subscribe(Listening::Shard, &words[1..])
}

/// `UNSUBSCRIBE [channel...]`
pub fn unsubscribe(session: &mut Session, words: &[Bytes]) -> Answer {
    session.unsubscribe(Listening::Channel, &words[1..])
}

/// `PUNSUBSCRIBE [pattern...]`
pub fn punsubscribe(session: &mut Session, words: &[Bytes]) -> Answer {
    session.unsubscribe(Listening::Pattern, &words[1..])
}

/// `SUNSUBSCRIBE [channel...]`
pub fn sunsubscribe(session: &mut Session, words: &[Bytes]) -> Answer {
    session.unsubscribe(Listening::Shard, &words[1..])
}

impl Session {
    /// How many the answer counts: those of shards for themselves.
    fn heard_with(&self, listening: Listening) -> usize {
        match listening {
            Listening::Channel | Listening::Pattern => {
                self.heard.count(Listening::Channel) + self.heard.count(Listening::Pattern)
            }
            Listening::Shard => self.heard.count(Listening::Shard),
        }
    }

    fn subscribe(&mut self, listening: Listening, names: &[Bytes]) -> Answer {
        if self.heard.len() + names.len() > MAX_SUBSCRIPTIONS {
            return Err(Refusal::new(format!(
                "ERR a connection may listen to {MAX_SUBSCRIPTIONS} channels and patterns"
            )));
        }
        let mut count = self.heard_with(listening);
        let mut answers = Vec::with_capacity(names.len());
        for name in names {
            if self.heard.add(listening, name) {
                self.shared().hub.subscribe(self.client.id, listening, name, &self.postbox);
                count += 1;
            }
            answers.push(confirmation(verbs(listening).0, Value::Bulk(name.clone()), count));
        }
        self.note_heard();
        Ok(Value::Several(answers))
    }

    fn unsubscribe(&mut self, listening: Listening, names: &[Bytes]) -> Answer {
        let all = if names.is_empty() { self.heard.of(listening) } else { names.to_vec() };
        let mut count = self.heard_with(listening);
        let verb = verbs(listening).1;
        if all.is_empty() {
            return Ok(confirmation(verb, Value::Nil, count));
        }
        let mut answers = Vec::with_capacity(all.len());
        for name in all {
            if self.heard.remove(listening, &name) {
                self.shared().hub.unsubscribe(self.client.id, listening, &name);
                count -= 1;
            }
            answers.push(confirmation(verb, Value::Bulk(name), count));
        }
        self.note_heard();
        Ok(Value::Several(answers))
    }

    /// A message as connections hear it.
    #[must_use]
    pub fn said(delivery: Delivery) -> Value {
        let Delivery { message: Message { kind, channel, payload }, pattern } = delivery;
        let (channel, payload) = (Value::Bulk(channel), Value::Bulk(payload));
        match pattern {
            Some(pattern) => {
                let verb = Value::word(verbs(Listening::Pattern).2);
                Value::Push(vec![verb, Value::Bulk(pattern), channel, payload])
            }
            None => Value::Push(vec![Value::word(verbs(kind).2), channel, payload]),
        }
    }
}

fn confirmation(verb: &'static str, name: Value, count: usize) -> Value {
    Value::Push(vec![Value::word(verb), name, Value::count(count)])
}

fn publish_as(kind: Listening, space: &Keyspace, words: &[Bytes]) -> Answer {
    if words[1].len() + words[2].len() > Message::MAX_BYTES {
        return Err(Refusal::new(format!(
            "ERR a channel and a message may have {} bytes together",
            Message::MAX_BYTES
        )));
    }
    let message = Message { kind, channel: words[1].clone(), payload: words[2].clone() };
    Ok(Value::count(space.shared().hub.publish(&message)))
}

/// `PUBLISH channel message`
pub fn publish<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move { publish_as(Listening::Channel, space, words) })
}

/// `SPUBLISH channel message`
pub fn spublish<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move { publish_as(Listening::Shard, space, words) })
}

fn channels_of(session: &Session, listening: Listening, words: &[Bytes]) -> Answer {
    let pattern = words.get(2).map(|pattern| &pattern[..]);
    Ok(Value::bulks(session.shared().hub.names(listening, pattern)))
}

/// `PUBSUB CHANNELS [pattern]`
pub fn channels(session: &mut Session, words: &[Bytes]) -> Answer {
    channels_of(session, Listening::Channel, words)
}

/// `PUBSUB SHARDCHANNELS [pattern]`
pub fn shardchannels(session: &mut Session, words: &[Bytes]) -> Answer {
    channels_of(session, Listening::Shard, words)
}

fn numsub_of(session: &Session, listening: Listening, words: &[Bytes]) -> Answer {
    let hub = &session.shared().hub;
    let pair = |name: &Bytes| [Value::Bulk(name.clone()), Value::count(hub.listeners(listening, name))];
    Ok(Value::Array(words[2..].iter().flat_map(pair).collect()))
}

/// `PUBSUB NUMSUB [channel...]`
pub fn numsub(session: &mut Session, words: &[Bytes]) -> Answer {
    numsub_of(session, Listening::Channel, words)
}

/// `PUBSUB SHARDNUMSUB [channel...]`
pub fn shardnumsub(session: &mut Session, words: &[Bytes]) -> Answer {
    numsub_of(session, Listening::Shard, words)
}

/// `PUBSUB NUMPAT`
pub fn numpat(session: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::count(session.shared().hub.names(Listening::Pattern, None).len()))
}
