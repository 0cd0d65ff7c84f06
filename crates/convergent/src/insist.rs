//! What must be written although it is there already.
//!
//! SADD of a member that is there changes nothing in Redis. Here it may be removed at this moment on the other side of a partition,
//! by somebody who does not know that it was added again; the addition wins only if it is an event of its own (Bieniusa et
//! al., *An Optimized Conflict-free Replicated Set*, 2012, §3). So operations that mean "be there, whatever was" are written
//! always. Not so PFADD: a sketch counts about, and each of its writes carries all that this replica has added to it.

use std::collections::BTreeSet;

use althing_datatypes::op::{ScoreWrite, SetOp, SortedOp};
use althing_datatypes::{Edit, Op};
use bytes::Bytes;

/// What the operation insists on.
pub(crate) fn of(op: &Op) -> Vec<Edit> {
    match op {
        Op::Set(SetOp::Add(members)) => members.iter().cloned().map(Edit::SetAdd).collect(),
        Op::Sorted(SortedOp::Add { members, write, .. }) if *write == ScoreWrite::ALWAYS => {
            // The last score of a member counts.
            let last =
                members.iter().rev().map(|(score, member)| Edit::ScorePut { member: member.clone(), score: *score });
            last.collect()
        }
        Op::Set(_) | Op::Sorted(_) | Op::Key(_) | Op::String(_) | Op::Bits(_) | Op::Hash(_) | Op::Sketch(_) => {
            Vec::new()
        }
    }
}

/// Adds what is insisted on and not among the edits.
pub(crate) fn complete(edits: &mut Vec<Edit>, insisted: Vec<Edit>) {
    if insisted.len() == edits.len() {
        return;
    }
    let mut named: BTreeSet<Bytes> = edits.iter().filter_map(member).cloned().collect();
    edits.extend(insisted.into_iter().filter(|edit| member(edit).is_some_and(|member| named.insert(member.clone()))));
}

/// The member that is added or scored.
fn member(edit: &Edit) -> Option<&Bytes> {
    match edit {
        Edit::SetAdd(member) | Edit::ScorePut { member, .. } => Some(member),
        Edit::Delete
        | Edit::Deadline(_)
        | Edit::PutString(_)
        | Edit::AddInt(_)
        | Edit::AddFloat(_)
        | Edit::HashPut { .. }
        | Edit::HashRemove(_)
        | Edit::HashAddInt { .. }
        | Edit::HashAddFloat { .. }
        | Edit::SetRemove(_)
        | Edit::ScoreAdd { .. }
        | Edit::ScoreRemove(_)
        | Edit::SketchMerge(_) => None,
    }
}
