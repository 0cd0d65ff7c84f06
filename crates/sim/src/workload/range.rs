//! A client that reads ranges in every way that there is: parts of the table, sorted, limited, only counted, only keys,
//! filtered by revisions, as they are, as they were, as somebody may know them, and as nobody can know them yet.

use althing_api::kv::{Consistency, KeyRange, Operation, RangeEnd, RangeRequest, SortOrder, SortTarget, TxnRequest};
use althing_api::request::Request;
use althing_types::Revision;
use bytes::Bytes;

use super::session::Session;
use super::{Context, Drive, News};

/// First letters of all keys.
const LETTERS: &[u8] = b"bglkqrtx";
/// How far the past and the future reach that are read.
const PAST: i64 = 500;
const FUTURE: i64 = 20;

/// A client that reads.
#[derive(Debug, Default)]
pub struct RangeClient {
    session: Session,
}

impl RangeClient {
    pub(super) fn finish(&mut self) {
        self.session.finish();
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake if self.session.drive() == Drive::Working => {
                let request = any_request(cx);
                self.session.send(request, cx);
            }
            News::Answered { ticket, result } if self.session.awaits(ticket) => {
                if result.is_err() {
                    self.session.move_on();
                }
                self.session.rest(cx);
            }
            News::Wake | News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }
}

fn any_request(cx: &mut Context<'_>) -> Request {
    let first = any_range(cx);
    if cx.rng.u32(0..4) > 0 {
        return Request::Range(first);
    }
    let second = any_range(cx);
    let success = vec![Operation::Range(first), Operation::Range(second)];
    Request::Txn(TxnRequest { compare: Vec::new(), success, failure: Vec::new() })
}

fn any_range(cx: &mut Context<'_>) -> RangeRequest {
    let mut range = RangeRequest::new(any_keys(cx));
    range.revision = any_revision(cx);
    if cx.rng.u32(0..3) == 0 {
        range.consistency = Consistency::Serializable;
    }
    match cx.rng.u32(0..10) {
        0 => range.count_only = true,
        1 => range.keys_only = true,
        2..4 => range.limit = cx.rng.u64(1..8),
        _ => {}
    }
    if cx.rng.u32(0..4) == 0 {
        let targets = [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];
        let order = if cx.rng.bool() { SortOrder::Ascending } else { SortOrder::Descending };
        range.sort = Some((targets[cx.rng.usize(..targets.len())], order));
    }
    if cx.rng.u32(0..6) == 0 {
        let bound = Some(Revision(cx.rng.i64(0..=cx.shared.revision.get())));
        match cx.rng.u32(0..4) {
            0 => range.min_mod_revision = bound,
            1 => range.max_mod_revision = bound,
            2 => range.min_create_revision = bound,
            _ => range.max_create_revision = bound,
        }
    }
    range
}

/// All keys that begin with some letter, or a span of letters, or all.
pub(super) fn any_keys(cx: &mut Context<'_>) -> KeyRange {
    let letter = LETTERS[cx.rng.usize(..LETTERS.len())];
    let from = Bytes::copy_from_slice(&[letter]);
    match cx.rng.u32(0..10) {
        0 => KeyRange { start: from, end: RangeEnd::Unbounded },
        1 => KeyRange { start: from, end: RangeEnd::Before(Bytes::copy_from_slice(&[letter + cx.rng.u8(1..6)])) },
        2 => KeyRange::all(),
        _ => KeyRange { start: from, end: RangeEnd::Before(Bytes::copy_from_slice(&[letter + 1])) },
    }
}

/// Now, or a revision that may be written or not, compacted or not.
fn any_revision(cx: &mut Context<'_>) -> Option<Revision> {
    let latest = cx.shared.revision.get();
    match cx.rng.u32(0..10) {
        0..5 => None,
        5..9 => Some(Revision(cx.rng.i64((latest - PAST).max(1)..=latest.max(1)))),
        _ => Some(Revision(latest + cx.rng.i64(1..=FUTURE))),
    }
}
