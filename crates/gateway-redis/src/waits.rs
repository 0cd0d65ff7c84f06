//! Connections that wait for a key to have something: who waits for which, and how they are woken.
//!
//! A table has no queue of those that wait for a key, and a write may happen on any node. So whoever waits asks again, after a pause
//! that grows ([`FIRST_PAUSE`] to [`LONGEST_PAUSE`]); and a write through this node wakes those that wait here for its key at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use althing_types::TableName;
use bytes::Bytes;
use tokio::sync::Notify;

/// The pause before the first time that is asked again: a hand-over between two clients of two nodes takes about so long.
pub const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The pause that it grows to: a thousand idle waiters ask four thousand times a second.
pub const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A key of a table.
type Place = (TableName, Bytes);
/// Those that wait for one, in the order of their connections' numbers, which is that of their age.
type Sleepers = BTreeMap<u64, Arc<Notify>>;

/// Who waits on this node.
#[derive(Debug, Default)]
pub struct Waits {
    /// How many connections wait: no write takes the lock while none does.
    count: AtomicUsize,
    places: Mutex<BTreeMap<Place, Sleepers>>,
}

impl Waits {
    fn places(&self) -> MutexGuard<'_, BTreeMap<Place, Sleepers>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// From now on the connection of this number is woken by writes to any of `keys`, until the place in the queue is dropped. A
    /// write that comes between this and the first wait is not missed.
    #[must_use]
    pub fn enter(self: &Arc<Self>, table: &TableName, keys: &[Bytes], client: u64) -> Sleeper {
        let (woken, table) = (Arc::<Notify>::default(), table.clone());
        let mut places = self.places();
        for key in keys {
            places.entry((table.clone(), key.clone())).or_default().insert(client, Arc::clone(&woken));
        }
        drop(places);
        self.count.fetch_add(1, Ordering::Relaxed);
        Sleeper { waits: Arc::clone(self), table, keys: keys.to_vec(), client, woken }
    }

    /// A write to a key was acknowledged.
    pub fn wrote(&self, table: &TableName, key: &Bytes) {
        if self.count() == 0 {
            return;
        }
        // All of them: one write may have brought enough for several, and who finds nothing sleeps on.
        if let Some(sleepers) = self.places().get(&(table.clone(), key.clone())) {
            sleepers.values().for_each(|woken| woken.notify_one());
        }
    }
}

/// A connection's place among those that wait.
#[derive(Debug)]
pub struct Sleeper {
    waits: Arc<Waits>,
    table: TableName,
    keys: Vec<Bytes>,
    client: u64,
    woken: Arc<Notify>,
}

impl Sleeper {
    /// Returns once one of the keys was written since it returned last. May be dropped and called again.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let mut places = self.waits.places();
        for key in std::mem::take(&mut self.keys) {
            let place = (self.table.clone(), key);
            if let Some(sleepers) = places.get_mut(&place) {
                sleepers.remove(&self.client);
                if sleepers.is_empty() {
                    places.remove(&place);
                }
            }
        }
        self.waits.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_wakes_those_that_wait_for_its_key_and_nobody_else() {
        let (waits, table) = (Arc::<Waits>::default(), TableName::DEFAULT);
        let key = |name: &'static str| Bytes::from_static(name.as_bytes());
        let is_woken =
            async |sleeper: &Sleeper| tokio::time::timeout(Duration::from_millis(1), sleeper.woken()).await.is_ok();
        waits.wrote(&table, &key("a"));
        let one = waits.enter(&table, &[key("a"), key("b")], 1);
        let two = waits.enter(&table, &[key("c"), key("c")], 2);
        waits.wrote(&table, &key("b"));
        waits.wrote(&table, &key("a"));
        assert!(is_woken(&one).await && !is_woken(&one).await && !is_woken(&two).await);
        assert_eq!(waits.count(), 2);
        drop((one, two));
        assert_eq!(waits.count(), 0);
        assert!(waits.places().is_empty());
    }
}
