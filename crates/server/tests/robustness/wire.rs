//! The wire: whom a client talks to, how long it waits, what an error says about the operation, and the messages of etcd's
//! API in the words of the tables, in which the checkers speak.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use althing_api::error::Outcome as Effect;
use althing_api::kv::{Event, EventKind, KeyValue};
use althing_etcd_proto::{etcdserverpb as pb, mvccpb};
use althing_types::{LeaseId, Revision};
use fastrand::Rng;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::common;

/// How long a client waits for an answer: usually not as long as a node does (7 s), at times longer, so that both give up.
const SHORT_PATIENCE_MS: std::ops::Range<u64> = 300..3000;
const LONG_PATIENCE_MS: u64 = 8000;

/// One client's connection, to one node at a time.
pub struct Session {
    endpoints: Arc<[String]>,
    channel: Option<Channel>,
    patience: Duration,
    /// Whether a node that knows no leader is to say so at once.
    require_leader: bool,
    pub rng: Rng,
}

impl Session {
    pub fn new(endpoints: Arc<[String]>, rng: Rng) -> Self {
        let mut session = Self { endpoints, channel: None, patience: Duration::ZERO, require_leader: false, rng };
        session.leave();
        session
    }

    /// A connection to the node that was chosen last, or to another after [`Session::leave`].
    pub fn channel(&mut self) -> Channel {
        let endpoint = self.rng.usize(..self.endpoints.len());
        self.channel.get_or_insert_with(|| common::channel(&self.endpoints[endpoint])).clone()
    }

    /// Goes to another node next time, with other habits.
    pub fn leave(&mut self) {
        self.channel = None;
        let patience = if self.rng.u32(0..8) == 0 { LONG_PATIENCE_MS } else { self.rng.u64(SHORT_PATIENCE_MS) };
        self.patience = Duration::from_millis(patience);
        self.require_leader = self.rng.bool();
    }

    /// A message with what this client says besides.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if self.require_leader {
            request.metadata_mut().insert("hasleader", "true".parse().expect("the word is ASCII"));
        }
        request
    }

    /// Waits for an answer as long as this client does.
    pub async fn wait<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        match tokio::time::timeout(self.patience, call).await {
            Ok(result) => result,
            Err(_) => Err(Status::deadline_exceeded("the client has lost its patience")),
        }
    }

    pub async fn sleep(&mut self, milliseconds: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(milliseconds))).await;
    }
}

/// Whether a write that was answered with this error may have happened.
///
/// The gateway's answers carry a code and a text, not what the node knew of the outcome; these are the ones that a node
/// gives only for what it has not done and never will: it is refused before it is proposed (no leader until the deadline,
/// too much under way, a bad request) or when it is applied (no space, no such lease). `request timed out`, `server
/// stopped` and `leader changed` are said of both kinds, and whatever the transport says may come after the request went.
pub fn effect_of(status: &Status) -> Effect {
    if was_never_sent(status) {
        return Effect::NotDone;
    }
    match (status.code(), status.message()) {
        (Code::Unavailable, "etcdserver: no leader")
        | (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded" | "etcdserver: too many requests")
        | (Code::NotFound, "etcdserver: requested lease not found")
        | (Code::InvalidArgument, _) => Effect::NotDone,
        _ => Effect::MaybeDone,
    }
}

/// Whether nobody listened: only `connect` fails so, and nothing is sent before it has succeeded.
fn was_never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

pub fn revision(header: Option<&pb::ResponseHeader>) -> Revision {
    Revision(header.expect("every answer has a header").revision)
}

pub fn key_value(kv: mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key,
        create_revision: Revision(kv.create_revision),
        mod_revision: Revision(kv.mod_revision),
        version: kv.version,
        value: kv.value,
        lease: (kv.lease != 0).then_some(LeaseId(kv.lease)),
    }
}

pub fn event(event: mvccpb::Event) -> Event {
    let kind = match event.r#type() {
        mvccpb::event::EventType::Put => EventKind::Put,
        mvccpb::event::EventType::Delete => EventKind::Delete,
    };
    let kv = key_value(event.kv.expect("every event has a key"));
    Event { kind, kv, prev_kv: event.prev_kv.map(key_value) }
}

/// A read of one key.
pub fn get(key: impl Into<bytes::Bytes>) -> pb::RangeRequest {
    pb::RangeRequest { key: key.into(), ..pb::RangeRequest::default() }
}

/// A read of every key below a prefix.
pub fn get_prefix(prefix: &str) -> pb::RangeRequest {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    pb::RangeRequest { range_end: end.into(), ..get(prefix.to_owned()) }
}

pub fn put(key: impl Into<bytes::Bytes>, value: impl Into<bytes::Bytes>) -> pb::PutRequest {
    pb::PutRequest { key: key.into(), value: value.into(), ..pb::PutRequest::default() }
}

/// A comparison for equality.
pub fn compare(key: impl Into<bytes::Bytes>, with: pb::compare::TargetUnion) -> pb::Compare {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    let target = match with {
        TargetUnion::Version(_) => CompareTarget::Version,
        TargetUnion::CreateRevision(_) => CompareTarget::Create,
        TargetUnion::ModRevision(_) => CompareTarget::Mod,
        TargetUnion::Value(_) => CompareTarget::Value,
        TargetUnion::Lease(_) => CompareTarget::Lease,
    };
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(with),
        ..pb::Compare::default()
    }
}

pub fn op(request: pb::request_op::Request) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

#[tokio::test]
async fn a_refused_connection_is_known_not_to_have_carried_anything() {
    let nobody = format!("127.0.0.1:{}", common::free_port());
    let status = common::kv(&nobody).put(put("a", "1")).await.unwrap_err();
    assert_eq!((status.code(), effect_of(&status)), (Code::Unavailable, Effect::NotDone), "{status:?}");
}

#[tokio::test]
async fn a_connection_that_is_closed_without_an_answer_leaves_the_outcome_open() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hang_up = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let status = common::kv(&address).put(put("a", "1")).await.unwrap_err();
    hang_up.await.unwrap();
    assert_eq!(effect_of(&status), Effect::MaybeDone, "{status:?}");
}

#[test]
fn only_what_surely_was_not_done_counts_as_refused() {
    let effect = |code, text: &str| effect_of(&Status::new(code, text));
    assert_eq!(effect(Code::Unavailable, "etcdserver: no leader"), Effect::NotDone);
    assert_eq!(effect(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"), Effect::NotDone);
    for text in ["etcdserver: request timed out", "etcdserver: server stopped", "etcdserver: leader changed"] {
        assert_eq!(effect(Code::Unavailable, text), Effect::MaybeDone, "{text}");
    }
    assert_eq!(effect(Code::ResourceExhausted, "out of memory"), Effect::MaybeDone);
    assert_eq!(effect(Code::DeadlineExceeded, "etcdserver: no leader"), Effect::MaybeDone);
}
