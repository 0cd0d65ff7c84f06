//! Admission: whether a request is let in, decided before anything is done for it.
//!
//! The adaptive [`Limit`] says how many at once are worth having; a [`Bulkhead`] deals these places to kinds of work, so that
//! keep-alives still find one when clients ask for everything; a bound on bytes keeps few great requests from being as bad as
//! many small ones. A request that is not let in costs a comparison, and its caller hears so at once.
//!
//! There is no queue here: what waits, waits in flight, and [`Limit`] holds that wait near its target.

use althing_types::Instant;

use crate::bulkhead::{Bulkhead, Share, Work};
use crate::limit::{Limit, LimitConfig};

/// How places are dealt. What keeps leases and members alive is little and gets a tenth for itself; background work is
/// kept to a quarter, and has nothing for itself: when clients need all, it waits.
const SHARES: [Share; 3] = [
    Share { most_percent: 100, reserve_percent: 10 },
    Share { most_percent: 100, reserve_percent: 50 },
    Share { most_percent: 25, reserve_percent: 0 },
];

/// Why a request is not let in. Nothing was done for it: it may be sent again, later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// As many are in flight as are worth having.
    Limit,
    /// They hold as many bytes as may be held.
    Bytes,
}

impl Refused {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::Limit, Self::Bytes];

    /// A name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Bytes => "bytes",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Limit => 0,
            Self::Bytes => 1,
        }
    }
}

/// A request that was let in. It is given back exactly once: by [`Admission::answered`] or [`Admission::abandoned`].
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a place that is not given back is lost"]
pub struct Ticket {
    admitted: Instant,
    work: Work,
    bytes: usize,
    /// Requests in flight then, this one included.
    in_flight: usize,
}

impl Ticket {
    /// When it was let in, or was there.
    #[must_use]
    pub const fn admitted(&self) -> Instant {
        self.admitted
    }
}

/// Figures of an admission, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Requests let in so far.
    pub admitted: u64,
    /// Requests refused so far, in the order of [`Refused::ALL`].
    pub refused: [u64; 2],
    /// The limit now.
    pub limit: usize,
    /// Requests in flight now.
    pub in_flight: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The least delay of the last window, in nanoseconds.
    pub delay_nanos: u64,
    /// The least delay without a queue, in nanoseconds.
    pub base_nanos: u64,
}

/// The door of a server.
#[derive(Clone, Debug)]
pub struct Admission {
    limit: Limit,
    bulkhead: Bulkhead,
    bytes: usize,
    max_bytes: usize,
    admitted: u64,
    refused: [u64; 2],
}

impl Admission {
    /// An open door to requests of at most `max_bytes` together.
    #[must_use]
    pub fn new(config: LimitConfig, max_bytes: usize) -> Self {
        let limit = Limit::new(config);
        let bulkhead = Bulkhead::new(limit.get(), SHARES);
        Self { limit, bulkhead, bytes: 0, max_bytes, admitted: 0, refused: [0; 2] }
    }

    /// Lets a request in or says why not. One that is alone is let in however great it is.
    pub fn admit(&mut self, now: Instant, work: Work, bytes: usize) -> Result<Ticket, Refused> {
        if self.bytes.saturating_add(bytes) > self.max_bytes && self.bulkhead.used_by_all() > 0 {
            return Err(self.refuse(Refused::Bytes));
        }
        if !self.bulkhead.take(work) {
            return Err(self.refuse(Refused::Limit));
        }
        let in_flight = self.bulkhead.used_by_all();
        self.limit.admitted(in_flight);
        self.bytes += bytes;
        self.admitted += 1;
        Ok(Ticket { admitted: now, work, bytes, in_flight })
    }

    /// A request that was let in before it was read is there, and so great. Refused, it is given back. How long it takes counts from
    /// now: a place that is taken for long because its client is slow is no queue, and the limit grows by as many as there are.
    pub fn weigh(&mut self, now: Instant, mut ticket: Ticket, bytes: usize) -> Result<Ticket, Refused> {
        if self.bytes.saturating_add(bytes) > self.max_bytes && self.bulkhead.used_by_all() > 1 {
            self.abandoned(ticket);
            return Err(self.refuse(Refused::Bytes));
        }
        self.bytes += bytes;
        ticket.bytes += bytes;
        ticket.admitted = now;
        Ok(ticket)
    }

    /// A request was answered, and how long that took says something about the load.
    pub fn answered(&mut self, now: Instant, ticket: Ticket) {
        let (delay, in_flight, work) = (now.since(ticket.admitted), ticket.in_flight, ticket.work);
        self.abandoned(ticket);
        match work {
            Work::Consensus | Work::Clients => {
                self.limit.answered(now, delay, in_flight);
                self.bulkhead.resize(self.limit.get());
            }
            // It takes long by its nature.
            Work::Background => {}
        }
    }

    /// A request has ended in a way that says nothing about the load: it failed, or its caller has gone.
    pub fn abandoned(&mut self, ticket: Ticket) {
        let Ticket { work, bytes, admitted: _, in_flight: _ } = ticket;
        self.bulkhead.give_back(work);
        self.bytes -= bytes;
    }

    /// Its figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let nanos = |duration: althing_types::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Figures {
            admitted: self.admitted,
            refused: self.refused,
            limit: self.limit.get(),
            in_flight: self.bulkhead.used_by_all(),
            bytes: self.bytes,
            delay_nanos: nanos(self.limit.delay()),
            base_nanos: nanos(self.limit.base()),
        }
    }

    fn refuse(&mut self, reason: Refused) -> Refused {
        self.refused[reason.index()] += 1;
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_types::Duration;
    use proptest::prelude::*;

    fn admission(limit: usize, max_bytes: usize) -> Admission {
        Admission::new(LimitConfig { initial: limit, floor: 1, ..LimitConfig::default() }, max_bytes)
    }

    #[test]
    fn clients_leave_room_for_what_keeps_the_cluster_alive() {
        let mut admission = admission(100, 1_000);
        let let_in = |admission: &mut Admission, work| {
            (0..200).filter_map(|_| admission.admit(Instant::ZERO, work, 1).ok()).collect::<Vec<_>>()
        };
        let clients = let_in(&mut admission, Work::Clients);
        let keep_alives = let_in(&mut admission, Work::Consensus);
        let background = let_in(&mut admission, Work::Background);
        assert_eq!((clients.len(), keep_alives.len(), background.len()), (90, 10, 0));
    }

    #[test]
    fn a_great_request_is_let_in_alone() {
        let mut admission = admission(100, 1_000);
        let great = admission.admit(Instant::ZERO, Work::Clients, 5_000).unwrap();
        assert_eq!(admission.admit(Instant::ZERO, Work::Consensus, 1), Err(Refused::Bytes));
        admission.abandoned(great);
        assert!(admission.admit(Instant::ZERO, Work::Consensus, 1).is_ok());
        assert_eq!(admission.figures().refused, [0, 1]);
    }

    #[test]
    fn what_is_weighed_later_counts_as_much() {
        let mut admission = admission(100, 1_000);
        let mut let_in = || admission.admit(Instant::ZERO, Work::Clients, 0).unwrap();
        let (first, second) = (let_in(), let_in());
        let first = admission.weigh(Instant::ZERO, first, 900).unwrap();
        assert_eq!(admission.weigh(Instant::ZERO, second, 200), Err(Refused::Bytes));
        assert_eq!((admission.figures().bytes, admission.figures().in_flight), (900, 1));
        admission.abandoned(first);
        let alone = admission.admit(Instant::ZERO, Work::Clients, 0).unwrap();
        let alone = admission.weigh(Instant::ZERO, alone, 5_000).unwrap();
        admission.abandoned(alone);
        assert_eq!((admission.figures().bytes, admission.figures().in_flight), (0, 0));
    }

    proptest! {
        #[test]
        fn neither_places_nor_bytes_are_lost_or_exceeded(
            steps in prop::collection::vec((0_usize..3, 0_usize..300, 0_u8..4), 1..400),
        ) {
            let mut admission = admission(20, 1_000);
            let mut held: Vec<Ticket> = Vec::new();
            let mut now = Instant::ZERO;
            for (kind, bytes, what) in steps {
                now += Duration::from_millis(bytes as u64);
                match what {
                    0 | 1 => held.extend(admission.admit(now, Work::ALL[kind], bytes)),
                    2 if !held.is_empty() => {
                        let ticket = held.remove(bytes % held.len());
                        admission.answered(now, ticket);
                    }
                    _ => held.extend(admission.admit(now, Work::Clients, bytes)),
                }
                let figures = admission.figures();
                prop_assert_eq!(figures.in_flight, held.len());
                prop_assert_eq!(figures.bytes, held.iter().map(|ticket| ticket.bytes).sum::<usize>());
                prop_assert!(figures.bytes <= 1_000);
            }
            held.into_iter().for_each(|ticket| admission.abandoned(ticket));
            prop_assert_eq!((admission.figures().in_flight, admission.figures().bytes), (0, 0));
        }
    }
}
