//! A cluster of real processes on loopback, and clients of it. Every process that is started here is ended here.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]

pub mod redis;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use althing_etcd_proto::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::{Channel, Endpoint};

/// One node of a cluster, running or not.
pub struct Node {
    pub name: String,
    pub client: String,
    pub peer: String,
    pub dir: PathBuf,
    child: Option<Child>,
}

/// Three nodes as processes of their own.
pub struct Cluster {
    pub nodes: Vec<Node>,
    /// The scheme of the peers' URLs.
    pub scheme: &'static str,
    /// What each node is told beside the usual.
    pub more_args: Vec<String>,
    log: PathBuf,
    _root: tempfile::TempDir,
}

/// The program under test: the one that was built with this test, or the one that `ALTHING_BINARY` names (a release build,
/// for figures).
pub fn binary() -> PathBuf {
    std::env::var_os("ALTHING_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_althing").into(), PathBuf::from)
}

/// How many rounds a test does: what the variable says, or a number small enough for every run.
pub fn rounds(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}

/// A port that was free a moment ago. It is none of those that the system gives to outgoing connections (on Linux from
/// 32768 on): such a connection could take the port of a node that is down for a moment.
pub fn free_port() -> u16 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let seed = CALLS.fetch_add(1, Ordering::Relaxed) << 32 | u64::from(std::process::id());
    let mut rng = fastrand::Rng::with_seed(seed);
    loop {
        let port = rng.u16(10_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A base port with room for three nodes, of which nothing is in use now.
pub fn free_base_port() -> u16 {
    loop {
        let base = free_port();
        let wanted = (0..3).flat_map(|node| [base.wrapping_add(node * 100), base.wrapping_add(node * 100 + 1)]);
        if wanted.into_iter().all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
}

impl Cluster {
    /// Starts `size` nodes and waits until they serve.
    pub async fn start(size: usize) -> Self {
        let mut cluster = Self::prepare(size);
        for index in 0..size {
            cluster.start_node(index);
        }
        cluster.wait_until_serving().await;
        cluster
    }

    /// A cluster of which nothing runs yet.
    pub fn prepare(size: usize) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        let nodes = (1..=size)
            .map(|number| Node {
                name: format!("n{number}"),
                client: format!("127.0.0.1:{}", free_port()),
                peer: format!("127.0.0.1:{}", free_port()),
                dir: root.path().join(format!("n{number}")),
                child: None,
            })
            .collect();
        Self { nodes, scheme: "http", more_args: Vec::new(), log: root.path().join("log"), _root: root }
    }

    pub fn initial_cluster(&self) -> String {
        let members = self.nodes.iter().map(|node| format!("{}={}://{}", node.name, self.scheme, node.peer));
        members.collect::<Vec<_>>().join(",")
    }

    /// The command that starts a node.
    pub fn command(&self, index: usize) -> Command {
        let node = &self.nodes[index];
        let mut command = Command::new(binary());
        command
            .args(["server", "--name", &node.name, "--initial-cluster", &self.initial_cluster()])
            .args(["--listen-client", &node.client, "--listen-peer", &node.peer])
            .arg("--data-dir")
            .arg(&node.dir)
            .args(&self.more_args)
            .stdin(Stdio::null());
        command
    }

    /// Starts a node that does not run; its log is appended to a file of its own.
    pub fn start_node(&mut self, index: usize) {
        let command = self.command(index);
        self.start_command(index, command);
    }

    /// Starts a node by a command of the test's own.
    pub fn start_command(&mut self, index: usize, mut command: Command) {
        let log = self.log_of(index);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("the log can be written");
        let stdout = file.try_clone().expect("a file can be duplicated");
        let child = command.stdout(stdout).stderr(file).spawn().expect("the binary can be started");
        self.nodes[index].child = Some(child);
    }

    pub fn log_of(&self, index: usize) -> PathBuf {
        self.log.with_extension(&self.nodes[index].name)
    }

    /// `kill -9`.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.nodes[index].child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a killed child can be waited for");
        }
    }

    /// Stops a node in good order and returns its exit code.
    pub fn stop(&mut self, index: usize) -> Option<i32> {
        let child = self.nodes[index].child.take()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
        kill_process(pid, Signal::TERM).expect("a child can be signalled");
        end_of(child)
    }

    pub fn pid(&self, index: usize) -> Option<u32> {
        self.nodes[index].child.as_ref().map(Child::id)
    }

    /// All that a node has said.
    pub fn said(&self, index: usize) -> String {
        std::fs::read_to_string(self.log_of(index)).unwrap_or_default()
    }

    /// Whether a node's process has ended by itself.
    pub fn has_ended(&mut self, index: usize) -> bool {
        self.nodes[index].child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.client.clone()).collect()
    }

    /// Waits until every node that runs answers a linearizable read, and panics with its log if one does not in time.
    pub async fn wait_until_serving(&mut self) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].child.is_none() {
                continue;
            }
            let deadline = Instant::now() + Duration::from_secs(30);
            while !serves(&self.nodes[index].client).await {
                assert!(!self.has_ended(index), "{} ended:\n{}", self.nodes[index].name, tail(&self.log_of(index)));
                assert!(
                    Instant::now() < deadline,
                    "{} is silent:\n{}",
                    self.nodes[index].name,
                    tail(&self.log_of(index))
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// The index of the leader, as the nodes that run see it.
    pub async fn leader(&self) -> usize {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            for (index, node) in self.nodes.iter().enumerate() {
                if let Some(status) = status(&node.client).await
                    && status.header.as_ref().is_some_and(|header| header.member_id == status.leader)
                {
                    return index;
                }
            }
            assert!(Instant::now() < deadline, "there is no leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.nodes.len() {
            self.kill(index);
        }
        if std::thread::panicking() {
            for index in 0..self.nodes.len() {
                eprintln!("--- log of {}:\n{}", self.nodes[index].name, tail(&self.log_of(index)));
            }
        }
    }
}

/// The exit code of a child that is about to end. One that does not is killed, and the test fails.
pub fn end_of(mut child: Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status.code();
        }
        if Instant::now() > deadline {
            child.kill().expect("a child can be killed");
            panic!("the program does not stop");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The last lines of a file.
pub fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// A connection that is made when it is first used.
pub fn channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}"))
        .expect("an address is a URL")
        .tcp_nodelay(true)
        .connect_timeout(Duration::from_secs(1))
        .connect_lazy()
}

pub fn kv(address: &str) -> KvClient<Channel> {
    KvClient::new(channel(address))
}

/// Whether a node answers a linearizable read.
pub async fn serves(address: &str) -> bool {
    let read = pb::RangeRequest { key: "/".into(), ..pb::RangeRequest::default() };
    let mut client = kv(address);
    matches!(tokio::time::timeout(Duration::from_secs(1), client.range(read)).await, Ok(Ok(_)))
}

pub async fn status(address: &str) -> Option<pb::StatusResponse> {
    let mut client = MaintenanceClient::new(channel(address));
    let status = tokio::time::timeout(Duration::from_secs(1), client.status(pb::StatusRequest::default())).await;
    status.ok()?.ok().map(tonic::Response::into_inner)
}

/// A put with a deadline, on one connection.
pub async fn put(client: &mut KvClient<Channel>, key: &str, value: &str) -> Result<i64, tonic::Status> {
    let put =
        pb::PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..pb::PutRequest::default() };
    let answer = tokio::time::timeout(Duration::from_secs(8), client.put(put)).await;
    let answer = answer.map_err(|_| tonic::Status::deadline_exceeded("no answer within eight seconds"))??;
    Ok(answer.into_inner().header.map_or(0, |header| header.revision))
}

/// Every key below a prefix with its value and mod revision, linearizable.
pub async fn get_prefix(address: &str, prefix: &str) -> Result<Vec<(String, String, i64)>, tonic::Status> {
    range(address, prefix, pb::RangeRequest::default()).await
}

/// Every key below a prefix with its mod revision, linearizable.
pub async fn keys_of_prefix(address: &str, prefix: &str) -> Result<Vec<(String, i64)>, tonic::Status> {
    let keys_only = pb::RangeRequest { keys_only: true, ..pb::RangeRequest::default() };
    let found = range(address, prefix, keys_only).await?;
    Ok(found.into_iter().map(|(key, _, revision)| (key, revision)).collect())
}

async fn range(
    address: &str,
    prefix: &str,
    options: pb::RangeRequest,
) -> Result<Vec<(String, String, i64)>, tonic::Status> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    let range = pb::RangeRequest { key: prefix.to_owned().into(), range_end: end.into(), ..options };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut client = kv(address).max_decoding_message_size(256 << 20);
    let kvs = client.range(range).await?.into_inner().kvs;
    Ok(kvs.into_iter().map(|kv| (text(&kv.key), text(&kv.value), kv.mod_revision)).collect())
}

/// A stream of watches with one watch on it.
pub struct Watch {
    pub events: tonic::Streaming<pb::WatchResponse>,
    /// As long as this lives the server does not see the end of the client's requests.
    _requests: tokio::sync::mpsc::Sender<pb::WatchRequest>,
}

/// Watches everything from `start` to before `end`, from a revision on.
pub async fn watch(channel: Channel, start: &str, end: &str, from: i64) -> Result<Watch, tonic::Status> {
    let create = pb::WatchCreateRequest {
        key: start.to_owned().into(),
        range_end: end.to_owned().into(),
        start_revision: from,
        ..pb::WatchCreateRequest::default()
    };
    let create = pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) };
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    sender.send(create).await.expect("the receiver is alive");
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut client = WatchClient::new(channel).max_decoding_message_size(256 << 20);
    let events = client.watch(requests).await?.into_inner();
    Ok(Watch { events, _requests: sender })
}

/// What the program says when it refuses to run, and its exit code.
pub fn refusal(command: &mut Command) -> (String, Option<i32>) {
    let said = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let log = said.reopen().expect("a file that exists can be opened");
    let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("the binary can be started");
    let code = end_of(child);
    let text = std::fs::read_to_string(said.path()).expect("the program speaks UTF-8");
    (text.trim().to_owned(), code)
}
