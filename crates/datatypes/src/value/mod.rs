//! A key's value in plain memory: what strong tables hold, and the model that tests compare with.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use althing_crdt::{Hll, Merge};
use bytes::Bytes;

use crate::op::Order;
use crate::{Content, Cut, Edit, Kind, OpError, View, Whole, number};

mod sorted;

use sorted::Sorted;

/// A key: its value, if there is one, and its deadline.
#[derive(Clone, Debug, Default)]
pub struct Value {
    held: Option<Held>,
    deadline_ms: Option<i64>,
}

/// Collections are never empty: see [`Value::forget_if_empty`].
#[derive(Clone, Debug)]
enum Held {
    String(Bytes),
    Hash(BTreeMap<Bytes, Bytes>),
    Set(BTreeSet<Bytes>),
    Sorted(Sorted),
    Sketch(Hll),
}

impl Value {
    /// Applies edits that [`crate::execute()`] has made for this value at this time (milliseconds since 1970), in their order.
    ///
    /// # Errors
    /// [`OpError`], if they were made for another value. This one is then partly edited, and not to be used any more.
    pub fn apply(&mut self, edits: &[Edit], now_ms: i64) -> Result<(), OpError> {
        if self.deadline_ms.is_some_and(|deadline| deadline <= now_ms) {
            *self = Self::default();
        }
        edits.iter().try_for_each(|edit| self.apply_one(edit))?;
        self.forget_if_empty();
        Ok(())
    }

    /// All of it, to be kept or put elsewhere.
    #[must_use]
    pub fn whole(&self) -> Option<Whole> {
        let content = match self.held.as_ref()? {
            Held::String(string) => Content::String(string.clone()),
            Held::Hash(fields) => {
                Content::Hash(fields.iter().map(|(field, value)| (field.clone(), value.clone())).collect())
            }
            Held::Set(members) => Content::Set(members.iter().cloned().collect()),
            Held::Sorted(members) => Content::Sorted(members.slice(0..members.len(), Order::Ascending).collect()),
            Held::Sketch(sketch) => Content::Sketch(sketch.clone()),
        };
        Some(Whole { content, deadline_ms: self.deadline_ms })
    }

    fn apply_one(&mut self, edit: &Edit) -> Result<(), OpError> {
        match edit {
            Edit::Delete => *self = Self::default(),
            Edit::Deadline(deadline_ms) => self.deadline_ms = *deadline_ms,
            Edit::PutString(string) => *self.string_mut()? = string.clone(),
            Edit::AddInt(by) => add_int(self.string_mut()?, *by)?,
            Edit::AddFloat(by) => add_float(self.string_mut()?, *by)?,
            Edit::HashPut { field, value } => _ = self.hash_mut()?.insert(field.clone(), value.clone()),
            Edit::HashRemove(field) => _ = self.hash_mut()?.remove(field),
            Edit::HashAddInt { field, by } => add_int(self.hash_mut()?.entry(field.clone()).or_default(), *by)?,
            Edit::HashAddFloat { field, by } => add_float(self.hash_mut()?.entry(field.clone()).or_default(), *by)?,
            Edit::SetAdd(member) => _ = self.set_mut()?.insert(member.clone()),
            Edit::SetRemove(member) => _ = self.set_mut()?.remove(member),
            Edit::ScorePut { member, score } => self.sorted_mut()?.put(member, *score)?,
            Edit::ScoreAdd { member, by } => self.sorted_mut()?.add(member, *by)?,
            Edit::ScoreRemove(member) => self.sorted_mut()?.remove(member),
            Edit::SketchMerge(sketch) => self.sketch_mut()?.merge(sketch.clone()),
        }
        Ok(())
    }

    /// A collection that has lost its last element is no key any more. This is done after all edits, which may empty it and fill
    /// it again.
    fn forget_if_empty(&mut self) {
        let is_empty = match &self.held {
            None => true,
            Some(Held::String(_) | Held::Sketch(_)) => false,
            Some(Held::Hash(fields)) => fields.is_empty(),
            Some(Held::Set(members)) => members.is_empty(),
            Some(Held::Sorted(members)) => members.len() == 0,
        };
        if is_empty {
            *self = Self::default();
        }
    }

    fn string_mut(&mut self) -> Result<&mut Bytes, OpError> {
        match self.held.get_or_insert_with(|| Held::String(Bytes::new())) {
            Held::String(string) => Ok(string),
            Held::Hash(_) | Held::Set(_) | Held::Sorted(_) | Held::Sketch(_) => Err(OpError::WrongType),
        }
    }

    fn hash_mut(&mut self) -> Result<&mut BTreeMap<Bytes, Bytes>, OpError> {
        match self.held.get_or_insert_with(|| Held::Hash(BTreeMap::new())) {
            Held::Hash(fields) => Ok(fields),
            Held::String(_) | Held::Set(_) | Held::Sorted(_) | Held::Sketch(_) => Err(OpError::WrongType),
        }
    }

    fn set_mut(&mut self) -> Result<&mut BTreeSet<Bytes>, OpError> {
        match self.held.get_or_insert_with(|| Held::Set(BTreeSet::new())) {
            Held::Set(members) => Ok(members),
            Held::String(_) | Held::Hash(_) | Held::Sorted(_) | Held::Sketch(_) => Err(OpError::WrongType),
        }
    }

    fn sorted_mut(&mut self) -> Result<&mut Sorted, OpError> {
        match self.held.get_or_insert_with(|| Held::Sorted(Sorted::default())) {
            Held::Sorted(members) => Ok(members),
            Held::String(_) | Held::Hash(_) | Held::Set(_) | Held::Sketch(_) => Err(OpError::WrongType),
        }
    }

    fn sketch_mut(&mut self) -> Result<&mut Hll, OpError> {
        match self.held.get_or_insert_with(|| Held::Sketch(Hll::default())) {
            Held::Sketch(sketch) => Ok(sketch),
            Held::String(_) | Held::Hash(_) | Held::Set(_) | Held::Sorted(_) => Err(OpError::WrongType),
        }
    }

    fn hash(&self) -> Option<&BTreeMap<Bytes, Bytes>> {
        match self.held.as_ref()? {
            Held::Hash(fields) => Some(fields),
            Held::String(_) | Held::Set(_) | Held::Sorted(_) | Held::Sketch(_) => None,
        }
    }

    fn set(&self) -> Option<&BTreeSet<Bytes>> {
        match self.held.as_ref()? {
            Held::Set(members) => Some(members),
            Held::String(_) | Held::Hash(_) | Held::Sorted(_) | Held::Sketch(_) => None,
        }
    }

    fn sorted(&self) -> Option<&Sorted> {
        match self.held.as_ref()? {
            Held::Sorted(members) => Some(members),
            Held::String(_) | Held::Hash(_) | Held::Set(_) | Held::Sketch(_) => None,
        }
    }
}

impl From<Whole> for Value {
    /// Fields and members that stand there twice count once; scores that are no numbers are left out.
    fn from(whole: Whole) -> Self {
        let held = match whole.content {
            Content::String(string) => Held::String(string),
            Content::Hash(fields) => Held::Hash(fields.into_iter().collect()),
            Content::Set(members) => Held::Set(members.into_iter().collect()),
            Content::Sorted(members) => Held::Sorted(members.into_iter().collect()),
            Content::Sketch(sketch) => Held::Sketch(sketch),
        };
        let mut value = Self { held: Some(held), deadline_ms: whole.deadline_ms };
        value.forget_if_empty();
        value
    }
}

/// Nothing yet counts as 0; an empty string, which is no number, never gets here.
fn add_int(text: &mut Bytes, by: i64) -> Result<(), OpError> {
    let base: &[u8] = if text.is_empty() { b"0" } else { text };
    *text = number::add_int(base, by)?.to_string().into();
    Ok(())
}

fn add_float(text: &mut Bytes, by: f64) -> Result<(), OpError> {
    let base: &[u8] = if text.is_empty() { b"0" } else { text };
    *text = number::add_float(base, by)?;
    Ok(())
}

impl View for Value {
    fn kind(&self) -> Option<Kind> {
        self.held.as_ref().map(|held| match held {
            Held::String(_) => Kind::String,
            Held::Hash(_) => Kind::Hash,
            Held::Set(_) => Kind::Set,
            Held::Sorted(_) => Kind::Sorted,
            Held::Sketch(_) => Kind::Sketch,
        })
    }

    fn deadline_ms(&self) -> Option<i64> {
        self.deadline_ms
    }

    fn string(&self) -> Option<Bytes> {
        match self.held.as_ref()? {
            Held::String(string) => Some(string.clone()),
            Held::Hash(_) | Held::Set(_) | Held::Sorted(_) | Held::Sketch(_) => None,
        }
    }

    fn hash_len(&self) -> u64 {
        self.hash().map_or(0, |fields| fields.len() as u64)
    }

    fn hash_get(&self, field: &[u8]) -> Option<Bytes> {
        self.hash()?.get(field).cloned()
    }

    fn hash_iter(&self) -> impl Iterator<Item = (Bytes, Bytes)> + '_ {
        self.hash().into_iter().flatten().map(|(field, value)| (field.clone(), value.clone()))
    }

    fn set_len(&self) -> u64 {
        self.set().map_or(0, |members| members.len() as u64)
    }

    fn set_contains(&self, member: &[u8]) -> bool {
        self.set().is_some_and(|members| members.contains(member))
    }

    fn set_iter(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.set().into_iter().flatten().cloned()
    }

    fn sorted_len(&self) -> u64 {
        self.sorted().map_or(0, Sorted::len)
    }

    fn sorted_score(&self, member: &[u8]) -> Option<f64> {
        self.sorted()?.score(member)
    }

    fn sorted_rank(&self, member: &[u8]) -> Option<u64> {
        self.sorted()?.rank(member)
    }

    fn sorted_below(&self, cut: Cut<'_>) -> u64 {
        self.sorted().map_or(0, |members| members.below(cut))
    }

    fn sorted_slice(&self, ranks: Range<u64>, order: Order) -> impl Iterator<Item = (Bytes, f64)> + '_ {
        self.sorted().into_iter().flat_map(move |members| members.slice(ranks.clone(), order))
    }

    fn sketch(&self) -> Option<Cow<'_, Hll>> {
        match self.held.as_ref()? {
            Held::Sketch(sketch) => Some(Cow::Borrowed(sketch)),
            Held::String(_) | Held::Hash(_) | Held::Set(_) | Held::Sorted(_) => None,
        }
    }
}
