//! What goes: shards that retire, whose replicas nodes drop before their objects go, and tables that are deleted, whose shards
//! all retire and whose object goes last.

use althing_manifest::{Kind, Life, Phase, Shard, Table};

use super::draft::Draft;
use super::placement::Scene;
use super::standing::{Standing, named_by};

/// Takes the next steps with every table that is being deleted, and with what retires of others.
pub fn retire(draft: &mut Draft<'_>, scene: &Scene<'_>) {
    for table in scene.view.tables() {
        match table.metadata.life {
            Life::Kept => clear_away(draft, table, scene),
            Life::Deleting => take_apart(draft, table, scene),
        }
    }
}

/// Shards that were split, or were to be halves of one.
fn clear_away(draft: &mut Draft<'_>, table: &Table, scene: &Scene<'_>) {
    let claim = scene.cluster.status.claim.as_ref();
    for shard in scene.survey.shards(table.name()) {
        match shard.spec.phase {
            Phase::Serving | Phase::Filling => {}
            // As long as its id is handed out, one that is gone might be taken for one that is not made yet.
            Phase::Retiring if claim.is_some_and(|claim| claim.holds(shard.spec.group)) => {}
            Phase::Retiring => delete_if_dropped(draft, shard, scene),
        }
    }
}

/// A shard goes: its replicas are to be dropped.
pub fn let_go(draft: &mut Draft<'_>, shard: &Shard) {
    let shard = draft.shard(shard);
    shard.spec.phase = Phase::Retiring;
    shard.spec.leader = None;
    shard.metadata.generation += 1;
    shard.status.epoch += 1;
}

fn take_apart(draft: &mut Draft<'_>, table: &Table, scene: &Scene<'_>) {
    // As long as ids are handed out to the table, a maker that is behind might still make a shard of it.
    let has_claim = scene.cluster.status.claim.as_ref().is_some_and(|claim| claim.table == table.name());
    if has_claim {
        draft.cluster().status.claim = None;
    }
    let shards = scene.survey.shards(table.name());
    for shard in shards {
        match shard.spec.phase {
            Phase::Serving | Phase::Filling => let_go(draft, shard),
            Phase::Retiring => delete_if_dropped(draft, shard, scene),
        }
    }
    if shards.is_empty() && !has_claim {
        draft.delete(Kind::Table, table.name(), table.revision());
    }
}

fn delete_if_dropped(draft: &mut Draft<'_>, shard: &Shard, scene: &Scene<'_>) {
    if is_dropped(shard, scene) {
        draft.delete(Kind::Shard, shard.name(), shard.revision());
    }
}

/// Whether no node has a replica any more, as far as can be told: those that are up say so, and those that have been gone for
/// the grace are not waited for. They drop what no map names when they come back.
fn is_dropped(shard: &Shard, scene: &Scene<'_>) -> bool {
    let (members, reports) = (scene.members, scene.reports);
    let group = shard.spec.group;
    let holds = |node| reports.holders(group).any(|(holder, _)| holder == node);
    let may_hold = |node| match (reports.is_up(scene.now, node), members.standing(node)) {
        (true, _) => holds(node),
        (false, Standing::Gone) => false,
        (false, Standing::Active | Standing::Resting | Standing::Leaving) => true,
    };
    !named_by(shard).chain(reports.holders(group).map(|(node, _)| node)).any(may_hold)
}
