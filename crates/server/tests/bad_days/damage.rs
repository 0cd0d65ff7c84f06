//! A flipped byte in each kind of file of a data directory: the node names the file and does not start, or it never serves
//! what was damaged. What only looks like damage (a tail that was never durable) is tested beside the log.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::{self, Cluster, refusal, serves};

/// Values in the tables, one of them enough for many blocks.
const VALUES: usize = 72;
const VALUE_BYTES: usize = 1 << 20;
/// Values that only the log holds.
const TAIL: usize = 20;

fn value(number: usize) -> String {
    let mut rng = fastrand::Rng::with_seed(number as u64);
    let bytes = if number < VALUES { VALUE_BYTES } else { 100 };
    std::iter::repeat_with(|| rng.alphanumeric()).take(bytes).collect()
}

fn key(number: usize) -> String {
    format!("damage/{number:05}")
}

/// All files below a directory, with their kind: the name without its digits.
fn files(dir: &Path) -> Vec<(PathBuf, String)> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.push((path, name.replace(|c: char| c.is_ascii_digit(), "")));
            }
        }
    }
    found.sort();
    found
}

fn flip(file: &Path, offset: u64) {
    let handle = File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    handle.read_exact_at(&mut byte, offset).unwrap();
    handle.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

/// A node with tables on disk and a tail in the log, stopped by `kill -9` after a start that found all of it durable.
async fn prepare() -> Cluster {
    let mut cluster = Cluster::start(1).await;
    let address = cluster.nodes[0].client.clone();
    let mut client = common::kv(&address);
    let write = async |from: usize, to: usize| {
        let mut client = common::kv(&address);
        for number in from..to {
            common::put(&mut client, &key(number), &value(number)).await.unwrap();
        }
    };
    let dir = cluster.nodes[0].dir.clone();
    let has_table = || files(&dir).iter().any(|(_, kind)| kind == "engine/tree-/tables/");
    let deadline = Instant::now() + Duration::from_secs(60);
    // A table that was being written when the node was killed belongs to nothing, and is gone after the start.
    loop {
        write(0, VALUES).await;
        while !has_table() {
            assert!(Instant::now() < deadline, "no table was written: {:?}", files(&dir));
            common::put(&mut client, "nudge", "value").await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        write(VALUES, VALUES + TAIL).await;
        cluster.kill(0);
        cluster.start_node(0);
        cluster.wait_until_serving().await;
        if has_table() {
            cluster.kill(0);
            return cluster;
        }
    }
}

/// Offsets to damage: everywhere in a small file, and in a large one at its beginning, in its midst and at its end.
fn offsets(file: &Path) -> Vec<u64> {
    let bytes = fs::metadata(file).unwrap().len();
    let mut offsets = vec![9, bytes / 2, bytes.saturating_sub(3)];
    offsets.retain(|offset| *offset < bytes);
    offsets.dedup();
    offsets
}

/// Where the log's batches end in a segment: everything behind is zeros.
fn written(segment: &Path) -> u64 {
    fs::read(segment).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_in_any_kind_of_file_is_named_and_never_served() {
    let mut cluster = prepare().await;
    let files = files(&cluster.nodes[0].dir);
    let kinds: Vec<_> = files.iter().map(|(_, kind)| kind.as_str()).collect();
    for kind in ["identity", "engine/ENGINE", "engine/tree-/current", "engine/tree-/tables/", "wal/segment-.wal"] {
        assert!(kinds.contains(&kind), "there is a {kind} among {kinds:?}");
    }
    // The latest manifest of a tree is the one that its `current` names; older ones are not there.
    let essential = ["identity", "engine/ENGINE", "engine/tree-/current", "engine/tree-/v"];
    for (file, _) in files.iter().filter(|(_, kind)| essential.contains(&kind.as_str())) {
        for offset in offsets(file) {
            is_refused(&cluster, file, offset);
        }
    }
    for (file, _) in files.iter().filter(|(_, kind)| kind == "wal/segment-.wal") {
        // Well before the last batches: they are the beginning of the last run, which acknowledged nothing.
        let end = written(file) - 8 * 4096;
        for offset in [9, end / 3, end / 2, end] {
            is_refused(&cluster, file, offset);
        }
    }
    let (mut tables, mut noticed) = (0, 0);
    for (file, kind) in &files {
        if kind == "engine/tree-/tables/" {
            // In its midst a table holds values, all of which are read below; a block of it may be padded at the end.
            tables += 1;
            noticed += usize::from(is_never_served(&mut cluster, file, offsets(file)[1]).await == Damage::Noticed);
        }
        if ["engine/tree-/tables/", "lock", "engine/LOCK", "wal/spare-.wal"].contains(&kind.as_str()) {
            for offset in offsets(file) {
                is_never_served(&mut cluster, file, offset).await;
            }
        }
    }
    println!("damage was noticed in {noticed} of {tables} tables");
    assert!(noticed > 0, "a flipped byte of a value is noticed");
    cluster.start_node(0);
    cluster.wait_until_serving().await;
    assert_eq!(read_all(&cluster.nodes[0].client).await, Ok(()));
}

/// The node does not start, and says which file is the reason.
fn is_refused(cluster: &Cluster, file: &Path, offset: u64) {
    flip(file, offset);
    let (said, code) = refusal(&mut cluster.command(0));
    let name = file.strip_prefix(&cluster.nodes[0].dir).unwrap().display().to_string();
    assert!(said.contains(&name), "byte {offset} of {name}: {said}");
    assert!(matches!(code, Some(1 | 2)), "byte {offset} of {name}: {code:?} {said}");
    flip(file, offset);
}

/// Reads every value: a wrong one fails the test, an error is returned.
async fn read_all(address: &str) -> Result<(), String> {
    for number in 0..VALUES + TAIL {
        let found = common::get_prefix(address, &key(number)).await.map_err(|error| error.to_string())?;
        assert!(found.len() == 1 && found[0].1 == value(number), "value {number} is wrong");
    }
    Ok(())
}

/// What became of a flipped byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Damage {
    /// An error that names the file.
    Noticed,
    /// Everything was right all the same: the byte means nothing to anybody.
    Harmless,
}

/// The node does not start, or refuses the damaged part, and names the file either way; or the byte means nothing.
async fn is_never_served(cluster: &mut Cluster, file: &Path, offset: u64) -> Damage {
    flip(file, offset);
    let begin = cluster.said(0).len();
    cluster.start_node(0);
    let address = cluster.nodes[0].client.clone();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !cluster.has_ended(0) && !serves(&address).await {
        assert!(Instant::now() < deadline, "{} with byte {offset} damaged does nothing", file.display());
    }
    let answer = if cluster.has_ended(0) { Err("it ended".to_owned()) } else { read_all(&address).await };
    cluster.kill(0);
    if let Err(error) = &answer {
        let said = cluster.said(0)[begin..].to_owned();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        assert!(error.contains(&name) || said.contains(&name), "byte {offset} of {}: {error}\n{said}", file.display());
    }
    if file.exists() {
        flip(file, offset);
    }
    if answer.is_err() { Damage::Noticed } else { Damage::Harmless }
}

#[tokio::test]
async fn a_flipped_byte_in_the_book_of_peers_is_named() {
    let mut cluster = Cluster::start(3).await;
    cluster.stop(0);
    let file = cluster.nodes[0].dir.join("peers");
    for offset in offsets(&file) {
        is_refused(&cluster, &file, offset);
    }
    cluster.start_node(0);
    cluster.wait_until_serving().await;
}
