//! Transports of two nodes over loopback: who is let in, what arrives, and what happens when one of them goes.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use althing_resilience::breaker::State;
use althing_runtime::Cut;
use althing_runtime::transport::address::Address;
use althing_runtime::transport::frame;
use althing_runtime::transport::handshake::{Answer, HandshakeError, Hello, Identity, Purpose};
use althing_runtime::transport::lineage::{Lineage, Sightings};
use althing_runtime::transport::push_pull::Called;
use althing_runtime::transport::{Book, BookError, Event, Transport, TransportOptions};
use althing_types::{ClusterId, NodeId};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

struct MemoryBook(Mutex<Sightings>);

impl Book for MemoryBook {
    fn enter(&self, node: NodeId, lineage: &Lineage) -> Result<(), BookError> {
        self.0.lock().unwrap().enter(node, lineage).map_err(HandshakeError::from)?;
        Ok(())
    }
}

fn identity(cluster: u64, node: u64, starts: u64) -> Identity {
    let nonces = (1..=starts).map(|start| start * 100 + node).collect();
    let lineage = Lineage::new(node, starts, nonces).unwrap();
    Identity { cluster: ClusterId(cluster), node: NodeId(node), lineage }
}

struct Side {
    transport: Transport,
    events: UnboundedReceiver<Event>,
    address: SocketAddr,
    cut: Arc<Cut>,
}

impl Side {
    async fn start(me: Identity) -> Self {
        Self::start_at(me, "127.0.0.1:0".parse().unwrap()).await
    }

    async fn start_at(me: Identity, address: SocketAddr) -> Self {
        let (sender, events) = unbounded_channel();
        let cut = Arc::<Cut>::default();
        let mut transport = Transport::new(TransportOptions {
            me,
            book: Arc::new(MemoryBook(Mutex::default())),
            metrics: Arc::default(),
            tls: None,
            cut: Arc::clone(&cut),
            events: Arc::new(move |event| {
                let _ = sender.send(event);
            }),
        });
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        transport.listen(listener);
        Self { transport, events, address, cut }
    }

    fn call(&mut self, node: u64, address: SocketAddr) {
        let address: Address = address.to_string().parse().unwrap();
        self.transport.set_peers(BTreeMap::from([(NodeId(node), vec![address])]));
    }

    async fn event(&mut self) -> Event {
        tokio::time::timeout(Duration::from_secs(10), self.events.recv()).await.expect("an event in time").unwrap()
    }
}

/// Says hello by hand and returns what is answered.
async fn say_hello(to: SocketAddr, hello: Hello) -> (Answer, TcpStream) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let hello = hello.encode();
    stream.write_all(&[&frame::header(&hello)[..], &hello].concat()).await.unwrap();
    let message = frame::FrameReader::new(1024).read(&mut stream).await.unwrap().unwrap();
    (Answer::decode(message).unwrap(), stream)
}

#[tokio::test]
async fn frames_arrive_in_order_with_the_name_of_their_sender() {
    let mut one = Side::start(identity(1, 1, 1)).await;
    let mut two = Side::start(identity(1, 2, 1)).await;
    one.call(2, two.address);
    assert_eq!(one.event().await, Event::Up(NodeId(2)));
    for n in 0..1_000_u32 {
        one.transport.send(NodeId(2), Bytes::from(n.to_le_bytes().repeat(n as usize % 97 + 1)));
    }
    for n in 0..1_000_u32 {
        let Event::Frame { from, bytes } = two.event().await else { panic!("no frame") };
        assert_eq!((from, &bytes[..4]), (NodeId(1), &n.to_le_bytes()[..]));
    }
}

#[tokio::test]
async fn a_peer_that_comes_back_is_called_again() {
    let mut one = Side::start(identity(1, 1, 1)).await;
    let two = Side::start(identity(1, 2, 1)).await;
    let address = two.address;
    one.call(2, address);
    assert_eq!(one.event().await, Event::Up(NodeId(2)));
    drop(two);
    assert_eq!(one.event().await, Event::Down(NodeId(2)));
    one.transport.send(NodeId(2), Bytes::from_static(b"lost"));
    let mut two = Side::start_at(identity(1, 2, 2), address).await;
    assert_eq!(one.event().await, Event::Up(NodeId(2)));
    one.transport.send(NodeId(2), Bytes::from_static(b"kept"));
    assert_eq!(two.event().await, Event::Frame { from: NodeId(1), bytes: Bytes::from_static(b"kept") });
}

#[tokio::test]
async fn the_breaker_before_a_peer_that_is_gone_opens_and_closes_when_it_is_back() {
    let mut one = Side::start(identity(1, 1, 1)).await;
    let two = Side::start(identity(1, 2, 1)).await;
    let address = two.address;
    drop(two);
    one.call(2, address);
    let metrics = one.transport.metrics();
    let state = || metrics.breakers.lock().unwrap().get(&NodeId(2)).copied();
    while !matches!(state(), Some(State::Open { .. })) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(metrics.dials_failed.load(Ordering::Relaxed) >= 5 && metrics.breakers_opened.load(Ordering::Relaxed) == 1);
    let _two = Side::start_at(identity(1, 2, 2), address).await;
    assert_eq!(one.event().await, Event::Up(NodeId(2)));
    assert_eq!(state(), Some(State::Closed));
    one.transport.set_peers(BTreeMap::new());
    assert_eq!(state(), None, "what is not called has no breaker");
}

#[tokio::test]
async fn over_a_cut_nothing_is_sent_and_nobody_is_let_in_and_once_it_is_healed_all_is_as_before() {
    let mut one = Side::start(identity(1, 1, 1)).await;
    let mut two = Side::start(identity(1, 2, 1)).await;
    one.call(2, two.address);
    two.call(1, one.address);
    assert_eq!((one.event().await, two.event().await), (Event::Up(NodeId(2)), Event::Up(NodeId(1))));
    one.cut.set(BTreeSet::from([NodeId(2)]));
    // The side that knows of the cut ends both connections: its own, and the other's when something comes in on it.
    one.transport.send(NodeId(2), Bytes::from_static(b"lost"));
    two.transport.send(NodeId(1), Bytes::from_static(b"lost"));
    assert_eq!((one.event().await, two.event().await), (Event::Down(NodeId(2)), Event::Down(NodeId(1))));
    let failed = || one.transport.metrics().dials_failed.load(Ordering::Relaxed);
    let before = failed();
    while failed() < before + 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    one.cut.set(BTreeSet::new());
    assert_eq!((one.event().await, two.event().await), (Event::Up(NodeId(2)), Event::Up(NodeId(1))));
    one.transport.send(NodeId(2), Bytes::from_static(b"kept"));
    assert_eq!(two.event().await, Event::Frame { from: NodeId(1), bytes: Bytes::from_static(b"kept") });
}

#[tokio::test]
async fn a_foreign_cluster_a_wrong_node_and_an_old_run_are_refused() {
    let two = Side::start(identity(1, 2, 1)).await;
    let refusals = [
        (identity(9, 1, 1), 2, "the other side belongs to cluster 0000000000000009, this node to 0000000000000001"),
        (identity(1, 1, 1), 3, "node 3 was called, but node 2 stands at this address"),
        (identity(1, 2, 1), 2, "node 2 called itself: two nodes run with the same id, or an address leads back"),
    ];
    for (from, to, reason) in refusals {
        let (answer, mut stream) =
            say_hello(two.address, Hello { purpose: Purpose::Frames, from, to: NodeId(to) }).await;
        assert_eq!(answer, Answer::Refused(reason.into()));
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the connection is closed");
    }
    let (answer, _) =
        say_hello(two.address, Hello { purpose: Purpose::Frames, from: identity(1, 1, 5), to: NodeId(2) }).await;
    assert_eq!(answer, Answer::Welcome(identity(1, 2, 1)));
    let (answer, _) =
        say_hello(two.address, Hello { purpose: Purpose::Frames, from: identity(1, 1, 4), to: NodeId(2) }).await;
    let Answer::Dismissed(reason) = answer else { panic!("let in an old run") };
    assert!(
        reason.starts_with("node 1 runs on a copied or rolled-back data directory (start 4 does not follow start 5")
    );
}

#[tokio::test]
async fn a_member_that_was_removed_is_told_so_and_ends() {
    let mut one = Side::start(identity(1, 1, 1)).await;
    let two = Side::start(identity(1, 2, 1)).await;
    two.transport.set_removed(BTreeSet::from([NodeId(1)]));
    one.call(2, two.address);
    let Event::Dismissed(reason) = one.event().await else { panic!("let in") };
    assert!(reason.contains("was removed from the cluster"), "{reason}");
}

#[tokio::test]
async fn a_node_that_was_started_on_an_emptied_directory_is_told_so_and_ends() {
    let two = Side::start(identity(1, 2, 1)).await;
    let mut one = Side::start(identity(1, 1, 3)).await;
    one.call(2, two.address);
    assert_eq!(one.event().await, Event::Up(NodeId(2)));
    drop(one);
    let emptied = Lineage::new(77, 40, vec![1; 32]).unwrap();
    let mut again = Side::start(Identity { lineage: emptied, ..identity(1, 1, 1) }).await;
    again.call(2, two.address);
    let Event::Dismissed(reason) = again.event().await else { panic!("let in") };
    assert!(reason.contains("runs on an emptied data directory"), "{reason}");
}

#[tokio::test]
async fn the_caller_refuses_a_wrong_node_and_never_sends_to_it() {
    let mut one = Side::start(identity(1, 1, 1)).await;
    let mut three = Side::start(identity(1, 3, 1)).await;
    one.call(2, three.address);
    let failed = one.transport.metrics();
    while failed.handshakes_failed.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    one.transport.send(NodeId(2), Bytes::from_static(b"secret"));
    assert!(one.events.try_recv().is_err());
    assert!(three.events.try_recv().is_err());
}

#[tokio::test]
async fn a_corrupt_frame_ends_the_connection_and_is_never_delivered() {
    let mut two = Side::start(identity(1, 2, 1)).await;
    let (answer, mut stream) =
        say_hello(two.address, Hello { purpose: Purpose::Frames, from: identity(1, 1, 1), to: NodeId(2) }).await;
    assert!(matches!(answer, Answer::Welcome(_)));
    let payload = b"a good frame";
    let good = [&frame::header(payload)[..], payload].concat();
    let mut bad = good.clone();
    bad[frame::HEADER_BYTES + 3] ^= 0x10;
    stream.write_all(&[good, bad].concat()).await.unwrap();
    assert_eq!(two.event().await, Event::Frame { from: NodeId(1), bytes: Bytes::from_static(payload) });
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the connection is closed");
    assert!(two.events.try_recv().is_err());
}

#[tokio::test]
async fn what_does_not_speak_the_protocol_is_cut_off() {
    let two = Side::start(identity(1, 2, 1)).await;
    let mut stream = TcpStream::connect(two.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    // A reset is as good as an end: what was sent and not read makes one.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}

/// What a node that knows nobody says in a push/pull.
fn pages(node: u64) -> Vec<Bytes> {
    use althing_gossip::{Config, Contact, Gossip, Identity, Seal, Timing};
    let contact = Contact::new("127.0.0.1:1").unwrap();
    let identity = Identity { node: NodeId(node), generation: 1, renewal: 0, contact };
    let seal = Seal::new(ClusterId(1), None);
    Gossip::new(Config { identity, seal, seed: node, timing: Timing::default() }).pages()
}

#[tokio::test]
async fn a_push_pull_carries_pages_both_ways_beside_the_frames() {
    let one = Side::start(identity(1, 1, 1)).await;
    let two = Side::start(identity(1, 2, 1)).await;
    let address: Address = two.address.to_string().parse().unwrap();
    let unanswered = one.transport.caller().exchange(NodeId(2), &address, &pages(1)).await;
    assert!(unanswered.is_err(), "nobody answers push/pulls there yet");

    let (answerer, mut called) = tokio::sync::mpsc::channel(1);
    two.transport.set_push_pull(answerer);
    tokio::spawn(async move {
        let call: Called = called.recv().await.unwrap();
        assert_eq!((call.from, call.pages), (NodeId(1), pages(1)));
        call.answer.send(pages(2)).unwrap();
    });
    let answer = one.transport.caller().exchange(NodeId(2), &address, &pages(1)).await.unwrap();
    assert_eq!(answer, pages(2));
}

#[tokio::test]
async fn a_push_pull_with_a_stranger_or_of_nonsense_is_refused() {
    let two = Side::start(identity(1, 2, 1)).await;
    let (answerer, mut called) = tokio::sync::mpsc::channel(1);
    two.transport.set_push_pull(answerer);
    let address: Address = two.address.to_string().parse().unwrap();
    let stranger = Side::start(identity(9, 1, 1)).await;
    let error = stranger.transport.caller().exchange(NodeId(2), &address, &pages(1)).await.unwrap_err();
    assert!(error.to_string().contains("belongs to cluster"), "{error}");
    let one = Side::start(identity(1, 1, 1)).await;
    let nonsense = [Bytes::from_static(b"no page")];
    assert!(one.transport.caller().exchange(NodeId(2), &address, &nonsense).await.is_err());
    assert!(called.try_recv().is_err(), "nothing of it got through");
}
