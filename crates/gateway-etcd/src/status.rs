//! etcd's error codes and texts: the one place where they are written.
//!
//! Clients match on the text as well as on the code, so each is etcd's own to the letter (its `rpctypes`). Where Althing
//! refuses something that etcd has no error for, the text begins with `etcdserver:` all the same and says what is wrong.

use althing_api::{Error, ErrorKind};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// An error of etcd that the gateway itself finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    EmptyKey,
    KeyNotFound,
    ValueProvided,
    LeaseProvided,
    TooManyOperations,
    DuplicateKey,
    InvalidSortOption,
    InvalidCompare,
    RequestTooLarge,
    NoLeader,
    BadMemberUrls,
    LeaseNotFound,
    RootUserMissing,
    UserNotFound,
    UserEmpty,
    RoleNotFound,
    RoleEmpty,
    AuthNotEnabled,
    PermissionNotGiven,
    InvalidAuthManagement,
    DowngradeVersionFormat,
    InvalidDowngradeTarget,
    NoDowngrade,
}

impl Refusal {
    /// The code and the text.
    pub(crate) const fn parts(self) -> (Code, &'static str) {
        use Code::{FailedPrecondition, InvalidArgument, NotFound, Unavailable};
        match self {
            Self::EmptyKey => (InvalidArgument, "etcdserver: key is not provided"),
            Self::KeyNotFound => (InvalidArgument, "etcdserver: key not found"),
            Self::ValueProvided => (InvalidArgument, "etcdserver: value is provided"),
            Self::LeaseProvided => (InvalidArgument, "etcdserver: lease is provided"),
            Self::TooManyOperations => (InvalidArgument, "etcdserver: too many operations in txn request"),
            Self::DuplicateKey => (InvalidArgument, "etcdserver: duplicate key given in txn request"),
            Self::InvalidSortOption => (InvalidArgument, "etcdserver: invalid sort option"),
            Self::InvalidCompare => (InvalidArgument, "etcdserver: invalid comparison"),
            Self::RequestTooLarge => (InvalidArgument, "etcdserver: request is too large"),
            Self::NoLeader => (Unavailable, "etcdserver: no leader"),
            Self::BadMemberUrls => (InvalidArgument, "etcdserver: given member URLs are invalid"),
            Self::LeaseNotFound => (NotFound, "etcdserver: requested lease not found"),
            Self::RootUserMissing => (FailedPrecondition, "etcdserver: root user does not exist"),
            Self::UserNotFound => (FailedPrecondition, "etcdserver: user name not found"),
            Self::UserEmpty => (InvalidArgument, "etcdserver: user name is empty"),
            Self::RoleNotFound => (FailedPrecondition, "etcdserver: role name not found"),
            Self::RoleEmpty => (InvalidArgument, "etcdserver: role name is empty"),
            Self::AuthNotEnabled => (FailedPrecondition, "etcdserver: authentication is not enabled"),
            Self::PermissionNotGiven => (InvalidArgument, "etcdserver: permission not given"),
            Self::InvalidAuthManagement => (InvalidArgument, "etcdserver: invalid auth management"),
            Self::DowngradeVersionFormat => (InvalidArgument, "etcdserver: wrong downgrade target version format"),
            Self::InvalidDowngradeTarget => (InvalidArgument, "etcdserver: invalid downgrade target version"),
            Self::NoDowngrade => (FailedPrecondition, "etcdserver: no inflight downgrade job"),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, text) = refusal.parts();
        Self::new(code, text)
    }
}

/// The text of [`ErrorKind::Compacted`], which watches carry as a cancel reason too.
pub(crate) const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

/// How an error is said.
enum Said {
    /// As the gateway itself would have refused.
    Refusal(Refusal),
    /// In etcd's own text.
    Text(Code, &'static str),
    /// Etcd has no such error: in the words of the tables.
    OwnWords(Code),
}

/// A node's error in etcd's words.
#[must_use]
pub fn status(error: &Error) -> Status {
    let mut status = match said(&error.kind) {
        Said::Refusal(refusal) => refusal.into(),
        Said::Text(code, text) => Status::new(code, text),
        Said::OwnWords(code) => Status::new(code, format!("etcdserver: {}", error.kind)),
    };
    if error.kind == ErrorKind::Overloaded {
        status.metadata_mut().insert(PUSHBACK, MetadataValue::from_static(RETRY_AFTER));
    }
    status
}

/// Where gRPC's retry policy of a client looks for how long it should wait ("gRPC Retry Design", A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// Milliseconds until a refused request should be tried again: what the queue before it takes, which is kept near that.
const RETRY_AFTER: &str = "250";

const fn said(kind: &ErrorKind) -> Said {
    use Code::{
        DataLoss, FailedPrecondition, Internal, InvalidArgument, NotFound, OutOfRange, ResourceExhausted, Unavailable,
        Unimplemented,
    };
    use Said::{OwnWords, Refusal as Refused, Text};
    match kind {
        ErrorKind::EmptyKey => Refused(Refusal::EmptyKey),
        ErrorKind::KeyNotFound => Refused(Refusal::KeyNotFound),
        ErrorKind::ValueProvided => Refused(Refusal::ValueProvided),
        ErrorKind::LeaseProvided => Refused(Refusal::LeaseProvided),
        ErrorKind::DuplicateKey => Refused(Refusal::DuplicateKey),
        ErrorKind::TooManyOperations { .. } => Refused(Refusal::TooManyOperations),
        ErrorKind::RequestTooLarge { .. } => Refused(Refusal::RequestTooLarge),
        ErrorKind::LeaseNotFound(_) => Refused(Refusal::LeaseNotFound),
        ErrorKind::NoLeader => Refused(Refusal::NoLeader),
        ErrorKind::BadUrl(_) => Refused(Refusal::BadMemberUrls),
        ErrorKind::Compacted { .. } => Text(OutOfRange, COMPACTED),
        ErrorKind::FutureRevision { .. } => {
            Text(OutOfRange, "etcdserver: mvcc: required revision is a future revision")
        }
        ErrorKind::LeaseExists(_) => Text(FailedPrecondition, "etcdserver: lease already exists"),
        ErrorKind::LeaseTtlTooLarge(_) => Text(OutOfRange, "etcdserver: too large lease TTL"),
        ErrorKind::NoSpace => Text(ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        ErrorKind::Corrupt => Text(DataLoss, "etcdserver: corrupt cluster"),
        ErrorKind::Overloaded => Text(ResourceExhausted, "etcdserver: too many requests"),
        ErrorKind::Timeout => Text(Unavailable, "etcdserver: request timed out"),
        ErrorKind::LeaderChanged => Text(Unavailable, "etcdserver: leader changed"),
        ErrorKind::Stopped => Text(Unavailable, "etcdserver: server stopped"),
        ErrorKind::NotLeader => Text(FailedPrecondition, "etcdserver: not leader"),
        ErrorKind::BadLeaderTransferee(_) => Text(FailedPrecondition, "etcdserver: bad leader transferee"),
        ErrorKind::MemberNotFound(_) => Text(NotFound, "etcdserver: member not found"),
        ErrorKind::MemberExists(_) => Text(FailedPrecondition, "etcdserver: member ID already exist"),
        ErrorKind::PeerUrlExists => Text(FailedPrecondition, "etcdserver: Peer URLs already exists"),
        ErrorKind::NotLearner(_) => Text(FailedPrecondition, "etcdserver: can only promote a learner member"),
        ErrorKind::LearnerNotReady(_) => {
            Text(FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader")
        }
        ErrorKind::TooManyLearners => Text(FailedPrecondition, "etcdserver: too many learner members in cluster"),
        ErrorKind::Unhealthy => Text(Unavailable, "etcdserver: unhealthy cluster"),
        ErrorKind::Learner => Text(Unavailable, "etcdserver: rpc not supported for learner"),
        ErrorKind::WrongShard | ErrorKind::ShardUnavailable => OwnWords(Unavailable),
        ErrorKind::UnknownTable(_) => OwnWords(NotFound),
        ErrorKind::Unsupported(_) | ErrorKind::CrossShard(_) | ErrorKind::NotBuilt(_) => OwnWords(Unimplemented),
        ErrorKind::Storage(_) => OwnWords(Internal),
        ErrorKind::KeyTooLong { .. } | ErrorKind::InvalidArgument(_) => OwnWords(InvalidArgument),
    }
}

#[cfg(test)]
mod tests {
    use althing_types::{LeaseId, NodeId, Revision};

    use super::*;

    #[test]
    fn every_error_of_the_tables_has_the_code_and_text_that_etcd_clients_match_on() {
        let cases = [
            (
                ErrorKind::Compacted { requested: Revision(1), oldest: Revision(2) },
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            (
                ErrorKind::FutureRevision { requested: Revision(9), current: Revision(2) },
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            (ErrorKind::EmptyKey, Code::InvalidArgument, "etcdserver: key is not provided"),
            (ErrorKind::DuplicateKey, Code::InvalidArgument, "etcdserver: duplicate key given in txn request"),
            (ErrorKind::LeaseNotFound(LeaseId(7)), Code::NotFound, "etcdserver: requested lease not found"),
            (ErrorKind::LeaseExists(LeaseId(7)), Code::FailedPrecondition, "etcdserver: lease already exists"),
            (ErrorKind::NoSpace, Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            (ErrorKind::NoLeader, Code::Unavailable, "etcdserver: no leader"),
            (ErrorKind::Timeout, Code::Unavailable, "etcdserver: request timed out"),
            (ErrorKind::NotLeader, Code::FailedPrecondition, "etcdserver: not leader"),
            (ErrorKind::MemberNotFound(NodeId(1)), Code::NotFound, "etcdserver: member not found"),
        ];
        for (kind, code, text) in cases {
            let status = status(&kind.into());
            assert_eq!((status.code(), status.message()), (code, text));
        }
    }

    #[test]
    fn an_error_without_a_counterpart_says_what_is_wrong() {
        let status = status(&ErrorKind::KeyTooLong { bytes: 9, limit: 8 }.into());
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "etcdserver: the key has 9 bytes, more than 8");
    }
}
