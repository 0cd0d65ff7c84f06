//! Strings that are decided by rounds: each is linearizable, and what the replicas hold in the end is what was decided last.

use std::collections::{BTreeMap, BTreeSet};

use althing_convergent::evaluate;
use althing_datatypes::op::StringOp;
use althing_datatypes::{Op, Reply};
use bytes::Bytes;

use super::World;
use crate::checker::decided::{Action, Operation, Outcome, Said};
use crate::checker::linearizability::{Verdict, check};
use crate::checker::{Judgement, MAX_CONFIGURATIONS, MAX_UNDECIDED_PERCENT};
use crate::report::Check;
use crate::workload::decided::LOCKS;

impl World {
    /// Judges what clients saw, and what the replicas hold in the end, as if somebody had read it there. They are equal.
    pub(super) fn judge_decided(&self, judgement: &mut Judgement) {
        let mut operations = self.shared.history.decided.clone();
        let keys: BTreeSet<Bytes> = operations.iter().map(|operation| operation.key.clone()).collect();
        let mut held = self.held_in_the_end(judgement);
        let now = self.agenda.now();
        for key in &keys {
            let (node, said) = (self.nodes[0], Said::Held(held.remove(key)));
            let outcome = Outcome::Done { returned: now, said };
            operations.push(Operation { node, key: key.clone(), action: Action::Read, invoked: now, outcome });
        }
        if let Some(key) = held.keys().next() {
            judgement.broken.push((Check::Decided, format!("{key:?} is held, and nobody has written it")));
        }
        match check(&operations, MAX_CONFIGURATIONS) {
            Verdict::Linearizable => {}
            Verdict::Undecided { keys: undecided } => {
                judgement.undecided += undecided.len() as u64;
                if undecided.len() * 100 > keys.len() * MAX_UNDECIDED_PERCENT {
                    let finding = format!("the search was given up on {undecided:?} of {} strings", keys.len());
                    judgement.broken.push((Check::Undecided, finding));
                }
            }
            violated @ Verdict::Violated { .. } => judgement.broken.push((Check::Decided, format!("{violated:?}"))),
        }
    }

    /// What is held under each key, by the first replica of its shard.
    fn held_in_the_end(&self, judgement: &mut Judgement) -> BTreeMap<Bytes, Bytes> {
        let mut held = BTreeMap::new();
        for shard in self.shards_of(LOCKS) {
            let Some(node) = shard.status.voters.first() else { continue };
            let Ok(replica) = self.held_of(*node, shard.spec.group) else { continue };
            for (key, (_, state)) in replica.keys {
                let Ok(evaluated) = evaluate(&Op::String(StringOp::Get), &[state], 0, 0) else { continue };
                let siblings = evaluated.state.siblings().len();
                if siblings > 1 {
                    judgement.broken.push((Check::Decided, format!("{key:?} has {siblings} values at once")));
                }
                if let Ok(Reply::Bytes(value)) = evaluated.reply {
                    held.insert(key, value);
                }
            }
        }
        held
    }
}
