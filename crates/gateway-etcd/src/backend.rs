//! What every service of the gateway shares: the node, and what a request says besides its message.

use std::sync::Arc;
use std::time::Duration;

use althing_api::request::Body;
use althing_api::{Answer, Call, Header, Pass, Reply, Request, Service, SnapshotStream, WatchSession};
use althing_etcd_proto::etcdserverpb as pb;
use althing_types::{NodeId, Revision};
use http::HeaderMap;
use tonic::Status;

use crate::status::{Refusal, status};
use crate::table::Table;

/// The node, as the services see it. Clones share it.
#[derive(Clone)]
pub(crate) struct Backend(Arc<dyn Service>);

/// What a request says besides its message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    /// The table that it is for.
    pub table: Table,
    /// How long the caller will wait.
    pub timeout: Option<Duration>,
    /// Refuse at once if there is no leader.
    pub require_leader: bool,
    /// The place that the node has given to the request before it was read.
    pub pass: Pass,
}

impl Context {
    /// The context of a gRPC request.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Self {
        // The gateway's dispatcher has put it there.
        let table = request.extensions().get::<Table>().cloned().unwrap_or_default();
        let pass = request.extensions().get::<Pass>().cloned().unwrap_or_default();
        Self { pass, ..Self::of_headers(table, request.metadata().as_ref()) }
    }

    /// The context of requests that say nothing but their table.
    pub(crate) fn of_table(table: Table) -> Self {
        Self { table, ..Self::default() }
    }

    fn of_headers(table: Table, headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        Self {
            table,
            timeout: text("grpc-timeout").and_then(parse_timeout),
            require_leader: text("hasleader").is_some_and(|value| value == "true"),
            pass: Pass::default(),
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
        Self(service)
    }

    /// Sends a request; it starts at once, whether or not the reply is polled.
    pub(crate) fn send(&self, request: Request, context: &Context) -> Reply {
        let Context { table, timeout, require_leader, pass } = context;
        let target = table.target();
        let call = Call { target, request, timeout: *timeout, require_leader: *require_leader };
        self.0.call_with(call, pass.clone())
    }

    /// Takes a place for a write that is still to be read.
    pub(crate) fn enter(&self, table: &Table) -> Result<Pass, Status> {
        self.0.enter(&table.target()).map_err(|error| status(&error))
    }

    /// Asks the node and waits for the answer; errors come in etcd's words.
    pub(crate) async fn ask(&self, request: Request, context: &Context) -> Result<Answer, Status> {
        match self.send(request, context).await {
            Ok(answer) => {
                context.table.learn_term(answer.header.raft_term);
                Ok(answer)
            }
            Err(error) => Err(status(&error)),
        }
    }

    /// Refuses where no leader is known, if the request asks for that.
    pub(crate) async fn check_leader(&self, context: &Context) -> Result<(), Status> {
        if !context.require_leader {
            return Ok(());
        }
        let context = Context::of_table(context.table.clone());
        let answer = self.ask(Request::Status, &context).await?;
        let (_, status) = body!(answer, Body::Status(status) => status)?;
        if status.leader == NodeId::NONE { Err(Refusal::NoLeader.into()) } else { Ok(()) }
    }

    /// A header for an event of a stream, with the newest term known.
    pub(crate) fn header(&self, table: &Table, revision: Revision) -> Header {
        Header { cluster: self.0.cluster(), member: self.0.member(), revision, raft_term: table.term() }
    }

    /// A header with the table's present revision.
    pub(crate) async fn fresh_header(&self, context: &Context) -> Result<Header, Status> {
        self.ask(Request::Status, context).await.map(|answer| answer.header)
    }

    /// Makes sure that a term is known before a stream begins.
    pub(crate) async fn prepare_headers(&self, table: &Table) {
        if table.term() == 0 {
            // A node that cannot tell its term now gives headers without one; nothing else depends on it.
            let _ = self.fresh_header(&Context::of_table(table.clone())).await;
        }
    }

    pub(crate) fn watch(&self, context: &Context) -> Box<dyn WatchSession> {
        self.0.watch(context.table.target(), context.require_leader)
    }

    pub(crate) fn snapshot(&self, context: &Context) -> SnapshotStream {
        self.0.snapshot(context.table.target())
    }

    pub(crate) fn service(&self) -> &dyn Service {
        &*self.0
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
        assert!(!Context::of_headers(Table::default(), &headers).require_leader);
        headers.insert("hasleader", http::HeaderValue::from_static("true"));
        assert!(Context::of_headers(Table::default(), &headers).require_leader);
    }
}
