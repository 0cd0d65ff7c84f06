//! `althing snapshot save`: a download that is only given its name once it is whole and on disk.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::Pages;
use crate::args::SnapshotSaveArgs;
use crate::error::CliError;
use crate::remote::status_text;

/// Downloads a snapshot, checks it, and says on `out` what it holds.
pub async fn save(args: SnapshotSaveArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let remote = args.remote.resolved()?;
    let target = &args.file;
    let shown = target.display();
    if target.exists() {
        return Err(CliError::usage(format!("{shown} exists; choose another name")));
    }
    let mut part = target.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let failed =
        |what: &str, error: &dyn std::fmt::Display| CliError::failed(format!("cannot {what} {shown}: {error}"));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).open(part).map_err(|e| failed("write", &e))?;
    let mut stream = remote.snapshot().await?;
    let mut bytes = 0;
    loop {
        let message = stream.message().await;
        let Some(chunk) =
            message.map_err(|status| CliError::failed(format!("the download failed: {}", status_text(&status))))?
        else {
            break;
        };
        bytes += chunk.blob.len() as u64;
        file.write_all(&chunk.blob).map_err(|e| failed("write", &e))?;
    }
    file.sync_all().map_err(|e| failed("sync", &e))?;
    let pages = check(part).map_err(|e| failed("use", &e))?;
    fs::rename(part, target).map_err(|e| failed("name", &e))?;
    let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| failed("sync the directory of", &e))?;
    writeln!(out, "saved {shown}: {bytes} bytes, {pages} pages, checked").map_err(CliError::failed)
}

/// Reads the whole file once more, as a restore would: how many pages it has.
fn check(file: &Path) -> Result<u64, super::PageError> {
    let mut pages = Pages::open(file)?;
    let mut count = 0;
    while pages.next_page()?.is_some() {
        count += 1;
    }
    Ok(count)
}
