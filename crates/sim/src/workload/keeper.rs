//! A client that looks after the store: it compacts now and then, so that everything else meets compaction at bad
//! moments.

use althing_api::request::Request;
use althing_types::{Duration, Revision};

use super::{Ask, Context, Drive, News, Ticket};
use crate::random::between;

/// Revisions that a compaction leaves at the least and at the most.
const KEPT: std::ops::Range<i64> = 0..400;

/// A client that compacts.
#[derive(Debug, Default)]
pub struct Keeper {
    ticket: Ticket,
    drive: Drive,
}

impl Keeper {
    pub(super) fn finish(&mut self) {
        self.drive = Drive::Finishing;
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.act(cx),
            News::Answered { ticket, .. } if ticket == self.ticket => self.sleep(cx),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn act(&mut self, cx: &mut Context<'_>) {
        if self.drive == Drive::Finishing {
            return;
        }
        let revision = Revision(cx.shared.revision.get() - cx.rng.i64(KEPT));
        if revision <= Revision::FIRST {
            return self.sleep(cx);
        }
        self.ticket = self.ticket.next();
        let node = cx.any_node();
        let physical = cx.rng.bool();
        cx.call(self.ticket, node, Request::Compact { revision, physical });
    }

    fn sleep(&mut self, cx: &mut Context<'_>) {
        let pause = between(Duration::from_millis(200), Duration::from_secs(5), cx.rng);
        cx.asks.push(Ask::Wake(pause));
    }
}
