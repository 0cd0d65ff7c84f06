//! Frames, calls and answers in as few words as tell them apart.

use althing_api::kv::{KeyRange, RangeEnd};
use althing_api::request::{Answer, Body, Request};
use althing_api::watch::WatchEvent;
use althing_api::{Call, Error};
use althing_node::envelope::{KeyedMessage, Message, open_frame};
use bytes::Bytes;

use crate::workload::News;
use crate::world::Arrival;

/// What a frame carries: the kinds of its messages, each once, in order.
pub fn label(frame: &Bytes) -> String {
    let Ok((_, mut reader)) = open_frame(frame.clone()) else { return "damaged".to_owned() };
    let mut words: Vec<String> = Vec::new();
    while reader.remaining() > 0 {
        let word = Message::decode(&mut reader).map_or_else(|_| "damaged".to_owned(), |message| message_word(&message));
        let is_damaged = word == "damaged";
        if !words.contains(&word) {
            words.push(word);
        }
        if is_damaged {
            break;
        }
    }
    if words.is_empty() { "hello".to_owned() } else { words.join("+") }
}

fn message_word(message: &Message) -> String {
    match message {
        Message::Raft(_, message) => raft_word(message),
        Message::Forward(_) => "forward".to_owned(),
        Message::Refused { .. } => "refused".to_owned(),
        Message::Ask { .. } => "ask".to_owned(),
        Message::Told { .. } => "told".to_owned(),
        Message::Page(page) => format!("page {}", page.number),
        Message::PageAck { pages, .. } => format!("page ok {pages}"),
        Message::Route(route) => format!("for group {}", route.group),
        Message::Routed { .. } => "done for you".to_owned(),
        Message::WrongShard { group, .. } => format!("not group {group}"),
        Message::Stream { .. } => "watching for you".to_owned(),
        Message::MapWant { have } => format!("map after {have}?"),
        Message::MapUpdate(_) => "map".to_owned(),
        Message::Report(_) => "report".to_owned(),
        Message::Mail(_) => "mail".to_owned(),
        Message::Keyed(group, message) => format!("g{group} {}", keyed_word(message)),
    }
}

fn keyed_word(message: &KeyedMessage) -> &'static str {
    match message {
        KeyedMessage::Delta { .. } => "delta",
        KeyedMessage::Taken { .. } => "taken",
        KeyedMessage::Refused { .. } => "no delta",
        KeyedMessage::Ask { .. } => "key?",
        KeyedMessage::State { .. } => "key",
        KeyedMessage::Attest { .. } => "known?",
        KeyedMessage::Attested { .. } => "known",
        KeyedMessage::Absent { .. } => "absent",
        KeyedMessage::Compare { .. } => "sums?",
        KeyedMessage::Differs { .. } => "sums differ",
        KeyedMessage::Want { .. } => "states?",
        KeyedMessage::States { .. } => "states",
        KeyedMessage::Filled { .. } => "filled",
        KeyedMessage::Round { .. } => "round?",
        KeyedMessage::Rounded { .. } => "round",
        KeyedMessage::Registers { .. } => "registers?",
        KeyedMessage::Copied { .. } => "registers",
    }
}

fn raft_word(message: &althing_consensus::Message) -> String {
    use althing_consensus::MessageKind::{
        Append, AppendResponse, Awaken, Heartbeat, HeartbeatResponse, Hibernate, Hibernating, ReadIndex,
        ReadIndexResponse, RequestPreVote, RequestPreVoteResponse, RequestVote, RequestVoteResponse, TimeoutNow,
    };
    let term = message.term();
    match message.kind() {
        Append if message.entry_bytes() == 0 => "commit".to_owned(),
        Append => "append".to_owned(),
        AppendResponse => "ack".to_owned(),
        RequestVote => format!("vote t{term}?"),
        RequestVoteResponse => format!("vote t{term}"),
        Heartbeat => "beat".to_owned(),
        HeartbeatResponse => "beat ok".to_owned(),
        TimeoutNow => "stand now".to_owned(),
        ReadIndex => "read?".to_owned(),
        ReadIndexResponse => "read ok".to_owned(),
        RequestPreVote => format!("prevote t{term}?"),
        RequestPreVoteResponse => format!("prevote t{term}"),
        Hibernate => "sleep?".to_owned(),
        Hibernating => "asleep".to_owned(),
        Awaken => "wake".to_owned(),
    }
}

/// What a client says to a node; `None` for what only keeps a stream going.
pub fn ask(what: &Arrival) -> Option<String> {
    match what {
        Arrival::Call(call) => Some(call_words(call)),
        Arrival::Cancel => Some("never mind".to_owned()),
        Arrival::Open(_) => Some("open a watch".to_owned()),
        Arrival::Close => Some("close the watch".to_owned()),
        Arrival::Say(_) | Arrival::Drained(_) => None,
    }
}

fn call_words(call: &Call) -> String {
    match &call.request {
        Request::Range(range) => format!("get {}", keys(&range.keys)),
        Request::Put(put) => format!("put {}", text(&put.key)),
        Request::DeleteRange(delete) => format!("delete {}", keys(&delete.keys)),
        // The name of a variant stands at the front of what it prints as.
        other => variant(&format!("{other:?}")),
    }
}

/// What reaches a client; `None` for what is no answer.
pub fn news(news: &News) -> Option<String> {
    match news {
        News::Wake => None,
        News::Answered { result: Ok(answer), .. } => Some(answer_words(answer)),
        News::Answered { result: Err(error), .. } => Some(error_words(error)),
        News::Streamed { event, .. } => match event {
            WatchEvent::Events { events, revision, .. } => Some(format!("{} events to rev {revision}", events.len())),
            WatchEvent::Canceled { revision, .. } => Some(format!("watch canceled at rev {revision}")),
            WatchEvent::Created { .. } | WatchEvent::Progress { .. } => None,
        },
        News::Broken { .. } => Some("the stream broke".to_owned()),
    }
}

fn answer_words(answer: &Answer) -> String {
    let revision = answer.header.revision;
    match &answer.body {
        Body::Range(range) => match &range.kvs[..] {
            [] => format!("nothing, at rev {revision}"),
            [kv] => format!("{} = {}, at rev {revision}", text(&kv.key), text(&kv.value)),
            many => format!("{} keys, at rev {revision}", many.len()),
        },
        Body::Put(_) => format!("put at rev {revision}"),
        Body::DeleteRange(_) => format!("deleted at rev {revision}"),
        other => format!("{} at rev {revision}", variant(&format!("{other:?}"))),
    }
}

fn error_words(error: &Error) -> String {
    format!("✗ {}", variant(&format!("{:?}", error.kind)))
}

fn variant(printed: &str) -> String {
    let end = printed.find(|character: char| !character.is_alphanumeric()).unwrap_or(printed.len());
    printed[..end].to_owned()
}

fn keys(range: &KeyRange) -> String {
    let start = text(&range.start);
    if range.end == RangeEnd::Single { start } else { format!("{start}…") }
}

/// Bytes as text if they are, else in hexadecimal, eight at the most.
fn text(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        Ok(_) | Err(_) => bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
    }
}
