//! Engines for tests, all handled alike.

#![allow(dead_code, reason = "every test binary uses its part")]

#[cfg(target_os = "linux")]
pub mod trace;
pub mod workload;

use std::path::Path;

use althing_storage::engine::lsm::{LsmEngine, LsmOptions};
use althing_storage::engine::model::ModelEngine;
#[cfg(feature = "redb")]
use althing_storage::engine::redb::RedbEngine;
use althing_storage::engine::{Applied, Engine, EngineError, Read};
use althing_types::{ClusterId, NodeId, SpaceId};

/// An engine that can be crashed.
pub trait Subject: Engine + Sized {
    /// A new, empty one.
    fn fresh() -> Home<Self>;
}

/// An engine and what must live as long as it.
pub struct Home<E> {
    pub engine: E,
    pub dir: Option<tempfile::TempDir>,
}

impl Subject for ModelEngine {
    fn fresh() -> Home<Self> {
        Home { engine: Self::new(), dir: None }
    }
}

impl Subject for LsmEngine {
    fn fresh() -> Home<Self> {
        let dir = tempfile::tempdir().unwrap();
        Home { engine: open(dir.path()).unwrap(), dir: Some(dir) }
    }
}

#[cfg(feature = "redb")]
impl Subject for RedbEngine {
    fn fresh() -> Home<Self> {
        let dir = tempfile::tempdir().unwrap();
        Home { engine: Self::open(&dir.path().join("engine.redb")).unwrap(), dir: Some(dir) }
    }
}

#[cfg(feature = "redb")]
impl Crash for RedbEngine {
    /// A copy of the file as it is: what the process had not yet written is lost.
    fn crash(home: Home<Self>, _seed: u64) -> Home<Self> {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("engine.redb");
        std::fs::copy(home.dir.as_ref().unwrap().path().join("engine.redb"), &copy).unwrap();
        Home { engine: Self::open(&copy).unwrap(), dir: Some(dir) }
    }
}

/// A crash that the engine's contract allows.
pub trait Crash: Subject {
    /// What a new process finds.
    fn crash(home: Home<Self>, seed: u64) -> Home<Self>;
}

impl Crash for ModelEngine {
    fn crash(home: Home<Self>, seed: u64) -> Home<Self> {
        Home { engine: home.engine.crash(seed), dir: None }
    }
}

impl Crash for LsmEngine {
    /// What is in memory is lost; what was written to files is kept. (A lost page cache is tested by cutting traces.)
    fn crash(home: Home<Self>, _seed: u64) -> Home<Self> {
        let Home { engine, dir } = home;
        drop(engine);
        Home { engine: open(dir.as_ref().unwrap().path()).unwrap(), dir }
    }
}

/// The options of all tests: two trees, so that spaces share them.
pub fn options() -> LsmOptions {
    LsmOptions { trees: 2, cache_bytes: 1024 * 1024, ..LsmOptions::new(ClusterId(1), NodeId(2)) }
}

/// Opens an engine with [`options`].
pub fn open(dir: &Path) -> Result<LsmEngine, EngineError> {
    LsmEngine::open(dir, &options())
}

/// A position in term 1.
pub fn at(index: u64) -> Applied {
    Applied { index, term: 1 }
}

/// Writes one batch of puts.
pub fn put(engine: &dyn Engine, space: u64, index: u64, items: &[(&str, &str)]) {
    let mut batch = engine.begin(SpaceId(space));
    for (key, value) in items {
        batch.put(key.as_bytes(), value.as_bytes());
    }
    batch.commit(at(index)).unwrap();
}

/// Cuts and makes the cut durable.
pub fn checkpoint(engine: &dyn Engine) {
    engine.begin_checkpoint().unwrap().finish().unwrap();
}

/// All items of a space, as text.
pub fn dump(read: &(impl Read + ?Sized), space: u64) -> Vec<(String, String)> {
    use std::ops::Bound::Unbounded;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    read.scan(SpaceId(space), (Unbounded, Unbounded))
        .map(|item| item.map(|(key, value)| (text(&key), text(&value))).unwrap())
        .collect()
}
