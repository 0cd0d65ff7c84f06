//! A directory of the machine's file system as an [`env::Disk`](althing_env::Disk).
//!
//! Reads and writes are positioned (`pread`, `pwrite`), so that one open file serves many threads; `sync` is
//! `fdatasync`, which also writes the length when it has changed; `sync_dir` is `fsync` of the directory.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use althing_env::{Disk, DiskError, DiskErrorKind, DiskFile, OpenMode};

/// The file system below one directory.
#[derive(Clone, Debug)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// The files below `root`, which must exist.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory that paths are relative to.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn resolve(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }
}

/// Says which file and operation an error of the system belongs to.
fn refuse(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    move |error| DiskError { kind: kind_of(&error), operation, path: path.to_path_buf(), message: error.to_string() }
}

fn kind_of(error: &io::Error) -> DiskErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => DiskErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => DiskErrorKind::AlreadyExists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskErrorKind::Full,
        // The list of kinds is open: whatever else the system says, the device or the file system failed.
        _ => DiskErrorKind::Io,
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Box<dyn DiskFile>, DiskError> {
        let path = self.resolve(path);
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::ReadWrite => options.read(true).write(true),
            OpenMode::CreateNew => options.read(true).write(true).create_new(true),
        };
        let file = options.open(&path).map_err(refuse("open", &path))?;
        Ok(Box::new(RealFile { file, path }))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        let dir = self.resolve(dir);
        let mut names = fs::read_dir(&dir)
            .and_then(|entries| {
                entries
                    .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .map_err(refuse("list", &dir))?;
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let dir = self.resolve(dir);
        fs::create_dir_all(&dir).map_err(refuse("create", &dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let from = self.resolve(from);
        fs::rename(&from, self.resolve(to)).map_err(refuse("rename", &from))
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        let path = self.resolve(path);
        fs::remove_file(&path).map_err(refuse("remove", &path))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let dir = self.resolve(dir);
        File::open(&dir).and_then(|handle| handle.sync_all()).map_err(refuse("sync", &dir))
    }

    fn available_bytes(&self) -> Result<u64, DiskError> {
        let figures = rustix::fs::statvfs(&self.root).map_err(io::Error::from).map_err(refuse("stat", &self.root))?;
        Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
    }
}

/// One open file.
struct RealFile {
    file: File,
    path: PathBuf,
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(refuse("read", &self.path)(error)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(data, offset).map_err(refuse("write", &self.path))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(refuse("sync", &self.path))
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(refuse("stat", &self.path))
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.file.set_len(len).map_err(refuse("resize", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, RealDisk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path());
        (dir, disk)
    }

    #[test]
    fn what_is_written_is_read_and_a_read_stops_at_the_end() {
        let (_dir, disk) = disk();
        let file = disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
        file.write_at(3, b"abc").unwrap();
        file.sync().unwrap();
        let mut buffer = [9; 8];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 6);
        assert_eq!(&buffer[..6], b"\0\0\0abc");
        assert_eq!(file.read_at(6, &mut buffer).unwrap(), 0);
        assert_eq!(file.len().unwrap(), 6);
    }

    #[test]
    fn bytes_gained_by_growing_read_as_zero() {
        let (_dir, disk) = disk();
        let file = disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
        file.write_at(0, b"abcdef").unwrap();
        file.set_len(2).unwrap();
        file.set_len(4).unwrap();
        let mut buffer = [9; 4];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"ab\0\0");
    }

    #[test]
    fn a_name_that_exists_is_not_created_again_and_one_that_does_not_is_not_opened() {
        let (_dir, disk) = disk();
        disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
        let again = disk.open(Path::new("f"), OpenMode::CreateNew).err().unwrap();
        assert_eq!(again.kind, DiskErrorKind::AlreadyExists);
        let missing = disk.open(Path::new("g"), OpenMode::Read).err().unwrap();
        assert_eq!((missing.kind, missing.operation), (DiskErrorKind::NotFound, "open"));
        assert!(missing.to_string().contains("/g: "), "{missing}");
        assert_eq!(disk.remove(Path::new("g")).unwrap_err().kind, DiskErrorKind::NotFound);
        assert_eq!(disk.list(Path::new("no")).unwrap_err().kind, DiskErrorKind::NotFound);
    }

    #[test]
    fn names_are_listed_in_order_and_renaming_replaces() {
        let (_dir, disk) = disk();
        disk.create_dir(Path::new("d/e")).unwrap();
        for name in ["d/b", "d/a", "d/c"] {
            disk.open(Path::new(name), OpenMode::CreateNew).unwrap().write_at(0, name.as_bytes()).unwrap();
        }
        disk.rename(Path::new("d/c"), Path::new("d/a")).unwrap();
        disk.remove(Path::new("d/b")).unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        assert_eq!(disk.list(Path::new("d")).unwrap(), ["a", "e"]);
        let mut buffer = [0; 3];
        disk.open(Path::new("d/a"), OpenMode::Read).unwrap().read_at(0, &mut buffer).unwrap();
        assert_eq!(&buffer, b"d/c");
    }

    #[test]
    fn a_file_opened_for_reading_refuses_writes() {
        let (_dir, disk) = disk();
        disk.open(Path::new("f"), OpenMode::CreateNew).unwrap();
        let file = disk.open(Path::new("f"), OpenMode::Read).unwrap();
        assert_eq!(file.write_at(0, b"x").unwrap_err().kind, DiskErrorKind::Io);
    }

    #[test]
    fn there_is_room_on_the_disk_of_a_test() {
        let (_dir, disk) = disk();
        assert!(disk.available_bytes().unwrap() > 0);
    }
}
