//! The proposer by itself, with answers made by hand.

use super::*;
use crate::message::{Ask, Word};

const KEY: Bytes = Bytes::from_static(b"key");
const SECOND: Duration = Duration::from_secs(1);

fn peer(node: u64) -> Peer {
    Peer { node: NodeId(node), generation: 1 }
}

fn peers() -> Vec<Peer> {
    (1..=3).map(peer).collect()
}

fn proposer(seed: u64) -> Proposer {
    Proposer::new(NodeId(1), 1, Config::stable(1, &peers()), Settings::default(), seed)
}

fn after(time: Duration) -> Instant {
    Instant::ZERO + time
}

fn begin(proposer: &mut Proposer, id: u64, kind: Kind) -> Vec<Effect> {
    let mut out = Vec::new();
    let begin = Input::Begin { request: RequestId(id), key: KEY, kind, deadline: after(SECOND) };
    proposer.handle(Instant::ZERO, begin, &mut out);
    out
}

fn requests(effects: &[Effect]) -> Vec<(Peer, Request)> {
    let sent = effects.iter().filter_map(|effect| match effect {
        Effect::Send { to, request } => Some((*to, request.clone())),
        Effect::Compute { .. }
        | Effect::Chosen { .. }
        | Effect::Done { .. }
        | Effect::Timer { .. }
        | Effect::Behind { .. } => None,
    });
    sent.collect()
}

fn results(effects: &[Effect]) -> Vec<(u64, Result<Outcome, Failure>)> {
    let done = effects.iter().filter_map(|effect| match effect {
        Effect::Done { request, result } => Some((request.get(), result.clone())),
        Effect::Compute { .. }
        | Effect::Chosen { .. }
        | Effect::Send { .. }
        | Effect::Timer { .. }
        | Effect::Behind { .. } => None,
    });
    done.collect()
}

fn timers(effects: &[Effect]) -> Vec<(Instant, Timer)> {
    let set = effects.iter().filter_map(|effect| match effect {
        Effect::Timer { at, timer } => Some((*at, *timer)),
        Effect::Compute { .. }
        | Effect::Chosen { .. }
        | Effect::Send { .. }
        | Effect::Done { .. }
        | Effect::Behind { .. } => None,
    });
    set.collect()
}

/// Every acceptor that was asked says this.
fn all_say(proposer: &mut Proposer, now: Instant, asked: &[Effect], word: &Word) -> Vec<Effect> {
    let mut out = Vec::new();
    for (from, request) in requests(asked) {
        let answer = Answer { key: request.key, ballot: request.ballot, word: word.clone() };
        proposer.handle(now, Input::Answer { from, answer }, &mut out);
    }
    out
}

fn nothing() -> Word {
    Word::Promised { accepted: None, floor: Ballot::ZERO }
}

/// A change up to its accepts.
fn accepts(proposer: &mut Proposer, id: u64) -> Vec<Effect> {
    let prepares = begin(proposer, id, Kind::Change);
    let computing = all_say(proposer, Instant::ZERO, &prepares, &nothing());
    let Some(Effect::Compute { request, ballot, current, .. }) = computing.first() else { panic!("{computing:?}") };
    assert_eq!(*current, Value::NEVER);
    let mut out = Vec::new();
    let change = Change::Write(Bytes::from_static(b"value"));
    proposer.handle(Instant::ZERO, Input::Computed { request: *request, ballot: *ballot, change }, &mut out);
    assert!(requests(&out).iter().all(|(_, request)| matches!(request.ask, Ask::Accept { .. })));
    out
}

fn deadline(proposer: &mut Proposer, id: u64, number: u64) -> Vec<Effect> {
    let mut out = Vec::new();
    let timer = Timer { request: RequestId(id), number };
    proposer.handle(after(SECOND), Input::Timer(timer), &mut out);
    out
}

#[test]
fn a_deadline_before_anything_was_proposed_means_not_done_and_after_it_maybe_done() {
    let mut one = proposer(1);
    begin(&mut one, 1, Kind::Change);
    assert_eq!(results(&deadline(&mut one, 1, 1)), [(1, Err(Failure::NotDone(Reason::Deadline)))]);

    let mut other = proposer(1);
    accepts(&mut other, 1);
    assert_eq!(results(&deadline(&mut other, 1, 9)), [(1, Err(Failure::MaybeDone(Reason::Deadline)))]);
    assert_eq!((one.pending(), other.pending()), (0, 0));
}

#[test]
fn requests_of_one_key_wait_in_line_and_too_many_are_refused() {
    let mut proposer = proposer(1);
    let accepts = accepts(&mut proposer, 0);
    for id in 1..=MAX_WAITING_PER_KEY as u64 {
        assert_eq!(requests(&begin(&mut proposer, id, Kind::Read)), []);
    }
    assert_eq!(results(&begin(&mut proposer, 999, Kind::Read)), [(999, Err(Failure::NotDone(Reason::Busy)))]);
    let out = all_say(&mut proposer, Instant::ZERO, &accepts, &Word::Accepted);
    assert!(matches!(results(&out)[..], [(0, Ok(Outcome::Changed { .. }))]), "{out:?}");
    assert_eq!(requests(&out).len(), 3, "the next one reads");
    assert_eq!(results(&deadline(&mut proposer, 9, 0)), [(9, Err(Failure::NotDone(Reason::Deadline)))], "in line");
    assert_eq!(proposer.pending(), MAX_WAITING_PER_KEY - 1);
}

#[test]
fn a_timer_that_was_overtaken_does_nothing() {
    let mut proposer = proposer(1);
    let prepares = begin(&mut proposer, 1, Kind::Change);
    let old = timers(&prepares)[0].1;
    all_say(&mut proposer, Instant::ZERO, &prepares, &Word::Refused { promised: Ballot::ZERO });
    let mut out = Vec::new();
    proposer.handle(after(SECOND / 2), Input::Timer(old), &mut out);
    assert_eq!(out, []);
}

#[test]
fn after_a_conflict_a_proposer_stands_back_as_its_seed_says_and_goes_above_what_it_saw() {
    let promised = Ballot { counter: 40, node: NodeId(2), incarnation: 1 };
    let run = |seed| {
        let mut proposer = proposer(seed);
        let prepares = begin(&mut proposer, 1, Kind::Change);
        let out = all_say(&mut proposer, Instant::ZERO, &prepares, &Word::Refused { promised });
        let (at, timer) = timers(&out)[0];
        let mut out = Vec::new();
        proposer.handle(at, Input::Timer(timer), &mut out);
        assert_eq!(requests(&out)[0].1.ballot.counter, 41);
        at
    };
    assert_eq!(run(1), run(1));
    assert!((1..20).any(|seed| run(seed) != run(1)));
    assert!((1..20).all(|seed| run(seed) <= after(Settings::default().max_backoff)));
}

#[test]
fn nothing_is_forgotten_while_a_replica_moves() {
    let mut proposer = proposer(1);
    let prepares = begin(&mut proposer, 1, Kind::Forget);
    assert_eq!(requests(&prepares).len(), 3);
    let mut out = Vec::new();
    let moving = Config::moving(2, &peers(), &[peer(1), peer(2), peer(4)]);
    proposer.handle(Instant::ZERO, Input::Configure(moving), &mut out);
    assert_eq!(results(&out), [(1, Err(Failure::NotDone(Reason::Moving)))]);
    assert_eq!(results(&begin(&mut proposer, 2, Kind::Forget)), [(2, Err(Failure::NotDone(Reason::Moving)))]);
}

#[test]
fn a_comparison_that_fails_on_a_chosen_value_writes_nothing() {
    let mut proposer = proposer(1);
    let prepares = begin(&mut proposer, 1, Kind::Change);
    let computing = all_say(&mut proposer, Instant::ZERO, &prepares, &nothing());
    let Some(Effect::Compute { request, ballot, .. }) = computing.first() else { panic!("{computing:?}") };
    let mut out = Vec::new();
    let keep = Input::Computed { request: *request, ballot: *ballot, change: Change::Keep };
    proposer.handle(Instant::ZERO, keep, &mut out);
    let kept = Outcome::Kept { version: Ballot::ZERO, value: Value::NEVER };
    assert_eq!((results(&out), requests(&out)), (vec![(1, Ok(kept))], vec![]));
}

#[test]
fn a_proposer_that_is_behind_says_so_and_goes_on_with_the_new_set() {
    let mut proposer = proposer(1);
    let prepares = begin(&mut proposer, 1, Kind::Change);
    let out = all_say(&mut proposer, Instant::ZERO, &prepares, &Word::WrongEpoch { current: 2 });
    assert_eq!(out, vec![Effect::Behind { epoch: 2 }; 3]);
    let mut out = Vec::new();
    let moving = Config::moving(2, &peers(), &[peer(1), peer(2), peer(4)]);
    proposer.handle(Instant::ZERO, Input::Configure(moving), &mut out);
    let sent = requests(&out);
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|(_, request)| request.epoch == 2 && request.ballot > requests(&prepares)[0].1.ballot));
}
