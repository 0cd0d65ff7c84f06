//! Calls of tables that a node has no replica of, as seen from that node: its peers are played by the test.

use std::collections::BTreeSet;

use althing_api::request::Body;
use althing_api::wire::{decode_call, encode_call, encode_result};
use althing_api::{Answer, Call, Error, ErrorKind, Header, Outcome, Request};
use althing_meta::Entry;
use althing_node::Input;
use althing_node::envelope::{FrameHeader, Message, Route, begin_frame, open_frame};
use althing_types::{Duration, GroupId, NodeId, RequestId};
use bytes::Bytes;

use super::Cluster;
use super::control::{call, cluster, get, put};

/// Frames of the peers that a test plays are of this run of theirs, after all that they have said themselves.
const PLAYED: u64 = u64::MAX >> 8;

/// A node without a replica of a table, and the peers that have one.
struct Router {
    cluster: Cluster,
    own: NodeId,
    group: GroupId,
    voters: BTreeSet<NodeId>,
    leader: NodeId,
    sequence: u64,
    next: u64,
}

impl Router {
    fn new() -> Self {
        let mut cluster = cluster();
        cluster.add_node(4);
        cluster.add_table("orders", 1);
        cluster.ticks(400);
        let map = cluster.nodes[&NodeId(1)].node.map();
        let shard = map.locate("orders", b"k").unwrap().clone();
        let voters = shard.status.voters.clone();
        let own = *cluster.nodes.keys().find(|id| !voters.contains(id)).unwrap();
        let leader = shard.status.leader.unwrap();
        let mut router = Self { cluster, own, group: shard.spec.group, voters, leader, sequence: 0, next: 100 };
        for peer in router.voters.clone() {
            assert!(router.hears(peer, &[]).is_empty());
        }
        router
    }

    /// One turn of the node: what it asks of whom.
    fn turn(&mut self, input: Input) -> Vec<(NodeId, Route)> {
        let said = self.cluster.turn(self.own, input);
        let frames = said.into_iter().filter_map(|(to, input)| match input {
            Input::Frame { bytes, .. } => Some((to, bytes)),
            _ => None,
        });
        let routes = |(to, bytes): (NodeId, Bytes)| {
            let (_, mut reader) = open_frame(bytes).unwrap();
            let mut routes = Vec::new();
            while reader.remaining() > 0 {
                if let Message::Route(route) = Message::decode(&mut reader).unwrap() {
                    routes.push((to, route));
                }
            }
            routes
        };
        frames.flat_map(routes).collect()
    }

    /// A peer says this.
    fn hears(&mut self, from: NodeId, messages: &[Message]) -> Vec<(NodeId, Route)> {
        self.sequence += 1;
        let mut frame = begin_frame(FrameHeader { incarnation: PLAYED, sequence: self.sequence });
        messages.iter().for_each(|message| message.encode(&mut frame));
        self.turn(Input::Frame { from, bytes: frame.finish() })
    }

    /// A client of the node asks.
    fn asks(&mut self, request: Request, timeout: Option<Duration>) -> Vec<(NodeId, Route)> {
        self.next += 1;
        let call = Call { timeout, ..call("orders", request) };
        self.turn(Input::Request { id: RequestId(self.next), call })
    }

    fn tick(&mut self) -> Vec<(NodeId, Route)> {
        self.cluster.now += althing_node::DEFAULT_TICK;
        self.turn(Input::Tick)
    }

    fn told(&mut self) -> Vec<Result<Answer, Error>> {
        std::mem::take(&mut self.cluster.told).into_iter().map(|(_, result)| result).collect()
    }

    fn metrics(&self) -> althing_node::Metrics {
        self.cluster.nodes[&self.own].node.metrics()
    }

    fn refusal(&self, route: &Route, current: Bytes) -> Message {
        Message::WrongShard { group: self.group, name: route.name, current }
    }
}

fn done(route: &Route) -> Message {
    let body = Body::Put(althing_api::kv::PutResponse { prev_kv: None });
    let result = encode_result(&Ok(Answer { header: Header::default(), body }));
    Message::Routed { name: route.name, result }
}

/// Asks so many times, and has whoever is asked refuse.
fn refuse_all(router: &mut Router, calls: usize) -> u64 {
    let before = router.metrics().route_retries;
    for _ in 0..calls {
        let mut asked = router.asks(put("k", "v"), None);
        while let Some((to, route)) = asked.pop() {
            let refusal = router.refusal(&route, Bytes::new());
            asked.extend(router.hears(to, &[refusal]));
        }
    }
    router.metrics().route_retries - before
}

#[test]
fn a_router_tries_again_within_its_budget_which_fills_up_again() {
    let mut router = Router::new();
    let first = refuse_all(&mut router, 400);
    // A hundred are kept, and every call brings a tenth of one.
    assert!((100..=140).contains(&first), "{first} tried again at once");
    assert!(router.metrics().route_retries_put_off > 200);
    let dry = refuse_all(&mut router, 100);
    assert!((9..=11).contains(&dry), "{dry} tried again at once by an empty purse");
    for _ in 0..600 {
        for (to, route) in router.asks(put("k", "v"), None) {
            router.hears(to, &[done(&route)]);
        }
    }
    assert!(router.told().iter().all(Result::is_ok));
    let again = refuse_all(&mut router, 100);
    assert!((60..=80).contains(&again), "{again} tried again at once by a purse with sixty");
}

#[test]
fn a_refusal_that_says_who_has_the_shard_heals_the_router_with_one_retry() {
    let mut router = Router::new();
    let map = router.cluster.nodes[&router.own].node.map();
    let mut shard = (**map.shard(router.group).unwrap()).clone();
    let (revision, newcomer) = (map.revision(), NodeId(9));
    (shard.status.voters, shard.status.leader) = (BTreeSet::from([newcomer]), Some(newcomer));
    shard.status.epoch += 1;
    let epoch = shard.status.epoch;
    let key = Bytes::from(althing_manifest::key_of(althing_manifest::Kind::Shard, shard.name()));
    let value = Bytes::from(althing_manifest::Object::Shard(shard).to_stored());
    let current = Entry { key, revision: revision.next(), value }.encode();

    let asked = router.asks(put("k", "v"), None);
    let [(to, route)] = &asked[..] else { panic!("{} were asked", asked.len()) };
    assert_eq!(*to, router.leader);
    let refusal = router.refusal(route, current);
    let asked = router.hears(*to, &[refusal]);
    let [(to, route)] = &asked[..] else { panic!("{} were asked", asked.len()) };
    assert_eq!((*to, route.epoch), (newcomer, epoch));
    router.hears(newcomer, &[done(route)]);
    assert!(matches!(router.told()[..], [Ok(_)]));
    let asked = router.asks(put("k", "w"), None);
    assert_eq!(asked.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [newcomer], "the next one arrives at once");
    assert_eq!((router.metrics().route_retries, router.metrics().wrong_shard_retries), (1, 1));
}

#[test]
fn what_is_left_of_a_deadline_travels_with_the_call() {
    let mut router = Router::new();
    let left = |route: &Route| decode_call(route.call.clone()).unwrap().timeout.unwrap();
    let asked = router.asks(get("k"), Some(Duration::from_millis(50)));
    let [(to, route)] = &asked[..] else { panic!("{} were asked", asked.len()) };
    assert!((48..=50).contains(&left(route).as_millis()), "{:?}", left(route));
    // Twenty milliseconds later it goes to another one.
    let refusal = router.refusal(route, Bytes::new());
    router.cluster.now += Duration::from_millis(20);
    let asked = router.hears(*to, &[refusal]);
    let [(_, route)] = &asked[..] else { panic!("{} were asked", asked.len()) };
    assert!((28..=30).contains(&left(route).as_millis()), "{:?}", left(route));
    // What would come too late is not sent, and the client is told that nothing was done.
    assert!(router.asks(put("k", "v"), Some(Duration::from_micros(900))).is_empty());
    router.tick();
    assert!(matches!(router.told()[..], [Err(Error { kind: ErrorKind::Timeout, outcome: Outcome::NotDone })]));
}

#[test]
fn a_call_that_comes_too_late_is_dropped_unserved_and_counted() {
    let mut router = Router::new();
    let (own, group, leader) = (router.own, router.group, router.leader);
    let node = |router: &Router| router.cluster.nodes[&leader].node.metrics();
    let before = node(&router);
    let late = Call { timeout: Some(Duration::ZERO), ..call("orders", put("late", "v")) };
    let route = Route { group, epoch: 0, name: 7, call: encode_call(&late) };
    let epoch = router.cluster.nodes[&leader].node.map().shard(group).unwrap().status.epoch;
    let mut frame = begin_frame(FrameHeader { incarnation: PLAYED, sequence: 1 });
    Message::Route(Route { epoch, ..route }).encode(&mut frame);
    let said = router.cluster.turn(leader, Input::Frame { from: own, bytes: frame.finish() });
    assert!(said.iter().any(|(to, input)| *to == own && matches!(input, Input::Frame { .. })), "it says so");
    assert_eq!(node(&router).expired, before.expired + 1);
    let Body::Range(found) = router.cluster.call(leader, call("orders", get("late"))).unwrap().body else { panic!() };
    assert_eq!(found.count, 0);
}

#[test]
fn a_leader_that_died_while_meta_is_down_is_asked_once_and_not_again() {
    let mut router = Router::new();
    let leader = router.leader;
    // Nothing was heard of anybody for a while, so the map alone says who is asked.
    (0..100).for_each(|_| drop(router.tick()));
    let asked = router.asks(put("k", "v"), Some(Duration::from_millis(300)));
    assert_eq!(asked.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [leader]);
    (0..16).for_each(|_| drop(router.tick()));
    assert!(matches!(router.told()[..], [Err(Error { kind: ErrorKind::Timeout, outcome: Outcome::MaybeDone })]));
    let mut silent = BTreeSet::from([leader]);
    for _ in 0..2 {
        let asked = router.asks(put("k", "v"), Some(Duration::from_millis(300)));
        let [(to, _)] = &asked[..] else { panic!("{} were asked", asked.len()) };
        assert!(silent.insert(*to), "{to} did not answer a moment ago");
        (0..16).for_each(|_| drop(router.tick()));
    }
    assert_eq!(silent, router.voters);
    // One that speaks is asked, and one whose connection broke is not.
    let other = *router.voters.iter().find(|id| **id != leader).unwrap();
    router.hears(other, &[]);
    assert_eq!(router.asks(put("k", "v"), None)[0].0, other);
    router.hears(leader, &[]);
    router.turn(Input::PeerDown(other));
    assert_eq!(router.asks(put("k", "v"), None)[0].0, leader);
}
