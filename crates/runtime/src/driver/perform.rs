//! Carrying out what a turn wants, in the order that the node asks for.

use std::sync::atomic::Ordering;

use althing_api::cluster::Member;
use althing_node::{Effects, Membership};

use super::{Driver, Waiting};
use crate::admission::Ended;
use crate::threads::applier::Task;
use crate::threads::log::Order;
use crate::transport::address::Address;

/// Whether there is another turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    Turn,
    End,
}

impl Driver {
    /// Does what the turn wants and leaves `out` empty.
    pub(super) fn perform(&mut self, out: &mut Effects) -> Next {
        if let Some(membership) = out.members.take() {
            self.connect(membership);
        }
        for (to, frame) in out.frames.drain(..) {
            self.transport.send(to, frame);
        }
        if let Some(batch) = out.wal.take() {
            self.ports.log.push(Order::Append(batch));
        }
        if !out.wal_release.is_empty() {
            self.ports.log.push(Order::Release(std::mem::take(&mut out.wal_release)));
        }
        if !out.work.is_empty() {
            self.ports.applier.push(Task::Work(std::mem::take(&mut out.work)));
        }
        if std::mem::take(&mut out.checkpoint) {
            self.ports.applier.push(Task::Checkpoint);
        }
        self.ports.reader.extend(out.reads.drain(..));
        self.respond(out);
        if std::mem::take(&mut out.stopped) { Next::End } else { Next::Turn }
    }

    fn respond(&mut self, out: &mut Effects) {
        let (pending, shared) = (&mut self.pending, &self.shared);
        let leaving = out.responses.drain(..).filter_map(|(id, result)| {
            let Waiting { sender, place } = pending.remove(&id)?;
            shared.pending.fetch_sub(1, Ordering::Relaxed);
            let ended = if result.is_ok() { Ended::Done } else { Ended::Otherwise };
            // A caller that has gone away needs no answer.
            let _ = sender.send(result);
            Some((place, ended))
        });
        shared.doors.leave(leaving);
        for (from, bytes) in out.mail.drain(..) {
            shared.mail.deliver(from, bytes);
        }
        for (stream, event) in out.watch.drain(..) {
            if let Some(feed) = self.watches.get(&stream) {
                feed.push(event);
            }
        }
        for (stream, chunk) in out.snapshot.drain(..) {
            let Some(feed) = self.downloads.get(&stream) else { continue };
            match chunk {
                Some(Ok(chunk)) => feed.push(Ok(chunk)),
                Some(Err(error)) => {
                    feed.push(Err(error));
                    feed.end();
                }
                None => feed.end(),
            }
        }
    }

    /// Calls the members at the addresses that they gave, and at those that the configuration knows.
    pub(crate) fn connect(&mut self, Membership { members, removed }: Membership) {
        let addresses = |member: &Member| {
            let mut found = self.hints.get(&member.id).cloned().unwrap_or_default();
            for url in &member.peer_urls {
                match url.parse::<Address>() {
                    Ok(address) if !found.contains(&address) => found.push(address),
                    Ok(_) => {}
                    Err(error) => tracing::warn!(member = %member.id, "cannot call the member: {error}"),
                }
            }
            (member.id, found)
        };
        let wanted = members.iter().map(addresses).collect();
        self.transport.set_removed(removed);
        self.transport.set_peers(wanted);
    }

    /// Tells everybody who waits that nothing more will come.
    pub(crate) fn end(&mut self) {
        self.shared.inbox.close();
        self.shared.pace.open();
        self.pending.clear();
        for feed in self.watches.values() {
            feed.end();
        }
        for feed in self.downloads.values() {
            feed.end();
        }
    }
}
