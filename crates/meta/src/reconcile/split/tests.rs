use std::collections::BTreeMap;

use althing_manifest::condition::{READY, SETTLED};
use althing_manifest::table::MIN_SPLIT_BYTES;
use althing_manifest::{Node, NodeSpec, Object, Schedule, TableSpec, key_of};
use althing_types::{Duration, Instant, Revision};

use super::*;
use crate::reports::{Configuration, GroupReport, Part, Report, Reports};
use crate::write::Write;
use crate::{Founder, Reconciler};

/// A cluster of four nodes whose groups are always where they are wanted, with a table `log` that is split by range.
struct Stand {
    view: View,
    reports: Reports,
    reconciler: Reconciler,
    now: Instant,
    /// What leaders say of their groups; the rest serve and hold nothing.
    told: BTreeMap<GroupId, (Stage, u64, Option<Bytes>)>,
}

const P: GroupId = GroupId(16);
const HALVES: [GroupId; 2] = [GroupId(17), GroupId(18)];
const TOO_MUCH: u64 = MIN_SPLIT_BYTES;

impl Stand {
    fn new() -> Self {
        let founder =
            |id| Founder { id: NodeId(id), name: format!("n{id}"), zone: format!("z{id}"), ..Founder::default() };
        let mut stand = Self {
            view: View::new(),
            reports: Reports::new(Instant::ZERO),
            reconciler: Reconciler::new((1..=3).map(founder).collect()),
            now: Instant::ZERO + Duration::from_secs(60),
            told: BTreeMap::new(),
        };
        stand.settle();
        stand.put(Node::new("n4", NodeSpec { zone: "z4".to_owned(), ..NodeSpec::new(NodeId(4)) }));
        stand.settle();
        let spec = TableSpec { split: Split::Range, split_bytes: Some(TOO_MUCH), ..TableSpec::default() };
        stand.put(Table::new("log", spec));
        stand.settle();
        stand
    }

    fn put(&mut self, object: impl Into<Object>) {
        let object = object.into();
        self.view.put(self.view.revision().next(), object.key().as_bytes(), Some(Bytes::from(object.to_stored())));
    }

    fn delete(&mut self, kind: Kind, name: &str) {
        self.view.put(self.view.revision().next(), key_of(kind, name).as_bytes(), None);
    }

    fn tell(&mut self, group: GroupId, stage: Stage) {
        self.told.insert(group, (stage, 0, None));
    }

    fn grow(&mut self, group: GroupId, middle: &'static str) {
        self.told.insert(group, (Stage::Serving, TOO_MUCH, Some(Bytes::from(middle))));
    }

    fn report(&self, shard: &Shard, id: NodeId) -> GroupReport {
        let leader = shard.spec.leader.or(shard.spec.replicas.first().copied());
        let part = if leader == Some(id) { Part::Leads } else { Part::Holds };
        let first = if shard.spec.phase == Phase::Filling { Stage::Filling } else { Stage::Serving };
        let (stage, bytes, middle) = self.told.get(&shard.spec.group).cloned().unwrap_or((first, 0, None));
        GroupReport {
            part,
            configuration: Configuration::Simple,
            term: 1,
            applied: 1,
            keys: 1,
            bytes,
            voters: shard.spec.replicas.clone(),
            learners: BTreeSet::new(),
            stage,
            middle,
        }
    }

    fn hear(&mut self) {
        for id in (1..=4).map(NodeId) {
            let holds = |shard: &&Arc<Shard>| shard.spec.phase != Phase::Retiring && shard.spec.replicas.contains(&id);
            let held = self.view.shards().filter(holds);
            let groups = held.map(|shard| (shard.spec.group, self.report(shard, id))).collect();
            let report = Report { name: format!("n{id}"), zone: format!("z{id}"), groups, ..Report::default() };
            self.reports.hear(self.now, id, report);
        }
    }

    fn turn(&mut self) -> Vec<Write> {
        let mut out = Vec::new();
        self.reconciler.turn(self.now, &self.view, &self.reports, &mut out);
        for write in &out {
            self.view.put(self.view.revision().next(), &write.key, write.value.clone());
        }
        out
    }

    /// Until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.now += Duration::from_secs(1);
            self.hear();
            if self.turn().is_empty() && self.view.cluster().is_some() {
                return;
            }
        }
        panic!("it goes on for ever");
    }

    /// Until the halves of the table's first shard are there.
    fn filling() -> Self {
        let mut stand = Self::new();
        stand.grow(P, "m");
        stand.settle();
        stand
    }

    fn shard(&self, group: GroupId) -> &Shard {
        self.view.shard(group).expect("it is there")
    }

    fn phases(&self) -> Vec<(u64, Phase)> {
        let of_log = self.view.shards().filter(|shard| shard.spec.table == "log");
        of_log.map(|shard| (shard.spec.group.get(), shard.spec.phase)).collect()
    }

    fn claim(&self) -> Option<&Claim> {
        self.view.cluster().expect("it was made").status.claim.as_ref()
    }

    fn drain(&mut self, id: NodeId) {
        let mut node = self.view.node(id).expect("it is there").as_ref().clone();
        node.spec.schedule = Schedule::Drain;
        self.put(node);
    }
}

fn range(start: &str, end: Option<&str>) -> Slice {
    let end = end.map(|end| end.as_bytes().to_vec());
    Slice::Range(RangeSlice { start: start.as_bytes().to_vec(), end })
}

#[test]
fn a_shard_that_is_too_large_gets_two_halves_where_it_is() {
    let mut stand = Stand::new();
    stand.grow(P, "m");
    stand.hear();
    stand.turn();
    let split = Some(SplitClaim { parent: P, at: b"m".to_vec() });
    assert_eq!(stand.claim(), Some(&Claim { table: "log".to_owned(), first: 17, count: 2, split }));
    stand.settle();
    assert_eq!((stand.claim(), stand.view.cluster().expect("it was made").status.next_group), (None, 19));
    let parent = stand.shard(P).spec.clone();
    for (group, slice) in HALVES.into_iter().zip([range("", Some("m")), range("m", None)]) {
        let half = &stand.shard(group).spec;
        assert_eq!(*half, ShardSpec { group, slice, phase: Phase::Filling, parent: Some(P), ..parent.clone() });
    }
    assert_eq!(stand.view.locate("log", b"z").map(|shard| shard.spec.group), Some(P));
}

#[test]
fn a_shard_that_is_not_to_be_cut_is_not() {
    let long: &'static str = Box::leak("m".repeat(MAX_SPLIT_KEY_BYTES + 1).into_boxed_str());
    let cases = [
        (Stage::Serving, TOO_MUCH - 1, Some("m")),
        (Stage::Serving, TOO_MUCH, None),
        (Stage::Serving, TOO_MUCH, Some("")),
        (Stage::Serving, TOO_MUCH, Some(long)),
        (Stage::Filling, TOO_MUCH, Some("m")),
    ];
    for (stage, bytes, middle) in cases {
        let mut stand = Stand::new();
        stand.told.insert(P, (stage, bytes, middle.map(Bytes::from)));
        stand.settle();
        assert_eq!(stand.phases(), [(16, Phase::Serving)]);
        assert_eq!(stand.view.cluster().expect("it was made").status.next_group, 17);
    }
}

#[test]
fn requests_go_to_the_halves_once_both_serve() {
    let mut stand = Stand::filling();
    stand.tell(HALVES[0], Stage::Serving);
    stand.settle();
    assert_eq!(stand.shard(P).spec.phase, Phase::Serving, "one half alone is not enough");
    stand.tell(HALVES[1], Stage::Serving);
    stand.hear();
    let compared = HALVES.map(|group| (stand.shard(group).name().to_owned(), stand.shard(group).revision()));
    let writes = stand.turn();
    let of_parent = writes.iter().find(|write| write.key == "/althing/v1/shards/log-16").expect("it is handed over");
    let guards: Vec<(&Bytes, Revision)> = of_parent.compares().skip(1).collect();
    let keys = compared.map(|(name, revision)| (Bytes::from(key_of(Kind::Shard, &name)), revision));
    assert_eq!(guards, keys.iter().map(|(key, revision)| (key, *revision)).collect::<Vec<_>>());
    assert_eq!(stand.shard(P).spec.phase, Phase::Retiring);
    assert_eq!(stand.shard(HALVES[0]).spec.phase, Phase::Filling, "that is another write");
    let located = ["a", "m"].map(|key| stand.view.locate("log", key.as_bytes()).map(|shard| shard.spec.group));
    assert_eq!(located, HALVES.map(Some));
    let epochs = HALVES.map(|group| stand.shard(group).status.epoch);
    stand.settle();
    assert_eq!(stand.phases(), [(17, Phase::Serving), (18, Phase::Serving)]);
    assert!(HALVES.iter().zip(epochs).all(|(group, before)| stand.shard(*group).status.epoch > before));
}

#[test]
fn nothing_moves_until_the_halves_serve() {
    let mut stand = Stand::filling();
    let before = [P, HALVES[0], HALVES[1]].map(|group| stand.shard(group).spec.clone());
    let drained = *before[0].replicas.first().expect("it is placed");
    stand.drain(drained);
    stand.settle();
    assert_eq!([P, HALVES[0], HALVES[1]].map(|group| stand.shard(group).spec.clone()), before);
    HALVES.into_iter().for_each(|group| stand.tell(group, Stage::Serving));
    stand.settle();
    assert!(HALVES.iter().all(|group| !stand.shard(*group).spec.replicas.contains(&drained)));
}

#[test]
fn a_shard_that_moves_is_split_where_it_gets_to() {
    let mut stand = Stand::new();
    let drained = *stand.shard(P).spec.replicas.first().expect("it is placed");
    stand.grow(P, "m");
    stand.drain(drained);
    stand.settle();
    let places = [P, HALVES[0], HALVES[1]].map(|group| stand.shard(group).spec.replicas.clone());
    assert!(places.iter().all(|place| *place == places[0] && !place.contains(&drained)), "{places:?}");
}

#[test]
fn halves_that_cannot_be_filled_are_given_up_and_made_anew() {
    let mut stand = Stand::filling();
    stand.tell(P, Stage::Stuck);
    stand.hear();
    let guard = Some(guard(stand.shard(P)));
    let writes = stand.turn();
    for half in ["log-17", "log-18"] {
        let write = writes.iter().find(|write| write.key == key_of(Kind::Shard, half)).expect("it is given up");
        assert_eq!(write.guards.first(), guard.as_ref());
    }
    assert_eq!(stand.phases(), [(16, Phase::Serving), (17, Phase::Retiring), (18, Phase::Retiring)]);
    stand.grow(P, "k");
    stand.settle();
    assert_eq!(stand.phases(), [(16, Phase::Serving), (19, Phase::Filling), (20, Phase::Filling)]);
}

#[test]
fn a_half_without_another_goes() {
    let mut stand = Stand::filling();
    stand.delete(Kind::Shard, "log-18");
    stand.tell(P, Stage::Serving);
    stand.settle();
    assert_eq!(stand.phases(), [(16, Phase::Serving)]);
}

#[test]
fn a_half_is_made_only_of_what_was_claimed_and_beside_the_other() {
    let mut stand = Stand::new();
    stand.grow(P, "m");
    stand.hear();
    stand.turn();
    let writes = stand.turn();
    let cluster = stand.view.cluster().expect("it was made").revision();
    let made: Vec<&Write> = writes.iter().filter(|write| write.expected == Revision(0)).collect();
    assert_eq!(made.len(), 2);
    let keys = |write: &Write| write.guards.iter().map(|guard| guard.key.clone()).collect::<Vec<_>>();
    assert!(made.iter().all(|write| keys(write) == ["/althing/v1/clusters/cluster", "/althing/v1/shards/log-16"]));
    assert!(made.iter().all(|write| write.guards[0].expected <= cluster));
    // The one is there, the other is not, and the shard was moved meanwhile: they come together all the same.
    let mut stand = Stand::new();
    stand.grow(P, "m");
    stand.hear();
    stand.turn();
    let claimed = stand.view.clone();
    stand.turn();
    let first = stand.shard(HALVES[0]).clone();
    stand.view = claimed;
    stand.put(first.clone());
    let mut moved = stand.shard(P).clone();
    moved.spec.replicas = [2, 3, 4].map(NodeId).into();
    moved.status.voters = moved.spec.replicas.clone();
    if moved.spec.replicas == first.spec.replicas {
        moved.status.voters = [1, 2, 3].map(NodeId).into();
    }
    stand.put(moved);
    stand.turn();
    assert_eq!(stand.shard(HALVES[1]).spec.replicas, first.spec.replicas);
}

#[test]
fn a_claim_for_a_shard_that_moves_or_is_gone_is_lost() {
    for is_gone in [false, true] {
        let mut stand = Stand::new();
        stand.grow(P, "m");
        stand.hear();
        stand.turn();
        let mut parent = stand.shard(P).clone();
        if is_gone {
            parent.spec.phase = Phase::Retiring;
        } else {
            parent.status.voters = [NodeId(1)].into();
        }
        stand.put(parent);
        stand.told.clear();
        stand.turn();
        assert_eq!((stand.claim(), stand.view.children(P).count()), (None, 0));
    }
}

#[test]
fn a_node_takes_part_in_one_split_at_a_time_and_the_largest_comes_first() {
    let mut stand = Stand::new();
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        let spec = TableSpec { split: Split::Range, split_bytes: Some(TOO_MUCH), ..TableSpec::default() };
        stand.put(Table::new(name, spec));
    }
    stand.settle();
    let groups = names.map(|name| stand.view.locate(name, b"").expect("it is made").spec.group);
    for (index, group) in (0..).zip(groups) {
        stand.told.insert(group, (Stage::Serving, TOO_MUCH + index, Some(Bytes::from_static(b"m"))));
    }
    stand.settle();
    assert_eq!(stand.view.parents().collect::<Vec<_>>(), groups[5..]);
    let halves: Vec<_> = stand.view.children(groups[5]).map(|half| half.spec.group).collect();
    halves.into_iter().for_each(|half| stand.tell(half, Stage::Serving));
    stand.settle();
    assert_eq!(stand.view.parents().collect::<Vec<_>>(), groups[4..5]);
}

#[test]
fn a_deleted_table_takes_its_halves_along() {
    let mut stand = Stand::filling();
    let mut table = stand.view.table("log").expect("it is there").as_ref().clone();
    table.metadata.life = Life::Deleting;
    stand.put(table);
    HALVES.into_iter().for_each(|group| stand.tell(group, Stage::Serving));
    stand.settle();
    assert!(stand.view.table("log").is_none() && stand.phases().is_empty());
}

#[test]
fn people_can_see_how_far_a_split_is() {
    let mut stand = Stand::filling();
    let said = |stand: &Stand| {
        let condition = condition::get(&stand.shard(P).status.conditions, SPLITTING);
        condition.map(|condition| (condition.status, condition.reason.clone(), condition.message.clone()))
    };
    let is_ready = |stand: &Stand| {
        let table = stand.view.table("log").expect("it is there");
        (condition::holds(&table.status.conditions, READY), table.status.shards)
    };
    let filling = "it fills log-17 and log-18, and serves meanwhile".to_owned();
    assert_eq!(said(&stand), Some((Truth::True, "Filling".to_owned(), filling)));
    let cluster = stand.view.cluster().expect("it was made");
    let settled = condition::get(&cluster.status.conditions, SETTLED).expect("it is said");
    assert_eq!((settled.status, settled.reason.as_str()), (Truth::False, "Splitting"));
    stand.tell(P, Stage::Sealed);
    stand.settle();
    assert_eq!(said(&stand).map(|(_, reason, _)| reason).as_deref(), Some(SEALED));
    assert_eq!(is_ready(&stand), (true, 1));
    HALVES.into_iter().for_each(|group| stand.tell(group, Stage::Serving));
    for _ in 0..3 {
        stand.hear();
        stand.turn();
        assert!(is_ready(&stand).0, "{:?}", stand.view.table("log"));
    }
    stand.settle();
    assert_eq!(is_ready(&stand), (true, 2));
}
