//! A shard is split while it is written to, while replicas die and come back and pages come twice: afterwards each side is
//! what an unsplit table is there.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use althing_api::ErrorKind;
use althing_api::kv::{Event, KeyRange, RangeEnd, RangeRequest};
use althing_storage::engine::model::ModelEngine;
use althing_storage::engine::{Applied, Engine};
use althing_strong::bounds::START;
use althing_strong::{
    ApplyOutput, Command, Feed, Importer, LogEntry, Machine, Outcome, Page, Reader, Role, Slice, Stage,
};
use althing_types::{GroupId, LeaseId, Revision, SpaceId};
use bytes::Bytes;
use common::{compact_fully, entry, export, members, open, random};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const CHILD: GroupId = GroupId(17);

/// A shard of one replica with its log.
struct Shard {
    engine: Arc<ModelEngine>,
    machine: Machine,
    log: Vec<LogEntry>,
}

impl Shard {
    fn new(slice: Slice, role: Role) -> Self {
        let mut shard = Self::start(Arc::new(ModelEngine::new()), Vec::new());
        shard.apply(Command::Bounds { slice, role }).unwrap();
        shard
    }

    /// What a process finds, brought to the end of the log.
    fn start(engine: Arc<ModelEngine>, log: Vec<LogEntry>) -> Self {
        let mut machine = open(&engine, common::SPACE);
        if machine.is_blank() {
            machine.bootstrap(&members(), Bytes::from_static(b"conf"), Applied { index: 0, term: 1 }).unwrap();
        }
        let from = usize::try_from(machine.applied().index).unwrap();
        for slice in log[from..].chunks(3) {
            machine.apply(slice, &mut ApplyOutput::default()).unwrap();
        }
        Self { engine, machine, log }
    }

    /// The process dies and comes back.
    fn crash(&mut self, seed: u64) {
        let engine = Arc::new(self.engine.crash(seed));
        *self = Self::start(engine, std::mem::take(&mut self.log));
    }

    fn checkpoint(&self) {
        self.engine.begin_checkpoint().unwrap().finish().unwrap();
    }

    fn apply(&mut self, command: Command) -> Result<Outcome, ErrorKind> {
        self.log.push(entry(self.log.len() as u64 + 1, command));
        let mut out = ApplyOutput::default();
        self.machine.apply(&self.log[self.log.len() - 1..], &mut out).unwrap();
        out.results.pop().unwrap().result
    }

    fn reader(&self) -> Reader {
        self.machine.reader()
    }

    fn stage(&self) -> Stage {
        self.reader().bounds().unwrap().unwrap().stage
    }
}

/// What happens while a split is under way.
#[derive(Clone, Debug)]
enum Move {
    Write(Command),
    Page(usize),
    Repeat(Index),
    CrashParent(u64),
    CrashChild(u64),
    Checkpoint,
    Compact,
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        12 => random::command().prop_map(Move::Write),
        4 => (1_usize..300).prop_map(Move::Page),
        1 => any::<Index>().prop_map(Move::Repeat),
        1 => any::<u64>().prop_map(Move::CrashParent),
        1 => any::<u64>().prop_map(Move::CrashChild),
        1 => Just(Move::Checkpoint),
        1 => Just(Move::Compact),
    ]
}

/// A shard that is split, its child, and a table that is not split and is told the same.
struct Split {
    at: Bytes,
    parent: Shard,
    child: Shard,
    whole: Shard,
    feed: Option<Feed>,
    pages: Vec<Page>,
}

impl Split {
    fn new(at: Bytes) -> Self {
        let all = || Shard::new(Slice::default(), Role::Serve);
        let child = Shard::new(right_of(&at), Role::Fill);
        Self { at, parent: all(), child, whole: all(), feed: None, pages: Vec::new() }
    }

    fn make(&mut self, wanted: Move) {
        match wanted {
            Move::Write(command) => write(&mut self.parent, &mut self.whole, command),
            Move::Page(max_bytes) => {
                self.page(max_bytes);
            }
            Move::Repeat(which) if !self.pages.is_empty() => {
                let before = self.child.reader().hash();
                self.child.apply(Command::Ingest(which.get(&self.pages).clone())).unwrap();
                assert_eq!(self.child.reader().hash(), before, "a page that was had does nothing");
            }
            Move::Repeat(_) => {}
            Move::CrashParent(seed) => {
                self.feed = None;
                self.parent.crash(seed);
            }
            Move::CrashChild(seed) => self.child.crash(seed),
            Move::Checkpoint => {
                self.parent.checkpoint();
                self.child.checkpoint();
            }
            Move::Compact => {
                self.parent.machine.compaction_step().unwrap();
                self.child.machine.compaction_step().unwrap();
            }
        }
    }

    /// One page, if there is one. A feed goes on where the child stands; where that cannot be, another child is begun.
    fn page(&mut self, max_bytes: usize) -> bool {
        if self.feed.is_none() {
            let Stage::Filling { next, .. } = self.child.stage() else { panic!("the child serves") };
            self.feed = match self.parent.reader().feed(right_of(&self.at), next) {
                Ok(feed) => Some(feed),
                Err(ErrorKind::Compacted { .. }) => {
                    self.pages.clear();
                    self.child = Shard::new(right_of(&self.at), Role::Fill);
                    Some(self.parent.reader().feed(right_of(&self.at), START).unwrap())
                }
                Err(other) => panic!("{other:?}"),
            };
        }
        let Some(page) = self.feed.as_mut().unwrap().next_page(max_bytes).unwrap() else { return false };
        self.child.apply(Command::Ingest(page.clone())).unwrap();
        self.pages.push(page);
        true
    }

    fn seal(&mut self) {
        for _ in 0..2 {
            self.parent.apply(Command::Seal { at: self.at.clone(), child: CHILD }).unwrap();
        }
        assert_eq!(self.parent.reader().bounds().unwrap().unwrap().slice, left_of(&self.at));
    }

    fn activate(&mut self) {
        let moved = self.parent.reader().bounds().unwrap().unwrap().moved.remove(0);
        let activate = Command::Activate { revision: moved.revision, compacted: moved.compacted };
        while self.child.apply(activate.clone()).is_err() {
            assert_eq!(unserved(&self.child), Err(ErrorKind::WrongShard));
            assert!(self.page(100), "a child that has everything can be activated");
        }
        self.child.apply(activate).unwrap();
        self.feed = None;
        assert_eq!(self.child.stage(), Stage::Activated(moved.revision));
        assert_eq!(self.child.reader().revision(), moved.revision);
    }
}

fn left_of(at: &Bytes) -> Slice {
    Slice { start: Bytes::new(), end: Some(at.clone()) }
}

fn right_of(at: &Bytes) -> Slice {
    Slice { start: at.clone(), end: None }
}

fn range_of(slice: &Slice) -> RangeRequest {
    let end = slice.end.clone().map_or(RangeEnd::Unbounded, RangeEnd::Before);
    RangeRequest::new(KeyRange { start: slice.start.clone(), end })
}

fn unserved(child: &Shard) -> Result<(), ErrorKind> {
    child.reader().range(&range_of(&child.reader().bounds().unwrap().unwrap().slice)).map(|_| ())
}

/// Writes to a shard, and to an unsplit table what the shard did not refuse for want of the keys: both answer the same.
fn write(shard: &mut Shard, whole: &mut Shard, command: Command) {
    let found = shard.apply(command.clone());
    if found != Err(ErrorKind::WrongShard) {
        assert_eq!(found, whole.apply(command.clone()), "{command:?}");
    }
}

/// All that can be read of a slice: at each revision, and as history.
fn compare(shard: &Shard, whole: &Shard, slice: &Slice) {
    let (one, other) = (shard.reader(), whole.reader());
    assert_eq!(one.revision(), other.revision());
    assert_eq!(one.compact_revision(), other.compact_revision());
    let now = [range_of(slice)];
    let past = (one.compact_revision().0.max(1)..=one.revision().0).flat_map(|revision| {
        let every = RangeRequest { revision: Some(Revision(revision)), ..range_of(slice) };
        [RangeRequest { count_only: true, ..every.clone() }, every]
    });
    for request in now.into_iter().chain(past) {
        assert_eq!(one.range(&request), other.range(&request), "{request:?}");
    }
    assert_eq!(history(&one, slice), history(&other, slice));
}

fn history(reader: &Reader, slice: &Slice) -> Vec<(Revision, Vec<Event>)> {
    let from = reader.compact_revision().max(Revision(0)).next();
    if from > reader.revision() {
        return Vec::new();
    }
    let changes = reader.history(from, reader.revision(), usize::MAX).unwrap().changes;
    let of_slice = |events: &[Event]| events.iter().filter(|event| slice.holds(&event.kv.key)).cloned().collect();
    let told = changes.into_iter().map(|change| (change.revision, of_slice(&change.events)));
    told.filter(|(_, events): &(_, Vec<_>)| !events.is_empty()).collect()
}

fn snapshot_of(shard: &Shard) -> Machine {
    let mut importer = Importer::new(Arc::clone(&shard.engine) as _, SpaceId(99));
    export(&shard.machine, 200).into_iter().for_each(|page| importer.page(page).unwrap());
    importer.finish().unwrap();
    open(&shard.engine, SpaceId(99))
}

fn split_key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![&b"\x00\x01"[..], b"a", b"a\x00", b"aa", b"b", b"\xff", b"\xff\xff"])
        .prop_map(Bytes::from_static)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn both_sides_of_a_split_are_what_an_unsplit_table_is_there(
        at in split_key(),
        before in vec(a_move(), 0..60),
        sealed in vec(a_move(), 0..10),
        after in vec((any::<bool>(), random::command()), 0..30),
        crash: u64,
    ) {
        let mut split = Split::new(at.clone());
        before.into_iter().for_each(|wanted| split.make(wanted));
        split.seal();
        // The table as it stood at the seal, for the child's side.
        let mut whole = Shard::start(Arc::new(ModelEngine::new()), split.whole.log.clone());
        sealed.into_iter().for_each(|wanted| split.make(wanted));
        split.activate();
        let Split { mut parent, mut child, whole: mut kept, .. } = split;
        compare(&child, &whole, &right_of(&at));
        for (is_left, command) in after {
            if is_left {
                write(&mut parent, &mut kept, command);
            } else {
                write(&mut child, &mut whole, command);
            }
        }
        compare(&parent, &kept, &left_of(&at));
        compare(&child, &whole, &right_of(&at));
        compact_fully(&mut child.machine);
        child.crash(crash);
        parent.crash(crash);
        compare(&parent, &kept, &left_of(&at));
        compare(&child, &whole, &right_of(&at));
        let everything = RangeRequest::new(KeyRange::all());
        prop_assert_eq!(parent.reader().range(&everything), Err(ErrorKind::WrongShard));
        prop_assert_eq!(child.reader().range(&everything), Err(ErrorKind::WrongShard));
        let copy = snapshot_of(&child);
        prop_assert_eq!(copy.reader().hash(), child.reader().hash());
        prop_assert_eq!(copy.reader().bounds(), child.reader().bounds());
    }

    #[test]
    fn a_snapshot_of_a_child_that_is_being_filled_goes_on_as_it_does(
        at in split_key(),
        before in vec(a_move(), 0..40),
        after in vec(random::command(), 0..10),
    ) {
        let mut split = Split::new(at.clone());
        before.into_iter().for_each(|wanted| split.make(wanted));
        let copy = snapshot_of(&split.child);
        prop_assert_eq!(copy.reader().hash(), split.child.reader().hash());
        let log = split.child.log.clone();
        let mut twin = Shard { engine: Arc::clone(&split.child.engine), machine: copy, log };
        let known = twin.log.len();
        after.into_iter().for_each(|command| split.make(Move::Write(command)));
        split.seal();
        split.activate();
        // Unless another child had to be begun.
        if split.child.log.len() > known && split.child.log[..known] == twin.log[..] {
            for entry in &split.child.log[known..] {
                twin.machine.apply(std::slice::from_ref(entry), &mut ApplyOutput::default()).unwrap();
            }
            prop_assert_eq!(twin.machine.reader().hash(), split.child.reader().hash());
        }
    }
}

fn put(key: &'static str) -> Command {
    use althing_api::kv::{PutLease, PutRequest, PutValue};
    let value = PutValue::Set(Bytes::from_static(b"v"));
    Command::Put(PutRequest { key: key.into(), value, lease: PutLease::Set(None), prev_kv: false })
}

fn refusal(result: Result<Outcome, ErrorKind>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_shard_without_bounds_cannot_be_split_and_one_with_bounds_has_no_leases() {
    let mut whole = Shard::start(Arc::new(ModelEngine::new()), Vec::new());
    let seal = Command::Seal { at: "m".into(), child: CHILD };
    assert!(matches!(whole.apply(seal), Err(ErrorKind::Unsupported(_))));
    let mut shard = Shard::new(Slice::default(), Role::Serve);
    let grant = Command::LeaseGrant { id: LeaseId(1), ttl_seconds: 9 };
    assert!(matches!(shard.apply(grant.clone()), Err(ErrorKind::Unsupported(_))));
    whole.apply(grant).unwrap();
    let bounds = Command::Bounds { slice: Slice::default(), role: Role::Serve };
    assert!(refusal(whole.apply(bounds)).contains("holds nothing yet"));
}

#[test]
fn a_shard_is_not_split_where_it_would_hold_nothing() {
    let mut shard = Shard::new(Slice { start: "b".into(), end: Some("m".into()) }, Role::Serve);
    let seal = |at: &'static str| Command::Seal { at: at.into(), child: CHILD };
    assert!(refusal(shard.apply(seal("b"))).contains("at its first key"));
    assert_eq!(shard.apply(seal("a")), Err(ErrorKind::WrongShard));
    assert_eq!(shard.apply(seal("m")), Err(ErrorKind::WrongShard));
    shard.apply(seal("c")).unwrap();
    assert!(refusal(shard.apply(seal("bb"))).contains("another piece"));
    assert_eq!(shard.apply(put("c")), Err(ErrorKind::WrongShard));
    shard.apply(put("bb")).unwrap();
}

#[test]
fn a_child_takes_pages_in_order_only_and_is_activated_only_when_it_has_all() {
    let mut parent = Shard::new(Slice::default(), Role::Serve);
    for key in ["a", "n", "o", "p"] {
        parent.apply(put(key)).unwrap();
    }
    let slice = right_of(&Bytes::from("m"));
    let mut child = Shard::new(slice.clone(), Role::Fill);
    let mut feed = parent.reader().feed(slice, START).unwrap();
    let pages: Vec<_> = std::iter::from_fn(|| feed.next_page(1).unwrap()).collect();
    assert!(pages.len() >= 3);
    assert!(refusal(child.apply(Command::Ingest(pages[1].clone()))).contains("goes on from position 0.0"));
    child.apply(Command::Ingest(pages[0].clone())).unwrap();
    assert!(refusal(child.apply(Command::Ingest(pages[2].clone()))).contains("goes on from"));
    let activate = |revision| Command::Activate { revision: Revision(revision), compacted: Revision(-1) };
    assert!(refusal(child.apply(activate(5))).contains("only"));
    pages[1..].iter().for_each(|page| drop(child.apply(Command::Ingest(page.clone())).unwrap()));
    assert_eq!(child.apply(put("n")), Err(ErrorKind::WrongShard));
    child.apply(activate(5)).unwrap();
    assert!(refusal(child.apply(activate(6))).contains("not being filled"));
    child.apply(Command::Ingest(pages[1].clone())).unwrap();
    assert_eq!(child.apply(put("n")).unwrap().revision, Revision(6));
}

#[test]
fn a_page_with_a_key_outside_the_child_changes_nothing() {
    let mut parent = Shard::new(Slice::default(), Role::Serve);
    parent.apply(put("n")).unwrap();
    parent.apply(put("a")).unwrap();
    let page = parent.reader().feed(Slice::default(), START).unwrap().next_page(usize::MAX).unwrap().unwrap();
    let mut child = Shard::new(right_of(&Bytes::from("m")), Role::Fill);
    let before = child.reader().hash();
    assert!(refusal(child.apply(Command::Ingest(page))).contains("outside the shard"));
    assert_eq!(child.reader().hash(), before);
}
