//! Tables that decide conditions by rounds: one value at a time for each string, whoever asks; and what those refuse that do not.

use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest};
use althing_api::request::Body;
use althing_api::{Answer, Error, ErrorKind, Outcome, Request};
use althing_datatypes::op::{Existence, HashOp, KeyOp, SetAnswer, SetExpiry, SetOp, StringOp, When};
use althing_datatypes::{Message, Op, OpError, Reply};
use althing_manifest::{Conditional, Guarantee, Object, Schedule, Table, TableSpec};
use althing_node::Input;
use althing_quorum::Level;
use althing_types::{NodeId, RequestId, WallTime};
use bytes::Bytes;

use super::Cluster;
use super::control::{call, cluster};

/// Where the tests' clocks stand at first, in milliseconds since 1970.
const START_MS: u64 = 1_000_000;

pub(crate) fn with_table(conditional: Conditional) -> Cluster {
    let mut cluster = cluster();
    let spec = TableSpec { guarantee: Guarantee::Convergent, shards: 2, conditional, ..TableSpec::default() };
    cluster.write(Object::Table(Table::new("locks", spec)));
    cluster.until("the table is ready", |cluster| match cluster.objects().get("tables/locks") {
        Some(Object::Table(table)) => table.status.ready_shards == 2,
        _ => false,
    });
    cluster.set_wall(START_MS);
    cluster.ticks(20);
    cluster
}

fn locks() -> Cluster {
    with_table(Conditional::Paxos)
}

fn request(key: &str, op: &Op, level: Option<Level>) -> KeyedRequest {
    let access = if op.is_read() { Access::Read } else { Access::Write };
    KeyedRequest::Operate { key: Bytes::copy_from_slice(key.as_bytes()), operation: op.encode(), access, level }
}

fn reply(answer: Result<Answer, Error>) -> Result<Reply, Error> {
    match answer?.body {
        Body::Keyed(KeyedAnswer::Operated(reply)) => Ok(Result::<Reply, OpError>::decode(&reply).unwrap().unwrap()),
        other => panic!("{other:?}"),
    }
}

impl Cluster {
    fn set_wall(&mut self, ms: u64) {
        self.all(self.nodes.keys().map(|id| (*id, Input::Wall(WallTime(ms)))).collect());
    }

    fn lock(&mut self, node: u64, key: &str, op: &Op) -> Result<Reply, Error> {
        self.lock_at(node, key, op, None)
    }

    fn lock_at(&mut self, node: u64, key: &str, op: &Op, level: Option<Level>) -> Result<Reply, Error> {
        reply(self.call(NodeId(node), call("locks", Request::Keyed(request(key, op, level)))))
    }

    fn keyed_of_locks(&mut self, node: u64, request: KeyedRequest) -> Result<KeyedAnswer, Error> {
        match self.call(NodeId(node), call("locks", Request::Keyed(request)))?.body {
            Body::Keyed(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    /// The same moment, many clients at many nodes; what each is told, in the order of their names.
    fn at_once(&mut self, asked: Vec<(u64, String, Op)>) -> Vec<Result<Reply, Error>> {
        let count = asked.len();
        let input = |(name, (node, key, op)): (usize, (u64, String, Op))| {
            let call = call("locks", Request::Keyed(request(&key, &op, None)));
            (NodeId(node), Input::Request { id: RequestId(1 + name as u64), call })
        };
        self.all(asked.into_iter().enumerate().map(input).collect());
        for _ in 0..10_000 {
            if self.told.len() == count {
                let mut told = std::mem::take(&mut self.told);
                told.sort_by_key(|(id, _)| *id);
                return told.into_iter().map(|(_, answer)| reply(answer)).collect();
            }
            self.tick();
        }
        panic!("{} of {count} are answered", self.told.len())
    }
}

fn put(value: &str, condition: Existence, expiry: SetExpiry) -> Op {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Op::String(StringOp::Set { value, expiry, condition, answer: SetAnswer::Done })
}

fn set(value: &str) -> Op {
    put(value, Existence::Any, SetExpiry::Clear)
}

fn take(value: &str) -> Op {
    put(value, Existence::Absent, SetExpiry::Clear)
}

fn compare(expected: Option<&str>, new: Option<&str>) -> Op {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    Op::String(StringOp::Compare { expected: expected.map(bytes), new: new.map(bytes) })
}

const READ: Op = Op::String(StringOp::Get);
const INCREMENT: Op = Op::String(StringOp::Increment(1));
const DELETE: Op = Op::Key(KeyOp::Delete);
const EXISTS: Op = Op::Key(KeyOp::Exists);

fn text(text: &str) -> Reply {
    Reply::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn a_lock_that_all_want_at_once_is_taken_by_one() {
    let mut cluster = locks();
    for round in 0..10 {
        let key = format!("lock{round}");
        let asked = (0..9).map(|client| (1 + client % 3, key.clone(), take(&client.to_string()))).collect();
        let told = cluster.at_once(asked);
        let winners: Vec<_> = (0..9).filter(|client| told[*client] == Ok(Reply::Ok)).collect();
        assert_eq!(winners.len(), 1, "{told:?}");
        assert_eq!(told.iter().filter(|one| **one == Ok(Reply::Nil)).count(), 8, "{told:?}");
        for node in 1..=3 {
            assert_eq!(cluster.lock(node, &key, &READ), Ok(text(&winners[0].to_string())));
        }
    }
}

#[test]
fn increments_of_all_nodes_are_answered_with_all_numbers_once() {
    let mut cluster = locks();
    let mut seen = Vec::new();
    for _ in 0..10 {
        let asked = (0..12).map(|client| (1 + client % 3, "n".to_owned(), INCREMENT)).collect();
        for told in cluster.at_once(asked) {
            match told {
                Ok(Reply::Int(number)) => seen.push(number),
                other => panic!("{other:?}"),
            }
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=120).collect::<Vec<_>>());
    assert_eq!(cluster.lock(2, "n", &READ), Ok(text("120")));
    // What was chosen is in every replica's store.
    for node in 1..=3 {
        assert_eq!(cluster.lock_at(node, "n", &READ, Some(Level::One)), Ok(text("120")), "at {node}");
    }
}

#[test]
fn of_two_sides_only_the_one_with_most_replicas_takes_a_lock() {
    let mut cluster = locks();
    cluster.cut_off = Some(NodeId(3));
    cluster.ticks(50);
    let refused = cluster.lock(3, "lock", &take("minority")).unwrap_err();
    assert_eq!((refused.kind, refused.outcome), (ErrorKind::ShardUnavailable, Outcome::NotDone));
    assert_eq!(cluster.lock(1, "lock", &take("majority")), Ok(Reply::Ok));
    assert_eq!(cluster.lock(2, "lock", &compare(Some("majority"), Some("again"))), Ok(Reply::Int(1)));
    cluster.cut_off = None;
    cluster.ticks(100);
    assert_eq!(cluster.lock(3, "lock", &take("late")), Ok(Reply::Nil));
    assert_eq!(cluster.lock(3, "lock", &READ), Ok(text("again")));
    cluster.ticks(100);
    assert_eq!(cluster.lock_at(3, "lock", &READ, Some(Level::One)), Ok(text("again")), "in its store, too");
}

#[test]
fn a_side_that_hopes_for_the_others_has_done_nothing_or_says_that_it_may_have() {
    let mut cluster = locks();
    assert_eq!(cluster.lock(1, "lock", &set("old")), Ok(Reply::Ok));
    // It has heard of the others a moment ago, so it tries.
    cluster.cut_off = Some(NodeId(3));
    let told = cluster.lock(3, "lock", &compare(Some("old"), Some("minority")));
    let failed = told.unwrap_err();
    assert!(matches!(failed.kind, ErrorKind::Timeout | ErrorKind::ShardUnavailable), "{failed:?}");
    cluster.cut_off = None;
    cluster.ticks(50);
    let held = cluster.lock(1, "lock", &READ).unwrap();
    match failed.outcome {
        Outcome::NotDone => assert_eq!(held, text("old")),
        Outcome::MaybeDone => assert!([text("old"), text("minority")].contains(&held), "{held:?}"),
    }
}

#[test]
fn what_was_decided_outlives_a_crash_of_every_node() {
    let mut cluster = locks();
    assert_eq!(cluster.lock(1, "lock", &take("first")), Ok(Reply::Ok));
    for number in 1..=20 {
        assert_eq!(cluster.lock(1 + number as u64 % 3, "n", &INCREMENT), Ok(Reply::Int(number)));
    }
    assert_eq!(cluster.lock(2, "gone", &set("x")), Ok(Reply::Ok));
    assert_eq!(cluster.lock(2, "gone", &DELETE), Ok(Reply::Int(1)));
    for id in 1..=3 {
        cluster.crash(id);
    }
    cluster.set_wall(START_MS);
    cluster.until("the locks are served again", |cluster| cluster.lock(1, "lock", &READ).is_ok());
    for node in 1..=3 {
        assert_eq!(cluster.lock(node, "lock", &take("second")), Ok(Reply::Nil));
        assert_eq!(cluster.lock(node, "lock", &READ), Ok(text("first")));
        assert_eq!(cluster.lock(node, "gone", &READ), Ok(Reply::Nil));
    }
    assert_eq!(cluster.lock(3, "n", &INCREMENT), Ok(Reply::Int(21)));
    // One after the other, while the rest goes on.
    for id in 1..=3 {
        cluster.crash(id);
        cluster.set_wall(START_MS);
        cluster.until("it is served", |cluster| cluster.lock(id, "lock", &READ).is_ok());
        let before = i64::try_from(21 + id).unwrap();
        assert_eq!(cluster.lock(id, "n", &INCREMENT), Ok(Reply::Int(before)));
    }
}

#[test]
fn a_newcomer_accepts_once_it_has_copied_what_the_others_remember() {
    let mut cluster = locks();
    for number in 0..60 {
        assert_eq!(cluster.lock(1, &format!("k{number}"), &take("first")), Ok(Reply::Ok));
    }
    cluster.add_node(4);
    cluster.until("the newcomer is there", |cluster| cluster.objects().contains_key("nodes/n4"));
    cluster.set_wall(START_MS);
    let mut drained = match cluster.objects().remove("nodes/n2") {
        Some(Object::Node(node)) => node,
        other => panic!("{other:?}"),
    };
    drained.spec.schedule = Schedule::Drain;
    cluster.write(Object::Node(drained));
    let mut number = 0;
    cluster.until("the newcomer has the place of the one that is drained", |cluster| {
        // All the while locks are taken and counted.
        number += 1;
        assert_eq!(cluster.lock(3, "n", &INCREMENT), Ok(Reply::Int(number)));
        let shards = cluster.objects().into_values().filter_map(|object| match object {
            Object::Shard(shard) if shard.spec.table == "locks" => Some(shard.status.voters),
            _ => None,
        });
        shards
            .into_iter()
            .all(|voters| voters.len() == 3 && voters.contains(&NodeId(4)) && !voters.contains(&NodeId(2)))
    });
    cluster.ticks(100);
    // With the newcomer and one of the old ones there is a quorum: it remembers what it was told.
    cluster.nodes.remove(&NodeId(2));
    cluster.nodes.remove(&NodeId(1));
    cluster.until("the rest serves", |cluster| cluster.lock(4, "k0", &READ).is_ok());
    for key in 0..60 {
        assert_eq!(cluster.lock(4, &format!("k{key}"), &take("second")), Ok(Reply::Nil), "k{key}");
    }
    assert_eq!(cluster.lock(4, "n", &INCREMENT), Ok(Reply::Int(number + 1)));
}

#[test]
fn a_node_without_a_replica_takes_nothing_at_any_that_a_round_decides() {
    let mut cluster = locks();
    cluster.add_node(4);
    cluster.until("the newcomer knows the table", |cluster| cluster.lock(4, "lock", &take("first")).is_ok());
    cluster.cut_off = Some(NodeId(4));
    cluster.ticks(60);
    for op in [set("alone"), take("alone"), compare(Some("first"), Some("alone")), INCREMENT, DELETE] {
        for id in 1..=3 {
            cluster.all(vec![(NodeId(4), Input::PeerDown(NodeId(id)))]);
        }
        cluster.lock_at(4, "lock", &op, Some(Level::Any)).unwrap_err();
    }
    cluster.cut_off = None;
    cluster.ticks(100);
    for node in 1..=4 {
        assert_eq!(cluster.lock(node, "lock", &READ), Ok(text("first")));
    }
}

#[test]
fn a_string_expires_by_a_round_and_what_is_gone_is_forgotten() {
    let mut cluster = locks();
    let short = SetExpiry::Set(When::In(5_000));
    assert_eq!(cluster.lock(1, "lock", &put("short", Existence::Absent, short)), Ok(Reply::Ok));
    assert_eq!(cluster.lock(2, "lock", &take("early")), Ok(Reply::Nil));
    cluster.set_wall(START_MS + 6_000);
    assert_eq!(cluster.lock(3, "lock", &READ), Ok(Reply::Nil));
    assert_eq!(cluster.lock(3, "lock", &put("next", Existence::Absent, short)), Ok(Reply::Ok));
    // Long after, nothing of it is left.
    cluster.set_wall(START_MS + 600_000);
    cluster.ticks(1_000);
    let groups: Vec<_> = cluster.groups_of_locks();
    for group in groups {
        let call = althing_api::Call {
            target: althing_api::Target::Group(group),
            ..call("locks", Request::Keyed(KeyedRequest::Count))
        };
        assert_eq!(cluster.call(NodeId(1), call).unwrap().body, Body::Keyed(KeyedAnswer::Count(0)));
    }
    assert_eq!(cluster.lock(1, "lock", &take("anew")), Ok(Reply::Ok));
}

impl Cluster {
    fn groups_of_locks(&mut self) -> Vec<althing_types::GroupId> {
        let group = |object| match object {
            Object::Shard(shard) if shard.spec.table == "locks" => Some(shard.spec.group),
            _ => None,
        };
        self.objects().into_values().filter_map(group).collect()
    }
}

#[test]
fn other_types_converge_beside_strings_and_commands_of_any_type_find_what_is_there() {
    let mut cluster = locks();
    let add = Op::Set(SetOp::Add(vec!["a".into(), "b".into()]));
    assert_eq!(cluster.lock(1, "set", &add), Ok(Reply::Int(2)));
    assert_eq!(cluster.lock(2, "set", &EXISTS), Ok(Reply::Int(1)));
    let wrong = cluster.keyed_of_locks(3, request("set", &READ, None)).unwrap();
    assert!(matches!(wrong, KeyedAnswer::Refused(_)), "{wrong:?}");
    assert_eq!(cluster.lock(1, "set", &set("string")), Ok(Reply::Ok));
    assert_eq!(cluster.lock(2, "set", &READ), Ok(text("string")));
    let wrong = cluster.keyed_of_locks(3, request("set", &add, None)).unwrap();
    assert!(matches!(wrong, KeyedAnswer::Refused(_)), "{wrong:?}");
    assert_eq!(cluster.lock(3, "set", &DELETE), Ok(Reply::Int(1)));
    assert_eq!(cluster.lock(3, "set", &DELETE), Ok(Reply::Int(0)));
    assert_eq!(cluster.lock(1, "set", &EXISTS), Ok(Reply::Int(0)));
    assert_eq!(cluster.lock(1, "set", &add), Ok(Reply::Int(2)));
    assert_eq!(cluster.lock(2, "set", &DELETE), Ok(Reply::Int(1)));
    let field = Op::Hash(HashOp::SetIfAbsent { field: "f".into(), value: "v".into() });
    let refused = cluster.lock(1, "hash", &field).unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::Unsupported(_)), "{refused:?}");
}

#[test]
fn a_table_of_strings_by_rounds_is_emptied() {
    let mut cluster = locks();
    for number in 0..30 {
        assert_eq!(cluster.lock(1, &format!("k{number}"), &take("first")), Ok(Reply::Ok));
    }
    // One has expired, and nobody has removed it yet.
    let brief = put("brief", Existence::Any, SetExpiry::Set(When::At(1_005_000)));
    assert_eq!(cluster.lock(1, "brief", &brief), Ok(Reply::Ok));
    cluster.set_wall(START_MS + 5_100);
    assert_eq!(cluster.lock(1, "brief", &READ), Ok(Reply::Nil));
    let mut flushed = 0;
    for group in cluster.groups_of_locks() {
        let target = althing_api::Target::Group(group);
        let call = althing_api::Call { target, ..call("locks", Request::Keyed(KeyedRequest::Flush)) };
        match cluster.call(NodeId(2), call).unwrap().body {
            Body::Keyed(KeyedAnswer::Flushed(count)) => flushed += count,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(flushed, 31);
    for number in 0..30 {
        assert_eq!(cluster.lock(3, &format!("k{number}"), &take("second")), Ok(Reply::Ok));
    }
}

#[test]
fn a_table_that_does_not_decide_refuses_what_claims_and_does_the_rest() {
    let mut cluster = with_table(Conditional::Refuse);
    for op in [take("x"), compare(None, Some("x"))] {
        let refused = cluster.lock(1, "lock", &op).unwrap_err();
        assert!(matches!(refused.kind, ErrorKind::Unsupported(_)), "{refused:?}");
    }
    assert_eq!(cluster.lock(1, "lock", &put("x", Existence::Present, SetExpiry::Clear)), Ok(Reply::Nil));
    assert_eq!(cluster.lock(1, "lock", &set("x")), Ok(Reply::Ok));
}

#[test]
fn siblings_are_shown_with_a_context_and_a_write_with_it_replaces_just_them() {
    let mut cluster = with_table(Conditional::Refuse);
    cluster.cut_off = Some(NodeId(3));
    cluster.ticks(50);
    cluster.lock_at(3, "k", &set("there"), Some(Level::One)).unwrap();
    cluster.lock(1, "k", &set("here")).unwrap();
    cluster.cut_off = None;
    cluster.ticks(100);
    let siblings = |cluster: &mut Cluster| {
        let request = KeyedRequest::Siblings { key: "k".into(), level: Some(Level::All) };
        match cluster.keyed_of_locks(2, request).unwrap() {
            KeyedAnswer::Siblings { mut values, context } => {
                values.sort();
                (values, context)
            }
            other => panic!("{other:?}"),
        }
    };
    let (values, context) = siblings(&mut cluster);
    assert_eq!(values, ["here", "there"].map(Bytes::from));
    let put = |cluster: &mut Cluster, value: String, context: &Bytes| {
        let (value, context, level) = (value.into(), context.clone(), None);
        cluster.keyed_of_locks(1, KeyedRequest::Put { key: "k".into(), value, context, level })
    };
    assert!(matches!(put(&mut cluster, "both".to_owned(), &context), Ok(KeyedAnswer::Operated(_))));
    assert_eq!(siblings(&mut cluster).0, ["both"].map(Bytes::from));
    // Whoever writes again and again with what he saw at first adds to the siblings, until he is told to read.
    let told: Vec<_> = (0..40).map(|number| put(&mut cluster, format!("stale{number}"), &context)).collect();
    let refused = told.iter().filter(|one| matches!(one, Ok(KeyedAnswer::Reread(_)))).count();
    let (values, context) = siblings(&mut cluster);
    assert_eq!((values.len(), refused), (32, 40 - 31));
    assert!(matches!(put(&mut cluster, "one".to_owned(), &context), Ok(KeyedAnswer::Operated(_))));
    assert_eq!(siblings(&mut cluster).0, ["one"].map(Bytes::from));
    let hostile = put(&mut cluster, "x".to_owned(), &Bytes::from_static(b"nonsense")).unwrap_err();
    assert!(matches!(hostile.kind, ErrorKind::InvalidArgument(_)), "{hostile:?}");
}

/// What a session is told, and its token from then on.
fn in_session(cluster: &mut Cluster, node: u64, op: &Op, level: Level, token: &mut Bytes) -> Result<Reply, Error> {
    let request = Box::new(request("k", op, Some(level)));
    match cluster.keyed_of_locks(node, KeyedRequest::InSession { token: token.clone(), request })? {
        KeyedAnswer::InSession { answer, token: next } => {
            *token = next;
            match *answer {
                KeyedAnswer::Operated(reply) => Ok(Result::<Reply, OpError>::decode(&reply).unwrap().unwrap()),
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_reads_its_writes_at_any_replica_where_one_without_misses_them() {
    let mut cluster = with_table(Conditional::Refuse);
    let mut token = Bytes::new();
    cluster.cut_off = Some(NodeId(3));
    cluster.ticks(50);
    // Written where the third does not hear of it.
    assert_eq!(in_session(&mut cluster, 1, &set("mine"), Level::Quorum, &mut token), Ok(Reply::Ok));
    assert_eq!(cluster.lock_at(3, "k", &READ, Some(Level::One)), Ok(Reply::Nil), "without a session");
    let waited = in_session(&mut cluster, 3, &READ, Level::One, &mut token.clone()).unwrap_err();
    assert!(matches!(waited.kind, ErrorKind::InvalidArgument(_)), "bounded, then an error: {waited:?}");
    // As soon as the others can be asked it has an answer, whether or not its replica has come to know.
    cluster.cut_off = None;
    assert_eq!(in_session(&mut cluster, 3, &READ, Level::One, &mut token), Ok(text("mine")));
    // And what it has read once it reads again, elsewhere.
    cluster.ticks(50);
    assert_eq!(in_session(&mut cluster, 3, &DELETE, Level::One, &mut token), Ok(Reply::Int(1)));
    for node in [1, 2, 3] {
        assert_eq!(in_session(&mut cluster, node, &READ, Level::One, &mut token), Ok(Reply::Nil), "at {node}");
    }
    let hostile = KeyedRequest::InSession { token: "nonsense".into(), request: Box::new(request("k", &READ, None)) };
    assert!(cluster.keyed_of_locks(1, hostile).is_err());
}
