//! Small text files that are replaced whole and carry a checksum, so that a person can read them and rot is found.
//!
//! ```text
//! althing KIND FORMAT-VERSION
//! WORD REST-OF-LINE            (any number of these)
//! crc32c 0123abcd              (over all lines before)
//! ```

use std::path::{Path, PathBuf};

use althing_codec::checksum::crc32c;
use althing_env::{Disk, DiskError, DiskErrorKind, OpenMode};

/// Why a file cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealedError {
    /// It cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its checksum does not fit or it does not parse.
    #[error("{file} is corrupt: {detail}", file = .file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Another version of the program wrote it.
    #[error("{file} has format version {found}; this program knows {known} only: use the program that wrote it", file = .file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The one that is known.
        known: u32,
    },
}

/// What a file is for and which version of its format this program writes.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// One word.
    pub name: &'static str,
    /// The version.
    pub version: u32,
}

/// The lines of a file: a word and the rest of each line.
pub type Lines = Vec<(String, String)>;

/// Writes the file anew: a temporary one, synced and renamed over it.
pub fn write(disk: &dyn Disk, file: &Path, kind: Kind, lines: &Lines) -> Result<(), DiskError> {
    let mut text = format!("althing {} {}\n", kind.name, kind.version);
    for (word, rest) in lines {
        text.push_str(&format!("{word} {rest}\n"));
    }
    text.push_str(&format!("crc32c {:08x}\n", crc32c(text.as_bytes())));
    let new = file.with_extension("new");
    match disk.remove(&new) {
        Err(error) if error.kind != DiskErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let handle = disk.open(&new, OpenMode::CreateNew)?;
    handle.write_at(0, text.as_bytes())?;
    handle.sync()?;
    disk.rename(&new, file)?;
    disk.sync_dir(Path::new(""))
}

/// Reads the file; `None` if there is none.
pub fn read(disk: &dyn Disk, root: &Path, file: &Path, kind: Kind) -> Result<Option<Lines>, SealedError> {
    let handle = match disk.open(file, OpenMode::Read) {
        Ok(handle) => handle,
        Err(error) if error.kind == DiskErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = vec![0; usize::try_from(handle.len()?).unwrap_or(usize::MAX)];
    let length = handle.read_at(0, &mut bytes)?;
    bytes.truncate(length);
    let path = root.join(file);
    let corrupt = |detail: &str| SealedError::Corrupt { file: path.clone(), detail: detail.to_owned() };
    let text = std::str::from_utf8(&bytes).map_err(|_| corrupt("it is not text"))?;
    let sealed = text.rfind("crc32c ").ok_or_else(|| corrupt("its last line, the checksum, is missing"))?;
    if text[sealed..] != format!("crc32c {:08x}\n", crc32c(&text.as_bytes()[..sealed])) {
        return Err(corrupt("its checksum does not fit"));
    }
    let mut lines = text[..sealed].lines();
    let found = lines
        .next()
        .and_then(|first| first.strip_prefix("althing ")?.strip_prefix(kind.name)?.trim().parse().ok())
        .ok_or_else(|| corrupt("its first line does not say what it is"))?;
    if found != kind.version {
        return Err(SealedError::Version { file: path, found, known: kind.version });
    }
    let split = |line: &str| line.split_once(' ').map(|(word, rest)| (word.to_owned(), rest.to_owned()));
    lines.map(split).collect::<Option<_>>().map(Some).ok_or_else(|| corrupt("a line has no value"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    const KIND: Kind = Kind { name: "test", version: 3 };

    fn lines() -> Lines {
        vec![("name".into(), "a b".into()), ("n".into(), "7".into())]
    }

    #[test]
    fn what_is_written_is_read_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, file) = (RealDisk::new(dir.path()), Path::new("f"));
        assert_eq!(read(&disk, dir.path(), file, KIND), Ok(None));
        write(&disk, file, KIND, &vec![("old".into(), "x".into())]).unwrap();
        write(&disk, file, KIND, &lines()).unwrap();
        assert_eq!(read(&disk, dir.path(), file, KIND), Ok(Some(lines())));
        assert_eq!(disk.list(Path::new("")).unwrap(), ["f"]);
    }

    #[test]
    fn any_flipped_bit_is_found_and_the_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, path) = (RealDisk::new(dir.path()), dir.path().join("f"));
        write(&disk, Path::new("f"), KIND, &lines()).unwrap();
        let good = std::fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bad).unwrap();
            let error = read(&disk, dir.path(), Path::new("f"), KIND).unwrap_err();
            assert!(error.to_string().contains("/f is corrupt: "), "bit {bit}: {error}");
        }
    }

    #[test]
    fn a_format_that_is_not_known_exactly_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path());
        for version in [0, 2, 4] {
            write(&disk, Path::new("f"), Kind { version, ..KIND }, &lines()).unwrap();
            let error = read(&disk, dir.path(), Path::new("f"), KIND).unwrap_err().to_string();
            let expected =
                format!("has format version {version}; this program knows 3 only: use the program that wrote it");
            assert!(error.ends_with(&expected), "{error}");
        }
    }
}
