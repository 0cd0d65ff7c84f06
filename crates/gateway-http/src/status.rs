//! Errors as clients see them: a JSON object of kind `Status`, whose `reason` programs match on and whose `message` people
//! read.

use althing_api::{Error, ErrorKind, Outcome};
use http::StatusCode;
use serde::{Deserialize, Serialize};

/// Why a request was not done, in one word for programs. The HTTP code follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reason {
    /// The request cannot be read: no JSON, a query that means nothing.
    BadRequest,
    /// The object is read but says something that no object may; `details.causes` names each field.
    Invalid,
    /// There is no such object, or no such path.
    NotFound,
    /// There is an object of this name.
    AlreadyExists,
    /// The object has changed since it was read.
    Conflict,
    /// The object cannot be changed so by anybody, or not now.
    Forbidden,
    /// The path is there, the method is not; the header `allow` lists those that are.
    MethodNotAllowed,
    /// The body is too large.
    RequestEntityTooLarge,
    /// The body is of a type that is not read.
    UnsupportedMediaType,
    /// The revision asked for is gone; list again and go on from there.
    Expired,
    /// Too much is asked at once; wait and send again.
    TooManyRequests,
    /// No meta node can be asked now; wait and send again.
    ServiceUnavailable,
    /// It took too long; a write may have been done.
    Timeout,
    /// The disk is full.
    InsufficientStorage,
    /// The node answers what it should not.
    InternalError,
}

impl Reason {
    /// The HTTP code.
    #[must_use]
    pub const fn code(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::AlreadyExists | Self::Conflict => StatusCode::CONFLICT,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestEntityTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Expired => StatusCode::GONE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::InsufficientStorage => StatusCode::INSUFFICIENT_STORAGE,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the same request may do better in a moment.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        match self {
            Self::TooManyRequests | Self::ServiceUnavailable | Self::Timeout => true,
            Self::BadRequest
            | Self::Invalid
            | Self::NotFound
            | Self::AlreadyExists
            | Self::Conflict
            | Self::Forbidden
            | Self::MethodNotAllowed
            | Self::RequestEntityTooLarge
            | Self::UnsupportedMediaType
            | Self::Expired
            | Self::InsufficientStorage
            | Self::InternalError => false,
        }
    }
}

/// The word `Status`, the only kind that an error has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StatusKind {
    /// An error.
    Status,
}

/// What is wrong with one field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cause {
    /// Which field, such as `spec.shards`.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

/// What else is known of an error.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Details {
    /// One for each field that is wrong.
    #[serde(default)]
    pub causes: Vec<Cause>,
}

/// An error.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Always `Status`.
    pub kind: StatusKind,
    /// The HTTP code.
    pub code: u16,
    /// In one word, for programs.
    pub reason: Reason,
    /// In words, for people: what is wrong and what to do.
    pub message: String,
    /// What is wrong with which field.
    #[serde(default)]
    pub details: Details,
}

impl Status {
    /// An error without fields.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let code = reason.code().as_u16();
        Self { kind: StatusKind::Status, code, reason, message: message.into(), details: Details::default() }
    }

    /// The same error, with what is wrong with which field.
    #[must_use]
    pub fn with_causes(mut self, causes: Vec<Cause>) -> Self {
        self.details.causes = causes;
        self
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let reason = reason(&error.kind);
        let next = match (error.outcome, reason.is_passing()) {
            (Outcome::NotDone, true) => "; nothing was changed: send it again",
            (Outcome::NotDone, false) => "",
            (Outcome::MaybeDone, _) => "; a change may have been made: read before sending it again",
        };
        Self::new(reason, format!("{}{next}", error.kind))
    }
}

/// What an error of the meta table is to a client of its objects. Those of keys, leases and members cannot come of what is
/// asked here.
const fn reason(kind: &ErrorKind) -> Reason {
    match kind {
        ErrorKind::Compacted { .. } => Reason::Expired,
        ErrorKind::FutureRevision { .. } => Reason::BadRequest,
        ErrorKind::NoSpace => Reason::InsufficientStorage,
        ErrorKind::Overloaded => Reason::TooManyRequests,
        ErrorKind::Timeout => Reason::Timeout,
        ErrorKind::RequestTooLarge { .. } => Reason::RequestEntityTooLarge,
        ErrorKind::NoLeader
        | ErrorKind::LeaderChanged
        | ErrorKind::Stopped
        | ErrorKind::NotLeader
        | ErrorKind::Unhealthy
        | ErrorKind::WrongShard
        | ErrorKind::ShardUnavailable
        | ErrorKind::Learner => Reason::ServiceUnavailable,
        ErrorKind::EmptyKey
        | ErrorKind::KeyTooLong { .. }
        | ErrorKind::ValueProvided
        | ErrorKind::LeaseProvided
        | ErrorKind::KeyNotFound
        | ErrorKind::DuplicateKey
        | ErrorKind::TooManyOperations { .. }
        | ErrorKind::InvalidArgument(_)
        | ErrorKind::LeaseNotFound(_)
        | ErrorKind::LeaseExists(_)
        | ErrorKind::LeaseTtlTooLarge(_)
        | ErrorKind::Corrupt
        | ErrorKind::BadLeaderTransferee(_)
        | ErrorKind::MemberNotFound(_)
        | ErrorKind::MemberExists(_)
        | ErrorKind::PeerUrlExists
        | ErrorKind::BadUrl(_)
        | ErrorKind::NotLearner(_)
        | ErrorKind::LearnerNotReady(_)
        | ErrorKind::TooManyLearners
        | ErrorKind::Unsupported(_)
        | ErrorKind::UnknownTable(_)
        | ErrorKind::CrossShard(_)
        | ErrorKind::NotBuilt(_)
        | ErrorKind::Storage(_) => Reason::InternalError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whether_to_send_it_again() {
        let status = Status::from(Error::not_done(ErrorKind::NoLeader));
        assert_eq!((status.code, status.reason), (503, Reason::ServiceUnavailable));
        assert_eq!(status.message, "there is no leader; nothing was changed: send it again");
        let status = Status::from(Error::maybe_done(ErrorKind::Timeout));
        assert_eq!(status.message, "the request timed out; a change may have been made: read before sending it again");
    }

    #[test]
    fn an_error_is_json_of_kind_status() {
        let cause = Cause { field: "spec.shards".into(), message: "0 is too few".into() };
        let status = Status::new(Reason::Invalid, "no").with_causes(vec![cause]);
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(
            json,
            "{\"kind\":\"Status\",\"code\":422,\"reason\":\"Invalid\",\"message\":\"no\",\
             \"details\":{\"causes\":[{\"field\":\"spec.shards\",\"message\":\"0 is too few\"}]}}"
        );
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }
}
