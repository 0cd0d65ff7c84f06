//! The hybrid logical clock: near to wall time, and never against causality.
//!
//! Kulkarni, Demirbas, Madappa, Avva, Leone, *Logical Physical Clocks and Consistent Snapshots in Globally Distributed
//! Databases*, 2014, figure 5 and §6.2 (the form in 64 bits).
//!
//! ```text
//!    63                                   16 15            0
//!   ┌────────────────────────────────────────┬──────────────┐
//!   │ physical: milliseconds since 1970      │ logical      │
//!   └────────────────────────────────────────┴──────────────┘
//! ```
//!
//! An event takes the wall's time if that is later than all that was seen, and otherwise counts on from the latest that was
//! seen. So timestamps only go up here, an effect stands above its cause, and the physical part is never above the
//! greatest wall time that anyone has read. (A count that runs over after 65,536 events in one millisecond carries into the
//! physical part, which then runs ahead of the wall until the wall has caught up.)
//!
//! One wall clock that is wrong by a year would drag all others with it: what is too far ahead is refused ([`Hlc::observe`]). What
//! was *stored* under such a timestamp is kept and joined all the same; only the clock does not follow.

use std::fmt;

use althing_codec::{DecodeError, Reader, Writer};
use althing_types::{Duration, WallTime};

use crate::coded::Coded;

/// Bits of the logical part.
const LOGICAL_BITS: u32 = 16;

/// The latest wall time that is believed, in milliseconds: the year 6429. As much again lies above it, so that counting on
/// from a wall clock gone mad cannot overflow.
const MAX_WALL_MS: u64 = (1 << 47) - 1;

/// No clock comes as far as this: above [`MAX_WALL_MS`] and any skew, and below what 48 bits hold.
const MAX_LAST_MS: u64 = MAX_WALL_MS / 2 * 3;

/// A longer skew is cut to this, a thousand years, which keeps sums far from an overflow.
const MAX_SKEW_MS: u64 = 31_557_600_000_000;

const _: () = assert!(MAX_WALL_MS + MAX_SKEW_MS < MAX_LAST_MS);

/// One event's time. Later events that could know of this one have greater ones. Equal ones of different nodes are told apart
/// by the writes' dots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Before all events.
    pub const ZERO: Self = Self(0);

    /// The timestamp of these parts; milliseconds above 2⁴⁸-1 become that.
    #[must_use]
    pub const fn new(physical_ms: u64, logical: u16) -> Self {
        let max = u64::MAX >> LOGICAL_BITS;
        let physical_ms = if physical_ms > max { max } else { physical_ms };
        Self(physical_ms << LOGICAL_BITS | logical as u64)
    }

    /// The timestamp of 64 bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// All of it, in 64 bits, which order as timestamps do.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn physical_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    /// The count within the millisecond.
    #[must_use]
    pub const fn logical(self) -> u16 {
        self.0 as u16
    }

    fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("no clock follows anything beyond MAX_WALL_MS and the skew"))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.physical_ms(), self.logical())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

/// Why a timestamp is not followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SkewError {
    /// It is further ahead of this node's wall clock than may be: one of the two is wrong. Join what was written under it, and
    /// raise an alarm; the clock here stays as it was.
    #[error("the timestamp {remote} is more than {max_skew:?} ahead of this node's wall clock, {wall_ms}")]
    TooFarAhead {
        /// The timestamp.
        remote: Timestamp,
        /// This node's wall clock, in milliseconds.
        wall_ms: u64,
        /// What is allowed.
        max_skew: Duration,
    },
}

/// The clock of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hlc {
    last: Timestamp,
    max_skew: Duration,
}

impl Hlc {
    /// A clock that follows nobody further than `max_skew` ahead of the wall clock. `last` is the last timestamp that this node
    /// has given out or followed before, as far as its store knows, and zero on a new one: with it the clock is monotone over
    /// restarts, even if the wall has been set back.
    #[must_use]
    pub fn new(max_skew: Duration, last: Timestamp) -> Self {
        assert!(last.physical_ms() < MAX_LAST_MS, "the store holds {last}, a time that no clock gave out");
        Self { last, max_skew }
    }

    /// The time of an event here. Greater than all before it.
    pub fn now(&mut self, wall: WallTime) -> Timestamp {
        self.last = at(wall).max(self.last.next());
        self.last
    }

    /// The time of the event that something with a timestamp has arrived: greater than that, and than all before it here.
    ///
    /// # Errors
    /// [`SkewError::TooFarAhead`]; the clock is as it was.
    pub fn observe(&mut self, remote: Timestamp, wall: WallTime) -> Result<Timestamp, SkewError> {
        let bound = at(wall).physical_ms() + skew_ms(self.max_skew);
        if remote.physical_ms() > bound {
            return Err(SkewError::TooFarAhead { remote, wall_ms: wall.0, max_skew: self.max_skew });
        }
        self.last = self.last.max(remote);
        Ok(self.now(wall))
    }

    /// The last timestamp given out or followed, to be kept and given to [`Hlc::new`] after a restart.
    #[must_use]
    pub const fn last(&self) -> Timestamp {
        self.last
    }

    /// How far the clock is ahead of the wall; zero if it is not.
    #[must_use]
    pub fn ahead(&self, wall: WallTime) -> Duration {
        Duration::from_millis(self.last.physical_ms().saturating_sub(wall.0))
    }
}

/// The first timestamp of a wall clock's millisecond.
fn at(wall: WallTime) -> Timestamp {
    Timestamp::new(wall.0.min(MAX_WALL_MS), 0)
}

fn skew_ms(skew: Duration) -> u64 {
    u64::try_from(skew.as_millis()).unwrap_or(u64::MAX).min(MAX_SKEW_MS)
}

impl Coded for Timestamp {
    const NAME: &'static str = "a timestamp";

    fn write(&self, writer: &mut Writer) {
        writer.fixed_u64(self.0);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.fixed_u64(Self::NAME).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SKEW: Duration = Duration::from_millis(500);

    fn clock() -> Hlc {
        Hlc::new(SKEW, Timestamp::ZERO)
    }

    /// The paper's example: four nodes, of which one has a wall clock that is ahead of all others.
    #[test]
    fn timestamps_go_through_four_nodes_as_in_the_paper() {
        let mut nodes = [clock(), clock(), clock(), clock()];
        let mut walls = [10_u64, 0, 0, 0];
        let mut trace = Vec::new();
        let first = nodes[0].now(WallTime(walls[0]));
        trace.push(format!("0: {first}"));
        let mut message = first;
        for to in [1, 2, 3, 1] {
            walls[to] += 1;
            message = nodes[to].observe(message, WallTime(walls[to])).unwrap();
            trace.push(format!("{to}: {message}"));
        }
        walls[1] = 13;
        trace.push(format!("1: {}", nodes[1].now(WallTime(walls[1]))));
        assert_eq!(trace, ["0: 10.0", "1: 10.1", "2: 10.2", "3: 10.3", "1: 10.4", "1: 13.0"]);
    }

    #[test]
    fn a_wall_that_is_set_back_does_not_take_the_clock_with_it() {
        let mut clock = clock();
        assert_eq!(clock.now(WallTime(5_000)), Timestamp::new(5_000, 0));
        assert_eq!(clock.now(WallTime(1_000)), Timestamp::new(5_000, 1));
        assert_eq!(clock.ahead(WallTime(1_000)), Duration::from_millis(4_000));
        let mut restarted = Hlc::new(SKEW, clock.last());
        assert_eq!(restarted.now(WallTime(900)), Timestamp::new(5_000, 2));
        assert_eq!(restarted.now(WallTime(5_001)), Timestamp::new(5_001, 0));
    }

    #[test]
    fn a_timestamp_from_an_hour_ahead_is_not_followed() {
        let mut clock = clock();
        clock.now(WallTime(1_000));
        let remote = Timestamp::new(1_000 + 3_600_000, 0);
        let refused = clock.observe(remote, WallTime(1_000));
        assert_eq!(refused, Err(SkewError::TooFarAhead { remote, wall_ms: 1_000, max_skew: SKEW }));
        assert_eq!(clock.last(), Timestamp::new(1_000, 0));
        assert_eq!(clock.observe(Timestamp::new(1_500, 7), WallTime(1_000)), Ok(Timestamp::new(1_500, 8)));
    }

    #[test]
    fn a_count_that_runs_over_carries_into_the_milliseconds() {
        let mut clock = Hlc::new(SKEW, Timestamp::new(7, u16::MAX));
        assert_eq!(clock.now(WallTime(7)), Timestamp::new(8, 0));
    }

    #[test]
    fn clocks_gone_mad_do_not_overflow() {
        let mut clock = Hlc::new(Duration::MAX, Timestamp::ZERO);
        let first = clock.now(WallTime(u64::MAX));
        assert!(clock.now(WallTime(u64::MAX)) > first);
        assert!(clock.observe(Timestamp::from_bits(u64::MAX), WallTime(u64::MAX)).is_err());
        let bound = Timestamp::new(MAX_WALL_MS + MAX_SKEW_MS, u16::MAX);
        assert!(clock.observe(bound, WallTime(u64::MAX)).is_ok());
        assert_eq!(Hlc::new(Duration::MAX, clock.last()), clock);
    }

    proptest! {
        /// Nodes with walls that drift, jump and are an hour apart send each other messages, and are restarted.
        #[test]
        fn it_is_monotone_causal_and_not_above_any_wall_that_was_read(
            skews in proptest::array::uniform3(prop_oneof![0_u64..600, Just(3_600_000_u64)]),
            steps in proptest::collection::vec((0_usize..3, 0_usize..3, 0_u64..40), 1..60),
        ) {
            let mut nodes = [clock(), clock(), clock()];
            let (mut time, mut greatest_wall) = (10_000_u64, 0);
            for (from, to, passed) in steps {
                time += passed;
                let wall = |node: usize| WallTime(time + skews[node]);
                greatest_wall = greatest_wall.max(wall(from).0).max(wall(to).0);
                let before = nodes[from].last();
                let sent = nodes[from].now(wall(from));
                prop_assert!(sent > before, "monotone");
                let before = nodes[to].last();
                match nodes[to].observe(sent, wall(to)) {
                    Ok(received) => prop_assert!(received > sent && received > before, "an effect is above its cause"),
                    Err(SkewError::TooFarAhead { .. }) => {
                        prop_assert!(sent.physical_ms() > wall(to).0 + 500);
                        prop_assert_eq!(nodes[to].last(), before);
                    }
                }
                prop_assert!(nodes.iter().all(|node| node.last().physical_ms() <= greatest_wall));
                prop_assert!(nodes[to].ahead(wall(to)) <= SKEW);
                if passed == 0 {
                    nodes[to] = Hlc::new(SKEW, nodes[to].last());
                }
            }
        }

        #[test]
        fn bits_order_as_times_do(a: u64, b: u64) {
            let (a, b) = (Timestamp::from_bits(a), Timestamp::from_bits(b));
            let parts = |time: Timestamp| (time.physical_ms(), time.logical());
            prop_assert_eq!(a.cmp(&b), parts(a).cmp(&parts(b)));
            prop_assert_eq!(Timestamp::new(a.physical_ms(), a.logical()), a);
            prop_assert_eq!(Timestamp::decode(a.encode()), Ok(a));
        }
    }
}
