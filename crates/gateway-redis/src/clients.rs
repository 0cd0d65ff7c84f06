//! The connections of a node, as `CLIENT LIST` shows them and `CLIENT KILL` ends them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use althing_types::Instant;
use tokio::sync::Notify;

use crate::wire::Protocol;

/// What is known of one connection.
#[derive(Debug)]
pub struct Client {
    /// Its number: greater than all before.
    pub id: u64,
    /// Where it comes from.
    pub peer: String,
    /// Where it came to.
    pub local: String,
    /// Since when.
    pub since: Instant,
    /// Told when somebody wants it to end.
    pub end: Notify,
    /// Told when somebody wants it to wait no longer: [`Facts::unblocked`] says how.
    pub nudge: Notify,
    facts: Mutex<Facts>,
}

/// How a connection that waits is told to wait no longer: `CLIENT UNBLOCK`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unblocked {
    /// As if its time were over.
    WithNothing,
    /// With an error.
    WithError,
}

/// What changes.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What it calls itself.
    pub name: String,
    /// Who it is.
    pub user: String,
    /// The library that it is written with.
    pub library: String,
    /// That library's version.
    pub library_version: String,
    /// The number of its table.
    pub index: u32,
    /// Channels that it listens to.
    pub channels: usize,
    /// Patterns that it listens to.
    pub patterns: usize,
    /// Channels of shards that it listens to.
    pub shard_channels: usize,
    /// Commands that wait for `EXEC`; none outside a transaction.
    pub queued: Option<usize>,
    /// Whether it waits for a key.
    pub blocked: bool,
    /// It is to wait no longer.
    pub unblocked: Option<Unblocked>,
    /// Its last command.
    pub command: &'static str,
    /// When that was.
    pub active: Instant,
    /// What it speaks.
    pub protocol: Protocol,
}

impl Client {
    /// What changes.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its line in `CLIENT LIST`.
    #[must_use]
    pub fn line(&self, now: Instant) -> String {
        let facts = self.facts();
        let (age, idle) = (now.since(self.since).as_secs(), now.since(facts.active).as_secs());
        let flags = if facts.channels + facts.patterns + facts.shard_channels > 0 {
            "P"
        } else if facts.blocked {
            "b"
        } else if facts.queued.is_some() {
            "x"
        } else {
            "N"
        };
        let multi = facts.queued.map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX));
        let resp = match facts.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        let mut line = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            "id={} addr={} laddr={} fd=0 name={} age={age} idle={idle} flags={flags} db={} sub={} psub={} ssub={} \
             multi={multi} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r \
             cmd={} user={} redir=-1 resp={resp} lib-name={} lib-ver={}",
            self.id,
            self.peer,
            self.local,
            facts.name,
            facts.index,
            facts.channels,
            facts.patterns,
            facts.shard_channels,
            if facts.command.is_empty() { "NULL" } else { facts.command },
            facts.user,
            facts.library,
            facts.library_version,
        );
        line
    }
}

/// All connections of a node.
#[derive(Debug, Default)]
pub struct Clients {
    last: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Client>>>,
}

impl Clients {
    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Client>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in, if there are fewer than `limit`.
    pub fn enter(&self, peer: String, local: String, now: Instant, limit: usize) -> Option<Arc<Client>> {
        let mut open = self.open();
        if open.len() >= limit {
            return None;
        }
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let facts = Facts { user: "default".to_owned(), active: now, ..Facts::default() };
        let client =
            Client { id, peer, local, since: now, end: Notify::new(), nudge: Notify::new(), facts: Mutex::new(facts) };
        let client = Arc::new(client);
        open.insert(id, Arc::clone(&client));
        Some(client)
    }

    /// A connection has ended.
    pub fn leave(&self, id: u64) {
        self.open().remove(&id);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open().len()
    }

    /// All of them, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.open().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_a_number_of_its_own_and_a_line() {
        let clients = Clients::default();
        let enter = |limit| clients.enter("1.2.3.4:5".to_owned(), "6.7.8.9:6379".to_owned(), Instant::ZERO, limit);
        let first = enter(2).unwrap();
        let second = enter(2).unwrap();
        assert!(enter(2).is_none(), "there are as many as may be");
        clients.leave(first.id);
        assert_eq!(clients.count(), 1);
        assert_eq!(enter(2).unwrap().id, second.id + 1);
        second.facts().name = "me".to_owned();
        let line = second.line(Instant::ZERO);
        assert!(line.starts_with("id=2 addr=1.2.3.4:5 laddr=6.7.8.9:6379 fd=0 name=me age=0 "), "{line}");
    }
}
