//! The door to the driver: which requests are let in.
//!
//! A request takes one of three ways through a node, and each has queues of its own, so each has an adaptive limit of its
//! own: writes that stand before a slow disk are no reason to refuse a read that is answered from memory. The delay that
//! a limit sees is all of it, from the call to the answer: the wait for a turn, the log, the quorum, the applier.
//!
//! A write may be great, and to read what is refused then costs more than to do what is not. So it is let in when it is announced
//! ([`Doors::enter`]), before its bytes are read; its time begins when they are there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use althing_api::kv::{Operation, PutRequest, PutValue, TxnRequest};
use althing_api::service::{META_GROUP, Target};
use althing_api::{Call, Request, Way};
use althing_env::Clock;
use althing_resilience::admission::Figures;
use althing_resilience::{Admission, LimitConfig, Ticket, Work};
use althing_types::limits::{MAX_PENDING_BYTES, MAX_PENDING_REQUESTS};
use althing_types::{Duration, Instant, TableName};

/// The standing queue that is put up with. A thousand clients that each wait for their answer before they ask again are no
/// overload, and on a busy machine of two cores they wait for a tenth of a second.
const TARGET: Duration = Duration::from_millis(250);

/// How long a place is kept for a request that was announced and does not come. A client that opens requests and sends none would
/// have all places otherwise. Its request may still come, and is let in or not like any other.
const ANNOUNCED_FOR: Duration = Duration::from_secs(2);

/// The place of a way's door among the doors.
const fn index(way: Way) -> usize {
    match way {
        Way::Local => 0,
        Way::Read => 1,
        Way::Write => 2,
    }
}

/// Which way a request takes, and what kind of work it is. All that the control plane is asked goes before what clients ask for
/// anew: it is little, and it is what mends an overload.
fn classify(call: &Call) -> (Way, Work) {
    let (way, work) = call.request.sort();
    (way, for_target(work, &call.target))
}

fn for_target(work: Work, target: &Target) -> Work {
    let is_control = match target {
        Target::Group(group) => *group == META_GROUP,
        Target::Table(table) => *table == TableName::META,
    };
    match work {
        Work::Consensus | Work::Clients if is_control => Work::Consensus,
        Work::Consensus | Work::Clients | Work::Background => work,
    }
}

/// Bytes of a request that stay in memory until it is answered; keys and values, which is what can be many.
fn bytes_of(request: &Request) -> usize {
    match request {
        Request::Put(put) => put_bytes(put),
        Request::Txn(txn) => txn_bytes(txn),
        Request::Keyed(request) => request.weight(),
        Request::Range(_)
        | Request::DeleteRange(_)
        | Request::Compact { .. }
        | Request::LeaseGrant { .. }
        | Request::LeaseRevoke(_)
        | Request::LeaseKeepAlive(_)
        | Request::LeaseTimeToLive { .. }
        | Request::LeaseLeases
        | Request::MemberList { .. }
        | Request::MemberAdd { .. }
        | Request::MemberPromote(_)
        | Request::MemberRemove(_)
        | Request::MemberUpdate { .. }
        | Request::Status
        | Request::Alarm { .. }
        | Request::Hash
        | Request::HashKv(_)
        | Request::MoveLeader(_) => 0,
    }
}

fn put_bytes(put: &PutRequest) -> usize {
    let value = match &put.value {
        PutValue::Set(value) => value.len(),
        PutValue::Keep => 0,
    };
    put.key.len() + value
}

fn txn_bytes(txn: &TxnRequest) -> usize {
    let operations = txn.success.iter().chain(&txn.failure);
    operations.map(operation_bytes).sum()
}

fn operation_bytes(operation: &Operation) -> usize {
    match operation {
        Operation::Put(put) => put_bytes(put),
        Operation::Txn(txn) => txn_bytes(txn),
        Operation::Range(_) | Operation::DeleteRange(_) => 0,
    }
}

/// A request that is inside: which way it went, and its place there.
#[derive(Debug)]
pub(crate) struct Place {
    way: Way,
    pub(crate) ticket: Ticket,
}

/// What an answer says of the load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// It was done: how long that took counts.
    Done,
    /// It was refused, failed, timed out or given up, which may have taken any time.
    Otherwise,
}

/// A place that is kept for a request until it comes. Dropped, it is given back.
pub(crate) struct Announced {
    doors: Arc<Doors>,
    number: u64,
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut inside = self.doors.lock();
        if let Some(ticket) = inside.announced.remove(&self.number) {
            inside.door(Way::Write).abandoned(ticket);
        }
    }
}

/// What the doors' lock holds.
struct Inside {
    doors: [Admission; 3],
    /// Places of writes that are not read yet, by number and so by time.
    announced: BTreeMap<u64, Ticket>,
    next: u64,
}

impl Inside {
    fn door(&mut self, way: Way) -> &mut Admission {
        &mut self.doors[index(way)]
    }

    /// Gives places back whose requests do not come.
    fn expire(&mut self, now: Instant) {
        while let Some(first) = self.announced.first_entry() {
            if now.since(first.get().admitted()) < ANNOUNCED_FOR {
                return;
            }
            let ticket = first.remove();
            self.door(Way::Write).abandoned(ticket);
        }
    }
}

/// The three doors of a node. Its lock is held for a few comparisons; a call from the driver's own thread finds it free.
pub(crate) struct Doors {
    clock: Arc<dyn Clock>,
    inside: Mutex<Inside>,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors").finish_non_exhaustive()
    }
}

impl Doors {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let config = LimitConfig { ceiling: MAX_PENDING_REQUESTS, target: TARGET, ..LimitConfig::default() };
        let door = || Admission::new(config, MAX_PENDING_BYTES);
        let inside = Inside { doors: [door(), door(), door()], announced: BTreeMap::new(), next: 0 };
        Self { clock, inside: Mutex::new(inside) }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request in, or not.
    pub(crate) fn admit(&self, call: &Call) -> Option<Place> {
        let (way, work) = classify(call);
        let bytes = bytes_of(&call.request);
        let now = self.clock.now();
        let ticket = self.lock().door(way).admit(now, work, bytes).ok()?;
        Some(Place { way, ticket })
    }

    /// Lets a write in that is still to be read, or not.
    pub(crate) fn enter(self: &Arc<Self>, target: &Target) -> Option<Announced> {
        let now = self.clock.now();
        let mut inside = self.lock();
        inside.expire(now);
        let ticket = inside.door(Way::Write).admit(now, for_target(Work::Clients, target), 0).ok()?;
        inside.next += 1;
        let number = inside.next;
        inside.announced.insert(number, ticket);
        drop(inside);
        Some(Announced { doors: Arc::clone(self), number })
    }

    /// Lets a request in that was announced. One that goes another way than was thought, or has come too late, is admitted as if it
    /// had not been.
    pub(crate) fn admit_announced(&self, call: &Call, announced: &Announced) -> Option<Place> {
        let (way, _) = classify(call);
        let now = self.clock.now();
        let mut inside = self.lock();
        let ticket = match way {
            Way::Write => inside.announced.remove(&announced.number),
            Way::Local | Way::Read => None,
        };
        let Some(ticket) = ticket else {
            drop(inside);
            return self.admit(call);
        };
        let ticket = inside.door(way).weigh(now, ticket, bytes_of(&call.request)).ok()?;
        Some(Place { way, ticket })
    }

    /// Those inside have been answered.
    pub(crate) fn leave(&self, leaving: impl Iterator<Item = (Place, Ended)>) {
        let now = self.clock.now();
        let mut inside = self.lock();
        for (Place { way, ticket }, ended) in leaving {
            match ended {
                Ended::Done => inside.door(way).answered(now, ticket),
                Ended::Otherwise => inside.door(way).abandoned(ticket),
            }
        }
    }

    /// The figures of each door.
    pub(crate) fn figures(&self) -> [(Way, Figures); 3] {
        let inside = self.lock();
        Way::ALL.map(|way| (way, inside.doors[index(way)].figures()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::RealClock;
    use althing_api::kv::{KeyRange, PutLease, RangeRequest};
    use althing_types::LeaseId;

    fn doors() -> Doors {
        Doors::new(Arc::new(RealClock::start()))
    }

    fn put(bytes: usize) -> Request {
        let value = PutValue::Set(vec![0; bytes].into());
        Request::Put(PutRequest { key: "k".into(), value, lease: PutLease::Set(None), prev_kv: false })
    }

    #[test]
    fn a_full_door_refuses_writes_and_lets_pass_what_keeps_things_alive() {
        let doors = doors();
        let admit = |request| doors.admit(&Call::new(request));
        let inside: Vec<_> = std::iter::from_fn(|| admit(put(1))).collect();
        assert_eq!(inside.len(), 1_024 * 9 / 10 + 1, "a tenth is kept for what keeps leases alive");
        assert!(admit(Request::Range(RangeRequest::new(KeyRange::single("k")))).is_some());
        assert!(admit(Request::LeaseRevoke(LeaseId(7))).is_some());
        for target in [Target::Group(META_GROUP), Target::Table(TableName::META)] {
            assert!(doors.admit(&Call { target, ..Call::new(put(1)) }).is_some());
        }
        let [_, _, (_, before)] = doors.figures();
        doors.leave(inside.into_iter().map(|place| (place, Ended::Otherwise)));
        assert!(admit(put(1)).is_some());
        let [_, _, (way, after)] = doors.figures();
        assert_eq!((way, before.refused[0], after.in_flight), (Way::Write, 1, 4));
    }

    /// A clock that a test sets.
    #[derive(Default)]
    struct TestClock(Mutex<Instant>);

    impl Clock for TestClock {
        fn now(&self) -> Instant {
            *self.0.lock().unwrap()
        }

        fn wall(&self) -> althing_types::WallTime {
            althing_types::WallTime::default()
        }
    }

    #[test]
    fn a_write_has_its_place_before_it_is_read_and_keeps_it() {
        let doors = Arc::new(doors());
        let target = Target::default();
        let announced: Vec<_> = std::iter::from_fn(|| doors.enter(&target)).collect();
        assert_eq!(announced.len(), 1_024 * 9 / 10 + 1);
        assert!(doors.admit(&Call::new(put(1))).is_none(), "all places are taken by what was announced");
        let place = doors.admit_announced(&Call::new(put(7)), &announced[0]).expect("it has a place");
        assert_eq!(doors.figures()[2].1.bytes, 8);
        drop(announced);
        assert_eq!(doors.figures()[2].1.in_flight, 1, "those that never came have given theirs back");
        doors.leave([(place, Ended::Otherwise)].into_iter());
        assert_eq!(doors.figures()[2].1.in_flight, 0);
    }

    #[test]
    fn a_read_that_was_announced_as_a_write_takes_the_way_of_reads() {
        let doors = Arc::new(doors());
        let announced = doors.enter(&Target::default()).unwrap();
        let range = Operation::Range(RangeRequest::new(KeyRange::single("k")));
        let read = Call::new(Request::Txn(TxnRequest { success: vec![range], ..TxnRequest::default() }));
        assert_eq!(doors.admit_announced(&read, &announced).map(|place| place.way), Some(Way::Read));
        drop(announced);
        assert_eq!(doors.figures().map(|(_, door)| door.in_flight), [0, 1, 0]);
    }

    #[test]
    fn a_place_is_not_kept_for_ever_for_a_request_that_does_not_come() {
        let clock = Arc::new(TestClock::default());
        let doors = Arc::new(Doors::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let slow: Vec<_> = std::iter::from_fn(|| doors.enter(&Target::default())).collect();
        *clock.0.lock().unwrap() += ANNOUNCED_FOR;
        let next = doors.enter(&Target::default()).expect("the others have lost their places");
        assert_eq!(doors.figures()[2].1.in_flight, 1);
        // One of them comes after all.
        let place = doors.admit_announced(&Call::new(put(1)), &slow[0]).expect("there is room");
        drop((slow, next));
        assert_eq!(doors.figures()[2].1.in_flight, 1);
        doors.leave([(place, Ended::Done)].into_iter());
    }

    #[test]
    fn values_are_counted_wherever_they_stand() {
        let Request::Put(inner) = put(1_000) else { panic!("a put") };
        let txn = TxnRequest { success: vec![Operation::Put(inner.clone())], ..TxnRequest::default() };
        let outer = TxnRequest { failure: vec![Operation::Txn(txn), Operation::Put(inner)], ..TxnRequest::default() };
        assert_eq!(bytes_of(&Request::Txn(outer)), 2_002);
    }
}
