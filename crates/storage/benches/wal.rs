//! How many commits a second the log makes durable, as a ratio to bare fdatasyncs in the same directory.
//!
//! The disk, the file system and the neighbours decide most of any such figure; the ratio says what the log adds. Each
//! round of N writers is one batch of N records and one sync, as the log's thread groups them. Segments are warm: all of
//! them have been written before, as in a log that has run for a while.
//!
//! `cargo bench -p althing-storage --bench wal -- [seconds per figure]`

#![allow(missing_docs, clippy::disallowed_methods, reason = "a benchmark is all about real time")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use althing_env::{Disk, DiskError, DiskErrorKind, DiskFile, OpenMode};
use althing_storage::wal::{Identity, Record, RecordKind, Wal, WalOptions};
use althing_types::{ClusterId, GroupId, NodeId};
use bytes::Bytes;

const PAYLOAD_BYTES: usize = 256;
const OPTIONS: WalOptions = WalOptions {
    segment_bytes: 16 * 1024 * 1024,
    max_batch_bytes: 1024 * 1024,
    grow_bytes: 1024 * 1024,
    reserve_bytes: 32 * 1024,
    max_spares: 4,
    max_pinned_bytes: 256 * 1024 * 1024,
};

/// The least of a disk over the standard library.
struct PlainDisk {
    root: PathBuf,
}

struct PlainFile {
    path: PathBuf,
    file: File,
}

fn refused(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> DiskError {
    let path = path.to_path_buf();
    move |error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => DiskErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => DiskErrorKind::AlreadyExists,
            io::ErrorKind::StorageFull => DiskErrorKind::Full,
            _ => DiskErrorKind::Io,
        };
        DiskError { kind, operation, path: path.clone(), message: error.to_string() }
    }
}

impl DiskFile for PlainFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut read = 0;
        while read < buffer.len() {
            match self.file.read_at(&mut buffer[read..], offset + read as u64).map_err(refused("read", &self.path))? {
                0 => break,
                count => read += count,
            }
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.file.write_all_at(data, offset).map_err(refused("write", &self.path))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(refused("sync", &self.path))
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(refused("measure", &self.path))
    }

    fn set_len(&self, len: u64) -> Result<(), DiskError> {
        self.file.set_len(len).map_err(refused("set the length of", &self.path))
    }
}

impl Disk for PlainDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Box<dyn DiskFile>, DiskError> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read).create_new(mode == OpenMode::CreateNew);
        let file = options.open(self.root.join(path)).map_err(refused("open", path))?;
        Ok(Box::new(PlainFile { path: path.to_path_buf(), file }))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>, DiskError> {
        let entries = fs::read_dir(self.root.join(dir)).map_err(refused("list", dir))?;
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> Result<(), DiskError> {
        fs::create_dir_all(self.root.join(dir)).map_err(refused("create", dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        fs::rename(self.root.join(from), self.root.join(to)).map_err(refused("rename", from))
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        fs::remove_file(self.root.join(path)).map_err(refused("remove", path))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        File::open(self.root.join(dir)).and_then(|dir| dir.sync_all()).map_err(refused("sync", dir))
    }

    fn available_bytes(&self) -> Result<u64, DiskError> {
        Ok(u64::MAX)
    }
}

/// How long one side is measured before it is the other one's turn: what neighbours do to the disk meets both alike.
const SLICE: Duration = Duration::from_millis(20);

/// The times of all commits of one kind.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn measure_slice(&mut self, mut commit: impl FnMut()) {
        let start = Instant::now();
        while start.elapsed() < SLICE {
            let begin = Instant::now();
            commit();
            self.0.push(begin.elapsed());
        }
    }

    fn per_second(&self) -> f64 {
        self.0.len() as f64 / self.0.iter().sum::<Duration>().as_secs_f64()
    }

    /// Rates, median and slowest on one line; `ratio` is of commits to the bare ones.
    fn print(&mut self, name: &str, commits: u64, bare_per_second: f64) {
        self.0.sort_unstable();
        let (median, slowest) = (self.0[self.0.len() / 2], self.0[self.0.len() - 1]);
        let per_second = self.per_second();
        let rate = per_second * commits as f64;
        let ratio = rate / bare_per_second;
        println!("{name:<12} {per_second:>10.0} {rate:>10.0} {ratio:>8.2} {median:>10.1?} {slowest:>10.1?}");
    }
}

/// 4 KiB and an fdatasync into a file whose blocks were all written before.
struct Bare {
    file: File,
    offset: u64,
}

impl Bare {
    const FILE_BYTES: u64 = 16 * 1024 * 1024;

    fn open(directory: &Path) -> Self {
        let file = File::create(directory.join("bare")).expect("the directory is ours");
        file.write_all_at(&vec![0; Self::FILE_BYTES as usize], 0).expect("there is space");
        file.sync_all().expect("the disk works");
        Self { file, offset: 0 }
    }

    fn commit(&mut self) {
        self.file.write_all_at(&[7; 4096], self.offset).expect("the blocks exist");
        self.file.sync_data().expect("the disk works");
        self.offset = (self.offset + 4096) % Self::FILE_BYTES;
    }
}

/// A log that recycles itself.
struct Bench {
    wal: Wal,
    records: Vec<Record>,
    since_release: u64,
    next_index: u64,
}

impl Bench {
    fn open(directory: &Path) -> Self {
        let disk = Arc::new(PlainDisk { root: directory.to_path_buf() });
        let identity = Identity { cluster: ClusterId(1), node: NodeId(1) };
        let (wal, _) = Wal::open(disk, Path::new("wal"), identity, OPTIONS).expect("the directory is empty");
        Self { wal, records: Vec::new(), since_release: 0, next_index: 1 }
    }

    /// Writes until every file of the log has been written once.
    fn warm(&mut self) {
        while self.wal.stats().bytes < 5 * OPTIONS.segment_bytes {
            self.commit(4000);
        }
    }

    fn commit(&mut self, writers: u64) {
        self.records.clear();
        for writer in 0..writers {
            let index = self.next_index;
            self.next_index += 1;
            let payload = Bytes::from_static(&[0x5a; PAYLOAD_BYTES]);
            self.records.push(Record { group: GroupId(writer), kind: RecordKind::Entries, index, payload });
        }
        let before = self.wal.stats().bytes;
        self.wal.append(&self.records).expect("there is space");
        self.wal.sync().expect("the disk works");
        self.wal.prepare().expect("the disk works");
        self.since_release += self.wal.stats().bytes - before;
        if self.since_release > OPTIONS.segment_bytes {
            (0..4000).for_each(|group| self.wal.release(GroupId(group), self.next_index));
            self.wal.recycle().expect("the disk works");
            self.since_release = 0;
        }
    }
}

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2.0);
    let length = Duration::from_secs_f64(seconds);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is ours");
    let mut bench = Bench::open(directory.path());
    bench.warm();
    let mut bare = Bare::open(directory.path());
    println!("{:<12} {:>10} {:>10} {:>8} {:>10} {:>10}", "", "syncs/s", "commits/s", "ratio", "median", "slowest");
    for writers in [1, 8, 32] {
        let (mut bare_times, mut times) = (Times::default(), Times::default());
        let start = Instant::now();
        while start.elapsed() < 2 * length {
            bare_times.measure_slice(|| bare.commit());
            times.measure_slice(|| bench.commit(writers));
        }
        let base = bare_times.per_second();
        bare_times.print("bare 4 KiB", 1, base);
        times.print(&format!("{writers} writers"), writers, base);
    }
}
