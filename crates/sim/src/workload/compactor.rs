//! A client that compacts as the API server of Kubernetes does: of all that try, the one whose comparison with the version
//! of one key holds writes the present revision there, and compacts at the revision of the time before.

use althing_api::Error;
use althing_api::kv::{Compare, CompareTarget, Operation, TxnRequest};
use althing_api::request::{Answer, Request};
use althing_types::{Duration, Revision};
use bytes::Bytes;

use super::asks::{done, each_found, put, read};
use super::session::Session;
use super::{Ask, Context, Drive, News};
use crate::random::between;

/// The key whose version the compactors compare.
pub const COMPACTION_KEY: &[u8] = b"compact_rev_key";

/// What the client waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// Nothing.
    #[default]
    Idle,
    /// Whether it is the one.
    Comparing,
    /// The compaction.
    Compacting,
}

/// A client that compacts by turns with others.
#[derive(Debug, Default)]
pub struct Compactor {
    session: Session,
    stage: Stage,
    /// The version that it expects the key to have.
    version: i64,
    /// The revision at which it compacts next.
    revision: Revision,
}

impl Compactor {
    pub(super) fn finish(&mut self) {
        self.session.finish();
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake if self.session.drive() == Drive::Working => self.compare(cx),
            News::Answered { ticket, result } if self.session.awaits(ticket) => self.answered(result, cx),
            News::Wake | News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn compare(&mut self, cx: &mut Context<'_>) {
        let key = Bytes::from_static(COMPACTION_KEY);
        let value = format!("{} {}", self.revision, cx.shared.new_value());
        let txn = TxnRequest {
            compare: vec![Compare::is(key.clone(), CompareTarget::Version(self.version))],
            success: vec![Operation::Put(put(&key, value, None))],
            failure: vec![read(&key)],
        };
        self.stage = Stage::Comparing;
        self.session.send(Request::Txn(txn), cx);
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        match (std::mem::take(&mut self.stage), result) {
            (Stage::Comparing, Ok(answer)) => {
                let now = answer.header.revision;
                let before = std::mem::replace(&mut self.revision, now);
                let txn = done(answer);
                if txn.succeeded {
                    self.version += 1;
                    if before > Revision::FIRST {
                        self.stage = Stage::Compacting;
                        return self.session.send(Request::Compact { revision: before, physical: false }, cx);
                    }
                } else {
                    self.version = each_found(txn).into_iter().flatten().next().map_or(0, |kv| kv.version);
                }
            }
            (Stage::Comparing | Stage::Compacting, Err(_)) => self.session.move_on(),
            (Stage::Compacting | Stage::Idle, _) => {}
        }
        let pause = between(Duration::from_millis(500), Duration::from_secs(4), cx.rng);
        cx.asks.push(Ask::Wake(pause));
    }
}
