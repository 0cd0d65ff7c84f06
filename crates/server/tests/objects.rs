//! The verbs over objects against real processes: a table is applied, read, described, changed, followed and deleted; a node
//! joins by itself, gets replicas, is drained and goes.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::Cluster;
use serde_json::Value;

/// How long the control plane may take for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

fn althing(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = Command::new(common::binary());
    command.args(args).args(["--endpoints", &cluster.endpoints().join(",")]).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn run(cluster: &Cluster, args: &[&str]) -> Output {
    althing(cluster, args).output().expect("the binary can be started")
}

/// What a command prints; it must succeed.
fn prints(cluster: &Cluster, args: &[&str]) -> String {
    let output = run(cluster, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command says when it refuses, and its exit code.
fn refused(cluster: &Cluster, args: &[&str]) -> (String, Option<i32>) {
    let output = run(cluster, args);
    (String::from_utf8_lossy(&output.stderr).trim().to_owned(), output.status.code())
}

fn json(cluster: &Cluster, what: &str) -> Value {
    serde_json::from_str(&prints(cluster, &["get", what, "-o", "json"])).expect("JSON")
}

/// Applies what stands here.
fn apply(cluster: &Cluster, text: &str, more: &[&str]) -> Output {
    let mut command = althing(cluster, &[&["apply", "-f", "-"], more].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("stdin is piped").write_all(text.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

/// Asks until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A command that follows objects, and its lines.
struct Watch(Child, Receiver<String>);

impl Watch {
    fn start(cluster: &Cluster, args: &[&str]) -> Self {
        let mut child = althing(cluster, args).stdout(Stdio::piped()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self(child, lines)
    }

    /// Reads until a line has this in it.
    fn until(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.1.recv_timeout(left).unwrap_or_else(|_| panic!("the watch does not say {text:?}"));
            if line.contains(text) {
                return;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A node that does not outlive its test.
struct Newcomer(Child, tempfile::TempDir);

impl Drop for Newcomer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a node that nobody has added.
fn join(cluster: &Cluster, name: &str, zone: &str) -> Newcomer {
    let dir = tempfile::tempdir().expect("a directory");
    let log = std::fs::File::create(dir.path().join("log")).expect("a log");
    let (client, peer) = (format!("127.0.0.1:{}", common::free_port()), format!("127.0.0.1:{}", common::free_port()));
    let child = Command::new(common::binary())
        .args(["server", "--name", name, "--zone", zone, "--join", &cluster.endpoints().join(",")])
        .args(["--listen-client", &client, "--listen-peer", &peer, "--data-dir"])
        .arg(dir.path().join("data"))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the binary can be started");
    Newcomer(child, dir)
}

const ORDERS: &str = "apiVersion: althing/v1\nkind: Table\nmetadata: {name: orders}\nspec: {shards: 8}\n";

#[tokio::test]
async fn a_table_is_applied_described_changed_followed_and_deleted() {
    let cluster = Cluster::start(3).await;
    until("the objects of the founders are there", || {
        let output = run(&cluster, &["get", "nodes", "-o", "name"]);
        output.status.success() && String::from_utf8_lossy(&output.stdout).lines().count() == 3
    });
    let watch = Watch::start(&cluster, &["get", "tables", "--watch", "-o", "name"]);
    watch.until("table/default");

    let shown = apply(&cluster, ORDERS, &["--dry-run"]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "table/orders created (dry run)\n");
    assert_eq!(refused(&cluster, &["get", "table", "orders"]).1, Some(1), "a dry run makes nothing");
    let made = apply(&cluster, ORDERS, &["--wait", "--timeout", "60"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(String::from_utf8_lossy(&made.stdout), "table/orders created\n");
    watch.until("table/orders");

    let table = json(&cluster, "table/orders");
    assert_eq!((&table["spec"]["shards"], &table["status"]["readyShards"]), (&8.into(), &8.into()), "{table}");
    assert_eq!(prints(&cluster, &["get", "shards", "--table", "orders", "-o", "name"]).lines().count(), 8);
    let page = prints(&cluster, &["describe", "table", "orders"]);
    assert!(page.contains("Holds now:  yes") && page.contains("shards 16 to 23"), "{page}");
    assert!(
        page.lines().filter(|line| line.starts_with("  n")).all(|line| line.matches(['L', 'o']).count() >= 8),
        "{page}"
    );
    let again = apply(&cluster, ORDERS, &[]);
    assert_eq!(String::from_utf8_lossy(&again.stdout), "table/orders unchanged\n");

    let stale = ORDERS.replace("{name: orders}", "{name: orders, resourceVersion: '1', labels: {a: b}}");
    let conflict = apply(&cluster, &stale, &[]);
    let said = String::from_utf8_lossy(&conflict.stderr).into_owned();
    assert!(said.contains("table/orders has changed: it is at") && said.contains("and 1 was given"), "{said}");
    assert_eq!(conflict.status.code(), Some(1));
    let fixed = apply(&cluster, &ORDERS.replace("8}", "9}"), &[]);
    assert_eq!(fixed.status.code(), Some(2), "{}", String::from_utf8_lossy(&fixed.stderr));
    assert!(String::from_utf8_lossy(&fixed.stderr).contains("spec.shards: 9 cannot be changed"));

    let doctor = run(&cluster, &["doctor"]);
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
    let (said, code) = refused(&cluster, &["delete", "table", "default"]);
    assert_eq!((said.contains("cannot be deleted"), code), (true, Some(1)), "{said}");
    prints(&cluster, &["delete", "table", "orders", "--wait", "--timeout", "60"]);
    watch.until("table/orders  deleted");
    assert_eq!(prints(&cluster, &["get", "shards", "-o", "name"]).matches("orders").count(), 0);
}

#[tokio::test]
async fn a_node_joins_by_itself_gets_replicas_is_drained_and_goes() {
    let cluster = Cluster::start(3).await;
    let made = apply(&cluster, &ORDERS.replace("8}", "16}"), &["--wait", "--timeout", "60"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let _newcomer = join(&cluster, "n4", "z4");
    until("the newcomer gets replicas", || {
        let nodes = run(&cluster, &["get", "node/n4", "-o", "json"]);
        let node: Value = serde_json::from_slice(&nodes.stdout).unwrap_or_default();
        node["spec"]["zone"] == "z4" && node["status"]["replicas"].as_u64().unwrap_or(0) >= 8
    });
    let (said, code) = refused(&cluster, &["delete", "node", "n4"]);
    assert_eq!((said.contains("still holds"), code), (true, Some(1)), "{said}");
    prints(&cluster, &["drain", "n4", "--wait", "--timeout", "60"]);
    prints(&cluster, &["delete", "node", "n4"]);
    assert_eq!(prints(&cluster, &["get", "nodes", "-o", "name"]).lines().count(), 3);
    assert!(prints(&cluster, &["describe", "table", "orders"]).contains("Holds now:  yes"));
}
