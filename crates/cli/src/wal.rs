//! `althing wal inspect`: the records of a log, one per line.

use std::io::Write;
use std::path::Path;

use althing_runtime::directory::WAL_DIR;
use althing_runtime::disk::RealDisk;
use althing_storage::wal::{InspectedRecord, RecordState, WalError, inspect};
use serde_json::json;

use crate::args::{OutputFormat, WalInspectArgs};
use crate::error::CliError;

/// Lists the records. A damaged log is listed up to the damage, which is then the error.
pub fn run(args: &WalInspectArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let disk = RealDisk::new(&args.data_dir);
    let named = |error: WalError| CliError::failed(error.below(&args.data_dir));
    let records = inspect(&disk, Path::new(WAL_DIR)).map_err(named)?;
    if args.output == OutputFormat::Table {
        writeln!(out, "SEGMENT  OFFSET  BATCH  EPOCH  DURABLE-TO  GROUP  KIND  INDEX  BYTES  STATE")
            .map_err(CliError::failed)?;
    }
    for record in records {
        let line = line(&record.map_err(named)?, args.output);
        writeln!(out, "{line}").map_err(CliError::failed)?;
    }
    Ok(())
}

/// What a record counts for, in one word. All of these have a checksum that fits; one that does not is the error.
const fn state(state: RecordState) -> &'static str {
    match state {
        RecordState::Valid => "valid",
        RecordState::Carried => "carried",
        RecordState::Cut => "cut",
    }
}

fn line(record: &InspectedRecord, format: OutputFormat) -> String {
    let segment = record.segment.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kind = format!("{:?}", record.kind);
    match format {
        OutputFormat::Table => format!(
            "{segment}  {}  {}  {}  {}  {}  {kind}  {}  {}  {}",
            record.offset,
            record.batch,
            record.epoch,
            record.durable_to,
            record.group,
            record.index,
            record.payload_bytes,
            state(record.state)
        ),
        OutputFormat::Json => json!({
            "segment": segment,
            "offset": record.offset,
            "batch": record.batch.get(),
            "epoch": record.epoch,
            "durable_to": record.durable_to.get(),
            "group": record.group.get(),
            "kind": kind,
            "index": record.index,
            "bytes": record.payload_bytes,
            "state": state(record.state),
        })
        .to_string(),
    }
}
