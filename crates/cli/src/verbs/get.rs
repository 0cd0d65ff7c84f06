//! `althing get`: objects as a table, as JSON or YAML, once or as they change.

use std::collections::BTreeMap;
use std::time::Duration;

use althing_manifest::{Kind, Object};
use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::time::sleep;

use super::columns::{Width, cells, heads};
use super::files::to_yaml;
use super::kinds::{self, Meant};
use super::words::{Names, shard_of};
use crate::error::CliError;
use crate::objects::{Cluster, Event, List, Refused};
use crate::remote::RemoteArgs;
use crate::screen::Screen;
use crate::table;

/// Settings of `althing get`.
#[derive(Clone, Debug, Args)]
pub struct GetArgs {
    /// A kind (clusters, nodes, tables, shards; or several, with commas), then names, if only some are meant; or KIND/NAME.
    #[arg(value_name = "KIND [NAME] | KIND/NAME", required = true)]
    pub what: Vec<String>,
    /// The form of the answer.
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: Form,
    /// Only objects with these labels: a=b, a!=b, a, !a, with commas between them.
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Only shards of this table.
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Go on with what changes, until Ctrl-C.
    #[arg(long, short)]
    pub watch: bool,
    /// Leave out the line of heads.
    #[arg(long)]
    pub no_headers: bool,
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// The form of objects on standard output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Form {
    /// What matters, in columns.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// Everything, for programs: one object, or a List.
    Json,
    /// Everything, for people who edit it and hand it to `apply`.
    Yaml,
    /// Only KIND/NAME, a line each.
    Name,
}

/// How long to wait before a stream that has ended is opened again.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

/// Gets objects.
pub async fn run(args: &GetArgs, cluster: &Cluster, screen: &mut Screen<'_>) -> Result<(), CliError> {
    let meant = kinds::parse(&args.what)?;
    if args.watch {
        let Meant::Kinds(kinds) = meant else {
            return Err(CliError::usage("--watch follows all objects of a kind; choose some with --selector"));
        };
        let [kind] = kinds.as_slice() else {
            return Err(CliError::usage("--watch follows one kind at a time"));
        };
        return watch(args, *kind, cluster, screen).await;
    }
    match meant {
        Meant::Objects(objects) => {
            let mut found = Vec::new();
            for (kind, name) in &objects {
                found.push(get_one(cluster, *kind, name).await?);
            }
            let is_one = found.len() == 1;
            print_all(args, cluster, found, is_one, screen).await
        }
        Meant::Kinds(kinds) => {
            let mut found = Vec::new();
            for kind in &kinds {
                found.extend(list(args, *kind, cluster).await?.items);
            }
            if found.is_empty() && matches!(args.output, Form::Table | Form::Wide) {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.plural()).collect();
                return writeln!(screen.err, "there are no {}", names.join(", ")).map_err(CliError::failed);
            }
            print_all(args, cluster, found, false, screen).await
        }
    }
}

/// One object, or an error that names the nearest.
pub async fn get_one(cluster: &Cluster, kind: Kind, name: &str) -> Result<Object, CliError> {
    if let Some(object) = cluster.find(kind, name).await? {
        return Ok(object);
    }
    let all = cluster.list(kind, None).await?.items;
    let known: Vec<&str> = all.iter().map(Object::name).collect();
    let hint = match althing_sim::nearest::nearest(name, known.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; see `althing get {}`", kind.plural()),
    };
    Err(CliError::failed(format!("there is no {}/{name}{hint}", kind.singular())))
}

/// The objects of a kind that the flags mean, in an order for people: shards by table and group.
async fn list(args: &GetArgs, kind: Kind, cluster: &Cluster) -> Result<List, Refused> {
    let mut list = cluster.list(kind, args.selector.as_deref()).await?;
    list.items.retain(|object| is_meant(args, object));
    list.items.sort_by_key(|object| shard_of(object).map(|shard| (shard.spec.table.clone(), shard.spec.group)));
    Ok(list)
}

fn is_meant(args: &GetArgs, object: &Object) -> bool {
    match (&args.table, shard_of(object)) {
        (Some(table), Some(shard)) => shard.spec.table == *table,
        (Some(_), None) | (None, _) => true,
    }
}

async fn names_for(cluster: &Cluster, objects: &[Object]) -> Result<Names, CliError> {
    match objects.iter().any(|object| object.kind() == Kind::Shard) {
        true => Ok(Names::of(&cluster.list(Kind::Node, None).await?.items)),
        false => Ok(Names::default()),
    }
}

async fn print_all(
    args: &GetArgs,
    cluster: &Cluster,
    objects: Vec<Object>,
    is_one: bool,
    screen: &mut Screen<'_>,
) -> Result<(), CliError> {
    let text = match (args.output, is_one) {
        (Form::Json, true) => serde_json::to_string_pretty(&objects[0]).map_err(CliError::failed)? + "\n",
        (Form::Json, false) => serde_json::to_string_pretty(&as_list(&objects)).map_err(CliError::failed)? + "\n",
        (Form::Yaml, true) => to_yaml(&objects[0])?,
        (Form::Yaml, false) => {
            let pages = objects.iter().map(to_yaml).collect::<Result<Vec<_>, _>>()?;
            pages.join("---\n")
        }
        (Form::Name, _) => objects.iter().map(|object| object.title() + "\n").collect(),
        (Form::Table, _) => return columns(args, cluster, &objects, Width::Usual, screen).await,
        (Form::Wide, _) => return columns(args, cluster, &objects, Width::Wide, screen).await,
    };
    screen.out.write_all(text.as_bytes()).map_err(CliError::failed)
}

fn as_list(objects: &[Object]) -> serde_json::Value {
    json!({ "apiVersion": althing_manifest::API_VERSION, "kind": "List", "items": objects })
}

async fn columns(
    args: &GetArgs,
    cluster: &Cluster,
    objects: &[Object],
    width: Width,
    screen: &mut Screen<'_>,
) -> Result<(), CliError> {
    let names = names_for(cluster, objects).await?;
    let mut is_first = true;
    for kind in Kind::ALL {
        let rows: Vec<_> =
            objects.iter().filter(|object| object.kind() == kind).map(|object| cells(object, width, &names)).collect();
        if rows.is_empty() {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            writeln!(screen.out).map_err(CliError::failed)?;
        }
        let heads = heads(kind, width);
        match args.no_headers {
            true => table::print_rows(&rows, &[], screen.out),
            false => table::print(&heads, rows, screen.out),
        }
        .map_err(CliError::failed)?;
    }
    Ok(())
}

/// Shows what is there and then every change, as lines of the same columns, or as objects.
async fn watch(args: &GetArgs, kind: Kind, cluster: &Cluster, screen: &mut Screen<'_>) -> Result<(), CliError> {
    let list = list(args, kind, cluster).await?;
    let names = match kind {
        Kind::Shard => Names::of(&cluster.list(Kind::Node, None).await?.items),
        Kind::Cluster | Kind::Node | Kind::Table => Names::default(),
    };
    let mut shown = Shown { args, names, widths: Vec::new(), last: BTreeMap::new() };
    shown.begin(kind, list.items, screen)?;
    let mut follower = cluster.follow(kind, args.selector.as_deref(), list.revision).await?;
    loop {
        let event = follower.next().await;
        match event {
            Ok(Some(event)) => shown.event(event, screen)?,
            // The node ended the stream in good order: go on where it ended.
            Ok(None) => {
                sleep(FOLLOW_AGAIN).await;
                follower = cluster.follow(kind, args.selector.as_deref(), follower.revision).await?;
            }
            Err(refused) => return Err(refused.into()),
        }
    }
}

/// What a watch has shown.
struct Shown<'a> {
    args: &'a GetArgs,
    names: Names,
    widths: Vec<usize>,
    last: BTreeMap<String, Object>,
}

impl Shown<'_> {
    fn width(&self) -> Option<Width> {
        match self.args.output {
            Form::Table => Some(Width::Usual),
            Form::Wide => Some(Width::Wide),
            Form::Json | Form::Yaml | Form::Name => None,
        }
    }

    fn begin(&mut self, kind: Kind, objects: Vec<Object>, screen: &mut Screen<'_>) -> Result<(), CliError> {
        if let Some(width) = self.width() {
            let heads: Vec<String> = heads(kind, width).into_iter().map(str::to_owned).collect();
            let rows: Vec<_> = objects.iter().map(|object| cells(object, width, &self.names)).collect();
            self.widths = table::widths(std::iter::once(&heads).chain(&rows));
            if !self.args.no_headers {
                table::print_rows(&[heads], &self.widths, screen.out).map_err(CliError::failed)?;
            }
        }
        objects.into_iter().try_for_each(|object| self.event(Event::Written(Box::new(object)), screen))
    }

    fn event(&mut self, event: Event, screen: &mut Screen<'_>) -> Result<(), CliError> {
        let (object, mark) = match event {
            Event::Written(object) => {
                let object = *object;
                if !is_meant(self.args, &object) {
                    return Ok(());
                }
                self.last.insert(object.name().to_owned(), object.clone());
                (object, "")
            }
            Event::Gone(name) => match self.last.remove(&name) {
                Some(object) => (object, "  deleted"),
                None => return Ok(()),
            },
        };
        let text = match (self.args.output, self.width()) {
            (_, Some(width)) => {
                let row = cells(&object, width, &self.names);
                format!("{}{mark}\n", table::line(&row, &self.widths))
            }
            (Form::Yaml, None) => format!("---\n{}", to_yaml(&object)?),
            (Form::Name, None) => format!("{}{mark}\n", object.title()),
            (Form::Json | Form::Table | Form::Wide, None) => {
                serde_json::to_string(&object).map_err(CliError::failed)? + "\n"
            }
        };
        // Whoever reads along must see a change when it comes.
        screen.out.write_all(text.as_bytes()).and_then(|()| screen.out.flush()).map_err(CliError::failed)
    }
}
