use std::collections::BTreeSet;

use althing_manifest::shard::{RangeSlice, name_of};
use althing_manifest::{Claim, Cluster, ClusterSpec, Node, NodeSpec, Phase, Shard, ShardSpec, Slice, Table, TableSpec};
use proptest::prelude::*;

use super::*;

fn shard(table: &str, group: u64, slice: Slice, phase: Phase) -> Shard {
    let spec = ShardSpec {
        table: table.to_owned(),
        group: GroupId(group),
        slice,
        replicas: BTreeSet::new(),
        leader: None,
        phase,
        parent: None,
    };
    Shard::new(&name_of(table, GroupId(group)), spec)
}

fn range(start: &str, end: Option<&str>) -> Slice {
    Slice::Range(RangeSlice { start: start.as_bytes().to_vec(), end: end.map(|end| end.as_bytes().to_vec()) })
}

fn put(view: &mut View, object: impl Into<Object>) -> Revision {
    let object = object.into();
    let revision = view.revision().next();
    view.put(revision, object.key().as_bytes(), Some(Bytes::from(object.to_stored())));
    revision
}

fn delete(view: &mut View, kind: Kind, name: &str) {
    view.put(view.revision().next(), althing_manifest::key_of(kind, name).as_bytes(), None);
}

fn located(view: &View, table: &str, key: &str) -> Option<u64> {
    view.locate(table, key.as_bytes()).map(|shard| shard.spec.group.get())
}

fn claim(view: &mut View, next_group: u64, claim: Option<(u64, u64)>) {
    let mut cluster =
        view.cluster().map_or_else(|| Cluster::new("cluster", ClusterSpec::default()), |it| (**it).clone());
    cluster.status.next_group = next_group;
    let table = || "a".to_owned();
    cluster.status.claim = claim.map(|(first, count)| Claim { table: table(), first, count, split: None });
    put(view, cluster);
}

/// A node had adopted a shard's entry and opened a replica. It was started with a map from before the shard was made, in which
/// the id was handed out, and took the shard for one that is no more.
#[test]
fn a_group_is_spent_only_when_no_shard_of_it_can_be_made_any_more() {
    let spent =
        |view: &View| (15..21).map(GroupId).filter(|group| view.is_spent(*group)).map(GroupId::get).collect::<Vec<_>>();
    let mut view = View::new();
    assert!(spent(&view).is_empty());
    claim(&mut view, 20, Some((16, 4)));
    put(&mut view, shard("a", 16, Slice::part(0, 2), Phase::Serving));
    assert_eq!(spent(&view), [15], "three of these are still to be made");
    claim(&mut view, 20, None);
    assert_eq!(spent(&view), [15, 17, 18, 19]);
    delete(&mut view, Kind::Shard, "a-16");
    assert_eq!(spent(&view), [15, 16, 17, 18, 19]);
    view.put(view.revision().next(), b"/althing/v1/shards/a-17", Some("{}".into()));
    assert!(spent(&view).is_empty(), "this one may be any of them");
}

#[test]
fn parents_are_those_that_others_are_filled_from() {
    let mut view = View::new();
    assert_eq!(view.parents().count(), 0);
    for (group, parent) in [(16, 9), (17, 9), (18, 12), (19, 12)] {
        put(&mut view, half(group, parent, Slice::all_keys(), Phase::Filling));
    }
    assert_eq!(view.parents().collect::<Vec<_>>(), [GroupId(9), GroupId(12)]);
    put(&mut view, half(16, 9, Slice::all_keys(), Phase::Serving));
    assert_eq!(view.parents().count(), 2);
    put(&mut view, half(17, 9, Slice::all_keys(), Phase::Retiring));
    assert_eq!(view.parents().collect::<Vec<_>>(), [GroupId(12)]);
}

#[test]
fn a_key_of_a_hash_table_finds_its_slice() {
    let mut view = View::new();
    for index in 0..4 {
        put(&mut view, shard("a", 16 + u64::from(index), Slice::part(index, 4), Phase::Serving));
    }
    let split = althing_placement::split::HashSplit::new(4).expect("four is not zero");
    for key in ["", "a", "b", "user/17"] {
        assert_eq!(located(&view, "a", key), Some(16 + u64::from(split.shard(key.as_bytes()))));
    }
    delete(&mut view, Kind::Shard, "a-18");
    let lost = ["a", "b", "c", "d", "e", "f", "g"].into_iter().filter(|key| located(&view, "a", key).is_none());
    assert!(lost.clone().count() > 0 && lost.into_iter().all(|key| split.shard(key.as_bytes()) == 2));
    assert_eq!(located(&view, "b", "a"), None);
    assert_eq!(view.locate_range("a", b"x", None).count(), 3, "every part may hold any key");
}

#[test]
fn a_key_of_a_range_table_finds_its_range_while_it_splits() {
    let mut view = View::new();
    put(&mut view, shard("a", 16, range("", None), Phase::Serving));
    assert_eq!(located(&view, "a", "m"), Some(16));
    put(&mut view, shard("a", 17, range("m", None), Phase::Serving));
    assert_eq!((located(&view, "a", "l"), located(&view, "a", "m")), (Some(16), Some(17)), "the child is known first");
    put(&mut view, shard("a", 16, range("", Some("m")), Phase::Serving));
    assert_eq!((located(&view, "a", "l"), located(&view, "a", "z")), (Some(16), Some(17)));
    put(&mut view, shard("a", 17, range("m", Some("t")), Phase::Serving));
    assert_eq!(located(&view, "a", "t"), None, "nobody holds it");
    let groups = |start: &str, end: Option<&str>| {
        let (start, end) = (start.as_bytes().to_vec(), end.map(|end| end.as_bytes().to_vec()));
        view.locate_range("a", &start, end.as_deref()).map(|shard| shard.spec.group.get()).collect::<Vec<_>>()
    };
    assert_eq!((groups("a", Some("m")), groups("l", Some("n")), groups("m", None)), (vec![16], vec![16, 17], vec![17]));
}

#[test]
fn a_retiring_shard_gets_no_requests() {
    let mut view = View::new();
    put(&mut view, shard("a", 16, Slice::part(0, 1), Phase::Serving));
    put(&mut view, shard("a", 16, Slice::part(0, 1), Phase::Retiring));
    assert_eq!(located(&view, "a", "k"), None);
    put(&mut view, shard("a", 17, Slice::part(0, 1), Phase::Serving));
    assert_eq!(located(&view, "a", "k"), Some(17));
    delete(&mut view, Kind::Shard, "a-16");
    assert_eq!(located(&view, "a", "k"), Some(17));
}

#[test]
fn objects_are_found_and_carry_their_revision() {
    let mut view = View::new();
    let revision = put(&mut view, Node::new("n1", NodeSpec::new(NodeId(1))));
    put(&mut view, Table::new("a", TableSpec::default()));
    assert_eq!(view.node(NodeId(1)).map(|node| node.revision()), Some(revision));
    put(&mut view, Node::new("n1", NodeSpec::new(NodeId(2))));
    assert!(view.node(NodeId(1)).is_none() && view.node(NodeId(2)).is_some(), "another node took the name");
    delete(&mut view, Kind::Node, "n1");
    assert!(view.node(NodeId(2)).is_none() && view.node_named("n1").is_none());
    view.put(view.revision().next(), b"/else/where", Some(Bytes::from_static(b"x")));
    assert_eq!((view.revision(), view.tables().count()), (Revision(5), 1));
}

#[test]
fn a_change_that_is_told_twice_or_late_changes_nothing() {
    let mut view = View::new();
    let object = Object::from(Table::new("a", TableSpec::default()));
    put(&mut view, object.clone());
    delete(&mut view, Kind::Table, "a");
    view.put(Revision(1), object.key().as_bytes(), Some(Bytes::from(object.to_stored())));
    assert!(view.table("a").is_none());
    assert_eq!((view.revision(), view.bytes()), (Revision(2), 0));
}

#[test]
fn what_cannot_be_read_is_kept_for_others() {
    let mut view = View::new();
    view.put(Revision(1), b"/althing/v1/tables/a", Some(Bytes::from_static(b"{}")));
    assert_eq!((view.unreadable().len(), view.tables().count()), (1, 0));
    let mut other = View::new();
    other.take(&view.whole());
    assert_eq!((other.unreadable(), other.bytes()), (view.unreadable(), view.bytes()));
    put(&mut view, Table::new("a", TableSpec::default()));
    assert_eq!((view.unreadable().len(), view.tables().count()), (0, 1));
}

#[test]
fn a_shard_is_adopted_ahead_of_the_view_and_overtaken() {
    let mut ahead = View::new();
    put(&mut ahead, shard("a", 16, Slice::part(0, 1), Phase::Serving));
    let mut behind = ahead.clone();
    for name in ["x", "y"] {
        put(&mut ahead, Table::new(name, TableSpec::default()));
    }
    put(&mut ahead, shard("a", 16, Slice::part(0, 1), Phase::Retiring));
    let entry = ahead.entry(GroupId(16)).expect("it is there");
    let entry = Entry::decode(entry.encode()).expect("it was encoded");
    assert_eq!(behind.adopt(&entry), Taken::Changed);
    assert_eq!(behind.adopt(&entry), Taken::Known);
    assert_eq!((behind.revision(), located(&behind, "a", "k")), (Revision(1), None));
    let update = ahead.update_since(behind.revision()).expect("there is more");
    assert_eq!((update.scope, behind.take(&update)), (Scope::Since(Revision(1)), Taken::Changed));
    assert_eq!(behind.whole(), ahead.whole());
    assert_eq!(behind.adopt(&ahead.entry(GroupId(16)).expect("it is there")), Taken::Known);
}

/// What was adopted was left out, and what it had replaced was not known any more: so a node that was given everything, or that
/// read its copy after a start, took a shard that serves for one that was deleted, and destroyed its replica.
#[test]
fn an_update_has_every_shard_though_one_was_adopted() {
    let mut ahead = View::new();
    put(&mut ahead, shard("a", 16, Slice::part(0, 2), Phase::Serving));
    put(&mut ahead, shard("a", 17, Slice::part(1, 2), Phase::Serving));
    let mut behind = ahead.clone();
    put(&mut ahead, Table::new("x", TableSpec::default()));
    put(&mut ahead, shard("a", 17, Slice::part(1, 2), Phase::Serving));
    behind.adopt(&ahead.entry(GroupId(17)).expect("it is there"));
    let mut third = View::new();
    assert_eq!(third.take(&behind.whole()), Taken::Changed);
    assert_eq!((third.revision(), third.shards().count(), third.tables().count()), (Revision(2), 2, 0));
    assert_eq!(third.take(&ahead.update_since(third.revision()).expect("there is more")), Taken::Changed);
    assert_eq!(third.whole(), ahead.whole());
}

#[test]
fn what_is_adopted_survives_a_whole_update_that_is_older() {
    let mut ahead = View::new();
    put(&mut ahead, shard("a", 16, Slice::part(0, 1), Phase::Serving));
    let middle = ahead.clone();
    put(&mut ahead, shard("a", 16, Slice::part(0, 1), Phase::Retiring));
    let mut behind = View::new();
    behind.adopt(&ahead.entry(GroupId(16)).expect("it is there"));
    assert_eq!(behind.take(&middle.whole()), Taken::Changed);
    assert_eq!(behind.shard(GroupId(16)).map(|shard| shard.spec.phase), Some(Phase::Retiring));
}

#[test]
fn only_readable_shards_are_adopted() {
    let mut view = View::new();
    let table = Object::from(Table::new("a", TableSpec::default()));
    let entry = |key: &str, value: Vec<u8>| Entry {
        key: Bytes::from(key.to_owned()),
        revision: Revision(9),
        value: Bytes::from(value),
    };
    assert_eq!(view.adopt(&entry(&table.key(), table.to_stored())), Taken::Known);
    assert_eq!(view.adopt(&entry("/althing/v1/shards/a-16", b"{}".to_vec())), Taken::Known);
    assert_eq!(view.bytes(), 0);
}

#[test]
fn a_gap_is_not_taken() {
    let mut view = View::new();
    let update = Update { scope: Scope::Since(Revision(3)), until: Revision(9), entries: Vec::new(), gone: Vec::new() };
    assert_eq!((view.take(&update), view.revision()), (Taken::Gap, Revision(0)));
}

#[test]
fn deletions_that_are_forgotten_make_updates_whole() {
    let mut view = View::new();
    put(&mut view, Table::new("kept", TableSpec::default()));
    for number in 0..=MAX_TOMBSTONES {
        let name = format!("t{number}");
        put(&mut view, Table::new(&name, TableSpec::default()));
        delete(&mut view, Kind::Table, &name);
    }
    let update = |have| view.update_since(Revision(have)).expect("there is more");
    assert_eq!(update(2).scope, Scope::Whole);
    assert_eq!(update(2).entries.len(), 1);
    assert_eq!(update(3).scope, Scope::Since(Revision(3)), "the first deletion alone is forgotten");
    assert_eq!(update(3).gone.len(), MAX_TOMBSTONES);
}

#[test]
fn the_bytes_of_an_update_are_what_the_format_says() {
    let entry = Entry { key: Bytes::from_static(b"k"), revision: Revision(300), value: Bytes::from_static(b"v") };
    assert_eq!(entry.encode(), &b"\x01\x01k\xac\x02\x01v"[..]);
    let gone = Gone { key: Bytes::from_static(b"g"), revision: Revision(7) };
    let mut update = Update { scope: Scope::Whole, until: Revision(300), entries: vec![entry], gone: vec![gone] };
    assert_eq!(update.encode(), &b"\x01\x00\xac\x02\x01\x01k\xac\x02\x01v\x01\x01g\x07"[..]);
    update.scope = Scope::Since(Revision(4));
    assert_eq!(update.encode()[1], 5);
    assert_eq!(Update::decode(update.encode()), Ok(update));
    assert!(Update::decode(Bytes::from_static(b"\x02\x00\x00\x00\x00")).is_err());
    assert!(Update::decode(Bytes::from_static(b"\x01\x00\x00\x00\x00\x00")).is_err());
}

fn half(group: u64, parent: u64, slice: Slice, phase: Phase) -> Shard {
    let mut half = shard("a", group, slice, phase);
    half.spec.parent = Some(GroupId(parent));
    half
}

#[test]
fn one_write_sends_all_requests_to_the_halves_of_a_shard() {
    let mut view = View::new();
    let located = |view: &View| ["a", "z"].map(|key| located(view, "a", key));
    put(&mut view, half(17, 16, range("", Some("m")), Phase::Filling));
    put(&mut view, shard("a", 16, range("", None), Phase::Serving));
    put(&mut view, half(18, 16, range("m", None), Phase::Filling));
    assert_eq!(located(&view), [Some(16), Some(16)]);
    assert_eq!(view.children(GroupId(16)).map(|half| half.spec.group.get()).collect::<Vec<_>>(), [17, 18]);
    assert_eq!([16, 17, 18].map(|group| view.is_routed(GroupId(group))), [true, false, false]);
    assert_eq!(view.locate_range("a", b"", None).count(), 1);
    let mut gone = view.clone();
    put(&mut view, shard("a", 16, range("", None), Phase::Retiring));
    assert_eq!(located(&view), [Some(17), Some(18)]);
    delete(&mut gone, Kind::Shard, "a-16");
    assert_eq!(located(&gone), [Some(17), Some(18)]);
    put(&mut view, half(17, 16, range("", Some("m")), Phase::Serving));
    assert_eq!((located(&view), view.children(GroupId(16)).count()), ([Some(17), Some(18)], 1));
    put(&mut view, half(18, 16, range("m", None), Phase::Retiring));
    assert_eq!((located(&view), view.children(GroupId(16)).count()), ([Some(17), None], 0));
}

#[test]
fn a_shard_of_another_table_hides_no_half() {
    let mut view = View::new();
    put(&mut view, shard("b", 16, range("", None), Phase::Serving));
    put(&mut view, half(17, 16, range("", None), Phase::Filling));
    assert_eq!((located(&view, "a", "k"), located(&view, "b", "k")), (Some(17), Some(16)));
}

/// One change: of which of a few objects, and whether it is deleted.
fn changes() -> impl Strategy<Value = Vec<(u64, u32, bool)>> {
    prop::collection::vec((16_u64..22, 0_u32..4, any::<bool>()), 1..40)
}

fn make(view: &mut View, (group, index, is_deleted): (u64, u32, bool)) {
    if is_deleted {
        delete(view, Kind::Shard, &name_of("a", GroupId(group)));
    } else {
        let phase = [Phase::Serving, Phase::Serving, Phase::Filling, Phase::Retiring][index as usize];
        put(view, half(group, 16 + group % 3, Slice::part(index, 4), phase));
    }
}

proptest! {
    #[test]
    fn whoever_takes_updates_at_any_time_ends_with_the_same_view(
        changes in changes(), asks in prop::collection::vec(any::<bool>(), 40),
    ) {
        let (mut view, mut other) = (View::new(), View::new());
        for (change, asks) in changes.into_iter().zip(asks) {
            make(&mut view, change);
            if asks && let Some(update) = view.update_since(other.revision()) {
                prop_assert_eq!(other.take(&Update::decode(update.encode()).expect("it was encoded")), Taken::Changed);
                prop_assert_eq!(other.take(&update), Taken::Known);
            }
        }
        if let Some(update) = view.update_since(other.revision()) {
            other.take(&update);
        }
        prop_assert_eq!(other.whole(), view.whole());
        prop_assert_eq!(other.bytes(), view.bytes());
        for key in 0..32_u8 {
            prop_assert_eq!(other.locate("a", &[key]), view.locate("a", &[key]));
        }
        prop_assert_eq!(other.shards().collect::<Vec<_>>(), view.shards().collect::<Vec<_>>());
    }

    #[test]
    fn a_key_is_located_as_if_all_shards_were_looked_through(changes in changes(), key in any::<[u8; 2]>()) {
        let mut view = View::new();
        changes.into_iter().for_each(|change| make(&mut view, change));
        let index = althing_placement::split::HashSplit::new(4).expect("four is not zero").shard(&key);
        let serves = |group| view.shards().any(|shard| shard.spec.group == group && shard.spec.phase == Phase::Serving);
        let is_seen = |shard: &Shard| match shard.spec.phase {
            Phase::Serving => true,
            Phase::Filling => !shard.spec.parent.is_some_and(serves),
            Phase::Retiring => false,
        };
        let holds = |shard: &&Arc<Shard>| is_seen(shard) && shard.spec.slice == Slice::part(index, 4);
        let wanted: Vec<GroupId> = view.shards().filter(holds).map(|shard| shard.spec.group).collect();
        let found = view.locate("a", &key).map(|shard| shard.spec.group);
        prop_assert!(found.map_or(wanted.is_empty(), |found| wanted.contains(&found)), "{:?} of {:?}", found, wanted);
    }

    #[test]
    fn it_does_not_matter_in_which_order_objects_come(
        phases in prop::collection::vec(0_usize..3, 4), order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
    ) {
        let slices = [range("", None), range("", Some("m")), range("m", None), range("m", Some("t"))];
        let parents = [9, 16, 16, 18];
        let phases = phases.into_iter().map(|phase| [Phase::Serving, Phase::Filling, Phase::Retiring][phase]);
        let of = (16..).zip(parents).zip(slices.into_iter().zip(phases));
        let all: Vec<Object> = of.map(|((group, parent), (slice, phase))| half(group, parent, slice, phase).into()).collect();
        let fill = |order: &[usize]| {
            let mut view = View::new();
            for index in order {
                let (revision, object) = (Revision(1 + *index as i64), &all[*index]);
                view.put(revision, object.key().as_bytes(), Some(Bytes::from(object.to_stored())));
            }
            view
        };
        let (view, other) = (fill(&[0, 1, 2, 3]), fill(&order));
        for key in ["", "k", "m", "z"] {
            prop_assert_eq!(located(&view, "a", key), located(&other, "a", key));
        }
        let list = |view: &View| view.locate_range("a", b"", None).map(|shard| shard.spec.group).collect::<Vec<_>>();
        prop_assert_eq!(list(&view), list(&other));
        for group in (16..20).map(GroupId) {
            prop_assert_eq!(view.children(group).collect::<Vec<_>>(), other.children(group).collect::<Vec<_>>());
        }
    }

    #[test]
    fn any_bytes_are_an_update_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(update) = Update::decode(Bytes::from(bytes.clone())) {
            View::new().take(&update);
            prop_assert_eq!(Update::decode(update.encode()), Ok(update));
        }
        if let Ok(entry) = Entry::decode(Bytes::from(bytes)) {
            View::new().adopt(&entry);
        }
    }
}
