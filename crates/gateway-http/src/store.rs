//! Objects as values of the meta table: reads, writes on a condition, and pages of lists, all through [`Service::call`].

use std::sync::Arc;
use std::time::Duration;

use althing_api::kv::{
    Compare, DeleteRangeRequest, KeyRange, KeyValue, Operation, PutLease, PutRequest, PutValue, RangeRequest,
    RangeResponse, TxnRequest,
};
use althing_api::request::Body;
use althing_api::service::{META_GROUP, Target};
use althing_api::{Answer, Call, Request, Service};
use althing_types::Revision;
use bytes::Bytes;

use crate::status::{Reason, Status};

/// How long the node may take for one question: a change of the meta table's leader, and some.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects that one question reads at the most: a page of the largest of them fits a frame between nodes.
pub(crate) const PAGE: u64 = 256;

/// The meta table of a cluster.
#[derive(Clone)]
pub(crate) struct Store {
    service: Arc<dyn Service>,
}

/// An object as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stored {
    pub key: Bytes,
    pub value: Bytes,
    /// Its resource version.
    pub revision: Revision,
    /// The revision at which it came into being (again).
    pub created: Revision,
}

impl From<KeyValue> for Stored {
    fn from(kv: KeyValue) -> Self {
        Self { key: kv.key, value: kv.value, revision: kv.mod_revision, created: kv.create_revision }
    }
}

/// What became of a write on a condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// It was done, at this revision.
    Done(Revision),
    /// The object is another one than was expected; nothing was done. Zero: there is none.
    Changed(Revision),
}

/// A part of the objects at one revision.
pub(crate) struct Page {
    pub objects: Vec<Stored>,
    pub revision: Revision,
    /// All objects of the range, whatever limit and filters say.
    pub count: u64,
    pub more: bool,
}

impl Store {
    pub(crate) fn new(service: Arc<dyn Service>) -> Self {
        Self { service }
    }

    pub(crate) fn service(&self) -> &dyn Service {
        &*self.service
    }

    async fn ask(&self, request: Request) -> Result<Answer, Status> {
        let target = Target::Group(META_GROUP);
        let call = Call { target, timeout: Some(CALL_TIMEOUT), ..Call::new(request) };
        self.service.call(call).await.map_err(Status::from)
    }

    async fn range(&self, request: RangeRequest) -> Result<(RangeResponse, Revision), Status> {
        let answer = self.ask(Request::Range(request)).await?;
        match answer.body {
            Body::Range(range) => Ok((range, answer.header.revision)),
            _ => Err(wrong_answer()),
        }
    }

    /// One object as it is now.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Stored>, Status> {
        let request = RangeRequest::new(KeyRange::single(key.to_owned()));
        Ok(self.range(request).await?.0.kvs.into_iter().next().map(Stored::from))
    }

    /// All objects whose keys begin with `prefix`, as of one revision: `at`, or now. With `keys_only` their values are empty.
    pub(crate) async fn list(
        &self,
        prefix: &str,
        at: Option<Revision>,
        keys_only: bool,
    ) -> Result<(Vec<Stored>, Revision), Status> {
        let mut objects = Vec::new();
        let mut request = RangeRequest {
            revision: at,
            keys_only,
            limit: PAGE,
            ..RangeRequest::new(KeyRange::under(prefix.to_owned()))
        };
        let mut revision = at;
        loop {
            let page = self.page(request.clone()).await?;
            let revision = *revision.get_or_insert(page.revision);
            let last = page.objects.last().map(|object| object.key.clone());
            objects.extend(page.objects);
            match last {
                Some(last) if page.more => {
                    request.keys.start = after(&last);
                    request.revision = Some(revision);
                }
                Some(_) | None => return Ok((objects, revision)),
            }
        }
    }

    /// A part of the objects whose keys begin with `prefix`: those written after `since`, at most [`PAGE`] of them from key
    /// `from` on.
    pub(crate) async fn changes(
        &self,
        prefix: &str,
        from: Option<&Bytes>,
        since: Revision,
        at: Option<Revision>,
    ) -> Result<Page, Status> {
        let mut keys = KeyRange::under(prefix.to_owned());
        if let Some(from) = from {
            keys.start = after(from);
        }
        let min_mod_revision = Some(since.next());
        self.page(RangeRequest { min_mod_revision, revision: at, limit: PAGE, ..RangeRequest::new(keys) }).await
    }

    async fn page(&self, request: RangeRequest) -> Result<Page, Status> {
        let (range, revision) = self.range(request).await?;
        let objects = range.kvs.into_iter().map(Stored::from).collect();
        Ok(Page { objects, revision, count: range.count, more: range.more })
    }

    /// Writes an object if the one that is there stands at `expected` (zero: if there is none).
    pub(crate) async fn put(&self, key: &str, expected: Revision, value: Bytes) -> Result<Written, Status> {
        let put = PutRequest {
            key: key.to_owned().into(),
            value: PutValue::Set(value),
            lease: PutLease::Set(None),
            prev_kv: false,
        };
        self.write(key, expected, Operation::Put(put)).await
    }

    /// Removes an object if it stands at `expected`.
    pub(crate) async fn remove(&self, key: &str, expected: Revision) -> Result<Written, Status> {
        let delete = DeleteRangeRequest { keys: KeyRange::single(key.to_owned()), prev_kv: false };
        self.write(key, expected, Operation::DeleteRange(delete)).await
    }

    async fn write(&self, key: &str, expected: Revision, operation: Operation) -> Result<Written, Status> {
        let look = RangeRequest { keys_only: true, ..RangeRequest::new(KeyRange::single(key.to_owned())) };
        let txn = TxnRequest {
            compare: vec![Compare::mod_is(key.to_owned(), expected)],
            success: vec![operation],
            failure: vec![Operation::Range(look)],
        };
        let answer = self.ask(Request::Txn(txn)).await?;
        let Body::Txn(txn) = answer.body else { return Err(wrong_answer()) };
        if txn.succeeded {
            return Ok(Written::Done(answer.header.revision));
        }
        match txn.responses.into_iter().next() {
            Some(althing_api::kv::OperationResponse::Range(range)) => {
                Ok(Written::Changed(range.kvs.first().map_or(Revision(0), |kv| kv.mod_revision)))
            }
            _ => Err(wrong_answer()),
        }
    }
}

/// The first key that can follow `key`.
fn after(key: &Bytes) -> Bytes {
    let mut next = key.to_vec();
    next.push(0);
    next.into()
}

/// The node broke its contract: the body is not of the request's kind.
fn wrong_answer() -> Status {
    Status::new(Reason::InternalError, "the node answered another question than was asked")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestNode;

    fn store(node: &TestNode) -> Store {
        Store::new(Arc::new(node.clone()))
    }

    #[tokio::test]
    async fn a_list_longer_than_a_page_is_read_as_of_one_revision() {
        let node = TestNode::default();
        for n in 0..PAGE * 2 + 3 {
            node.put(&format!("/p/{n:05}"), "v");
        }
        node.put("/q/0", "v");
        let (all, revision) = store(&node).list("/p/", None, false).await.unwrap();
        assert_eq!(all.len() as u64, PAGE * 2 + 3);
        assert_eq!(revision, node.revision());
        assert!(all.windows(2).all(|pair| pair[0].key < pair[1].key));
    }

    #[tokio::test]
    async fn a_write_says_what_it_met_instead_of_what_was_expected() {
        let (node, key) = (TestNode::default(), "/p/a");
        let store = store(&node);
        let done = store.put(key, Revision(0), "1".into()).await.unwrap();
        assert_eq!(done, Written::Done(Revision(2)));
        assert_eq!(store.put(key, Revision(0), "2".into()).await.unwrap(), Written::Changed(Revision(2)));
        assert_eq!(store.remove(key, Revision(9)).await.unwrap(), Written::Changed(Revision(2)));
        assert_eq!(store.remove(key, Revision(2)).await.unwrap(), Written::Done(Revision(3)));
        assert_eq!(store.put(key, Revision(2), "2".into()).await.unwrap(), Written::Changed(Revision(0)));
    }
}
