//! What went wrong below, in the engine's own words, and in which file.

use std::io;
use std::path::Path;

use super::super::EngineError;

/// An error of the file system at `path`.
pub(super) fn of_io(path: &Path, error: &io::Error) -> EngineError {
    let detail = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => EngineError::Full(detail),
        // Files are written whole before anything refers to them: a short or a missing one was damaged later.
        io::ErrorKind::UnexpectedEof => corrupt(path, "it ends too early".to_owned()),
        // A seek to before the beginning, a length that cannot be: an offset in the file is damaged.
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            corrupt(path, format!("an offset is wrong: {error}"))
        }
        io::ErrorKind::NotFound => corrupt(path, "it is missing".to_owned()),
        _ => EngineError::Io(detail),
    }
}

/// An error of lsm-tree over `path`.
pub(super) fn of_tree(path: &Path, error: &lsm_tree::Error) -> EngineError {
    match error {
        lsm_tree::Error::Io(error) => of_io(path, error),
        lsm_tree::Error::ChecksumMismatch { got, expected } => {
            corrupt(path, format!("a block's checksum is {got} and should be {expected}"))
        }
        error => corrupt(path, format!("lsm-tree: {error:?}")),
    }
}

/// Damage in `path`.
pub(super) fn corrupt(path: &Path, detail: String) -> EngineError {
    EngineError::Corrupt { file: path.to_owned(), detail }
}
