//! A lease never ends early.
//!
//! A call that starts a lease, or starts it anew, takes effect after it was sent. So the lease lives at least its time to
//! live from that moment on, by whatever clock counts it: a clock that is too fast by the permitted drift ends it so
//! much earlier. A read that shows no key was answered after the key went. If that is before the lease could have ended,
//! and nobody had asked for it to be revoked, it ended early.
//!
//! Nothing here bounds how late a lease may end: while nobody leads, nobody counts.

use althing_types::{Duration, Instant};

use crate::history::{Lease, LeaseStep};

/// How much too fast a clock may be, in parts per million: above what any fault plan does.
const DRIFT_PPM: u32 = 2000;

/// Descriptions of all leases that ended early.
#[must_use]
pub fn check(leases: &[Lease]) -> Vec<String> {
    leases.iter().filter_map(check_one).collect()
}

/// How long a lease of so many seconds lives at least, in the world's time.
#[must_use]
pub fn least_life(ttl_seconds: i64) -> Duration {
    let granted = Duration::from_secs(ttl_seconds.unsigned_abs());
    granted - granted * DRIFT_PPM / 1_000_000
}

fn check_one(lease: &Lease) -> Option<String> {
    let least = least_life(lease.ttl_seconds);
    let mut alive_until = Instant::ZERO;
    for step in &lease.steps {
        match step {
            LeaseStep::Alive { sent, .. } => alive_until = alive_until.max(*sent + least),
            LeaseStep::KeySeen { .. } => {}
            LeaseStep::Revoked { .. } => return None,
            LeaseStep::KeyGone { answered, .. } if *answered < alive_until => {
                return Some(format!("the key went before {alive_until:?}: {lease:?}"));
            }
            LeaseStep::KeyGone { .. } => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::ClientId;
    use althing_types::LeaseId;
    use bytes::Bytes;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn lease(steps: Vec<LeaseStep>) -> Lease {
        Lease { client: ClientId(1), id: LeaseId(1), key: Bytes::from_static(b"l/1"), ttl_seconds: 2, steps }
    }

    fn alive(sent: u64) -> LeaseStep {
        LeaseStep::Alive { sent: at(sent), answered: at(sent + 10) }
    }

    fn gone(answered: u64) -> LeaseStep {
        LeaseStep::KeyGone { sent: at(answered - 5), answered: at(answered) }
    }

    #[test]
    fn a_key_that_goes_after_its_time_is_fine() {
        assert_eq!(check(&[lease(vec![alive(0), gone(2000)])]), Vec::<String>::new());
        assert_eq!(check(&[lease(vec![alive(0), alive(1500), gone(3500)])]), Vec::<String>::new());
    }

    #[test]
    fn a_key_that_goes_before_its_time_is_noticed() {
        assert_eq!(check(&[lease(vec![alive(0), gone(1900)])]).len(), 1);
    }

    #[test]
    fn a_lease_that_was_kept_alive_counts_from_then() {
        assert_eq!(check(&[lease(vec![alive(0), alive(1500), gone(2500)])]).len(), 1);
    }

    #[test]
    fn a_lease_that_was_revoked_may_go_at_any_time() {
        let revoked = LeaseStep::Revoked { sent: at(20) };
        assert_eq!(check(&[lease(vec![alive(0), revoked, gone(40)])]), Vec::<String>::new());
    }
}
