//! Events in words, for those who read a trace.

use althing_node::envelope::{Message, open_frame};
use bytes::Bytes;

use super::Event;

/// What an event says that its kind does not; empty if nothing.
pub(super) fn event(event: &Event) -> String {
    match event {
        Event::Frame { bytes, .. } => frame(bytes),
        Event::Process { .. } | Event::Patience { .. } | Event::Start(_) => String::new(),
        Event::Arrival { what, .. } => format!("{what:?}"),
        Event::News { news, .. } => format!("{news:?}"),
        Event::Fault(_) | Event::Scene(_) | Event::Episode(_) | Event::Phase(_) | Event::Note(_) => {
            format!("{event:?}")
        }
    }
}

/// What a frame says: the kinds of its messages, and the terms and pages that matter most.
fn frame(bytes: &Bytes) -> String {
    let Ok((header, mut reader)) = open_frame(bytes.clone()) else { return "damaged".to_owned() };
    let mut words = vec![format!("#{}.{}", header.incarnation, header.sequence)];
    while reader.remaining() > 0 {
        let Ok(message) = Message::decode(&mut reader) else {
            words.push("damaged".to_owned());
            break;
        };
        words.push(word(&message));
    }
    words.join(" ")
}

fn word(message: &Message) -> String {
    match message {
        Message::Raft(group, message) => format!("g{group} {message:?}"),
        Message::Forward(forward) => format!("Forward(term {}, {})", forward.term, forward.ticket),
        Message::Refused { term, ticket, error, .. } => format!("Refused(term {term}, {ticket}, {error})"),
        Message::Ask { ticket, question, .. } => format!("Ask({ticket}, {question:?})"),
        Message::Told { ticket, result, .. } => format!("Told({ticket}, {result:?})"),
        Message::Page(page) => format!("Page({} of {:x}, {:?})", page.number, page.transfer, page.last),
        Message::PageAck { transfer, pages, state, .. } => format!("PageAck({pages} of {transfer:x}, {state:?})"),
        Message::Route(route) => format!("Route({:x}, group {}, epoch {})", route.name, route.group, route.epoch),
        Message::Routed { name, result } => format!("Routed({name:x}, {} bytes)", result.len()),
        Message::WrongShard { group, name, .. } => format!("WrongShard({name:x}, group {group})"),
        Message::Stream { name, message } => format!("Stream({name:x}, {message:?})"),
        Message::MapWant { have } => format!("MapWant({have})"),
        Message::MapUpdate(update) => format!("MapUpdate({} bytes)", update.len()),
        Message::Report(report) => format!("Report({} bytes)", report.len()),
        Message::Mail(bytes) => format!("Mail({} bytes)", bytes.len()),
        Message::Keyed(group, message) => format!("g{group} {message:?}"),
    }
}
