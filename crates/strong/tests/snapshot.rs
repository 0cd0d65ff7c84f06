//! Snapshots that were damaged, cut short or never finished; and the machine on the engine that servers use.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use althing_api::cluster::{AlarmAction, AlarmKind};
use althing_api::kv::{KeyRange, PutLease, PutRequest, PutValue, RangeRequest};
use althing_storage::engine::Engine;
use althing_storage::engine::lsm::{LsmEngine, LsmOptions};
use althing_storage::engine::model::ModelEngine;
use althing_strong::{Command, Importer, Machine, MachineConfig, StrongError};
use althing_types::{ClusterId, LeaseId, NodeId, Revision, SpaceId};
use bytes::Bytes;
use common::{apply_in_slices, export, log, new_machine, random};
use proptest::collection::vec;
use proptest::prelude::*;

fn put(key: &'static str, lease: Option<LeaseId>) -> Command {
    let value = PutValue::Set(Bytes::from_static(b"value"));
    Command::Put(PutRequest { key: key.into(), value, lease: PutLease::Set(lease), prev_kv: false })
}

/// A table with something of everything.
fn pages() -> (Machine, Vec<Bytes>) {
    let (_engine, mut machine) = new_machine();
    let commands = [
        Command::LeaseGrant { id: LeaseId(5), ttl_seconds: 60 },
        put("a", Some(LeaseId(5))),
        put("a", None),
        put("b", None),
        Command::Alarm { action: AlarmAction::Activate, member: NodeId(2), kind: Some(AlarmKind::NoSpace) },
        Command::Compact { revision: Revision(3) },
    ];
    apply_in_slices(&mut machine, &log(&commands), &[3]);
    let pages = export(&machine, 40);
    (machine, pages)
}

fn import(engine: &Arc<ModelEngine>, pages: &[Bytes]) -> Result<(), StrongError> {
    let mut importer = Importer::new(Arc::clone(engine) as _, SpaceId(1));
    pages.iter().try_for_each(|page| importer.page(page.clone()))?;
    importer.finish().map(|_| ())
}

#[test]
fn a_snapshot_carries_everything_that_is_not_a_version_as_well() {
    let (machine, pages) = pages();
    let engine = Arc::new(ModelEngine::new());
    import(&engine, &pages).unwrap();
    let copy = common::open(&engine, SpaceId(1));
    assert_eq!(copy.members(), machine.members());
    assert_eq!(copy.leases(), machine.leases());
    assert_eq!(copy.alarms(), machine.alarms());
    assert_eq!(copy.conf_state(), machine.conf_state());
    assert_eq!(copy.applied(), machine.applied());
    assert_eq!(copy.reader().size_bytes(), machine.reader().size_bytes());
    assert_eq!(copy.reader().members(), machine.reader().members());
    assert_eq!(copy.reader().alarms(), machine.reader().alarms());
    assert_eq!(copy.reader().leases(), machine.reader().leases());
}

#[test]
fn a_snapshot_that_lacks_a_page_is_refused_and_its_space_is_no_table() {
    let (_, pages) = pages();
    for missing in 0..pages.len() {
        let mut cut = pages.clone();
        cut.remove(missing);
        let engine = Arc::new(ModelEngine::new());
        assert!(matches!(import(&engine, &cut), Err(StrongError::Snapshot(_))), "without page {missing}");
        let opened = Machine::open(engine, SpaceId(1), MachineConfig::default());
        match opened {
            Err(error) => assert_eq!(error, StrongError::ImportUnfinished),
            Ok(machine) => assert!(machine.is_blank(), "nothing of it was written"),
        }
    }
}

#[test]
fn what_follows_the_end_of_a_snapshot_is_refused() {
    let (_, mut pages) = pages();
    let end = pages.pop().unwrap();
    pages.push([&end[..], &[0]].concat().into());
    let error = import(&Arc::new(ModelEngine::new()), &pages).unwrap_err();
    assert!(error.to_string().contains("a page does not parse"), "{error}");
}

proptest! {
    #[test]
    fn a_damaged_snapshot_is_refused(page: usize, at: usize, bit in 0_u8..8) {
        let (_, mut pages) = pages();
        let page = page % pages.len();
        let mut bytes = pages[page].to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        pages[page] = bytes.into();
        prop_assert!(import(&Arc::new(ModelEngine::new()), &pages).is_err());
    }

    #[test]
    fn hostile_pages_are_refused(pages in vec((1_u8..5, vec(any::<u8>(), 0..60)), 0..4)) {
        let pages: Vec<Bytes> = pages.into_iter().map(|(tag, rest)| [&[tag], &rest[..]].concat().into()).collect();
        prop_assert!(import(&Arc::new(ModelEngine::new()), &pages).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn both_engines_make_the_same_table(
        commands in vec(random::command(), 20..120),
        requests in vec(random::range(), 0..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let options = LsmOptions::new(ClusterId(1), NodeId(1));
        let open = || Arc::new(LsmEngine::open(dir.path(), &options).unwrap());
        let engine = open();
        let mut durable = Machine::open(Arc::clone(&engine) as _, common::SPACE, MachineConfig::default()).unwrap();
        let (_engine, mut model) = new_machine();
        durable.bootstrap(&common::members(), "conf".into(), model.applied()).unwrap();
        let entries = log(&commands);
        let expected = apply_in_slices(&mut model, &entries, &[6]);
        let mut found = apply_in_slices(&mut durable, &entries[..10], &[4]);
        engine.begin_checkpoint().unwrap().finish().unwrap();
        let rest = apply_in_slices(&mut durable, &entries[10..], &[5]);
        while durable.compaction_step().unwrap() {}
        found.results.extend(rest.results);
        found.changes.extend(rest.changes);
        prop_assert_eq!(&found.results, &expected.results);
        prop_assert_eq!(&found.changes, &expected.changes);
        for request in &requests {
            prop_assert_eq!(durable.reader().range(request), model.reader().range(request));
        }
        prop_assert_eq!(durable.reader().hash(), model.reader().hash());
        prop_assert_eq!(export(&durable, 500), export(&model, 500));

        engine.begin_checkpoint().unwrap().finish().unwrap();
        drop((durable, engine));
        let again = Machine::open(open(), common::SPACE, MachineConfig::default()).unwrap();
        prop_assert_eq!(again.reader().hash(), model.reader().hash());
        let all = RangeRequest::new(KeyRange::all());
        prop_assert_eq!(again.reader().range(&all), model.reader().range(&all));
    }
}
