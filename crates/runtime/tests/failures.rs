//! A node whose disk fails under it: it stops at once, says why, and acknowledges nothing that it does not have.

#![allow(clippy::disallowed_methods, reason = "tests of real threads live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use althing_api::cluster::Member;
use althing_api::kv::{KeyRange, PutLease, PutRequest, PutValue, RangeRequest};
use althing_api::{Call, Outcome, Request, Service};
use althing_env::{Disk, DiskError, DiskErrorKind, DiskFile, OpenMode};
use althing_node::NodeConfig;
use althing_runtime::clock::RealClock;
use althing_runtime::directory::{Birth, DataDir, Owner};
use althing_runtime::disk::RealDisk;
use althing_runtime::{Fatal, Running, StartOptions, start};
use althing_types::{ClusterId, NodeId};
use bytes::Bytes;
use http_body::Frame;
use hyper::body::Incoming;

/// A real disk whose syncs fail once it is told so.
#[derive(Clone)]
struct FailingDisk {
    real: RealDisk,
    broken: Arc<AtomicBool>,
    /// Syncs that were tried after it broke.
    tries: Arc<AtomicU64>,
}

struct FailingFile {
    real: Box<dyn DiskFile>,
    disk: FailingDisk,
}

impl FailingDisk {
    fn check(&self) -> Result<(), DiskError> {
        if !self.broken.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.tries.fetch_add(1, Ordering::SeqCst);
        let (path, message) = ("wal".into(), "Input/output error (os error 5)".to_owned());
        Err(DiskError { kind: DiskErrorKind::Io, operation: "sync", path, message })
    }
}

impl DiskFile for FailingFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.real.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.real.write_at(offset, data)
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.disk.check()?;
        self.real.sync()
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.real.len()
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.real.set_len(len)
    }
}

impl Disk for FailingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Box<dyn DiskFile>, DiskError> {
        Ok(Box::new(FailingFile { real: self.real.open(path, mode)?, disk: self.clone() }))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        self.real.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.real.create_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.real.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        self.check()?;
        self.real.sync_dir(dir)
    }

    fn available_bytes(&self) -> Result<u64, DiskError> {
        self.real.available_bytes()
    }
}

/// A body without anything in it.
struct Nothing;

impl http_body::Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(None)
    }
}

/// A gateway that nobody comes through: the test asks the node itself.
#[derive(Clone)]
struct Closed;

impl tower_service::Service<http::Request<Incoming>> for Closed {
    type Response = http::Response<Nothing>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Incoming>) -> Self::Future {
        std::future::ready(Ok(http::Response::new(Nothing)))
    }
}

/// A node alone in its cluster, and how it ends.
fn alone(path: &Path, disk: FailingDisk) -> (Running, Receiver<Result<(), Fatal>>) {
    let (cluster, node) = (ClusterId(7), NodeId(1));
    let peer_urls = vec!["http://127.0.0.1:1".to_owned()];
    let member = Member { id: node, name: "n1".into(), peer_urls, client_urls: Vec::new(), is_learner: false };
    let mut dir = DataDir::open(path).unwrap();
    if dir.owner().is_none() {
        let members = vec![member.clone()];
        let cluster_name = "test".into();
        dir.found(Owner { birth: Birth::Founded, members, cluster_name, cluster, node, name: "n1".into() }).unwrap();
    }
    let options = StartOptions {
        log_disk: Arc::new(disk),
        dir,
        node: NodeConfig::new(cluster, node, vec![member]),
        hints: BTreeMap::new(),
        clients: TcpListener::bind("127.0.0.1:0").unwrap(),
        tables: Vec::new(),
        port: None,
        peers: TcpListener::bind("127.0.0.1:0").unwrap(),
        client_tls: None,
        peer_tls: None,
        gossip: None,
        cut: Arc::default(),
        clock: Arc::new(RealClock::start()),
        registry: Default::default(),
    };
    let (sender, ended) = channel();
    (start(options, |_, _| Closed, move |end| sender.send(end).unwrap()).unwrap(), ended)
}

fn put(key: &str) -> Call {
    Call::new(Request::Put(PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: PutValue::Set(Bytes::from_static(b"value")),
        lease: PutLease::Set(None),
        prev_kv: false,
    }))
}

fn get(key: &str) -> Call {
    Call::new(Request::Range(RangeRequest::new(KeyRange::single(key.to_owned()))))
}

#[tokio::test]
async fn a_failed_fsync_stops_the_node_at_once_and_is_never_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FailingDisk { real: RealDisk::new(dir.path()), broken: Arc::default(), tries: Arc::default() };
    let (node, ended) = alone(dir.path(), disk.clone());
    node.handle().call(put("before")).await.unwrap();
    disk.broken.store(true, Ordering::SeqCst);
    let error = node.handle().call(put("after")).await.unwrap_err();
    assert_eq!(error.outcome, Outcome::MaybeDone, "{error:?}");
    let end = ended.recv_timeout(Duration::from_secs(10)).unwrap().unwrap_err();
    assert!(matches!(end, Fatal::Log(_)), "{end:?}");
    assert_eq!(
        end.to_string(),
        "the write-ahead log failed, so this node stops: the log's disk failed: cannot sync wal: Input/output error \
         (os error 5)"
    );
    node.join();
    assert_eq!(disk.tries.load(Ordering::SeqCst), 1, "no second fsync is tried");

    disk.broken.store(false, Ordering::SeqCst);
    let (node, ended) = alone(dir.path(), disk);
    let found = node.handle().call(get("before")).await.unwrap();
    assert!(format!("{found:?}").contains("before"), "what was acknowledged is there: {found:?}");
    node.handle().stop();
    ended.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
    node.join();
}

#[tokio::test]
async fn who_was_answered_finds_a_node_that_says_it_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FailingDisk { real: RealDisk::new(dir.path()), broken: Arc::default(), tries: Arc::default() };
    let (node, ended) = alone(dir.path(), disk);
    node.handle().call(put("first")).await.unwrap();
    assert_eq!(node.handle().health().reasons, Vec::<String>::new());
    node.handle().stop();
    ended.recv_timeout(Duration::from_secs(10)).unwrap().unwrap();
    node.join();
}
