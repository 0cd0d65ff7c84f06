//! A map of stores: a key is there as long as its store holds something. It is the OR-map of any type, and, of sets of dots,
//! the OR-set.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::{Entry, Range};
use std::mem;
use std::ops::Bound;

use althing_clock::coded::ascending;
use althing_clock::{Coded, Dot, DotContext};
use althing_codec::{DecodeError, Reader, Writer};

use crate::join::{Bottoms, Causal, Delta, Join, Reset, Seen};
use crate::stability::{Stability, Stable};

/// Keys and what is held under each. In a state no key's store is bottom; in a delta one that is says that it is removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DotMap<K: Ord, V>(BTreeMap<K, V>);

impl<K: Ord + Clone, V: Join> DotMap<K, V> {
    /// What is held under the key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// Keys and stores, by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + ExactSizeIterator {
        self.0.iter()
    }

    /// The keys after this one, or all, and their stores, in order: for walks in steps.
    pub fn iter_after(&self, after: Option<&K>) -> Range<'_, K, V> {
        self.0.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A write within the key's store. `write` gets what is held under the key, or bottom, and returns its delta.
    #[must_use]
    pub fn update(&self, key: K, write: impl FnOnce(&V) -> Delta<V>) -> Delta<Self> {
        let delta = match self.0.get(&key) {
            Some(store) => write(store),
            None => write(&V::default()),
        };
        delta.map(|store| Self(BTreeMap::from([(key, store)])))
    }

    /// A write within the key's store that may be refused.
    ///
    /// # Errors
    /// What `write` says.
    pub fn try_update<E>(&self, key: K, write: impl FnOnce(&V) -> Result<Delta<V>, E>) -> Result<Delta<Self>, E> {
        let delta = match self.0.get(&key) {
            Some(store) => write(store)?,
            None => write(&V::default())?,
        };
        Ok(delta.map(|store| Self(BTreeMap::from([(key, store)]))))
    }

    /// The write `dot`, which removes what was seen under the key.
    #[must_use]
    pub fn remove(&self, dot: Dot, key: K, seen: Seen<'_>) -> Delta<Self>
    where
        V: Reset,
    {
        let mut context = DotContext::EMPTY;
        let store = self.0.get(&key).map(|value| value.reset(seen, &mut context)).unwrap_or_default();
        Delta::new(dot, Self(BTreeMap::from([(key, store)])), context)
    }

    fn join_entry(&mut self, mine: &DotContext, entry: (K, V), its: &DotContext, bottoms: Bottoms) {
        let (key, delta) = entry;
        match self.0.entry(key) {
            Entry::Occupied(mut held) => {
                held.get_mut().apply(mine, delta, its, bottoms);
                if bottoms == Bottoms::Drop && held.get().is_bottom() {
                    held.remove();
                }
            }
            Entry::Vacant(place) => {
                let mut store = V::default();
                store.apply(mine, delta, its, bottoms);
                if bottoms == Bottoms::Keep || !store.is_bottom() {
                    place.insert(store);
                }
            }
        }
    }
}

impl<K: Ord, V> DotMap<K, V> {
    /// Keys and stores, out of it.
    #[must_use]
    pub fn into_inner(self) -> BTreeMap<K, V> {
        self.0
    }
}

impl<K: Ord + Clone, V: Join> Causal<DotMap<K, V>> {
    /// Joins what another replica holds under one key, as a repair does that goes from key to key.
    ///
    /// Of the other's context only the dots that are held under the key become known here: the rest is about keys that were not
    /// joined. So a removal is known to those who have taken it and to those who held what it removed, and a third one does not
    /// learn of it from the second: everyone must repair with everyone. Nothing counts as taken either. Once all keys that
    /// differ were joined, between two replicas, what the other had taken *before the first of them* was taken here too, and
    /// may be joined to [`Causal::taken`], and its context as of then to [`Causal::context`].
    pub fn join_key(&mut self, key: &K, other: V, theirs: &DotContext) {
        let mut store = self.store.0.remove(key).unwrap_or_default();
        store.join(&self.context, other, theirs);
        if !store.is_bottom() {
            store.dots(&mut |dot| self.context.insert(dot));
            self.store.0.insert(key.clone(), store);
        }
    }
}

impl<K: Ord, V> Default for DotMap<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for DotMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl<K: Ord + Clone, V: Join> Join for DotMap<K, V> {
    fn join(&mut self, mine: &DotContext, other: Self, theirs: &DotContext) {
        let mut left = mem::take(&mut self.0).into_iter().peekable();
        let mut right = other.0.into_iter().peekable();
        let merged = std::iter::from_fn(|| {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((ours, _)), Some((other, _))) => ours.cmp(other),
            };
            let held = if order.is_le() { left.next() } else { None };
            let shown = if order.is_ge() { right.next() } else { None };
            let (key, mut store, other) = match (held, shown) {
                (Some((key, store)), shown) => (key, store, shown.map(|(_, other)| other).unwrap_or_default()),
                (None, Some((key, other))) => (key, V::default(), other),
                (None, None) => return None,
            };
            store.join(mine, other, theirs);
            Some((key, store))
        });
        self.0 = merged.filter(|(_, store)| !store.is_bottom()).collect();
    }

    fn apply(&mut self, mine: &DotContext, delta: Self, its: &DotContext, bottoms: Bottoms) {
        delta.0.into_iter().for_each(|entry| self.join_entry(mine, entry, its, bottoms));
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.0.values().for_each(|store| store.dots(visit));
    }

    fn is_bottom(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Ord + Clone, V: Reset> Reset for DotMap<K, V> {
    fn reset(&self, seen: Seen<'_>, removed: &mut DotContext) -> Self {
        let is_seen = |store: &V| {
            let mut found = false;
            store.dots(&mut |dot| found |= seen.contains(dot));
            found
        };
        let touched = self.0.iter().filter(|(_, store)| is_seen(store));
        touched.map(|(key, store)| (key.clone(), store.reset(seen, removed))).collect()
    }
}

impl<K: Ord + Clone, V: Join + Stability> Stability for DotMap<K, V> {
    fn settle(&mut self, stable: &Stable) {
        self.0.retain(|_, store| {
            store.settle(stable);
            !store.is_bottom()
        });
    }
}

impl<K: Ord + Coded, V: Coded> Coded for DotMap<K, V> {
    const NAME: &'static str = "a map";

    fn write(&self, writer: &mut Writer) {
        writer.u64(self.0.len() as u64);
        for (key, store) in &self.0 {
            key.write(writer);
            store.write(writer);
        }
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let mut entries: Vec<(K, V)> = Vec::new();
        for place in 0..reader.count("a map's keys")? {
            let key = K::read(reader)?;
            ascending(entries.last().map(|(last, _)| last), &key, place, "the order of a map's keys")?;
            entries.push((key, V::read(reader)?));
        }
        Ok(Self(entries.into_iter().collect()))
    }
}
