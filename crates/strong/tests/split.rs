//! A shard is split while it is written to, while replicas die and come back and pages come twice: afterwards each side is
//! what an unsplit table is there.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use althing_api::ErrorKind;
use althing_api::kv::{DeleteRangeRequest, Event, KeyRange, PutLease, PutRequest, PutValue, RangeEnd, RangeRequest};
use althing_storage::engine::model::ModelEngine;
use althing_storage::engine::{Applied, Engine};
use althing_strong::bounds::START;
use althing_strong::layout::VersionId;
use althing_strong::{
    ApplyOutput, Bounds, Command, Feed, Importer, LogEntry, Machine, Outcome, Page, Reader, Role, Seal, Slice, Stage,
};
use althing_types::{GroupId, LeaseId, Revision, SpaceId};
use bytes::Bytes;
use common::{compact_fully, entry, export, members, open, random};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const CHILDREN: [GroupId; 2] = [GroupId(17), GroupId(18)];

/// A shard of one replica with its log.
struct Shard {
    engine: Arc<ModelEngine>,
    machine: Machine,
    log: Vec<LogEntry>,
    /// With which it was born; `None`: it is the whole of its table.
    born: Option<Bounds>,
}

impl Shard {
    fn new(slice: Slice, role: Role) -> Self {
        Self::start(Arc::new(ModelEngine::new()), Vec::new(), Some(Bounds::new(slice, role)))
    }

    fn whole(log: Vec<LogEntry>) -> Self {
        Self::start(Arc::new(ModelEngine::new()), log, None)
    }

    /// What a process finds, brought to the end of the log.
    fn start(engine: Arc<ModelEngine>, log: Vec<LogEntry>, born: Option<Bounds>) -> Self {
        let mut machine = open(&engine, common::SPACE);
        if machine.is_blank() {
            let (conf_state, applied) = (Bytes::from_static(b"conf"), Applied { index: 0, term: 1 });
            match born.clone() {
                Some(bounds) => machine.bootstrap_shard(conf_state, bounds, applied).unwrap(),
                None => machine.bootstrap(&members(), conf_state, applied).unwrap(),
            }
        }
        let from = usize::try_from(machine.applied().index).unwrap();
        for slice in log[from..].chunks(3) {
            machine.apply(slice, &mut ApplyOutput::default()).unwrap();
        }
        Self { engine, machine, log, born }
    }

    /// The process dies and comes back.
    fn crash(&mut self, seed: u64) {
        let engine = Arc::new(self.engine.crash(seed));
        *self = Self::start(engine, std::mem::take(&mut self.log), self.born.take());
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
        self.reader().bounds().unwrap().stage
    }
}

/// What happens while a split is under way.
#[derive(Clone, Debug)]
enum Move {
    Write(Command),
    Page(Side, usize),
    Repeat(Index),
    CrashParent(u64),
    CrashChild(Side, u64),
    Checkpoint,
    Compact,
}

/// Left or right child, as an index.
type Side = usize;

fn a_move() -> impl Strategy<Value = Move> {
    let side = || 0..2_usize;
    prop_oneof![
        12 => random::command().prop_map(Move::Write),
        6 => (side(), 1_usize..300).prop_map(|(side, bytes)| Move::Page(side, bytes)),
        1 => any::<Index>().prop_map(Move::Repeat),
        1 => any::<u64>().prop_map(Move::CrashParent),
        1 => (side(), any::<u64>()).prop_map(|(side, seed)| Move::CrashChild(side, seed)),
        1 => Just(Move::Checkpoint),
        1 => Just(Move::Compact),
    ]
}

/// A child that is being filled.
struct Child {
    slice: Slice,
    shard: Shard,
    feed: Option<Feed>,
    pages: Vec<Page>,
}

impl Child {
    fn new(slice: Slice) -> Self {
        Self { shard: Shard::new(slice.clone(), Role::Fill), slice, feed: None, pages: Vec::new() }
    }

    fn next(&self) -> VersionId {
        match self.shard.stage() {
            Stage::Filling { next, .. } => next,
            other => panic!("the child is {other:?}"),
        }
    }

    /// One page, if there is one. A feed goes on where the child stands; where that cannot be, another child is begun.
    fn page(&mut self, parent: &Shard, max_bytes: usize) -> bool {
        if self.feed.is_none() {
            self.feed = match parent.reader().feed(self.slice.clone(), self.next()) {
                Ok(feed) => Some(feed),
                Err(ErrorKind::Compacted { .. }) => {
                    let is_sealed = matches!(parent.stage(), Stage::Sealed(_));
                    assert!(!is_sealed, "after the seal every replica can go on");
                    *self = Self::new(self.slice.clone());
                    Some(parent.reader().feed(self.slice.clone(), START).unwrap())
                }
                Err(other) => panic!("{other:?}"),
            };
        }
        let Some(page) = self.feed.as_mut().unwrap().next_page(max_bytes).unwrap() else { return false };
        self.shard.apply(Command::Ingest(page.clone())).unwrap();
        self.pages.push(page);
        true
    }

    fn activate(&mut self, parent: &Shard, seal: &Seal) {
        let activate = Command::Activate { revision: seal.revision, compacted: seal.compacted };
        while self.shard.apply(activate.clone()).is_err() {
            assert_eq!(unserved(&self.shard), Err(ErrorKind::WrongShard));
            assert!(self.page(parent, 100), "a child that has everything can be activated");
        }
        self.shard.apply(activate).unwrap();
        self.feed = None;
        assert_eq!(self.shard.stage(), Stage::Activated(seal.revision));
        assert_eq!(self.shard.reader().revision(), seal.revision);
    }
}

/// A shard that is split, its children, and a table that is not split and is told the same.
struct Split {
    at: Bytes,
    parent: Shard,
    children: [Child; 2],
    whole: Shard,
}

impl Split {
    fn new(at: Bytes) -> Self {
        let all = || Shard::new(Slice::default(), Role::Serve);
        let children = Slice::default().cut(&at).map(Child::new);
        Self { at, parent: all(), children, whole: all() }
    }

    fn make(&mut self, wanted: Move) {
        match wanted {
            Move::Write(command) => write(&mut self.parent, &mut self.whole, command),
            Move::Page(side, max_bytes) => {
                self.children[side].page(&self.parent, max_bytes);
            }
            Move::Repeat(which) => {
                for child in self.children.iter_mut().filter(|child| !child.pages.is_empty()) {
                    let before = child.shard.reader().hash();
                    child.shard.apply(Command::Ingest(which.get(&child.pages).clone())).unwrap();
                    assert_eq!(child.shard.reader().hash(), before, "a page that was had does nothing");
                }
            }
            Move::CrashParent(seed) => {
                self.children.iter_mut().for_each(|child| child.feed = None);
                self.parent.crash(seed);
            }
            Move::CrashChild(side, seed) => self.children[side].shard.crash(seed),
            Move::Checkpoint => {
                self.parent.checkpoint();
                self.children.iter().for_each(|child| child.shard.checkpoint());
            }
            Move::Compact => {
                let revision = self.parent.reader().revision();
                write(&mut self.parent, &mut self.whole, Command::Compact { revision });
                self.parent.machine.compaction_step().unwrap();
                for child in &mut self.children {
                    child.shard.machine.compaction_step().unwrap();
                }
            }
        }
    }

    /// Seals the parent, once its children are not behind its compaction.
    fn seal(&mut self) -> Seal {
        loop {
            let filled = self.children.iter().map(Child::next).min().unwrap();
            let seal = Command::Seal { at: self.at.clone(), children: CHILDREN, filled };
            if self.parent.apply(seal.clone()).is_ok() {
                self.parent.apply(seal).unwrap();
                break;
            }
            let told = self.children.iter_mut().map(|child| child.page(&self.parent, 50));
            assert!(told.fold(false, |any, one| any | one), "children that have everything allow the seal");
        }
        match self.parent.stage() {
            Stage::Sealed(seal) => seal,
            other => panic!("the parent is {other:?}"),
        }
    }
}

fn range_of(slice: &Slice) -> RangeRequest {
    let end = slice.end.clone().map_or(RangeEnd::Unbounded, RangeEnd::Before);
    RangeRequest::new(KeyRange { start: slice.start.clone(), end })
}

fn unserved(shard: &Shard) -> Result<(), ErrorKind> {
    shard.reader().range(&range_of(&shard.reader().bounds().unwrap().slice)).map(|_| ())
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
        after in vec((0..2_usize, random::command()), 0..30),
        crash: u64,
    ) {
        let mut split = Split::new(at.clone());
        before.into_iter().for_each(|wanted| split.make(wanted));
        let seal = split.seal();
        prop_assert_eq!(unserved(&split.parent), Err(ErrorKind::WrongShard));
        sealed.into_iter().for_each(|wanted| split.make(wanted));
        // What a sealed shard refuses, the unsplit table was not told.
        prop_assert_eq!(split.whole.reader().revision(), seal.revision);
        prop_assert_eq!(split.parent.stage(), Stage::Sealed(seal.clone()));
        let Split { parent, mut children, whole, .. } = split;
        children.iter_mut().for_each(|child| child.activate(&parent, &seal));
        // Each side goes on by itself, beside an unsplit table that is told the same.
        let mut wholes = [(); 2].map(|()| Shard::start(Arc::default(), whole.log.clone(), whole.born.clone()));
        let both = |children: &[Child; 2], wholes: &[Shard; 2]| {
            children.iter().zip(wholes).for_each(|(child, whole)| compare(&child.shard, whole, &child.slice));
        };
        both(&children, &wholes);
        for (side, command) in after {
            write(&mut children[side].shard, &mut wholes[side], command);
        }
        both(&children, &wholes);
        for child in &mut children {
            compact_fully(&mut child.shard.machine);
            child.shard.crash(crash);
        }
        both(&children, &wholes);
        for child in &children {
            let everything = RangeRequest::new(KeyRange::all());
            prop_assert_eq!(child.shard.reader().range(&everything), Err(ErrorKind::WrongShard));
            let copy = snapshot_of(&child.shard);
            prop_assert_eq!(copy.reader().hash(), child.shard.reader().hash());
            prop_assert_eq!(copy.reader().bounds(), child.shard.reader().bounds());
        }
    }

    #[test]
    fn a_snapshot_of_a_child_that_is_being_filled_goes_on_as_it_does(
        at in split_key(),
        before in vec(a_move(), 0..40),
        after in vec(random::command(), 0..10),
    ) {
        let mut split = Split::new(at);
        before.into_iter().for_each(|wanted| split.make(wanted));
        let child = &split.children[1].shard;
        let copy = snapshot_of(child);
        prop_assert_eq!(copy.reader().hash(), child.reader().hash());
        let (engine, born, log) = (Arc::clone(&child.engine), child.born.clone(), child.log.clone());
        let mut twin = Shard { engine, machine: copy, log, born };
        let known = twin.log.len();
        after.into_iter().for_each(|command| split.make(Move::Write(command)));
        let seal = split.seal();
        let Split { parent, mut children, .. } = split;
        children[1].activate(&parent, &seal);
        let child = &children[1].shard;
        // Unless another child had to be begun.
        if child.log.len() > known && child.log[..known] == twin.log[..] {
            for entry in &child.log[known..] {
                twin.machine.apply(std::slice::from_ref(entry), &mut ApplyOutput::default()).unwrap();
            }
            prop_assert_eq!(twin.machine.reader().hash(), child.reader().hash());
        }
    }
}

fn put(key: &'static str) -> Command {
    let value = PutValue::Set(Bytes::from_static(b"v"));
    Command::Put(PutRequest { key: key.into(), value, lease: PutLease::Set(None), prev_kv: false })
}

fn right_of(at: &'static str) -> Slice {
    let [_, right] = Slice::default().cut(&at.into());
    right
}

fn refusal(result: Result<Outcome, ErrorKind>) -> String {
    result.unwrap_err().to_string()
}

fn seal(at: &'static str, filled: VersionId) -> Command {
    Command::Seal { at: at.into(), children: CHILDREN, filled }
}

#[test]
fn a_shard_without_bounds_cannot_be_split_and_one_with_bounds_has_no_leases() {
    let mut whole = Shard::whole(Vec::new());
    assert!(matches!(whole.apply(seal("m", START)), Err(ErrorKind::Unsupported(_))));
    let mut shard = Shard::new(Slice::default(), Role::Serve);
    let grant = Command::LeaseGrant { id: LeaseId(1), ttl_seconds: 9 };
    assert!(matches!(shard.apply(grant.clone()), Err(ErrorKind::Unsupported(_))));
    whole.apply(grant).unwrap();
}

#[test]
fn a_shard_is_not_split_where_a_child_would_hold_nothing() {
    let mut shard = Shard::new(Slice { start: "b".into(), end: Some("m".into()) }, Role::Serve);
    assert!(refusal(shard.apply(seal("b", START))).contains("at its first key"));
    assert_eq!(shard.apply(seal("a", START)), Err(ErrorKind::WrongShard));
    assert_eq!(shard.apply(seal("m", START)), Err(ErrorKind::WrongShard));
    shard.apply(seal("c", START)).unwrap();
    assert!(refusal(shard.apply(seal("bb", START))).contains("split otherwise"));
    assert_eq!(shard.apply(put("c")), Err(ErrorKind::WrongShard));
    assert_eq!(shard.apply(put("bb")), Err(ErrorKind::WrongShard));
    assert_eq!(shard.apply(Command::Compact { revision: Revision(1) }), Err(ErrorKind::WrongShard));
}

#[test]
fn a_shard_is_never_sealed_for_children_that_were_given_up() {
    let mut shard = Shard::new(Slice::default(), Role::Serve);
    let bar = |child| Command::Bar { child: GroupId(child) };
    shard.apply(bar(18)).unwrap();
    shard.apply(bar(16)).unwrap();
    assert!(refusal(shard.apply(seal("m", START))).contains("given up"));
    shard.apply(put("m")).unwrap();
    let others = Command::Seal { at: "m".into(), children: [GroupId(19), GroupId(20)], filled: START };
    shard.apply(others).unwrap();
    assert!(refusal(shard.apply(bar(20))).contains("is sealed"), "what is sealed is theirs");
}

#[test]
fn the_middle_of_a_shard_has_as_many_keys_on_either_side() {
    let mut shard = Shard::new(Slice::default(), Role::Serve);
    assert_eq!(shard.reader().middle(), Ok(None));
    shard.apply(put("a")).unwrap();
    assert_eq!(shard.reader().middle(), Ok(None), "one key cannot be split");
    for key in ["b", "c", "d", "e"] {
        shard.apply(put(key)).unwrap();
    }
    assert_eq!(shard.reader().middle(), Ok(Some("c".into())));
    let numbered = |number: u64| Bytes::from(format!("k{number:05}"));
    for number in 0..5000 {
        let Command::Put(request) = put("k") else { unreachable!() };
        shard.apply(Command::Put(PutRequest { key: numbered(number), ..request })).unwrap();
    }
    assert_eq!(shard.reader().middle(), Ok(Some(numbered(2502 - 5))));
}

#[test]
fn a_shard_that_was_compacted_beyond_its_children_is_not_sealed() {
    let mut shard = Shard::new(Slice::default(), Role::Serve);
    shard.apply(put("a")).unwrap();
    shard.apply(put("n")).unwrap();
    shard.apply(Command::Compact { revision: Revision(2) }).unwrap();
    let filled = |main| VersionId { main: Revision(main), sub: 0 };
    assert!(refusal(shard.apply(seal("m", filled(2)))).contains("compacted beyond"));
    shard.apply(put("o")).unwrap();
    shard.apply(seal("m", filled(3))).unwrap();
}

#[test]
fn a_child_takes_pages_in_order_only_and_is_activated_only_when_it_has_all() {
    let mut parent = Shard::new(Slice::default(), Role::Serve);
    for key in ["a", "n", "o", "p"] {
        parent.apply(put(key)).unwrap();
    }
    let slice = right_of("m");
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
fn a_feed_goes_on_at_another_replica_only_above_what_that_may_have_removed() {
    let mut parent = Shard::new(Slice::default(), Role::Serve);
    let slice = right_of("m");
    parent.apply(put("n")).unwrap();
    let mut feed = parent.reader().feed(slice.clone(), START).unwrap();
    assert_eq!(feed.next_page(usize::MAX).unwrap().unwrap().versions.len(), 1);
    let next = feed.next();
    let keys = KeyRange::single("n");
    parent.apply(Command::DeleteRange(DeleteRangeRequest { keys, prev_kv: false })).unwrap();
    parent.apply(put("a")).unwrap();
    parent.apply(Command::Compact { revision: Revision(2) }).unwrap();
    assert!(parent.reader().feed(slice.clone(), next).is_ok(), "nothing above revision 2 is gone");
    parent.apply(Command::Compact { revision: Revision(4) }).unwrap();
    assert!(!parent.machine.compaction_step().unwrap(), "a feed holds the history");
    let removal = feed.next_page(usize::MAX).unwrap().unwrap().versions;
    assert_eq!(removal.len(), 1, "so it tells of the removal still");
    let expected = ErrorKind::Compacted { requested: next.main, oldest: Revision(4) };
    assert_eq!(parent.reader().feed(slice.clone(), next).map(|_| ()), Err(expected));
    let mut anew = parent.reader().feed(slice, START).unwrap();
    assert!(anew.next_page(usize::MAX).unwrap().unwrap().versions.is_empty());
}

#[test]
fn a_page_with_a_key_outside_the_child_changes_nothing() {
    let mut parent = Shard::new(Slice::default(), Role::Serve);
    parent.apply(put("n")).unwrap();
    parent.apply(put("a")).unwrap();
    let page = parent.reader().feed(Slice::default(), START).unwrap().next_page(usize::MAX).unwrap().unwrap();
    let mut child = Shard::new(right_of("m"), Role::Fill);
    let before = child.reader().hash();
    assert!(refusal(child.apply(Command::Ingest(page))).contains("outside the shard"));
    assert_eq!(child.reader().hash(), before);
}
