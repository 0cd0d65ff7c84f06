//! `althing delete`: takes objects away.

use std::path::PathBuf;

use althing_gateway_http::status::Reason;
use althing_manifest::{Kind, Object};
use clap::Args;
use serde_json::Value;

use super::files::{self, Document};
use super::kinds::{self, Meant};
use super::wait::{self, Stage, WaitArgs};
use super::words::many;
use crate::error::CliError;
use crate::objects::{Cluster, Deleted, Effect};
use crate::remote::RemoteArgs;
use crate::screen::Screen;

/// Settings of `althing delete`.
#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    /// A kind and names; or KIND/NAME.
    #[arg(value_name = "KIND NAME | KIND/NAME", required_unless_present = "files", conflicts_with = "files")]
    pub what: Vec<String>,
    /// Delete the objects that files describe.
    #[arg(long = "filename", short, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Let the cluster judge and say what would happen; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// It is well if an object is not there.
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Whether to wait until the objects and all that belongs to them have gone.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Deletes objects, in the order in which they are named.
pub async fn run(args: &DeleteArgs, cluster: &Cluster, screen: &mut Screen<'_>) -> Result<(), CliError> {
    let objects = if args.files.is_empty() { named(&args.what)? } else { described(&args.files)? };
    let (effect, note) = if args.dry_run { (Effect::Shown, " (dry run)") } else { (Effect::Done, "") };
    for (kind, name) in &objects {
        let title = format!("{}/{name}", kind.singular());
        let (word, next) = match cluster.delete(*kind, name, effect).await {
            Ok(Deleted::Gone(next)) => ("deleted", next),
            Ok(Deleted::Going(next)) => ("deleting", next),
            Err(refused) if args.ignore_not_found && refused.reason() == Some(Reason::NotFound) => continue,
            Err(refused) => return Err(refused.into()),
        };
        writeln!(screen.out, "{title} {word}{note}").map_err(CliError::failed)?;
        if !args.dry_run && !args.wait.wait {
            writeln!(screen.err, "{next}").map_err(CliError::failed)?;
        }
    }
    if args.wait.wait && !args.dry_run {
        for (kind, name) in &objects {
            until_gone(*kind, name, args.wait, cluster, screen).await?;
        }
    }
    Ok(())
}

fn named(words: &[String]) -> Result<Vec<(Kind, String)>, CliError> {
    match kinds::parse(words)? {
        Meant::Objects(objects) => Ok(objects),
        Meant::Kinds(_) => Err(CliError::usage("say which by name: all objects of a kind are never deleted at once")),
    }
}

/// The objects that files name; the rest of what they say does not matter here.
fn described(files: &[PathBuf]) -> Result<Vec<(Kind, String)>, CliError> {
    let name = |Document { origin, value }: Document| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let kind = text(&value["kind"]).and_then(|word| Kind::ALL.into_iter().find(|kind| kind.name() == word));
        match (kind, text(&value["metadata"]["name"])) {
            (Some(kind), Some(name)) => Ok((kind, name)),
            (Some(_) | None, _) => {
                Err(CliError::usage(format!("{origin}: kind or metadata.name does not name an object")))
            }
        }
    };
    files::read(files)?.into_iter().map(name).collect()
}

async fn until_gone(
    kind: Kind,
    name: &str,
    args: WaitArgs,
    cluster: &Cluster,
    screen: &mut Screen<'_>,
) -> Result<(), CliError> {
    let title = format!("{}/{name}", kind.singular());
    wait::until(&title, args, screen, async || {
        Ok(match cluster.find(kind, name).await? {
            None => Stage::Done,
            Some(Object::Table(table)) => {
                Stage::Going { part: None, words: format!("{} left", many(table.status.shards, "shard")) }
            }
            Some(Object::Cluster(_) | Object::Node(_) | Object::Shard(_)) => {
                Stage::Going { part: None, words: "it is still there".to_owned() }
            }
        })
    })
    .await
}
