//! One rule, one trace.

use althing_api::ErrorKind;
use althing_api::kv::KeyRange;
use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};
use althing_types::{Duration, Instant, Revision, StreamId, WatchId};
use bytes::Bytes;

use super::super::{Change, Effects, History, Hub, HubConfig, Input, LeaderNeed, ReadHistory, weight};
use super::{change, key, line, range, watch};
use crate::bounds::{Bounds, Role, Slice};

/// A hub, its table's history, and what its streams hold.
struct Table {
    hub: Hub,
    now: Instant,
    history: Vec<Change>,
    effects: Effects,
}

const S1: StreamId = StreamId(1);
const S2: StreamId = StreamId(2);

impl Table {
    fn new(config: HubConfig) -> Self {
        let mut table = Self {
            hub: Hub::new(config, Revision(1), Revision(0)),
            now: Instant::from_nanos(1),
            history: Vec::new(),
            effects: Effects::default(),
        };
        table.input(Input::Open { stream: S1, leader: LeaderNeed::None });
        table.input(Input::Open { stream: S2, leader: LeaderNeed::Required });
        table
    }

    fn small() -> Self {
        Self::new(HubConfig {
            buffer_bytes: 400,
            response_bytes: 300,
            read_bytes: 1000,
            recent_bytes: 0,
            max_watches: 3,
            ..HubConfig::default()
        })
    }

    fn input(&mut self, input: Input<'_>) {
        self.hub.handle(self.now, input, &mut self.effects);
    }

    fn command(&mut self, stream: StreamId, command: WatchCommand) {
        self.input(Input::Command { stream, command });
    }

    fn create(&mut self, stream: StreamId, create: WatchCreate) {
        self.command(stream, WatchCommand::Create(create));
    }

    fn put(&mut self, keys: &[&str]) {
        self.put_sized(keys, 10);
    }

    fn put_sized(&mut self, keys: &[&str], value_bytes: usize) {
        let revision = self.hub.revision().next();
        self.history.push(change(revision.get(), keys, value_bytes));
        let last = self.history.len() - 1;
        let changes = self.history[last..].to_vec();
        self.input(Input::Changes(&changes));
    }

    /// What a stream was given since the last call, as lines; it counts as taken.
    fn taken(&mut self, stream: StreamId) -> Vec<String> {
        let (mine, others) = std::mem::take(&mut self.effects.deliver).into_iter().partition(|(id, _)| *id == stream);
        self.effects.deliver = others;
        let mine: Vec<(StreamId, _)> = mine;
        let bytes = mine.iter().map(|(_, event)| weight(event)).sum();
        self.input(Input::Drained { stream, bytes });
        mine.iter().map(|(_, event)| line(event)).collect()
    }

    /// Answers the read under way with at most `max` changes; what was asked for.
    fn answer(&mut self, max: usize) -> Option<ReadHistory> {
        let read = self.effects.reads.pop()?;
        let within = |change: &&Change| change.revision >= read.from && change.revision <= read.to;
        let changes: Vec<Change> = self.history.iter().filter(within).take(max).cloned().collect();
        let next = if changes.len() == max { changes[max - 1].revision.next() } else { read.to.next() };
        self.input(Input::History { from: read.from, result: Ok(History { changes, next }) });
        Some(read)
    }
}

#[test]
fn a_live_watch_is_given_each_change_of_a_turn_in_a_response_of_its_own() {
    let mut table = Table::new(HubConfig::default());
    table.create(S1, watch(range("a", "c"), None));
    let changes = [change(2, &["a", "x"], 1), change(3, &["x"], 1), change(4, &["-a", "b"], 1)];
    table.input(Input::Changes(&changes));
    assert_eq!(table.taken(S1), ["0 created at 1", "0 at 2: a@2", "0 at 4: -a@4 b@4"]);
    assert!(table.effects.reads.is_empty());
}

#[test]
fn a_watch_from_the_past_reads_history_and_goes_live_without_gap_or_repeat() {
    let mut table = Table::small();
    for _ in 0..3 {
        table.put(&["a"]);
    }
    table.create(S1, watch(key("a"), Some(3)));
    table.put(&["a"]);
    assert_eq!(table.answer(9), Some(ReadHistory { from: Revision(3), to: Revision(4), max_bytes: 1000 }));
    assert_eq!(table.answer(9), Some(ReadHistory { from: Revision(5), to: Revision(5), max_bytes: 1000 }));
    assert_eq!(table.taken(S1), ["0 created at 4", "0 at 5: a@3 a@4", "0 at 5: a@5"]);
    table.put(&["a"]);
    assert_eq!(table.taken(S1), ["0 at 6: a@6"]);
}

#[test]
fn the_recent_changes_spare_the_second_read() {
    let mut table = Table::new(HubConfig::default());
    for _ in 0..3 {
        table.put(&["a"]);
    }
    table.create(S1, watch(key("a"), Some(3)));
    table.put(&["a"]);
    assert!(table.answer(9).is_some());
    assert_eq!(table.answer(9), None);
    table.create(S1, watch(key("a"), Some(5)));
    assert_eq!(table.taken(S1), ["0 created at 4", "0 at 5: a@3 a@4", "0 at 5: a@5", "1 created at 5", "1 at 5: a@5"]);
}

#[test]
fn a_watch_from_the_future_waits_for_its_revision() {
    let mut table = Table::new(HubConfig::default());
    table.create(S1, watch(key("a"), Some(4)));
    table.command(S1, WatchCommand::Progress);
    table.put(&["a"]);
    assert_eq!(table.taken(S1), ["0 created at 1"]);
    table.put(&["b"]);
    assert_eq!(table.taken(S1), ["all progress 3"]);
    table.put(&["a"]);
    assert_eq!(table.taken(S1), ["0 at 4: a@4"]);
}

#[test]
fn a_compacted_start_is_created_and_canceled() {
    let mut table = Table::new(HubConfig::default());
    for _ in 0..4 {
        table.put(&["a"]);
    }
    table.input(Input::Compacted(Revision(4)));
    table.create(S1, watch(key("a"), Some(3)));
    assert_eq!(table.taken(S1), ["0 created at 5", "0 canceled at 5: Compacted(Revision(4))"]);
    table.create(S1, watch(key("a"), Some(4)));
    assert_eq!(table.taken(S1), ["1 created at 5"]);
    assert_eq!(table.answer(9).map(|read| read.from), Some(Revision(4)));
    assert_eq!(table.taken(S1), ["1 at 5: a@4 a@5"]);
}

#[test]
fn a_watch_that_compaction_overtakes_is_canceled_and_others_are_not() {
    let mut table = Table::small();
    for _ in 0..4 {
        table.put(&["a"]);
    }
    table.create(S1, watch(key("a"), Some(2)));
    table.create(S1, watch(key("a"), None));
    table.input(Input::Compacted(Revision(3)));
    table.put(&["a"]);
    assert_eq!(
        table.taken(S1),
        ["0 created at 5", "1 created at 5", "0 canceled at 5: Compacted(Revision(3))", "1 at 6: a@6"]
    );
}

#[test]
fn a_read_that_finds_its_start_compacted_cancels() {
    let mut table = Table::small();
    table.put(&["a"]);
    table.create(S1, watch(key("a"), Some(2)));
    table.put(&["a"]);
    let result = Err(ErrorKind::Compacted { requested: Revision(2), oldest: Revision(3) });
    table.input(Input::History { from: Revision(2), result });
    assert_eq!(table.taken(S1), ["0 created at 2", "0 canceled at 3: Compacted(Revision(3))"]);
}

#[test]
fn a_failed_read_is_tried_again_after_a_while() {
    let mut table = Table::small();
    table.put(&["a"]);
    table.create(S1, watch(key("a"), Some(2)));
    table.effects.reads.clear();
    table.input(Input::History { from: Revision(2), result: Err(ErrorKind::Overloaded) });
    assert!(table.effects.reads.is_empty());
    table.now = table.hub.next_deadline().expect("a retry is due");
    table.input(Input::Tick);
    assert_eq!(table.answer(9).map(|read| read.from), Some(Revision(2)));
    assert_eq!(table.taken(S1), ["0 created at 2", "0 at 2: a@2"]);
}

#[test]
fn a_slow_stream_falls_back_to_history_and_slows_nobody() {
    let mut table = Table::small();
    table.create(S1, watch(key("a"), None));
    table.create(S2, watch(key("a"), None));
    for _ in 0..8 {
        table.put(&["a"]);
        table.taken(S2);
    }
    assert!(table.effects.reads.is_empty(), "a stream without room reads nothing");
    assert_eq!(table.taken(S1).len(), 4, "created, and what 400 bytes hold");
    assert_eq!(table.answer(2), Some(ReadHistory { from: Revision(5), to: Revision(9), max_bytes: 1000 }));
    assert_eq!(table.taken(S1), ["0 at 9: a@5 a@6"]);
    assert_eq!(table.answer(3).map(|read| read.from), Some(Revision(7)));
    table.put(&["a"]);
    assert_eq!(table.taken(S1), ["0 at 9: a@7 a@8 a@9", "0 at 10: a@10"]);
    assert_eq!(table.taken(S2), ["0 at 10: a@10"]);
}

#[test]
fn one_revision_is_never_cut_unless_the_watch_allows_it() {
    let mut table = Table::small();
    let fragment = WatchCreate { fragment: true, ..watch(KeyRange::all(), None) };
    table.create(S1, watch(KeyRange::all(), None));
    table.create(S2, fragment);
    table.put_sized(&["a", "b", "c"], 100);
    assert_eq!(table.taken(S1), ["0 created at 1", "0 at 2: a@2 b@2 c@2"]);
    assert_eq!(table.taken(S2), ["0 created at 1", "0 at 2: a@2 ..", "0 at 2: b@2 ..", "0 at 2: c@2"]);
}

#[test]
fn small_revisions_share_responses_up_to_their_size() {
    let mut table = Table::small();
    table.create(S1, watch(key("a"), None));
    // More than are told one by one, of which the watch wants four.
    let change = |revision| change(revision, if revision < 6 { &["a"] } else { &["x"] }, 10);
    let changes: Vec<Change> = (2..20).map(change).collect();
    table.input(Input::Changes(&changes));
    assert_eq!(table.taken(S1), ["0 created at 1", "0 at 19: a@2 a@3 a@4", "0 at 19: a@5"]);
}

#[test]
fn filters_and_prev_kv_are_each_watchs_own() {
    let mut table = Table::new(HubConfig::default());
    let no_put = WatchFilter { no_put: true, no_delete: false };
    let no_delete = WatchFilter { no_put: false, no_delete: true };
    table.create(S1, WatchCreate { filter: no_put, ..watch(key("a"), None) });
    table.create(S1, WatchCreate { filter: no_delete, prev_kv: true, ..watch(key("a"), None) });
    table.taken(S1);
    table.put(&["a"]);
    table.put(&["-a"]);
    assert_eq!(table.taken(S1), ["1 at 2: a@2+prev", "0 at 3: -a@3"]);
}

#[test]
fn ids_are_chosen_unless_wanted_and_never_given_twice() {
    let mut table = Table::small();
    table.create(S1, WatchCreate { id: Some(WatchId(0)), ..watch(key("a"), None) });
    table.create(S1, watch(key("a"), None));
    table.create(S1, WatchCreate { id: Some(WatchId(1)), ..watch(key("a"), None) });
    table.create(S1, WatchCreate { id: Some(WatchId(-1)), ..watch(key("a"), None) });
    table.create(S1, WatchCreate { id: Some(WatchId(7)), ..watch(key("a"), None) });
    table.create(S1, watch(key("a"), None));
    assert_eq!(
        table.taken(S1),
        [
            "0 created at 1",
            "1 created at 1",
            "-1 canceled at 1: DuplicateId",
            "-1 canceled at 1: DuplicateId",
            "7 created at 1",
            "-1 canceled at 1: TooMany",
        ]
    );
}

#[test]
fn empty_ranges_are_refused() {
    let mut table = Table::new(HubConfig::default());
    table.create(S1, watch(key(""), None));
    table.create(S1, watch(range("b", "b"), None));
    assert_eq!(table.taken(S1), ["-1 canceled at 1: InvalidRange", "-1 canceled at 1: InvalidRange"]);
}

#[test]
fn a_canceled_watch_is_given_nothing_more() {
    let mut table = Table::new(HubConfig::default());
    table.create(S1, watch(key("a"), None));
    table.command(S1, WatchCommand::Cancel(WatchId(0)));
    table.command(S1, WatchCommand::Cancel(WatchId(0)));
    table.put(&["a"]);
    assert_eq!(table.taken(S1), ["0 created at 1", "0 canceled at 1: Asked"]);
    assert_eq!(table.hub.watch_count(), 0);
}

#[test]
fn a_closed_stream_leaves_nothing_behind() {
    let mut table = Table::small();
    table.put(&["a"]);
    table.create(S1, WatchCreate { progress_notify: true, ..watch(key("a"), Some(2)) });
    table.create(S1, watch(range("a", "b"), Some(9)));
    table.command(S1, WatchCommand::Progress);
    table.input(Input::Close(S1));
    assert_eq!((table.hub.watch_count(), table.hub.behind_count(), table.hub.stream_count()), (0, 0, 1));
    assert_eq!(table.hub.next_deadline(), None);
    table.answer(9);
    table.input(Input::Drained { stream: S1, bytes: 10 });
    table.put(&["a"]);
    assert!(table.effects.reads.is_empty());
}

#[test]
fn progress_waits_until_every_watch_of_the_stream_has_everything() {
    let mut table = Table::small();
    table.put(&["a"]);
    table.create(S1, watch(key("a"), None));
    table.create(S1, watch(key("a"), Some(2)));
    table.command(S1, WatchCommand::Progress);
    table.command(S1, WatchCommand::Progress);
    assert_eq!(table.taken(S1), ["0 created at 2", "1 created at 2"]);
    table.answer(9);
    assert_eq!(table.taken(S1), ["1 at 2: a@2", "all progress 2"]);
    table.command(S1, WatchCommand::Progress);
    assert_eq!(table.taken(S1), ["all progress 2"]);
}

#[test]
fn a_watch_from_below_zero_is_refused_as_compacted_and_its_stream_goes_on() {
    let mut table = Table::small();
    table.create(S1, watch(key("a"), Some(-1)));
    table.create(S1, watch(key("a"), None));
    let taken = table.taken(S1);
    assert!(taken[0].starts_with("-1 canceled at 1: Compacted"), "{taken:?}");
    assert_eq!(taken[1], "0 created at 1");
}

#[test]
fn progress_is_notified_to_idle_watches_only() {
    let interval = Duration::from_secs(600);
    let mut table = Table::new(HubConfig { progress_interval: interval, ..HubConfig::default() });
    table.create(S1, WatchCreate { progress_notify: true, ..watch(key("a"), None) });
    table.create(S1, watch(key("b"), None));
    table.create(S1, WatchCreate { progress_notify: true, ..watch(key("c"), Some(9)) });
    table.taken(S1);
    table.now += Duration::from_secs(400);
    table.put(&["a"]);
    assert_eq!(table.taken(S1), ["0 at 2: a@2"]);
    table.now += Duration::from_secs(300);
    table.input(Input::Tick);
    assert!(table.taken(S1).is_empty(), "the first was given something, the last waits for 9");
    table.now += Duration::from_secs(300);
    table.input(Input::Tick);
    assert_eq!(table.taken(S1), ["0 progress 2"]);
    table.now += Duration::from_secs(599);
    table.input(Input::Tick);
    assert!(table.taken(S1).is_empty());
    table.now += Duration::from_secs(1);
    table.input(Input::Tick);
    assert_eq!(table.taken(S1), ["0 progress 2"]);
}

#[test]
fn without_a_leader_only_those_who_need_one_end() {
    let mut table = Table::new(HubConfig::default());
    table.create(S1, watch(key("a"), None));
    table.create(S2, watch(key("a"), None));
    table.input(Input::NoLeader);
    table.create(S2, watch(key("a"), None));
    table.input(Input::Leader);
    table.create(S2, watch(key("a"), None));
    assert_eq!(table.taken(S1), ["0 created at 1"]);
    assert_eq!(
        table.taken(S2),
        ["0 created at 1", "0 canceled at 1: NoLeader", "-1 canceled at 1: NoLeader", "1 created at 1"]
    );
}

#[test]
fn a_stream_that_needs_a_leader_is_told_once_even_if_it_has_no_watch() {
    let mut table = Table::new(HubConfig::default());
    table.input(Input::NoLeader);
    table.input(Input::NoLeader);
    assert_eq!(table.taken(S1), [""; 0]);
    assert_eq!(table.taken(S2), ["-1 canceled at 1: NoLeader"]);
    let late = StreamId(9);
    table.input(Input::Open { stream: late, leader: LeaderNeed::Required });
    assert_eq!(table.taken(late), ["-1 canceled at 1: NoLeader"]);
    table.input(Input::Leader);
    table.input(Input::NoLeader);
    assert_eq!(table.taken(S2), ["-1 canceled at 1: NoLeader"]);
}

#[test]
fn an_installed_snapshot_sends_watches_back_to_history_or_ends_them() {
    let mut table = Table::small();
    table.create(S1, watch(key("a"), None));
    table.create(S1, watch(key("a"), Some(20)));
    table.taken(S1);
    for revision in 2..=10 {
        table.history.push(change(revision, &["a"], 1));
    }
    table.input(Input::Installed { revision: Revision(4), compacted: Revision(2) });
    assert_eq!(table.answer(9).map(|read| (read.from, read.to)), Some((Revision(2), Revision(4))));
    assert_eq!(table.taken(S1), ["0 at 4: a@2 a@3 a@4"]);
    table.input(Input::Installed { revision: Revision(10), compacted: Revision(8) });
    assert_eq!(table.taken(S1), ["0 canceled at 10: Compacted(Revision(8))"]);
    assert_eq!(table.hub.watch_count(), 1);
}

#[test]
fn changes_that_came_with_the_snapshot_are_not_given_twice() {
    let mut table = Table::small();
    table.create(S1, watch(key("a"), None));
    table.history.extend((2..=4).map(|revision| change(revision, &["a"], 1)));
    table.input(Input::Installed { revision: Revision(4), compacted: Revision(2) });
    table.input(Input::Changes(&[change(3, &["a"], 1), change(4, &["a"], 1), change(5, &["a"], 1)]));
    table.history.push(change(5, &["a"], 1));
    while table.answer(9).is_some() {}
    assert_eq!(table.taken(S1), ["0 created at 1", "0 at 5: a@2 a@3 a@4", "0 at 5: a@5"]);
}

#[test]
fn a_client_that_asks_without_reading_is_ended() {
    let mut table = Table::small();
    for _ in 0..20 {
        table.create(S1, watch(key(""), None));
    }
    let lines = table.taken(S1);
    assert_eq!(lines.len(), 15, "400 bytes, as many again, and the last word");
    assert!(lines[14].contains("Gone"), "{lines:?}");
}

#[test]
fn watches_of_keys_that_have_moved_end_after_the_changes_that_came_before_and_others_go_on() {
    let mut table = Table::small();
    table.create(S1, watch(key("a"), None));
    table.create(S1, watch(key("n"), None));
    table.create(S2, watch(range("a", "z"), None));
    table.put(&["n"]);
    let slice = Slice { start: Bytes::new(), end: Some(Bytes::from_static(b"m")) };
    table.input(Input::Bounds(Bounds::new(slice, Role::Serve)));
    assert_eq!(table.hub.watch_count(), 1);
    table.create(S1, watch(key("o"), None));
    table.put(&["a"]);
    let moved = CancelReason::Refused(ErrorKind::WrongShard);
    let told = |stream| table.effects.deliver.iter().filter(move |(to, _)| *to == stream).map(|(_, event)| event);
    let ended = |stream| {
        let canceled = |event: &&WatchEvent| matches!(event, WatchEvent::Canceled { reason, .. } if *reason == moved);
        told(stream).filter(canceled).count()
    };
    assert_eq!((ended(S1), ended(S2)), (2, 1));
    let events = |stream| told(stream).filter(|event| matches!(event, WatchEvent::Events { .. })).count();
    assert_eq!((events(S1), events(S2)), (2, 1));
}

#[test]
fn when_the_replica_goes_every_stream_ends_with_the_reason() {
    let mut table = Table::new(HubConfig::default());
    table.create(S1, watch(key("a"), None));
    table.input(Input::Gone("removed".into()));
    table.create(S1, watch(key("a"), None));
    assert_eq!(
        table.taken(S1),
        ["0 created at 1", "0 canceled at 1: Gone(\"removed\")", "-1 canceled at 1: Gone(\"removed\")"]
    );
    assert_eq!(table.taken(S2), ["-1 canceled at 1: Gone(\"removed\")"]);
}

#[test]
fn one_read_moves_every_watch_within_its_reach_and_streams_take_turns() {
    let mut table = Table::small();
    for _ in 0..6 {
        table.put(&["a"]);
    }
    table.create(S1, watch(key("a"), Some(2)));
    table.create(S1, watch(key("a"), Some(3)));
    table.create(S2, watch(key("a"), Some(6)));
    let mut reads = Vec::new();
    while let Some(read) = table.answer(1) {
        reads.push(read.from.get());
        table.taken(S1);
        table.taken(S2);
    }
    assert_eq!(reads, [2, 3, 6, 4, 7, 5, 6, 7], "3 moves both watches of the first stream, 7 comes before 5");
}
