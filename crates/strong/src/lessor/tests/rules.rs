//! One rule, one trace.

use althing_types::limits::MAX_LEASE_TTL_SECONDS;
use althing_types::{Duration, Instant, LeaseId, RequestId};

use super::super::{
    Effects, Input, LeaseRecord, Lessor, LessorConfig, RenewError, Renewed, minimum_ttl_seconds, ttl_to_grant,
};

const A: LeaseId = LeaseId(10);

struct Leader {
    lessor: Lessor,
    now: Instant,
    out: Effects,
}

impl Leader {
    fn new(leases: &[LeaseRecord]) -> Self {
        Self::with(LessorConfig::default(), leases)
    }

    fn with(config: LessorConfig, leases: &[LeaseRecord]) -> Self {
        let mut leader = Self { lessor: Lessor::new(config), now: Instant::from_nanos(1), out: Effects::default() };
        leader.input(Input::BecameLeader(leases));
        leader
    }

    fn input(&mut self, input: Input<'_>) {
        self.lessor.handle(self.now, input, &mut self.out);
    }

    fn granted(&mut self, id: LeaseId, ttl_seconds: i64) {
        self.input(Input::Granted { id, ttl_seconds });
    }

    /// Lets time pass and returns what is proposed for revocation.
    fn pass(&mut self, millis: u64) -> Vec<LeaseId> {
        self.now += Duration::from_millis(millis);
        self.input(Input::Tick);
        std::mem::take(&mut self.out.revoke)
    }

    fn checkpoints(&mut self) -> Vec<(LeaseId, i64)> {
        std::mem::take(&mut self.out.checkpoint)
    }

    fn renew(&mut self, request: u64) -> Vec<Renewed> {
        self.lessor.renew(self.now, A, RequestId(request), &mut self.out);
        self.answers()
    }

    fn answers(&mut self) -> Vec<Renewed> {
        std::mem::take(&mut self.out.renewed)
    }
}

fn renewed(request: u64, result: Result<i64, RenewError>) -> Vec<Renewed> {
    vec![Renewed { request: RequestId(request), result }]
}

#[test]
fn a_lease_that_nobody_renews_is_revoked_after_its_time_and_not_before() {
    let mut leader = Leader::new(&[]);
    leader.granted(A, 5);
    assert_eq!(leader.lessor.remaining(leader.now, A), Some(Duration::from_secs(5)));
    assert_eq!(leader.lessor.next_deadline(), Some(leader.now + Duration::from_secs(5)));
    assert!(leader.pass(4999).is_empty());
    assert_eq!(leader.pass(1), [A]);
    leader.input(Input::Revoked(A));
    assert_eq!((leader.lessor.remaining(leader.now, A), leader.lessor.next_deadline()), (None, None));
}

#[test]
fn a_renewal_gives_the_full_time_again() {
    let mut leader = Leader::new(&[]);
    leader.granted(A, 5);
    assert!(leader.pass(4000).is_empty());
    assert_eq!(leader.renew(1), renewed(1, Ok(5)));
    assert!(leader.pass(4999).is_empty());
    assert_eq!(leader.pass(1), [A]);
}

#[test]
fn once_its_revocation_is_proposed_a_lease_is_not_found() {
    let mut leader = Leader::new(&[]);
    leader.granted(A, 5);
    assert_eq!(leader.pass(5000), [A]);
    assert_eq!(leader.renew(1), renewed(1, Err(RenewError::NotFound)));
    assert!(leader.pass(3000).is_empty(), "proposed once");
    assert_eq!(leader.renew(2), renewed(2, Err(RenewError::NotFound)));
    leader.input(Input::Revoked(A));
    assert!(leader.pass(3000).is_empty());
    assert_eq!(leader.renew(3), renewed(3, Err(RenewError::NotFound)));
}

#[test]
fn a_refused_revocation_is_proposed_again_after_a_while_unless_the_lease_is_renewed() {
    let mut leader = Leader::new(&[]);
    leader.granted(A, 5);
    assert_eq!(leader.pass(5000), [A]);
    leader.input(Input::RevokeRefused(A));
    assert!(leader.pass(499).is_empty());
    assert_eq!(leader.pass(1), [A]);
    leader.input(Input::RevokeRefused(A));
    assert_eq!(leader.renew(1), renewed(1, Ok(5)));
    assert!(leader.pass(4999).is_empty());
    assert_eq!(leader.pass(1), [A]);
}

#[test]
fn only_the_leader_counts_and_renews() {
    let mut leader = Leader::new(&[]);
    leader.granted(A, 5);
    leader.input(Input::LostLeadership);
    assert!(!leader.lessor.is_leading());
    assert!(leader.pass(60_000).is_empty());
    assert_eq!(leader.renew(1), renewed(1, Err(RenewError::NotLeader)));
    assert_eq!(leader.lessor.remaining(leader.now, A), None);
}

#[test]
fn a_new_leader_restarts_each_lease_at_its_checkpoint_and_adds_the_grace() {
    let records = [
        LeaseRecord { id: A, ttl_seconds: 1000, remaining_seconds: 100 },
        LeaseRecord { id: LeaseId(11), ttl_seconds: 60, remaining_seconds: 60 },
    ];
    let mut leader = Leader::new(&records);
    assert!(leader.pass(60_999).is_empty());
    assert_eq!(leader.pass(1), [LeaseId(11)]);
    leader.input(Input::Revoked(LeaseId(11)));
    assert!(leader.pass(39_999).is_empty());
    assert_eq!(leader.pass(1), [A]);
}

#[test]
fn the_remainder_of_a_long_lease_is_written_from_time_to_time() {
    let mut leader = Leader::new(&[]);
    leader.granted(A, 1000);
    leader.granted(LeaseId(11), 300);
    let mut written = Vec::new();
    for _ in 0..990 {
        assert!(leader.pass(1000).iter().all(|id| *id != A));
        written.extend(leader.checkpoints());
    }
    assert_eq!(written, [(A, 700), (A, 400), (A, 100)]);
}

#[test]
fn a_lease_that_is_renewed_often_is_never_written() {
    let mut leader = Leader::new(&[]);
    leader.granted(A, 1000);
    for _ in 0..100 {
        assert!(leader.pass(299_000).is_empty());
        assert_eq!(leader.renew(1), renewed(1, Ok(1000)));
    }
    assert!(leader.checkpoints().is_empty());
}

#[test]
fn a_renewal_after_a_checkpoint_waits_until_the_log_gives_the_full_time_back() {
    let mut leader = Leader::new(&[]);
    leader.granted(A, 1000);
    leader.pass(300_000);
    assert_eq!(leader.checkpoints(), [(A, 700)]);
    assert!(leader.renew(1).is_empty());
    assert!(leader.renew(2).is_empty());
    assert_eq!(leader.checkpoints(), [(A, 1000)]);
    leader.input(Input::Checkpointed { id: A, remaining_seconds: 700 });
    assert!(leader.answers().is_empty());
    leader.input(Input::CheckpointRefused(A));
    leader.pass(500);
    assert_eq!(leader.checkpoints(), [(A, 1000)], "a refused proposal is made again");
    leader.input(Input::Checkpointed { id: A, remaining_seconds: 1000 });
    assert_eq!(leader.answers(), [renewed(1, Ok(1000)), renewed(2, Ok(1000))].concat());
    assert_eq!(leader.lessor.remaining(leader.now, A), Some(Duration::from_secs(1000)));
    assert_eq!(leader.renew(3), renewed(3, Ok(1000)));
    assert!(leader.checkpoints().is_empty());
}

#[test]
fn whoever_waits_for_a_renewal_is_told_when_the_lease_or_the_leadership_goes() {
    for (input, error) in [(Input::Revoked(A), RenewError::NotFound), (Input::LostLeadership, RenewError::NotLeader)] {
        let mut leader = Leader::new(&[LeaseRecord { id: A, ttl_seconds: 100, remaining_seconds: 10 }]);
        assert!(leader.renew(1).is_empty());
        leader.input(input);
        assert_eq!(leader.answers(), renewed(1, Err(error)));
    }
}

#[test]
fn many_that_expire_together_are_revoked_at_a_bounded_rate_longest_first() {
    let config = LessorConfig { revokes_per_second: 100, max_revokes_in_flight: 60, ..LessorConfig::default() };
    let mut leader = Leader::with(config, &[]);
    for id in 0..200 {
        leader.granted(LeaseId(1000 - id), 5);
    }
    leader.granted(A, 4);
    let first = leader.pass(5000);
    assert_eq!((first.len(), first[0]), (50, A), "what half a second has saved up");
    assert_eq!(leader.pass(1000).len(), 10, "60 are under way");
    for id in first {
        leader.input(Input::Revoked(id));
    }
    assert_eq!(leader.pass(0).len(), 40, "what is left of the half second");
}

#[test]
fn a_lease_granted_again_under_the_same_id_starts_afresh() {
    let mut leader = Leader::new(&[]);
    leader.granted(A, 5);
    assert_eq!(leader.pass(5000), [A]);
    leader.input(Input::Revoked(A));
    leader.granted(A, 7);
    assert!(leader.pass(6999).is_empty());
    assert_eq!(leader.pass(1), [A]);
}

#[test]
fn a_grant_that_the_new_leader_knows_already_does_not_forget_who_waits() {
    let mut leader = Leader::new(&[LeaseRecord { id: A, ttl_seconds: 100, remaining_seconds: 10 }]);
    assert!(leader.renew(1).is_empty());
    leader.granted(A, 100);
    leader.input(Input::Checkpointed { id: A, remaining_seconds: 100 });
    assert_eq!(leader.answers(), renewed(1, Ok(100)));
    leader.pass(99_999);
    assert_eq!(leader.pass(1), [A]);
}

#[test]
fn the_time_to_live_is_raised_to_what_survives_an_election_and_refused_when_absurd() {
    assert_eq!(minimum_ttl_seconds(Duration::from_millis(300)), 1);
    assert_eq!(minimum_ttl_seconds(Duration::from_secs(1)), 2);
    assert_eq!(ttl_to_grant(0, 2), Some(2));
    assert_eq!(ttl_to_grant(60, 2), Some(60));
    assert_eq!(ttl_to_grant(MAX_LEASE_TTL_SECONDS, 2), Some(MAX_LEASE_TTL_SECONDS));
    assert_eq!(ttl_to_grant(MAX_LEASE_TTL_SECONDS + 1, 2), None);
}
