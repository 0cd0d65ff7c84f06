//! The quota of a table is a setting of the node that leads.

use althing_consensus::Role;
use althing_node::{Applier, LogRecovery};
use althing_types::NodeId;
use althing_types::limits::DEFAULT_QUOTA_BYTES;

use super::{Cluster, One, found, members};

/// A cluster whose nodes were told these quotas.
fn cluster(quotas: &[Option<u64>]) -> Cluster {
    Cluster::new(&members(quotas.len()), quotas)
}

fn quotas(cluster: &Cluster) -> Vec<u64> {
    cluster.metrics().iter().map(|group| group.quota_bytes).collect()
}

#[test]
fn members_with_different_settings_found_the_same_state() {
    let hash = |quota| {
        let One { config, engine, .. } = found(NodeId(1), members(3), quota);
        let (_, states) = Applier::open(engine, &config, &LogRecovery::default()).unwrap();
        states[0].reader.hash().unwrap()
    };
    assert_eq!(hash(Some(1)), hash(None));
}

#[test]
fn the_leader_sets_the_quota_that_it_was_told_once() {
    let mut cluster = cluster(&[Some(5_000); 3]);
    cluster.ticks(200);
    assert_eq!(quotas(&cluster), [5_000; 3]);
    let applied = |cluster: &Cluster| cluster.metrics().iter().map(|group| group.applied).collect::<Vec<_>>();
    let before = applied(&cluster);
    cluster.ticks(400);
    assert_eq!(applied(&cluster), before, "it is not proposed again");
}

#[test]
fn a_node_that_was_told_no_quota_leaves_it_as_it_is() {
    let mut cluster = cluster(&[None; 3]);
    cluster.ticks(200);
    assert_eq!(quotas(&cluster), [DEFAULT_QUOTA_BYTES; 3]);
}

#[test]
fn where_nodes_were_told_different_quotas_the_leaders_counts() {
    let mut cluster = cluster(&[Some(1_000), Some(2_000), Some(3_000)]);
    cluster.ticks(200);
    let metrics = cluster.metrics();
    let leader = metrics.iter().position(|group| matches!(group.role, Role::Leader { .. })).unwrap();
    assert_eq!(quotas(&cluster), [(leader as u64 + 1) * 1_000; 3]);
}
