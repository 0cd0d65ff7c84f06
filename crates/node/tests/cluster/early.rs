//! Writes that leave their coordinator while its own fsync is under way: what the others have of them counts, what it has itself does not
//! before it is durable, and a coordinator that has forgotten them in a crash does no harm.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest};
use althing_api::request::Body;
use althing_api::{Answer, Error, Request};
use althing_consensus::Role;
use althing_datatypes::op::{HashOp, KeyOp, SetOp, SketchOp};
use althing_datatypes::{Message as _, Op, OpError, Reply};
use althing_node::envelope::{KeyedMessage, Message};
use althing_node::{GroupMetrics, Input};
use althing_quorum::Level;
use althing_types::{NodeId, RequestId};
use bytes::Bytes;

use super::Cluster;
use super::control::{call, cluster};
use super::keyed::{INCREMENT, READ, carts_of, set, text};

fn add(member: &str) -> Op {
    Op::Set(SetOp::Add(vec![Bytes::copy_from_slice(member.as_bytes())]))
}

const SIZE: Op = Op::Set(SetOp::Len);

impl Cluster {
    /// The node that coordinates the one shard of the table.
    fn coordinator(&mut self) -> u64 {
        let group = self.group();
        let leads = |metrics: &GroupMetrics| metrics.group == group && matches!(metrics.role, Role::Leader { .. });
        let leader = self.nodes.iter().find(|(_, one)| one.node.group_metrics().any(|one| leads(&one)));
        leader.unwrap().0.get()
    }

    /// A client of a node asks, and nobody waits.
    fn begin(&mut self, node: u64, id: u64, key: &str, op: &Op, level: Level) {
        let (key, operation) = (Bytes::copy_from_slice(key.as_bytes()), op.encode());
        let request = KeyedRequest::Operate { key, operation, access: Access::Write, level: Some(level) };
        let request = Input::Request { id: RequestId(id), call: call("carts", Request::Keyed(request)) };
        self.all(vec![(NodeId(node), request)]);
    }

    fn answers(&mut self) -> Vec<(u64, Result<Reply, Error>)> {
        std::mem::take(&mut self.told).into_iter().map(|(id, answer)| (id.get(), answer.map(reply))).collect()
    }

    /// What each replica has of a key by itself.
    fn each(&mut self, key: &str, op: &Op) -> Vec<Reply> {
        [1, 2, 3].map(|node| self.operate(node, key, op, Some(Level::One)).unwrap()).into()
    }
}

fn reply(answer: Answer) -> Reply {
    match answer.body {
        Body::Keyed(KeyedAnswer::Operated(reply)) => Result::<Reply, OpError>::decode(&reply).unwrap().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// How many messages of a kind a node sends, or is sent, from now on.
fn counted(cluster: &mut Cluster, is_one: impl Fn(NodeId, NodeId, &KeyedMessage) -> bool + 'static) -> Rc<Cell<usize>> {
    let count = Rc::new(Cell::new(0));
    let seen = Rc::clone(&count);
    cluster.lost = Some(Box::new(move |from, to, message| {
        if matches!(message, Message::Keyed(_, message) if is_one(from, to, message)) {
            seen.set(seen.get() + 1);
        }
        false
    }));
    count
}

const fn is_delta(message: &KeyedMessage) -> bool {
    matches!(message, KeyedMessage::Delta { .. })
}

const fn is_taken(message: &KeyedMessage) -> bool {
    matches!(message, KeyedMessage::Taken { .. })
}

#[test]
fn a_write_is_with_the_others_before_it_is_durable_at_its_coordinator_and_no_client_is_told_before() {
    let mut cluster = carts_of(cluster(), 1);
    let one = cluster.coordinator();
    cluster.ask_key(one, "cart", &add("milk"));
    cluster.slow_disk = Some(NodeId(one));
    let taken = counted(&mut cluster, move |_, to, message| to == NodeId(one) && is_taken(message));
    for (id, level) in [(7, Level::One), (8, Level::Quorum), (9, Level::All)] {
        cluster.begin(one, id, "cart", &add(&id.to_string()), level);
    }
    assert_eq!((taken.get(), cluster.answers()), (6, vec![]));
    cluster.sync();
    let mut answers: Vec<_> = cluster.answers().into_iter().map(|(id, answer)| (id, answer.unwrap())).collect();
    answers.sort_by_key(|(id, _)| *id);
    assert_eq!(answers, [(7, Reply::Int(1)), (8, Reply::Int(1)), (9, Reply::Int(1))]);
    assert_eq!(cluster.each("cart", &SIZE), vec![Reply::Int(4); 3]);
}

#[test]
fn what_goes_on_from_what_was_before_waits_until_it_is_durable() {
    let mut cluster = carts_of(cluster(), 1);
    let one = cluster.coordinator();
    cluster.ask_key(one, "hits", &INCREMENT);
    let field = Op::Hash(HashOp::Increment { field: "f".into(), by: 1 });
    let sketch = Op::Sketch(SketchOp::Add(vec!["visitor".into()]));
    // The last ones drop what was counted.
    let ops = [("hits", INCREMENT), ("hash", field), ("sketch", sketch), ("hits", set("5"))];
    for (key, op) in ops {
        cluster.slow_disk = Some(NodeId(one));
        let sent = counted(&mut cluster, move |from, _, message| from == NodeId(one) && is_delta(message));
        cluster.begin(one, 7, key, &op, Level::One);
        assert_eq!((sent.get(), cluster.answers().len()), (0, 0), "{key}");
        cluster.sync();
        assert_eq!((sent.get(), cluster.answers().len()), (2, 1), "{key}");
    }
    assert_eq!(cluster.each("hits", &READ), vec![text("5"); 3]);
}

#[test]
fn what_a_coordinator_has_forgotten_in_a_crash_comes_back_to_it_and_what_it_writes_since_is_something_else() {
    let mut cluster = carts_of(cluster(), 1);
    let one = cluster.coordinator();
    for member in ["milk", "eggs"] {
        cluster.operate(one, "cart", &add(member), Some(Level::All)).unwrap();
    }
    cluster.operate(one, "old", &set("value"), Some(Level::All)).unwrap();
    cluster.slow_disk = Some(NodeId(one));
    cluster.begin(one, 7, "cart", &add("bread"), Level::Quorum);
    cluster.begin(one, 8, "cart", &Op::Set(SetOp::Remove(vec!["milk".into()])), Level::Quorum);
    cluster.begin(one, 9, "old", &Op::Key(KeyOp::Delete), Level::Quorum);
    cluster.crash_before_sync();
    assert_eq!(cluster.answers(), [], "nobody was told");
    // By itself it has what it had, and writes on.
    cluster.cut_off = Some(NodeId(one));
    cluster.ticks(60);
    assert_eq!(cluster.operate(one, "cart", &SIZE, Some(Level::One)).unwrap(), Reply::Int(2));
    for number in 0..5 {
        cluster.operate(one, "cart", &add(&number.to_string()), Some(Level::One)).unwrap();
    }
    cluster.cut_off = None;
    cluster.until("all have the same", |cluster| cluster.each("cart", &SIZE) == vec![Reply::Int(7); 3]);
    assert_eq!(cluster.each("cart", &Op::Set(SetOp::Contains("bread".into()))), vec![Reply::Int(1); 3]);
    assert_eq!(cluster.each("cart", &Op::Set(SetOp::Contains("milk".into()))), vec![Reply::Int(0); 3]);
    assert_eq!(cluster.each("old", &READ), vec![Reply::Nil; 3]);
}

#[test]
fn what_is_sent_again_after_a_crash_is_what_the_log_has_of_all_runs() {
    let mut cluster = carts_of(cluster(), 1);
    let one = cluster.coordinator();
    cluster.cut_off = Some(NodeId(one));
    cluster.ticks(60);
    for run in 0..3 {
        cluster.operate(one, "cart", &add(&run.to_string()), Some(Level::One)).unwrap();
        cluster.crash(one);
        cluster.ticks(1);
    }
    let found = cluster.nodes[&NodeId(one)].node.metrics().hints_found;
    assert_eq!(found, 2 * 3, "for two replicas, of three runs");
    cluster.cut_off = None;
    cluster.until("all have them", |cluster| cluster.each("cart", &SIZE) == vec![Reply::Int(3); 3]);
}

/// An acknowledgement that was on its way to a coordinator when it crashed must not count for anything else.
#[test]
fn nothing_that_is_sent_is_named_as_something_that_an_earlier_run_has_sent() {
    let mut cluster = carts_of(cluster(), 1);
    let one = cluster.coordinator();
    cluster.cut_off = Some(NodeId(one));
    cluster.ticks(60);
    let names = Rc::new(RefCell::new(BTreeSet::new()));
    let seen = Rc::clone(&names);
    cluster.lost = Some(Box::new(move |from, _, message| {
        if let (true, Message::Keyed(_, KeyedMessage::Delta { name, .. })) = (from == NodeId(one), message) {
            seen.borrow_mut().insert(*name);
        }
        false
    }));
    let mut earlier: Vec<BTreeSet<u64>> = Vec::new();
    for run in 0..3 {
        for number in 0..10 {
            cluster.operate(one, "cart", &add(&format!("{run}-{number}")), Some(Level::One)).unwrap();
        }
        let named = names.take();
        assert!(named.len() >= 10, "{named:?}");
        assert!(earlier.iter().all(|earlier| earlier.is_disjoint(&named)), "{earlier:?} {named:?}");
        earlier.push(named);
        cluster.crash(one);
        cluster.ticks(1);
    }
}
