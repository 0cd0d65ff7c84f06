//! After the faults: everything is mended, a write must succeed within a stated time, alarms can be lowered, the replicas become
//! equal, and the table's history is read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant as Moment};

use althing_api::kv::EventKind;
use althing_etcd_proto::etcdserverpb as pb;
use althing_types::Revision;
use pb::maintenance_client::MaintenanceClient;
use tonic::Status;

use crate::archive::Archive;
use crate::common;
use crate::wire;

/// After all is mended, a write succeeds within this time.
pub const WRITE_WITHIN: Duration = Duration::from_secs(15);
/// After the last write all replicas are equal within this time.
pub const EQUAL_WITHIN: Duration = Duration::from_secs(20);
/// The history is read in this time for each revision, and what else it takes once.
const READ_A_REVISION_WITHIN: Duration = Duration::from_micros(500);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Lowers what alarms the full disks have raised and writes until a write is acknowledged; how long that took.
pub async fn writes_again(endpoints: &[String]) -> Result<Duration, String> {
    let begin = Moment::now();
    let mut last = String::new();
    while begin.elapsed() < WRITE_WITHIN {
        for endpoint in endpoints {
            let done = async {
                lower_alarms(endpoint).await?;
                common::put(&mut common::kv(endpoint), "finish", "mended").await
            };
            match tokio::time::timeout(Duration::from_secs(2), done).await {
                Ok(Ok(_)) => return Ok(begin.elapsed()),
                Ok(Err(status)) => last = status.to_string(),
                Err(_) => last = "no answer within two seconds".to_owned(),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(format!("Progress: no write succeeded within {WRITE_WITHIN:?} after all was mended; the last answer: {last}"))
}

/// Lowers NOSPACE, which outlives the run that raised it until somebody has looked.
pub async fn lower_alarms(endpoint: &str) -> Result<(), Status> {
    let action = pb::alarm_request::AlarmAction::Deactivate.into();
    let request = pb::AlarmRequest { action, alarm: pb::AlarmType::Nospace.into(), ..pb::AlarmRequest::default() };
    MaintenanceClient::new(common::channel(endpoint)).alarm(request).await?;
    Ok(())
}

/// Waits until all replicas have one hash of all that they hold; says how they differ if they do not become equal.
pub async fn become_equal(endpoints: &[String]) -> Result<(), String> {
    let deadline = Moment::now() + EQUAL_WITHIN;
    loop {
        let mut hashes = Vec::new();
        for endpoint in endpoints {
            let answer = MaintenanceClient::new(common::channel(endpoint)).hash(pb::HashRequest {}).await;
            let answer = answer.map(tonic::Response::into_inner);
            hashes.push(answer.map(|answer| (answer.hash, answer.header.map_or(0, |header| header.revision))).ok());
        }
        if hashes[0].is_some() && hashes.iter().all(|hash| *hash == hashes[0]) {
            return Ok(());
        }
        if Moment::now() > deadline {
            return Err(format!("Convergence: hash and revision of the replicas: {hashes:?}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The revision of a linearizable read at the first node, once every node has answered one: all of them have applied it.
pub async fn common_revision(endpoints: &[String]) -> Result<Revision, Status> {
    let mut revision = None;
    for endpoint in endpoints {
        let found = common::kv(endpoint).range(wire::get("finish")).await?.into_inner();
        revision.get_or_insert_with(|| wire::revision(found.header.as_ref()));
    }
    Ok(revision.expect("there are nodes"))
}

/// Reads the history up to `revision` to its end from the first node, and compares all nodes with it: their histories as far
/// as they go back, their keys, and their hashes at that revision.
pub async fn compare(endpoints: &[String], archive: &mut Archive, revision: Revision) -> Result<(), String> {
    let failed = |status: Status| format!("Convergence: {status}");
    let within = EQUAL_WITHIN + READ_A_REVISION_WITHIN * u32::try_from(revision.get()).unwrap_or(u32::MAX);
    archive.extend(common::channel(&endpoints[0]), revision, within).await.map_err(failed)?;
    let wanted = archive.since(archive.compacted());
    let held = held_at(archive, revision);
    let mut hashes = Vec::new();
    for endpoint in endpoints {
        let mut theirs = Archive::from(archive.compacted());
        theirs.extend(common::channel(endpoint), revision, within).await.map_err(failed)?;
        if let Some((at, (wanted, found))) = first_difference(&wanted, &theirs.since(Revision(0)), revision) {
            return Err(format!("Convergence: at revision {at} {endpoint} tells {found:?} instead of {wanted:?}"));
        }
        let found = read_at(endpoint, revision).await.map_err(failed)?;
        if found != held {
            return Err(format!(
                "Convergence: {endpoint} holds other keys than the history makes: {found:?}, {held:?}"
            ));
        }
        let request = pb::HashKvRequest { revision: revision.get() };
        let hash = MaintenanceClient::new(common::channel(endpoint)).hash_kv(request).await.map_err(failed)?;
        let hash = hash.into_inner();
        hashes.push((hash.hash, hash.compact_revision, hash.hash_revision));
    }
    if hashes.iter().any(|hash| *hash != hashes[0]) {
        return Err(format!("Convergence: hash, compact revision and revision of the replicas: {hashes:?}"));
    }
    Ok(())
}

type Changes = BTreeMap<Revision, Vec<althing_api::kv::Event>>;
type Both<'a> = (Option<&'a Vec<althing_api::kv::Event>>, Option<&'a Vec<althing_api::kv::Event>>);

/// The first revision up to `last` that two histories do not tell alike. Whether an event still knows the version before is
/// left out: at the beginning that depends on the compaction.
fn first_difference<'a>(one: &'a Changes, other: &'a Changes, last: Revision) -> Option<(Revision, Both<'a>)> {
    let told = |changes: &Changes, at| {
        changes.get(&at).map(|events| events.iter().map(|event| (event.kind, event.kv.clone())).collect::<Vec<_>>())
    };
    let mut revisions: Vec<_> = one.keys().chain(other.keys()).copied().filter(|at| *at <= last).collect();
    revisions.sort_unstable();
    let at = revisions.into_iter().find(|at| told(one, *at) != told(other, *at))?;
    Some((at, (one.get(&at), other.get(&at))))
}

/// Key to mod revision, as the history makes it.
fn held_at(archive: &Archive, last: Revision) -> BTreeMap<Vec<u8>, i64> {
    let mut held = BTreeMap::new();
    for event in archive.since(Revision(0)).range(..=last).flat_map(|(_, events)| events) {
        match event.kind {
            EventKind::Put => held.insert(event.kv.key.to_vec(), event.kv.mod_revision.get()),
            EventKind::Delete => held.remove(event.kv.key.as_ref()),
        };
    }
    held
}

/// Key to mod revision, as a node holds it at a revision.
async fn read_at(endpoint: &str, revision: Revision) -> Result<BTreeMap<Vec<u8>, i64>, Status> {
    let range =
        pb::RangeRequest { range_end: vec![0].into(), revision: revision.get(), keys_only: true, ..wire::get(vec![0]) };
    let found = common::kv(endpoint).max_decoding_message_size(256 << 20).range(range).await?.into_inner();
    Ok(found.kvs.into_iter().map(|kv| (kv.key.to_vec(), kv.mod_revision)).collect())
}
