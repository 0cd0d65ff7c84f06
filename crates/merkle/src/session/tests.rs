//! Two replicas and a network between them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::responder::{self, Reply};

/// A store in order of positions, with its tree.
struct Replica {
    secret: Secret,
    tree: Tree,
    entries: BTreeMap<u64, Entry>,
}

impl Replica {
    fn new(depth: u8) -> Self {
        Self { secret: Secret::new([1; 32]), tree: Tree::with_depth(depth), entries: BTreeMap::new() }
    }

    /// Sets a key to a version, or removes it at version 0.
    fn set(&mut self, key: u64, version: u64) {
        let after = self.secret.entry(&key.to_le_bytes(), &version.to_le_bytes());
        let before = self.entries.remove(&after.position);
        if version == 0 {
            before.iter().for_each(|before| self.tree.remove(*before).unwrap());
            return;
        }
        match before {
            Some(before) => self.tree.replace(before, after).unwrap(),
            None => self.tree.insert(after).unwrap(),
        }
        self.entries.insert(after.position, after);
    }

    fn read(&self, range: Range, limit: usize) -> Page {
        let mut found = self.entries.range(range.first..=range.last).map(|(_, entry)| *entry);
        let entries: Vec<Entry> = found.by_ref().take(limit).collect();
        let through = match (found.next(), entries.last()) {
            (Some(_), Some(last)) => last.position,
            (Some(_), None) | (None, _) => range.last,
        };
        Page { entries, through }
    }

    fn answer(&self, request: Request) -> Answer {
        match responder::answer(&self.tree, &self.secret, request) {
            Reply::Now(answer) => answer,
            Reply::Read(mut pending) => {
                while let Some((range, limit)) = pending.wants() {
                    pending.supply(self.read(range, limit));
                }
                pending.finish()
            }
        }
    }
}

/// Everything that a whole session did.
#[derive(Default, Debug)]
struct Run {
    findings: Findings,
    bytes: usize,
    rounds: usize,
    largest: usize,
    progress: Option<Progress>,
}

impl Run {
    fn take(&mut self, session: &mut Session) {
        let found = session.take_findings();
        self.findings.buckets.extend(found.buckets);
        self.findings.send.extend(found.send);
        self.findings.ask.extend(found.ask);
        let now = session.progress();
        assert!(now.compared <= now.total && now.differing <= now.total, "{now:?}");
        self.progress = Some(now);
    }
}

fn step(session: &mut Session, ours: &Replica, max_bytes: usize) -> Option<Request> {
    loop {
        match session.next(&ours.tree, max_bytes) {
            Next::Read(range, limit) => session.supply(&ours.read(range, limit)),
            Next::Send(request) => return Some(request),
            Next::Wait => return session.resend().cloned(),
            Next::Done => return None,
        }
    }
}

/// A session over a network that loses and doubles, as the seed will have it; `between` is called between two messages.
fn run(
    ours: &mut Replica,
    theirs: &mut Replica,
    max_bytes: usize,
    chaos: Option<u64>,
    mut between: impl FnMut(&mut Replica, &mut Replica, &mut fastrand::Rng),
) -> Run {
    let mut rng = fastrand::Rng::with_seed(chaos.unwrap_or(0));
    let (mut session, opening) = Session::open(SessionId(7), &ours.tree, &ours.secret);
    let mut run = Run::default();
    let mut late: Vec<Answer> = Vec::new();
    let mut request = Some(opening);
    while let Some(sent) = request {
        let bytes = sent.encode();
        run.bytes += bytes.len();
        run.largest = run.largest.max(bytes.len());
        run.rounds += 1;
        assert!(run.rounds < 100_000, "it does not end");
        between(ours, theirs, &mut rng);
        if chaos.is_none() || rng.u8(..) > 60 {
            let answer = theirs.answer(Request::decode(bytes).unwrap());
            let bytes = answer.encode();
            run.bytes += bytes.len();
            late.push(Answer::decode(bytes).unwrap());
        }
        // Any answer of before may come, more than once, and the newest may be lost.
        while !late.is_empty() && (chaos.is_none() || rng.u8(..) > 80) {
            let last = late.len() - 1;
            let at = if chaos.is_none() || rng.bool() { last } else { rng.usize(..late.len()) };
            let fresh = session.handle(late[at].clone()).unwrap();
            if chaos.is_none() {
                assert_eq!(fresh, Handled::Fresh);
                late.clear();
            }
        }
        run.take(&mut session);
        request = step(&mut session, ours, max_bytes);
    }
    run
}

fn assert_exact(run: &Run, ours: &Replica, theirs: &Replica) {
    let differing = |a: &Replica, b: &Replica| -> BTreeSet<u64> {
        a.entries.iter().filter(|(position, entry)| b.entries.get(position) != Some(entry)).map(|(p, _)| *p).collect()
    };
    let (send, ask) = (differing(ours, theirs), differing(theirs, ours));
    assert_eq!(run.findings.send.iter().copied().collect::<BTreeSet<_>>(), send);
    assert_eq!(run.findings.ask.iter().copied().collect::<BTreeSet<_>>(), ask);
    assert_eq!((run.findings.send.len(), run.findings.ask.len()), (send.len(), ask.len()), "each once");
    let depth = ours.tree.depth().min(theirs.tree.depth());
    let buckets: BTreeSet<Prefix> = send.union(&ask).map(|position| Prefix::of(*position, depth)).collect();
    assert_eq!(run.findings.buckets.iter().copied().collect::<BTreeSet<_>>(), buckets, "the exact buckets");
    let progress = run.progress.unwrap();
    assert_eq!(progress.compared, progress.total);
    assert_eq!(progress.differing, run.findings.buckets.len() as u64);
}

fn pair(depths: (u8, u8), common: u64, ours: &[(u64, u64)], theirs: &[(u64, u64)]) -> (Replica, Replica) {
    let (mut a, mut b) = (Replica::new(depths.0), Replica::new(depths.1));
    for key in 0..common {
        a.set(key, 1);
        b.set(key, 1);
    }
    ours.iter().for_each(|(key, version)| a.set(*key, *version));
    theirs.iter().for_each(|(key, version)| b.set(*key, *version));
    (a, b)
}

fn changes() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((0_u64..600, 0_u64..4), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_differs_is_found_and_nothing_else(
        depths in (0_u8..4, 0_u8..4), common in 0_u64..500, ours in changes(), theirs in changes(),
        max_bytes in prop_oneof![Just(0_usize), 500..3_000_usize, Just(65_536)],
    ) {
        let (mut a, mut b) = pair(depths, common, &ours, &theirs);
        let run = run(&mut a, &mut b, max_bytes, None, |_, _, _| {});
        assert_exact(&run, &a, &b);
        prop_assert!(run.largest <= max_bytes.max(Node::max_bytes(MAX_SPAN) + 32), "{}", run.largest);
    }

    #[test]
    fn lost_doubled_and_late_messages_change_nothing_of_what_is_found(
        depths in (0_u8..4, 0_u8..4), ours in changes(), theirs in changes(), seed: u64,
    ) {
        let (mut a, mut b) = pair(depths, 300, &ours, &theirs);
        let run = run(&mut a, &mut b, 1_000, Some(seed), |_, _, _| {});
        assert_exact(&run, &a, &b);
    }

    #[test]
    fn what_changes_during_a_session_is_found_by_a_later_one(
        depths in (0_u8..4, 0_u8..4), ours in changes(), theirs in changes(), seed: u64,
    ) {
        let (mut a, mut b) = pair(depths, 300, &ours, &theirs);
        let disturbed = run(&mut a, &mut b, 1_000, Some(seed), |a, b, rng| {
            a.set(rng.u64(0..700), rng.u64(0..4));
            b.set(rng.u64(0..700), rng.u64(0..4));
            if rng.u8(..) < 20 {
                // One tree is built anew with another depth, as after a restart.
                let side = if rng.bool() { a } else { b };
                side.tree = Tree::with_depth(rng.u8(0..4));
                side.entries.values().for_each(|entry| side.tree.insert(*entry).unwrap());
            }
        });
        let known: BTreeSet<u64> = (0..700_u64).map(|key| a.secret.position(&key.to_le_bytes())).collect();
        prop_assert!(disturbed.findings.send.iter().chain(&disturbed.findings.ask).all(|at| known.contains(at)));
        let progress = disturbed.progress.unwrap();
        prop_assert_eq!(progress.compared, progress.total);
        let calm = run(&mut a, &mut b, 1_000, None, |_, _, _| {});
        assert_exact(&calm, &a, &b);
    }
}

#[test]
fn equal_replicas_need_one_short_question() {
    let (mut a, mut b) = pair((3, 4), 2_000, &[], &[]);
    let run = run(&mut a, &mut b, 65_536, None, |_, _, _| {});
    assert_eq!((run.rounds, run.findings), (1, Findings::default()));
    assert!(run.bytes < 40, "{} bytes", run.bytes);
}

#[test]
fn a_replica_without_anything_asks_for_everything() {
    let (mut a, mut b) = pair((0, 3), 0, &[], &[]);
    (0..40_000).for_each(|key| b.set(key, 1));
    let run = run(&mut a, &mut b, 65_536, None, |_, _, _| {});
    assert_exact(&run, &a, &b);
    assert_eq!(run.findings.ask.len(), 40_000, "in several answers, none of which is longer than it may be");
}

#[test]
fn different_secrets_are_noticed_before_anything_is_compared() {
    let (a, mut b) = pair((2, 2), 10, &[], &[]);
    b.secret = Secret::new([2; 32]);
    let (mut session, opening) = Session::open(SessionId(1), &a.tree, &a.secret);
    assert_eq!(session.handle(b.answer(opening)), Err(SessionError::OtherSecret));
    assert_eq!(session.next(&a.tree, 1_000), Next::Done);
}

#[test]
fn an_answer_that_does_not_fit_ends_the_session() {
    let (a, b) = pair((1, 1), 100, &[(1, 2)], &[]);
    let ask = |session: &mut Session| step(session, &a, 65_536).unwrap();
    let opened = || {
        let (mut session, opening) = Session::open(SessionId(1), &a.tree, &a.secret);
        session.handle(b.answer(opening)).unwrap();
        session
    };
    let mut session = opened();
    let request = ask(&mut session);
    let answer = Answer { session: request.session, step: request.step, verdict: Verdict::Compared(Vec::new()) };
    assert_eq!(session.handle(answer), Err(SessionError::Unfit("not one comparison for each node")));

    let mut session = opened();
    let request = ask(&mut session);
    session.handle(b.answer(request)).unwrap();
    let request = ask(&mut session);
    let Question::List(listings) = &request.question else { panic!("one bucket differs: {request:?}") };
    let through = listings[0].range.last;
    let stranger = Difference::Read { through, send: vec![listings[0].range.first], ask: Vec::new() };
    let answer = Answer { session: request.session, step: request.step, verdict: Verdict::Listed(vec![stranger]) };
    assert_eq!(session.handle(answer), Err(SessionError::Unfit("keys to send that were not listed")));
}

/// The aim of repair: a hundred of fifty thousand keys differ, and what moves is a fraction of a percent of what there is.
#[test]
fn a_hundred_of_fifty_thousand_keys_are_found_for_less_than_a_hundredth_of_the_bytes() {
    const ENTRY_BYTES: usize = 20 + 100;
    let changed: Vec<(u64, u64)> = (0..100).map(|key| (key * 500, 2)).collect();
    let (mut a, mut b) = pair((3, 3), 50_000, &changed, &[]);
    let run = run(&mut a, &mut b, 65_536, None, |_, _, _| {});
    assert_exact(&run, &a, &b);
    assert!(run.bytes * 100 < 50_000 * ENTRY_BYTES * 2, "{} bytes", run.bytes);
    println!("{} bytes in {} rounds of {}", run.bytes, run.rounds, 50_000 * ENTRY_BYTES);
}
