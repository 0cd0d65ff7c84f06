//! Randomness: one seeded stream per concern, so that a change in how the network draws does not change what the
//! clients do, and a run can be compared with its neighbour.

use althing_types::Duration;
use fastrand::Rng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The streams of one run. Every one of them follows from the seed alone.
#[derive(Debug)]
pub struct Streams {
    /// Delays, drops, duplicates and the order of frames.
    pub network: Rng,
    /// How long writes and syncs take, which fail, and what a crash leaves of a sector.
    pub disk: Rng,
    /// Offsets and drifts of the nodes' clocks.
    pub clocks: Rng,
    /// What clients ask, of whom, and when.
    pub workload: Rng,
    /// When faults begin and end, and whom they hit.
    pub faults: Rng,
    /// Who is meant by the scenes of a scenario.
    pub scenes: Rng,
    /// The seeds that the nodes themselves are given.
    pub nodes: Rng,
    /// When nodes start at first, and how long a supervisor waits before it starts one again.
    pub supervisor: Rng,
    /// Whether a fault hits a node at a moment that matters, and how soon.
    pub triggers: Rng,
    /// The numbers by which data directories and their starts are known.
    pub directories: Rng,
    /// Lies about who is up and who is down.
    pub lies: Rng,
}

impl Streams {
    /// The streams of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let stream = |name: &str| stream(seed, name);
        Self {
            network: stream("network"),
            disk: stream("disk"),
            clocks: stream("clocks"),
            workload: stream("workload"),
            faults: stream("faults"),
            scenes: stream("scenes"),
            nodes: stream("nodes"),
            supervisor: stream("supervisor"),
            triggers: stream("triggers"),
            directories: stream("directories"),
            lies: stream("lies"),
        }
    }
}

/// The stream of one name under a seed.
#[must_use]
pub fn stream(seed: u64, name: &str) -> Rng {
    Rng::with_seed(xxh3_64_with_seed(name.as_bytes(), seed))
}

/// A probability in parts per million. Integers, so that a run does not depend on how a machine rounds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Chance(pub u32);

impl Chance {
    /// It never happens.
    pub const NEVER: Self = Self(0);

    /// So many in a hundred.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(percent * 10_000)
    }

    /// Whether it happens this time. Draws exactly once, also where the answer is known, so that two plans that differ
    /// in one rate still draw alike.
    pub fn happens(self, rng: &mut Rng) -> bool {
        rng.u32(0..1_000_000) < self.0
    }
}

/// How long something takes: at least `least`, usually up to `spread` more, and at times up to `spike` more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Latency {
    /// Never less than this.
    pub least: Duration,
    /// Evenly up to this much more.
    pub spread: Duration,
    /// How often it is a spike instead.
    pub spike_chance: Chance,
    /// Evenly up to this much more in a spike.
    pub spike: Duration,
}

impl Latency {
    /// Between `least` and `least + spread`, without spikes.
    #[must_use]
    pub const fn even(least: Duration, spread: Duration) -> Self {
        Self { least, spread, spike_chance: Chance::NEVER, spike: Duration::ZERO }
    }

    /// One draw.
    pub fn draw(&self, rng: &mut Rng) -> Duration {
        let extra = if self.spike_chance.happens(rng) { self.spike } else { self.spread };
        self.least + up_to(extra, rng)
    }
}

/// Evenly between nothing and `limit`.
pub fn up_to(limit: Duration, rng: &mut Rng) -> Duration {
    Duration::from_nanos(rng.u64(0..=nanos(limit)))
}

/// Evenly between the two, the second included.
pub fn between(least: Duration, most: Duration, rng: &mut Rng) -> Duration {
    least + up_to(most.saturating_sub(least), rng)
}

/// A duration in nanoseconds. What does not fit (584 years) is cut.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_from_each_other_and_agree_with_themselves() {
        let (mut one, mut two) = (Streams::new(7), Streams::new(7));
        let first = one.network.u64(..);
        assert_eq!(first, two.network.u64(..));
        assert_ne!(first, one.disk.u64(..));
        assert_ne!(first, Streams::new(8).network.u64(..));
    }

    #[test]
    fn a_chance_happens_about_as_often_as_it_says() {
        let mut rng = stream(1, "test");
        let hits = (0..10_000).filter(|_| Chance::percent(25).happens(&mut rng)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert!(!(0..1000).any(|_| Chance::NEVER.happens(&mut rng)));
        assert!((0..1000).all(|_| Chance::percent(100).happens(&mut rng)));
    }

    #[test]
    fn a_latency_stays_within_its_bounds() {
        let latency = Latency {
            least: Duration::from_millis(1),
            spread: Duration::from_millis(2),
            spike_chance: Chance::percent(10),
            spike: Duration::from_millis(50),
        };
        let mut rng = stream(1, "test");
        let draws: Vec<Duration> = (0..1000).map(|_| latency.draw(&mut rng)).collect();
        assert!(draws.iter().all(|d| *d >= latency.least && *d <= Duration::from_millis(51)));
        assert!(draws.iter().any(|d| *d > Duration::from_millis(3)));
    }
}
