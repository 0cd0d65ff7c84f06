//! What every client needs that asks one thing after another.

use althing_api::request::Request;
use althing_types::{Instant, NodeId};

use super::{Ask, Context, Drive, Ticket};

/// One call at a time, to one node until there is trouble.
#[derive(Debug, Default)]
pub(super) struct Session {
    node: NodeId,
    ticket: Ticket,
    sent: Instant,
    drive: Drive,
}

impl Session {
    /// Sends a call, to the node of the last one if it is still trusted.
    pub(super) fn send(&mut self, request: Request, cx: &mut Context<'_>) {
        if self.node == NodeId::NONE {
            self.node = cx.any_node();
        }
        self.ticket = self.ticket.next();
        self.sent = cx.now;
        cx.call(self.ticket, self.node, request);
    }

    /// Whether an answer is that to the last call.
    pub(super) fn awaits(&self, ticket: Ticket) -> bool {
        ticket == self.ticket
    }

    /// When the last call was sent.
    pub(super) fn sent(&self) -> Instant {
        self.sent
    }

    /// After trouble: the next call goes to any node.
    pub(super) fn move_on(&mut self) {
        self.node = NodeId::NONE;
    }

    /// Nothing new from now on.
    pub(super) fn finish(&mut self) {
        self.drive = Drive::Finishing;
    }

    /// Whether new work may begin.
    pub(super) fn drive(&self) -> Drive {
        self.drive
    }

    /// Pauses at leisure.
    pub(super) fn rest(&self, cx: &mut Context<'_>) {
        let pause = cx.options.leisure.draw(cx.rng);
        cx.asks.push(Ask::Wake(pause));
    }
}
