//! A message as a line for people: logs, golden scripts, traces that are compared.

use std::fmt;

use raft::eraftpb;

use crate::hibernation::Signal;
use crate::message::{Body, Message, MessageKind};
use crate::types::{Entry, EntryKind};

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        write!(f, "{}→{} {kind:?}", self.from, self.to)?;
        if kind != MessageKind::ReadIndex {
            write!(f, " term={}", self.term())?;
        }
        match &self.body {
            Body::Raft(message) => write_raft(kind, message, f),
            Body::Signal(Signal::Hibernate { commit, .. } | Signal::Hibernating { commit, .. }) => {
                write!(f, " commit={commit}")
            }
            Body::Signal(Signal::Awaken { .. }) => Ok(()),
        }
    }
}

fn write_raft(kind: MessageKind, message: &eraftpb::Message, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match kind {
        MessageKind::Append => {
            write!(f, " prev={}@{} commit={}", message.index, message.log_term, message.commit)?;
            message.entries.iter().try_for_each(|entry| write!(f, " {}", Entry::from_raft(entry)))
        }
        MessageKind::AppendResponse if message.reject => {
            write!(f, " reject={} hint={}@{}", message.index, message.reject_hint, message.log_term)
        }
        MessageKind::AppendResponse => write!(f, " match={}", message.index),
        MessageKind::RequestVote | MessageKind::RequestPreVote => {
            let reason = if message.context.is_empty() { "" } else { " transfer" };
            write!(f, " last={}@{}{reason}", message.index, message.log_term)
        }
        MessageKind::RequestVoteResponse | MessageKind::RequestPreVoteResponse => {
            f.write_str(if message.reject { " refused" } else { " granted" })
        }
        MessageKind::Heartbeat | MessageKind::HeartbeatResponse => {
            write!(f, " commit={}", message.commit)?;
            write_context(&message.context, f)
        }
        MessageKind::ReadIndex => write_context(&message.entries[0].data, f),
        MessageKind::ReadIndexResponse => {
            write!(f, " index={}", message.index)?;
            write_context(&message.entries[0].data, f)
        }
        MessageKind::TimeoutNow | MessageKind::Hibernate | MessageKind::Hibernating | MessageKind::Awaken => Ok(()),
    }
}

fn write_context(context: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (context.first_chunk::<8>(), context.last_chunk::<8>()) {
        (Some(node), Some(read)) => write!(f, " read={:x}/{}", u64::from_le_bytes(*node), u64::from_le_bytes(*read)),
        _ => Ok(()),
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            EntryKind::Normal => "",
            EntryKind::ConfChange => "!",
        };
        write!(f, "{}@{}{kind}", self.index, self.term)
    }
}
