//! Plans of where the replicas of each table belong, kept until what they are made of changes.

use std::collections::BTreeMap;

use althing_placement::plan::{Host, Policy, placements};
use althing_placement::{Actual, Placement, ShardId};
use althing_types::GroupId;

/// Shards that are planned for in one turn. A plan for 10,000 takes up to 150 ms; a table is planned as a whole, so the last
/// one of a turn may exceed this by its own size.
pub const MAX_PLANNED_PER_TURN: usize = 4096;

/// One table's plan, and what it was made of.
#[derive(Clone, Debug)]
struct Made {
    hosts: Vec<Host>,
    policy: Policy,
    groups: Vec<GroupId>,
    placements: BTreeMap<ShardId, Placement>,
}

/// The plans of all tables. Losing them costs time only.
#[derive(Clone, Debug, Default)]
pub struct Plans {
    made: BTreeMap<String, Made>,
    left: usize,
}

impl Plans {
    /// A turn begins: tables that are not there any more are forgotten.
    pub fn begin(&mut self, is_there: impl Fn(&str) -> bool) {
        self.left = MAX_PLANNED_PER_TURN;
        self.made.retain(|table, _| is_there(table));
    }

    /// Where the shards of a table belong, which are those of `groups`; where they are now, `current` says. `None` if there is
    /// no plan and none can be made in this turn.
    pub fn of(
        &mut self,
        table: &str,
        hosts: &[Host],
        policy: Policy,
        groups: Vec<GroupId>,
        current: impl FnOnce() -> BTreeMap<ShardId, Actual>,
    ) -> Option<&BTreeMap<ShardId, Placement>> {
        let holds = |made: &Made| made.hosts == hosts && made.policy == policy && made.groups == groups;
        if !self.made.get(table).is_some_and(holds) {
            if self.left == 0 {
                return None;
            }
            self.left = self.left.saturating_sub(groups.len().max(1));
            let placements = placements(&current(), hosts, &policy);
            let made = Made { hosts: hosts.to_vec(), policy, groups, placements };
            self.made.insert(table.to_owned(), made);
        }
        self.made.get(table).map(|made| &made.placements)
    }
}
