//! Dotted version vectors: the clock of one written value.
//!
//! Preguiça, Baquero, Almeida, Fonte, Gonçalves: *Dotted Version Vectors: Logical Clocks for Optimistic Replication*, 2010,
//! and *Efficient Causality Tracking in Distributed Storage Systems With Dotted Version Vectors*, 2012.
//!
//! When two clients have read the same value and both write through the same replica, their writes are concurrent, yet a
//! version vector with an entry for each replica must give the second one an entry that includes the first. The way out: the
//! write's own event, its *dot*, stands apart from the *past*, which is what the client had seen. `((r, 3), {r:1})` has seen
//! one event of `r`, is the third, and knows nothing of the second.
//!
//! Whether one value is older than another is then one look: its dot is in the other's past ([`DottedVersionVector::descends`]).
//! A replica's work is two functions: [`update`] makes the clock of a write, [`sync`] merges what two replicas hold.

use std::fmt;

use althing_codec::{DecodeError, Reader, Writer};

use crate::coded::Coded;
use crate::dot::{Actor, Dot};
use crate::vector::{Causality, VersionVector};

/// The clock of one written value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DottedVersionVector {
    /// The write's own event.
    pub dot: Dot,
    /// What the writer had seen. The dot is not in it.
    pub past: VersionVector,
}

impl DottedVersionVector {
    /// Whether the other is this value or one that its writer had seen.
    #[must_use]
    pub fn descends(&self, other: &Self) -> bool {
        self.dot == other.dot || self.past.contains(other.dot)
    }

    /// How the one value stands to the other.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Causality {
        Causality::of(self.descends(other), other.descends(self))
    }
}

/// What a reader of these values has seen, for its next write: the least vector that includes all of them (the papers'
/// `⌈S⌉`). A replica keeps a key's events of its own without holes, so the vector adds nothing of which the reader was not told.
#[must_use]
pub fn ceiling<'a>(clocks: impl IntoIterator<Item = &'a DottedVersionVector>) -> VersionVector {
    clocks.into_iter().fold(VersionVector::EMPTY, |mut ceiling, clock| {
        ceiling.join(&clock.past);
        ceiling.raise(clock.dot.actor, clock.dot.counter);
        ceiling
    })
}

/// The clock of a write whose writer has seen `context`, at the replica that writes as `actor` and holds `held`: its dot is the
/// actor's next, its past is what was seen.
#[must_use]
pub fn update(context: &VersionVector, held: &[DottedVersionVector], actor: Actor) -> DottedVersionVector {
    let known = ceiling(held).get(actor).max(context.get(actor));
    DottedVersionVector { dot: Dot::new(actor, known + 1), past: context.clone() }
}

/// What stays of `held` beside a write that has seen `context`: what its writer had not seen.
#[must_use]
pub fn discard(held: &[DottedVersionVector], context: &VersionVector) -> Vec<DottedVersionVector> {
    held.iter().filter(|clock| !context.contains(clock.dot)).cloned().collect()
}

/// What two replicas hold together: all values of both that no other one replaces, each once, ordered by dot.
#[must_use]
pub fn sync(left: &[DottedVersionVector], right: &[DottedVersionVector]) -> Vec<DottedVersionVector> {
    let replaced = |clock: &DottedVersionVector, by: &[DottedVersionVector]| {
        by.iter().any(|other| other.compare(clock) == Causality::After)
    };
    let kept = |mine: &[DottedVersionVector], others: &[DottedVersionVector]| {
        mine.iter().filter(|clock| !replaced(clock, others)).cloned().collect::<Vec<_>>()
    };
    let mut all = kept(left, right);
    all.append(&mut kept(right, left));
    all.sort_unstable();
    all.dedup();
    all
}

impl fmt::Display for DottedVersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.dot, self.past)
    }
}

impl Coded for DottedVersionVector {
    const NAME: &'static str = "a dotted version vector";

    fn write(&self, writer: &mut Writer) {
        self.dot.write(writer);
        self.past.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (dot, past) = (Dot::read(reader)?, VersionVector::read(reader)?);
        if past.contains(dot) {
            return Err(DecodeError::Unknown { field: "a past, which has its own dot", value: dot.counter });
        }
        Ok(Self { dot, past })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{A, B, C, actor, check_coded, dot, vector};
    use proptest::prelude::*;

    fn show(clocks: &[DottedVersionVector]) -> String {
        clocks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// A replica with a key: what it holds, and the two things that it does.
    #[derive(Clone)]
    struct Replica(Actor, Vec<DottedVersionVector>);

    impl Replica {
        fn read(&self) -> VersionVector {
            ceiling(&self.1)
        }

        fn write(&mut self, context: &VersionVector) {
            let clock = update(context, &self.1, self.0);
            self.1 = sync(&discard(&self.1, context), &[clock]);
        }

        fn take(&mut self, other: &Self) {
            self.1 = sync(&self.1, &other.1);
        }
    }

    /// The run of the papers' figures: two servers, clients that read and write in between, and two writes through one server that
    /// know nothing of each other, which version vectors by server cannot tell.
    #[test]
    fn writes_of_two_clients_through_one_server_are_siblings_until_one_has_seen_both() {
        let (mut a, mut b) = (Replica(A, Vec::new()), Replica(B, Vec::new()));
        let nothing = VersionVector::EMPTY;
        a.write(&nothing);
        assert_eq!(show(&a.1), "((a.1, 1), {})");
        let peter = a.read();
        a.write(&nothing);
        assert_eq!(show(&a.1), "((a.1, 1), {}) ((a.1, 2), {})", "Mary had seen nothing either");
        b.write(&nothing);
        assert_eq!(show(&b.1), "((b.1, 1), {})");
        a.write(&peter);
        assert_eq!(show(&a.1), "((a.1, 2), {}) ((a.1, 3), {a.1:1})", "Peter replaces his own, not Mary's");
        b.take(&a);
        assert_eq!(show(&b.1), "((a.1, 2), {}) ((a.1, 3), {a.1:1}) ((b.1, 1), {})");
        let all = b.read();
        assert_eq!(all.to_string(), "{a.1:3, b.1:1}");
        b.write(&all);
        assert_eq!(show(&b.1), "((b.1, 2), {a.1:3, b.1:1})");
        a.take(&b);
        assert_eq!(show(&a.1), "((b.1, 2), {a.1:3, b.1:1})");
    }

    #[test]
    fn one_look_at_the_dot_tells_the_order() {
        let clock = |dot: Dot, past: &[(Actor, u64)]| DottedVersionVector { dot, past: past.iter().copied().collect() };
        let first = clock(Dot::new(A, 2), &[(A, 1)]);
        let concurrent = clock(Dot::new(A, 3), &[(A, 1)]);
        let later = clock(Dot::new(C, 1), &[(A, 2)]);
        assert_eq!(first.compare(&concurrent), Causality::Concurrent);
        assert_eq!(first.compare(&later), Causality::Before);
        assert_eq!(later.compare(&first), Causality::After);
        assert_eq!(later.compare(&concurrent), Causality::Concurrent);
    }

    proptest! {
        /// Against causal histories, which are sets: each write's history is what its writer had read, and itself.
        #[test]
        fn what_is_held_is_what_causal_histories_say(
            steps in proptest::collection::vec((0_usize..3, 0_usize..3, 0_usize..6, any::<usize>()), 1..24),
        ) {
            use std::collections::{BTreeMap, BTreeSet};
            let mut replicas = [A, B, C].map(|actor| Replica(actor, Vec::new()));
            let mut histories: BTreeMap<Dot, BTreeSet<Dot>> = BTreeMap::new();
            let mut held = [const { BTreeSet::<Dot>::new() }; 3];
            let mut reads = vec![(VersionVector::EMPTY, BTreeSet::new())];
            for (at, other, what, choice) in steps {
                match what {
                    0 | 1 => {
                        let seen = held[at].iter().flat_map(|dot| histories[dot].clone()).collect();
                        reads.push((replicas[at].read(), seen));
                    }
                    2 => {
                        let source = replicas[other].clone();
                        replicas[at].take(&source);
                        let both = &held[at] | &held[other];
                        let old = |dot: &Dot| both.iter().any(|by| by != dot && histories[by].contains(dot));
                        held[at] = both.iter().copied().filter(|dot| !old(dot)).collect();
                    }
                    _ => {
                        // A client writes here what it has read anywhere, now or long ago, or nothing.
                        let (context, seen) = reads[choice % reads.len()].clone();
                        replicas[at].write(&context);
                        let dots: BTreeSet<Dot> = replicas[at].1.iter().map(|clock| clock.dot).collect();
                        let new = *dots.iter().find(|dot| !histories.contains_key(dot)).expect("a write is new");
                        held[at].retain(|dot| !seen.contains(dot));
                        held[at].insert(new);
                        histories.insert(new, seen.into_iter().chain([new]).collect());
                    }
                }
                let dots: BTreeSet<Dot> = replicas[at].1.iter().map(|clock| clock.dot).collect();
                prop_assert_eq!(&dots, &held[at]);
            }
        }

        #[test]
        fn bytes_come_back_as_they_were(dot in dot(), past in vector(), actor in actor(), place: usize, byte: u8) {
            let dot = if past.contains(dot) { Dot::new(actor, 20) } else { dot };
            check_coded(&DottedVersionVector { dot, past }, place, byte);
        }
    }
}
