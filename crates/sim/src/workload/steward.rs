//! The steward of tables: creates the table that clients write to, registers the nodes that are to come, and drains nodes and
//! takes them back, so that replicas move while everything else goes on. It writes objects as users of the control plane do:
//! into the table `meta`, each write on the revision that it has read.

use althing_api::kv::{
    Compare, KeyRange, KeyValue, Operation, PutLease, PutRequest, PutValue, RangeRequest, TxnRequest,
};
use althing_api::request::{Answer, Body, Request};
use althing_api::{Call, Error, Target};
use althing_manifest::{
    Cluster, ClusterSpec, Conditional, Guarantee, Liveness, Node, NodeSpec, Object, Schedule, Split, Table, TableSpec,
    kind, parse_key,
};
use althing_types::{Duration, GroupId, Instant, NodeId, Revision, TableName};
use bytes::Bytes;

use super::cart::CARTS;
use super::decided::LOCKS;
use super::{Ask, Context, Drive, News, Ticket};
use crate::options::Tables;

/// The table that clients write to.
pub const TABLE: &str = "orders";
/// How long it waits for an answer, and between two tries.
const PATIENCE: Duration = Duration::from_millis(700);
/// How long it waits for what it has written to be seen.
const SOON: Duration = Duration::from_millis(50);
/// How long it waits for all nodes to be heard before it makes the table.
const HEARD_WITHIN: Duration = Duration::from_secs(3);
/// Nodes that it registers with one transaction, at the most.
const REGISTERED_AT_ONCE: usize = 32;

/// A client that changes objects.
#[derive(Debug)]
pub struct Steward {
    tables: Tables,
    founders: u64,
    ticket: Ticket,
    stage: Stage,
    /// When the next of the late nodes may come.
    next_join: Instant,
    /// When the table is made at the latest.
    founded_by: Option<Instant>,
    drive: Drive,
}

/// What it waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// What there is.
    Reading,
    /// What came of a write, and how long to rest after it.
    Writing(Duration),
    /// At which revision a shard stands, to compact it there.
    Looking(GroupId),
}

/// What it wants to change.
enum Change {
    /// Objects that must be there first.
    Make(Vec<Object>),
    /// The schedule of a node.
    Schedule(Box<Object>),
    /// Nothing in the objects: the history of a shard goes.
    Compact(GroupId),
}

impl Steward {
    /// One that has done nothing yet.
    #[must_use]
    pub fn new(tables: Tables, founders: u64) -> Self {
        let (ticket, drive, next_join) = (Ticket::default(), Drive::default(), Instant::ZERO);
        Self { tables, founders, ticket, stage: Stage::Writing(PATIENCE), next_join, founded_by: None, drive }
    }

    /// From now on no node is drained any more, those that are come back, and those that have not come yet come.
    pub(super) fn finish(&mut self) {
        self.drive = Drive::Finishing;
        self.next_join = Instant::ZERO;
    }

    pub(super) fn handle(&mut self, news: News, cx: &mut Context<'_>) {
        match news {
            News::Wake => self.read(cx),
            News::Answered { ticket, result } if ticket == self.ticket => self.answered(result, cx),
            News::Answered { .. } | News::Streamed { .. } | News::Broken { .. } => {}
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        self.stage = Stage::Reading;
        self.send(Request::Range(RangeRequest::new(KeyRange::under(kind::ROOT))), cx);
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        let pause = match (self.stage, result) {
            (Stage::Reading, Ok(Answer { body: Body::Range(found), .. })) => match self.next_change(&found.kvs, cx) {
                Some(Change::Make(objects)) => {
                    self.stage = Stage::Writing(SOON);
                    return self.send(write(&objects, &found.kvs), cx);
                }
                Some(Change::Schedule(node)) => {
                    self.stage = Stage::Writing(self.tables.pace.draw_gap(cx.rng).unwrap_or(PATIENCE));
                    return self.send(write(&[*node], &found.kvs), cx);
                }
                Some(Change::Compact(group)) => {
                    self.stage = Stage::Looking(group);
                    return self.send_to(Target::Group(group), Request::HashKv(None), cx);
                }
                None => PATIENCE,
            },
            (Stage::Looking(group), Ok(answer)) => {
                self.stage = Stage::Writing(self.tables.pace.draw_gap(cx.rng).unwrap_or(PATIENCE));
                let compact = Request::Compact { revision: answer.header.revision, physical: false };
                return self.send_to(Target::Group(group), compact, cx);
            }
            (Stage::Writing(pause), Ok(_)) => pause,
            (Stage::Reading | Stage::Looking(_) | Stage::Writing(_), _) => PATIENCE,
        };
        cx.asks.push(Ask::Wake(pause));
    }

    /// What is missing is made first; then, now and then, a node is drained or comes back.
    fn next_change(&mut self, found: &[KeyValue], cx: &mut Context<'_>) -> Option<Change> {
        let objects: Vec<Object> = found.iter().filter_map(object).collect();
        let cluster = objects.iter().find_map(|object| match object {
            Object::Cluster(cluster) => Some(cluster),
            Object::Node(_) | Object::Table(_) | Object::Shard(_) => None,
        })?;
        let grace = self.tables.grace.as_secs();
        if cluster.spec.node_grace_seconds != grace {
            let spec = ClusterSpec { node_grace_seconds: grace, ..cluster.spec.clone() };
            let cluster = Cluster { metadata: cluster.metadata.clone(), status: cluster.status.clone(), spec };
            return Some(Change::Make(vec![Object::Cluster(cluster)]));
        }
        let late = self.tables.late.min(self.tables.spares);
        let mut early = self.missing(found, 0..self.tables.spares - late);
        if !early.is_empty() {
            early.truncate(REGISTERED_AT_ONCE);
            return Some(Change::Make(early));
        }
        let tables: Vec<_> = self.tables().into_iter().filter(|table| !has(found, table)).collect();
        if !tables.is_empty() {
            // A table that is founded before its nodes were heard has to move to them. Some may never be.
            let due = *self.founded_by.get_or_insert(cx.now + HEARD_WITHIN);
            let are_up = nodes(&objects).all(|node| node.status.liveness == Liveness::Up);
            return (are_up || cx.now >= due).then_some(Change::Make(tables));
        }
        let mut late = self.missing(found, self.tables.spares - late..self.tables.spares);
        if !late.is_empty() && cx.now >= self.next_join {
            self.next_join = cx.now + self.tables.joins;
            late.truncate(if self.drive == Drive::Finishing || self.tables.joins.is_zero() {
                REGISTERED_AT_ONCE
            } else {
                1
            });
            return Some(Change::Make(late));
        }
        if self.tables.split_kib > 0 && cx.rng.bool() {
            return compact_one(&objects, cx).map(Change::Compact);
        }
        self.drain_or_take_back(&objects, cx).map(|node| Change::Schedule(Box::new(node)))
    }

    /// The tables that clients write to.
    fn tables(&self) -> Vec<Object> {
        let spec = match self.tables.split_kib as u64 {
            0 => TableSpec { shards: u32::try_from(self.tables.shards).unwrap_or(u32::MAX), ..TableSpec::default() },
            kib => TableSpec { split: Split::Range, split_bytes: Some(kib * 1024), ..TableSpec::default() },
        };
        let mut tables = vec![Object::Table(Table::new(TABLE, spec))];
        if self.tables.convergent > 0 {
            let shards = u32::try_from(self.tables.convergent).unwrap_or(u32::MAX);
            let spec = TableSpec { guarantee: Guarantee::Convergent, shards, ..TableSpec::default() };
            tables.push(Object::Table(Table::new(CARTS, spec)));
        }
        if self.tables.decided > 0 {
            let shards = u32::try_from(self.tables.decided).unwrap_or(u32::MAX);
            let (guarantee, conditional) = (Guarantee::Convergent, Conditional::Paxos);
            let spec = TableSpec { guarantee, conditional, shards, ..TableSpec::default() };
            tables.push(Object::Table(Table::new(LOCKS, spec)));
        }
        tables
    }

    /// Of the nodes besides the founders, in their order, those that are not registered.
    fn missing(&self, found: &[KeyValue], which: std::ops::Range<usize>) -> Vec<Object> {
        let node = |place: usize| {
            let id = NodeId(self.founders + 1 + place as u64);
            let spec = NodeSpec { zone: self.tables.zone_of(id), ..NodeSpec::new(id) };
            Object::Node(Node::new(&format!("node-{id}"), spec))
        };
        which.map(node).filter(|node| !has(found, node)).collect()
    }

    fn drain_or_take_back(&self, objects: &[Object], cx: &mut Context<'_>) -> Option<Object> {
        let (drained, active): (Vec<_>, Vec<_>) =
            nodes(objects).partition(|node| node.spec.schedule == Schedule::Drain);
        let (node, schedule) = match (drained.first(), self.drive) {
            (Some(node), _) => (*node, Schedule::Active),
            (None, Drive::Working) if active.len() > 3 && !self.tables.pace.every.is_zero() => {
                (active[cx.rng.usize(..active.len())], Schedule::Drain)
            }
            (None, Drive::Working | Drive::Finishing) => return None,
        };
        let mut node = node.clone();
        node.spec.schedule = schedule;
        node.metadata.generation += 1;
        Some(Object::Node(node))
    }

    fn send(&mut self, request: Request, cx: &mut Context<'_>) {
        self.send_to(Target::Table(TableName::META), request, cx);
    }

    fn send_to(&mut self, target: Target, request: Request, cx: &mut Context<'_>) {
        self.ticket = self.ticket.next();
        let (ticket, node) = (self.ticket, cx.any_node());
        let call = Call { target, timeout: Some(PATIENCE), ..Call::new(request) };
        cx.asks.push(Ask::Call { ticket, node, call, patience: PATIENCE });
    }
}

/// A shard of the table that clients write to, by chance.
fn compact_one(objects: &[Object], cx: &mut Context<'_>) -> Option<GroupId> {
    let shards = objects.iter().filter_map(|object| match object {
        Object::Shard(shard) if shard.spec.table == TABLE => Some(shard.spec.group),
        Object::Shard(_) | Object::Cluster(_) | Object::Node(_) | Object::Table(_) => None,
    });
    let shards: Vec<_> = shards.collect();
    (!shards.is_empty()).then(|| shards[cx.rng.usize(..shards.len())])
}

fn nodes(objects: &[Object]) -> impl Iterator<Item = &Node> {
    objects.iter().filter_map(|object| match object {
        Object::Node(node) => Some(node),
        Object::Cluster(_) | Object::Table(_) | Object::Shard(_) => None,
    })
}

fn has(found: &[KeyValue], object: &Object) -> bool {
    let key = object.key();
    found.iter().any(|kv| kv.key == key.as_bytes())
}

fn object(kv: &KeyValue) -> Option<Object> {
    let (kind, _) = parse_key(&kv.key)?;
    Object::from_stored(kind, kv.mod_revision, &kv.value).ok()
}

/// A write of objects on what was found.
fn write(objects: &[Object], found: &[KeyValue]) -> Request {
    let known = |key: &Bytes| found.iter().find(|kv| kv.key == *key).map_or(Revision(0), |kv| kv.mod_revision);
    let compare = |object: &Object| {
        let key = Bytes::from(object.key());
        let revision = known(&key);
        Compare::mod_is(key, revision)
    };
    let put = |object: &Object| {
        let value = PutValue::Set(object.to_stored().into());
        Operation::Put(PutRequest { key: object.key().into(), value, lease: PutLease::Set(None), prev_kv: false })
    };
    let compare = objects.iter().map(compare).collect();
    Request::Txn(TxnRequest { compare, success: objects.iter().map(put).collect(), failure: Vec::new() })
}
