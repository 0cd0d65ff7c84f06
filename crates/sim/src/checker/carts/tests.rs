use std::collections::BTreeSet;

use althing_clock::{Actor, Dot};
use althing_quorum::Level;
use althing_types::{Instant, NodeId};
use bytes::Bytes;

use super::{Action, Fate, Final, Operation, Outcome, Shown, Violation, elements, events, numbers, values};
use crate::ledger::deltas::{Reach, Written};

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// An operation from one millisecond to another.
fn done(action: Action, level: Level, from: u64, to: u64, shown: Shown) -> Operation {
    let outcome = Outcome::Done { returned: at(to), shown };
    Operation { node: NodeId(1), key: text("k"), action, level, invoked: at(from), outcome }
}

fn wrote(action: Action, level: Level, from: u64, to: u64) -> Operation {
    done(action, level, from, to, Shown::Done(1))
}

fn unknown(action: Action, from: u64) -> Operation {
    Operation { outcome: Outcome::Unknown, ..wrote(action, Level::One, from, from) }
}

fn refused(action: Action, from: u64) -> Operation {
    Operation { outcome: Outcome::Refused, ..wrote(action, Level::One, from, from) }
}

fn set(elements: &[&'static str]) -> BTreeSet<Bytes> {
    elements.iter().map(|element| text(element)).collect()
}

fn holds(elements: &[&'static str]) -> Final {
    Final { elements: set(elements), ..Final::default() }
}

fn add(element: &'static str) -> Action {
    Action::Add(text(element))
}

fn remove(element: &'static str) -> Action {
    Action::Remove(text(element))
}

fn members(level: Level, from: u64, to: u64, elements: &[&'static str]) -> Operation {
    done(Action::Read, level, from, to, Shown::Elements(set(elements)))
}

fn of_elements<'a>(history: &'a [Operation], end: &Final, fate: Fate) -> Vec<Violation<'a>> {
    elements::check(&history.iter().collect::<Vec<_>>(), end, fate)
}

#[test]
fn elements_that_are_there_or_that_somebody_took_are_fine() {
    let history = [
        wrote(add("milk"), Level::One, 1, 2),
        wrote(add("bread"), Level::Quorum, 1, 2),
        unknown(add("eggs"), 3),
        refused(add("figs"), 3),
        wrote(remove("bread"), Level::One, 4, 5),
        members(Level::One, 6, 7, &["bread"]),
        members(Level::Quorum, 6, 7, &["milk"]),
    ];
    assert_eq!(of_elements(&history, &holds(&["milk"]), Fate::Settled), []);
    assert_eq!(of_elements(&history, &holds(&["milk", "eggs"]), Fate::Settled), []);
}

#[test]
fn an_element_that_nobody_took_and_that_is_gone_is_lost() {
    let history = [wrote(remove("milk"), Level::One, 1, 2), wrote(add("milk"), Level::One, 3, 4)];
    assert_eq!(of_elements(&history, &holds(&[]), Fate::Moved), [Violation::Lost(&history[1])]);
    assert_eq!(of_elements(&history, &holds(&[]), Fate::Lost), [], "its only replica may have gone");
}

#[test]
fn an_element_that_comes_back_is_found() {
    let history = [wrote(add("milk"), Level::One, 1, 2), wrote(remove("milk"), Level::One, 3, 4)];
    let back = Violation::Resurrected { element: text("milk"), removal: &history[1] };
    assert_eq!(of_elements(&history, &holds(&["milk"]), Fate::Settled), [back]);
    let unseen = [history[0].clone(), done(remove("milk"), Level::One, 3, 4, Shown::Done(0))];
    assert_eq!(of_elements(&unseen, &holds(&["milk"]), Fate::Settled), []);
}

#[test]
fn a_read_that_meets_a_write_and_does_not_show_it_is_found() {
    let history = [wrote(add("milk"), Level::Quorum, 1, 2), members(Level::Quorum, 3, 4, &[])];
    let missed = Violation::Missed { read: &history[1], write: &history[0] };
    assert_eq!(of_elements(&history, &holds(&["milk"]), Fate::Lost), [missed]);
    let at_one = [history[0].clone(), members(Level::One, 3, 4, &[])];
    assert_eq!(of_elements(&at_one, &holds(&["milk"]), Fate::Settled), []);
    let at_all = [wrote(add("milk"), Level::All, 1, 2), members(Level::One, 3, 4, &[])];
    assert_eq!(of_elements(&at_all, &holds(&["milk"]), Fate::Settled).len(), 1);
    assert_eq!(of_elements(&at_all, &holds(&["milk"]), Fate::Moved), [], "that replica may have been replaced");
}

#[test]
fn what_was_refused_or_never_written_and_is_there_is_found() {
    let history = [refused(add("figs"), 1)];
    assert_eq!(of_elements(&history, &holds(&["figs"]), Fate::Settled), [Violation::RefusedAndDone(&history[0])]);
    let strange = Violation::FromNowhere { key: text("k"), found: text("nuts") };
    assert_eq!(of_elements(&history, &holds(&["nuts"]), Fate::Settled), [strange]);
}

fn stands(history: &[Operation], number: i64, fate: Fate) -> usize {
    let end = Final { number: Some(number), ..Final::default() };
    numbers::check(&history.iter().collect::<Vec<_>>(), &end, fate).len()
}

#[test]
fn a_counter_stands_between_what_was_acknowledged_and_what_was_tried() {
    let history = [
        wrote(Action::Count(5), Level::Quorum, 1, 2),
        wrote(Action::Count(1), Level::One, 1, 2),
        unknown(Action::Count(20), 3),
        refused(Action::Count(100), 3),
    ];
    for number in [6, 26] {
        assert_eq!(stands(&history, number, Fate::Moved), 0, "{number}");
    }
    for number in [0, 5, 27, 106] {
        assert_eq!(stands(&history, number, Fate::Moved), 1, "{number}");
    }
    assert_eq!(stands(&history, 5, Fate::Lost), 0, "what one replica had acknowledged may be gone");
}

#[test]
fn a_counter_that_was_deleted_has_at_least_what_was_added_since() {
    let mut history = vec![
        wrote(Action::Count(5), Level::Quorum, 1, 2),
        wrote(Action::Delete, Level::Quorum, 3, 4),
        wrote(Action::Count(7), Level::Quorum, 5, 6),
    ];
    assert_eq!((stands(&history, 7, Fate::Settled), stands(&history, 12, Fate::Settled)), (0, 0));
    assert_eq!((stands(&history, 5, Fate::Settled), stands(&history, 13, Fate::Settled)), (1, 1));
    history.push(unknown(Action::Delete, 1));
    assert_eq!(stands(&history, 0, Fate::Settled), 0, "nobody knows when that one happened");
}

#[test]
fn a_read_of_a_counter_has_what_it_met() {
    let read = |number| done(Action::Read, Level::Quorum, 3, 4, Shown::Number(number));
    for (number, wrong) in [(5, 0), (4, 1), (6, 1)] {
        let history = [wrote(Action::Count(5), Level::Quorum, 1, 2), read(number)];
        assert_eq!(stands(&history, 5, Fate::Settled), wrong, "{number}");
    }
}

#[test]
fn a_value_may_go_only_if_somebody_may_have_replaced_it() {
    let put = |value, from, to| wrote(Action::Put(text(value)), Level::Quorum, from, to);
    let end = Final { siblings: vec![text("b")], ..Final::default() };
    let history = [put("a", 1, 2), put("b", 3, 4)];
    assert_eq!(values::check(&history.iter().collect::<Vec<_>>(), &end, Fate::Settled), []);
    let turned = [put("b", 1, 2), put("a", 3, 4)];
    assert_eq!(values::check(&turned.iter().collect::<Vec<_>>(), &end, Fate::Settled), [Violation::Lost(&turned[1])]);
    let nobody = [put("c", 1, 2)];
    assert_eq!(values::check(&nobody.iter().collect::<Vec<_>>(), &end, Fate::Settled).len(), 2);
}

const A: Actor = Actor::new(1, 1);

fn written(counter: u64, removed: &[u64], value: &'static str) -> Written {
    let dot = Dot::new(A, counter);
    Written {
        node: NodeId(1),
        reach: Reach::Durable,
        alive: BTreeSet::from([dot]),
        removed: removed.iter().map(|counter| Dot::new(A, *counter)).collect(),
        values: vec![(dot, text(value))],
    }
}

fn alive(counters: &[u64]) -> Final {
    Final { dots: counters.iter().map(|counter| Dot::new(A, *counter)).collect(), ..Final::default() }
}

fn of_events<'a>(key: &'a Bytes, writes: &[Written], end: &Final, gone: &[u64]) -> Vec<events::Violation<'a>> {
    let gone = gone.iter().copied().map(NodeId).collect();
    events::check(key, &writes.iter().collect::<Vec<_>>(), end, &gone, 2)
}

#[test]
fn an_event_is_alive_exactly_if_a_write_has_added_it_and_none_has_removed_it() {
    let (key, dot) = (text("k"), |counter| Dot::new(A, counter));
    let writes = [written(1, &[], "a"), written(2, &[1], "b")];
    assert_eq!(of_events(&key, &writes, &alive(&[2]), &[]), []);
    let node = NodeId(1);
    let vanished = events::Violation::Vanished { key: &key, dot: dot(2), node };
    assert_eq!(of_events(&key, &writes, &alive(&[]), &[]), [vanished]);
    assert_eq!(of_events(&key, &writes, &alive(&[]), &[1]), [], "that machine is gone");
    let back = events::Violation::Resurrected { key: &key, dot: dot(1), node };
    assert_eq!(of_events(&key, &writes, &alive(&[1, 2]), &[]), [back]);
    let strange = events::Violation::FromNowhere { key: &key, dot: dot(9) };
    assert_eq!(of_events(&key, &writes, &alive(&[2, 9]), &[]), [strange]);
    let siblings = Final { siblings: vec![text("x"), text("y"), text("z")], ..alive(&[2]) };
    assert_eq!(of_events(&key, &writes, &siblings, &[]), [events::Violation::Siblings { key: &key, count: 3 }]);
}

#[test]
fn a_write_that_its_replica_may_have_forgotten_may_be_there_or_not() {
    let key = text("k");
    let writes = [Written { reach: Reach::Executed, ..written(1, &[], "a") }];
    assert_eq!(of_events(&key, &writes, &alive(&[]), &[]), []);
    assert_eq!(of_events(&key, &writes, &alive(&[1]), &[]), []);
}

#[test]
fn a_read_that_shows_what_a_write_had_replaced_is_found() {
    let writes = [written(1, &[], "a"), written(2, &[1], "b"), written(3, &[], "c")];
    let writes: Vec<_> = writes.iter().collect();
    let read = |shown: Option<&'static str>| {
        let put = wrote(Action::Put(text("b")), Level::Quorum, 1, 2);
        [put, done(Action::Read, Level::Quorum, 3, 4, Shown::Value(shown.map(text)))]
    };
    for (shown, wrong) in [(Some("b"), 0), (Some("c"), 0), (Some("a"), 1), (None, 1)] {
        let history = read(shown);
        let found = events::check_reads(&history.iter().collect::<Vec<_>>(), &writes, Fate::Settled);
        assert_eq!(found.len(), wrong, "{shown:?}");
    }
}
