//! Sleep: a group without traffic stops ticking.

/// What replicas say to each other about sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    /// From the leader, in place of a heartbeat: all is committed up to here, and I would like to sleep.
    Hibernate { term: u64, commit: u64 },
    /// From a follower that stands exactly there: I sleep.
    Hibernating { term: u64 },
    /// From a follower that was woken: wake up, and let us hear of you.
    Awaken { term: u64 },
}

impl Signal {
    pub(crate) const fn term(self) -> u64 {
        match self {
            Self::Hibernate { term, .. } | Self::Hibernating { term } | Self::Awaken { term } => term,
        }
    }
}
