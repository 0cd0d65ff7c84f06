//! The crate `etcd-client` against a cluster that runs; `ALTHING_ENDPOINTS` names it (comma-separated).

use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, EventType, GetOptions, LockOptions, PutOptions, ResignOptions,
    SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, WatchOptions,
};

async fn client() -> Client {
    let endpoints = std::env::var("ALTHING_ENDPOINTS").expect("ALTHING_ENDPOINTS names the cluster");
    let endpoints: Vec<_> = endpoints.split(',').collect();
    Client::connect(endpoints, None).await.expect("the cluster is there")
}

fn message(error: Error) -> String {
    match error {
        Error::GRpcStatus(status) => status.message().to_owned(),
        other => panic!("not an answer of the server: {other}"),
    }
}

#[tokio::test]
async fn keys_and_ranges() {
    let mut client = client().await;
    client.delete("rs/kv/", Some(DeleteOptions::new().with_prefix())).await.unwrap();
    for key in ["a", "b", "c"] {
        client.put(format!("rs/kv/{key}"), key, None).await.unwrap();
    }
    let first = client.put("rs/kv/a", "again", Some(PutOptions::new().with_prev_key())).await.unwrap();
    assert_eq!(first.prev_key().unwrap().value(), b"a");
    let descending = GetOptions::new().with_prefix().with_limit(2).with_sort(SortTarget::Key, SortOrder::Descend);
    let page = client.get("rs/kv/", Some(descending)).await.unwrap();
    let keys: Vec<_> = page.kvs().iter().map(|kv| kv.key_str().unwrap()).collect();
    assert_eq!((keys, page.more(), page.count()), (vec!["rs/kv/c", "rs/kv/b"], true, 3));
    let modified = GetOptions::new().with_prefix().with_sort(SortTarget::Mod, SortOrder::Descend).with_keys_only();
    let newest = client.get("rs/kv/", Some(modified)).await.unwrap();
    assert_eq!(newest.kvs()[0].key(), b"rs/kv/a");
    let revision = first.header().unwrap().revision();
    let past = client.get("rs/kv/a", Some(GetOptions::new().with_revision(revision - 1))).await.unwrap();
    assert_eq!((past.kvs()[0].value(), past.kvs()[0].version()), (&b"a"[..], 1));
    let deleted = client.delete("rs/kv/", Some(DeleteOptions::new().with_prefix().with_prev_key())).await.unwrap();
    assert_eq!((deleted.deleted(), deleted.prev_kvs().len()), (3, 3));
}

#[tokio::test]
async fn transactions_compare_nest_and_refuse() {
    let mut client = client().await;
    client.put("rs/txn", "1", None).await.unwrap();
    let inner = Txn::new().and_then([TxnOp::put("rs/txn/inner", "x", None)]);
    let txn = Txn::new()
        .when([Compare::value("rs/txn", CompareOp::Equal, "1"), Compare::version("rs/txn", CompareOp::Greater, 0)])
        .and_then([TxnOp::put("rs/txn", "2", None), TxnOp::get("rs/txn", None), TxnOp::txn(inner)])
        .or_else([TxnOp::delete("rs/txn", None)]);
    let response = client.txn(txn).await.unwrap();
    assert!(response.succeeded());
    match &response.op_responses()[1] {
        TxnOpResponse::Get(get) => assert_eq!(get.kvs()[0].value(), b"2", "a read sees the writes before it"),
        other => panic!("{other:?}"),
    }
    let twice = Txn::new().and_then([TxnOp::put("rs/txn", "a", None), TxnOp::put("rs/txn", "b", None)]);
    let refused = message(client.txn(twice).await.unwrap_err());
    assert_eq!(refused, "etcdserver: duplicate key given in txn request");
    let many = (0..129).map(|n| TxnOp::put(format!("rs/txn/{n}"), "v", None)).collect::<Vec<_>>();
    let refused = message(client.txn(Txn::new().and_then(many)).await.unwrap_err());
    assert_eq!(refused, "etcdserver: too many operations in txn request");
}

#[tokio::test]
async fn watches_from_the_past_with_progress_and_cancel() {
    let mut client = client().await;
    let start = client.put("rs/watch", "1", None).await.unwrap().header().unwrap().revision();
    client.put("rs/watch", "2", None).await.unwrap();
    let options = WatchOptions::new().with_start_revision(start).with_prev_key();
    let mut stream = client.watch("rs/watch", Some(options)).await.unwrap();
    let mut seen = Vec::new();
    let mut deleted = false;
    while seen.len() < 3 {
        let response = tokio::time::timeout(Duration::from_secs(10), stream.message()).await.unwrap().unwrap().unwrap();
        for event in response.events() {
            seen.push((event.event_type(), event.prev_kv().map(|kv| kv.value().to_vec())));
        }
        if seen.len() == 2 && !deleted {
            deleted = true;
            client.delete("rs/watch", None).await.unwrap();
        }
    }
    assert_eq!(seen[1], (EventType::Put, Some(b"1".to_vec())));
    assert_eq!(seen[2], (EventType::Delete, Some(b"2".to_vec())));
    let revision = client.get("rs/watch", None).await.unwrap().header().unwrap().revision();
    stream.request_progress().await.unwrap();
    let progress = tokio::time::timeout(Duration::from_secs(10), stream.message()).await.unwrap().unwrap().unwrap();
    assert!(progress.events().is_empty() && progress.header().unwrap().revision() >= revision);
}

#[tokio::test]
async fn leases_end_and_take_their_keys_with_them() {
    let mut client = client().await;
    let lease = client.lease_grant(2, None).await.unwrap().id();
    client.put("rs/lease", "x", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    let (mut keeper, mut stream) = client.lease_keep_alive(lease).await.unwrap();
    keeper.keep_alive().await.unwrap();
    assert!(stream.message().await.unwrap().unwrap().ttl() >= 2);
    let status = client.lease_time_to_live(lease, None).await.unwrap();
    assert!(status.ttl() <= status.granted_ttl());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    while client.get("rs/lease", None).await.unwrap().count() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "the lease never ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let refused = message(client.lease_revoke(lease).await.unwrap_err());
    assert_eq!(refused, "etcdserver: requested lease not found");
}

#[tokio::test]
async fn locks_exclude_and_elections_have_one_leader() {
    let mut client = client().await;
    let lease = client.lease_grant(30, None).await.unwrap().id();
    let lock = client.lock("rs/lock", Some(LockOptions::new().with_lease(lease))).await.unwrap();
    let mut other = self::client().await;
    let waiting = tokio::spawn(async move { other.lock("rs/lock", None).await.map(|lock| lock.key().to_vec()) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "the lock is held");
    client.unlock(lock.key()).await.unwrap();
    let key = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap().unwrap();
    client.unlock(key).await.unwrap();

    let campaign = client.campaign("rs/election", "me", lease).await.unwrap();
    let leader = campaign.leader().unwrap().clone();
    assert_eq!(client.leader("rs/election").await.unwrap().kv().unwrap().value(), b"me");
    client.resign(Some(ResignOptions::new().with_leader(leader))).await.unwrap();
    assert_eq!(message(client.leader("rs/election").await.unwrap_err()), "election: no leader");
}

#[tokio::test]
async fn members_and_maintenance() {
    let mut client = client().await;
    let members = client.member_list().await.unwrap();
    assert!(!members.members().is_empty());
    let status = client.status().await.unwrap();
    assert!(status.version().starts_with("3.6") && status.leader() != 0);
    assert!(client.hash_kv(0).await.unwrap().hash() != 0);
    let mut snapshot = client.snapshot().await.unwrap();
    let mut bytes = 0;
    while let Some(part) = snapshot.message().await.unwrap() {
        bytes += part.blob().len();
    }
    assert!(bytes > 0);
    let revision = client.put("rs/compact", "1", None).await.unwrap().header().unwrap().revision();
    client.compact(revision, None).await.unwrap();
    let old = client.get("rs/compact", Some(GetOptions::new().with_revision(revision - 1))).await.unwrap_err();
    assert_eq!(message(old), "etcdserver: mvcc: required revision has been compacted");
    let future = client.get("rs/compact", Some(GetOptions::new().with_revision(revision + 1_000_000))).await.unwrap_err();
    assert_eq!(message(future), "etcdserver: mvcc: required revision is a future revision");
}
