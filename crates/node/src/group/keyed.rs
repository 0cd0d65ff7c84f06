//! Keyed values of a strong table: requests become commands or reads, and what has expired is removed.

use althing_api::keyed::{KeyedRequest, Moment, Step};
use althing_api::{ErrorKind, Header};
use althing_strong::Command;
use althing_types::{Duration, Instant, RequestId};

use super::Group;
use super::requests::{fail, respond};
use crate::context::Context;
use crate::effects::ReadWork;
use crate::reader;

/// Operations that are read so quickly that another thread would only make it slower.
const INLINE_STEPS: usize = 32;
/// How long between two looks for what has expired: nobody sees a key whose deadline has come, so only its bytes wait.
const EXPIRE_EVERY: Duration = Duration::from_millis(250);

impl Group {
    /// Takes in what changes keyed values. An operation that says that it may write, and only reads, has its place in the log, too.
    pub(super) fn keyed_write(
        &mut self,
        cx: &mut Context<'_>,
        ticket: RequestId,
        request: KeyedRequest,
        deadline: Instant,
    ) {
        let now = moment(cx);
        let command = match request {
            KeyedRequest::Operate { key, operation, .. } => {
                Command::Operate { step: Step { key, operation }, moment: now }
            }
            KeyedRequest::Transact { watches, steps, moment, .. } => {
                Command::Transact { watches, steps, moment: moment.unwrap_or(now) }
            }
            KeyedRequest::Flush => Command::Flush,
            KeyedRequest::Series { .. } => {
                let reason = "what is asked of a strong table at once is a transaction";
                return fail(cx, ticket, ErrorKind::Unsupported(reason.to_owned()));
            }
            KeyedRequest::Put { .. } | KeyedRequest::InSession { .. } => {
                let reason = "a strong table has no concurrent values, and every read of it sees all writes before";
                return fail(cx, ticket, ErrorKind::Unsupported(reason.to_owned()));
            }
            KeyedRequest::Scan { .. } | KeyedRequest::Count | KeyedRequest::Siblings { .. } => {
                unreachable!("they only read")
            }
        };
        self.propose(cx, ticket, command, deadline);
    }

    /// Reads keyed values now: a few here, many on the reader's thread.
    pub(super) fn keyed_read(&mut self, cx: &mut Context<'_>, id: RequestId, request: KeyedRequest) {
        let (mut when, is_small) = (moment(cx), is_small(&request));
        if let KeyedRequest::Transact { moment: Some(moment), .. } = &request {
            when = *moment;
        }
        let header: Header = self.header(cx, self.reader.revision());
        if is_small {
            let result = reader::keyed(&self.reader, &request, when, header);
            return respond(cx, id, result);
        }
        let reader = self.reader.clone();
        cx.out.reads.push(ReadWork::Keyed { id, reader, request, moment: when, header });
    }

    /// Proposes to remove what has expired by this node's clock, if it leads.
    pub(crate) fn tend_deadlines(&mut self, cx: &mut Context<'_>) {
        if !self.is_serving_leader() || self.expiry_proposed.is_some_and(|at| cx.now.since(at) < EXPIRE_EVERY) {
            return;
        }
        let now_ms = cx.shared.wall.at(cx.now);
        // An error of the engine stops the applier, which says so.
        let due = self.reader.due(now_ms).unwrap_or_default();
        if !due.is_empty() && self.propose_own(cx, Command::Expire { now_ms, due }) {
            self.expiry_proposed = Some(cx.now);
        }
    }

    /// Whether a deadline of the table may have come.
    pub(crate) fn has_due(&self, now_ms: i64) -> bool {
        self.reader.least_deadline_ms() <= now_ms
    }
}

fn moment(cx: &mut Context<'_>) -> Moment {
    Moment { now_ms: cx.shared.wall.at(cx.now), seed: cx.shared.rng.u64(..) }
}

fn is_small(request: &KeyedRequest) -> bool {
    match request {
        KeyedRequest::Operate { .. } | KeyedRequest::Count => true,
        KeyedRequest::Transact { steps, watches, .. } => steps.len() + watches.len() <= INLINE_STEPS,
        KeyedRequest::Scan { .. }
        | KeyedRequest::Flush
        | KeyedRequest::Series { .. }
        | KeyedRequest::Siblings { .. }
        | KeyedRequest::Put { .. }
        | KeyedRequest::InSession { .. } => false,
    }
}
