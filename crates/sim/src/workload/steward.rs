//! The steward of tables: creates the table that clients write to, registers the nodes that are to come, and drains nodes and
//! takes them back, so that replicas move while everything else goes on. It writes objects as users of the control plane do:
//! into the table `meta`, each write on the revision that it has read.

use althing_api::kv::{
    Compare, CompareOperator, CompareTarget, KeyRange, KeyValue, Operation, PutLease, PutRequest, PutValue, RangeEnd,
    RangeRequest, TxnRequest,
};
use althing_api::request::{Answer, Body, Request};
use althing_api::{Call, Error, Target};
use althing_manifest::{Cluster, ClusterSpec, Node, NodeSpec, Object, Schedule, Table, TableSpec, kind, parse_key};
use althing_types::{Duration, NodeId, Revision, TableName};
use bytes::Bytes;

use super::{Ask, Context, Drive, News, Ticket};
use crate::options::Tables;

/// The table that clients write to.
pub const TABLE: &str = "orders";
/// How long it waits for an answer, and between two tries.
const PATIENCE: Duration = Duration::from_millis(700);
/// How long a node that is silent keeps its replicas, in seconds: so short that replicas are rebuilt within a run.
const GRACE_SECONDS: u64 = 4;

/// A client that changes objects.
#[derive(Debug)]
pub struct Steward {
    tables: Tables,
    founders: u64,
    ticket: Ticket,
    stage: Stage,
    drive: Drive,
}

/// What it waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// What there is.
    Reading,
    /// What came of a write.
    Writing,
}

impl Steward {
    /// One that has done nothing yet.
    #[must_use]
    pub fn new(tables: Tables, founders: u64) -> Self {
        let (ticket, drive) = (Ticket::default(), Drive::default());
        Self { tables, founders, ticket, stage: Stage::Writing, drive }
    }

    /// From now on no node is drained any more, and those that are come back.
    pub(super) fn finish(&mut self) {
        self.drive = Drive::Finishing;
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
        let (start, mut end) = (Bytes::from_static(kind::ROOT.as_bytes()), kind::ROOT.as_bytes().to_vec());
        end.iter_mut().last().into_iter().for_each(|byte| *byte += 1);
        let keys = KeyRange { start, end: RangeEnd::Before(end.into()) };
        self.send(Request::Range(RangeRequest::new(keys)), cx);
    }

    fn answered(&mut self, result: Result<Answer, Error>, cx: &mut Context<'_>) {
        let pause = match (self.stage, result) {
            (Stage::Reading, Ok(Answer { body: Body::Range(found), .. })) => {
                if let Some(request) = self.next_change(&found.kvs, cx) {
                    self.stage = Stage::Writing;
                    return self.send(request, cx);
                }
                self.tables.pace.draw_gap(cx.rng).unwrap_or(PATIENCE)
            }
            (Stage::Reading | Stage::Writing, _) => PATIENCE,
        };
        cx.asks.push(Ask::Wake(pause));
    }

    /// What is missing is made first; then, now and then, a node is drained or comes back.
    fn next_change(&self, found: &[KeyValue], cx: &mut Context<'_>) -> Option<Request> {
        let objects: Vec<Object> = found.iter().filter_map(object).collect();
        let cluster = objects.iter().find_map(|object| match object {
            Object::Cluster(cluster) => Some(cluster),
            Object::Node(_) | Object::Table(_) | Object::Shard(_) => None,
        })?;
        if cluster.spec.node_grace_seconds != GRACE_SECONDS {
            let spec = ClusterSpec { node_grace_seconds: GRACE_SECONDS, ..cluster.spec.clone() };
            let cluster = Cluster { metadata: cluster.metadata.clone(), status: cluster.status.clone(), spec };
            return Some(write(Object::Cluster(cluster), found));
        }
        let has = |key: String| found.iter().any(|kv| kv.key == key.as_bytes());
        let spec = TableSpec { shards: self.tables.shards, ..TableSpec::default() };
        let table = Object::Table(Table::new(TABLE, spec));
        if !has(table.key()) {
            return Some(write(table, found));
        }
        for id in self.founders + 1..=self.founders + self.tables.spares {
            let node = Object::Node(Node::new(&format!("node-{}", NodeId(id)), NodeSpec::new(NodeId(id))));
            if !has(node.key()) {
                return Some(write(node, found));
            }
        }
        self.drain_or_take_back(&objects, cx).map(|object| write(object, found))
    }

    fn drain_or_take_back(&self, objects: &[Object], cx: &mut Context<'_>) -> Option<Object> {
        let nodes = objects.iter().filter_map(|object| match object {
            Object::Node(node) => Some(node),
            Object::Cluster(_) | Object::Table(_) | Object::Shard(_) => None,
        });
        let (drained, active): (Vec<_>, Vec<_>) = nodes.partition(|node| node.spec.schedule == Schedule::Drain);
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
        self.ticket = self.ticket.next();
        let (ticket, node) = (self.ticket, cx.any_node());
        let call = Call { target: Target::Table(TableName::META), timeout: Some(PATIENCE), ..Call::new(request) };
        cx.asks.push(Ask::Call { ticket, node, call, patience: PATIENCE });
    }
}

fn object(kv: &KeyValue) -> Option<Object> {
    let (kind, _) = parse_key(&kv.key)?;
    Object::from_stored(kind, kv.mod_revision, &kv.value).ok()
}

/// A write of an object on what was found.
fn write(object: Object, found: &[KeyValue]) -> Request {
    let key = Bytes::from(object.key());
    let known = found.iter().find(|kv| kv.key == key).map_or(Revision(0), |kv| kv.mod_revision);
    let compare = Compare {
        keys: KeyRange::single(key.clone()),
        operator: CompareOperator::Equal,
        target: CompareTarget::Mod(known),
    };
    let value = PutValue::Set(object.to_stored().into());
    let put = PutRequest { key, value, lease: PutLease::Set(None), prev_kv: false };
    Request::Txn(TxnRequest { compare: vec![compare], success: vec![Operation::Put(put)], failure: Vec::new() })
}
