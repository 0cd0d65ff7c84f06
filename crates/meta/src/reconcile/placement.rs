//! From shards to nodes: what each shard should want next.
//!
//! Where replicas belong says a plan of the whole table, as long as no node rests ([`Mode::Balance`]); otherwise only what must
//! move does ([`repair`]). What is *wanted* of a shard (`spec.replicas`) is one step from where it is towards there, and the
//! next step is wanted once the shard has arrived: its reported voters are those that are wanted. A bounded number of shards
//! is on its way at any time.
//!
//! | the shard | what happens |
//! |---|---|
//! | has no wanted replicas | it is founded: all of them at once, since it is empty |
//! | was never seen alive | nothing: its founders must agree on who they are |
//! | has no leader | nothing: nobody could carry it out |
//! | is on its way | nothing, unless the newcomer fails, or one that was to stay is gone and one that is not was to go for it: then another way is taken from where it is |
//! | is being split, or is a half that does not serve yet | nothing: halves are filled where their parent is |
//! | has arrived | one step, if it belongs elsewhere and few enough others are on their way |

use std::collections::{BTreeMap, BTreeSet};

use althing_manifest::table::{DEFAULT, META};
use althing_manifest::{Cluster, Life, Phase, Shard, Table};
use althing_placement::plan::{Host, Policy, Spread};
use althing_placement::{Actual, Placement, ShardId};
use althing_types::{GroupId, Instant, NodeId};

use super::default_table;
use super::draft::Draft;
use super::plans::Plans;
use super::repair::{Loads, repair, spares_the_gone};
use super::split;
use super::standing::{Members, Mode, Standing};
use super::steps;
use super::survey::Survey;
use super::tables::is_being_made;
use crate::reports::Reports;
use crate::view::View;

/// Shards that are on their way at the same time. Each copies a shard's data once; more would take bandwidth from clients, and
/// fewer would leave it idle while steps are agreed upon.
pub const MAX_MOVING_SHARDS: usize = 16;

/// What all steps of one turn look at.
pub struct Scene<'a> {
    /// All objects.
    pub view: &'a View,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Shards by table.
    pub survey: &'a Survey<'a>,
    /// What nodes are to placement.
    pub members: &'a Members,
    /// The same for plans.
    pub hosts: Vec<Host>,
    /// What was heard.
    pub reports: &'a Reports,
    /// The time.
    pub now: Instant,
}

impl<'a> Scene<'a> {
    /// The shards of a table to which requests go, by group.
    pub fn routed(&self, table: &Table) -> impl Iterator<Item = &'a Shard> {
        let view = self.view;
        let is_routed = move |shard: &&Shard| view.is_routed(shard.spec.group);
        self.survey.shards(table.name()).iter().map(|shard| shard.as_ref()).filter(is_routed)
    }
}

/// How urgent a step is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Urgency {
    /// A replica is on a node that is gone.
    Rebuild,
    /// A replica is on a node that is drained.
    Empty,
    /// Replicas are too many, too few or uneven.
    Balance,
}

/// A step that waits for its turn.
struct Step<'a> {
    urgency: Urgency,
    shard: &'a Shard,
    wanted: BTreeSet<NodeId>,
    leader: Option<NodeId>,
}

/// How a table's replicas and members are decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// By the table's spec.
    Placed(usize),
    /// By etcd's member API: what is reported is adopted.
    Adopted,
}

/// How the replicas of a table are decided. The table `default` is adopted until somebody changes its spec.
pub fn rule(table: &Table, cluster: &Cluster) -> Rule {
    match table.name() {
        META => Rule::Placed(cluster.spec.meta_replicas as usize),
        DEFAULT if table.metadata.generation <= 1 => Rule::Adopted,
        _ => Rule::Placed(table.spec.replicas as usize),
    }
}

/// Wants the next steps.
pub fn place(draft: &mut Draft<'_>, plans: &mut Plans, scene: &Scene<'_>) {
    let mut loads = loads(scene.view);
    let mut waiting = Vec::new();
    plans.begin(|name| scene.view.table(name).is_some());
    for table in scene.view.tables() {
        match (table.metadata.life, rule(table, scene.cluster)) {
            (Life::Deleting, _) => {}
            (Life::Kept, Rule::Adopted) => default_table::adopt(draft, scene, &loads),
            (Life::Kept, Rule::Placed(count)) => {
                place_table(draft, plans, scene, table, count, &mut loads, &mut waiting);
            }
        }
    }
    let moving = scene.view.shards().filter(|shard| is_on_its_way(shard, scene)).count();
    waiting.sort_by_key(|step| (step.urgency, step.shard.spec.group));
    for step in waiting.into_iter().take(MAX_MOVING_SHARDS.saturating_sub(moving)) {
        want(draft, step.shard, step.wanted, step.leader);
    }
}

fn loads(view: &View) -> Loads {
    let mut loads = Loads::default();
    for id in view.shards().flat_map(|shard| &shard.spec.replicas) {
        loads.add(*id);
    }
    loads
}

/// Whether a shard that could move is moving. One without a leader does not get on, and must not keep others from it.
fn is_on_its_way(shard: &Shard, scene: &Scene<'_>) -> bool {
    let is_alive = shard.spec.phase != Phase::Retiring && shard.status.epoch > 0;
    is_alive && !has_arrived(shard) && scene.reports.leader(scene.now, shard.spec.group).is_some()
}

/// Whether a shard's replicas are where they are wanted.
pub fn has_arrived(shard: &Shard) -> bool {
    shard.status.voters == shard.spec.replicas && shard.status.learners.is_empty()
}

fn place_table<'a>(
    draft: &mut Draft<'_>,
    plans: &mut Plans,
    scene: &Scene<'a>,
    table: &Table,
    count: usize,
    loads: &mut Loads,
    waiting: &mut Vec<Step<'a>>,
) {
    // Halves that do not serve yet are no part of the plan: it stays the same from the beginning of a split to its end.
    let shards: Vec<&'a Shard> = scene.routed(table).collect();
    let placements = match scene.members.mode() {
        // A plan is of the whole table. One for each part of it that comes would be made, of 4,096 shards, for 64 turns.
        Mode::Balance if is_being_made(table, scene.survey, scene.cluster) => return,
        Mode::Balance => match planned(plans, scene, table, count, &shards) {
            Some(placements) => Some(placements),
            None => return,
        },
        Mode::Repair => None,
    };
    let mut leaders = Loads::default();
    shards.iter().filter_map(|shard| shard.spec.leader).for_each(|leader| leaders.add(leader));
    for shard in shards {
        let place = placements.map(|placements| placements.get(&ShardId(shard.spec.group.get())));
        if split::is_frozen(shard, scene) || is_at_home(shard, count, place.flatten(), scene) {
            continue;
        }
        let Some(base) = base(shard, scene) else { continue };
        let target = match place {
            Some(place) => place.cloned().unwrap_or_default(),
            None => repaired(shard, &base, count, scene, loads, &mut leaders),
        };
        if shard.spec.replicas.is_empty() {
            found(draft, scene, shard, count, target);
        } else {
            let replicas = undiminished(target.replicas, &base, count, scene.members);
            move_on(draft, scene, shard, &base, Placement { replicas, ..target }, waiting);
        }
    }
}

fn planned<'p>(
    plans: &'p mut Plans,
    scene: &Scene<'_>,
    table: &Table,
    count: usize,
    shards: &[&Shard],
) -> Option<&'p BTreeMap<ShardId, Placement>> {
    let actual = |shard: &&Shard| {
        let voters = base(shard, scene).unwrap_or_else(|| shard.spec.replicas.clone());
        let actual = Actual { voters, learners: BTreeSet::new(), leader: shard.spec.leader };
        (ShardId(shard.spec.group.get()), actual)
    };
    let groups: Vec<GroupId> = shards.iter().map(|shard| shard.spec.group).collect();
    let policy = Policy { replicas: count, spread: Spread::Prefer };
    plans.of(table.name(), &scene.hosts, policy, groups, || shards.iter().map(actual).collect())
}

/// Whether a shard is where it belongs, by the plan or, without one, by what must move: the usual case, told without copying
/// anything.
fn is_at_home(shard: &Shard, count: usize, planned: Option<&Placement>, scene: &Scene<'_>) -> bool {
    let replicas = &shard.spec.replicas;
    let stays = |id: &NodeId| !scene.members.is_left(*id);
    let is_placed = match planned {
        Some(planned) => planned.replicas == *replicas && planned.leader == shard.spec.leader,
        None => replicas.len() == count && replicas.iter().all(stays) && shard.spec.leader.is_some_and(|id| stays(&id)),
    };
    is_placed && has_arrived(shard)
}

/// Where a shard's next step begins; `None` if there is to be none.
fn base(shard: &Shard, scene: &Scene<'_>) -> Option<BTreeSet<NodeId>> {
    if shard.spec.replicas.is_empty() {
        return Some(BTreeSet::new());
    }
    if shard.status.epoch == 0 || scene.reports.leader(scene.now, shard.spec.group).is_none() {
        return None;
    }
    if has_arrived(shard) {
        return Some(shard.spec.replicas.clone());
    }
    let mut newcomers = shard.spec.replicas.difference(&shard.status.voters);
    let is_pointless = newcomers.any(|id| has_failed(*id, scene))
        || spares_the_gone(&shard.spec.replicas, &shard.status.voters, scene.members);
    is_pointless.then(|| shard.status.voters.clone())
}

/// Whether a newcomer will not, or should not, become a replica.
pub fn has_failed(id: NodeId, scene: &Scene<'_>) -> bool {
    let was_heard = scene.reports.node(id).is_some();
    scene.members.is_left(id) || (was_heard && !scene.reports.is_up(scene.now, id))
}

/// Where a shard belongs if only what must move does, and who leads it: who did, or whoever leads the fewest.
fn repaired(
    shard: &Shard,
    base: &BTreeSet<NodeId>,
    count: usize,
    scene: &Scene<'_>,
    loads: &mut Loads,
    leaders: &mut Loads,
) -> Placement {
    let replicas = repair(shard.spec.group, base, count, scene.members, loads);
    replicas.difference(base).for_each(|id| loads.add(*id));
    base.difference(&replicas).for_each(|id| loads.remove(*id));
    let fits = |id: &NodeId| replicas.contains(id) && !scene.members.is_left(*id);
    if let Some(leader) = shard.spec.leader.filter(fits) {
        return Placement { replicas, leader: Some(leader) };
    }
    let leader = replicas.iter().copied().filter(fits).min_by_key(|id| (leaders.of(*id), *id));
    leader.into_iter().for_each(|leader| leaders.add(leader));
    Placement { replicas, leader }
}

/// A shard that has never been gets all its replicas at once. While there are fewer places than are wanted and some node may yet
/// be heard or come back, it waits.
fn found(draft: &mut Draft<'_>, scene: &Scene<'_>, shard: &Shard, count: usize, target: Placement) {
    let may_grow = scene.members.those(Standing::Resting).next().is_some();
    if target.replicas.is_empty() || (target.replicas.len() < count && may_grow) {
        return;
    }
    want(draft, shard, target.replicas, target.leader);
}

/// What is wanted, and with it those of the present replicas that nothing takes the place of: who is silent may be heard no more
/// for many reasons, and a shard with fewer voters is never safer. The drained stay before the silent.
fn undiminished(
    mut wanted: BTreeSet<NodeId>,
    base: &BTreeSet<NodeId>,
    count: usize,
    members: &Members,
) -> BTreeSet<NodeId> {
    let mut others: Vec<NodeId> = base.difference(&wanted).copied().collect();
    others.sort_by_key(|id| (members.standing(*id), *id));
    wanted.extend(others.into_iter().take(count.saturating_sub(wanted.len())));
    wanted
}

fn move_on<'a>(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    shard: &'a Shard,
    base: &BTreeSet<NodeId>,
    target: Placement,
    waiting: &mut Vec<Step<'a>>,
) {
    let wanted = steps::next(base, &target.replicas, scene.members);
    let leader = [target.leader, shard.spec.leader].into_iter().flatten().find(|leader| wanted.contains(leader));
    if wanted == shard.spec.replicas || !has_arrived(shard) {
        // Another leader, or another way for a shard that is on its way already.
        want(draft, shard, wanted, leader);
        return;
    }
    let goes_from = |standing| base.difference(&wanted).any(|id| scene.members.standing(*id) == standing);
    let urgency = if goes_from(Standing::Gone) {
        Urgency::Rebuild
    } else if goes_from(Standing::Leaving) {
        Urgency::Empty
    } else {
        Urgency::Balance
    };
    waiting.push(Step { urgency, shard, wanted, leader });
}

/// Writes down what is wanted of a shard, if that is something else than before.
pub fn want(draft: &mut Draft<'_>, shard: &Shard, replicas: BTreeSet<NodeId>, leader: Option<NodeId>) {
    if shard.spec.replicas == replicas && shard.spec.leader == leader {
        return;
    }
    let shard = draft.shard(shard);
    shard.spec.replicas = replicas;
    shard.spec.leader = leader;
    shard.metadata.generation += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undiminished(wanted: &[u64], base: &[u64]) -> Vec<u64> {
        let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        let found = super::undiminished(ids(wanted), &ids(base), 3, &Members::default());
        found.into_iter().map(NodeId::get).collect()
    }

    /// The clock of who led the control plane was put forward, so that all others seemed long silent, and shards gave replicas up.
    #[test]
    fn a_shard_gives_no_replica_up_because_others_are_silent() {
        assert_eq!(undiminished(&[1], &[1, 2, 3]), [1, 2, 3]);
        assert_eq!(undiminished(&[1, 4], &[1, 2, 3]), [1, 2, 4]);
        assert_eq!(undiminished(&[4, 5, 6], &[1, 2, 3]), [4, 5, 6]);
        assert_eq!(undiminished(&[1, 2, 3], &[1, 2, 3, 4, 5]), [1, 2, 3]);
    }
}
