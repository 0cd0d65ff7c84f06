//! The engine's order of writes and syncs, against power cuts.
//!
//! A child writes, checkpoints, compacts and drops spaces under `strace`. The recorded calls are repeated on a disk in
//! memory (`support/trace.rs`), which is cut off before and after every sync, with three choices of what is kept of the unsynced
//! rest. Every image must open, pass `verify`, and hold a prefix of every space that is not before the last checkpoint that the
//! child had said to be finished. Without `strace`, or where it may not trace, the test says so and does nothing.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use althing_storage::engine::Engine;
use althing_storage::engine::lsm::LsmEngine;
use althing_types::SpaceId;
use support::trace::{CALLS, Call, Disk, Loss, parse};
use support::workload::{self, Oracle};

const CHILD_DIR: &str = "ALTHING_TEST_ENGINE_DIR";
const TURNS: u64 = 64;

#[test]
#[ignore = "not a test: the child of the test below"]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let engine = LsmEngine::open(Path::new(&dir), &workload::options()).unwrap();
    for turn in 0..TURNS {
        workload::turn(&engine, turn);
        if turn % 8 != 7 {
            continue;
        }
        let cut = engine.begin_checkpoint().unwrap();
        // Batches after the cut must not be needed for it.
        workload::turn(&engine, 0);
        let applied = cut.finish().unwrap();
        let spaces: Vec<_> = applied.iter().map(|(space, at)| format!("{space}={}", at.index)).collect();
        std::io::stdout().write_all(format!("finished {}\n", spaces.join(" ")).as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
        for _ in 0..3 {
            engine.maintain().unwrap();
        }
    }
}

/// Runs the child and records it; `false` if that is not possible here.
fn record(dir: &Path, trace: &Path) -> bool {
    let status = Command::new("strace")
        .args(["-f", "-xx", "-s", "100000000", "-e", CALLS, "-e", "signal=none", "-o"])
        .arg(trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

#[test]
fn a_power_cut_at_any_sync_leaves_a_prefix_that_holds_the_last_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let (dir, trace, image) = (home.path().join("engine"), home.path().join("trace"), home.path().join("image"));
    if !record(&dir, &trace) {
        eprintln!("strace cannot record here: power cuts are not tested");
        return;
    }
    let (mut disk, mut oracle, mut least) = (Disk::new(&dir), Oracle::default(), BTreeMap::new());
    let mut images = 0;
    for line in BufReader::new(File::open(&trace).unwrap()).lines() {
        let Some(call) = parse(&line.unwrap()) else { continue };
        if let Call::Write { fd: 1, bytes } = &call
            && let Some(spaces) = std::str::from_utf8(bytes).unwrap().strip_prefix("finished ")
        {
            least = workload::parse(spaces);
        }
        let cut = matches!(call, Call::Sync { .. } | Call::Rename { .. });
        let before = cut.then_some([Loss::All, Loss::None, Loss::Some(images)]);
        for loss in before.into_iter().flatten() {
            check(&disk, loss, &image, &mut oracle, &least);
            images += 1;
        }
        disk.apply(call);
    }
    for loss in [Loss::All, Loss::None, Loss::Some(images)] {
        check(&disk, loss, &image, &mut oracle, &least);
    }
    assert!(images > 300 && least.values().sum::<u64>() > 150, "{images} images, and at the end {least:?}");
}

fn check(disk: &Disk, loss: Loss, image: &Path, oracle: &mut Oracle, least: &BTreeMap<SpaceId, u64>) {
    fs::create_dir_all(image).unwrap();
    for tree in 0..2 {
        fs::create_dir_all(image.join(format!("tree-{tree}/tables"))).unwrap();
    }
    disk.image(image, loss);
    match LsmEngine::open(image, &workload::options()) {
        Ok(engine) => oracle.check(&engine as &dyn Engine, least),
        Err(error) => panic!("after {least:?} with {loss:?} lost: {error}"),
    }
    fs::remove_dir_all(image).unwrap();
}
