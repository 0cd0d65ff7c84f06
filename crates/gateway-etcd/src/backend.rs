//! What every service of the gateway shares: the node, and what a request says besides its message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use althing_api::request::Body;
use althing_api::{Answer, Call, Header, Reply, Request, Service, SnapshotStream, Target, WatchSession};
use althing_etcd_proto::etcdserverpb as pb;
use althing_types::{NodeId, Revision};
use http::HeaderMap;
use tonic::Status;

use crate::status::{Refusal, status};

/// The node, as the services see it. Clones share it.
#[derive(Clone)]
pub(crate) struct Backend(Arc<Shared>);

struct Shared {
    service: Arc<dyn Service>,
    /// The greatest Raft term that an answer has carried: streams put it into their headers, which the node's events
    /// do not carry. 0 until the first answer.
    term: AtomicU64,
}

/// What a request says in its metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Context {
    /// How long the caller will wait.
    pub timeout: Option<Duration>,
    /// Refuse at once if there is no leader.
    pub require_leader: bool,
}

impl Context {
    /// The context of a gRPC request.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Self {
        Self::of_headers(request.metadata().as_ref())
    }

    fn of_headers(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        Self {
            timeout: text("grpc-timeout").and_then(parse_timeout),
            require_leader: text("hasleader").is_some_and(|value| value == "true"),
        }
    }
}

/// A gRPC timeout: at most eight digits and a unit (the "PROTOCOL-HTTP2" document of gRPC).
fn parse_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    let amount: u64 = (digits.len() <= 8).then(|| digits.parse().ok())??;
    Some(match unit {
        'H' => Duration::from_secs(amount * 3600),
        'M' => Duration::from_secs(amount * 60),
        'S' => Duration::from_secs(amount),
        'm' => Duration::from_millis(amount),
        'u' => Duration::from_micros(amount),
        'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

impl Backend {
    pub(crate) fn new(service: Arc<dyn Service>) -> Self {
        Self(Arc::new(Shared { service, term: AtomicU64::new(0) }))
    }

    /// Sends a request; it starts at once, whether or not the reply is polled.
    pub(crate) fn send(&self, request: Request, context: Context) -> Reply {
        let Context { timeout, require_leader } = context;
        self.0.service.call(Call { target: Target::default(), request, timeout, require_leader })
    }

    /// Asks the node and waits for the answer; errors come in etcd's words.
    pub(crate) async fn ask(&self, request: Request, context: Context) -> Result<Answer, Status> {
        match self.send(request, context).await {
            Ok(answer) => {
                self.learn_term(answer.header.raft_term);
                Ok(answer)
            }
            Err(error) => Err(status(&error)),
        }
    }

    /// Refuses where no leader is known, if the request asks for that.
    pub(crate) async fn check_leader(&self, context: Context) -> Result<(), Status> {
        if !context.require_leader {
            return Ok(());
        }
        let answer = self.ask(Request::Status, Context::default()).await?;
        let (_, status) = body!(answer, Body::Status(status) => status)?;
        if status.leader == NodeId::NONE { Err(Refusal::NoLeader.into()) } else { Ok(()) }
    }

    /// Remembers the term of an answer that did not come through [`Backend::ask`].
    pub(crate) fn learn_term(&self, term: u64) {
        if term > self.0.term.load(Ordering::Relaxed) {
            self.0.term.fetch_max(term, Ordering::Relaxed);
        }
    }

    /// A header for an event of a stream, with the newest term known.
    pub(crate) fn header(&self, revision: Revision) -> Header {
        Header {
            cluster: self.0.service.cluster(),
            member: self.0.service.member(),
            revision,
            raft_term: self.0.term.load(Ordering::Relaxed),
        }
    }

    /// A header with the node's present revision.
    pub(crate) async fn fresh_header(&self, context: Context) -> Result<Header, Status> {
        self.ask(Request::Status, context).await.map(|answer| answer.header)
    }

    /// Makes sure that a term is known before a stream begins.
    pub(crate) async fn prepare_headers(&self) {
        if self.0.term.load(Ordering::Relaxed) == 0 {
            // A node that cannot tell its term now gives headers without one; nothing else depends on it.
            let _ = self.fresh_header(Context::default()).await;
        }
    }

    pub(crate) fn watch(&self, context: Context) -> Box<dyn WatchSession> {
        self.0.service.watch(Target::default(), context.require_leader)
    }

    pub(crate) fn snapshot(&self) -> SnapshotStream {
        self.0.service.snapshot(Target::default())
    }

    pub(crate) fn service(&self) -> &dyn Service {
        &*self.0.service
    }
}

/// A header on the wire.
pub(crate) const fn wire_header(header: Header) -> pb::ResponseHeader {
    pb::ResponseHeader {
        cluster_id: header.cluster.get(),
        member_id: header.member.get(),
        revision: header.revision.get(),
        raft_term: header.raft_term,
    }
}

/// The node broke its contract: the body is not of the request's kind.
pub(crate) fn wrong_body() -> Status {
    Status::internal("etcdserver: the node answered another question than was asked")
}

/// The parts of an answer as `(wire header, body)`, or an internal error if the body is of another kind.
macro_rules! body {
    ($answer:expr, $pattern:pat => $value:expr) => {{
        let althing_api::Answer { header, body } = $answer;
        let header = Some($crate::backend::wire_header(header));
        match body {
            $pattern => Ok((header, $value)),
            #[allow(unreachable_patterns)]
            _ => Err($crate::backend::wrong_body()),
        }
    }};
}
pub(crate) use body;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_in_each_of_grpcs_units() {
        assert_eq!(parse_timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse_timeout("3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse_timeout("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(parse_timeout("7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse_timeout("7n"), Some(Duration::from_nanos(7)));
    }

    #[test]
    fn a_timeout_of_another_shape_is_none() {
        for text in ["", "S", "5", "5s", "999999999S", "-1S", "5µ"] {
            assert_eq!(parse_timeout(text), None, "{text}");
        }
    }

    #[test]
    fn the_leader_requirement_is_read_from_the_metadata() {
        let mut headers = HeaderMap::new();
        assert!(!Context::of_headers(&headers).require_leader);
        headers.insert("hasleader", http::HeaderValue::from_static("true"));
        assert!(Context::of_headers(&headers).require_leader);
    }
}
