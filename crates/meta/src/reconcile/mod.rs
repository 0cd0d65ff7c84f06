//! The reconcilers: from what is wanted and what is the case to the next safe writes.
//!
//! They run on the node that leads the group of the table `meta`, and remember nothing that matters: each turn looks at all
//! objects anew and takes steps from where things are, so it makes no difference who took the last one and whether it was
//! seen to be done. What they do keep (plans, when a size was last written) only saves work.
//!
//! ```text
//!   view, reports ──► bootstrap   the first objects, once
//!                     nodes       what nodes say of themselves             ──► draft ──► writes
//!                     retire      tables that are deleted, shards that go      (edits of
//!                     tables      shards that tables lack                       copies)
//!                     split       shards that have outgrown their size
//!                     placement   where replicas belong, one step at a time
//!                     shards, health, nodes   what is the case
//! ```
//!
//! What the host must see to:
//!
//! 1. Turns are taken only by the node that leads the group of `meta`, with a [`Reports`] that is as old as its leadership and a
//!    view that holds everything that the group had committed when it came to lead.
//! 2. Each write is done as one transaction that compares all of [`Write::compares`]. One that fails is forgotten: the next turn
//!    decides anew.
//! 3. The next turn is taken when all writes of the last one are answered and those that were done stand in the view. (An
//!    earlier one does no harm but to write in vain.)
//! 4. Every node reports itself and all its groups every second or so, the leader itself included.
//! 5. A shard's own leader moves its replicas towards `spec.replicas` and never to anything else, and only while the status in
//!    its map is its own: `status.term` is its term and `status.voters` are its voters. Otherwise its map is old, or the
//!    control plane has not seen yet what others have changed (etcd's member API does so in the table `default`). The term is
//!    what makes this hold when a shard has had the same voters before. Replicas are founded and opened as
//!    [`althing_manifest::shard`] says.
//! 6. A node drops a replica when its map says that the shard retires or is not there, or when neither spec nor status name the
//!    node *and* the group's leader says that the node is no member. What the map says can be behind the group.
//! 7. What a leader says of a split ([`crate::Stage`]) holds for ever, or until the shard is gone: a child says from its founding
//!    on that it is being filled, until it is activated; a parent that says that it is stuck is never sealed for the children
//!    that it has, whoever leads it. A child is activated only when it has all that its parent held when that was sealed.

mod bootstrap;
mod default_table;
mod draft;
mod health;
mod nodes;
mod placement;
mod plans;
mod repair;
mod retire;
mod shards;
mod split;
mod standing;
mod steps;
mod survey;
mod tables;

use althing_manifest::{Kind, parse_key};
use althing_types::{GroupId, Instant, NodeId, Revision};

pub use bootstrap::Founder;
pub use placement::MAX_MOVING_SHARDS;
pub use plans::MAX_PLANNED_PER_TURN;
pub use shards::SIZES_EVERY;
pub use split::{MAX_SPLIT_KEY_BYTES, MAX_SPLITS_PER_NODE};
pub use tables::SHARD_BYTES;

use draft::Draft;
use nodes::Empty;
use placement::Scene;
use plans::Plans;
use shards::Sizes;
use standing::Members;
use survey::Survey;

use crate::reports::{Reports, SILENT_AFTER};
use crate::view::View;
use crate::write::Write;

/// Writes of one turn at the most: few enough that users' changes of objects find their way between two turns.
pub const MAX_WRITES_PER_TURN: usize = 64;

/// Decides what the control plane writes.
#[derive(Clone, Debug)]
pub struct Reconciler {
    founders: Vec<Founder>,
    plans: Plans,
    sizes: Sizes,
    empty: Empty,
    /// The shard whose status was written last, so that each gets its turn.
    last: GroupId,
    quiet: Option<Quiet>,
}

/// What a turn looked at that found nothing to write. As long as it is the same, there is nothing to write.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Quiet {
    revision: Revision,
    changes: u64,
    members: Members,
    up: Vec<NodeId>,
    age: Age,
    until: Instant,
}

/// Whether this node has led long enough to have heard whoever there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Age {
    Early,
    Late,
}

impl Reconciler {
    /// One that has decided nothing yet. `founders` are the nodes with which the cluster was made; they are looked at only until
    /// there is an object of the cluster.
    #[must_use]
    pub fn new(founders: Vec<Founder>) -> Self {
        Self {
            founders,
            plans: Plans::default(),
            sizes: Sizes::default(),
            empty: Empty::default(),
            last: GroupId(0),
            quiet: None,
        }
    }

    /// Appends what is to be written now, at most [`MAX_WRITES_PER_TURN`] writes; nothing if all is as it should be, or if the
    /// view holds an object that this version of the program cannot read: what it says might be contradicted.
    pub fn turn(&mut self, now: Instant, view: &View, reports: &Reports, out: &mut Vec<Write>) {
        if !view.unreadable().is_empty() {
            return;
        }
        let Some(cluster) = view.cluster() else {
            let mut draft = Draft::new(view);
            bootstrap::bootstrap(&mut draft, &self.founders);
            draft.finish(MAX_WRITES_PER_TURN, out);
            return;
        };
        let members = Members::of(view, reports, now);
        let looked_at = quiet(now, view, reports, &members);
        if self.is_quiet(now, &looked_at) {
            return;
        }
        let mut draft = Draft::new(view);
        let survey = Survey::of(view);
        let scene = Scene { view, cluster, survey: &survey, hosts: members.hosts(), members: &members, reports, now };
        nodes::introduce(&mut draft, reports, now);
        retire::retire(&mut draft, &scene);
        tables::make_shards(&mut draft, &survey, cluster);
        split::carry_on(&mut draft, &scene);
        placement::place(&mut draft, &mut self.plans, &scene);
        split::begin(&mut draft, &scene);
        shards::observe(&mut draft, &scene, &mut self.sizes, self.last);
        health::observe_tables(&mut draft, &scene);
        nodes::observe(&mut draft, &members, reports, now, &mut self.empty);
        health::observe_cluster(&mut draft, &scene);
        let before = out.len();
        draft.finish(MAX_WRITES_PER_TURN, out);
        self.remember(&out[before..], looked_at, now);
    }

    fn is_quiet(&self, now: Instant, looked_at: &Quiet) -> bool {
        let same = |quiet: &Quiet| {
            (quiet.revision, quiet.changes, quiet.age) == (looked_at.revision, looked_at.changes, looked_at.age)
                && quiet.members == looked_at.members
                && quiet.up == looked_at.up
        };
        self.quiet.as_ref().is_some_and(|quiet| same(quiet) && now < quiet.until)
    }

    fn next_look(&self, now: Instant) -> Instant {
        let sizes = now + SIZES_EVERY;
        self.empty.next(now).map_or(sizes, |empty| empty.min(sizes))
    }

    fn remember(&mut self, writes: &[Write], looked_at: Quiet, now: Instant) {
        self.quiet = writes.is_empty().then_some(Quiet { until: self.next_look(now), ..looked_at });
        let group = |write: &Write| match parse_key(&write.key)? {
            (Kind::Shard, name) => name.rsplit_once('-')?.1.parse().ok().map(GroupId),
            (Kind::Cluster | Kind::Node | Kind::Table, _) => None,
        };
        let is_cut = writes.len() == MAX_WRITES_PER_TURN;
        self.last = writes.iter().rev().find_map(group).filter(|_| is_cut).unwrap_or_default();
    }
}

fn quiet(now: Instant, view: &View, reports: &Reports, members: &Members) -> Quiet {
    let age = if now.since(reports.began()) < SILENT_AFTER { Age::Early } else { Age::Late };
    let up = reports.nodes().map(|(id, _)| id).filter(|id| reports.is_up(now, *id)).collect();
    Quiet { revision: view.revision(), changes: reports.changes(), members: members.clone(), up, age, until: now }
}
