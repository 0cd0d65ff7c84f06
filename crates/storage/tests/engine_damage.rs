//! Damaged, foreign and newer directories, and a full disk: found, named, and never served.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::ops::Bound::Unbounded;
use std::path::{Path, PathBuf};

use althing_codec::checksum::crc32c;
use althing_storage::engine::lsm::{LsmEngine, LsmOptions};
use althing_storage::engine::{Engine, EngineError};
use althing_types::{ClusterId, NodeId, SpaceId};
use support::{at, checkpoint, open, options, put};

/// Items of each of the two spaces of [`prepare`].
const ITEMS: u64 = 400;

/// A directory with tables of two levels in both trees.
fn prepare(dir: &Path) {
    let engine = open(dir).unwrap();
    for round in 1..=5 {
        for space in [1, 2] {
            let mut batch = engine.begin(SpaceId(space));
            for key in 0..ITEMS {
                let newest = if round == 5 { key } else { key + round };
                batch.put(format!("key {key:06}").as_bytes(), value(newest).as_bytes());
            }
            batch.commit(at(round)).unwrap();
        }
        checkpoint(&engine);
        if round == 4 {
            while engine.maintain().unwrap() {}
        }
    }
    engine.drop_space(SpaceId(9)).unwrap();
    checkpoint(&engine);
}

fn value(key: u64) -> String {
    format!("value {key} {}", "x".repeat(key as usize % 50))
}

/// Reads everything in every way. What is served must be right; an error must come from the damage.
fn read_all(engine: &LsmEngine) -> Result<(), EngineError> {
    let view = engine.view();
    for space in [1, 2].map(SpaceId) {
        for (key, item) in (0..).zip(view.scan(space, (Unbounded, Unbounded))) {
            let (found, bytes) = item?;
            assert_eq!(found, format!("key {key:06}"));
            assert_eq!(bytes, value(key));
        }
        assert_eq!(view.scan(space, (Unbounded, Unbounded)).count() as u64, ITEMS);
        for key in 0..ITEMS {
            let found = engine.get(space, format!("key {key:06}").as_bytes())?;
            assert_eq!(found.expect("a key that was written"), value(key));
        }
    }
    Ok(())
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

/// All files that hold something, relative to the directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if fs::metadata(&path).unwrap().len() > 0 {
                found.push(path.strip_prefix(dir).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Bits of a file to flip: all of a small one, a spread of a large one that has its beginning and end.
fn bits(len: u64) -> Vec<u64> {
    let all = len * 8;
    let step = (all / 150).max(1) | 1;
    let ends = (0..200.min(all)).step_by(7).chain((all.saturating_sub(1600)..all).step_by(11));
    let mut bits: Vec<u64> = (0..all).step_by(step as usize).chain(ends).collect();
    bits.sort_unstable();
    bits.dedup();
    bits
}

#[test]
fn a_flipped_bit_in_any_file_is_found_and_named_and_never_served() {
    let home = tempfile::tempdir().unwrap();
    let origin = home.path().join("origin");
    prepare(&origin);
    let files = files(&origin);
    for kind in ["ENGINE", "current", "v", "tables"] {
        assert!(files.iter().any(|file| file.to_string_lossy().contains(kind)), "{kind} is among {files:?}");
    }
    let work = home.path().join("work");
    copy(&origin, &work);
    for file in files {
        let bytes = fs::read(origin.join(&file)).unwrap();
        for bit in bits(bytes.len() as u64) {
            let mut flipped = bytes.clone();
            flipped[(bit / 8) as usize] ^= 1 << (bit % 8);
            fs::write(work.join(&file), &flipped).unwrap();
            let named = |error: EngineError| {
                let EngineError::Corrupt { .. } = &error else { panic!("bit {bit} of {file:?}: {error:?}") };
                let text = error.to_string();
                assert!(text.contains(work.join(&file).to_str().unwrap()), "bit {bit} of {file:?}: {text}");
            };
            match open(&work) {
                Ok(engine) => {
                    if let Err(error) = read_all(&engine) {
                        named(error);
                    }
                    named(engine.verify().expect_err("verify reads every byte"));
                }
                Err(error) => named(error),
            }
        }
        // What lsm-tree has cleaned up around the damage comes back.
        fs::remove_dir_all(&work).unwrap();
        copy(&origin, &work);
    }
    read_all(&open(&work).unwrap()).unwrap();
}

#[test]
fn a_missing_or_cut_file_is_found_and_named() {
    let home = tempfile::tempdir().unwrap();
    let origin = home.path().join("origin");
    prepare(&origin);
    for file in files(&origin) {
        let bytes = fs::read(origin.join(&file)).unwrap();
        for keep in [None, Some(0), Some(bytes.len() / 2), Some(bytes.len() - 1)] {
            let work = home.path().join("work");
            copy(&origin, &work);
            match keep {
                None => fs::remove_file(work.join(&file)).unwrap(),
                Some(len) => fs::write(work.join(&file), &bytes[..len]).unwrap(),
            }
            let outcome = open(&work).and_then(|engine| read_all(&engine).and_then(|()| engine.verify()));
            let text = outcome.expect_err("damage is found").to_string();
            // A table that is missing is known by its tree only.
            let name = if keep.is_none() && file.parent().unwrap().ends_with("tables") {
                work.join(file.parent().unwrap().parent().unwrap())
            } else {
                work.join(&file)
            };
            assert!(text.contains(name.to_str().unwrap()), "{file:?} cut to {keep:?}: {text}");
            fs::remove_dir_all(&work).unwrap();
        }
    }
}

#[test]
fn the_directory_of_another_node_or_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    for (cluster, node) in [(1, 3), (2, 2)] {
        let other = LsmOptions { cluster: ClusterId(cluster), node: NodeId(node), ..options() };
        let error = LsmEngine::open(dir.path(), &other).err().unwrap();
        let EngineError::Foreign { found, .. } = &error else { panic!("{error:?}") };
        assert_eq!(found, "node 2 of cluster 0000000000000001");
    }
}

#[test]
fn a_directory_with_a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let path = dir.path().join("ENGINE");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let end = bytes.len() - 4;
    let crc = crc32c(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&crc);
    fs::write(&path, bytes).unwrap();
    assert_eq!(open(dir.path()).err(), Some(EngineError::Version { file: path, found: 2, known: 1 }));
}

#[test]
fn a_directory_that_another_engine_has_open_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).unwrap();
    assert_eq!(open(dir.path()).err(), Some(EngineError::Locked { file: dir.path().join("LOCK") }));
    drop(engine);
    open(dir.path()).unwrap();
}

#[test]
fn half_a_creation_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    fs::remove_file(dir.path().join("ENGINE")).unwrap();
    fs::remove_file(dir.path().join("tree-0/current")).unwrap();
    put(&open(dir.path()).unwrap(), 1, 1, &[("a", "1")]);
}

#[test]
fn half_a_removal_of_half_a_creation_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    fs::remove_file(dir.path().join("ENGINE")).unwrap();
    fs::remove_dir_all(dir.path().join("tree-0/tables")).unwrap();
    fs::remove_file(dir.path().join("tree-1/current")).unwrap();
    put(&open(dir.path()).unwrap(), 1, 1, &[("a", "1")]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_says_so_and_nothing_is_lost_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path()).unwrap();
    put(&engine, 1, 1, &[("a", "1")]);
    checkpoint(&engine);
    put(&engine, 1, 2, &[("a", "2")]);
    // The next manifest of the space's tree, and then the next `ENGINE`, are on a device without space. (lsm-tree makes
    // tables as new files only, so there this trick does not work.)
    let manifests: Vec<_> = (0..50).map(|n| dir.path().join(format!("tree-1/v{n}"))).collect();
    let links: Vec<_> = manifests.iter().filter(|link| std::os::unix::fs::symlink("/dev/full", link).is_ok()).collect();
    let error = engine.begin_checkpoint().unwrap().finish().unwrap_err();
    assert!(matches!(error, EngineError::Full(_)), "{error:?}");
    assert_eq!(engine.get(SpaceId(1), b"a").unwrap().unwrap(), "2");
    links.into_iter().for_each(|link| drop(fs::remove_file(link)));
    checkpoint(&engine);
    std::os::unix::fs::symlink("/dev/full", dir.path().join("ENGINE.new")).unwrap();
    engine.drop_space(SpaceId(7)).unwrap();
    let error = engine.begin_checkpoint().unwrap().finish().unwrap_err();
    assert!(matches!(error, EngineError::Full(_)), "{error:?}");
    drop(engine);
    let engine = open(dir.path()).unwrap();
    assert_eq!(engine.applied()[&SpaceId(1)], at(2));
    assert_eq!(engine.get(SpaceId(1), b"a").unwrap().unwrap(), "2");
}
