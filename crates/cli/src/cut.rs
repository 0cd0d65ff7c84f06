//! `althing cut` and `althing heal`: a partition made on purpose, to see what becomes of a promise.

use std::collections::BTreeSet;
use std::io::Write;

use althing_etcd_proto::etcdserverpb::Member;
use bytes::Bytes;
use clap::Args;
use http::{Method, Request};
use http_body_util::BodyExt;

use crate::error::CliError;
use crate::remote::{RemoteArgs, status_text};

/// Where a node takes cuts.
const PATH: &str = "/debug/cut";

/// Settings of `althing cut`.
#[derive(Clone, Debug, Args)]
pub struct CutArgs {
    /// The nodes of one side, by name. All others are the other side.
    #[arg(value_name = "NODE", required = true, value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Settings of `althing heal`.
#[derive(Clone, Debug, Args)]
pub struct HealArgs {
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Cuts the cluster in two.
pub async fn cut(args: CutArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let remote = args.remote.resolved()?;
    let members = remote.members().await?.members;
    let [one, other] = sides(&members, &args.nodes)?;
    for (side, opposite) in [(&one, &other), (&other, &one)] {
        for member in side {
            let from: Vec<_> = opposite.iter().map(|member| format!("{:016x}", member.id)).collect();
            tell(&remote, member, &format!("{PATH}?from={}", from.join(","))).await?;
        }
    }
    let names = |side: &[&Member]| side.iter().map(|member| member.name.clone()).collect::<Vec<_>>().join(" ");
    writeln!(out, "cut: {} | {}; `althing heal` ends it", names(&one), names(&other)).map_err(CliError::failed)
}

/// Ends every cut. All nodes are told, whatever becomes of one of them.
pub async fn heal(args: HealArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let remote = args.remote.resolved()?;
    let mut failures = Vec::new();
    for member in &remote.members().await?.members {
        if let Err(error) = tell(&remote, member, PATH).await {
            failures.push(error.to_string());
        }
    }
    match failures.is_empty() {
        true => writeln!(out, "healed: every node hears every other").map_err(CliError::failed),
        false => Err(CliError::failed(failures.join("; "))),
    }
}

/// The members of one side, and those of the other.
fn sides<'a>(members: &'a [Member], names: &[String]) -> Result<[Vec<&'a Member>; 2], CliError> {
    let names: BTreeSet<_> = names.iter().map(String::as_str).collect();
    let known: BTreeSet<_> = members.iter().map(|member| member.name.as_str()).collect();
    if let Some(name) = names.difference(&known).next() {
        let known = known.iter().copied().collect::<Vec<_>>().join(", ");
        return Err(CliError::usage(format!("there is no node {name:?}; the nodes are {known}")));
    }
    let (one, other): (Vec<_>, Vec<_>) = members.iter().partition(|member| names.contains(member.name.as_str()));
    if other.is_empty() {
        return Err(CliError::usage("all nodes are on one side: nothing would be cut"));
    }
    Ok([one, other])
}

/// Tells a node from whom it is cut off.
async fn tell(remote: &RemoteArgs, member: &Member, path: &str) -> Result<(), CliError> {
    let failed = |text: String| CliError::failed(format!("{}: {text}", member.name));
    let endpoint = member.client_ur_ls.first().ok_or_else(|| failed("it has not started yet".to_owned()))?;
    let request = Request::builder().method(Method::PUT).uri(path).body(Bytes::new()).map_err(CliError::failed)?;
    let response = remote.http(endpoint, request).await.map_err(|error| failed(error.to_string()))?;
    let code = response.status();
    let body = response.into_body().collect().await.map_err(|status| failed(status_text(&status)))?.to_bytes();
    if code.is_success() {
        return Ok(());
    }
    let said = serde_json::from_slice::<althing_gateway_http::status::Status>(&body);
    Err(failed(said.map_or_else(|_| format!("it answers {code}"), |status| status.message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> Member {
        Member { name: name.to_owned(), ..Member::default() }
    }

    #[test]
    fn the_nodes_that_are_named_are_one_side_and_all_others_the_other() {
        let members = ["n1", "n2", "n3"].map(member);
        let sides = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            sides(&members, &names)
                .map(|sides| sides.map(|side| side.iter().map(|member| member.name.clone()).collect::<Vec<_>>()))
                .map_err(|error| error.to_string())
        };
        assert_eq!(sides(&["n1"]), Ok([vec!["n1".to_owned()], vec!["n2".to_owned(), "n3".to_owned()]]));
        assert!(sides(&["n4"]).unwrap_err().contains("there is no node \"n4\"; the nodes are n1, n2, n3"));
        assert!(sides(&["n3", "n2", "n1"]).is_err());
    }
}
