//! The set of acceptors, and what a quorum of it is.

use crate::ballot::Peer;

/// Who accepts, in one epoch of the shard's map. A move goes from one set over both to the other, each in an epoch of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    epoch: u64,
    sets: Sets,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Sets {
    One(Vec<Peer>),
    Both { old: Vec<Peer>, new: Vec<Peer> },
}

/// Whether a move is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// No: one set.
    Stable,
    /// Yes: a quorum is one of the old set and one of the new.
    Moving,
}

impl Config {
    /// One set; not empty.
    #[must_use]
    pub fn stable(epoch: u64, peers: &[Peer]) -> Self {
        Self { epoch, sets: Sets::One(sorted(peers)) }
    }

    /// A move from one set to another; neither empty.
    #[must_use]
    pub fn moving(epoch: u64, old: &[Peer], new: &[Peer]) -> Self {
        Self { epoch, sets: Sets::Both { old: sorted(old), new: sorted(new) } }
    }

    /// Its epoch in the map.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether it is a move.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.sets {
            Sets::One(_) => Stage::Stable,
            Sets::Both { .. } => Stage::Moving,
        }
    }

    /// All acceptors, in order.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        match &self.sets {
            Sets::One(peers) => peers.clone(),
            Sets::Both { old, new } => sorted(&[old.as_slice(), new].concat()),
        }
    }

    /// Whether those for which `has` is true are a majority of each set.
    pub fn is_quorum(&self, has: impl Fn(Peer) -> bool) -> bool {
        let is_majority = |peers: &[Peer]| peers.iter().filter(|peer| has(**peer)).count() * 2 > peers.len();
        match &self.sets {
            Sets::One(peers) => is_majority(peers),
            Sets::Both { old, new } => is_majority(old) && is_majority(new),
        }
    }

    /// Whether among those for which `has` is true there is one of each majority of the set that a move begins with, or of the only one.
    pub fn meets_majorities_of_old(&self, has: impl Fn(Peer) -> bool) -> bool {
        let (Sets::One(peers) | Sets::Both { old: peers, .. }) = &self.sets;
        peers.iter().filter(|peer| has(**peer)).count() * 2 >= peers.len()
    }

    /// Whether `has` is true for all.
    pub fn is_all(&self, has: impl Fn(Peer) -> bool) -> bool {
        self.peers().into_iter().all(has)
    }
}

fn sorted(peers: &[Peer]) -> Vec<Peer> {
    assert!(!peers.is_empty(), "a shard has replicas");
    let mut peers = peers.to_vec();
    peers.sort_unstable();
    peers.dedup();
    peers
}

#[cfg(test)]
mod tests {
    use althing_types::NodeId;
    use proptest::prelude::*;

    use super::*;

    fn peer(node: u64) -> Peer {
        Peer { node: NodeId(node), generation: 1 }
    }

    fn set() -> impl Strategy<Value = Vec<Peer>> {
        proptest::collection::btree_set((1_u64..8).prop_map(peer), 1..7).prop_map(|set| set.into_iter().collect())
    }

    proptest! {
        #[test]
        fn two_quorums_of_a_move_meet_in_each_set_and_with_those_before_and_after(old in set(), new in set(), a: u8, b: u8) {
            let has = |bits: u8| move |peer: Peer| bits >> peer.node.get() & 1 == 1;
            let both = Config::moving(2, &old, &new);
            for set in [&old, &new] {
                let one = Config::stable(1, set);
                if both.is_quorum(has(a)) && (one.is_quorum(has(b)) || both.is_quorum(has(b))) {
                    prop_assert!(set.iter().any(|peer| has(a)(*peer) && has(b)(*peer)));
                }
            }
        }
    }

    #[test]
    fn half_is_no_majority_and_meets_each() {
        let config = Config::stable(1, &[peer(1), peer(2), peer(3), peer(4)]);
        assert!(!config.is_quorum(|peer| peer.node.get() <= 2));
        assert!(config.is_quorum(|peer| peer.node.get() <= 3));
        assert!(config.meets_majorities_of_old(|peer| peer.node.get() <= 2));
        assert!(!config.meets_majorities_of_old(|peer| peer.node.get() <= 1));
        let moving = Config::moving(1, &[peer(1), peer(2), peer(3)], &[peer(2), peer(3), peer(4)]);
        assert!(moving.meets_majorities_of_old(|peer| [1, 3].contains(&peer.node.get())));
        assert!(!moving.meets_majorities_of_old(|peer| [3, 4].contains(&peer.node.get())));
        assert_eq!(Config::moving(2, &[peer(1), peer(2)], &[peer(2), peer(3)]).peers(), [peer(1), peer(2), peer(3)]);
    }
}
