//! Joining by names, over real sockets: nodes that know nothing of each other but a name.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use althing_types::ClusterId;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::*;
use crate::clock::RealClock;
use crate::disk::RealDisk;
use crate::transport::handshake::Identity as Me;
use crate::transport::lineage::Lineage;
use crate::transport::{Book, BookError, Transport, TransportOptions};

/// A zone file: what each name has at present.
#[derive(Clone, Debug, Default)]
struct Zone(Arc<Mutex<BTreeMap<String, Vec<SocketAddr>>>>);

impl Zone {
    fn set(&self, name: &str, addresses: &[SocketAddr]) {
        self.0.lock().unwrap().insert(name.to_owned(), addresses.to_vec());
    }
}

impl Resolver for Zone {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        let found = match host.parse::<IpAddr>() {
            Ok(ip) => Some(vec![SocketAddr::new(ip, port)]),
            Err(_) => self.0.lock().unwrap().get(host).cloned(),
        };
        Box::pin(async move { found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)) })
    }
}

struct AnyBook;

impl Book for AnyBook {
    fn enter(&self, _: NodeId, _: &Lineage) -> Result<(), BookError> {
        Ok(())
    }
}

/// A node of which only the membership runs.
struct Started {
    at: SocketAddr,
    view: Arc<Mutex<GossipView>>,
    board: Arc<Board>,
    _transport: Transport,
    _stop: watch::Sender<()>,
    _dir: tempfile::TempDir,
}

impl Started {
    /// Node `id`, on both families, reached at an address of this host, which asks this name.
    async fn new(id: u64, host: &str, name: &str, resolver: Arc<dyn Resolver>) -> Self {
        // A socket of IPv6 for any address takes IPv4, too.
        let listener = tokio::net::TcpListener::bind("[::]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = UdpSocket::bind(("::", port)).unwrap();
        let at = SocketAddr::new(host.parse().unwrap(), port);
        let me = Me { cluster: ClusterId(1), node: NodeId(id), lineage: Lineage::new(id, 1, vec![id]).unwrap() };
        let mut transport = Transport::new(TransportOptions {
            me: me.clone(),
            book: Arc::new(AnyBook),
            tls: None,
            events: Arc::new(|_| {}),
            metrics: Arc::default(),
            cut: Arc::default(),
        });
        transport.listen(listener);
        let (answerer, called) = mpsc::channel(MAX_CALLED);
        transport.set_push_pull(answerer);
        let ((stop, stopped), dir) = (watch::channel(()), tempfile::tempdir().unwrap());
        let (view, board) = (Arc::default(), Arc::<Board>::default());
        let join = vec![name.parse().unwrap()];
        let contact = at.to_string().parse().unwrap();
        let redis = Some(format!("n{id}.test:6379").parse().unwrap());
        let thread = GossipThread {
            options: GossipOptions { socket, contact, secret: None, client_urls: Vec::new(), redis, join, resolver },
            me,
            seeds: Vec::new(),
            caller: transport.caller(),
            cut: Arc::default(),
            called,
            stop: stopped,
            clock: Arc::new(RealClock::start()),
            disk: Arc::new(RealDisk::new(dir.path())),
            requests: Box::new(|| 0),
            zone: format!("zone-{id}"),
            board: Arc::clone(&board),
            view: Arc::clone(&view),
        };
        tokio::task::spawn_local(thread.serve());
        Self { at, view, board, _transport: transport, _stop: stop, _dir: dir }
    }

    /// Waits until it sees so many others alive.
    async fn sees(&self, others: usize) {
        let alive = || self.view.lock().unwrap().members.iter().filter(|row| row.liveness == Liveness::Alive).count();
        let seen = async {
            while alive() != others {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(20), seen).await.unwrap_or_else(|_| panic!("sees {} of {others}", alive()));
    }
}

#[tokio::test]
async fn one_name_with_many_addresses_of_both_families_brings_a_cluster_together() {
    let test = async {
        let zone = Zone::default();
        let resolver = || Arc::new(zone.clone());
        let gone = "127.0.0.1:9".parse().unwrap();
        let one = Started::new(1, "::1", "peers.test:1", resolver()).await;
        let two = Started::new(2, "127.0.0.1", "peers.test:1", resolver()).await;
        // The name is not there yet. Then it has their own addresses, and one at which nobody is any more.
        zone.set("peers.test", &[one.at, two.at, gone]);
        let three = Started::new(3, "::1", "peers.test:1", resolver()).await;
        zone.set("peers.test", &[three.at, one.at, gone]);
        one.sees(2).await;
        three.sees(2).await;
        let ports = || -> Vec<_> {
            let found = one.board.neighbours();
            found.iter().map(|other| (other.node, other.address.to_string(), other.standing)).collect()
        };
        let wanted: Vec<_> =
            [1, 2, 3].map(|id| (NodeId(id), format!("n{id}.test:6379"), Standing::Living)).into_iter().collect();
        while ports() != wanted {
            sleep(Duration::from_millis(10)).await;
        }
        three.board.set_map_epoch(7);
        while one.board.newest_map_epoch() != 7 {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(one.board.map_epoch(), 0, "its own is another matter");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn localhost_is_a_name_of_the_system_and_does_to_join_by() {
    let test = async {
        let one = Started::new(1, "127.0.0.1", "localhost:1", Arc::new(SystemResolver)).await;
        let name = format!("localhost:{}", one.at.port());
        let two = Started::new(2, "127.0.0.1", &name, Arc::new(SystemResolver)).await;
        one.sees(1).await;
        two.sees(1).await;
    };
    LocalSet::new().run_until(test).await;
}
