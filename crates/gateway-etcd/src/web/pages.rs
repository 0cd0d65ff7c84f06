//! `/health`, `/livez`, `/readyz`, `/version` and `/metrics`, as etcd serves them on its client port.

use std::time::Duration;

use althing_api::cluster::AlarmKind;
use althing_api::kv::{Consistency, KeyRange, RangeRequest};
use althing_api::request::Body as Answered;
use althing_api::{ErrorKind, Request as Ask, Service};
use althing_types::NodeId;
use http::{Response, StatusCode, Uri};
use serde_json::json;
use tonic::body::Body;

use super::{JSON, page, text};
use crate::backend::{Backend, Context};
use crate::status::status;
use crate::{CLUSTER_VERSION, SERVER_VERSION};

pub(super) async fn serve(backend: &Backend, uri: &Uri) -> Response<Body> {
    let query = uri.query().unwrap_or_default();
    match uri.path() {
        "/health" => health(backend, query).await,
        "/version" => version(),
        "/metrics" => page(StatusCode::OK, OPEN_METRICS, backend.service().metrics().into_bytes()),
        path => match Probe::of(path) {
            Some((probe, one)) => report(probe, &outcomes(backend, probe, one, query).await, query),
            None => text(StatusCode::NOT_FOUND, "404 page not found\n"),
        },
    }
}

/// Whether there is a page at this path: only then is it the method that is wrong.
pub(super) fn is_page(path: &str) -> bool {
    matches!(path, "/health" | "/version" | "/metrics") || Probe::of(path).is_some()
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn version() -> Response<Body> {
    let versions = json!({ "etcdserver": SERVER_VERSION, "etcdcluster": CLUSTER_VERSION, "storage": CLUSTER_VERSION });
    page(StatusCode::OK, JSON, versions.to_string().into_bytes())
}

/// The values of a key in a query.
fn values<'a>(query: &'a str, key: &'static str) -> impl Iterator<Item = &'a str> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(move |(name, _)| *name == key).map(|(_, value)| value)
}

/// How long a probe waits for the node before it calls it unhealthy.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The oldest probe: one answer for everything. `?serializable=true` asks only this node, `?exclude=NOSPACE` overlooks
/// an alarm.
async fn health(backend: &Backend, query: &str) -> Response<Body> {
    let consistency = match values(query, "serializable").next() {
        Some("true") => Consistency::Serializable,
        _ => Consistency::Linearizable,
    };
    let mut result = read(backend, consistency).await.map_err(|why| format!("RANGE ERROR:{why}"));
    if result.is_ok() && consistency == Consistency::Linearizable {
        let excluded: Vec<&str> = values(query, "exclude").collect();
        result = no_alarm(backend, &excluded).await;
    }
    let (status, health, reason) = match result {
        Ok(()) => (StatusCode::OK, "true", String::new()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, "false", reason),
    };
    page(status, JSON, json!({ "health": health, "reason": reason }).to_string().into_bytes())
}

/// A read of at most one key, as any client's. A learner is sound when it reads what it has and follows a leader: more
/// it does not do for clients either.
async fn read(backend: &Backend, consistency: Consistency) -> Result<(), String> {
    let request = |consistency| {
        let request = RangeRequest { limit: 1, keys_only: true, consistency, ..RangeRequest::new(KeyRange::all()) };
        Ask::Range(request)
    };
    let context = Context { timeout: Some(PROBE_TIMEOUT), ..Context::default() };
    let mut result = backend.send(request(consistency), &context).await;
    if matches!(&result, Err(error) if error.kind == ErrorKind::Learner) {
        let context = Context { require_leader: true, ..context };
        result = backend.send(request(Consistency::Serializable), &context).await;
    }
    result.map(|_| ()).map_err(|error| status(&error).message().to_owned())
}

async fn no_alarm(backend: &Backend, excluded: &[&str]) -> Result<(), String> {
    let context = Context { timeout: Some(PROBE_TIMEOUT), ..Context::default() };
    let asked = Ask::Alarm { action: althing_api::cluster::AlarmAction::Get, member: NodeId::NONE, kind: None };
    let alarms = match backend.ask(asked, &context).await {
        Ok(althing_api::Answer { body: Answered::Alarms(alarms), .. }) => alarms,
        Ok(_) => return Err("ALARM ERROR:the node answered another question".to_owned()),
        Err(status) => return Err(format!("ALARM ERROR:{}", status.message())),
    };
    match alarms.iter().map(|alarm| alarm.kind.to_string()).find(|name| !excluded.contains(&name.as_str())) {
        Some(name) => Err(format!("ALARM {name}")),
        None => Ok(()),
    }
}

/// One of the two probes that are made of single checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Probe {
    /// Would a restart help?
    Live,
    /// May clients be sent here?
    Ready,
}

/// A single check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
}

impl Probe {
    /// `/livez`, `/readyz`, or one check of either: `/readyz/linearizable_read`.
    fn of(path: &str) -> Option<(Self, Option<Check>)> {
        let path = path.strip_prefix('/')?;
        let (name, rest) = path.split_once('/').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let probe = match name {
            "livez" => Self::Live,
            "readyz" => Self::Ready,
            _ => return None,
        };
        match rest {
            None | Some("") => Some((probe, None)),
            Some(one) => probe.checks().iter().find(|check| check.name() == one).map(|check| (probe, Some(*check))),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Live => "livez",
            Self::Ready => "readyz",
        }
    }

    const fn checks(self) -> &'static [Check] {
        match self {
            Self::Live => &[Check::SerializableRead],
            Self::Ready => &[Check::DataCorruption, Check::SerializableRead, Check::LinearizableRead],
        }
    }
}

impl Check {
    const fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::SerializableRead => "serializable_read",
            Self::LinearizableRead => "linearizable_read",
        }
    }

    async fn run(self, backend: &Backend) -> Result<(), String> {
        match self {
            Self::DataCorruption => no_alarm(backend, &[&AlarmKind::NoSpace.to_string()]).await,
            Self::SerializableRead => live(backend.service()).and(read(backend, Consistency::Serializable).await),
            Self::LinearizableRead => read(backend, Consistency::Linearizable).await,
        }
    }
}

fn live(service: &dyn Service) -> Result<(), String> {
    let health = service.health();
    if health.live { Ok(()) } else { Err(health.reasons.join("; ")) }
}

/// How a check ended.
enum Outcome {
    Passed,
    Excluded,
    Failed(String),
}

async fn outcomes(backend: &Backend, probe: Probe, one: Option<Check>, query: &str) -> Vec<(Check, Outcome)> {
    let mut outcomes = Vec::new();
    for check in probe.checks().iter().filter(|check| one.is_none_or(|one| one == **check)) {
        let outcome = if values(query, "exclude").any(|name| name == check.name()) {
            Outcome::Excluded
        } else {
            match check.run(backend).await {
                Ok(()) => Outcome::Passed,
                Err(why) => Outcome::Failed(why),
            }
        };
        outcomes.push((*check, outcome));
    }
    outcomes
}

fn report(probe: Probe, outcomes: &[(Check, Outcome)], query: &str) -> Response<Body> {
    let mut lines = String::new();
    let mut passed = true;
    for (check, outcome) in outcomes {
        let name = check.name();
        lines += &match outcome {
            Outcome::Passed => format!("[+]{name} ok\n"),
            Outcome::Excluded => format!("[+]{name} excluded: ok\n"),
            Outcome::Failed(why) => {
                passed = false;
                format!("[-]{name} failed: {why}\n")
            }
        };
    }
    if !passed {
        return text(StatusCode::SERVICE_UNAVAILABLE, format!("{lines}{} check failed\n", probe.name()));
    }
    match values(query, "verbose").next() {
        Some(_) => text(StatusCode::OK, format!("{lines}ok\n")),
        None => text(StatusCode::OK, "ok\n"),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::{BodyExt, Empty};

    use super::*;
    use crate::testing::TestNode;

    async fn get(node: &TestNode, path: &'static str) -> (StatusCode, String) {
        let request = Request::get(path).body(Empty::<bytes::Bytes>::new()).unwrap();
        let Ok(response) = node.gateway().handle(request).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_healthy_node_says_so_on_every_page() {
        let node = TestNode::default();
        let json: serde_json::Value = serde_json::from_str(&get(&node, "/health").await.1).unwrap();
        assert_eq!(json, json!({ "health": "true", "reason": "" }));
        assert_eq!(get(&node, "/livez").await, (StatusCode::OK, "ok\n".to_owned()));
        let verbose = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n";
        assert_eq!(get(&node, "/readyz?verbose").await, (StatusCode::OK, verbose.to_owned()));
        let version: serde_json::Value = serde_json::from_str(&get(&node, "/version").await.1).unwrap();
        assert_eq!(version["etcdserver"], SERVER_VERSION);
        assert_eq!(get(&node, "/metrics").await.1, "# EOF\n");
        assert_eq!(get(&node, "/other").await.0, StatusCode::NOT_FOUND);
        for (path, status) in [("/health", StatusCode::METHOD_NOT_ALLOWED), ("/v2/keys/a", StatusCode::NOT_FOUND)] {
            let request = Request::post(path).body(Empty::<bytes::Bytes>::new()).unwrap();
            let Ok(response) = node.gateway().handle(request).await;
            assert_eq!(response.status(), status, "{path}");
        }
    }

    #[tokio::test]
    async fn a_node_that_cannot_read_is_unhealthy_and_says_why() {
        let node = TestNode::default();
        node.table().refuse = Some(ErrorKind::NoLeader);
        let (status, body) = get(&node, "/health").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json, json!({ "health": "false", "reason": "RANGE ERROR:etcdserver: no leader" }));
        let (status, body) = get(&node, "/readyz/linearizable_read").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, "[-]linearizable_read failed: etcdserver: no leader\nreadyz check failed\n");
        assert_eq!(get(&node, "/readyz/linearizable_read?exclude=linearizable_read").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn an_alarm_makes_a_node_unhealthy_unless_it_is_excluded() {
        let node = TestNode::default();
        node.table().no_space();
        let json: serde_json::Value = serde_json::from_str(&get(&node, "/health").await.1).unwrap();
        assert_eq!(json["reason"], "ALARM NOSPACE");
        assert_eq!(get(&node, "/health?exclude=NOSPACE").await.0, StatusCode::OK);
        assert_eq!(get(&node, "/readyz").await.0, StatusCode::OK, "a full table still serves reads");
    }

    #[tokio::test]
    async fn a_learner_is_well_although_it_refuses_linearizable_reads() {
        let node = TestNode::default();
        node.table().learner = true;
        assert_eq!(get(&node, "/health").await.0, StatusCode::OK);
        assert_eq!(get(&node, "/readyz").await.0, StatusCode::OK);
        node.table().refuse = Some(ErrorKind::NoLeader);
        assert_eq!(get(&node, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_probe_is_the_whole_or_one_of_its_own_checks() {
        assert_eq!(Probe::of("/livez"), Some((Probe::Live, None)));
        assert_eq!(Probe::of("/readyz/"), Some((Probe::Ready, None)));
        assert_eq!(Probe::of("/readyz/linearizable_read"), Some((Probe::Ready, Some(Check::LinearizableRead))));
        assert_eq!(Probe::of("/livez/linearizable_read"), None);
        assert_eq!(Probe::of("/other"), None);
    }

    #[test]
    fn a_query_gives_every_value_of_a_key() {
        let query = "verbose&exclude=a&exclude=b";
        assert_eq!(values(query, "exclude").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(values(query, "verbose").next(), Some(""));
        assert_eq!(values("", "verbose").next(), None);
    }
}
