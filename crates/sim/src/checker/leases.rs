//! A lease never ends early.
//!
//! A call that starts a lease, or starts it anew, takes effect after it was sent. So the lease lives at least its time to
//! live from that moment on, by whatever clock counts it: a clock that is too fast by the permitted drift ends it so
//! much earlier. A read that shows no key was answered after the key went. If that is before the lease could have ended,
//! and nobody had asked for it to be revoked, it ended early.
//!
//! A clock that is put forward while its node leads cannot be told from time that passes: the leases that it counts may end
//! earlier by as much, and by no more. Clocks of nodes that do not lead count nothing, and one that is put back only makes
//! leases longer.
//!
//! Nothing here bounds how late a lease may end: while nobody leads, nobody counts.

use althing_types::{Duration, Instant};

use crate::history::{Lease, LeaseStep, LessorJump};

/// How much too fast a clock may be, in parts per million: above what any fault plan does.
const DRIFT_PPM: u32 = 2000;

/// Descriptions of all leases that ended early, given how clocks jumped that counted them.
#[must_use]
pub fn check(leases: &[Lease], jumps: &[LessorJump]) -> Vec<String> {
    leases.iter().filter_map(|lease| check_one(lease, jumps)).collect()
}

/// Whether a lease of so many seconds, (re)started by a call that was sent at `sent`, lives for certain at `now`.
#[must_use]
pub fn lives(ttl_seconds: i64, sent: Instant, now: Instant, jumps: &[LessorJump]) -> bool {
    let granted = Duration::from_secs(ttl_seconds.unsigned_abs());
    let least = granted - granted * DRIFT_PPM / 1_000_000;
    now.since(sent) + jumped(jumps, sent, now) < least
}

fn check_one(lease: &Lease, jumps: &[LessorJump]) -> Option<String> {
    let mut started = Vec::new();
    for step in &lease.steps {
        match step {
            LeaseStep::Alive { sent, .. } => started.push(*sent),
            LeaseStep::KeySeen { .. } => {}
            LeaseStep::Revoked { .. } => return None,
            LeaseStep::KeyGone { answered, .. } => {
                if started.iter().any(|sent| lives(lease.ttl_seconds, *sent, *answered, jumps)) {
                    return Some(format!("the key went before its time: {lease:?}, with jumps {jumps:?}"));
                }
            }
        }
    }
    None
}

/// How far clocks that counted leases went forward within this time.
fn jumped(jumps: &[LessorJump], from: Instant, to: Instant) -> Duration {
    jumps.iter().filter(|jump| from <= jump.at && jump.at <= to).map(|jump| jump.by).sum()
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
        assert_eq!(check(&[lease(vec![alive(0), gone(2000)])], &[]), Vec::<String>::new());
        assert_eq!(check(&[lease(vec![alive(0), alive(1500), gone(3500)])], &[]), Vec::<String>::new());
    }

    #[test]
    fn a_key_that_goes_before_its_time_is_noticed() {
        assert_eq!(check(&[lease(vec![alive(0), gone(1900)])], &[]).len(), 1);
    }

    #[test]
    fn a_lease_that_was_kept_alive_counts_from_then() {
        assert_eq!(check(&[lease(vec![alive(0), alive(1500), gone(2500)])], &[]).len(), 1);
    }

    #[test]
    fn a_lease_that_was_revoked_may_go_at_any_time() {
        let revoked = LeaseStep::Revoked { sent: at(20) };
        assert_eq!(check(&[lease(vec![alive(0), revoked, gone(40)])], &[]), Vec::<String>::new());
    }

    #[test]
    fn a_clock_that_was_put_forward_makes_a_lease_shorter_by_as_much_and_no_more() {
        let jump = |millis, by| LessorJump { at: at(millis), by: Duration::from_millis(by) };
        let ended = |jumps: &[LessorJump]| check(&[lease(vec![alive(1000), gone(2000)])], jumps).len();
        assert_eq!(ended(&[jump(1500, 1000)]), 0);
        assert_eq!(ended(&[jump(1500, 500), jump(1600, 500)]), 0);
        assert_eq!(ended(&[jump(1500, 900)]), 1, "it was not put forward far enough");
        assert_eq!(ended(&[jump(900, 5000)]), 1, "before the lease began");
        assert_eq!(ended(&[jump(2100, 5000)]), 1, "after it had ended");
    }

    #[test]
    fn a_lease_that_was_kept_alive_after_a_jump_lives_its_whole_time() {
        let jumps = [LessorJump { at: at(500), by: Duration::from_secs(100) }];
        assert_eq!(check(&[lease(vec![alive(0), alive(1000), gone(2500)])], &jumps).len(), 1);
        assert_eq!(check(&[lease(vec![alive(0), alive(1000), gone(3000)])], &jumps).len(), 0);
    }
}
