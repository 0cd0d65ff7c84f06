//! The service behind the paths of the API: takes a request apart, and gives the answer its head.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use althing_api::Service as Node;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use tokio::time::timeout;

use crate::body::ObjectBody;
use crate::objects::{Objects, Outcome};
use crate::query::{Form, Query};
use crate::route::{Target, Verb, allow};
use crate::status::{Reason, Status};
use crate::store::Store;
use crate::watch::{self, Watchers};
use crate::{BASE, CLUSTER_ID_HEADER, discovery};

/// Bytes of a body: an object with all the spaces that people like.
pub(crate) const MAX_BODY_BYTES: usize = 4 * althing_manifest::MAX_OBJECT_BYTES;
/// How long a client may take to send one.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The gateway of one node; see [`crate::router`].
#[derive(Clone)]
pub struct Gateway {
    store: Store,
    watchers: Watchers,
}

/// Whatever the body of a request fails with.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer to come.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<ObjectBody>, Infallible>> + Send>>;

impl Gateway {
    pub(crate) fn new(service: Arc<dyn Node>) -> Self {
        Self { store: Store::new(service), watchers: Watchers::default() }
    }

    /// Whether a path is one of this gateway's; all others are another one's.
    #[must_use]
    pub fn serves(path: &str) -> bool {
        path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Serves one request. Dropping the future, or the body of the answer, ends what it was doing; a write that has begun
    /// may still be done.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<ObjectBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError> + Send,
    {
        let is_head = request.method() == Method::HEAD;
        let mut response = self.serve(request).await.unwrap_or_else(|refused| refused.into_response());
        let cluster = self.store.service().cluster().to_string();
        if let Ok(cluster) = HeaderValue::from_str(&cluster) {
            response.headers_mut().insert(HeaderName::from_static(CLUSTER_ID_HEADER), cluster);
        }
        if is_head {
            *response.body_mut() = ObjectBody::whole(Bytes::new());
        }
        response
    }

    async fn serve<B>(&self, request: Request<B>) -> Result<Response<ObjectBody>, Refused>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError> + Send,
    {
        let (head, body) = request.into_parts();
        let target = Target::parse(head.uri.path())?;
        let verb = target.verb(&head.method).map_err(|(allowed, status)| Refused { status, allowed })?;
        let query = Query::parse(head.uri.query().unwrap_or_default())?;
        let objects = Objects { store: &self.store };
        match (target, verb) {
            (Target::Discovery, _) => json(StatusCode::OK, &discovery::document()),
            (Target::All(kind), Verb::Read) => match query.form {
                Form::Watch if head.method == Method::GET => {
                    let place = self.watchers.enter()?;
                    let lines = watch::follow(self.store.clone(), kind, query.selector, query.revision, place).await?;
                    Ok(answer(StatusCode::OK, ObjectBody::lines(lines)))
                }
                Form::Watch | Form::List => {
                    json(StatusCode::OK, &objects.list(kind, &query.selector, query.revision).await?)
                }
            },
            (Target::One(kind, name), Verb::Read) => json(StatusCode::OK, &objects.get(kind, name).await?),
            (Target::All(kind), _) => {
                let value = read_body(&head.headers, body).await?;
                let object = objects.create(kind, &value, query.effect).await?;
                let mut response = json(StatusCode::CREATED, &object)?;
                let location = format!("{BASE}/{}/{}", kind.plural(), object.name());
                let location = HeaderValue::from_str(&location).map_err(|error| internal(&error))?;
                response.headers_mut().insert(LOCATION, location);
                Ok(response)
            }
            (Target::One(kind, name), Verb::Delete) => match objects.delete(kind, name, query.effect).await? {
                Outcome::Done(deletion) => json(StatusCode::OK, &deletion),
                Outcome::Begun(deletion) => json(StatusCode::ACCEPTED, &deletion),
            },
            (Target::One(kind, name), Verb::Create | Verb::Replace) => {
                let value = read_body(&head.headers, body).await?;
                json(StatusCode::OK, &objects.replace(kind, name, &value, query.effect).await?)
            }
        }
    }
}

impl<B> tower_service::Service<Request<B>> for Gateway
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + Send,
{
    type Response = Response<ObjectBody>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Overload is refused by the node, request by request.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let gateway = self.clone();
        Box::pin(async move { Ok(gateway.handle(request).await) })
    }
}

/// An error, and what would be allowed instead if it is the method that is wrong.
struct Refused {
    status: Status,
    allowed: &'static [Verb],
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self { status, allowed: &[] }
    }
}

impl Refused {
    fn into_response(self) -> Response<ObjectBody> {
        let bytes = serde_json::to_vec(&self.status).unwrap_or_default();
        let mut response = whole(self.status.reason.code(), bytes);
        if let (false, Ok(allowed)) = (self.allowed.is_empty(), HeaderValue::from_str(&allow(self.allowed))) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        if self.status.reason.is_passing() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn internal(error: &dyn std::fmt::Display) -> Refused {
    Status::new(Reason::InternalError, error.to_string()).into()
}

fn json(code: StatusCode, value: &impl Serialize) -> Result<Response<ObjectBody>, Refused> {
    Ok(whole(code, serde_json::to_vec(value).map_err(|error| internal(&error))?))
}

fn whole(code: StatusCode, mut bytes: Vec<u8>) -> Response<ObjectBody> {
    bytes.push(b'\n');
    let length = HeaderValue::from(bytes.len());
    let mut response = answer(code, ObjectBody::whole(bytes.into()));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

fn answer(code: StatusCode, body: ObjectBody) -> Response<ObjectBody> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Reads the JSON that a client sends. Only what says that it is JSON is read: a page in a browser cannot send that to another
/// site without being asked first, so it cannot write to a cluster on its visitor's machine.
async fn read_body<B>(headers: &HeaderMap, body: B) -> Result<serde_json::Value, Status>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + Send,
{
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let message = format!("the body is {kind:?}; send JSON with the header content-type: application/json");
        return Err(Status::new(Reason::UnsupportedMediaType, message));
    }
    let whole = match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(whole)) => whole.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body has more than {MAX_BODY_BYTES} bytes: it is no object");
            return Err(Status::new(Reason::RequestEntityTooLarge, message));
        }
        Ok(Err(error)) => return Err(Status::new(Reason::BadRequest, format!("the body ended early: {error}"))),
        Err(_) => return Err(Status::new(Reason::BadRequest, "the body did not come in time")),
    };
    let value = serde_json::from_slice(&whole);
    value.map_err(|error| Status::new(Reason::BadRequest, format!("the body is no JSON: {error}")))
}
