//! The verbs as a person meets them: transcripts of command lines and what they print, against the gateway of objects in this
//! process.
//!
//! A line that begins with `$ ` is run. Below it stands what it wrote to standard output, then, each line after `! `, to standard
//! error, and `[exit N]` if it failed. A line that begins with `#` is for the reader. `UPDATE_TRANSCRIPTS=1 cargo test -p althing-cli --test transcripts` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use althing_cli::objects::{Answering, Cluster, Door, Paging};
use althing_cli::screen::{Look, Progress, Screen};
use althing_cli::{Cli, CliError, Command, remote};
use althing_gateway_http::testing::TestNode;
use althing_gateway_http::{Gateway, router};
use althing_manifest::{
    Cluster as ClusterObject, ClusterSpec, Condition, Guarantee, Liveness, Node, NodeSpec, Object, Phase, Shard,
    ShardSpec, Slice, Split, Table, TableSpec, Truth, condition, shard::RangeSlice,
};
use althing_types::{GroupId, NodeId};
use bytes::Bytes;
use clap::Parser;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::json;

/// The gateway, reached without a network.
struct InProcess(Gateway);

impl Door for InProcess {
    fn send(&self, request: Request<Bytes>) -> Answering<'_> {
        Box::pin(async move {
            let response = self.0.handle(request.map(Full::new)).await;
            Ok(response.map(|body| body.map_err(|never| match never {}).boxed_unsync()))
        })
    }

    /// Of the nodes of this cluster the second does not answer.
    fn page<'a>(&'a self, url: &'a str) -> Paging<'a> {
        let name = url.trim_start_matches("http://10.0.0.").trim_end_matches(":2379");
        let path = format!("{}/tests/files/metrics-n{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(path).map_err(CliError::failed);
        Box::pin(async move { page })
    }
}

fn put(node: &TestNode, object: impl Into<Object>) {
    let object = object.into();
    node.put(&object.key(), &String::from_utf8(object.to_stored()).unwrap());
}

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

fn shard(table: &str, group: u64, part: (u32, u32), wanted: &[u64], voters: &[u64], leader: u64) -> Shard {
    let replicas: Vec<String> = wanted.iter().map(|id| format!("{id:x}")).collect();
    let slice = json!({ "hash": { "index": part.0, "of": part.1 } });
    let spec = json!({ "table": table, "group": group, "slice": slice, "replicas": replicas });
    let spec: ShardSpec = serde_json::from_value(spec).unwrap();
    let mut shard = Shard::new(&althing_manifest::shard::name_of(table, GroupId(group)), spec);
    shard.metadata.generation = 1;
    let status = &mut shard.status;
    (status.epoch, status.term, status.keys, status.bytes) = (1, 3, 100 * group, group << 20);
    (status.voters, status.leader) = (ids(voters), (leader != 0).then_some(NodeId(leader)));
    status.learners = ids(wanted).difference(&ids(voters)).copied().collect();
    shard
}

fn table(name: &str, shards: u32, ready: u64) -> Table {
    let mut table = Table::new(name, TableSpec { shards, ..TableSpec::default() });
    table.metadata.generation = 1;
    let status = &mut table.status;
    (status.observed_generation, status.shards, status.ready_shards) = (1, shards.into(), ready);
    let is_ready = ready == u64::from(shards);
    let condition = match is_ready {
        true => Condition::new(condition::READY, Truth::True, "Serving", ""),
        false => Condition::new(condition::READY, Truth::False, "NoLeader", "1 shard has no leader: events-18"),
    };
    condition::set(&mut status.conditions, condition);
    table
}

/// A cluster of three nodes in three zones and a fourth that has just joined; of one table a shard has no leader and another
/// one is being moved.
fn world() -> TestNode {
    let world = TestNode::default();
    let mut cluster = ClusterObject::new("cluster", ClusterSpec::default());
    cluster.metadata.generation = 1;
    let moving = Condition::new(condition::SETTLED, Truth::False, "Moving", "1 replica is being filled");
    condition::set(&mut cluster.status.conditions, moving);
    put(&world, cluster);
    for (id, zone, replicas) in [(1, "a", 6), (2, "b", 5), (3, "c", 5), (4, "a", 0)] {
        let spec = NodeSpec {
            zone: zone.into(),
            client_urls: vec![format!("http://10.0.0.{id}:2379")],
            peer_urls: vec![format!("http://10.0.0.{id}:2380")],
            ..NodeSpec::new(NodeId(id))
        };
        let mut node = Node::new(&format!("n{id}"), spec);
        node.metadata.generation = 1;
        let status = &mut node.status;
        (status.liveness, status.replicas, status.version) = (Liveness::Up, replicas, "0.1.0".into());
        status.leaders = u64::from(replicas > 0) * 2;
        condition::set(&mut status.conditions, Condition::new(condition::READY, Truth::True, "Heard", ""));
        put(&world, node);
    }
    put(&world, table("meta", 1, 1));
    put(&world, shard("meta", 2, (0, 1), &[1, 2, 3], &[1, 2, 3], 1));
    put(&world, table("default", 1, 1));
    put(&world, shard("default", 1, (0, 1), &[1, 2, 3], &[1, 2, 3], 2));
    put(&world, table("events", 4, 3));
    put(&world, shard("events", 16, (0, 4), &[1, 2, 3], &[1, 2, 3], 1));
    put(&world, shard("events", 17, (1, 4), &[1, 2, 4], &[1, 2, 3], 2));
    put(&world, shard("events", 18, (2, 4), &[1, 2, 3], &[1, 2, 3], 0));
    put(&world, shard("events", 19, (3, 4), &[1, 2, 3], &[1, 2, 3], 3));
    world
}

/// The same cluster while a shard of a range table is being split.
fn splitting_world() -> TestNode {
    let world = world();
    let spec = TableSpec { split: Split::Range, split_bytes: Some(64 << 20), ..TableSpec::default() };
    let mut log = table("log", 1, 1);
    log.spec = spec;
    put(&world, log);
    let range = |start: &str, end: Option<&str>| {
        Slice::Range(RangeSlice { start: start.into(), end: end.map(|end| end.into()) })
    };
    let of = |group, slice, phase, parent: Option<u64>| {
        let mut shard = shard("log", group, (0, 1), &[1, 2, 3], &[1, 2, 3], 1);
        (shard.spec.slice, shard.spec.phase, shard.spec.parent) = (slice, phase, parent.map(GroupId));
        shard
    };
    let mut parent = of(70, range("user/", None), Phase::Serving, Some(60));
    let message = "it fills log-71 and log-72, and serves meanwhile";
    let splitting = Condition::new(condition::SPLITTING, Truth::True, "Filling", message);
    condition::set(&mut parent.status.conditions, splitting);
    put(&world, parent);
    put(&world, of(71, range("user/", Some("user/m")), Phase::Filling, Some(70)));
    put(&world, of(72, range("user/m", None), Phase::Filling, Some(70)));
    put(&world, of(61, range("", Some("user/")), Phase::Serving, Some(60)));
    world
}

/// The words of a command line; single quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words
}

/// Runs one command line and returns what it wrote.
fn run(world: &TestNode, line: &str) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let result = match Cli::try_parse_from(words(line)) {
        // In the program clap prints this itself.
        Err(error) => Err(CliError::Usage(error.to_string().trim_start_matches("error: ").trim().to_owned())),
        Ok(Cli { command: Command::Objects(verb) }) => {
            let door = InProcess(router(Arc::new(world.clone())));
            let cluster = Cluster::behind(door, remote::RemoteArgs { timeout_ms: 5_000, ..Default::default() });
            let mut screen = Screen { out: &mut out, err: &mut err, look: Look::Plain, progress: Progress::Lines };
            remote::block_on(verb.with(&cluster, &mut screen))
        }
        Ok(_) => panic!("{line}: no verb over objects"),
    };
    let mut said = String::from_utf8(out).unwrap();
    let err = String::from_utf8(err).unwrap();
    let error = result.as_ref().err().map(|error| format!("error: {error}")).unwrap_or_default();
    for line in err.lines().chain(error.lines()) {
        said += format!("! {line}").trim_end();
        said += "\n";
    }
    match result {
        Ok(()) => {}
        Err(CliError::Failed(_)) => said += "[exit 1]\n",
        Err(CliError::Usage(_)) => said += "[exit 2]\n",
        Err(CliError::Fatal(_)) => said += "[exit 3]\n",
    }
    said
}

/// Runs a transcript and compares.
fn transcript(name: &str, world: &TestNode) {
    let path = format!("{}/tests/transcripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let wanted = std::fs::read_to_string(&path).unwrap();
    let mut got = String::new();
    for line in wanted.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            got += &format!("{line}\n{}", run(world, command));
        } else if line.starts_with('#') {
            got += &format!("{line}\n");
        }
    }
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        std::fs::write(&path, &got).unwrap();
    }
    assert!(
        wanted == got,
        "{path} is not what the program says; run with UPDATE_TRANSCRIPTS=1 and look at the difference"
    );
}

macro_rules! transcripts {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            transcript(stringify!($name), &world());
        })*
    };
}

/// The same cluster with a convergent table, of which one shard is being repaired.
fn convergent_world() -> TestNode {
    let world = world();
    let mut carts = table("carts", 2, 2);
    carts.spec.guarantee = Guarantee::Convergent;
    put(&world, carts);
    put(&world, shard("carts", 80, (0, 2), &[1, 2, 3], &[1, 2, 3], 1));
    put(&world, shard("carts", 81, (1, 2), &[1, 3], &[1, 3], 3));
    world
}

transcripts! { getting, describing, applying, deleting, nodes_that_are_set_aside, explaining, top }

#[test]
fn repairing() {
    transcript("repairing", &convergent_world());
}

#[test]
fn splitting() {
    transcript("splitting", &splitting_world());
}

/// Follows objects while others change them; time passes only when everybody waits.
#[tokio::test(start_paused = true)]
async fn a_watch_shows_what_is_there_and_then_every_change() {
    let world = world();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let Ok(Cli { command: Command::Objects(verb) }) = Cli::try_parse_from(words("althing get tables --watch")) else {
        panic!("no verb")
    };
    let cluster = Cluster::behind(
        InProcess(router(Arc::new(world.clone()))),
        remote::RemoteArgs { timeout_ms: 5_000, ..Default::default() },
    );
    let mut screen = Screen { out: &mut out, err: &mut err, look: Look::Plain, progress: Progress::Lines };
    let others = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        put(&world, table("events", 4, 4));
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.remove(&table_key("events"));
        put(&world, table("late", 1, 0));
        // Long enough for a bookmark, which is not shown.
        tokio::time::sleep(Duration::from_secs(30)).await;
    };
    tokio::select! {
        ended = verb.with(&cluster, &mut screen) => panic!("the watch ended: {ended:?}"),
        () = others => {}
    }
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "NAME     GUARANTEE  READY             SHARDS  REPLICAS  SPLIT\n\
         default  strong     True              1/1     3         hash\n\
         events   strong     False (NoLeader)  3/4     3         hash\n\
         meta     strong     True              1/1     3         hash\n\
         events   strong     True              4/4     3         hash\n\
         events   strong     True              4/4     3         hash  deleted\n\
         late     strong     False (NoLeader)  0/1     3         hash\n"
    );
}

fn table_key(name: &str) -> String {
    althing_manifest::key_of(althing_manifest::Kind::Table, name)
}
