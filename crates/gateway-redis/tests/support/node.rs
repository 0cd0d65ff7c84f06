use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use althing_api::keyed::{KeyedAnswer, KeyedRequest};
use althing_api::request::Body;
use althing_api::{
    Answer, Call, Error, ErrorKind, Header, Health, Reply, Request, Service, SnapshotStream, Target, WatchSession,
};
use althing_datatypes::codec::Message as _;
use althing_datatypes::op::{Existence, SetAnswer, SetExpiry, StringOp};
use althing_datatypes::{Op, OpError, Reply as DataReply, Value as Plain, View, execute, glob};
use althing_env::Clock;
use althing_types::{ClusterId, GroupId, Instant, NodeId, TableName, WallTime};
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
}

impl MemoryNode {
    /// An empty one.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), clock, draws: Mutex::new(0) }
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.wall().0).unwrap_or(i64::MAX)
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Keys> {
        let sum: u64 = key.iter().map(|&byte| u64::from(byte)).sum();
        &self.shards[usize::try_from(sum % SHARDS).expect("there are few shards")]
    }

    fn operate(&self, key: &Bytes, operation: &Bytes) -> KeyedAnswer {
        let op = Op::decode(operation).expect("the gateway writes operations");
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let mut value = shard.remove(key).unwrap_or_default();
        let now = self.now_ms();
        let seed = {
            let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
            *draws += 1;
            *draws
        };
        let result: Result<DataReply, OpError> = execute(op, &value, now, seed).map(|(reply, edits)| {
            value.apply(&edits, now).expect("the edits are for this value");
            reply
        });
        if value.kind().is_some() {
            shard.insert(key.clone(), value);
        }
        match result {
            Ok(_) => KeyedAnswer::Operated(result.encode()),
            Err(_) => KeyedAnswer::Refused(result.encode()),
        }
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

/// Three tables that share their keys, and three nodes.
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
        (1..=3).map(|node| Peer { node: NodeId(node), host: "127.0.0.1".to_owned(), port: self.port }).collect()
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
