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
