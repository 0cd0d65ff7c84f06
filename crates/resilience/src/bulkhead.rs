//! Places per kind of work, so that one kind that leaks does not sink the ship.
//!
//! Each kind has a bound of its own and a reserve that nobody else may use. Nygard, *Release It!*, ch. 5. The shares are
//! given in percent of a total that may change at any time, because what is shared here is what an adaptive limit has
//! found ([`crate::limit`]).

/// Kinds of work, the most urgent first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Work {
    /// What the cluster lives on, and what keeps alive what clients have already: frames of peers, reports of the log;
    /// keep-alives, changes of members, alarms.
    Consensus,
    /// What clients ask for.
    Clients,
    /// What may take its time: snapshots, hashes, removal of old versions.
    Background,
}

impl Work {
    /// All kinds, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Consensus, Self::Clients, Self::Background];

    /// A name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Clients => "clients",
            Self::Background => "background",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Consensus => 0,
            Self::Clients => 1,
            Self::Background => 2,
        }
    }
}

/// What one kind may have, in percent of the total.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// It never has more.
    pub most_percent: u32,
    /// So much is always there for it.
    pub reserve_percent: u32,
}

/// Places for all kinds of work together. A place that was taken is given back by [`Bulkhead::give_back`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bulkhead {
    shares: [Share; 3],
    total: usize,
    used: [usize; 3],
}

impl Bulkhead {
    /// Empty, with shares in the order of [`Work::ALL`].
    ///
    /// # Panics
    /// If more than everything is reserved, or more for one kind than it may have.
    #[must_use]
    pub fn new(total: usize, shares: [Share; 3]) -> Self {
        let reserved: u32 = shares.iter().map(|share| share.reserve_percent).sum();
        let fits = |share: &Share| share.reserve_percent <= share.most_percent && share.most_percent <= 100;
        assert!(reserved <= 100 && shares.iter().all(fits), "reserves and bounds fit into the whole: {shares:?}");
        Self { shares, total, used: [0; 3] }
    }

    /// From now on there are so many places. Those that are taken stay taken; none is given until there is room again.
    pub const fn resize(&mut self, total: usize) {
        self.total = total;
    }

    /// Takes a place if there is one for this kind.
    #[must_use]
    pub fn take(&mut self, work: Work) -> bool {
        let is_free = self.has_place(work);
        if is_free {
            self.used[work.index()] += 1;
        }
        is_free
    }

    /// Gives a place back.
    ///
    /// # Panics
    /// If none was taken.
    pub fn give_back(&mut self, work: Work) {
        let used = &mut self.used[work.index()];
        *used = used.checked_sub(1).expect("a place that is given back was taken");
    }

    /// Places that this kind has taken.
    #[must_use]
    pub const fn used(&self, work: Work) -> usize {
        self.used[work.index()]
    }

    /// Places that are taken.
    #[must_use]
    pub fn used_by_all(&self) -> usize {
        self.used.iter().sum()
    }

    fn has_place(&self, work: Work) -> bool {
        let own = self.used(work);
        let others = Work::ALL.into_iter().filter(|other| *other != work);
        // What others have, and what is kept for them and not yet theirs.
        let theirs: usize = others.map(|other| self.used(other).max(self.reserve(other))).sum();
        own < self.most(work) && own + theirs < self.total
    }

    /// Rounded up, so that a kind which may have anything may have one.
    fn most(&self, work: Work) -> usize {
        percent(self.total, self.shares[work.index()].most_percent).div_ceil(100)
    }

    /// Rounded down, so that reserves never make up more than the total.
    fn reserve(&self, work: Work) -> usize {
        percent(self.total, self.shares[work.index()].reserve_percent) / 100
    }
}

const fn percent(total: usize, percent: u32) -> usize {
    total.saturating_mul(percent as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHARES: [Share; 3] = [
        Share { most_percent: 100, reserve_percent: 20 },
        Share { most_percent: 100, reserve_percent: 50 },
        Share { most_percent: 25, reserve_percent: 0 },
    ];

    #[test]
    fn each_kind_stops_where_the_reserves_of_the_others_begin() {
        for (work, most) in [(Work::Consensus, 50), (Work::Clients, 80), (Work::Background, 25)] {
            let mut bulkhead = Bulkhead::new(100, SHARES);
            let taken = (0..200).filter(|_| bulkhead.take(work)).count();
            assert_eq!(taken, most, "{work:?}");
        }
    }

    #[test]
    fn one_place_goes_to_whoever_comes_first() {
        for work in Work::ALL {
            let mut bulkhead = Bulkhead::new(1, SHARES);
            assert!(bulkhead.take(work), "{work:?}");
            assert!(!bulkhead.take(Work::Consensus));
        }
    }

    proptest! {
        #[test]
        fn bounds_hold_and_reserves_are_there(
            total in 0_usize..200,
            steps in prop::collection::vec((0_usize..3, any::<bool>()), 1..500),
        ) {
            let mut bulkhead = Bulkhead::new(total, SHARES);
            for (kind, takes) in steps {
                let work = Work::ALL[kind];
                if takes {
                    let below_reserve = bulkhead.used(work) < bulkhead.reserve(work);
                    let got = bulkhead.take(work);
                    prop_assert!(got || !below_reserve, "what is reserved is there");
                } else if bulkhead.used(work) > 0 {
                    bulkhead.give_back(work);
                }
                prop_assert!(bulkhead.used_by_all() <= total);
                prop_assert!(Work::ALL.into_iter().all(|work| bulkhead.used(work) <= bulkhead.most(work)));
            }
        }
    }
}
