//! The JSON gateway: every RPC as a `POST` with a JSON body.
//!
//! A request is translated to gRPC's bytes, runs through the same tonic service as a gRPC request, and its answer is
//! translated back, so that both doors cannot differ.

use althing_types::limits::{MAX_REQUEST_BYTES, MAX_REQUEST_OVERHEAD_BYTES};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::json;
use tonic::body::Body;
use tonic::{Code, Status};

use super::frames::{Requests, Results, take_message};
use super::schema::Schema;
use super::{JSON, page};
use crate::gateway::Gateway;
use crate::rpc::{self, Rpc, Shape};
use crate::status::Refusal;
use crate::table::TABLE_HEADER;

/// Bytes of one JSON request: base64 makes a message a third longer.
pub(super) const MAX_JSON_BYTES: usize = (MAX_REQUEST_BYTES + MAX_REQUEST_OVERHEAD_BYTES) / 3 * 4;

pub(super) async fn serve(gateway: &Gateway, rpc: &'static Rpc, request: Request<Body>) -> Response<Body> {
    match run(gateway, rpc, request).await {
        Ok(response) => response,
        Err(status) => error(&status),
    }
}

async fn run(gateway: &Gateway, rpc: &'static Rpc, request: Request<Body>) -> Result<Response<Body>, Status> {
    let schema = Schema::of(rpc);
    let headers = metadata(request.headers());
    let body = match rpc.shape {
        Shape::Unary | Shape::Answers => Body::new(Full::new(one_request(&schema, request.into_body()).await?)),
        Shape::Both => Body::new(Requests::new(request.into_body(), schema.clone())),
    };
    let response = call(gateway, rpc, headers, body).await?;
    match rpc.shape {
        Shape::Unary => one_response(&schema, response.into_body()).await,
        Shape::Answers | Shape::Both => {
            let mut lines = Response::new(Body::new(Results::new(response.into_body(), schema)));
            lines.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
            Ok(lines)
        }
    }
}

async fn one_request(schema: &Schema, body: Body) -> Result<Bytes, Status> {
    let collected = Limited::new(body, MAX_JSON_BYTES).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            Status::from(Refusal::RequestTooLarge)
        } else {
            Status::invalid_argument(error.to_string())
        }
    })?;
    schema.request(&collected.to_bytes()).map_err(Status::invalid_argument)
}

/// What of a request's headers is meant for the RPC: its deadline, its trace, its table, and metadata under grpc-gateway's prefix.
fn metadata(headers: &HeaderMap) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    let names = [
        ("grpc-timeout", "grpc-timeout"),
        ("traceparent", "traceparent"),
        ("grpc-metadata-hasleader", "hasleader"),
        ("grpc-metadata-althing-table", TABLE_HEADER),
        (TABLE_HEADER, TABLE_HEADER),
    ];
    for (from, to) in names {
        if let Some(value) = headers.get(from) {
            metadata.insert(HeaderName::from_static(to), value.clone());
        }
    }
    metadata.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    metadata
}

async fn call(gateway: &Gateway, rpc: &Rpc, headers: HeaderMap, body: Body) -> Result<Response<Body>, Status> {
    let mut request = Request::new(body);
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(rpc.path);
    *request.headers_mut() = headers;
    let (index, rpc) = rpc::by_path(rpc.path).expect("an RPC of the table is in the table");
    let mut response = gateway.rpc(index, rpc, request).await;
    match response.extensions_mut().remove::<Status>() {
        Some(status) => Err(status),
        None => Ok(response),
    }
}

async fn one_response(schema: &Schema, body: Body) -> Result<Response<Body>, Status> {
    let collected = body.collect().await?;
    if let Some(status) = collected.trailers().and_then(Status::from_header_map)
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    let mut framed = BytesMut::from(collected.to_bytes());
    let message = take_message(&mut framed).ok_or_else(|| Status::internal("the RPC gave no answer"))?;
    Ok(page(StatusCode::OK, JSON, schema.response(message).map_err(Status::internal)?))
}

/// An error as a response of its own. `error` repeats the message for clients of etcd 3.5 and before.
pub(super) fn error(status: &Status) -> Response<Body> {
    let body = json!({
        "error": status.message(),
        "code": i32::from(status.code()),
        "message": status.message(),
        "details": [],
    });
    page(http_status(status.code()), JSON, body.to_string().into_bytes())
}

/// An error within a stream. The `http_…` and `grpc_code` fields are for clients of etcd 3.5 and before.
pub(super) fn error_fields(status: &Status) -> serde_json::Value {
    let http = http_status(status.code());
    json!({
        "code": i32::from(status.code()),
        "message": status.message(),
        "details": [],
        "grpc_code": i32::from(status.code()),
        "http_code": http.as_u16(),
        "http_status": http.canonical_reason().unwrap_or_default(),
    })
}

/// The HTTP status of a gRPC code, by the mapping that grpc-gateway documents.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestNode;

    async fn post(node: &TestNode, path: &'static str, body: &'static str) -> (StatusCode, String) {
        let request = Request::post(path).body(Full::new(Bytes::from(body))).unwrap();
        let Ok(response) = node.gateway().handle(request).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    const HEADER: &str = r#""header":{"cluster_id":"1","member_id":"2","revision":"2","raft_term":"3"}"#;

    #[tokio::test]
    async fn a_put_and_a_range_over_json() {
        let node = TestNode::default();
        let (status, body) = post(&node, "/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#).await;
        assert_eq!((status, body), (StatusCode::OK, format!("{{{HEADER}}}")));
        let (_, body) = post(&node, "/v3/kv/range", r#"{"key":"YQ=="}"#).await;
        let kv = r#"{"key":"YQ==","create_revision":"2","mod_revision":"2","version":"1","value":"MQ=="}"#;
        assert_eq!(body, format!(r#"{{{HEADER},"kvs":[{kv}],"count":"1"}}"#));
    }

    #[tokio::test]
    async fn an_error_has_the_http_status_of_its_code_and_etcds_text() {
        let node = TestNode::default();
        let (status, body) = post(&node, "/v3/kv/range", "{}").await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["message"], "etcdserver: key is not provided");
        assert_eq!(body["code"], 3);
        assert_eq!(post(&node, "/v3/kv/range", "{").await.0, StatusCode::BAD_REQUEST);
        assert_eq!(post(&node, "/v3/kv/nothing", "{}").await.0, StatusCode::NOT_FOUND);
        assert_eq!(post(&node, "/v3/lease/revoke", r#"{"ID":"9"}"#).await.0, StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn keep_alives_come_as_lines_of_results() {
        let node = TestNode::default();
        post(&node, "/v3/lease/grant", r#"{"TTL":"60","ID":"7"}"#).await;
        let (status, body) = post(&node, "/v3/lease/keepalive", r#"{"ID":"7"} {"ID":"8"}"#).await;
        assert_eq!(status, StatusCode::OK);
        let lines: Vec<serde_json::Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["result"]["ID"], &lines[0]["result"]["TTL"]), (&"7".into(), &"60".into()));
        assert_eq!(lines[1]["result"]["TTL"], serde_json::Value::Null);
    }

    #[tokio::test]
    async fn a_snapshot_comes_as_lines_of_results() {
        let (status, body) = post(&TestNode::default(), "/v3/maintenance/snapshot", "").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body.lines().count(), 4, "the last is the hash");
        assert!(body.starts_with(r#"{"result":{"#), "{body}");
    }

    #[tokio::test]
    async fn a_watch_streams_its_events_while_the_response_is_read() {
        let node = TestNode::default();
        let body = Bytes::from(r#"{"create_request":{"key":"YQ=="}}"#);
        let Ok(response) = node.gateway().handle(Request::post("/v3/watch").body(Full::new(body)).unwrap()).await;
        let mut body = response.into_body();
        let mut line = async || {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            serde_json::from_slice::<serde_json::Value>(&frame).unwrap()
        };
        assert_eq!(line().await["result"]["created"], true);
        post(&node, "/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#).await;
        assert_eq!(line().await["result"]["events"][0]["kv"]["value"], "MQ==");
    }

    #[tokio::test]
    async fn an_error_within_a_stream_is_its_last_line() {
        let node = TestNode::default();
        node.table().refuse = Some(althing_api::ErrorKind::NoLeader);
        let (_, body) = post(&node, "/v3/lease/keepalive", r#"{"ID":"7"}"#).await;
        let line: serde_json::Value = serde_json::from_str(body.trim()).unwrap();
        assert_eq!(line["error"]["message"], "etcdserver: no leader");
        assert_eq!((&line["error"]["code"], &line["error"]["http_code"]), (&14.into(), &503.into()));
    }
}
