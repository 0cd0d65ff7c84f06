//! Applies what is committed. The applier owns the machines and is the engine's one writer; it runs on a thread of its own,
//! or inline in the simulator.

use std::collections::BTreeMap;
use std::sync::Arc;

use althing_api::cluster::Member;
use althing_clock::Actor;
use althing_consensus::ConfState;
use althing_convergent::rounds::Born;
use althing_convergent::{ConvergentError, Shard, ShardConfig, TreeSecret, is_written_by, names};
use althing_probe::Mutant;
use althing_storage::engine::{Applied, Checkpoint, Engine, EngineError};
use althing_strong::{ApplyOutput, Bounds, Importer, Machine, MachineConfig, StrongError};
use althing_types::{ClusterId, Duration, GroupId, NodeId, SpaceId};
use bytes::Bytes;

use crate::config::NodeConfig;
use crate::effects::Work;
use crate::input::{Done, GroupState, ImportOutcome, KeyedState};
use crate::keyed::{Acknowledged, Hints};
use crate::presence::{Content, Presence, ReplicaBirth};
use crate::recover::LogRecovery;

/// The log position at which every member of a new group is born with the same state. Not zero, so that a replica that
/// has nothing can be told from one that has the state at birth.
pub const BIRTH: Applied = Applied { index: 1, term: 1 };

/// A snapshot that is being put into its space.
struct Import {
    transfer: u64,
    space: SpaceId,
    importer: Importer,
    pages: u64,
}

struct Table {
    space: SpaceId,
    machine: Machine,
    /// Its values, if they converge beside the log.
    keyed: Option<Keyed>,
    /// Whether compaction has work left.
    compacting: bool,
}

/// Values that converge, and where they stand.
struct Keyed {
    state: KeyedState,
    shard: Shard,
}

/// Why the applier cannot go on. The process stops: the engine may have half of a batch.
#[derive(Debug, thiserror::Error)]
pub enum ApplierError {
    /// A table of the log.
    #[error(transparent)]
    Strong(#[from] StrongError),
    /// A convergent shard.
    #[error(transparent)]
    Convergent(#[from] ConvergentError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Marks the space of values that converge. The group's own stands beside it under the number without the mark.
const KEYED_SPACE: u64 = 1 << 63;

/// Bytes of decoded keys that a convergent shard keeps in memory, about: a node may have some hundreds of them.
const KEYED_CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of deltas that a shard takes before it writes the changed keys to the engine: some thousands of small writes, which take the
/// engine a millisecond or two if each is of another key, and next to nothing if they are of the same.
const KEYED_UNWRITTEN_BYTES: usize = 512 * 1024;
/// By how much the clocks of two nodes may differ before keys expire too early.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Applies log entries and snapshots.
pub struct Applier {
    engine: Arc<dyn Engine>,
    tables: BTreeMap<GroupId, Table>,
    imports: BTreeMap<GroupId, Import>,
    /// Those with which the cluster was born.
    founders: Vec<Member>,
    /// Whose applier it is.
    node: NodeId,
    cluster: ClusterId,
    /// Which run of its node this is, once that is known.
    run: Option<u64>,
}

impl Applier {
    /// Opens every group that the node has a replica of on its space, bootstraps those that are born here, and drops spaces
    /// that no group stands on: what an interrupted snapshot or a replica that is gone left.
    pub fn open(
        engine: Arc<dyn Engine>,
        config: &NodeConfig,
        log: &LogRecovery,
    ) -> Result<(Self, Vec<GroupState>), ApplierError> {
        let founders = config.initial_members.clone();
        let mut applier = Self {
            engine,
            tables: BTreeMap::new(),
            imports: BTreeMap::new(),
            founders,
            node: config.node,
            cluster: config.cluster,
            run: None,
        };
        let mut states = Vec::new();
        for (group, held) in held(config, log) {
            let keyed = applier.open_keyed(group, &held, log.deltas(group), log.acknowledged(group))?;
            let space = log.space(group).unwrap_or(held.space);
            states.push(applier.put(group, space, &held.birth, keyed)?);
        }
        applier.drop_strays()?;
        Ok((applier, states))
    }

    /// It is in this run of its node, which is counted durably: writes of convergent shards may leave before they are durable. Until
    /// then none does.
    pub fn begin_run(&mut self, run: u64) {
        let run = if althing_probe::is(Mutant::ReuseActor) { 0 } else { run };
        self.run = Some(run);
        self.tables.values_mut().filter_map(|table| table.keyed.as_mut()).for_each(|keyed| keyed.shard.begin_run(run));
    }

    /// Opens the values of a convergent shard, and gives them what the log has of them.
    fn open_keyed(
        &self,
        group: GroupId,
        held: &Held,
        deltas: &[(u64, Bytes)],
        acknowledged: Acknowledged,
    ) -> Result<Option<Keyed>, ApplierError> {
        match held.content {
            Content::Logged => return Ok(None),
            Content::Convergent => {}
        }
        // A space is never used by two replicas, so no name of an event is given twice either.
        let space = SpaceId(held.space.get() | KEYED_SPACE);
        let is_reused = althing_probe::is(Mutant::ReuseActor);
        let lasting = Actor::new(self.node.get(), if is_reused { group.get() } else { held.space.get() });
        let born = match held.birth {
            ReplicaBirth::Joined => Born::Later,
            ReplicaBirth::Cluster | ReplicaBirth::Shard(_) | ReplicaBirth::Piece { .. } => Born::WithTheShard,
        };
        let tree_secret = tree_secret(self.cluster, group);
        let (cache_bytes, unwritten_bytes) = (KEYED_CACHE_BYTES, KEYED_UNWRITTEN_BYTES);
        let config = ShardConfig { cache_bytes, unwritten_bytes, max_clock_skew: MAX_CLOCK_SKEW, born, tree_secret };
        let mut shard = Shard::open(self.engine.clone(), space, lasting, config)?;
        let checkpointed = shard.index();
        for (index, delta) in deltas {
            shard.replay(*index, delta.clone())?;
        }
        if let Some(run) = self.run {
            shard.begin_run(run);
        }
        let hints = hints(lasting, deltas, acknowledged);
        let state = KeyedState { space, checkpointed, index: shard.index(), due_ms: shard.due_ms(), hints };
        Ok(Some(Keyed { state, shard }))
    }

    /// Opens a group on its space. One that is born here is founded if the space is blank: all its first members found the same
    /// state, so nothing in it comes from a node's own settings.
    fn put(
        &mut self,
        group: GroupId,
        space: SpaceId,
        birth: &ReplicaBirth,
        keyed: Option<Keyed>,
    ) -> Result<GroupState, ApplierError> {
        let mut machine = Machine::open(self.engine.clone(), space, MachineConfig::default())?;
        if machine.is_blank() {
            match birth {
                ReplicaBirth::Cluster => {
                    machine.bootstrap(&self.founders, founders(&self.founders).encode(), BIRTH)?;
                }
                ReplicaBirth::Shard(voters) => {
                    machine.bootstrap(&[], ConfState::of_voters(voters.iter().copied()).encode(), BIRTH)?;
                }
                ReplicaBirth::Piece { voters, slice, role } => {
                    let bounds = Bounds::new(slice.clone(), *role);
                    let conf_state = ConfState::of_voters(voters.iter().copied()).encode();
                    machine.bootstrap_shard(conf_state, bounds, BIRTH)?;
                }
                ReplicaBirth::Joined => {}
            }
        }
        let mut table = Table { space, machine, keyed, compacting: true };
        let state = state_of(group, &table);
        if let Some(keyed) = &mut table.keyed {
            // The node has them now.
            keyed.state.hints = Hints::default();
        }
        self.tables.insert(group, table);
        Ok(state)
    }

    fn drop_strays(&self) -> Result<(), ApplierError> {
        for space in self.engine.applied().into_keys() {
            if self.tables.values().all(|table| !table.stands_on(space)) {
                self.engine.drop_space(space)?;
            }
        }
        Ok(())
    }

    /// Works off some work, in order. An error is fatal for the process: the engine may have half of a batch.
    pub fn work(&mut self, work: Vec<Work>) -> Result<Vec<Done>, ApplierError> {
        let mut done = Vec::with_capacity(work.len());
        for work in work {
            match work {
                Work::Apply { group, entries } => {
                    let Some(table) = self.tables.get_mut(&group) else { continue };
                    // After an install the log may hand out entries that the snapshot already holds.
                    let applied = table.machine.applied().index;
                    let first = entries.partition_point(|entry| entry.index <= applied);
                    let mut output = ApplyOutput::default();
                    table.machine.apply(&entries[first..], &mut output)?;
                    table.compacting |= output.compacted.is_some();
                    done.push(Done::Applied { group, applied: table.machine.applied(), output });
                }
                Work::Import { group, transfer, space, page, last } => {
                    done.push(self.import(group, transfer, space, page, last));
                }
                Work::Install { group, space } => {
                    self.imports.remove(&group);
                    let machine = Machine::open(self.engine.clone(), space, MachineConfig::default())?;
                    // What converges is not in the snapshot, and stays.
                    let keyed = self.tables.remove(&group).and_then(|table| table.keyed);
                    let table = Table { space, machine, keyed, compacting: true };
                    done.push(Done::Installed(state_of(group, &table)));
                    self.tables.insert(group, table);
                }
                Work::Open { group, space, birth, content } => {
                    let held = Held { space, birth, content };
                    let keyed = self.open_keyed(group, &held, &[], Acknowledged::default())?;
                    done.push(Done::Opened(self.put(group, space, &held.birth, keyed)?));
                }
                Work::Keyed { group, jobs } => {
                    let table = self.tables.get_mut(&group);
                    let Some(keyed) = table.and_then(|table| table.keyed.as_mut()) else { continue };
                    let mut outcomes = Vec::with_capacity(jobs.len());
                    keyed.shard.work(jobs, &mut outcomes)?;
                    let (size, due_ms) = (keyed.shard.size(), keyed.shard.due_ms());
                    done.push(Done::Keyed { group, outcomes, size, due_ms });
                }
                Work::Close { group } => {
                    self.imports.remove(&group);
                    if let Some(table) = self.tables.remove(&group) {
                        self.engine.drop_space(table.space)?;
                        if let Some(keyed) = table.keyed {
                            self.engine.drop_space(keyed.state.space)?;
                        }
                    }
                    done.push(Done::Closed { group });
                }
                Work::DropSpace(space) => {
                    self.imports.retain(|_, import| import.space != space);
                    self.engine.drop_space(space)?;
                }
            }
        }
        Ok(done)
    }

    fn import(&mut self, group: GroupId, transfer: u64, space: SpaceId, page: Bytes, last: bool) -> Done {
        if self.imports.get(&group).is_none_or(|import| import.transfer != transfer) {
            let importer = Importer::new(self.engine.clone(), space);
            self.imports.insert(group, Import { transfer, space, importer, pages: 0 });
        }
        let (pages, outcome) = match self.import_page(group, page, last) {
            Ok((pages, outcome)) => (pages, outcome),
            Err(error) => {
                self.imports.remove(&group);
                (0, ImportOutcome::Failed(error.to_string()))
            }
        };
        Done::Imported { group, transfer, pages, outcome }
    }

    fn import_page(&mut self, group: GroupId, page: Bytes, last: bool) -> Result<(u64, ImportOutcome), StrongError> {
        let Some(import) = self.imports.get_mut(&group) else {
            return Ok((0, ImportOutcome::Failed("there is no such transfer".to_owned())));
        };
        import.importer.page(page)?;
        import.pages += 1;
        let pages = import.pages;
        if !last {
            return Ok((pages, ImportOutcome::Going));
        }
        let Some(import) = self.imports.remove(&group) else { return Ok((pages, ImportOutcome::Going)) };
        let summary = import.importer.finish()?;
        Ok((pages, ImportOutcome::Complete(summary.applied, summary.conf_state)))
    }

    /// A cut between batches, to be finished by another thread.
    pub fn begin_checkpoint(&mut self) -> Result<Box<dyn Checkpoint>, ApplierError> {
        for keyed in self.tables.values_mut().filter_map(|table| table.keyed.as_mut()) {
            keyed.shard.write()?;
        }
        Ok(self.engine.begin_checkpoint()?)
    }

    /// One bounded unit of what compaction allows: what is finished, and whether there is more. Call it when there is no
    /// other work.
    pub fn background(&mut self) -> Result<(Vec<Done>, bool), ApplierError> {
        let mut done = Vec::new();
        for (group, table) in &mut self.tables {
            if table.compacting && !table.machine.is_blank() {
                table.compacting = table.machine.compaction_step()?;
                if !table.compacting {
                    done.push(Done::CompactionFinished { group: *group });
                }
                let more = table.compacting;
                return Ok((done, more || self.tables.values().any(|table| table.compacting)));
            }
        }
        Ok((done, false))
    }

    /// Whether `background` has something to do.
    #[must_use]
    pub fn has_background(&self) -> bool {
        self.tables.values().any(|table| table.compacting && !table.machine.is_blank())
    }
}

/// A replica as the log remembers it.
struct Held {
    /// Where it was put at birth.
    space: SpaceId,
    birth: ReplicaBirth,
    content: Content,
}

/// The groups that a node has, where each was put at birth and how it came. Those with which the cluster was born need no
/// record in the log until they go.
fn held(config: &NodeConfig, log: &LogRecovery) -> BTreeMap<GroupId, Held> {
    let birth = if config.join { ReplicaBirth::Joined } else { ReplicaBirth::Cluster };
    let founded = config.groups.iter().map(|group| {
        let space = SpaceId(group.id.get());
        (group.id, Held { space, birth: birth.clone(), content: Content::Logged })
    });
    let mut held: BTreeMap<_, _> = founded.collect();
    for (group, presence) in log.presences() {
        match presence {
            Presence::Held { space, birth, content, .. } => {
                held.insert(*group, Held { space: *space, birth: birth.clone(), content: *content })
            }
            Presence::Gone(_) | Presence::Retired => held.remove(group),
        };
    }
    held
}

impl Table {
    fn stands_on(&self, space: SpaceId) -> bool {
        self.space == space || self.keyed.as_ref().is_some_and(|keyed| keyed.state.space == space)
    }
}

/// Of all deltas in the log of a replica those that it has written itself, in whatever run of its node, and that some other replica may not
/// have acknowledged; the oldest, as far as one replica is kept for.
fn hints(lasting: Actor, deltas: &[(u64, Bytes)], acknowledged: Acknowledged) -> Hints {
    let by_all = acknowledged.by_all();
    let mut bytes = 0;
    let is_own = |delta: &Bytes| is_written_by(delta, |actor| names::is_of(lasting, actor));
    let open = deltas.iter().filter(|(index, delta)| *index > by_all && is_own(delta));
    let kept = open.take_while(|(_, delta)| {
        bytes += delta.len();
        bytes <= Hints::MAX_BYTES
    });
    Hints { deltas: kept.cloned().collect(), acknowledged }
}

/// The secret of a shard's hash tree. All its replicas can make it. So can a client who knows the cluster's id and the group's number: he
/// could write keys between which repair does not see a difference, which are his own.
fn tree_secret(cluster: ClusterId, group: GroupId) -> TreeSecret {
    let mut secret = *b"althing: of a convergent shard: ";
    secret[..8].copy_from_slice(&cluster.0.to_le_bytes());
    secret[8..16].copy_from_slice(&group.0.to_le_bytes());
    TreeSecret(secret)
}

fn state_of(group: GroupId, table: &Table) -> GroupState {
    let blank = table.machine.is_blank();
    GroupState {
        group,
        space: table.space,
        applied: if blank { Applied::default() } else { table.machine.applied() },
        conf_state: if blank { Bytes::new() } else { table.machine.conf_state() },
        reader: table.machine.reader(),
        keyed: table.keyed.as_ref().map(|keyed| keyed.state.clone()),
    }
}

/// The configuration that a cluster is born with.
fn founders(members: &[Member]) -> ConfState {
    let with = |is_learner: bool| {
        let chosen = members.iter().filter(move |member| member.is_learner == is_learner);
        chosen.map(|member| member.id)
    };
    let mut learners: Vec<_> = with(true).collect();
    learners.sort_unstable();
    ConfState { learners, ..ConfState::of_voters(with(false)) }
}
