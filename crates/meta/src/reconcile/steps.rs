//! From where a shard's replicas are to where they belong, one replica at a time.

use std::collections::BTreeSet;

use althing_types::NodeId;

use super::standing::{Members, Standing};

/// What the control plane should want next of a shard whose voters are `base` and belong to `target`: one newcomer and one
/// that goes, at the most. Fewer than a quorum of the voters go at once; the only voter goes once it is not the only one. A shard that
/// grows does that first: who goes may lead, and is then taken away after the newcomer has come, so that there would be one voter more for
/// a moment and then one less. One that is gone for good does not lead, and is replaced at once.
pub fn next(base: &BTreeSet<NodeId>, target: &BTreeSet<NodeId>, members: &Members) -> BTreeSet<NodeId> {
    if target.is_empty() {
        return base.clone();
    }
    let rank = |id: &&NodeId| match members.standing(**id) {
        Standing::Gone => (0, **id),
        Standing::Leaving => (1, **id),
        Standing::Active | Standing::Resting => (2, **id),
    };
    let goer = base.difference(target).min_by_key(rank).copied();
    let zone = |id: NodeId| members.get(id).map(|member| &member.place.zone);
    let is_elsewhere = |id: &&NodeId| goer.is_some_and(|goer| zone(goer) != zone(**id));
    let newcomer = target.difference(base).min_by_key(|id| (is_elsewhere(id), **id)).copied();
    let mut next = base.clone();
    next.extend(newcomer);
    let grows = base.len() < target.len() && goer.is_some_and(|goer| members.standing(goer) != Standing::Gone);
    if (base.len() > 1 && !grows) || newcomer.is_none() {
        goer.map(|goer| next.remove(&goer));
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn all(base: &[u64], target: &[u64]) -> Vec<BTreeSet<NodeId>> {
        let (mut state, target) = (ids(base), ids(target));
        let mut seen = Vec::new();
        while state != target {
            state = next(&state, &target, &Members::default());
            seen.push(state.clone());
        }
        seen
    }

    #[test]
    fn one_replica_moves_at_a_time() {
        assert_eq!(all(&[1, 2, 3], &[4, 5, 6]), [ids(&[2, 3, 4]), ids(&[3, 4, 5]), ids(&[4, 5, 6])]);
        assert_eq!(all(&[1, 2, 3, 4, 5], &[2, 3, 6]), [ids(&[2, 3, 4, 5, 6]), ids(&[2, 3, 5, 6]), ids(&[2, 3, 6])]);
        assert_eq!(all(&[1], &[2, 3, 4]), [ids(&[1, 2]), ids(&[2, 3]), ids(&[2, 3, 4])]);
    }

    #[test]
    fn a_shard_that_grows_gives_nothing_up_meanwhile() {
        let members = Members::of_active([1, 2, 3, 4].map(NodeId));
        assert_eq!(next(&ids(&[1, 2]), &ids(&[2, 3, 4]), &members), ids(&[1, 2, 3]));
        assert_eq!(next(&ids(&[1, 2, 3]), &ids(&[2, 3, 4]), &members), ids(&[2, 3, 4]));
        assert_eq!(next(&ids(&[1, 5]), &ids(&[1, 3, 4]), &members), ids(&[1, 3]), "5 is gone");
    }

    #[test]
    fn the_only_replica_stays_until_another_is_there() {
        assert_eq!(all(&[1], &[2]), [ids(&[1, 2]), ids(&[2])]);
    }

    #[test]
    fn nowhere_is_no_target() {
        assert_eq!(next(&ids(&[1, 2]), &ids(&[]), &Members::default()), ids(&[1, 2]));
    }
}
