//! The engine over real files, killed.
//!
//! The test starts itself again as a child that writes, checkpoints, compacts and drops spaces without end, and prints
//! every checkpoint that is finished. The parent stops it at arbitrary moments (`SIGSTOP`), copies the directory, opens the
//! copy and compares it with what the child's batches must have left; at last it kills the child and starts a new one
//! on what is there. A killed process loses its memory, not the operating system's: what an unsynced write may lose is
//! another test (`engine_power.rs`).

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use althing_storage::engine::lsm::LsmEngine;
use althing_storage::engine::{Checkpoint, Engine};
use althing_types::SpaceId;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use support::workload::{self, Oracle};

const CHILD_DIR: &str = "ALTHING_TEST_ENGINE_DIR";

#[test]
#[ignore = "not a test: the child of the tests below"]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let engine = LsmEngine::open(Path::new(&dir), &workload::options()).unwrap();
    std::thread::scope(|scope| {
        let (cuts, work) = mpsc::sync_channel::<Box<dyn Checkpoint>>(1);
        let engine = &engine;
        scope.spawn(move || {
            for cut in work {
                let applied = cut.finish().unwrap();
                let spaces: Vec<_> = applied.iter().map(|(space, at)| format!("{space}={}", at.index)).collect();
                let mut out = std::io::stdout();
                out.write_all(format!("\nfinished {}\n", spaces.join(" ")).as_bytes()).unwrap();
                out.flush().unwrap();
                for _ in 0..5 {
                    engine.maintain().unwrap();
                }
            }
        });
        for turn in 0_u64.. {
            workload::turn(engine, turn);
            if turn % 16 == 15 {
                cuts.send(engine.begin_checkpoint().unwrap()).unwrap();
            }
        }
    });
}

/// A child at work, and the last checkpoint it has said to be finished.
struct Writer {
    child: Child,
    finished: mpsc::Receiver<BTreeMap<SpaceId, u64>>,
}

impl Writer {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(CHILD_DIR, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, finished) = mpsc::channel();
        std::thread::Builder::new()
            .spawn(move || {
                for line in out.lines().map_while(Result::ok) {
                    if let Some(spaces) = line.strip_prefix("finished ") {
                        let _ = sender.send(workload::parse(spaces));
                    }
                }
            })
            .unwrap();
        Self { child, finished }
    }

    /// Stops the child; returns when all of its threads stand still.
    fn stop(&self) {
        self.signal(Signal::STOP);
        let pid = Some(Pid::from_child(&self.child));
        let (_, status) = waitpid(pid, WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "the child has ended by itself: {status:?}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

/// Takes what the child says until the moment has come.
#[allow(clippy::disallowed_methods, reason = "the moment of a crash is a real one")]
fn listen(writer: &Writer, least: &mut BTreeMap<SpaceId, u64>, moment: Duration) {
    let begun = Instant::now();
    while let Ok(finished) = writer.finished.recv_timeout(moment.saturating_sub(begun.elapsed())) {
        *least = finished;
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn whatever_the_moment_of_a_kill_every_space_is_a_prefix_that_holds_the_last_checkpoint() {
    const KILLS: usize = 6;
    const IMAGES: u64 = 6;
    let home = tempfile::tempdir().unwrap();
    let (dir, image) = (home.path().join("engine"), home.path().join("image"));
    let (mut oracle, mut least) = (Oracle::default(), BTreeMap::new());
    let mut moments = fastrand::Rng::with_seed(7);
    for _ in 0..KILLS {
        let mut writer = Writer::start(&dir);
        for _ in 0..IMAGES {
            listen(&writer, &mut least, Duration::from_millis(moments.u64(1..120)));
            writer.stop();
            // What was finished before the stop is in the pipe by now; what is read later only makes the check weaker.
            copy(&dir, &image);
            if image.join("ENGINE").exists() {
                oracle.check(&LsmEngine::open(&image, &workload::options()).unwrap(), &least);
            }
            fs::remove_dir_all(&image).unwrap();
            writer.signal(Signal::CONT);
        }
        writer.child.kill().unwrap();
        let end = writer.child.wait().unwrap();
        assert_eq!(end.signal(), Some(9), "the child has not died by itself");
        while let Ok(finished) = writer.finished.recv() {
            least = finished;
        }
        oracle.check(&LsmEngine::open(&dir, &workload::options()).unwrap(), &least);
    }
    let written: u64 = least.values().sum();
    assert!(written > 300, "the children have written and checkpointed: {least:?}");
}
