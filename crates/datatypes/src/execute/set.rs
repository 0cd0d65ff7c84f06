use std::collections::BTreeSet;

use bytes::Bytes;

use super::string::checked_len;
use super::{Key, Outcome, answer, bytes_or_nil, int, random, scan, yes_or_no};
use crate::op::SetOp;
use crate::{Edit, Items, Kind, Reply, View};

pub fn execute(op: SetOp, key: &Key<'_, impl View>) -> Outcome {
    let view = key.of(Kind::Set)?;
    let contains = |member: &Bytes| view.is_some_and(|view| view.set_contains(member));
    let len = || view.map_or(0, View::set_len);
    let members = || view.into_iter().flat_map(View::set_iter);
    match op {
        SetOp::Add(new) => {
            new.iter().try_for_each(|member| checked_len(member.len() as u64).map(|_| ()))?;
            let added: BTreeSet<Bytes> = new.into_iter().filter(|member| !contains(member)).collect();
            Ok((int(added.len() as u64), added.into_iter().map(Edit::SetAdd).collect()))
        }
        SetOp::Remove(old) => {
            let there: BTreeSet<Bytes> = old.into_iter().filter(contains).collect();
            Ok((int(there.len() as u64), removal(key, there.into_iter(), len())))
        }
        SetOp::Contains(member) => answer(yes_or_no(contains(&member))),
        SetOp::ContainsMany(asked) => {
            answer(Reply::Ints(asked.iter().map(|member| Some(i64::from(contains(member)))).collect()))
        }
        SetOp::Len => answer(int(len())),
        SetOp::Members => answer(Reply::Set(members().collect())),
        SetOp::Pop(None) => {
            let popped = random::one(key.rng(), len()).and_then(|place| members().nth(place));
            let edits = removal(key, popped.clone().into_iter(), len());
            Ok((bytes_or_nil(popped), edits))
        }
        SetOp::Pop(Some(count)) => {
            let popped = random::distinct(key.rng(), members(), count);
            let edits = removal(key, popped.iter().cloned(), len());
            Ok((Reply::Set(popped), edits))
        }
        SetOp::Random(None) => {
            answer(bytes_or_nil(random::one(key.rng(), len()).and_then(|place| members().nth(place))))
        }
        SetOp::Random(Some(count)) => answer(Reply::List(random::some(key.rng(), members(), count, Bytes::len)?)),
        SetOp::Scan(scan) => {
            let (cursor, found) = scan::step(&scan, len(), members(), |member| member);
            answer(Reply::Page { cursor, items: Items::List(found) })
        }
    }
}

fn removal(key: &Key<'_, impl View>, members: impl Iterator<Item = Bytes>, len: u64) -> Vec<Edit> {
    let mut edits: Vec<Edit> = members.map(Edit::SetRemove).collect();
    if !edits.is_empty() {
        edits.extend(key.after_removal(edits.len() as u64, len));
    }
    edits
}
