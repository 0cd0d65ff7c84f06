//! Under which names a replica writes.
//!
//! No event's name may be given twice, and a replica that has crashed has forgotten what was not durable. There are two ways to keep the
//! first in spite of the second, and each kind of write has the one that suits it:
//!
//! | name | for | why no event of it is named twice |
//! |---|---|---|
//! | **lasting** | what goes on from what its actor did before: increments and sketches; and all that nobody waits for | it leaves the replica only once it is durable there, so nobody knows of an event that the replica has forgotten |
//! | **passing** | every other write of a client | the name is another one in each run of the node, so it does not matter what was forgotten |
//!
//! So a write under the passing name may leave while it is on its way into the log, and its coordinator's fsync and those of the others
//! are under way together. What such a write may leave behind after a crash is what every write leaves behind whose client was told
//! nothing: it is there, or it is not; and a gap in what is known, where an event has reached nobody.
//!
//! Increments cannot be done so. A counter has one run for each actor, which holds all that it has added, and which only it may drop. Under
//! a name for each run of the node, a counter that lives long would get a run for each of them, and whoever came after could never drop
//! any: an increment of it may be out there that he has forgotten. It is the same with the sketch that an actor has contributed.
//!
//! ```text
//!   lasting     run it was born in: 21 bits | 0 | number: 39 bits      a life of a replica; also the name of its space
//!   passing     run of the node: 21 bits                               in later runs
//!               run it was born in          | 1 | number               in the run in which the life began
//!   rounds      1 << 62 | lasting                                      `crate::rounds`
//!   lodged      1 << 61 | run of the node                              writes that a node takes without a replica
//! ```
//!
//! A node has one replica of a shard at a time. In one run that is the one that it began with, if any, which writes as the run; and those
//! that were born since, which write as their life. A life belongs to one run, so no two of them share a passing name.
//!
//! A name costs nothing before something is written under it.

use althing_clock::Actor;

/// Bits of a life's number below the run in which it began.
pub const LIFE_BITS: u32 = 40;
/// The greatest run of a node: some thousand starts a day for five years.
pub const MAX_RUN: u64 = (1 << 21) - 1;
/// Marks the passing name of a life in the run in which it began.
const BORN: u64 = 1 << (LIFE_BITS - 1);
/// Marks what is lodged.
const LODGED: u64 = 1 << 61;
/// Marks the actor under which a replica proposes.
const ROUNDS: u64 = 1 << 62;

/// The greatest life, with the mark of its first run.
const MAX_LIFE: u64 = MAX_RUN << LIFE_BITS | (BORN - 1) | BORN;

const _: () = assert!(MAX_RUN < 1 << LIFE_BITS, "runs are below all lives");
const _: () = assert!(MAX_LIFE < LODGED, "lives are below what is lodged");
const _: () = assert!(LODGED + MAX_RUN < ROUNDS, "what is lodged is below all rounds");
const _: () = assert!(ROUNDS + MAX_LIFE < 1 << 63, "and the highest bit is free");

/// The name for the `count`-th life that begins in a run, counted from 1; `None` if that is more than there are.
#[must_use]
pub const fn life(run: u64, count: u64) -> Option<u64> {
    if run <= MAX_RUN && count < BORN { Some(run << LIFE_BITS | count) } else { None }
}

/// The name under which the replica that has this lasting name writes what may leave at once, in this run of its node.
#[must_use]
pub const fn passing(lasting: Actor, run: u64) -> Actor {
    let life = lasting.generation;
    Actor { node: lasting.node, generation: if life >> LIFE_BITS == run { life | BORN } else { run } }
}

/// Whether this is the lasting name of a replica, or the passing one that it has in any run of its node.
#[must_use]
pub fn is_of(lasting: Actor, actor: Actor) -> bool {
    let (life, generation) = (lasting.generation, actor.generation);
    let is_later_run = life >> LIFE_BITS < generation && generation <= MAX_RUN;
    actor.node == lasting.node && (generation == life || generation == life | BORN || is_later_run)
}

/// Under which name a replica proposes values that may never be chosen.
#[must_use]
pub const fn of_rounds(lasting: Actor) -> Actor {
    Actor { node: lasting.node, generation: lasting.generation | ROUNDS }
}

/// Whether this is such a name.
#[must_use]
pub const fn is_of_rounds(actor: Actor) -> bool {
    actor.generation & ROUNDS != 0
}

/// Under which name a node takes writes in this run without a replica.
#[must_use]
pub const fn lodged(node: u64, run: u64) -> Actor {
    Actor::new(node, LODGED | run)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Every replica of a shard that one node has over some runs, and how it is called.
    #[test]
    fn no_name_is_used_twice() {
        let mut names: BTreeMap<Actor, (u64, u64)> = BTreeMap::new();
        for run in [1, 2, 3, MAX_RUN - 1, MAX_RUN] {
            for count in [1, 2, BORN - 1] {
                let lasting = Actor::new(7, life(run, count).unwrap());
                assert_eq!(names.insert(lasting, (run, count)), None);
                assert_eq!(names.insert(of_rounds(lasting), (run, count)), None);
                assert_eq!(names.insert(passing(lasting, run), (run, count)), None, "the run in which it is born");
            }
            assert_eq!(names.insert(lodged(7, run), (run, 0)), None);
            // Of those that were born before, one is left when the node starts.
            let left = Actor::new(7, life(1, 2).unwrap());
            if run > 1 {
                assert_eq!(names.insert(passing(left, run), (1, 2)), None);
            }
        }
        assert_eq!((life(MAX_RUN + 1, 1), life(1, BORN)), (None, None));
    }

    #[test]
    fn a_replica_knows_its_own_names_and_not_those_of_others() {
        let lasting = Actor::new(7, life(3, 2).unwrap());
        for run in 3..9 {
            assert!(is_of(lasting, passing(lasting, run)));
        }
        assert!(is_of(lasting, lasting));
        let before = Actor::new(7, life(1, 1).unwrap());
        let beside = Actor::new(7, life(3, 1).unwrap());
        let others = [
            before,
            passing(before, 1),
            passing(before, 2),
            // It was there at the start of the run, and went before the other was born.
            passing(before, 3),
            beside,
            passing(beside, 3),
            of_rounds(lasting),
            lodged(7, 5),
            passing(Actor::new(8, lasting.generation), 5),
        ];
        assert!(others.iter().all(|other| !is_of(lasting, *other)));
    }
}
