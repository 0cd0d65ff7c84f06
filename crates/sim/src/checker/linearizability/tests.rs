use super::*;

/// An operation on key `k` by client 0, sent and answered at these nanoseconds.
fn operation(sent: u64, returned: u64, action: Action, revision: i64, answer: Answer) -> Operation {
    let returned = Instant::from_nanos(returned);
    let outcome = Outcome::Done { returned, revision: Revision(revision), answer };
    Operation { client: 0, key: "k".into(), action, invoked: Instant::from_nanos(sent), outcome }
}

fn put(sent: u64, returned: u64, value: &'static str, revision: i64) -> Operation {
    operation(sent, returned, Action::Put(value.into()), revision, Answer::Written)
}

fn version(value: &'static str, revision: i64) -> Version {
    Version { value: value.into(), revision: Revision(revision) }
}

fn get(sent: u64, returned: u64, held: Option<(&'static str, i64)>) -> Operation {
    operation(sent, returned, Action::Get, 99, Answer::Held(held.map(|(value, revision)| version(value, revision))))
}

fn delete(sent: u64, returned: u64, answer: Answer) -> Operation {
    operation(sent, returned, Action::Delete, 50, answer)
}

fn swap(sent: u64, returned: u64, expected: Expected, new: &'static str, revision: i64, answer: Answer) -> Operation {
    operation(sent, returned, Action::CompareAndSwap { expected, new: new.into() }, revision, answer)
}

fn unknown(mut operation: Operation) -> Operation {
    operation.outcome = Outcome::Unknown;
    operation
}

fn refused(mut operation: Operation) -> Operation {
    operation.outcome = Outcome::Refused;
    operation
}

fn is_linearizable(operations: &[Operation]) -> bool {
    match check(operations, 100_000) {
        Verdict::Linearizable => true,
        Verdict::Violated { .. } => false,
        Verdict::Undecided { .. } => panic!("a short history is decided"),
    }
}

#[test]
fn sequential_histories_are_judged_by_their_only_order() {
    assert!(is_linearizable(&[get(1, 2, None), put(3, 4, "a", 2), get(5, 6, Some(("a", 2)))]));
    assert!(!is_linearizable(&[put(1, 2, "a", 2), get(3, 4, None)]), "a lost write");
    assert!(!is_linearizable(&[put(1, 2, "a", 2), put(3, 4, "b", 3), get(5, 6, Some(("a", 2)))]), "a stale read");
    assert!(!is_linearizable(&[put(1, 2, "a", 2), get(3, 4, Some(("a", 3)))]), "another revision");
    assert!(!is_linearizable(&[get(1, 2, Some(("a", 2)))]), "a value from nowhere");
}

#[test]
fn concurrent_operations_may_take_either_order_but_everybody_sees_the_same() {
    let writes = [put(1, 10, "a", 2), put(1, 10, "b", 3)];
    let with = |reads: &[Operation]| is_linearizable(&[&writes[..], reads].concat());
    assert!(with(&[get(11, 12, Some(("a", 2)))]));
    assert!(with(&[get(11, 12, Some(("b", 3)))]));
    assert!(with(&[get(2, 3, Some(("a", 2))), get(4, 5, Some(("b", 3)))]));
    assert!(!with(&[get(2, 3, Some(("a", 2))), get(4, 5, Some(("b", 3))), get(6, 7, Some(("a", 2)))]), "back again");
    assert!(!with(&[get(11, 12, Some(("a", 2))), get(13, 14, Some(("b", 3)))]), "a change after both returned");
}

#[test]
fn operations_that_touch_at_one_instant_are_concurrent() {
    assert!(is_linearizable(&[put(1, 5, "a", 2), get(5, 6, None)]));
    assert!(!is_linearizable(&[put(1, 5, "a", 2), get(6, 7, None)]));
}

#[test]
fn an_unknown_operation_takes_effect_late_or_never_but_not_early_and_not_twice() {
    let lost = unknown(put(5, 0, "x", 0));
    let with = |others: &[Operation]| is_linearizable(&[std::slice::from_ref(&lost), others].concat());
    assert!(with(&[put(1, 2, "a", 2), get(6, 7, Some(("a", 2)))]), "never");
    assert!(with(&[put(1, 2, "a", 2), get(6, 7, Some(("a", 2))), get(800, 900, Some(("x", 9)))]), "late");
    assert!(!with(&[get(1, 2, Some(("x", 2)))]), "early");
    let twice = [get(6, 7, Some(("x", 2))), put(8, 9, "a", 3), get(10, 11, Some(("x", 2)))];
    assert!(!with(&twice), "twice");
    let revisions = [get(6, 7, Some(("x", 2))), get(8, 9, Some(("x", 3)))];
    assert!(!with(&revisions), "one write has one revision");
}

#[test]
fn a_refused_operation_never_happened() {
    assert!(is_linearizable(&[refused(put(1, 2, "a", 2)), get(3, 4, None)]));
    assert!(!is_linearizable(&[refused(put(1, 2, "a", 2)), get(3, 4, Some(("a", 2)))]));
}

#[test]
fn deletes_tell_whether_there_was_a_value() {
    assert!(is_linearizable(&[put(1, 2, "a", 2), delete(3, 4, Answer::Deleted), get(5, 6, None)]));
    assert!(is_linearizable(&[delete(1, 2, Answer::NothingToDelete), put(3, 4, "a", 2)]));
    assert!(!is_linearizable(&[delete(1, 2, Answer::Deleted)]));
    assert!(!is_linearizable(&[put(1, 2, "a", 2), delete(3, 4, Answer::NothingToDelete)]));
    assert!(!is_linearizable(&[put(1, 2, "a", 2), delete(3, 4, Answer::Deleted), get(5, 6, Some(("a", 2)))]));
    let lost = unknown(delete(3, 0, Answer::Deleted));
    assert!(is_linearizable(&[put(1, 2, "a", 2), lost.clone(), get(5, 6, None)]));
    assert!(!is_linearizable(&[put(1, 2, "a", 2), lost, get(5, 6, None), get(7, 8, Some(("a", 2)))]));
}

#[test]
fn a_compare_and_swap_succeeds_exactly_when_it_finds_what_it_expects() {
    let absent = |answer| swap(1, 2, Expected::Absent, "a", 2, answer);
    assert!(is_linearizable(&[absent(Answer::Written), get(3, 4, Some(("a", 2)))]));
    assert!(!is_linearizable(&[absent(Answer::Held(None))]), "it should have been written");
    let second = |expected, answer| swap(3, 4, expected, "b", 3, answer);
    let first = || put(1, 2, "a", 2);
    let held = || Answer::Held(Some(version("a", 2)));
    assert!(is_linearizable(&[first(), second(Expected::Value("a".into()), Answer::Written)]));
    assert!(is_linearizable(&[first(), second(Expected::ModRevision(Revision(2)), Answer::Written)]));
    assert!(is_linearizable(&[first(), second(Expected::ModRevision(Revision(1)), held())]));
    assert!(is_linearizable(&[first(), second(Expected::Absent, held())]));
    assert!(!is_linearizable(&[first(), second(Expected::Absent, Answer::Written)]));
    assert!(!is_linearizable(&[first(), second(Expected::Value("z".into()), Answer::Written)]));
    assert!(!is_linearizable(&[first(), second(Expected::ModRevision(Revision(1)), Answer::Written)]));
    assert!(!is_linearizable(&[first(), second(Expected::ModRevision(Revision(2)), held())]));
}

#[test]
fn of_two_swaps_that_expect_the_same_one_succeeds() {
    let swap = |new, revision| swap(3, 9, Expected::ModRevision(Revision(2)), new, revision, Answer::Written);
    assert!(is_linearizable(&[put(1, 2, "a", 2), swap("b", 3)]));
    assert!(!is_linearizable(&[put(1, 2, "a", 2), swap("b", 3), swap("c", 4)]));
    assert!(is_linearizable(&[put(1, 2, "a", 2), swap("b", 3), unknown(swap("c", 4))]));
    assert!(!is_linearizable(&[put(1, 2, "a", 2), swap("b", 3), unknown(swap("c", 4)), get(10, 11, Some(("c", 4)))]));
}

#[test]
fn keys_are_judged_apart_and_the_bad_one_is_named() {
    let mut bad = [put(1, 2, "a", 2), get(3, 4, None)];
    bad.iter_mut().for_each(|operation| operation.key = "bad".into());
    let history = [vec![put(1, 2, "a", 2), get(3, 4, Some(("a", 2)))], bad.to_vec()].concat();
    let expected = Verdict::Violated { key: "bad".into(), fitted: 1, stuck_at: Box::new(bad[1].clone()) };
    assert_eq!(check(&history, 1000), expected);
}

/// What real registers do: operations take effect at a random moment between call and return.
fn random_history(seed: u64, clients: u64, count: u64, unknown_percent: u32) -> Vec<Operation> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sent: Vec<(u64, u64, u64)> = Vec::new();
    let mut free_at = vec![0_u64; usize::try_from(clients).unwrap()];
    for _ in 0..count {
        let client = random.usize(..free_at.len());
        let invoked = free_at[client] + random.u64(1..20);
        let (effect, returned) = (invoked + random.u64(1..40), invoked + 40 + random.u64(1..40));
        free_at[client] = returned;
        sent.push((effect, invoked, returned));
    }
    sent.sort_unstable();
    let mut register: Option<Version> = None;
    let mut history = Vec::new();
    for (number, (_, invoked, returned)) in (2_i64..).zip(sent) {
        let (action, answer) = act(&mut random, &mut register, number);
        let lost = random.u32(..100) < unknown_percent;
        let done = operation(invoked, returned, action, number, answer);
        history.push(if lost { unknown(done) } else { done });
    }
    history
}

fn act(random: &mut fastrand::Rng, register: &mut Option<Version>, number: i64) -> (Action, Answer) {
    let new = Version { value: format!("v{number}").into(), revision: Revision(number) };
    match random.u32(..10) {
        0..5 => (Action::Get, Answer::Held(register.clone())),
        5..8 => (Action::Put(register.insert(new).value.clone()), Answer::Written),
        8 => (Action::Delete, register.take().map_or(Answer::NothingToDelete, |_| Answer::Deleted)),
        _ => {
            let expected = if random.bool() { Expected::Absent } else { Expected::ModRevision(Revision(number - 3)) };
            let action = Action::CompareAndSwap { expected: expected.clone(), new: new.value.clone() };
            let holds = match (&expected, &register) {
                (Expected::ModRevision(revision), Some(held)) => *revision == held.revision,
                (expected, held) => *expected == Expected::Absent && held.is_none(),
            };
            if holds {
                *register = Some(new);
                (action, Answer::Written)
            } else {
                (action, Answer::Held(register.clone()))
            }
        }
    }
}

#[test]
fn whatever_a_real_register_does_is_linearizable() {
    for seed in 0..200 {
        assert!(is_linearizable(&random_history(seed, 5, 60, 0)), "seed {seed}");
        assert!(is_linearizable(&random_history(seed, 5, 60, 10)), "seed {seed} with unknown outcomes");
    }
}

#[test]
fn a_read_that_a_real_register_did_not_give_is_found() {
    let mut found = 0;
    for seed in 0..200 {
        let mut history = random_history(seed, 3, 60, 5);
        let values: Vec<Answer> = history
            .iter()
            .filter_map(|operation| match &operation.outcome {
                Outcome::Done { answer: answer @ Answer::Held(Some(_)), .. } => Some(answer.clone()),
                _ => None,
            })
            .collect();
        let last_get = history.iter_mut().rev().find_map(|operation| match &mut operation.outcome {
            Outcome::Done { answer: answer @ Answer::Held(Some(_)), .. } => Some(answer),
            _ => None,
        });
        if let (Some(old), Some(last)) = (values.first(), last_get)
            && old != last
        {
            *last = old.clone();
            assert!(!is_linearizable(&history), "seed {seed}: a read of long ago");
            found += 1;
        }
    }
    assert!(found > 150, "{found}");
}

#[test]
fn a_search_without_end_is_given_up() {
    let puts = (0..30).map(|number| put(1, 1000, "a", number + 2));
    let history: Vec<Operation> = puts.chain([get(1, 1000, Some(("b", 2)))]).collect();
    assert_eq!(check(&history, 10_000), Verdict::Undecided { keys: vec!["k".into()] });
}

#[test]
fn ten_thousand_operations_of_ten_clients_on_one_key_are_judged() {
    assert_eq!(check(&random_history(1, 10, 10_000, 0), 5_000_000), Verdict::Linearizable);
}
