//! Dead spaces, from the drop to the last byte.
//!
//! ```text
//!   drop_space ─▶ Announced ──checkpoint──▶ Recorded ──dig, dig, …──▶ Emptied ──checkpoint──▶ forgotten
//!                 not read any more         in ENGINE:                no key is left,         not in ENGINE
//!                                           keys may go               its tombstones are      any more
//!                                                                     in a memtable
//! ```
//!
//! Keys go only once the file `ENGINE` lists the space: otherwise a crash could bring half of it back. And the file
//! forgets a space only with a checkpoint whose cut came after its last tombstone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use althing_types::SpaceId;

use super::super::EngineError;
use super::super::keys::{applied_key, space_bounds};
use super::super::overlay::Direction;
use super::Shared;
use super::engine_file::{self, EngineFile};
use super::error::corrupt;
use super::reads::scan;
use super::tree::Progress;

/// Keys that one unit of work removes.
const KEYS_PER_UNIT: usize = 4096;

/// How far a dead space has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Announced,
    Recorded,
    /// With the number of the last cut that had begun by then.
    Emptied {
        after: u64,
    },
}

/// All dead spaces of which something may still be on disk.
#[derive(Debug)]
pub(super) struct Graves {
    spaces: BTreeMap<SpaceId, Stage>,
    /// Cuts so far.
    cuts: u64,
}

impl Graves {
    /// What the file `ENGINE` lists.
    pub(super) fn new(recorded: BTreeSet<SpaceId>) -> Self {
        Self { spaces: recorded.into_iter().map(|space| (space, Stage::Recorded)).collect(), cuts: 0 }
    }

    /// Whether a space is dead.
    pub(super) fn is_dead(&self, space: SpaceId) -> bool {
        self.spaces.contains_key(&space)
    }

    /// Numbers a new cut.
    pub(super) fn cut(&mut self) -> u64 {
        self.cuts += 1;
        self.cuts
    }

    fn dead(&self) -> BTreeSet<SpaceId> {
        self.spaces.keys().copied().collect()
    }

    /// Lets the spaces go whose tombstones are durable with a cut.
    fn forget(&mut self, cut: u64) {
        self.spaces.retain(|_, stage| !matches!(stage, Stage::Emptied { after } if *after < cut));
    }

    /// The file lists all that are here now.
    fn recorded(&mut self, listed: &BTreeSet<SpaceId>) {
        for space in listed {
            if let Some(stage) = self.spaces.get_mut(space)
                && *stage == Stage::Announced
            {
                *stage = Stage::Recorded;
            }
        }
    }

    fn next_recorded(&self) -> Option<SpaceId> {
        self.spaces.iter().find(|(_, stage)| **stage == Stage::Recorded).map(|(space, _)| *space)
    }
}

/// Announces a death: the space is not read any more from here on.
pub(super) fn bury(shared: &Shared, space: SpaceId) {
    let mut commits = shared.commits();
    // A crash may bring it back, with all that its memtable holds when that is flushed.
    shared.write_places(&mut commits, |buried| buried == space);
    commits.applied.remove(&space);
    let mut graves = shared.graves();
    graves.spaces.entry(space).or_insert(Stage::Announced);
    publish(shared, &graves);
}

/// Writes the file `ENGINE` if it is not what it should be, at the end of a checkpoint.
pub(super) fn record(shared: &Shared, cut: u64) -> Result<(), EngineError> {
    let mut graves = shared.graves();
    graves.forget(cut);
    let path = engine_file::path(&shared.dir);
    let file = EngineFile::read(&shared.dir)?.ok_or_else(|| corrupt(&path, "it is missing".to_owned()))?;
    let dead = graves.dead();
    if file.dead != dead {
        EngineFile { dead: dead.clone(), ..file }.write(&shared.dir)?;
    }
    graves.recorded(&dead);
    publish(shared, &graves);
    Ok(())
}

/// Does one unit of removing the keys of recorded spaces: first whole tables, then what is left in shared ones.
pub(super) fn dig(shared: &Shared) -> Result<Progress, EngineError> {
    let Some(space) = shared.graves().next_recorded() else {
        return Ok(Progress::None);
    };
    let index = shared.tree_of(space);
    if shared.trees[index].drop_tables(space_bounds(space))? == Progress::Made {
        shared.refresh(index);
        return Ok(Progress::Made);
    }
    let (published, seqno) = shared.committed();
    let mut keys = Vec::new();
    let left = scan(&published.tree(index), space_bounds(space), seqno, Direction::Forward);
    for item in left.take(KEYS_PER_UNIT) {
        keys.push(item?.0);
    }
    let last = keys.len() < KEYS_PER_UNIT;
    if last {
        keys.push(applied_key(space));
    }
    let mut commits = shared.commits();
    shared.write(&mut commits, index, keys.into_iter().map(|key| (key, None)));
    if last {
        let mut graves = shared.graves();
        let after = graves.cuts;
        graves.spaces.insert(space, Stage::Emptied { after });
    }
    Ok(Progress::Made)
}

fn publish(shared: &Shared, graves: &Graves) {
    let mut published = shared.published.write().expect("nothing under this lock panics");
    *published = Arc::new(published.with_dead(graves.dead()));
}
