//! Random interleavings of writers, slow clients, history reads, compaction and snapshots against the plain rule: a
//! watch is given the events of its keys from its first revision on, and nothing else.

use std::collections::BTreeMap;

use althing_api::ErrorKind;
use althing_api::kv::{Event, KeyRange, RangeEnd};
use althing_api::watch::{CancelReason, WatchCommand, WatchCreate, WatchEvent, WatchFilter};
use althing_types::{Duration, Instant, Revision, StreamId, WatchId};
use proptest::prelude::*;

use super::super::response::{passes, tailored};
use super::super::{Change, Effects, History, Hub, HubConfig, Input, LeaderNeed, ReadHistory, weight};
use super::{change, watch};

const STREAMS: u64 = 3;
const BUFFER_BYTES: usize = 700;
const KEYS: [&str; 4] = ["a", "b", "bb", "c"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Writes of one turn: the keys of each change.
    Write(Vec<Vec<usize>>),
    /// A new watch on a stream; the start is relative to the present.
    Create(u64, usize, Option<i64>, u8),
    Cancel(u64, i64),
    Progress(u64),
    /// The client takes this many events.
    Take(u64, usize),
    /// A read is answered with at most this many changes.
    Answer(usize),
    /// A read fails.
    Fail,
    Compact(i64),
    /// A snapshot brings this many changes at once.
    Install(usize),
    Reopen(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let stream = 0..STREAMS;
    let one = proptest::sample::subsequence((0..KEYS.len()).collect::<Vec<_>>(), 1..=KEYS.len());
    prop_oneof![
        8 => proptest::collection::vec(one, 1..4).prop_map(Step::Write),
        3 => (stream.clone(), 0..7_usize, proptest::option::of(-20..4_i64), 0..32_u8)
            .prop_map(|(stream, range, start, flags)| Step::Create(stream, range, start, flags)),
        1 => (stream.clone(), 0..4_i64).prop_map(|(stream, id)| Step::Cancel(stream, id)),
        1 => stream.clone().prop_map(Step::Progress),
        6 => (stream.clone(), 1..12_usize).prop_map(|(stream, count)| Step::Take(stream, count)),
        5 => (1..6_usize).prop_map(Step::Answer),
        1 => Just(Step::Fail),
        1 => (0..12_i64).prop_map(Step::Compact),
        1 => (0..5_usize).prop_map(Step::Install),
        1 => stream.prop_map(Step::Reopen),
        2 => (1..50_u64).prop_map(Step::Pass),
    ]
}

fn keys(range: usize) -> KeyRange {
    match range {
        0..4 => KeyRange::single(KEYS[range]),
        4 => KeyRange { start: "b".into(), end: RangeEnd::Before("c".into()) },
        5 => KeyRange { start: "bb".into(), end: RangeEnd::Unbounded },
        _ => KeyRange::all(),
    }
}

/// What a client holds of one watch.
struct Seen {
    create: WatchCreate,
    first: Revision,
    events: Vec<Event>,
    /// The revision of a response that goes on.
    open_fragment: Option<Revision>,
}

/// One client stream: what waits for it, and what it has been told.
#[derive(Default)]
struct Client {
    buffer: Vec<WatchEvent>,
    creates: Vec<WatchCreate>,
    watches: BTreeMap<WatchId, Seen>,
    last_header: Revision,
}

struct World {
    hub: Hub,
    now: Instant,
    history: Vec<Change>,
    compacted: Revision,
    reads: Vec<ReadHistory>,
    installs: usize,
    clients: BTreeMap<StreamId, Client>,
}

impl World {
    fn new(recent_bytes: usize) -> Self {
        let config = HubConfig {
            buffer_bytes: BUFFER_BYTES,
            response_bytes: 300,
            read_bytes: 100,
            recent_bytes,
            max_watches: 5,
            progress_interval: Duration::from_nanos(100),
        };
        let mut world = Self {
            hub: Hub::new(config, Revision(1), Revision(0)),
            now: Instant::from_nanos(1),
            history: Vec::new(),
            compacted: Revision(0),
            reads: Vec::new(),
            installs: 0,
            clients: BTreeMap::new(),
        };
        (0..STREAMS).for_each(|stream| world.open(StreamId(stream)));
        world
    }

    fn open(&mut self, stream: StreamId) {
        self.clients.insert(stream, Client::default());
        self.input(Input::Open { stream, leader: LeaderNeed::None });
    }

    fn input(&mut self, input: Input<'_>) {
        let mut out = Effects::default();
        self.hub.handle(self.now, input, &mut out);
        for (stream, event) in out.deliver {
            self.clients.get_mut(&stream).expect("only open streams are given events").buffer.push(event);
        }
        self.reads.extend(out.reads);
        self.check_bounds();
    }

    /// A buffer never grows by events once it is full: at most one response of one whole revision lies above.
    fn check_bounds(&self) {
        for client in self.clients.values() {
            let is_event = |event: &&WatchEvent| matches!(event, WatchEvent::Events { .. });
            let waiting: usize = client.buffer.iter().filter(is_event).map(weight).sum();
            assert!(waiting <= BUFFER_BYTES + 1000, "{waiting} bytes wait");
        }
        assert!(self.reads.len() <= 1 + self.installs, "reads pile up");
    }

    fn write(&mut self, turn: &[Vec<usize>]) {
        let first = self.history.len();
        for (number, of) in turn.iter().enumerate() {
            let revision = i64::try_from(first + number).unwrap() + 2;
            let names: Vec<String> = of
                .iter()
                .map(|key| {
                    if (revision + i64::try_from(*key).unwrap()) % 4 == 0 {
                        format!("-{}", KEYS[*key])
                    } else {
                        KEYS[*key].into()
                    }
                })
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            self.history.push(change(revision, &names, 20));
        }
        let changes = self.history[first..].to_vec();
        self.input(Input::Changes(&changes));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(turn) => self.write(&turn),
            Step::Create(stream, range, start, flags) => self.create(StreamId(stream), range, start, flags),
            Step::Cancel(stream, id) => self.command(stream, WatchCommand::Cancel(WatchId(id))),
            Step::Progress(stream) => self.command(stream, WatchCommand::Progress),
            Step::Take(stream, count) => self.take(StreamId(stream), count),
            Step::Answer(count) => self.answer(count),
            Step::Fail => {
                if let Some(read) = self.reads.pop() {
                    self.input(Input::History { from: read.from, result: Err(ErrorKind::Overloaded) });
                }
            }
            Step::Compact(ago) => {
                self.compacted = self.compacted.max(Revision(self.hub.revision().get() - ago));
                self.input(Input::Compacted(self.compacted));
            }
            Step::Install(count) => {
                // A read under way when a snapshot comes is not waited for.
                self.installs += 1;
                for _ in 0..count {
                    let revision = i64::try_from(self.history.len()).unwrap() + 2;
                    self.history.push(change(revision, &["a", "bb"], 20));
                }
                let revision = Revision(i64::try_from(self.history.len()).unwrap() + 1);
                self.input(Input::Installed { revision, compacted: self.compacted });
            }
            Step::Reopen(stream) => {
                self.input(Input::Close(StreamId(stream)));
                self.open(StreamId(stream));
            }
            Step::Pass(nanos) => {
                self.now += Duration::from_nanos(nanos);
                self.input(Input::Tick);
            }
        }
    }

    fn command(&mut self, stream: u64, command: WatchCommand) {
        self.input(Input::Command { stream: StreamId(stream), command });
    }

    fn create(&mut self, stream: StreamId, range: usize, start: Option<i64>, flags: u8) {
        let start = start.map(|ago| (self.hub.revision().get() + ago).max(0));
        let create = WatchCreate {
            prev_kv: flags & 1 != 0,
            fragment: flags & 2 != 0,
            progress_notify: flags & 4 != 0,
            filter: WatchFilter { no_put: flags & 24 == 8, no_delete: flags & 24 == 16 },
            ..watch(keys(range), start)
        };
        self.clients.get_mut(&stream).unwrap().creates.push(create.clone());
        self.input(Input::Command { stream, command: WatchCommand::Create(create) });
    }

    fn answer(&mut self, count: usize) {
        let Some(read) = self.reads.pop() else { return };
        assert!(read.from <= read.to);
        let result = if read.from < self.compacted {
            Err(ErrorKind::Compacted { requested: read.from, oldest: self.compacted })
        } else {
            let within = |change: &&Change| change.revision >= read.from && change.revision <= read.to;
            let changes: Vec<Change> = self.history.iter().filter(within).take(count).cloned().collect();
            let next = if changes.len() == count { changes[count - 1].revision.next() } else { read.to.next() };
            Ok(History { changes, next })
        };
        self.input(Input::History { from: read.from, result });
    }

    fn take(&mut self, stream: StreamId, count: usize) {
        let client = self.clients.get_mut(&stream).unwrap();
        let count = count.min(client.buffer.len());
        let taken: Vec<WatchEvent> = client.buffer.drain(..count).collect();
        let bytes = taken.iter().map(weight).sum();
        for event in taken {
            client.see(event, &self.history, self.compacted);
        }
        self.input(Input::Drained { stream, bytes });
    }

    /// Everything is read and answered until nothing is left; then every watch must have everything.
    fn settle(&mut self) {
        for _ in 0..20_000 {
            self.now += Duration::from_millis(100);
            self.answer(3);
            (0..STREAMS).for_each(|stream| self.take(StreamId(stream), 100));
            if self.hub.behind_count() == 0 && self.clients.values().all(|client| client.buffer.is_empty()) {
                break;
            }
            self.input(Input::Tick);
        }
        for client in self.clients.values() {
            for seen in client.watches.values() {
                assert_eq!(seen.events.len(), seen.expected(&self.history).len(), "a watch lacks events");
            }
        }
    }
}

impl Seen {
    fn expected(&self, history: &[Change]) -> Vec<Event> {
        let changes = history.iter().filter(|change| change.revision >= self.first);
        changes
            .flat_map(|change| change.events.iter())
            .filter(|event| self.create.keys.contains(&event.kv.key) && passes(self.create.filter, event.kind))
            .map(|event| tailored(event, &self.create))
            .collect()
    }

    fn take(&mut self, events: Vec<Event>, more: bool, history: &[Change]) {
        let expected = self.expected(history);
        let (from, to) = (self.events.len(), self.events.len() + events.len());
        assert_eq!(Some(&events[..]), expected.get(from..to), "not the next events of {:?}", self.create);
        let cut = to < expected.len() && expected[to].kv.mod_revision == expected[to - 1].kv.mod_revision;
        assert_eq!(cut, more, "a revision is cut, or said to be and is not");
        assert!(!more || self.create.fragment, "cut without leave");
        self.open_fragment = more.then(|| expected[to - 1].kv.mod_revision);
        self.events.extend(events);
    }

    fn has_all_up_to(&self, revision: Revision, history: &[Change]) -> bool {
        self.expected(history).get(self.events.len()).is_none_or(|next| next.kv.mod_revision > revision)
            && self.open_fragment.is_none()
            && self.first <= revision.next()
    }
}

impl Client {
    fn see(&mut self, event: WatchEvent, history: &[Change], compacted: Revision) {
        match event {
            WatchEvent::Created { id, revision } => {
                self.header(revision);
                let create = self.creates.remove(0);
                let first = create.start_revision.map_or(revision.next(), |first| first.max(Revision(1)));
                let seen = Seen { create, first, events: Vec::new(), open_fragment: None };
                assert!(self.watches.insert(id, seen).is_none(), "an id given twice");
            }
            WatchEvent::Canceled { id, revision, reason } => {
                self.header(revision);
                match reason {
                    CancelReason::TooMany => drop(self.creates.remove(0)),
                    CancelReason::Asked => assert!(self.watches.remove(&id).is_some()),
                    CancelReason::Compacted(at) => {
                        let seen = self.watches.remove(&id).expect("compacted after it was created");
                        assert!(at <= compacted && seen.first < at, "canceled although nothing it needs is lost");
                    }
                    CancelReason::Gone(_) => drop(self.watches.remove(&id)),
                    CancelReason::DuplicateId
                    | CancelReason::InvalidRange
                    | CancelReason::NoLeader
                    | CancelReason::Refused(_) => {
                        panic!("unexpected {reason:?}")
                    }
                }
            }
            WatchEvent::Events { id, revision, events, fragment } => {
                self.header(revision);
                assert!(events.last().expect("never empty").kv.mod_revision <= revision);
                let seen = self.watches.get_mut(&id).expect("events of a watch that lives");
                seen.take(events, fragment, history);
            }
            WatchEvent::Progress { id, revision } => {
                self.header(revision);
                let told = self.watches.iter().filter(|(known, _)| id.is_none_or(|id| id == **known));
                for (id, seen) in told {
                    assert!(seen.has_all_up_to(revision, history), "progress {revision} came before {id}'s events");
                }
            }
        }
    }

    fn header(&mut self, revision: Revision) {
        assert!(revision >= self.last_header, "the stream went back from {} to {revision}", self.last_header);
        self.last_header = revision;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_watch_is_given_exactly_its_events(
        recent_bytes in prop_oneof![Just(0_usize), Just(500), Just(100_000)],
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new(recent_bytes);
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}
