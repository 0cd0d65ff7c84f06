//! What is not gRPC: the JSON gateway and the plain pages of an etcd's client port.

mod frames;
mod json;
mod pages;
mod schema;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

use crate::gateway::Gateway;
use crate::rpc;

/// Serves a request that is not gRPC.
pub(crate) async fn serve(gateway: Gateway, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    if path.starts_with("/v3/") {
        return match rpc::by_json_path(path) {
            Some(rpc) if request.method() == Method::POST => json::serve(&gateway, rpc, request).await,
            Some(_) => json::error(&tonic::Status::unimplemented("Method Not Allowed")),
            None => json::error(&tonic::Status::not_found("Not Found")),
        };
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) && pages::is_page(path) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    }
    pages::serve(gateway.backend(), request.uri()).await
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<Body> {
    page(status, "text/plain; charset=utf-8", body.into().into_bytes())
}

fn page(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

const JSON: &str = "application/json";
