//! `/debug/cut` on the client port of a node that was started with `--allow-cut`: cuts it off from other nodes on purpose, and
//! lets them through again.
//!
//! ```text
//! GET /debug/cut             {"cut":["8e9e05c52164694d"]}    from whom it is cut off
//! PUT /debug/cut?from=ID,ID  the same, afterwards            from these and nobody else; without any the cut is healed
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use althing_gateway_http::ObjectBody;
use althing_gateway_http::status::{Reason, Status};
use althing_runtime::Cut;
use althing_types::NodeId;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, Uri};
use serde_json::{Value, json};

/// Where it is.
pub const PATH: &str = "/debug/cut";
/// Nodes that one may be cut off from: more than any cluster has.
const MAX_NODES: usize = 4096;

/// The door to a node's cut, if it has one.
#[derive(Clone)]
pub enum CutDoor {
    /// The node was not started for it.
    Closed,
    /// Cuts are taken.
    Open(Arc<Cut>),
}

impl CutDoor {
    /// Answers a request for [`PATH`].
    pub fn answer(&self, method: &Method, uri: &Uri) -> Response<ObjectBody> {
        let Self::Open(cut) = self else {
            let why = "this node takes no cuts: it was not started with --allow-cut";
            return refuse(&Status::new(Reason::Forbidden, why));
        };
        match *method {
            Method::GET => {}
            Method::PUT => match nodes(uri.query().unwrap_or_default()) {
                Ok(nodes) => {
                    tracing::warn!(from = ?nodes, "the network is cut on purpose");
                    cut.set(nodes);
                }
                Err(status) => return refuse(&status),
            },
            _ => {
                let status = Status::new(Reason::MethodNotAllowed, format!("{method} is not possible here"));
                let mut response = refuse(&status);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, PUT"));
                return response;
            }
        }
        let cut: Vec<_> = cut.nodes().iter().map(ToString::to_string).collect();
        whole(Response::new(()), &json!({ "cut": cut }))
    }
}

/// The nodes that a query names.
fn nodes(query: &str) -> Result<BTreeSet<NodeId>, Status> {
    let bad = |what: &str| Status::new(Reason::BadRequest, format!("{what:?} is not understood: say from=ID,ID"));
    if query.is_empty() {
        return Ok(BTreeSet::new());
    }
    let names = query.strip_prefix("from=").ok_or_else(|| bad(query))?;
    let ids = names.split(',').filter(|name| !name.is_empty()).take(MAX_NODES);
    ids.map(|name| u64::from_str_radix(name, 16).map(NodeId).map_err(|_| bad(name))).collect()
}

fn refuse(status: &Status) -> Response<ObjectBody> {
    let mut response = Response::new(());
    *response.status_mut() = status.reason.code();
    whole(response, &json!(status))
}

fn whole(response: Response<()>, value: &Value) -> Response<ObjectBody> {
    let text = format!("{value}\n");
    let mut response = response.map(|()| ObjectBody::whole(text.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn put(door: &CutDoor, uri: &str) -> StatusCode {
        door.answer(&Method::PUT, &uri.parse().unwrap()).status()
    }

    #[test]
    fn a_node_is_cut_off_from_those_that_are_named_until_it_is_healed() {
        let cut = Arc::new(Cut::default());
        let door = CutDoor::Open(Arc::clone(&cut));
        assert_eq!(put(&door, "/debug/cut?from=2,8e9e05c52164694d"), StatusCode::OK);
        assert_eq!(cut.nodes(), BTreeSet::from([NodeId(2), NodeId(0x8e9e_05c5_2164_694d)]));
        assert_eq!(put(&door, "/debug/cut?from=n1"), StatusCode::BAD_REQUEST);
        assert_eq!(put(&door, "/debug/cut?of=2"), StatusCode::BAD_REQUEST);
        assert_eq!(cut.nodes().len(), 2, "what is not understood changes nothing");
        assert_eq!(put(&door, "/debug/cut"), StatusCode::OK);
        assert_eq!(cut.nodes(), BTreeSet::new());
        let response = door.answer(&Method::DELETE, &PATH.parse().unwrap());
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_node_that_was_not_started_for_it_takes_no_cut() {
        assert_eq!(put(&CutDoor::Closed, "/debug/cut?from=2"), StatusCode::FORBIDDEN);
    }
}
