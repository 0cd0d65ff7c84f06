//! `althing status`: every member of a cluster, and how it stands.

use std::collections::BTreeMap;
use std::io::Write;

use althing_etcd_proto::etcdserverpb as pb;
use serde::Serialize;

use crate::args::{OutputFormat, StatusArgs};
use crate::error::CliError;
use crate::liveness::{self, Liveness};
use crate::remote::RemoteArgs;
use crate::table;

/// One line of the answer.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Row {
    name: String,
    id: String,
    endpoint: String,
    role: &'static str,
    term: u64,
    commit_index: u64,
    applied_index: u64,
    size_bytes: i64,
    /// How the node looks to the one that was asked; none for that node itself, and where nobody says.
    liveness: Option<Liveness>,
    /// Alarms and troubles, or why it does not answer.
    errors: Vec<String>,
}

/// Asks every member of the cluster.
pub async fn run(args: StatusArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let remote = args.remote.resolved()?;
    let members = remote.members().await?.members;
    let mut rows = Vec::new();
    for member in members {
        let Some(endpoint) = member.client_ur_ls.first().cloned() else {
            rows.push(absent(&member, String::new(), "it has not started yet"));
            continue;
        };
        rows.push(match remote.status(&endpoint).await {
            Ok(status) => present(&member, endpoint, status),
            Err(error) => absent(&member, endpoint, error.to_string()),
        });
    }
    let mut seen = seen_by_one(&remote).await;
    for row in &mut rows {
        row.liveness = seen.remove(&row.id);
    }
    match args.output {
        OutputFormat::Json => {
            let text = serde_json::to_string(&rows).map_err(CliError::failed)?;
            writeln!(out, "{text}").map_err(CliError::failed)?;
        }
        OutputFormat::Table => print(&rows, out).map_err(CliError::failed)?,
    }
    let troubled = rows.iter().filter(|row| !row.errors.is_empty()).count();
    match troubled {
        0 => Ok(()),
        _ => Err(CliError::failed(format!("{troubled} of {} nodes are not well", rows.len()))),
    }
}

/// How the nodes look to the first one that answers. It is a hint for people, so nobody fails without it.
async fn seen_by_one(remote: &RemoteArgs) -> BTreeMap<String, Liveness> {
    for endpoint in &remote.endpoints {
        if let Ok(page) = remote.metrics(endpoint).await {
            return liveness::read(&page);
        }
    }
    BTreeMap::new()
}

fn absent(member: &pb::Member, endpoint: String, reason: impl Into<String>) -> Row {
    Row {
        name: member.name.clone(),
        id: format!("{:x}", member.id),
        endpoint,
        role: "unreachable",
        term: 0,
        commit_index: 0,
        applied_index: 0,
        size_bytes: 0,
        liveness: None,
        errors: vec![reason.into()],
    }
}

fn present(member: &pb::Member, endpoint: String, status: pb::StatusResponse) -> Row {
    let role = match (status.leader == member.id, status.is_learner) {
        (true, _) => "leader",
        (false, true) => "learner",
        (false, false) => "follower",
    };
    let mut errors = status.errors;
    if status.leader == 0 {
        errors.push("it knows no leader".into());
    }
    Row {
        name: member.name.clone(),
        id: format!("{:x}", member.id),
        endpoint,
        role,
        term: status.raft_term,
        commit_index: status.raft_index,
        applied_index: status.raft_applied_index,
        size_bytes: status.db_size_in_use,
        liveness: None,
        errors,
    }
}

fn print(rows: &[Row], out: &mut dyn Write) -> std::io::Result<()> {
    let head = ["NAME", "ID", "ENDPOINT", "ROLE", "TERM", "COMMIT", "APPLIED", "BYTES", "LIVENESS", "ERRORS"];
    let cells = rows.iter().map(|row| {
        vec![
            row.name.clone(),
            row.id.clone(),
            row.endpoint.clone(),
            row.role.to_owned(),
            row.term.to_string(),
            row.commit_index.to_string(),
            row.applied_index.to_string(),
            row.size_bytes.to_string(),
            row.liveness.as_ref().map_or_else(|| "-".to_owned(), Liveness::words),
            row.errors.join("; "),
        ]
    });
    table::print(&head, cells.collect(), out)
}
