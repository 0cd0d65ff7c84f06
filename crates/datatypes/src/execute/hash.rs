use std::collections::BTreeSet;

use bytes::Bytes;

use super::string::checked_len;
use super::{Key, Outcome, answer, bytes_or_nil, int, random, scan, yes_or_no};
use crate::op::{HashOp, WithValues};
use crate::{Edit, Items, Kind, OpError, Reply, View, number};

pub fn execute(op: HashOp, key: &Key<'_, impl View>) -> Outcome {
    let view = key.of(Kind::Hash)?;
    let get = |field: &Bytes| view.and_then(|view| view.hash_get(field));
    let pairs = || view.into_iter().flat_map(View::hash_iter);
    match op {
        HashOp::Get(field) => answer(bytes_or_nil(get(&field))),
        HashOp::GetMany(fields) => answer(Reply::Array(fields.iter().map(get).collect())),
        HashOp::GetAll => answer(Reply::Pairs(pairs().collect())),
        HashOp::Fields => answer(Reply::List(pairs().map(|(field, _)| field).collect())),
        HashOp::Values => answer(Reply::List(pairs().map(|(_, value)| value).collect())),
        HashOp::Len => answer(int(view.map_or(0, View::hash_len))),
        HashOp::Contains(field) => answer(yes_or_no(get(&field).is_some())),
        HashOp::ValueLength(field) => answer(int(get(&field).map_or(0, |value| value.len() as u64))),
        HashOp::Set(new) => set(view, new),
        HashOp::SetIfAbsent { field, .. } if get(&field).is_some() => answer(Reply::Int(0)),
        HashOp::SetIfAbsent { field, value } => set(view, vec![(field, value)]),
        HashOp::Remove(fields) => Ok(remove(key, view, fields)),
        HashOp::Increment { field, by } => {
            let sum = number::add_int(get(&field).as_deref().unwrap_or(b"0"), by).map_err(of_field)?;
            Ok((Reply::Int(sum), vec![Edit::HashAddInt { field, by }]))
        }
        HashOp::IncrementFloat { .. } if !is_finite(&op) => Err(OpError::InfiniteSent),
        HashOp::IncrementFloat { field, by } => {
            let sum = number::add_float(get(&field).as_deref().unwrap_or(b"0"), by).map_err(of_field)?;
            Ok((Reply::Bytes(sum), vec![Edit::HashAddFloat { field, by }]))
        }
        HashOp::Random { count: None, .. } => {
            let len = view.map_or(0, View::hash_len);
            let chosen = random::one(key.rng(), len).and_then(|place| pairs().nth(place));
            answer(bytes_or_nil(chosen.map(|(field, _)| field)))
        }
        HashOp::Random { count: Some(count), with } => {
            let chosen = random::some(key.rng(), pairs(), count, |(field, value)| match with {
                WithValues::No => field.len(),
                WithValues::Yes => field.len() + value.len(),
            })?;
            answer(match with {
                WithValues::No => Reply::List(chosen.into_iter().map(|(field, _)| field).collect()),
                WithValues::Yes => Reply::Pairs(chosen),
            })
        }
        HashOp::Scan(scan) => {
            let (cursor, found) = scan::step(&scan, view.map_or(0, View::hash_len), pairs(), |(field, _)| field);
            answer(Reply::Page { cursor, items: Items::Pairs(found) })
        }
    }
}

fn is_finite(op: &HashOp) -> bool {
    matches!(op, HashOp::IncrementFloat { by, .. } if by.is_finite())
}

/// A field's numbers have errors of their own.
fn of_field(error: OpError) -> OpError {
    match error {
        OpError::NotAnInteger => OpError::FieldNotAnInteger,
        OpError::NotAFloat => OpError::FieldNotAFloat,
        other => other,
    }
}

fn set(view: Option<&impl View>, new: Vec<(Bytes, Bytes)>) -> Outcome {
    for (field, value) in &new {
        checked_len(field.len().max(value.len()) as u64)?;
    }
    let is_new = |field: &Bytes| view.is_none_or(|view| view.hash_get(field).is_none());
    let added: BTreeSet<&Bytes> = new.iter().map(|(field, _)| field).filter(|field| is_new(field)).collect();
    let reply = int(added.len() as u64);
    Ok((reply, new.into_iter().map(|(field, value)| Edit::HashPut { field, value }).collect()))
}

fn remove(key: &Key<'_, impl View>, view: Option<&impl View>, fields: Vec<Bytes>) -> (Reply, Vec<Edit>) {
    let Some(view) = view else { return (Reply::Int(0), Vec::new()) };
    let there: BTreeSet<Bytes> = fields.into_iter().filter(|field| view.hash_get(field).is_some()).collect();
    let count = there.len() as u64;
    let mut edits: Vec<Edit> = there.into_iter().map(Edit::HashRemove).collect();
    edits.extend(key.after_removal(count, view.hash_len()));
    (int(count), edits)
}
