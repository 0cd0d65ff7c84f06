//! What is the case about tables and the cluster: whether the guarantee holds now, and why not.

use althing_manifest::condition::{self, Condition, READY, REPLICATED, SETTLED, SPLITTING, Truth};
use althing_manifest::{Life, Phase, Shard, Table, TableStatus};

use super::draft::Draft;
use super::placement::{Rule, Scene, has_arrived, rule};
use super::split::SEALED;
use super::standing::{Mode, Standing};
use super::tables::{has_room, missing};

/// Names that a message lists before it only counts.
const MAX_NAMED: usize = 3;

/// Writes down what is the case about each table.
pub fn observe_tables(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    for table in scene.view.tables() {
        let status = status(table, scene);
        if status != table.status {
            draft.table(table).status = status;
        }
    }
}

fn status(table: &Table, scene: &Scene<'_>) -> TableStatus {
    let shards: Vec<&Shard> = match table.metadata.life {
        Life::Kept => scene.routed(table).collect(),
        Life::Deleting => scene.survey.shards(table.name()).iter().map(|shard| shard.as_ref()).collect(),
    };
    let is_ready = |shard: &&&Shard| shard.spec.phase != Phase::Retiring && is_led(shard, scene);
    let mut conditions = table.status.conditions.clone();
    condition::set(&mut conditions, ready(table, &shards, scene));
    condition::set(&mut conditions, replicated(table, &shards, scene));
    TableStatus {
        observed_generation: table.metadata.generation,
        shards: shards.len() as u64,
        ready_shards: shards.iter().filter(is_ready).count() as u64,
        conditions,
    }
}

fn ready(table: &Table, shards: &[&Shard], scene: &Scene<'_>) -> Condition {
    let no = |reason: &str, message: String| Condition::new(READY, Truth::False, reason, message);
    match table.metadata.life {
        Life::Deleting => return no("Deleting", format!("it is being deleted: {} shards are left", shards.len())),
        Life::Kept => {}
    }
    let lacking = missing(table, scene.survey).len();
    if lacking > 0 {
        let total = shards.len() + lacking;
        return if has_room(scene.view, lacking) {
            no("MakingShards", format!("{lacking} of {total} shards are not made yet"))
        } else {
            let message = format!("{lacking} of {total} shards cannot be made: the map is full; delete tables");
            no("MapFull", message)
        };
    }
    let leaderless: Vec<&str> = shards.iter().filter(|shard| !is_led(shard, scene)).map(|shard| shard.name()).collect();
    match leaderless.as_slice() {
        [] if shards.is_empty() => no("NoShards", "it has no shards".to_owned()),
        [] => Condition::new(READY, Truth::True, "Serving", ""),
        names => {
            let verb = if names.len() == 1 { "has" } else { "have" };
            no("NoLeader", format!("{} of {} shards {verb} no leader: {}", names.len(), shards.len(), list(names)))
        }
    }
}

/// Whether a shard's keys are served, or will be in a moment: one that was sealed hands over to its halves, so those must be led
/// as well.
fn is_led(shard: &Shard, scene: &Scene<'_>) -> bool {
    let is_ready = |shard: &Shard| condition::holds(&shard.status.conditions, READY);
    let splitting = condition::get(&shard.status.conditions, SPLITTING);
    let is_sealed = splitting.is_some_and(|condition| condition.reason == SEALED);
    is_ready(shard) && (!is_sealed || scene.view.children(shard.spec.group).all(|child| is_ready(child)))
}

/// Some names and how many more there are.
fn list(names: &[&str]) -> String {
    let shown = names.len().min(MAX_NAMED);
    let mut text = names[..shown].join(", ");
    if names.len() > shown {
        text.push_str(&format!(" and {} more", names.len() - shown));
    }
    text
}

fn replicated(table: &Table, shards: &[&Shard], scene: &Scene<'_>) -> Condition {
    let no = |reason: &str, message: String| Condition::new(REPLICATED, Truth::False, reason, message);
    let wanted = |shard: &Shard| match rule(table, scene.cluster) {
        Rule::Placed(count) => count,
        Rule::Adopted => shard.spec.replicas.len(),
    };
    let is_up = |id: &althing_types::NodeId| match scene.members.standing(*id) {
        Standing::Gone => false,
        Standing::Active | Standing::Leaving => true,
        Standing::Resting => scene.reports.node(*id).is_none() || scene.reports.is_up(scene.now, *id),
    };
    let is_short = |shard: &&&Shard| shard.status.voters.iter().filter(|id| is_up(id)).count() < wanted(shard);
    let short = shards.iter().filter(is_short).count();
    let moving = shards.iter().filter(|shard| !has_arrived(shard)).count();
    let most = shards.iter().map(|shard| wanted(shard)).max().unwrap_or_default();
    match (short, moving) {
        (0, 0) => Condition::new(REPLICATED, Truth::True, "Placed", ""),
        (0, moving) => no("Moving", format!("{moving} of {} shards are on their way to other nodes", shards.len())),
        (short, _) => {
            let verb = if short == 1 { "has" } else { "have" };
            let active = scene.members.those(Standing::Active).count();
            let advice = if active < most { format!("; {active} nodes are active: add more") } else { String::new() };
            let message =
                format!("{short} of {} shards {verb} fewer than {most} replicas on nodes that are up", shards.len());
            no("TooFew", message + &advice)
        }
    }
}

/// Writes down what is the case about the cluster.
pub fn observe_cluster(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    let ready = all_ready(scene);
    let settled = settled(scene);
    let mut conditions = scene.cluster.status.conditions.clone();
    condition::set(&mut conditions, ready);
    condition::set(&mut conditions, settled);
    if conditions != scene.cluster.status.conditions {
        draft.cluster().status.conditions = conditions;
    }
}

fn all_ready(scene: &Scene<'_>) -> Condition {
    let kept = || scene.view.tables().filter(|table| table.metadata.life == Life::Kept);
    let not_ready = kept().filter(|table| !condition::holds(&table.status.conditions, READY));
    let names: Vec<&str> = not_ready.map(|table| table.name()).collect();
    match names.as_slice() {
        [] => Condition::new(READY, Truth::True, "AllTablesReady", ""),
        names => {
            let message = format!("{} of {} tables are not ready: {}", names.len(), kept().count(), list(names));
            Condition::new(READY, Truth::False, "TablesNotReady", message)
        }
    }
}

fn settled(scene: &Scene<'_>) -> Condition {
    let splits = scene.view.parents().count();
    if splits > 0 {
        let message =
            if splits == 1 { "a shard is being split".to_owned() } else { format!("{splits} shards are being split") };
        return Condition::new(SETTLED, Truth::False, "Splitting", message);
    }
    let is_moving = |shard: &&std::sync::Arc<Shard>| shard.spec.phase == Phase::Serving && !has_arrived(shard);
    if scene.view.shards().any(|shard| is_moving(&shard)) {
        return Condition::new(SETTLED, Truth::False, "Moving", "shards are on their way to other nodes");
    }
    match scene.members.mode() {
        Mode::Balance => Condition::new(SETTLED, Truth::True, "Balanced", ""),
        Mode::Repair => {
            let resting = scene.members.those(Standing::Resting).filter_map(|member| scene.view.node(member.place.id));
            let names: Vec<&str> = resting.map(|node| node.name()).collect();
            let message =
                format!("replicas are repaired but not balanced while nodes are cordoned or silent: {}", list(&names));
            Condition::new(SETTLED, Truth::True, "Resting", message)
        }
    }
}
