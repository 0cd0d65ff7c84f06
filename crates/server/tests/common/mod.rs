//! A cluster of real processes on loopback, and clients of it. Every process that is started here is ended here.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use althing_etcd_proto::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
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
    log: PathBuf,
    _root: tempfile::TempDir,
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
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
        Self { nodes, log: root.path().join("log"), _root: root }
    }

    pub fn initial_cluster(&self) -> String {
        let members = self.nodes.iter().map(|node| format!("{}=http://{}", node.name, node.peer));
        members.collect::<Vec<_>>().join(",")
    }

    /// The command that starts a node.
    pub fn command(&self, index: usize) -> Command {
        let node = &self.nodes[index];
        let mut command = Command::new(env!("CARGO_BIN_EXE_althing"));
        command
            .args(["server", "--name", &node.name, "--initial-cluster", &self.initial_cluster()])
            .args(["--listen-client", &node.client, "--listen-peer", &node.peer])
            .arg("--data-dir")
            .arg(&node.dir)
            .stdin(Stdio::null());
        command
    }

    /// Starts a node that does not run; its log is appended to a file of its own.
    pub fn start_node(&mut self, index: usize) {
        let log = self.log_of(index);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("the log can be written");
        let stdout = file.try_clone().expect("a file can be duplicated");
        let child = self.command(index).stdout(stdout).stderr(file).spawn().expect("the binary can be started");
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

    pub fn pid(&self, index: usize) -> Option<u32> {
        self.nodes[index].child.as_ref().map(Child::id)
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
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    let range =
        pb::RangeRequest { key: prefix.to_owned().into(), range_end: end.into(), ..pb::RangeRequest::default() };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut client = kv(address).max_decoding_message_size(256 << 20);
    let kvs = client.range(range).await?.into_inner().kvs;
    Ok(kvs.into_iter().map(|kv| (text(&kv.key), text(&kv.value), kv.mod_revision)).collect())
}
