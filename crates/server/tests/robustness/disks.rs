//! A small disk for each node: a tmpfs in a mount namespace of the test's own, whose size is lowered until it is full and
//! raised again.
//!
//! Lowering the size needs no file that fills the rest, so a full disk costs no memory; a node sees what it would see
//! beside another program's files: little free space, and writes that fail. The namespace lives as long as a process that
//! waits for the end of a pipe from this one, so nothing stays mounted, however this process ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Above what a node wants to find free (384 MiB, `AMPLE_FREE_DISK_BYTES`) by what a run writes.
const DISK_MIB: u64 = 640;
pub const MIB: u64 = 1 << 20;
/// A size is refused if more has been written meanwhile; so often is a greater one tried.
const FILL_TRIES: usize = 50;
/// What may lie on all disks together, since it lies in memory.
pub const MAX_TOTAL_MIB: u64 = 1024;

/// How much is left on a full disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Less than a node wants (256 MiB, `MIN_FREE_DISK_BYTES`), and enough for what is under way.
    Little,
    /// Nothing, at once.
    Nothing,
}

impl Left {
    const fn bytes(self) -> u64 {
        match self {
            Self::Little => 128 * MIB,
            Self::Nothing => 0,
        }
    }
}

/// How a namespace may be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// As the root of a user namespace: needs no privilege where those are allowed.
    UserNamespace,
    /// As root, where user namespaces are not allowed.
    Root,
}

impl Way {
    const fn unshare(self) -> &'static [&'static str] {
        match self {
            Self::UserNamespace => &["--map-root-user", "--mount"],
            Self::Root => &["--mount"],
        }
    }

    const fn nsenter(self) -> &'static [&'static str] {
        match self {
            Self::UserNamespace => &["--user", "--preserve-credentials", "--mount"],
            Self::Root => &["--mount"],
        }
    }
}

/// The disks of all nodes, and the process that keeps them.
pub struct Disks {
    keeper: Child,
    way: Way,
    mounts: Vec<PathBuf>,
}

impl Disks {
    /// One disk at each of these paths, or why this machine allows none.
    pub fn make(mounts: &[PathBuf]) -> Result<Self, String> {
        Self::make_by(Way::UserNamespace, mounts)
            .or_else(|first| Self::make_by(Way::Root, mounts).map_err(|second| format!("{first}; {second}")))
    }

    fn make_by(way: Way, mounts: &[PathBuf]) -> Result<Self, String> {
        for mount in mounts {
            fs::create_dir_all(mount).map_err(|error| error.to_string())?;
        }
        let script = format!(
            "for at; do mount -t tmpfs -o size={DISK_MIB}m tmpfs \"$at\" || exit 1; done; echo ready; exec cat"
        );
        let mut keeper = Command::new("unshare")
            .args(way.unshare())
            .args(["sh", "-c", &script, "sh"])
            .args(mounts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let stdout = keeper.stdout.take().expect("the output is piped");
        let read = BufReader::new(stdout).read_line(&mut said);
        let disks = Self { keeper, way, mounts: mounts.to_vec() };
        match read {
            Ok(_) if said == "ready\n" => Ok(disks),
            _ => Err(format!("no tmpfs could be mounted ({way:?})")),
        }
    }

    /// The same command, run where the disks are mounted.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["--target", &self.keeper.id().to_string()]).args(self.way.nsenter()).arg("--");
        inside.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        inside
    }

    /// Fills a disk: all but so much of it is gone.
    pub fn fill(&self, index: usize, left: Left) -> Result<(), String> {
        let mut last = Ok(());
        for _ in 0..FILL_TRIES {
            last = self.resize(index, (self.used_bytes(index) + left.bytes()).div_ceil(1024));
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// Gives a disk its first size again.
    pub fn free(&self, index: usize) -> Result<(), String> {
        self.resize(index, DISK_MIB * 1024)
    }

    fn resize(&self, index: usize, kib: u64) -> Result<(), String> {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={kib}k")]).arg(&self.mounts[index]);
        let done = self.inside(&mount).output().map_err(|error| error.to_string())?;
        if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
    }

    /// What lies on a disk.
    pub fn used_bytes(&self, index: usize) -> u64 {
        let figures = rustix::fs::statvfs(self.path(index)).expect("the disk is mounted as long as its keeper lives");
        (figures.f_blocks - figures.f_bfree) * figures.f_frsize
    }

    /// What lies on all disks.
    pub fn total_bytes(&self) -> u64 {
        (0..self.mounts.len()).map(|index| self.used_bytes(index)).sum()
    }

    /// The disk, as it is seen from outside.
    fn path(&self, index: usize) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.mounts[index].strip_prefix(Path::new("/")).expect("a temporary directory's path is absolute"))
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        // One that has ended already is fine.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

#[test]
fn a_disk_is_filled_and_freed_and_gone_with_its_keeper() {
    let dir = tempfile::tempdir().unwrap();
    let mounts = [dir.path().join("a"), dir.path().join("b")];
    let disks = match Disks::make(&mounts) {
        Ok(disks) => disks,
        Err(why) => return println!("skipped: {why}"),
    };
    let file = disks.path(1).join("file");
    fs::write(&file, [7; 100_000]).unwrap();
    assert!(disks.used_bytes(1) >= 100_000);
    disks.fill(1, Left::Nothing).unwrap();
    assert_eq!(fs::write(disks.path(1).join("more"), [7; 100_000]).unwrap_err().raw_os_error(), Some(28));
    fs::write(disks.path(0).join("more"), [7; 100_000]).unwrap();
    disks.free(1).unwrap();
    fs::write(disks.path(1).join("more"), [7; 100_000]).unwrap();
    drop(disks);
    assert!(!mounts[1].join("file").exists(), "nothing was written outside the disks");
}
