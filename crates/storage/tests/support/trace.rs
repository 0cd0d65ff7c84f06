//! A disk rebuilt from the system calls of a process, to be cut off at any of them.
//!
//! `strace` writes down every call that changes files. [`Disk::apply`] repeats them on files in memory that know what is synced:
//! a file's bytes by a sync of the file, a name by a sync of its directory. [`Disk::image`] is what a power cut might
//! leave: everything that is synced, and of the rest each name and each 512-byte sector by its own draw. (Directories themselves
//! are taken to be durable.)

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SECTOR: usize = 512;

/// The calls that are recorded.
pub const CALLS: &str =
    "trace=openat,close,write,pwrite64,lseek,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat";

/// One call that changes something.
#[derive(Debug)]
pub enum Call {
    Open { fd: i32, path: PathBuf, truncate: bool, create: bool },
    Write { fd: i32, bytes: Vec<u8> },
    Seek { fd: i32, to: usize },
    Close { fd: i32 },
    Sync { fd: i32 },
    Rename { from: PathBuf, to: PathBuf },
    Unlink { path: PathBuf },
}

/// Reads one line of `strace -f -xx`; `None` for a call that failed or does not matter.
pub fn parse(line: &str) -> Option<Call> {
    assert!(!line.contains("<unfinished"), "the recorded process does its output on one thread: {line}");
    let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let result: i64 = result.split_whitespace().next()?.parse().ok().filter(|result| *result >= 0)?;
    let strings: Vec<Vec<u8>> = arguments.split('"').skip(1).step_by(2).map(unescape).collect();
    let path = |index: usize| PathBuf::from(String::from_utf8(strings[index].clone()).unwrap());
    let fd = || arguments.split(',').next().unwrap().trim().parse().unwrap();
    Some(match name {
        "openat" => Call::Open {
            fd: result as i32,
            path: path(0),
            truncate: arguments.contains("O_TRUNC"),
            create: arguments.contains("O_CREAT"),
        },
        "write" => Call::Write { fd: fd(), bytes: strings[0][..result as usize].to_vec() },
        "lseek" => Call::Seek { fd: fd(), to: result as usize },
        "close" => Call::Close { fd: fd() },
        "fsync" | "fdatasync" => Call::Sync { fd: fd() },
        "rename" | "renameat" | "renameat2" => Call::Rename { from: path(0), to: path(1) },
        "unlink" | "unlinkat" => Call::Unlink { path: path(0) },
        other => panic!("{other} is not understood: {line}"),
    })
}

fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect()
}

#[derive(Clone, Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    synced: Vec<u8>,
}

/// What a power cut keeps of what is not synced.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// Nothing.
    All,
    /// Everything.
    None,
    /// Each name and sector by its own draw.
    Some(u64),
}

/// Files in memory. See the module.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    /// Of each open file or directory its path, its inode if it is a file, and the offset of the next write.
    open: BTreeMap<i32, (PathBuf, Option<usize>, usize)>,
}

impl Disk {
    /// An empty disk that follows what happens below `root`.
    pub fn new(root: &Path) -> Self {
        let (names, synced_names) = (BTreeMap::new(), BTreeMap::new());
        Self { root: root.to_owned(), inodes: Vec::new(), names, synced_names, open: BTreeMap::new() }
    }

    /// Repeats a call.
    pub fn apply(&mut self, call: Call) {
        match call {
            Call::Open { fd, path, truncate, create } if path.starts_with(&self.root) => {
                if create && !self.names.contains_key(&path) {
                    self.names.insert(path.clone(), self.inodes.len());
                    self.inodes.push(Inode::default());
                }
                let inode = self.names.get(&path).copied();
                if let Some(inode) = inode.filter(|_| truncate) {
                    self.inodes[inode].bytes.clear();
                }
                self.open.insert(fd, (path, inode, 0));
            }
            Call::Open { fd, .. } | Call::Close { fd } => drop(self.open.remove(&fd)),
            Call::Write { fd, bytes } => {
                if let Some((_, Some(inode), offset)) = self.open.get_mut(&fd) {
                    let file = &mut self.inodes[*inode].bytes;
                    let end = *offset + bytes.len();
                    file.resize(file.len().max(end), 0);
                    file[*offset..end].copy_from_slice(&bytes);
                    *offset = end;
                }
            }
            Call::Seek { fd, to } => {
                if let Some((_, _, offset)) = self.open.get_mut(&fd) {
                    *offset = to;
                }
            }
            Call::Sync { fd } => match self.open.get(&fd) {
                Some((_, Some(inode), _)) => {
                    let inode = &mut self.inodes[*inode];
                    inode.synced = inode.bytes.clone();
                }
                Some((dir, None, _)) => {
                    let within = |path: &PathBuf| path.parent() == Some(dir);
                    self.synced_names.retain(|path, _| !within(path));
                    let names = self.names.iter().filter(|(path, _)| within(path));
                    self.synced_names.extend(names.map(|(path, inode)| (path.clone(), *inode)));
                }
                None => {}
            },
            Call::Rename { from, to } => {
                if let Some(inode) = self.names.remove(&from) {
                    self.names.insert(to, inode);
                }
            }
            Call::Unlink { path } => drop(self.names.remove(&path)),
        }
    }

    /// Writes what a power cut leaves to the directory `to`, in which all directories are there.
    pub fn image(&self, to: &Path, loss: Loss) {
        let mut rng = fastrand::Rng::with_seed(if let Loss::Some(seed) = loss { seed } else { 0 });
        let mut lost = || match loss {
            Loss::All => true,
            Loss::None => false,
            Loss::Some(_) => rng.bool(),
        };
        let mut paths: Vec<&PathBuf> = self.names.keys().chain(self.synced_names.keys()).collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let names = if lost() { &self.synced_names } else { &self.names };
            let Some(inode) = names.get(path) else { continue };
            let Inode { bytes, synced } = &self.inodes[*inode];
            let mut left = if lost() { synced.clone() } else { bytes.clone() };
            for start in (0..left.len()).step_by(SECTOR) {
                let end = left.len().min(start + SECTOR);
                let source = if lost() { synced } else { bytes };
                for (at, byte) in left[start..end].iter_mut().enumerate() {
                    *byte = source.get(start + at).copied().unwrap_or(0);
                }
            }
            let target = to.join(path.strip_prefix(&self.root).unwrap());
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, left).unwrap();
        }
    }
}
