//! `althing describe`: all about an object, and what follows from it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use althing_manifest::{
    Cluster as ClusterObject, Condition, Guarantee, Kind, Metadata, Node, Object, Phase, Shard, Table, condition,
};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::get::get_one;
use super::kinds::{self, Meant};
use super::picture;
use super::repair::{self, Repair, Repairs};
use super::words::{self, Names, many, node_of, shard_of};
use crate::args::OutputFormat;
use crate::error::CliError;
use crate::objects::{Cluster, Refused};
use crate::remote::RemoteArgs;
use crate::screen::{Ink, Look, Screen};
use crate::table;

/// Settings of `althing describe`.
#[derive(Clone, Debug, Args)]
pub struct DescribeArgs {
    /// A kind, then names, if not all are meant; or KIND/NAME.
    #[arg(value_name = "KIND [NAME] | KIND/NAME", required = true)]
    pub what: Vec<String>,
    /// The form of the answer: for programs the objects, and with shards of convergent tables how their repair stands.
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// What is around an object.
struct World {
    nodes: Vec<Object>,
    shards: Vec<Object>,
    names: Names,
    repairs: Repairs,
    look: Look,
}

/// An object, and what its nodes say of it.
#[derive(Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    object: &'a Object,
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<&'a Repair>,
}

/// Describes objects.
pub async fn run(args: &DescribeArgs, cluster: &Cluster, screen: &mut Screen<'_>) -> Result<(), CliError> {
    let (mut objects, mut is_one) = (Vec::new(), false);
    match kinds::parse(&args.what)? {
        Meant::Objects(meant) => {
            is_one = meant.len() == 1;
            for (kind, name) in &meant {
                objects.push(get_one(cluster, *kind, name).await?);
            }
        }
        Meant::Kinds(kinds) => {
            for kind in kinds {
                objects.extend(cluster.list(kind, None).await?.items);
            }
        }
    }
    let nodes = cluster.list(Kind::Node, None).await?.items;
    let mut shards = cluster.list(Kind::Shard, None).await?.items;
    shards.sort_by_key(|object| shard_of(object).map(|shard| shard.spec.group));
    let names = Names::of(&nodes);
    let repairs = repairs(cluster, &objects, &nodes, &names).await?;
    let world = World { names, nodes, shards, repairs, look: screen.look };
    let text = match args.output {
        OutputFormat::Table => objects.iter().map(|object| world.page(object)).collect::<Vec<_>>().join("\n"),
        OutputFormat::Json => world.json(&objects, is_one).map_err(CliError::failed)? + "\n",
    };
    screen.out.write_all(text.as_bytes()).map_err(CliError::failed)
}

/// How the repair of the shards among the objects stands, as far as their tables are convergent.
async fn repairs(cluster: &Cluster, objects: &[Object], nodes: &[Object], names: &Names) -> Result<Repairs, Refused> {
    let mut repairs = Repairs::new();
    let shards: Vec<&Shard> = objects.iter().filter_map(shard_of).collect();
    if shards.is_empty() {
        return Ok(repairs);
    }
    let tables = cluster.list(Kind::Table, None).await?.items;
    let is_convergent = |object: &Object| match object {
        Object::Table(table) => table.spec.guarantee == Guarantee::Convergent,
        Object::Cluster(_) | Object::Node(_) | Object::Shard(_) => false,
    };
    let convergent: BTreeSet<&str> = tables.iter().filter(|table| is_convergent(table)).map(Object::name).collect();
    let nodes: Vec<&Node> = nodes.iter().filter_map(node_of).collect();
    for shard in shards.into_iter().filter(|shard| convergent.contains(shard.spec.table.as_str())) {
        repairs.insert(shard.name().to_owned(), repair::ask(cluster, shard, &nodes, names).await);
    }
    Ok(repairs)
}

/// What a guarantee promises, in a few words.
const fn promise(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::Strong => "linearizable reads and writes, transactions within a shard, ordered watches, leases",
        Guarantee::Convergent => "replicas that have seen the same writes are equal",
        Guarantee::Stream => "a total order of records per partition",
        Guarantee::Blob => "large values survive the loss of some of their pieces",
    }
}

/// Lines of `name: value`, aligned.
struct Lines<'a>(Vec<(&'a str, String)>);

impl Lines<'_> {
    fn text(&self, look: Look) -> String {
        let width = self.0.iter().map(|(name, _)| name.len() + 1).max().unwrap_or_default();
        self.0.iter().fold(String::new(), |mut text, (name, value)| {
            let name = look.ink(Ink::Heading, &format!("{:width$}", format!("{name}:")));
            let _ = writeln!(text, "{name}  {value}");
            text
        })
    }
}

fn about<'a>(metadata: &Metadata) -> Vec<(&'a str, String)> {
    let version = format!("{} (generation {})", metadata.resource_version, metadata.generation);
    let mut lines = vec![("Name", metadata.name.clone())];
    if !metadata.labels.is_empty() {
        lines.push(("Labels", words::labels(&metadata.labels)));
    }
    lines.push(("Version", version));
    lines
}

impl World {
    fn json(&self, objects: &[Object], is_one: bool) -> Result<String, serde_json::Error> {
        let described = objects.iter().map(|object| Described {
            object,
            repair: shard_of(object).and_then(|shard| self.repairs.get(shard.name())),
        });
        let described: Vec<_> = described.collect();
        match described.as_slice() {
            [one] if is_one => serde_json::to_string_pretty(one),
            all => {
                let list = json!({ "apiVersion": althing_manifest::API_VERSION, "kind": "List", "items": all });
                serde_json::to_string_pretty(&list)
            }
        }
    }

    fn page(&self, object: &Object) -> String {
        match object {
            Object::Cluster(cluster) => self.cluster(cluster),
            Object::Node(node) => self.node(node),
            Object::Table(table) => self.table(table),
            Object::Shard(shard) => self.shard(shard),
        }
    }

    fn heading(&self, text: &str) -> String {
        format!("\n{}\n", self.look.ink(Ink::Heading, text))
    }

    fn conditions(&self, conditions: &[Condition]) -> String {
        if conditions.is_empty() {
            return String::new();
        }
        let rows = conditions.iter().map(|one| {
            vec![one.about.clone(), one.status.name().to_owned(), one.reason.clone(), words::or_dash(&one.message)]
        });
        let mut out = Vec::new();
        // Writing to memory cannot fail.
        let _ = table::print(&["  TYPE", "STATUS", "REASON", "MESSAGE"], indent(rows), &mut out);
        self.heading("Conditions") + &String::from_utf8_lossy(&out)
    }

    fn shards_of<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a Shard> {
        self.shards.iter().filter_map(shard_of).filter(move |shard| shard.spec.table == table)
    }

    fn table(&self, table: &Table) -> String {
        let shards: Vec<&Shard> = self.shards_of(table.name()).collect();
        let nodes: Vec<&Node> = self.nodes.iter().filter_map(node_of).collect();
        let mut lines = about(&table.metadata);
        let guarantee = table.spec.guarantee;
        let (keys, bytes) = words::routed(&shards).iter().fold((0_u64, 0_u64), |(keys, bytes), shard| {
            (keys.saturating_add(shard.status.keys), bytes.saturating_add(shard.status.bytes))
        });
        lines.extend([
            ("Guarantee", format!("{}: {}", guarantee.name(), promise(guarantee))),
            ("Holds now", self.holds(table)),
            ("Shards", self.shards_line(table)),
            ("Replicas", replicas_line(table)),
            ("Data", format!("{}, {}", many(keys, "key"), words::bytes(bytes))),
        ]);
        let mut text = Lines(lines).text(self.look);
        text += &self.conditions(&table.status.conditions);
        if !shards.is_empty() {
            text += &self.heading("Where its replicas are");
            text += &picture::draw(&shards, &nodes, &self.names, self.look);
            let _ = writeln!(text, "  {}", self.look.ink(Ink::Faint, picture::LEGEND));
        }
        text + &self.splits(&shards) + &self.troubled(&shards)
    }

    /// Whether the declared guarantee holds now, and why not.
    fn holds(&self, table: &Table) -> String {
        if table.metadata.life == althing_manifest::Life::Deleting {
            return self.look.ink(Ink::Warning, "no: the table is being deleted");
        }
        match condition::get(&table.status.conditions, condition::READY) {
            None => self.look.ink(Ink::Warning, "not known: the control plane has not looked at it yet"),
            Some(ready) => match ready.status {
                althing_manifest::Truth::True if table.status.observed_generation < table.metadata.generation => {
                    "yes, as far as its latest change has been looked at".to_owned()
                }
                althing_manifest::Truth::True => self.look.ink(Ink::Good, "yes"),
                althing_manifest::Truth::False => self.look.ink(Ink::Bad, &format!("no: {}", why(ready))),
                althing_manifest::Truth::Unknown => self.look.ink(Ink::Warning, &format!("not known: {}", why(ready))),
            },
        }
    }

    fn shards_line(&self, table: &Table) -> String {
        let status = &table.status;
        let split = match (table.spec.split, table.spec.split_bytes) {
            (althing_manifest::Split::Range, Some(size)) => format!("split by range at {}", words::bytes(size)),
            (split, _) => format!("split by {}", split.name()),
        };
        format!("{}, {} with a leader, {split}", status.shards, status.ready_shards)
    }

    /// The shards that are being split, with their halves, and how far that is.
    fn splits(&self, shards: &[&Shard]) -> String {
        let halves = || shards.iter().filter(|shard| shard.spec.phase == Phase::Filling);
        let parents: BTreeSet<_> = halves().filter_map(|half| half.spec.parent).collect();
        let takes_part = |shard: &&&Shard| shard.spec.phase == Phase::Filling || parents.contains(&shard.spec.group);
        let rows = shards.iter().filter(takes_part).map(|shard| {
            let progress = condition::get(&shard.status.conditions, condition::SPLITTING);
            vec![
                shard.name().to_owned(),
                words::slice(&shard.spec.slice),
                shard.spec.phase.name().to_owned(),
                shard.spec.parent.map_or_else(|| "-".to_owned(), |parent| parent.to_string()),
                progress.map_or_else(|| "-".to_owned(), why),
            ]
        });
        let rows = indent(rows);
        if rows.is_empty() {
            return String::new();
        }
        let mut out = Vec::new();
        // Writing to memory cannot fail.
        let _ = table::print(&["  SHARD", "SLICE", "PHASE", "PARENT", "HOW FAR"], rows, &mut out);
        self.heading("Being split") + &String::from_utf8_lossy(&out)
    }

    /// The shards that do not serve, and why; a few of them.
    fn troubled(&self, shards: &[&Shard]) -> String {
        const SHOWN: usize = 10;
        let troubled: Vec<_> = shards.iter().filter_map(|shard| Some((shard, self.trouble(shard)?))).collect();
        if troubled.is_empty() {
            return String::new();
        }
        let rows = troubled.iter().take(SHOWN).map(|(shard, why)| vec![shard.name().to_owned(), why.clone()]);
        let mut out = Vec::new();
        // Writing to memory cannot fail.
        let _ = table::print(&["  SHARD", "WHAT IS WRONG"], indent(rows), &mut out);
        if troubled.len() > SHOWN {
            let _ = std::io::Write::write_fmt(&mut out, format_args!("  and {} more\n", troubled.len() - SHOWN));
        }
        self.heading("Not well") + &String::from_utf8_lossy(&out)
    }

    fn trouble(&self, shard: &Shard) -> Option<String> {
        match shard.spec.phase {
            Phase::Serving | Phase::Filling => {}
            Phase::Retiring => return None,
        }
        let ready = condition::get(&shard.status.conditions, condition::READY);
        match ready {
            Some(ready) if ready.status != althing_manifest::Truth::True => return Some(why(ready)),
            Some(_) | None => {}
        }
        if shard.status.epoch == 0 {
            return Some("it has never been seen alive".to_owned());
        }
        if shard.status.leader.is_none() {
            return Some("it has no leader".to_owned());
        }
        let missing = shard.spec.replicas.difference(&shard.status.voters).copied().collect();
        (shard.spec.replicas != shard.status.voters && !shard.spec.replicas.is_subset(&shard.status.voters))
            .then(|| format!("no vote yet on {}", self.names.list(&missing)))
    }

    fn node(&self, node: &Node) -> String {
        let mut lines = about(&node.metadata);
        lines.extend([
            ("Id", node.spec.id.to_string()),
            ("State", words::node_state(node)),
            ("Zone", words::or_dash(&node.spec.zone)),
            ("Capacity", format!("{} (a usual node has 100)", node.spec.capacity)),
            ("Program", words::or_dash(&node.status.version)),
            ("Clients at", words::or_dash(&node.spec.client_urls.join(", "))),
            ("Nodes at", words::or_dash(&node.spec.peer_urls.join(", "))),
            ("Replicas", format!("{}, of which it leads {}", node.status.replicas, node.status.leaders)),
        ]);
        Lines(lines).text(self.look) + &self.conditions(&node.status.conditions) + &self.held_by(node)
    }

    /// How much of each table a node holds.
    fn held_by(&self, node: &Node) -> String {
        let mut tables = std::collections::BTreeMap::<&str, (u64, u64, u64)>::new();
        for shard in self.shards.iter().filter_map(shard_of) {
            let status = &shard.status;
            if status.voters.contains(&node.spec.id) || status.learners.contains(&node.spec.id) {
                let (held, led, bytes) = tables.entry(&shard.spec.table).or_default();
                *held += 1;
                *led += u64::from(status.leader == Some(node.spec.id));
                *bytes = bytes.saturating_add(status.bytes);
            }
        }
        if tables.is_empty() {
            return String::new();
        }
        let rows = tables.into_iter().map(|(table, (held, led, bytes))| {
            vec![table.to_owned(), held.to_string(), led.to_string(), words::bytes(bytes)]
        });
        let mut out = Vec::new();
        // Writing to memory cannot fail.
        let _ = table::print(&["  TABLE", "REPLICAS", "LEADS", "BYTES"], indent(rows), &mut out);
        self.heading("Holds") + &String::from_utf8_lossy(&out)
    }

    fn shard(&self, shard: &Shard) -> String {
        let status = &shard.status;
        let leader = status.leader.map_or_else(|| "none is known".to_owned(), |leader| self.names.name(leader));
        let preferred = shard.spec.leader.map(|leader| format!("; {} should", self.names.name(leader)));
        let mut lines = about(&shard.metadata);
        lines.extend([
            ("Table", shard.spec.table.clone()),
            ("Group", shard.spec.group.to_string()),
            ("Slice", words::slice(&shard.spec.slice)),
            ("Phase", shard.spec.phase.name().to_owned()),
            ("Leader", format!("{leader}, in term {}{}", status.term, preferred.unwrap_or_default())),
            ("Wanted on", self.names.list(&shard.spec.replicas)),
            ("Voters", self.names.list(&status.voters)),
            ("Learners", self.names.list(&status.learners)),
            ("Epoch", status.epoch.to_string()),
            ("Data", format!("{}, {}", many(status.keys, "key"), words::bytes(status.bytes))),
        ]);
        if let Some(parent) = shard.spec.parent {
            lines.push(("Split from", parent.to_string()));
        }
        if let Some(trouble) = self.trouble(shard) {
            lines.push(("Not well", self.look.ink(Ink::Bad, &trouble)));
        }
        let repair = self.repairs.get(shard.name());
        let repair = repair.map(|repair| self.heading("Repair") + &repair.table()).unwrap_or_default();
        Lines(lines).text(self.look) + &self.conditions(&status.conditions) + &repair
    }

    fn cluster(&self, cluster: &ClusterObject) -> String {
        let mut lines = about(&cluster.metadata);
        let shards = self.shards.iter().filter_map(shard_of);
        let troubled = shards.filter(|shard| self.trouble(shard).is_some()).count();
        let zones: std::collections::BTreeSet<_> =
            self.nodes.iter().filter_map(node_of).map(|node| node.spec.zone.clone()).collect();
        lines.extend([
            ("Nodes", format!("{} in {}", self.nodes.len(), many(zones.len() as u64, "zone"))),
            ("Shards", format!("{}, of which {troubled} not well", self.shards.len())),
            ("Meta", many(u64::from(cluster.spec.meta_replicas), "replica")),
            ("Node grace", format!("{} s until a silent node's replicas are rebuilt", cluster.spec.node_grace_seconds)),
        ]);
        Lines(lines).text(self.look) + &self.conditions(&cluster.status.conditions)
    }
}

fn why(condition: &Condition) -> String {
    if condition.message.is_empty() { condition.reason.clone() } else { condition.message.clone() }
}

fn replicas_line(table: &Table) -> String {
    let replicas = table.spec.replicas;
    match replicas {
        1 => "1 of each shard: nothing may be lost".to_owned(),
        _ => format!("{replicas} of each shard: it bears the loss of {}", many(u64::from(replicas / 2), "node")),
    }
}

fn indent(rows: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    rows.map(|mut row| {
        if let Some(first) = row.first_mut() {
            first.insert_str(0, "  ");
        }
        row
    })
    .collect()
}
