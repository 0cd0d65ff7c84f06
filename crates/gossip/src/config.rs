//! What a node is told, and what follows from the size of its cluster.

use std::num::{NonZeroU8, NonZeroUsize};

use althing_types::Duration;

use crate::identity::Identity;
use crate::piggyback::MAX_SWIM_BYTES;
use crate::seal::Seal;

/// Nodes of one cluster that the membership holds, the dead included. More are a mistake or an enemy.
pub const MAX_MEMBERS: usize = 4096;

/// The times of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// The protocol period: how often another member is probed.
    pub probe_period: Duration,
    /// How long a direct probe may take before others are asked to probe; below the period.
    pub probe_rtt: Duration,
    /// How often news is sent to a few members, while there is some.
    pub gossip_interval: Duration,
    /// How often everything is exchanged with another member, about.
    pub push_pull_interval: Duration,
    /// The least time in which a suspected node may refute it. Small clusters need it: with five nodes and the time that
    /// follows from their number alone, three healthy nodes were declared down in ten hours at 5 % loss. Five periods, after the two
    /// to five until everybody suspects, declare a crash within ten.
    pub min_suspicion: Duration,
    /// How long a suspected node may refute it, times the decimal logarithm of the cluster's size: news needs longer to go round in a
    /// larger cluster.
    pub suspicion_scale: Duration,
    /// After which time a node that is down is forgotten.
    pub forget_down_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_secs(1),
            probe_rtt: Duration::from_millis(500),
            gossip_interval: Duration::from_millis(200),
            push_pull_interval: Duration::from_secs(30),
            min_suspicion: Duration::from_secs(5),
            suspicion_scale: Duration::from_millis(2_500),
            forget_down_after: Duration::from_secs(24 * 3600),
        }
    }
}

/// What a node is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is: its id, how often its data directory was started, and where it is reached. `renewal` is zero.
    pub identity: Identity,
    /// What closes and opens the cluster's datagrams.
    pub seal: Seal,
    /// The seed of all that is drawn.
    pub seed: u64,
    /// The times of the protocol.
    pub timing: Timing,
}

/// Members that a probe is relayed by, and that news is sent to at a time.
const FANOUT: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");
/// How often a piece of news is sent by each node, times the decimal logarithm of the cluster's size. With `k` sendings a
/// share of e^-k of the nodes does not hear it and has to wait for a push/pull: at a factor of 4 and 100 nodes one piece of
/// news in 80 had such a node, at 6 it is one in 5,000.
const TRANSMISSIONS_FACTOR: f64 = 6.0;

/// The least number of sendings. What kills a healthy node in a small cluster is that it does not hear that it is suspected, or
/// is not heard: at 5 % loss, 20 nodes with 8 sendings wrongly declared two down in 120 hours, however long the suspicion;
/// with 12 none, and with a shorter one.
const MIN_TRANSMISSIONS: f64 = 12.0;

/// What follows from the number of active members, this node included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scale {
    /// How often one piece of news is sent.
    pub transmissions: NonZeroU8,
    /// How long a suspected node may refute it.
    pub suspicion: Duration,
}

impl Scale {
    pub fn of(members: usize, timing: &Timing) -> Self {
        let logarithm = ((members + 1) as f64).log10();
        let transmissions = (TRANSMISSIONS_FACTOR * logarithm).ceil().clamp(MIN_TRANSMISSIONS, 100.0) as u8;
        let suspicion = timing.suspicion_scale.mul_f64(logarithm).max(timing.min_suspicion);
        Self { transmissions: NonZeroU8::new(transmissions).unwrap_or(NonZeroU8::MIN), suspicion }
    }
}

/// The configuration of `foca`. Its extensions are off: push/pull does what they are for, and telling the dead of their
/// death (`notify_down_members`) in version 2.0.0 hits nodes that had refuted the suspicion.
pub(crate) fn swim(timing: &Timing, scale: Scale) -> foca::Config {
    foca::Config {
        probe_period: timing.probe_period,
        probe_rtt: timing.probe_rtt,
        num_indirect_probes: FANOUT,
        max_transmissions: scale.transmissions,
        suspect_to_down_after: scale.suspicion,
        remove_down_after: Some(timing.forget_down_after),
        max_packet_size: NonZeroUsize::new(MAX_SWIM_BYTES).expect("a constant above zero"),
        notify_down_members: false,
        periodic_announce: None,
        periodic_announce_to_down_members: None,
        periodic_gossip: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_has_a_floor_and_grows_with_the_logarithm() {
        let timing = Timing::default();
        let suspicion = |members| Scale::of(members, &timing).suspicion.as_secs();
        assert_eq!((suspicion(1), suspicion(5), suspicion(100), suspicion(1_000)), (5, 5, 5, 7));
        let transmissions = |members| Scale::of(members, &timing).transmissions.get();
        assert_eq!((transmissions(1), transmissions(5), transmissions(100), transmissions(1_000)), (12, 12, 13, 19));
    }
}
