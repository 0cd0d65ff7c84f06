//! `althing apply`: makes the cluster have the objects that files describe.

use std::collections::BTreeSet;
use std::path::PathBuf;

use althing_gateway_http::status::Reason;
use althing_manifest::{Kind, Metadata, Object, condition};
use althing_types::Revision;
use clap::Args;

use super::files::{self, Document};
use super::wait::{self, Stage, WaitArgs};
use crate::error::CliError;
use crate::objects::{Cluster, Effect, Refused};
use crate::remote::RemoteArgs;
use crate::screen::Screen;

/// Settings of `althing apply`.
#[derive(Clone, Debug, Args)]
pub struct ApplyArgs {
    /// A file of YAML or JSON with one or many objects, a directory of them, or - for standard input.
    #[arg(long = "filename", short, value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Let the cluster judge the objects and say what would happen; change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Whether to wait until every table that was applied is ready.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// What became of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Applied {
    Created,
    Configured,
    Unchanged,
}

impl Applied {
    const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Applies all objects. One that is refused does not hold up the others; the exit code tells.
pub async fn run(args: &ApplyArgs, cluster: &Cluster, screen: &mut Screen<'_>) -> Result<(), CliError> {
    let objects = read(&args.files)?;
    let (effect, note) = if args.dry_run { (Effect::Shown, " (dry run)") } else { (Effect::Done, "") };
    let mut applied = Vec::new();
    let mut errors = Vec::new();
    for wanted in &objects {
        match apply(wanted, effect, cluster).await {
            Ok((what, object)) => {
                writeln!(screen.out, "{} {}{note}", object.title(), what.word()).map_err(CliError::failed)?;
                applied.push(object);
            }
            Err(refused) => errors.push(CliError::from(refused)),
        }
    }
    if let Some(error) = all_of(errors, objects.len()) {
        return Err(error);
    }
    if args.wait.wait && !args.dry_run {
        for object in applied.iter().filter(|object| object.kind() == Kind::Table) {
            until_ready(object, args.wait, cluster, screen).await?;
        }
    }
    Ok(())
}

/// One error of several.
fn all_of(mut errors: Vec<CliError>, objects: usize) -> Option<CliError> {
    match errors.len() {
        0 => None,
        1 => errors.pop(),
        count => {
            let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Some(CliError::failed(format!("{count} of {objects} objects were not applied:\n{}", said.join("\n"))))
        }
    }
}

/// Reads and checks all files before anything is sent: a slip in the last one must not leave half of them applied.
fn read(files: &[PathBuf]) -> Result<Vec<Object>, CliError> {
    let (mut objects, mut wrong, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for Document { origin, value } in files::read(files)? {
        match Object::from_value(value) {
            Ok(object) if !seen.insert(object.title()) => {
                wrong.push(format!("{origin}: {} stands there twice; keep one", object.title()));
            }
            Ok(object) => objects.push(object),
            Err(mistakes) => wrong.extend(mistakes.0.iter().map(|mistake| format!("{origin}: {mistake}"))),
        }
    }
    if wrong.is_empty() { Ok(objects) } else { Err(CliError::usage(wrong.join("\n"))) }
}

async fn apply(wanted: &Object, effect: Effect, cluster: &Cluster) -> Result<(Applied, Object), Refused> {
    let Some(before) = cluster.find(wanted.kind(), wanted.name()).await? else {
        match cluster.create(wanted, effect).await {
            // Somebody made it this moment: then it is changed, as if it had been there.
            Err(refused) if refused.reason() == Some(Reason::AlreadyExists) => {}
            created => return created.map(|object| (Applied::Created, object)),
        }
        let object = cluster.replace(wanted, effect).await?;
        return Ok((Applied::Configured, object));
    };
    let after = cluster.replace(wanted, effect).await?;
    let is_same = owners_part(&before) == owners_part(&after);
    Ok((if is_same { Applied::Unchanged } else { Applied::Configured }, after))
}

/// What users say in an object: the rest may have changed meanwhile by itself.
fn owners_part(object: &Object) -> Object {
    let mut part = object.clone();
    let labels = std::mem::take(&mut part.metadata_mut().labels);
    *part.metadata_mut() = Metadata { labels, ..Metadata::new(object.name()) };
    part.metadata_mut().resource_version = Revision(0);
    match &mut part {
        Object::Cluster(cluster) => cluster.status = Default::default(),
        Object::Node(node) => node.status = Default::default(),
        Object::Table(table) => table.status = Default::default(),
        Object::Shard(shard) => shard.status = Default::default(),
    }
    part
}

/// Waits until a table does what its spec says.
async fn until_ready(
    object: &Object,
    args: WaitArgs,
    cluster: &Cluster,
    screen: &mut Screen<'_>,
) -> Result<(), CliError> {
    let generation = object.metadata().generation;
    wait::until(&object.title(), args, screen, async || match cluster.get(Kind::Table, object.name()).await? {
        Object::Table(table) => Ok(stage(&table, generation)),
        Object::Cluster(_) | Object::Node(_) | Object::Shard(_) => Ok(Stage::Done),
    })
    .await
}

fn stage(table: &althing_manifest::Table, generation: u64) -> Stage {
    let status = &table.status;
    let is_seen = status.observed_generation >= generation;
    if is_seen && condition::holds(&status.conditions, condition::READY) {
        return Stage::Done;
    }
    let why = condition::get(&status.conditions, condition::READY).filter(|_| is_seen);
    let words = match why {
        Some(ready) if !ready.message.is_empty() => ready.message.clone(),
        Some(_) | None => format!("{} of {} shards are ready", status.ready_shards, status.shards),
    };
    let all = status.shards.max(u64::from(table.spec.shards));
    Stage::Going { part: Some((status.ready_shards, all)), words }
}
