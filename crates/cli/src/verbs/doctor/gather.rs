//! Asks everybody, at once, and notes what is answered.

use std::collections::BTreeMap;
use std::time::Duration;

use althing_etcd_proto::etcdserverpb as pb;
use althing_manifest::{Kind, Object};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::CliError;
use crate::objects::Cluster;
use crate::remote::RemoteArgs;
use crate::verbs::words::node_of;

/// What one node says of itself.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// How it stands.
    pub status: pb::StatusResponse,
    /// Its clock in seconds since 1970, less the time that had passed here when it was read: of two nodes, what these numbers
    /// differ by is what their clocks differ by, give or take a second and the way.
    pub clock: Option<i64>,
}

/// A node that should be there.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Where it was asked; empty if nobody knows where.
    pub at: String,
    /// What it said, or why it did not.
    pub said: Result<Said, String>,
}

/// All objects.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    pub clusters: Vec<Object>,
    pub nodes: Vec<Object>,
    pub tables: Vec<Object>,
    pub shards: Vec<Object>,
}

/// Everything that can be seen from outside.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The nodes by name.
    pub nodes: BTreeMap<String, Asked>,
    /// The objects, or why they cannot be read.
    pub objects: Result<Objects, String>,
    /// Why no endpoint answers at all, if that is so.
    pub silence: Option<String>,
}

impl Facts {
    /// How much was looked at.
    pub fn summary(&self) -> String {
        let (tables, shards) = self.objects.as_ref().map_or((0, 0), |all| (all.tables.len(), all.shards.len()));
        format!("{} nodes, {tables} tables, {shards} shards looked at", self.nodes.len())
    }
}

/// Looks at the cluster behind the endpoints.
pub async fn gather(remote: &RemoteArgs) -> Facts {
    let members = remote.members().await;
    let objects = objects(remote).await.map_err(|error| error.to_string());
    let silence = members.as_ref().err().map(ToString::to_string);
    let mut places = BTreeMap::new();
    for member in members.map(|list| list.members).unwrap_or_default() {
        let name = if member.name.is_empty() { format!("{:x}", member.id) } else { member.name };
        places.insert(name, member.client_ur_ls.first().cloned());
    }
    for node in objects.iter().flat_map(|all| &all.nodes).filter_map(node_of) {
        let place = places.entry(node.name().to_owned()).or_default();
        if place.is_none() {
            *place = node.spec.client_urls.first().cloned();
        }
    }
    Facts { nodes: ask_all(remote, places).await, objects, silence }
}

async fn objects(remote: &RemoteArgs) -> Result<Objects, CliError> {
    let cluster = Cluster::connect(remote.clone()).await?;
    let all = async |kind| cluster.list(kind, None).await.map(|list| list.items);
    Ok(Objects {
        clusters: all(Kind::Cluster).await?,
        nodes: all(Kind::Node).await?,
        tables: all(Kind::Table).await?,
        shards: all(Kind::Shard).await?,
    })
}

async fn ask_all(remote: &RemoteArgs, places: BTreeMap<String, Option<String>>) -> BTreeMap<String, Asked> {
    let start = Instant::now();
    let mut asked = JoinSet::new();
    let mut nodes = BTreeMap::new();
    for (name, place) in places {
        let Some(at) = place else {
            let said = Err("it has told nobody where clients reach it: it has not started yet".to_owned());
            nodes.insert(name, Asked { at: String::new(), said });
            continue;
        };
        let remote = remote.clone();
        asked.spawn(async move {
            let said = ask(&remote, &at, start).await.map_err(|error| error.to_string());
            (name, Asked { at, said })
        });
    }
    while let Some(answered) = asked.join_next().await {
        if let Ok((name, said)) = answered {
            nodes.insert(name, said);
        }
    }
    nodes
}

async fn ask(remote: &RemoteArgs, at: &str, start: Instant) -> Result<Said, CliError> {
    let status = remote.status(at).await?;
    let request = http::Request::get("/version").body(Bytes::new()).map_err(CliError::failed)?;
    let response = remote.http(at, request).await?;
    let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok()).and_then(seconds_of);
    let passed = i64::try_from(Duration::as_secs(&start.elapsed())).unwrap_or_default();
    Ok(Said { status, clock: date.map(|seconds| seconds - passed) })
}

/// Seconds since 1970 of a date as HTTP has it (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds_of(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split(' ').skip(1);
    let day: i64 = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut time = parts.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    // Days from the civil calendar: years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_is_a_number_of_seconds() {
        assert_eq!(seconds_of("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds_of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds_of("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        assert_eq!(seconds_of("Sat, 21 Nov 2026 21:21:29 GMT"), Some(1_795_296_089));
        assert_eq!(seconds_of("yesterday"), None);
    }
}
