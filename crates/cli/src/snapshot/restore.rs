//! `althing snapshot restore`: a snapshot becomes the data directory of one node of a new cluster.
//!
//! Every node of the new cluster restores the same snapshot with the same name and members, and so computes the same ids and
//! the same state; its log begins where the snapshot was cut. The cluster's id is made from the snapshot as well, so it is
//! another one than the old cluster's even under the same name, and no old node can join.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use althing_api::service::DEFAULT_GROUP;
use althing_consensus::{ConfState, HardState, LogPosition};
use althing_runtime::directory::{Birth, DataDir, ENGINE_DIR, Owner, WAL_DIR};
use althing_runtime::disk::RealDisk;
use althing_storage::engine::lsm::{LsmEngine, LsmOptions};
use althing_storage::engine::{Applied, Engine};
use althing_storage::wal::{Identity, Record, RecordKind, Wal, WalOptions};
use althing_strong::{Importer, Machine, MachineConfig, SnapshotSummary};
use althing_types::limits::DEFAULT_QUOTA_BYTES;
use althing_types::{NodeId, Revision, SpaceId};

use super::Pages;
use crate::args::SnapshotRestoreArgs;
use crate::config::parse_members;
use crate::error::CliError;
use crate::ids::Founding;

/// Makes the data directory, and says on `out` what it holds.
pub fn restore(args: &SnapshotRestoreArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let members = parse_members(&args.initial_cluster).map_err(CliError::usage)?;
    let origin = check(args)?;
    let founding = Founding::new(&args.cluster, &members, &origin.to_le_bytes());
    let node = founding
        .id_of(&args.name)
        .ok_or_else(|| CliError::usage(format!("--name {:?} is not among --initial-cluster", args.name)))?;
    let mut dir = DataDir::open(&args.data_dir).map_err(CliError::usage)?;
    if let Some(owner) = dir.owner() {
        let shown = args.data_dir.display();
        return Err(CliError::usage(format!(
            "{shown} is the data directory of node {:?}; choose an empty one",
            owner.name
        )));
    }
    let options = LsmOptions::new(founding.cluster, node);
    let engine = LsmEngine::open(&dir.path().join(ENGINE_DIR), &options).map_err(CliError::failed)?;
    let engine: Arc<dyn Engine> = Arc::new(engine);
    let (summary, revision) = fill(&engine, args, &founding)?;
    begin_log(&dir.disk(), &founding, node, summary.applied)?;
    // Only now does the directory belong to somebody: one whose restore was cut short is never started.
    dir.found(Owner {
        birth: Birth::Restored,
        members: founding.members.clone(),
        cluster_name: args.cluster.clone(),
        cluster: founding.cluster,
        node,
        name: args.name.clone(),
    })
    .map_err(CliError::failed)?;
    let (cluster, shown) = (founding.cluster, args.data_dir.display());
    writeln!(
        out,
        "restored {shown}: cluster {cluster}, node {node}, revision {revision} (the snapshot's {} moved ahead)",
        summary.revision
    )
    .map_err(CliError::failed)
}

/// Reads the whole file once, so that nothing is made of one that is damaged; its checksum names it.
fn check(args: &SnapshotRestoreArgs) -> Result<u32, CliError> {
    let mut pages = open(args)?;
    while next(&mut pages, args)?.is_some() {}
    Ok(pages.chain())
}

type FilePages = Pages<std::io::Take<std::io::BufReader<std::fs::File>>>;

fn open(args: &SnapshotRestoreArgs) -> Result<FilePages, CliError> {
    Pages::open(&args.file).map_err(|error| refused(args, &error))
}

fn next(pages: &mut FilePages, args: &SnapshotRestoreArgs) -> Result<Option<bytes::Bytes>, CliError> {
    pages.next_page().map_err(|error| refused(args, &error))
}

fn refused(args: &SnapshotRestoreArgs, error: &dyn std::fmt::Display) -> CliError {
    CliError::failed(format!("cannot restore {}: {error}", args.file.display()))
}

/// Fills the default table's space and gives it to the new members, durably.
fn fill(
    engine: &Arc<dyn Engine>,
    args: &SnapshotRestoreArgs,
    founding: &Founding,
) -> Result<(SnapshotSummary, Revision), CliError> {
    let space = SpaceId(DEFAULT_GROUP.get());
    let mut importer = Importer::new(Arc::clone(engine), space);
    let mut pages = open(args)?;
    while let Some(page) = next(&mut pages, args)? {
        importer.page(page).map_err(|error| refused(args, &error))?;
    }
    let summary = importer.finish().map_err(|error| refused(args, &error))?;
    let config = MachineConfig { quota_bytes: DEFAULT_QUOTA_BYTES };
    let mut machine = Machine::open(Arc::clone(engine), space, config).map_err(CliError::failed)?;
    let conf_state = ConfState::of_voters(founding.members.iter().map(|member| member.id)).encode();
    let revision = machine.refound(&founding.members, conf_state, args.bump_revision).map_err(CliError::failed)?;
    let checkpoint = engine.begin_checkpoint().map_err(CliError::failed)?;
    checkpoint.finish().map_err(CliError::failed)?;
    Ok((summary, revision))
}

/// Begins a log that stands where the snapshot was cut: everything up to there is committed and gone from the log.
fn begin_log(disk: &RealDisk, founding: &Founding, node: NodeId, cut: Applied) -> Result<(), CliError> {
    let identity = Identity { cluster: founding.cluster, node };
    let disk = Arc::new(disk.clone());
    let (mut wal, _) =
        Wal::open(disk, Path::new(WAL_DIR), identity, WalOptions::default()).map_err(CliError::failed)?;
    let position = LogPosition { index: cut.index, term: cut.term };
    let hard_state = HardState { term: cut.term, vote: NodeId::NONE, commit: cut.index };
    let record = |kind, index, payload| Record { group: DEFAULT_GROUP, kind, index, payload };
    let records = [
        record(RecordKind::Truncated, cut.index, position.encode()),
        record(RecordKind::HardState, 0, hard_state.encode()),
    ];
    wal.append(&records).map_err(CliError::failed)?;
    wal.sync().map_err(CliError::failed)?;
    Ok(())
}
