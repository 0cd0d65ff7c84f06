//! A full disk, on a file system of its own: a tmpfs in a mount namespace of this test, which needs no privilege where user
//! namespaces are allowed. Where they are not, the test says that it was skipped.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use althing_etcd_proto::etcdserverpb as pb;
use pb::maintenance_client::MaintenanceClient;
use tonic::Code;

use crate::common::{self, Cluster, refusal};

const DISK_MIB: u64 = 640;
/// What is left free when the disk is nearly full: less than a node wants, more than nothing.
const SCARCE_BYTES: u64 = 128 << 20;

/// A process that keeps the namespace with the file system alive.
struct SmallDisk {
    keeper: Child,
    mount: PathBuf,
}

impl SmallDisk {
    fn make(mount: &Path) -> Option<Self> {
        fs::create_dir_all(mount).unwrap();
        let script = format!("mount -t tmpfs -o size={DISK_MIB}m tmpfs \"$0\" && echo ready && exec sleep 600");
        let keeper = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", &script])
            .arg(mount)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut disk = Self { keeper, mount: mount.to_owned() };
        let mut said = String::new();
        let stdout = disk.keeper.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut said).unwrap();
        (said == "ready\n").then_some(disk)
    }

    /// The same command, within the namespace.
    fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["--target", &self.keeper.id().to_string(), "--user", "--preserve-credentials", "--mount", "--"]);
        inside.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        inside
    }

    /// A path within the file system, as it is seen from outside.
    fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.mount.strip_prefix("/").unwrap()).join(name)
    }

    /// Another program writes until so many bytes are free.
    fn fill(&self, leave_bytes: u64) {
        let figures = rustix::fs::statvfs(self.path("")).unwrap();
        let free_bytes = figures.f_bavail * figures.f_frsize;
        let mut filler = File::options().create(true).append(true).open(self.path("filler")).unwrap();
        let block = vec![7; 1 << 20];
        let mut left = free_bytes.saturating_sub(leave_bytes);
        while left > 0 {
            let count = left.min(block.len() as u64) as usize;
            if filler.write_all(&block[..count]).is_err() {
                return;
            }
            left -= count as u64;
        }
    }

    fn free(&self) {
        fs::remove_file(self.path("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // One that has ended already is fine.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Puts new keys until the answer is as wanted; returns how many were acknowledged.
async fn put_until(address: &str, prefix: &str, wanted: impl Fn(&Result<i64, tonic::Status>) -> bool) -> usize {
    let mut client = common::kv(address);
    let deadline = Instant::now() + Duration::from_secs(20);
    for number in 0.. {
        let answer = common::put(&mut client, &format!("{prefix}/{number:05}"), "value").await;
        if wanted(&answer) {
            return number + usize::from(answer.is_ok());
        }
        assert!(Instant::now() < deadline, "the last answer was {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    unreachable!("the range has no end")
}

fn is_no_space(answer: &Result<i64, tonic::Status>) -> bool {
    answer.as_ref().is_err_and(|error| {
        (error.code(), error.message()) == (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded")
    })
}

async fn disarm(address: &str) {
    let action = pb::alarm_request::AlarmAction::Deactivate.into();
    let request = pb::AlarmRequest { action, alarm: pb::AlarmType::Nospace.into(), ..pb::AlarmRequest::default() };
    MaintenanceClient::new(common::channel(address)).alarm(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_writes_are_refused_reads_go_on_and_freed_space_heals_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::make(&dir.path().join("disk")) else {
        println!("skipped: this machine allows no file system in a namespace of its own (unshare, mount)");
        return;
    };
    let mut cluster = Cluster::prepare(1);
    cluster.nodes[0].dir = dir.path().join("disk/n1");
    cluster.start_command(0, disk.inside(&cluster.command(0)));
    cluster.wait_until_serving().await;
    let address = cluster.nodes[0].client.clone();
    let mut client = common::kv(&address);
    common::put(&mut client, "kept", "value").await.unwrap();

    disk.fill(SCARCE_BYTES);
    let acknowledged = put_until(&address, "filling", is_no_space).await;
    assert!(cluster.said(0).contains("the disk is nearly full: writes are refused until space is freed"));
    assert_eq!(common::get_prefix(&address, "kept").await.unwrap().len(), 1, "reads go on");
    let status = Command::new(common::binary()).args(["status", "--endpoints", &address]).output().unwrap();
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&status.stdout).contains("alarm:NOSPACE"), "{status:?}");
    let delete = pb::DeleteRangeRequest { key: "kept".into(), ..pb::DeleteRangeRequest::default() };
    assert_eq!(client.delete_range(delete).await.unwrap().into_inner().deleted, 1, "removals are let through");

    disk.free();
    put_until(&address, "freed", Result::is_ok).await;
    assert_eq!(common::get_prefix(&address, "filling/").await.unwrap().len(), acknowledged);

    // Not one byte is left: what stops does not start again, and says why; with space it does, and nothing is missing.
    disk.fill(0);
    put_until(&address, "full", is_no_space).await;
    assert_eq!(cluster.stop(0), Some(0));
    disk.fill(0);
    let (said, code) = refusal(&mut disk.inside(&cluster.command(0)));
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(code, Some(1));
    disk.free();
    cluster.start_command(0, disk.inside(&cluster.command(0)));
    cluster.wait_until_serving().await;
    assert_eq!(common::get_prefix(&address, "filling/").await.unwrap().len(), acknowledged);
    // The alarm outlives the run that raised it, as on etcd, until somebody has looked.
    assert!(is_no_space(&common::put(&mut client, "after", "value").await));
    disarm(&address).await;
    common::put(&mut client, "after", "value").await.unwrap();
}
