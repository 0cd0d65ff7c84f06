//! What is checked around a tree, because lsm-tree does not.
//!
//! Its file `current` (8 bytes version, 16 bytes xxh3-128 of the manifest `v<version>`, one byte kind of checksum) is
//! trusted when a tree is opened, and a flipped bit in a manifest loses tables in silence. So it is checked first. Blocks
//! of table files are checked by lsm-tree when they are read; all their bytes are checked here by [`check_tables`].

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use lsm_tree::checksum::Checksum;
use lsm_tree::{Cache, Table};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::super::EngineError;
use super::error::{corrupt, of_io, of_tree};
use super::tree::TableFile;

/// The only kind of checksum: xxh3-128.
const CHECKSUM_XXH3: u8 = 0;

/// Checks that `current` names a manifest, and the manifest's checksum.
pub(super) fn check(dir: &Path) -> Result<(), EngineError> {
    let path = dir.join("current");
    let current = fs::read(&path).map_err(|error| of_io(&path, &error))?;
    let Ok(current) = <[u8; 25]>::try_from(&current[..]) else {
        return Err(corrupt(&path, format!("it has {} bytes and should have 25", current.len())));
    };
    let (version, rest) = current.split_first_chunk().expect("25 bytes were read");
    let (checksum, kind) = rest.split_first_chunk().expect("17 bytes are left");
    let (version, checksum) = (u64::from_le_bytes(*version), u128::from_le_bytes(*checksum));
    if kind != [CHECKSUM_XXH3] {
        return Err(corrupt(&path, format!("it has the unknown kind of checksum {kind:x?}")));
    }
    let manifest = dir.join(format!("v{version}"));
    let bytes = fs::read(&manifest).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => corrupt(&path, format!("it names {}, which is missing", manifest.display())),
        _ => of_io(&manifest, &error),
    })?;
    let found = xxh3_128(&bytes);
    if found != checksum {
        let detail = format!("its checksum is {found:032x}, and {checksum:032x} in {}", path.display());
        return Err(corrupt(&manifest, detail));
    }
    Ok(())
}

/// Removes temporary files that a crash has left; lsm-tree removes its other leftovers itself.
pub(super) fn remove_leftovers(dir: &Path) -> Result<(), EngineError> {
    for entry in fs::read_dir(dir).map_err(|error| of_io(dir, &error))? {
        let entry = entry.map_err(|error| of_io(dir, &error))?;
        if entry.file_name().to_string_lossy().starts_with(".tmp") {
            fs::remove_file(entry.path()).map_err(|error| of_io(&entry.path(), &error))?;
        }
    }
    Ok(())
}

/// Reads every byte of table files and compares their checksums.
pub(super) fn check_tables(files: &[TableFile]) -> Result<(), EngineError> {
    for TableFile { path, checksum } in files {
        let found = checksum_of(path).map_err(|error| of_io(path, &error))?;
        if found != *checksum {
            let detail = format!("its checksum is {found:032x}, and {checksum:032x} in the manifest");
            return Err(corrupt(path, detail));
        }
    }
    Ok(())
}

/// Finds the table file for which a tree cannot be opened.
pub(super) fn blame(dir: &Path) -> Option<EngineError> {
    let files = fs::read_dir(dir.join("tables")).ok()?;
    let mut paths: Vec<_> = files.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    let cache = Arc::new(Cache::with_capacity_bytes(0));
    paths.into_iter().find_map(|path| {
        let unchecked = Checksum::from_raw(0);
        let opened = Table::recover(path.clone(), unchecked, 0, 0, Arc::clone(&cache), None, true, true);
        opened.err().map(|error| of_tree(&path, &error))
    })
}

fn checksum_of(path: &Path) -> io::Result<u128> {
    let mut file = BufReader::with_capacity(1024 * 1024, File::open(path)?);
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.digest128()),
            len => hasher.update(&buffer[..len]),
        }
    }
}
