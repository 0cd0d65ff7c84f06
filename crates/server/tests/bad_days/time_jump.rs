//! Time that jumps. The wall clock may: nothing in a node reads it (`clippy.toml` bans it, and `Clock::wall` has no caller).
//! The monotonic clock jumps for a node that was frozen: the machine slept, or the process was stopped.

use std::time::Duration;

use althing_etcd_proto::etcdserverpb as pb;
use pb::lease_client::LeaseClient;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{self, Cluster};

const TTL_SECONDS: i64 = 3;

fn signal(cluster: &Cluster, index: usize, signal: Signal) {
    let pid = i32::try_from(cluster.pid(index).unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

async fn grant(address: &str) -> i64 {
    let request = pb::LeaseGrantRequest { ttl: TTL_SECONDS, id: 0 };
    LeaseClient::new(common::channel(address)).lease_grant(request).await.unwrap().into_inner().id
}

/// Keeps a lease alive through one node, whatever becomes of single tries.
async fn keep_alive(address: String, id: i64) {
    loop {
        let request = tokio_stream::once(pb::LeaseKeepAliveRequest { id });
        if let Ok(answers) = LeaseClient::new(common::channel(&address)).lease_keep_alive(request).await {
            let _ = tokio::time::timeout(Duration::from_secs(1), answers.into_inner().message()).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_time_jumps_serves_nothing_stale_and_ends_no_lease_early() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let (frozen, other) = (cluster.nodes[leader].client.clone(), cluster.nodes[(leader + 1) % 3].client.clone());
    let lease = grant(&other).await;
    let keeper = tokio::spawn(keep_alive(other.clone(), lease));
    let leased = pb::PutRequest { key: "leased".into(), value: "v".into(), lease, ..pb::PutRequest::default() };
    common::kv(&other).put(leased).await.unwrap();
    common::put(&mut common::kv(&other), "state", "old").await.unwrap();
    // A connection that stands already, so that the read is the first thing that the thawed node sees.
    let mut reader = common::kv(&frozen);
    let read = pb::RangeRequest { key: "state".into(), ..pb::RangeRequest::default() };
    reader.range(read.clone()).await.unwrap();

    signal(&cluster, leader, Signal::STOP);
    common::put(&mut common::kv(&other), "state", "new").await.unwrap();
    let reading = tokio::spawn(async move { reader.range(read).await });
    // Longer than the lease: whoever counts it by a clock of before must not end it.
    tokio::time::sleep(Duration::from_secs(TTL_SECONDS as u64 + 1)).await;
    signal(&cluster, leader, Signal::CONT);
    if let Ok(answer) = reading.await.unwrap() {
        let kv = answer.into_inner().kvs.remove(0);
        assert_eq!(kv.value, "new", "a leader of before serves what it last knew");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for node in &cluster.nodes {
        let held = common::get_prefix(&node.client, "leased").await.unwrap();
        assert_eq!(held.len(), 1, "the lease was kept alive all the time, and {} has lost it", node.name);
    }
    keeper.abort();
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while !common::get_prefix(&other, "leased").await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    ended.await.expect("a lease that nobody keeps alive ends");
}
