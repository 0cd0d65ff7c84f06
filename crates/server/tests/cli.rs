//! The program as a person meets it: what it refuses, in which words, with which exit code, and that a cluster which was
//! stopped is there again.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

fn althing(args: &[&str]) -> Command {
    let mut command = Command::new(common::binary());
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    althing(args).output().expect("the binary can be started")
}

/// What the program says when it refuses, and its exit code.
fn refused(args: &[&str]) -> (String, Option<i32>) {
    let output = run(args);
    (String::from_utf8_lossy(&output.stderr).trim().to_owned(), output.status.code())
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
    kill_process(pid, signal).expect("a child can be signalled");
}

/// Waits for the end of a child for as long as a graceful stop may take.
fn end_of(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status.code();
        }
        assert!(Instant::now() < deadline, "the program does not stop");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `althing dev --json` on ports of its own, once it serves: the process and what it printed.
fn dev(dir: &Path, base_port: u16, more: &[&str]) -> (Running, serde_json::Value) {
    let (dir, port) = (dir.display().to_string(), base_port.to_string());
    let args = [&["dev", "--json", "--dir", &dir, "--base-port", &port], more].concat();
    let mut child = Running(althing(&args).stdout(Stdio::piped()).spawn().expect("the binary can be started"));
    let mut line = String::new();
    BufReader::new(child.0.stdout.as_mut().expect("stdout is piped")).read_line(&mut line).expect("it prints");
    let said = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is not JSON: {error}"));
    (child, said)
}

#[test]
fn a_port_in_use_is_named_with_the_flag_to_change() {
    let dir = tempfile::tempdir().expect("a directory");
    let held = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = held.local_addr().expect("an address").to_string();
    let data = dir.path().join("d").display().to_string();
    let (said, code) = refused(&["server", "--data-dir", &data, "--listen-client", &address]);
    assert_eq!(
        said,
        format!(
            "error: {address} is in use by another program; stop that one or choose another address with --listen-client"
        )
    );
    assert_eq!(code, Some(2));
}

#[test]
fn a_bad_configuration_is_refused_by_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("F.toml");
    std::fs::write(&file, "nmae = \"n1\"\n").expect("a file");
    let shown = file.display().to_string();
    let (said, code) = refused(&["server", "--config", &shown]);
    assert_eq!(said, format!("error: {shown}: unknown key `nmae`; did you mean `name`?"));
    assert_eq!(code, Some(2));
    let (said, code) = refused(&["server", "--listen-client", "0.0.0.0:2379"]);
    assert!(
        said.starts_with("error: `listen_client` is 0.0.0.0:2379, which is not loopback, and there is no TLS"),
        "{said}"
    );
    assert_eq!(code, Some(2));
}

#[test]
fn the_environment_configures_below_flags_and_above_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("F.toml");
    std::fs::write(&file, "cluster = \"from the file\"\n").expect("a file");
    let shown = file.display().to_string();
    let of_file = refused(&["server", "--config", &shown]).0;
    assert!(of_file.contains("`cluster`: \"from the file\" is not a name"), "{of_file}");
    let mut with_variable = althing(&["server", "--config", &shown]);
    let output = with_variable.env("ALTHING_CLUSTER", "from the environment").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("`cluster`: \"from the environment\" is not a name"), "{said}");
}

#[test]
fn a_directory_of_another_cluster_or_in_use_or_damaged_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("n1").display().to_string();
    let (client, peer) = (format!("127.0.0.1:{}", common::free_port()), format!("127.0.0.1:{}", common::free_port()));
    let args = ["server", "--data-dir", &data, "--listen-client", &client, "--listen-peer", &peer];
    let mut child = Running(althing(&args).stderr(Stdio::piped()).spawn().expect("it starts"));
    let mut log = BufReader::new(child.0.stderr.take().expect("stderr is piped"));
    let mut line = String::new();
    while !line.contains("starting the node") {
        line.clear();
        assert!(log.read_line(&mut line).expect("a log") > 0, "the node ended");
    }
    let (said, code) = refused(&args);
    assert!(said.contains("is in use by process") && said.contains(&child.0.id().to_string()), "{said}");
    assert_eq!(code, Some(2));
    signal(&child.0, Signal::TERM);
    std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
    assert_eq!(end_of(&mut child.0), Some(0));
    let (said, _) = refused(&[&args[..], &["--cluster", "other"]].concat());
    assert!(said.contains("belongs to cluster \"althing\", but \"other\" is to run"), "{said}");
    let identity = format!("{data}/identity");
    let mut bytes = std::fs::read(&identity).expect("the identity");
    bytes[40] ^= 1;
    std::fs::write(&identity, bytes).expect("the identity");
    let (said, code) = refused(&args);
    assert!(said.contains("/identity is corrupt: its checksum does not fit"), "{said}");
    assert_eq!(code, Some(2));
}

#[tokio::test]
async fn a_cluster_in_one_process_stops_at_ctrl_c_and_is_found_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let port = common::free_base_port();
    let (mut child, said) = dev(dir.path(), port, &[]);
    let nodes = said["nodes"].as_array().expect("nodes").clone();
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|node| node["pid"] == child.0.id()));
    let endpoint = nodes[1]["etcd"].as_str().expect("an endpoint").to_owned();
    assert_eq!(endpoint, format!("127.0.0.1:{}", port + 100));
    let revision = common::put(&mut common::kv(&endpoint), "kept", "value").await.expect("a put");
    signal(&child.0, Signal::INT);
    assert_eq!(end_of(&mut child.0), Some(0));
    let (mut child, _) = dev(dir.path(), port, &[]);
    let found = common::get_prefix(&endpoint, "kept").await.expect("a range");
    assert_eq!(found, [("kept".to_owned(), "value".to_owned(), revision)]);
    signal(&child.0, Signal::TERM);
    assert_eq!(end_of(&mut child.0), Some(0));
    let inspected = run(&["wal", "inspect", &dir.path().join("n1").display().to_string(), "-o", "json"]);
    assert!(inspected.status.success(), "{}", String::from_utf8_lossy(&inspected.stderr));
    let text = String::from_utf8_lossy(&inspected.stdout).into_owned();
    assert!(
        text.lines().any(|line| line.contains("\"kind\":\"Entries\"") && line.contains("\"state\":\"valid\"")),
        "{text}"
    );
}

#[tokio::test]
async fn of_a_cluster_of_processes_one_can_be_killed_and_the_rest_stop_together() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut child, said) = dev(dir.path(), common::free_base_port(), &["--processes"]);
    let nodes = said["nodes"].as_array().expect("nodes").clone();
    let pids: Vec<_> = nodes.iter().filter_map(|node| i32::try_from(node["pid"].as_i64()?).ok()).collect();
    assert_eq!(pids.len(), 3);
    let pid = |at: usize| Pid::from_raw(pids[at]).expect("a pid");
    kill_process(pid(0), Signal::KILL).expect("a node can be killed");
    let endpoint = nodes[2]["etcd"].as_str().expect("an endpoint").to_owned();
    let deadline = Instant::now() + Duration::from_secs(20);
    while common::put(&mut common::kv(&endpoint), "k", "v").await.is_err() {
        assert!(Instant::now() < deadline, "two of three do not serve");
    }
    signal(&child.0, Signal::TERM);
    assert_eq!(end_of(&mut child.0), Some(0));
    for at in [1, 2] {
        assert!(!Path::new(&format!("/proc/{}", pid(at).as_raw_nonzero())).exists(), "a node outlives its cluster");
    }
}

#[tokio::test]
async fn a_snapshot_becomes_a_new_cluster_whose_revisions_only_go_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut child, said) = dev(&dir.path().join("old"), common::free_base_port(), &[]);
    let endpoint = said["nodes"][0]["etcd"].as_str().expect("an endpoint").to_owned();
    let mut revision = 0;
    for n in 0..100 {
        revision = common::put(&mut common::kv(&endpoint), &format!("key/{n:03}"), "value").await.expect("a put");
    }
    let file = dir.path().join("snapshot").display().to_string();
    let saved = run(&["snapshot", "save", &file, "--endpoints", &endpoint]);
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    signal(&child.0, Signal::TERM);
    assert_eq!(end_of(&mut child.0), Some(0));

    let mut cluster = common::Cluster::prepare(3);
    for node in &cluster.nodes {
        let members = cluster.initial_cluster();
        let data = node.dir.display().to_string();
        let args = ["--data-dir", &data, "--name", &node.name, "--cluster", "althing", "--initial-cluster", &members];
        let restored = run(&[&["snapshot", "restore", &file][..], &args].concat());
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        let (said, code) = refused(&[&["snapshot", "restore", &file][..], &args].concat());
        assert!(said.contains("is the data directory of node"), "{said}");
        assert_eq!(code, Some(2));
    }
    for index in 0..3 {
        cluster.start_node(index);
    }
    cluster.wait_until_serving().await;
    let endpoint = cluster.nodes[2].client.clone();
    assert_eq!(common::get_prefix(&endpoint, "key/").await.expect("a range").len(), 100);
    let next = common::put(&mut common::kv(&endpoint), "after", "value").await.expect("a put");
    assert!(next > revision + 1_000_000, "{next} after {revision}");

    let mut bytes = std::fs::read(&file).expect("the snapshot");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&file, bytes).expect("the snapshot");
    let data = dir.path().join("damaged").display().to_string();
    let args = ["--data-dir", &data, "--cluster", "c", "--initial-cluster", "n1=http://127.0.0.1:1"];
    let (said, code) = refused(&[&["snapshot", "restore", &file][..], &args].concat());
    assert!(said.contains("SHA-256"), "{said}");
    assert_eq!(code, Some(1));
    assert!(!Path::new(&data).exists(), "nothing is made of a damaged snapshot");
}
