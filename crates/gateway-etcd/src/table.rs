//! Which table a request is for.
//!
//! A request names it in its metadata (`althing-table: orders`), which any client library can set, on one request or on all.
//! Whoever cannot (etcdctl) uses a port of the table's own: [`Gateway::for_table`](crate::Gateway::for_table). Without
//! either it is the default table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use althing_api::Target;
use althing_types::TableName;
use http::HeaderMap;
use tonic::Status;

/// The header, or gRPC metadata, that names the table of a request.
pub const TABLE_HEADER: &str = "althing-table";

/// A table, and what its answers have told of it. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    name: TableName,
    /// The greatest Raft term that an answer has carried: streams put it into their headers, which the node's events
    /// do not carry. 0 until the first answer.
    term: AtomicU64,
}

/// What a gateway serves.
#[derive(Clone, Debug)]
pub(crate) enum Serves {
    /// The table that a request names, this one if it names none.
    Any(Table),
    /// This one only.
    Only(Table),
}

impl Table {
    pub(crate) fn new(name: TableName) -> Self {
        Self(Arc::new(Known { name, term: AtomicU64::new(0) }))
    }

    /// Whom to ask.
    pub(crate) fn target(&self) -> Target {
        Target::Table(self.0.name.clone())
    }

    /// The greatest term that is known.
    pub(crate) fn term(&self) -> u64 {
        self.0.term.load(Ordering::Relaxed)
    }

    /// Remembers the term of an answer.
    pub(crate) fn learn_term(&self, term: u64) {
        if term > self.term() {
            self.0.term.fetch_max(term, Ordering::Relaxed);
        }
    }
}

impl Serves {
    /// The table of requests that name none.
    pub(crate) const fn own(&self) -> &Table {
        match self {
            Self::Any(table) | Self::Only(table) => table,
        }
    }

    /// The table of a request with these headers.
    ///
    /// A table that is named by a header is known afresh for each request: its term is that of the beginning of a
    /// stream, or that of its own answers since.
    pub(crate) fn table(&self, headers: &HeaderMap) -> Result<Table, Status> {
        let Some(named) = headers.get(TABLE_HEADER) else { return Ok(self.own().clone()) };
        let text = named.to_str().unwrap_or("?");
        let name = TableName::new(text)
            .map_err(|bad| Status::invalid_argument(format!("etcdserver: the header {TABLE_HEADER}: {bad}")))?;
        let own = &self.own().0.name;
        match self {
            _ if name == *own => Ok(self.own().clone()),
            Self::Only(_) => Err(Status::invalid_argument(format!(
                "etcdserver: this port serves table {own} only, and the header {TABLE_HEADER} names {name}"
            ))),
            Self::Any(_) if name == TableName::META => Err(reserved()),
            Self::Any(_) => Ok(Table::new(name)),
        }
    }
}

/// The control plane keeps its objects in a table like any other; a stray write there would be taken for one.
fn reserved() -> Status {
    Status::permission_denied("etcdserver: table meta is the control plane's own: see `althing get`")
}

#[cfg(test)]
mod tests {
    use althing_api::ErrorKind;
    use althing_etcd_proto::etcdserverpb as pb;
    use althing_etcd_proto::etcdserverpb::watch_request::RequestUnion;
    use althing_etcd_proto::v3electionpb as election;
    use althing_etcd_proto::v3lockpb as lock;
    use bytes::Bytes;
    use http::HeaderValue;
    use http_body_util::Full;
    use tonic::{Code, Request};

    use super::*;
    use crate::Gateway;
    use crate::testing::{OpenAfter, TestNode};

    fn naming(table: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(TABLE_HEADER), HeaderValue::from_static(table))])
    }

    fn named(serves: &Serves, headers: &HeaderMap) -> Result<Target, Code> {
        serves.table(headers).map(|table| table.target()).map_err(|status| status.code())
    }

    fn orders() -> TableName {
        TableName::new("orders").unwrap()
    }

    #[test]
    fn a_request_is_for_the_table_that_it_names_or_for_the_default_one() {
        let any = Serves::Any(Table::default());
        assert_eq!(named(&any, &HeaderMap::new()), Ok(Target::Table(TableName::DEFAULT)));
        assert_eq!(named(&any, &naming("default")), Ok(Target::Table(TableName::DEFAULT)));
        assert_eq!(named(&any, &naming("orders")), Ok(Target::Table(orders())));
        assert_eq!(named(&any, &naming("Orders")), Err(Code::InvalidArgument));
        assert_eq!(named(&any, &naming("meta")), Err(Code::PermissionDenied));
    }

    #[test]
    fn a_tables_own_port_serves_no_other() {
        let only = Serves::Only(Table::new(orders()));
        assert_eq!(named(&only, &HeaderMap::new()), Ok(Target::Table(orders())));
        assert_eq!(named(&only, &naming("orders")), Ok(Target::Table(orders())));
        assert_eq!(named(&only, &naming("default")), Err(Code::InvalidArgument));
    }

    /// A request that names the table, unless the gateway serves only that anyhow.
    fn naming_if<T>(name: bool, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if name {
            request.metadata_mut().insert(TABLE_HEADER, "orders".parse().unwrap());
        }
        request
    }

    /// Of each service one call, streams too.
    async fn one_of_each(gateway: &Gateway, name: bool) {
        use pb::cluster_client::ClusterClient;
        use pb::kv_client::KvClient;
        use pb::lease_client::LeaseClient;
        use pb::maintenance_client::MaintenanceClient;
        use pb::watch_client::WatchClient;
        let put = pb::PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
        KvClient::new(gateway.clone()).put(naming_if(name, put)).await.unwrap();
        let compare = pb::TxnRequest::default();
        KvClient::new(gateway.clone()).txn(naming_if(name, compare)).await.unwrap();
        let grant = pb::LeaseGrantRequest { ttl: 60, id: 7 };
        LeaseClient::new(gateway.clone()).lease_grant(naming_if(name, grant)).await.unwrap();
        let alive = OpenAfter(vec![pb::LeaseKeepAliveRequest { id: 7 }].into_iter());
        let answers = LeaseClient::new(gateway.clone()).lease_keep_alive(naming_if(name, alive)).await.unwrap();
        assert_eq!(answers.into_inner().message().await.unwrap().unwrap().id, 7);
        let create = RequestUnion::CreateRequest(pb::WatchCreateRequest { key: "k".into(), ..Default::default() });
        let watches = OpenAfter(vec![pb::WatchRequest { request_union: Some(create) }].into_iter());
        let events = WatchClient::new(gateway.clone()).watch(naming_if(name, watches)).await.unwrap();
        assert!(events.into_inner().message().await.unwrap().unwrap().created);
        let request = naming_if(name, pb::StatusRequest::default());
        MaintenanceClient::new(gateway.clone()).status(request).await.unwrap();
        let request = naming_if(name, pb::SnapshotRequest {});
        MaintenanceClient::new(gateway.clone()).snapshot(request).await.unwrap();
        let request = naming_if(name, pb::MemberListRequest::default());
        ClusterClient::new(gateway.clone()).member_list(request).await.unwrap();
        let wanted = lock::LockRequest { name: "l".into(), lease: 7 };
        lock::lock_client::LockClient::new(gateway.clone()).lock(naming_if(name, wanted)).await.unwrap();
        let wanted = election::CampaignRequest { name: "e".into(), lease: 7, value: "v".into() };
        let mut elections = election::election_client::ElectionClient::new(gateway.clone());
        elections.campaign(naming_if(name, wanted)).await.unwrap();
        let observed = election::LeaderRequest { name: "e".into() };
        let seen = elections.observe(naming_if(name, observed)).await.unwrap().into_inner().message().await;
        assert_eq!(seen.unwrap().unwrap().kv.unwrap().value, "v");
    }

    #[tokio::test]
    async fn every_service_asks_the_table_that_the_request_names() {
        let node = TestNode::default();
        one_of_each(&node.gateway(), true).await;
        let targets = &node.table().targets;
        assert!(targets.len() > 11, "{targets:?}");
        assert!(targets.iter().all(|target| *target == Target::Table(orders())), "{targets:?}");
    }

    #[tokio::test]
    async fn every_service_behind_a_tables_own_port_asks_that_table() {
        let node = TestNode::default();
        one_of_each(&node.gateway().for_table(orders()), false).await;
        let targets = &node.table().targets;
        assert!(targets.iter().all(|target| *target == Target::Table(orders())), "{targets:?}");
    }

    #[tokio::test]
    async fn a_json_request_names_its_table_in_the_same_header() {
        for header in [TABLE_HEADER, "grpc-metadata-althing-table"] {
            let node = TestNode::default();
            let body = Full::new(Bytes::from(r#"{"key":"YQ=="}"#));
            let request = http::Request::post("/v3/kv/range").header(header, "orders").body(body).unwrap();
            let Ok(response) = node.gateway().handle(request).await;
            assert_eq!(response.status(), http::StatusCode::OK);
            assert_eq!(node.table().targets, [Target::Table(orders())]);
        }
    }

    #[tokio::test]
    async fn what_a_table_cannot_do_is_unimplemented_and_says_what_to_do() {
        let node = TestNode::default();
        let request = althing_api::Request::LeaseLeases;
        node.table().refuse = Some(althing_api::keys::cross_shard(&request));
        let put = pb::PutRequest { key: "k".into(), ..Default::default() };
        let status = pb::kv_client::KvClient::new(node.gateway()).put(put.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(status.message().ends_with("keep keys with leases in a table with one shard"), "{status:?}");
        node.table().refuse = Some(ErrorKind::UnknownTable(orders()));
        let status = pb::kv_client::KvClient::new(node.gateway()).put(put).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "etcdserver: there is no table orders"));
    }

    #[test]
    fn requests_of_a_tables_own_port_share_the_greatest_term() {
        let only = Serves::Only(Table::new(orders()));
        only.table(&HeaderMap::new()).unwrap().learn_term(7);
        only.table(&naming("orders")).unwrap().learn_term(5);
        assert_eq!(only.own().term(), 7);
    }
}
