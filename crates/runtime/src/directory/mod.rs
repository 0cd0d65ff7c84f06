//! A node's data directory: whose it is, that only one process uses it, and how often it has been started.
//!
//! ```text
//! DIR/
//!   lock        held (flock) by the process that uses the directory; its text is that process's id
//!   identity    cluster, node, name, the founding number and the last starts
//!   peers       the directory and the latest run of each peer that was seen
//!   wal/        the write-ahead log
//!   engine/     the sorted state
//! ```

mod sealed;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use althing_api::cluster::Member;
use althing_env::{Disk, DiskError, DiskErrorKind};
use althing_types::{ClusterId, NodeId};

use crate::disk::RealDisk;
use crate::transport::handshake::{HandshakeError, Identity};
use crate::transport::lineage::{Incarnation, Lineage, Seen, Sighting, Sightings};
use crate::transport::{Book, BookError};
pub use sealed::SealedError;
use sealed::{Kind, Lines};

const IDENTITY: Kind = Kind { name: "identity", version: 1 };
const PEERS: Kind = Kind { name: "peers", version: 1 };
/// The directory of the log, below the data directory.
pub const WAL_DIR: &str = "wal";
/// The directory of the engine, below the data directory.
pub const ENGINE_DIR: &str = "engine";

/// Why a data directory cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A file of it cannot be used.
    #[error(transparent)]
    File(#[from] SealedError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another process uses it.
    #[error("data directory {dir} is in use by process {pid}; stop that one or choose another with --data-dir", dir = .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process that holds the lock, as it wrote itself down.
        pid: String,
    },
    /// It holds files, but nothing says whose.
    #[error("{dir} is not empty and has no identity file: it is no data directory of Althing, or its identity was lost", dir = .dir.display())]
    NotOurs {
        /// The directory.
        dir: PathBuf,
    },
    /// It belongs to another cluster or node than the one that is to run.
    #[error("data directory {dir} belongs to {what} {found:?}, but {wanted:?} is to run; choose another directory or correct the configuration", dir = .dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// What differs: "cluster" or "node".
        what: &'static str,
        /// Whose it is.
        found: String,
        /// Who is to run.
        wanted: String,
    },
    /// The other nodes refuse it.
    #[error(
        "the other nodes refuse data directory {dir} for good: {reason}. Never start it again; keep it as long as you may \
         want to look into it", dir = .dir.display()
    )]
    Dismissed {
        /// The directory.
        dir: PathBuf,
        /// Why, as another node said.
        reason: String,
    },
    /// It has been used, and its log is gone.
    #[error(
        "data directory {dir} has been started {starts} times, but its {missing} is gone: what node {node} had promised is lost; \
         remove the node from the cluster and add it again with an empty directory", dir = .dir.display()
    )]
    Lost {
        /// The directory.
        dir: PathBuf,
        /// Which part is gone.
        missing: &'static str,
        /// How often it was started.
        starts: u64,
        /// The node.
        node: NodeId,
    },
}

/// How a node came to its cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Birth {
    /// With the cluster itself.
    Founded,
    /// It was added to a cluster that lived.
    Joined,
    /// With a cluster that was made from a snapshot.
    Restored,
    /// It was registered with a cluster that lived, as a node without replicas: the control plane gives it some.
    Registered,
}

impl Birth {
    const ALL: [Self; 4] = [Self::Founded, Self::Joined, Self::Restored, Self::Registered];

    const fn word(self) -> &'static str {
        match self {
            Self::Founded => "founded",
            Self::Joined => "joined",
            Self::Restored => "restored",
            Self::Registered => "registered",
        }
    }
}

/// Whose a directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// How the node came to the cluster.
    pub birth: Birth,
    /// The members at that moment, this node among them. What they are now is in the engine.
    pub members: Vec<Member>,
    /// The cluster's name, as people configure it.
    pub cluster_name: String,
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The node's name.
    pub name: String,
}

/// A data directory that this process has locked.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    disk: RealDisk,
    owner: Option<Owner>,
    lineage: Lineage,
    /// Why the other nodes refuse it for good, if they do.
    dismissal: Option<String>,
    /// The lock lasts as long as this file is open, however the process ends.
    _lock: File,
}

impl DataDir {
    /// Locks the directory, making it if need be, and reads whose it is.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        RealDisk::new("").create_dir(path)?;
        RealDisk::new(parent).sync_dir(Path::new(""))?;
        let lock = lock(path)?;
        let disk = RealDisk::new(path);
        let mut dir = Self {
            path: path.to_path_buf(),
            disk,
            owner: None,
            lineage: Lineage::default(),
            dismissal: None,
            _lock: lock,
        };
        match sealed::read(&dir.disk, path, Path::new("identity"), IDENTITY)? {
            Some(lines) => dir.take_identity(&lines)?,
            None if dir.has_content()? => return Err(DirectoryError::NotOurs { dir: path.to_path_buf() }),
            None => {}
        }
        Ok(dir)
    }

    fn has_content(&self) -> Result<bool, DirectoryError> {
        let ignored = ["lock", "identity.new", "lost+found"];
        Ok(self.disk.list(Path::new(""))?.iter().any(|name| !ignored.contains(&name.as_str())))
    }

    fn take_identity(&mut self, lines: &Lines) -> Result<(), SealedError> {
        let owner = parse_identity(lines).ok_or_else(|| SealedError::Corrupt {
            file: self.path.join("identity"),
            detail: "a line is missing or does not parse".into(),
        })?;
        (self.owner, self.lineage) = (Some(owner.0), owner.1);
        self.dismissal = lines.iter().find(|(word, _)| word == "dismissed").map(|(_, reason)| reason.clone());
        Ok(())
    }

    /// Whose it is; `None` in a new directory.
    #[must_use]
    pub const fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its files.
    #[must_use]
    pub fn disk(&self) -> RealDisk {
        self.disk.clone()
    }

    /// Refuses a directory of another cluster's name or another node's, and one that the other nodes refuse.
    pub fn check(&self, cluster_name: &str, name: &str) -> Result<(), DirectoryError> {
        let Some(owner) = &self.owner else { return Ok(()) };
        for (what, found, wanted) in [("cluster", &*owner.cluster_name, cluster_name), ("node", &owner.name, name)] {
            if found != wanted {
                let (found, wanted) = (found.to_owned(), wanted.to_owned());
                return Err(DirectoryError::Foreign { dir: self.path.clone(), what, found, wanted });
            }
        }
        if let Some(reason) = self.dismissal.clone() {
            return Err(DirectoryError::Dismissed { dir: self.path.clone(), reason });
        }
        Ok(())
    }

    /// Makes a new directory this owner's, durably.
    pub fn found(&mut self, owner: Owner) -> Result<(), DirectoryError> {
        self.owner = Some(owner);
        self.lineage = Lineage::founded(random());
        self.write_identity()
    }

    /// Refuses a directory that has been used and has lost its log or its engine since.
    pub fn check_storage(&self) -> Result<(), DirectoryError> {
        let Some(owner) = self.owner.as_ref().filter(|_| self.lineage.run().starts > 0) else { return Ok(()) };
        for (dir, missing) in [(WAL_DIR, "log"), (ENGINE_DIR, "engine")] {
            let is_gone = match self.disk.list(Path::new(dir)) {
                Ok(names) => names.is_empty(),
                Err(error) if error.kind == DiskErrorKind::NotFound => true,
                Err(error) => return Err(error.into()),
            };
            if is_gone {
                let (dir, starts) = (self.path.clone(), self.lineage.run().starts);
                return Err(DirectoryError::Lost { dir, missing, starts, node: owner.node });
            }
        }
        Ok(())
    }

    /// Counts a start, durably, and returns who runs from now on.
    ///
    /// # Panics
    /// If the directory has no owner: found it first.
    pub fn start(&mut self) -> Result<Identity, DirectoryError> {
        self.lineage.start(random());
        self.write_identity()?;
        let owner = self.owner.as_ref().expect("a directory is founded before it is started");
        Ok(Identity { cluster: owner.cluster, node: owner.node, lineage: self.lineage.clone() })
    }

    /// Notes durably that the other nodes refuse the directory, so that it is never started again. Otherwise a supervisor
    /// could start it until it counts more starts than it tells of.
    pub fn dismiss(&mut self, reason: &str) -> Result<(), DirectoryError> {
        // It came from another node, and a line of the file is one line.
        self.dismissal = Some(reason.replace(char::is_control, " "));
        self.write_identity()
    }

    fn write_identity(&self) -> Result<(), DirectoryError> {
        let owner = self.owner.as_ref().expect("only a directory with an owner is written");
        let line = |word: &str, rest: String| (word.to_owned(), rest);
        let mut lines = vec![
            line("birth", owner.birth.word().to_owned()),
            line("cluster-name", owner.cluster_name.clone()),
            line("cluster", format!("{:016x}", owner.cluster.get())),
            line("name", owner.name.clone()),
            line("node", format!("{:016x}", owner.node.get())),
            line("founding", format!("{:016x}", self.lineage.founding())),
        ];
        lines.extend(self.lineage.runs().map(|run| line("start", format!("{} {:016x}", run.starts, run.nonce))));
        lines.extend(self.dismissal.iter().map(|reason| line("dismissed", reason.clone())));
        lines.extend(owner.members.iter().map(member_line));
        Ok(sealed::write(&self.disk, Path::new("identity"), IDENTITY, &lines)?)
    }

    /// The book of peers' runs.
    pub fn peers(&self) -> Result<PeerBook, DirectoryError> {
        let lines = sealed::read(&self.disk, &self.path, Path::new("peers"), PEERS)?.unwrap_or_default();
        let seen = lines.iter().map(parse_peer).collect::<Option<BTreeMap<_, _>>>();
        let seen = seen.ok_or_else(|| SealedError::Corrupt {
            file: self.path.join("peers"),
            detail: "a line does not parse".into(),
        })?;
        Ok(PeerBook { disk: self.disk.clone(), seen: Mutex::new(Sightings(seen)) })
    }
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let refuse = |error: std::io::Error| DiskError {
        kind: DiskErrorKind::Io,
        operation: "lock",
        path: path.join("lock"),
        message: error.to_string(),
    };
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path.join("lock"));
    let mut file = options.map_err(refuse)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Who holds the lock is only told to people; an unreadable file is told as well.
            let pid = file.read_to_string(&mut pid).map_or_else(|_| "unknown".to_owned(), |_| pid.trim().to_owned());
            return Err(DirectoryError::InUse { dir: path.to_path_buf(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(refuse(error).into()),
    }
    file.set_len(0).map_err(refuse)?;
    writeln!(file, "{}", std::process::id()).map_err(refuse)?;
    Ok(file)
}

fn parse_identity(lines: &Lines) -> Option<(Owner, Lineage)> {
    let get = |word: &str| lines.iter().find(|(first, _)| first == word).map(|(_, rest)| rest.clone());
    let hex = |word: &str| u64::from_str_radix(&get(word)?, 16).ok();
    let birth = get("birth")?;
    let members = lines.iter().filter(|(word, _)| word == "member").map(|(_, rest)| parse_member(rest));
    let owner = Owner {
        birth: Birth::ALL.into_iter().find(|known| known.word() == birth)?,
        members: members.collect::<Option<_>>()?,
        cluster_name: get("cluster-name")?,
        cluster: ClusterId(hex("cluster")?),
        node: NodeId(hex("node")?),
        name: get("name")?,
    };
    let starts = lines.iter().filter(|(word, _)| word == "start").map(|(_, rest)| parse_run(rest));
    let starts = starts.collect::<Option<Vec<_>>>()?;
    Some((owner, lineage(hex("founding")?, &starts)?))
}

/// The lineage of these starts, which must follow each other.
fn lineage(founding: u64, starts: &[Incarnation]) -> Option<Lineage> {
    let last = starts.last().map_or(0, |run| run.starts);
    let lineage = Lineage::new(founding, last, starts.iter().map(|run| run.nonce).collect())?;
    lineage.runs().eq(starts.iter().copied()).then_some(lineage)
}

/// A run: its count and its number.
fn parse_run(text: &str) -> Option<Incarnation> {
    let (starts, nonce) = text.split_once(' ')?;
    Some(Incarnation { starts: starts.parse().ok()?, nonce: u64::from_str_radix(nonce, 16).ok()? })
}

/// A member's line: its id, whether it votes, its peer URLs with commas between, and its name, which may be missing.
fn member_line(member: &Member) -> (String, String) {
    let kind = if member.is_learner { "learner" } else { "voter" };
    let urls = member.peer_urls.join(",");
    ("member".to_owned(), format!("{:016x} {kind} {urls} {}", member.id.get(), member.name))
}

fn parse_member(line: &str) -> Option<Member> {
    let mut words = line.splitn(4, ' ');
    let id = NodeId(u64::from_str_radix(words.next()?, 16).ok()?);
    let is_learner = match words.next()? {
        "voter" => false,
        "learner" => true,
        _ => return None,
    };
    let peer_urls = words.next()?.split(',').map(str::to_owned).collect();
    Some(Member { id, name: words.next()?.to_owned(), peer_urls, client_urls: Vec::new(), is_learner })
}

fn parse_peer((node, rest): &(String, String)) -> Option<(NodeId, Sighting)> {
    let (founding, run) = rest.split_once(' ')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    Some((NodeId(hex(node)?), Sighting { founding: hex(founding)?, run: parse_run(run)? }))
}

/// A random number of the system's generator: for names of runs, not for secrets.
#[must_use]
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    // Eight bytes come whole or not at all once the system has booted.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_le_bytes(bytes)
}

/// A secret of the system's generator: 32 bytes as hexadecimal digits.
pub fn secret() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    let drawn = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if drawn < bytes.len() {
        return Err(std::io::Error::other("the system's generator gave too few bytes"));
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The directory and the latest run of each peer that this node has spoken with, kept in the file `peers`.
#[derive(Debug)]
pub struct PeerBook {
    disk: RealDisk,
    seen: Mutex<Sightings>,
}

impl Book for PeerBook {
    fn enter(&self, node: NodeId, lineage: &Lineage) -> Result<(), BookError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = seen.clone();
        if next.enter(node, lineage).map_err(HandshakeError::from)? == Seen::Same {
            return Ok(());
        }
        let line = |(node, Sighting { founding, run }): (&NodeId, &Sighting)| {
            (format!("{:016x}", node.get()), format!("{founding:016x} {} {:016x}", run.starts, run.nonce))
        };
        let lines = next.0.iter().map(line).collect();
        sealed::write(&self.disk, Path::new("peers"), PEERS, &lines).map_err(|e| BookError::Disk(e.to_string()))?;
        *seen = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        let member = |id, name: &str, is_learner| Member {
            id: NodeId(id),
            name: name.into(),
            peer_urls: vec![format!("http://10.0.0.{id}:2380"), "http://[::1]:1".into()],
            client_urls: Vec::new(),
            is_learner,
        };
        Owner {
            birth: Birth::Joined,
            members: vec![member(0x1f, "n1", false), member(2, "", true)],
            cluster_name: "prod".into(),
            cluster: ClusterId(0xabc),
            node: NodeId(0x1f),
            name: "n1".into(),
        }
    }

    fn founded(path: &Path) -> DataDir {
        let mut dir = DataDir::open(path).unwrap();
        dir.found(owner()).unwrap();
        dir
    }

    #[test]
    fn a_directory_keeps_its_owner_and_counts_its_starts() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("deep/data");
        let first = founded(&path).start().unwrap();
        let mut again = DataDir::open(&path).unwrap();
        assert_eq!(again.owner(), Some(&owner()));
        let second = again.start().unwrap();
        let (first, run) = (first.lineage, second.lineage.run());
        assert_eq!((first.run().starts, run.starts), (1, 2));
        assert_ne!(first.run().nonce, run.nonce);
        assert_eq!(second.lineage.runs().collect::<Vec<_>>(), [first.run(), run]);
        assert_eq!(second.lineage.founding(), first.founding());
        assert_eq!((second.cluster, second.node), (ClusterId(0xabc), NodeId(0x1f)));
    }

    #[test]
    fn two_processes_cannot_share_a_directory() {
        let temp = tempfile::tempdir().unwrap();
        let _held = founded(temp.path());
        let error = DataDir::open(temp.path()).unwrap_err();
        let expected = format!(
            "data directory {} is in use by process {}; stop that one or choose another with --data-dir",
            temp.path().display(),
            std::process::id()
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_directory_of_another_cluster_or_node_is_refused_by_name() {
        let temp = tempfile::tempdir().unwrap();
        let dir = founded(temp.path());
        assert_eq!(dir.check("prod", "n1"), Ok(()));
        let shown = temp.path().display();
        assert_eq!(
            dir.check("test", "n1").unwrap_err().to_string(),
            format!(
                "data directory {shown} belongs to cluster \"prod\", but \"test\" is to run; \
                 choose another directory or correct the configuration"
            )
        );
        assert!(dir.check("prod", "n2").unwrap_err().to_string().contains("belongs to node \"n1\", but \"n2\""));
    }

    #[test]
    fn a_directory_that_was_dismissed_is_never_started_again() {
        let temp = tempfile::tempdir().unwrap();
        let mut dir = founded(temp.path());
        dir.start().unwrap();
        dir.dismiss("gone\nfor good").unwrap();
        drop(dir);
        let error = DataDir::open(temp.path()).unwrap().check("prod", "n1").unwrap_err();
        let expected = format!(
            "the other nodes refuse data directory {} for good: gone for good. Never start it again; keep it as long as \
             you may want to look into it",
            temp.path().display()
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("holiday.jpg"), "x").unwrap();
        assert!(matches!(DataDir::open(temp.path()), Err(DirectoryError::NotOurs { .. })));
    }

    #[test]
    fn a_used_directory_without_its_log_does_not_start_as_if_it_were_new() {
        let temp = tempfile::tempdir().unwrap();
        let mut dir = founded(temp.path());
        assert_eq!(dir.check_storage(), Ok(()));
        dir.start().unwrap();
        let error = dir.check_storage().unwrap_err();
        assert!(error.to_string().contains("has been started 1 times, but its log is gone"), "{error}");
    }

    #[test]
    fn a_directory_that_was_founded_anew_is_another_one() {
        let temp = tempfile::tempdir().unwrap();
        let book = founded(&temp.path().join("peer")).peers().unwrap();
        let path = temp.path().join("data");
        let first = founded(&path).start().unwrap();
        book.enter(first.node, &first.lineage).unwrap();
        for _ in 0..3 {
            std::fs::remove_dir_all(&path).unwrap();
            let mut again = founded(&path);
            for _ in 0..40 {
                let identity = again.start().unwrap();
                let refused = book.enter(identity.node, &identity.lineage).unwrap_err();
                assert!(refused.to_string().contains("runs on an emptied data directory"), "{refused}");
            }
        }
    }

    #[test]
    fn starts_that_do_not_follow_each_other_are_corrupt() {
        let run = |starts| Incarnation { starts, nonce: 1 };
        assert!(lineage(7, &[run(3), run(4)]).is_some() && lineage(7, &[]).is_some());
        assert!(lineage(7, &[run(3), run(5)]).is_none() && lineage(7, &[run(0)]).is_none());
    }

    #[test]
    fn the_book_of_peers_outlives_the_process() {
        let temp = tempfile::tempdir().unwrap();
        let run = |starts, nonce| Lineage::new(9, starts, vec![nonce]).unwrap();
        let dir = founded(temp.path());
        let book = dir.peers().unwrap();
        book.enter(NodeId(2), &run(3, 33)).unwrap();
        book.enter(NodeId(3), &run(1, 11)).unwrap();
        let again = dir.peers().unwrap();
        assert_eq!(again.enter(NodeId(2), &run(3, 33)), Ok(()));
        assert!(matches!(again.enter(NodeId(2), &run(2, 22)), Err(BookError::Refused(_))));
        assert!(matches!(again.enter(NodeId(3), &run(1, 12)), Err(BookError::Refused(_))));
    }
}
