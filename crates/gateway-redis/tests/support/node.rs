use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use althing_api::keyed::{KeyedAnswer, KeyedRequest, Moment, Step, Watched};
use althing_api::request::Body;
use althing_api::{
    Answer, Call, Error, ErrorKind, Header, Health, Reply, Request, Service, SnapshotStream, Target, WatchSession,
};
use althing_datatypes::codec::Message as _;
use althing_datatypes::op::{Existence, SetAnswer, SetExpiry, StringOp};
use althing_datatypes::{Op, OpError, Reply as DataReply, Value as Plain, View, execute, glob};
use althing_env::Clock;
use althing_types::{ClusterId, GroupId, Instant, NodeId, Revision, TableName, WallTime};
use bytes::Bytes;

/// How many shards the table has.
const SHARDS: u64 = 4;
/// The first shard's group.
const FIRST: u64 = 16;

/// A clock that is set by hand.
pub struct HandClock(pub Mutex<u64>);

impl Clock for HandClock {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn wall(&self) -> WallTime {
        WallTime(*self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Keys = BTreeMap<Bytes, Plain>;

/// A node that holds everything itself. Each key is in the shard that its first byte says.
pub struct MemoryNode {
    shards: Vec<Mutex<Keys>>,
    clock: Arc<dyn Clock>,
    draws: Mutex<u64>,
    /// How many changes there were, and which of them was each key's last.
    changes: Mutex<(i64, BTreeMap<Bytes, i64>)>,
}

impl MemoryNode {
    /// An empty one.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, clock, draws: Mutex::new(0), changes: Mutex::default() }
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.wall().0).unwrap_or(i64::MAX)
    }

    fn place(key: &[u8]) -> usize {
        let sum: u64 = key.iter().map(|&byte| u64::from(byte)).sum();
        usize::try_from(sum % SHARDS).expect("there are few shards")
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Keys> {
        &self.shards[Self::place(key)]
    }

    /// When a key was changed last; 0 if it is not there.
    fn revision(&self, key: &Bytes, now: i64) -> Revision {
        let shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = shard.get(key).is_some_and(|value| value.deadline_ms().is_none_or(|deadline| deadline > now));
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        Revision(changes.1.get(key).copied().filter(|_| is_there).unwrap_or(0))
    }

    fn transact(&self, watches: &[Watched], steps: &[Step], moment: Moment) -> Result<KeyedAnswer, Error> {
        let keys = watches.iter().map(|watched| &watched.key).chain(steps.iter().map(|step| &step.key));
        let places: std::collections::BTreeSet<usize> = keys.map(|key| Self::place(key)).collect();
        if places.len() > 1 {
            return Err(Error::not_done(ErrorKind::CrossShard("the keys lie in several shards".to_owned())));
        }
        let has_changed = |watched: &Watched| self.revision(&watched.key, moment.now_ms) != watched.revision;
        if watches.iter().any(has_changed) {
            return Ok(KeyedAnswer::Aborted);
        }
        let revisions = steps.iter().map(|step| self.revision(&step.key, moment.now_ms)).collect();
        let replies = steps.iter().enumerate().map(|(place, step)| {
            self.operate_at(&step.key, &step.operation, moment.now_ms, moment.seed_of(place)).encode()
        });
        Ok(KeyedAnswer::Transacted { replies: replies.collect(), revisions })
    }

    fn operate(&self, key: &Bytes, operation: &Bytes) -> KeyedAnswer {
        let result = self.operate_at(key, operation, self.now_ms(), self.seed());
        match result {
            Ok(_) => KeyedAnswer::Operated(result.encode()),
            Err(_) => KeyedAnswer::Refused(result.encode()),
        }
    }

    fn seed(&self) -> u64 {
        let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
        *draws += 1;
        *draws
    }

    fn operate_at(&self, key: &Bytes, operation: &Bytes, now: i64, seed: u64) -> Result<DataReply, OpError> {
        let op = Op::decode(operation).expect("the gateway writes operations");
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let mut value = shard.remove(key).unwrap_or_default();
        let result: Result<DataReply, OpError> = execute(op, &value, now, seed).map(|(reply, edits)| {
            value.apply(&edits, now).expect("the edits are for this value");
            if !edits.is_empty() {
                let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
                changes.0 += 1;
                let now = changes.0;
                changes.1.insert(key.clone(), now);
            }
            reply
        });
        if value.kind().is_some() {
            shard.insert(key.clone(), value);
        }
        result
    }

    fn answer(&self, target: &Target, request: KeyedRequest) -> Result<KeyedAnswer, Error> {
        let group = match target {
            Target::Group(GroupId(group)) => group.checked_sub(FIRST).and_then(|at| usize::try_from(at).ok()),
            Target::Table(_) => None,
        };
        let shard = |at: Option<usize>| {
            let shard = at.and_then(|at| self.shards.get(at)).ok_or(Error::not_done(ErrorKind::ShardUnavailable))?;
            Ok::<_, Error>(shard.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let now = self.now_ms();
        match request {
            KeyedRequest::Operate { key, operation, .. } => Ok(self.operate(&key, &operation)),
            KeyedRequest::Series { key, operations, .. } => {
                Ok(KeyedAnswer::Series(operations.iter().map(|operation| Ok(self.operate(&key, operation))).collect()))
            }
            KeyedRequest::Siblings { key, .. } => {
                let values = self.shard(&key).lock().unwrap_or_else(PoisonError::into_inner);
                let values = values.get(&key).and_then(View::string).into_iter().collect();
                Ok(KeyedAnswer::Siblings { values, context: Bytes::from_static(&[1, 2]) })
            }
            // It knows one context, that of the present.
            KeyedRequest::Put { context, .. } if context != [1, 2][..] => Ok(KeyedAnswer::Reread(32)),
            KeyedRequest::Put { key, value, .. } => {
                let (expiry, condition, answer) = (SetExpiry::Clear, Existence::Any, SetAnswer::Done);
                let op = Op::String(StringOp::Set { value, expiry, condition, answer });
                Ok(self.operate(&key, &op.encode()))
            }
            // A token is how many requests its session has made.
            KeyedRequest::InSession { token, request } => {
                let answer = Box::new(self.answer(target, *request)?);
                Ok(KeyedAnswer::InSession { answer, token: Bytes::from(vec![7; token.len() + 1]) })
            }
            KeyedRequest::Transact { watches, steps, moment, .. } => {
                let moment = moment.unwrap_or_else(|| Moment { now_ms: now, seed: self.seed() });
                self.transact(&watches, &steps, moment)
            }
            KeyedRequest::Scan { after, limit, pattern, kind } => {
                let mut keys = shard(group)?;
                keys.retain(|_, value| value.deadline_ms().is_none_or(|deadline| deadline > now));
                let above = keys.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let page: Vec<(&Bytes, &Plain)> = above.take(limit).collect();
                let after = (page.len() == limit).then(|| page.last().map(|(key, _)| (*key).clone())).flatten();
                let name = |value: &Plain| value.kind().map_or("none", kind_name);
                let fits = page.into_iter().filter(|(key, value)| {
                    pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key))
                        && kind.as_ref().is_none_or(|kind| kind.as_ref() == name(value).as_bytes())
                });
                Ok(KeyedAnswer::Page { keys: fits.map(|(key, _)| key.clone()).collect(), after })
            }
            KeyedRequest::Count => {
                let mut keys = shard(group)?;
                keys.retain(|_, value| value.deadline_ms().is_none_or(|deadline| deadline > now));
                Ok(KeyedAnswer::Count(keys.len() as u64))
            }
            KeyedRequest::Flush => Ok(KeyedAnswer::Flushed(std::mem::take(&mut *shard(group)?).len() as u64)),
        }
    }
}

impl Service for MemoryNode {
    fn call(&self, call: Call) -> Reply {
        let Request::Keyed(request) = call.request else { panic!("a gateway of keyed values asks for nothing else") };
        let header = Header::default();
        Reply::ready(self.answer(&call.target, request).map(|body| Answer { header, body: Body::Keyed(body) }))
    }

    fn watch(&self, _: Target, _: bool) -> Box<dyn WatchSession> {
        panic!("nothing is watched")
    }

    fn snapshot(&self, _: Target) -> SnapshotStream {
        panic!("nothing is downloaded")
    }

    fn cluster(&self) -> ClusterId {
        ClusterId(1)
    }

    fn member(&self) -> NodeId {
        NodeId(1)
    }

    fn health(&self) -> Health {
        Health { live: true, ready: true, reasons: Vec::new() }
    }

    fn metrics(&self) -> String {
        String::new()
    }
}

/// Three tables that share their keys, and three nodes; a fourth is thought to be down.
pub struct TwoTables {
    /// The port that all nodes seem to have.
    pub port: u16,
    /// Whether clients must authenticate, with the password `secret`; `bob` may not use `orders`.
    pub entrance: Entrance,
}

impl TwoTables {
    fn table(name: &'static str, index: u32) -> Arc<Table> {
        Arc::new(Table {
            name: name.parse::<TableName>().expect("it is a name"),
            index: Some(index),
            kind: if index == 2 { TableKind::Strong } else { TableKind::Convergent },
            shards: (FIRST..FIRST + SHARDS).map(GroupId).collect(),
            other_copies: 1,
        })
    }
}

impl Tables for TwoTables {
    fn by_index(&self, index: u32) -> Option<Arc<Table>> {
        self.all().into_iter().find(|table| table.index == Some(index))
    }

    fn by_name(&self, name: &str) -> Option<Arc<Table>> {
        self.all().into_iter().find(|table| table.name.as_str() == name)
    }

    fn all(&self) -> Vec<Arc<Table>> {
        vec![Self::table("carts", 0), Self::table("sessions", 9), Self::table("orders", 2)]
    }

    fn entrance(&self) -> Entrance {
        self.entrance
    }

    fn authenticate(&self, _: &str, password: &[u8]) -> Admission {
        match self.entrance {
            Entrance::Guarded if password != b"secret" => Admission::Refused,
            Entrance::Guarded | Entrance::Open => Admission::Admitted,
        }
    }

    fn may_use(&self, user: &str, table: &Table) -> Admission {
        if user == "bob" && table.name.as_str() == "orders" { Admission::Refused } else { Admission::Admitted }
    }

    fn peers(&self) -> Vec<Peer> {
        let standing = |node| if node == 4 { Standing::Lost } else { Standing::Living };
        let peer = |node| Peer {
            node: NodeId(node),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            standing: standing(node),
        };
        (1..=4).map(peer).collect()
    }
}

/// A gateway of a node in memory.
pub fn gateway_with(clock: Arc<dyn Clock>, tables: TwoTables, config: Config) -> Gateway {
    let node = Arc::new(MemoryNode::new(Arc::clone(&clock)));
    Gateway::new(node, Arc::new(tables), clock, Box::new(Alone), config)
}

/// A gateway of a node in memory whose clock stands still.
pub fn gateway() -> Gateway {
    let tables = TwoTables { port: 6379, entrance: Entrance::Open };
    gateway_with(Arc::new(HandClock(Mutex::new(1_700_000_000_000))), tables, Config::default())
}
