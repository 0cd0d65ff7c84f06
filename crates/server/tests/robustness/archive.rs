//! The table's history, read over the wire by a watch on everything, from the first revision on. Whatever is about to be
//! compacted is read first, so that all of it is known in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as Moment};

use althing_api::kv::Event;
use althing_api::request::Request;
use althing_etcd_proto::etcdserverpb as pb;
use althing_etcd_proto::etcdserverpb::kv_client::KvClient;
use althing_sim::checker::Truth;
use althing_sim::history::{CallEnd, CallRecord};
use althing_types::Revision;
use pb::watch_request::RequestUnion;
use tonic::Status;
use tonic::transport::Channel;

use crate::recorder::Recorder;
use crate::watches::Stream;
use crate::wire::{self, Session};

/// Revisions that a compaction leaves at the least and at the most.
const KEPT: std::ops::Range<i64> = 0..300;
/// How often an idle stream is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The history as far as it has been read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Archive {
    changes: BTreeMap<Revision, Vec<Event>>,
    next: Revision,
    /// What is below this cannot be read any more.
    compacted: Revision,
}

impl Archive {
    pub fn new() -> Self {
        Self::from(Revision(1))
    }

    /// Of what is at this revision and above.
    pub fn from(next: Revision) -> Self {
        Self { changes: BTreeMap::new(), next, compacted: next }
    }

    /// The least revision that can still be read from a node.
    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// What happened at and above a revision.
    pub fn since(&self, from: Revision) -> BTreeMap<Revision, Vec<Event>> {
        self.changes.range(from..).map(|(revision, events)| (*revision, events.clone())).collect()
    }

    pub fn truth(&self) -> Truth {
        Truth::new(Revision(1), self.changes.clone())
    }

    /// Reads up to a revision that the node has or will have within the time.
    pub async fn extend(&mut self, channel: Channel, up_to: Revision, within: Duration) -> Result<(), Status> {
        let all = pb::WatchCreateRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            start_revision: self.next.get(),
            prev_kv: true,
            ..pb::WatchCreateRequest::default()
        };
        let deadline = Moment::now() + within;
        let late = || Status::deadline_exceeded(format!("the history up to {up_to} did not come within {within:?}"));
        let opening = Stream::open(channel, RequestUnion::CreateRequest(all));
        let mut stream = tokio::time::timeout(within, opening).await.map_err(|_| late())??;
        while self.next <= up_to {
            if Moment::now() > deadline {
                return Err(late());
            }
            match tokio::time::timeout(ASK_EVERY, stream.next()).await {
                Ok(response) => self.take(response?)?,
                Err(_) => stream.say(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})),
            }
        }
        Ok(())
    }

    fn take(&mut self, response: pb::WatchResponse) -> Result<(), Status> {
        if response.canceled {
            return Err(Status::out_of_range(format!("the reading of the history was canceled: {response:?}")));
        }
        let told = wire::revision(response.header.as_ref());
        let is_progress = !response.created && response.events.is_empty();
        for event in response.events.into_iter().map(wire::event) {
            let revision = event.kv.mod_revision;
            // A revision comes whole, so one that was there before this response must not come again.
            assert!(revision >= self.next, "revision {revision} came after {} was asked for: {event:?}", self.next);
            self.changes.entry(revision).or_default().push(event);
        }
        if let Some((last, _)) = self.changes.last_key_value() {
            self.next = self.next.max(last.next());
        }
        if is_progress {
            self.next = self.next.max(told.next());
        }
        Ok(())
    }
}

/// Compacts now and then until the load ends, and returns what it has read.
pub async fn keep(recorder: Arc<Recorder>, mut session: Session) -> Archive {
    let mut archive = Archive::new();
    while recorder.is_loaded() {
        session.sleep(200..1500).await;
        let revision = Revision(recorder.revision().get() - session.rng.i64(KEPT));
        if revision <= archive.compacted {
            continue;
        }
        if archive.extend(session.channel(), revision, Duration::from_secs(3)).await.is_err() {
            session.leave();
            continue;
        }
        // From here on it may be gone, whatever the answer.
        archive.compacted = revision;
        compact(&recorder, &mut session, revision).await;
    }
    archive
}

/// Asks for a compaction. Whatever comes of it, watches may be told from now on that they have come too late.
async fn compact(recorder: &Recorder, session: &mut Session, revision: Revision) {
    let physical = session.rng.bool();
    recorder.history().calls.push(CallRecord {
        target: althing_api::Target::default(),
        invoked: recorder.now(),
        request: Request::Compact { revision, physical },
        end: CallEnd::Unknown,
    });
    let mut kv = KvClient::new(session.channel());
    let compact = pb::CompactionRequest { revision: revision.get(), physical };
    match session.wait(kv.compact(session.request(compact))).await {
        Ok(_) => {
            recorder.compactions.fetch_add(1, Ordering::Relaxed);
        }
        Err(_) => session.leave(),
    }
}
