//! The objects of a cluster, asked for over HTTP (`docs/http-api.md`).

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use althing_gateway_http::status::{Reason, Status};
use althing_manifest::{Kind, Object, Unreadable};
use althing_types::{NodeId, Revision};
use bytes::{Buf, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use serde::Deserialize;
use serde_json::Value;

use crate::error::CliError;
use crate::remote::{RemoteArgs, status_text};

/// What the paths of objects begin with.
const BASE: &str = althing_gateway_http::BASE;

/// The body of an answer; what it fails with is in words.
pub type Body = UnsyncBoxBody<Bytes, String>;

/// An answer to come.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response<Body>, CliError>> + 'a>>;

/// A metrics page to come.
pub type Paging<'a> = Pin<Box<dyn Future<Output = Result<String, CliError>> + 'a>>;

/// The way to one node: a connection, or, in tests, a gateway in this process.
pub trait Door {
    /// Sends a request.
    fn send(&self, request: Request<Bytes>) -> Answering<'_>;

    /// The metrics page of whichever node is at this URL: what each node says of itself only it can be asked.
    fn page<'a>(&'a self, url: &'a str) -> Paging<'a>;
}

/// Why something was not done.
#[derive(Debug)]
pub enum Refused {
    /// The cluster says no.
    Status(Box<Status>),
    /// It was not reached, or what it says makes no sense.
    Other(CliError),
}

impl Refused {
    /// The reason, if it is the cluster that says no.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Status(status) => Some(status.reason),
            Self::Other(_) => None,
        }
    }
}

impl From<CliError> for Refused {
    fn from(error: CliError) -> Self {
        Self::Other(error)
    }
}

impl From<Refused> for CliError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Other(error) => error,
            Refused::Status(status) => match status.reason {
                Reason::Invalid | Reason::BadRequest => Self::Usage(status.message),
                _ => Self::Failed(status.message),
            },
        }
    }
}

/// Whether a write is done or only shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It is done.
    Done,
    /// The cluster judges it and shows what it would do.
    Shown,
}

impl Effect {
    const fn query(self) -> &'static str {
        match self {
            Self::Done => "",
            Self::Shown => "?dryRun=true",
        }
    }
}

/// Objects and the revision at which they were read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List {
    /// The objects, by name.
    pub items: Vec<Object>,
    /// The revision.
    pub revision: Revision,
}

/// What a deletion has done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deleted {
    /// The object is gone; the text says what to do next.
    Gone(String),
    /// It goes by and by; the text says when.
    Going(String),
}

/// What happened to an object that is followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// It is there now, or is another one.
    Written(Box<Object>),
    /// It has gone.
    Gone(String),
}

/// A cluster, reached through one of its nodes.
pub struct Cluster {
    door: Box<dyn Door>,
    /// How its nodes are reached.
    pub remote: RemoteArgs,
}

/// A connection to one endpoint.
struct Endpoint {
    remote: RemoteArgs,
    at: String,
}

impl Door for Endpoint {
    fn send(&self, request: Request<Bytes>) -> Answering<'_> {
        Box::pin(async move {
            let said = self.remote.http(&self.at, request).await;
            let response = said.map_err(|error| CliError::failed(format!("{}: {error}", self.at)))?;
            Ok(response.map(|body| body.map_err(|status| status_text(&status)).boxed_unsync()))
        })
    }

    fn page<'a>(&'a self, url: &'a str) -> Paging<'a> {
        Box::pin(self.remote.metrics(url))
    }
}

#[derive(Deserialize)]
struct ListBody {
    metadata: ListMetadata,
    items: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
}

impl Cluster {
    /// A cluster behind a door.
    #[must_use]
    pub fn behind(door: impl Door + 'static, remote: RemoteArgs) -> Self {
        Self { door: Box::new(door), remote }
    }

    /// The cluster behind the first endpoint that answers.
    pub async fn connect(remote: RemoteArgs) -> Result<Self, CliError> {
        let remote = remote.resolved()?;
        let mut failures = Vec::new();
        for at in &remote.endpoints {
            let cluster = Self::behind(Endpoint { remote: remote.clone(), at: at.clone() }, remote.clone());
            match cluster.ask(Method::GET, "", None).await {
                Ok(_) => return Ok(cluster),
                Err(Refused::Status(status)) => failures.push(format!("{at}: {}", status.message)),
                Err(Refused::Other(error)) => failures.push(error.to_string()),
            }
        }
        Err(CliError::failed(format!(
            "no endpoint answers: {}; is the cluster running? Name its nodes with --endpoints, or see `althing context`",
            failures.join("; ")
        )))
    }

    /// Sends a request and returns the head and the whole body of an answer that is no error.
    async fn ask(&self, method: Method, path: &str, body: Option<&Object>) -> Result<(HeaderMap, Bytes), Refused> {
        let response = self.door.send(request(method, path, body)?).await?;
        let (head, body) = response.into_parts();
        let whole = tokio::time::timeout(self.remote.timeout() * 4, body.collect()).await;
        let whole = whole.map_err(|_| CliError::failed("the answer did not end in time"))?;
        let whole = whole.map_err(|error| CliError::failed(format!("the answer broke off: {error}")))?.to_bytes();
        if head.status.is_success() {
            return Ok((head.headers, whole));
        }
        match serde_json::from_slice::<Status>(&whole) {
            Ok(status) => Err(Refused::Status(Box::new(status))),
            Err(_) => {
                let text = String::from_utf8_lossy(&whole).trim().chars().take(200).collect::<String>();
                let said = format!("the endpoint answers {} ({text:?}): it serves no objects", head.status);
                Err(CliError::failed(said).into())
            }
        }
    }

    /// The cluster's id, as every answer names it: sixteen hexadecimal digits.
    pub async fn id(&self) -> Result<String, Refused> {
        let (headers, _) = self.ask(Method::GET, "", None).await?;
        let id = headers.get(althing_gateway_http::CLUSTER_ID_HEADER).and_then(|id| id.to_str().ok());
        Ok(id.unwrap_or_default().to_owned())
    }

    /// All objects of a kind that a selector means.
    pub async fn list(&self, kind: Kind, selector: Option<&str>) -> Result<List, Refused> {
        let query = selector.map(|text| format!("?labelSelector={}", encode(text))).unwrap_or_default();
        let (_, body) = self.ask(Method::GET, &format!("/{}{query}", kind.plural()), None).await?;
        let list: ListBody = serde_json::from_slice(&body).map_err(|error| senseless(&error))?;
        let items = list.items.iter().map(|item| read(kind, item)).collect::<Result<_, _>>()?;
        let revision = list.metadata.resource_version.parse().map_err(|error| senseless(&error))?;
        Ok(List { items, revision: Revision(revision) })
    }

    /// One object.
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Object, Refused> {
        let (_, body) = self.ask(Method::GET, &path_of(kind, name), None).await?;
        read_bytes(kind, &body)
    }

    /// The metrics pages of nodes, of those that answer. All are asked at once.
    pub async fn pages(&self, nodes: Vec<(NodeId, &str)>) -> BTreeMap<NodeId, String> {
        let mut asked: Vec<_> = nodes.into_iter().map(|(id, url)| (id, self.door.page(url))).collect();
        let mut pages = BTreeMap::new();
        poll_fn(|context| {
            asked.retain_mut(|(id, page)| match page.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(answered) => {
                    pages.extend(answered.ok().map(|page| (*id, page)));
                    false
                }
            });
            if asked.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        pages
    }

    /// One object, if it is there.
    pub async fn find(&self, kind: Kind, name: &str) -> Result<Option<Object>, Refused> {
        match self.get(kind, name).await {
            Ok(object) => Ok(Some(object)),
            Err(refused) if refused.reason() == Some(Reason::NotFound) => Ok(None),
            Err(refused) => Err(refused),
        }
    }

    /// Makes an object.
    pub async fn create(&self, object: &Object, effect: Effect) -> Result<Object, Refused> {
        let path = format!("/{}{}", object.kind().plural(), effect.query());
        let (_, body) = self.ask(Method::POST, &path, Some(object)).await?;
        read_bytes(object.kind(), &body)
    }

    /// Replaces an object.
    pub async fn replace(&self, object: &Object, effect: Effect) -> Result<Object, Refused> {
        let path = format!("{}{}", path_of(object.kind(), object.name()), effect.query());
        let (_, body) = self.ask(Method::PUT, &path, Some(object)).await?;
        read_bytes(object.kind(), &body)
    }

    /// Deletes an object.
    pub async fn delete(&self, kind: Kind, name: &str, effect: Effect) -> Result<Deleted, Refused> {
        let path = format!("{}{}", path_of(kind, name), effect.query());
        let (_, body) = self.ask(Method::DELETE, &path, None).await?;
        let deletion: Value = serde_json::from_slice(&body).map_err(|error| senseless(&error))?;
        let message = deletion["message"].as_str().unwrap_or_default().to_owned();
        let is_going = deletion["object"]["metadata"]["deleting"].as_bool().unwrap_or_default();
        Ok(if is_going { Deleted::Going(message) } else { Deleted::Gone(message) })
    }

    /// Follows the objects of a kind from a revision on.
    pub async fn follow(&self, kind: Kind, selector: Option<&str>, since: Revision) -> Result<Follower, Refused> {
        let selector = selector.map(|text| format!("&labelSelector={}", encode(text))).unwrap_or_default();
        let path = format!("/{}?watch=true&resourceVersion={since}{selector}", kind.plural());
        let response = self.door.send(request(Method::GET, &path, None)?).await?;
        let is_success = response.status().is_success();
        let mut follower = Follower { kind, body: response.into_body(), buffer: BytesMut::new(), revision: since };
        if is_success {
            return Ok(follower);
        }
        let line = follower.line().await?.unwrap_or_default();
        let status = serde_json::from_slice::<Status>(&line).map_err(|error| senseless(&error))?;
        Err(Refused::Status(Box::new(status)))
    }
}

/// A stream of what happens to the objects of a kind.
pub struct Follower {
    kind: Kind,
    body: Body,
    buffer: BytesMut,
    /// All that was written up to here has been told.
    pub revision: Revision,
}

/// Bytes of one line at the most: an object, and what is around it.
const MAX_LINE_BYTES: usize = 2 * althing_manifest::MAX_OBJECT_BYTES;

impl Follower {
    /// The next event; none if the stream has ended.
    pub async fn next(&mut self) -> Result<Option<Event>, Refused> {
        while let Some(line) = self.line().await? {
            let event: Value = serde_json::from_slice(&line).map_err(|error| senseless(&error))?;
            let (what, object) = (event["type"].as_str().unwrap_or_default(), &event["object"]);
            if let Some(revision) = object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()) {
                self.revision = self.revision.max(Revision(revision));
            }
            match what {
                "ADDED" | "MODIFIED" => {
                    return read(self.kind, object).map(|object| Some(Event::Written(Box::new(object))));
                }
                "DELETED" => {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                    return Ok(Some(Event::Gone(name)));
                }
                "ERROR" => {
                    let status = Status::deserialize(object).map_err(|error| senseless(&error))?;
                    return Err(Refused::Status(Box::new(status)));
                }
                // A bookmark, or what a later version has to say.
                _ => {}
            }
        }
        Ok(None)
    }

    async fn line(&mut self) -> Result<Option<Bytes>, Refused> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end).freeze();
                self.buffer.advance(1);
                return Ok(Some(line));
            }
            if self.buffer.len() > MAX_LINE_BYTES {
                return Err(CliError::failed("the stream has a line that is too long for an object").into());
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(CliError::failed(format!("the stream broke off: {error}")).into()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

fn request(method: Method, path: &str, body: Option<&Object>) -> Result<Request<Bytes>, CliError> {
    let mut request = Request::builder().method(method).uri(format!("{BASE}{path}"));
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    request.body(body.map(|object| object.to_json().into()).unwrap_or_default()).map_err(CliError::usage)
}

fn path_of(kind: Kind, name: &str) -> String {
    format!("/{}/{}", kind.plural(), encode(name))
}

/// Percent-encoding of everything but letters, digits and what is never special.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte as char),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

fn read_bytes(kind: Kind, bytes: &[u8]) -> Result<Object, Refused> {
    read(kind, &serde_json::from_slice(bytes).map_err(|error| senseless(&error))?)
}

fn read(kind: Kind, value: &Value) -> Result<Object, Refused> {
    let revision = value["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    let object = Object::from_stored(kind, Revision(revision), value.to_string().as_bytes());
    object.map_err(|Unreadable { kind, reason }| {
        let said =
            format!("the cluster sent a {kind} that this program cannot read ({reason}); use the cluster's version");
        CliError::failed(said).into()
    })
}

fn senseless(error: &dyn std::fmt::Display) -> Refused {
    CliError::failed(format!("the cluster's answer makes no sense: {error}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_special_in_a_path_is_encoded() {
        assert_eq!(encode("n-1_a.b"), "n-1_a.b");
        assert_eq!(encode("a/b?c=d é"), "a%2Fb%3Fc%3Dd%20%C3%A9");
    }

    #[test]
    fn what_a_person_must_correct_has_the_exit_code_for_it() {
        let refused = |reason| CliError::from(Refused::Status(Box::new(Status::new(reason, "no"))));
        assert!(matches!(refused(Reason::Invalid), CliError::Usage(_)));
        assert!(matches!(refused(Reason::Conflict), CliError::Failed(_)));
    }
}
