//! The state machine.

use std::sync::Arc;

use althing_clock::Actor;
use althing_storage::engine::Engine;
use althing_types::{Duration, SpaceId};
use bytes::Bytes;

use crate::error::ConvergentError;
use crate::job::{Job, Outcome};

/// How a shard is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardConfig {
    /// Bytes of decoded keys that are kept in memory, about.
    pub cache_bytes: usize,
    /// By how much the clocks of two nodes may differ.
    pub max_clock_skew: Duration,
}

/// How much a shard holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Size {
    /// Keys that are there, including those that have expired and are not removed yet.
    pub keys: u64,
    /// Bytes of all keys and their states.
    pub bytes: u64,
}

/// One replica of a shard.
pub struct Shard {
    index: u64,
}

impl Shard {
    /// Opens the replica that the space holds; a space that does not exist is an empty one.
    ///
    /// # Errors
    /// [`ConvergentError`]
    pub fn open(
        engine: Arc<dyn Engine>,
        space: SpaceId,
        actor: Actor,
        config: ShardConfig,
    ) -> Result<Self, ConvergentError> {
        let _ = (engine, space, actor, config);
        unimplemented!()
    }

    /// How many deltas were taken: the number of the last one.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How much it holds.
    #[must_use]
    pub fn size(&self) -> Size {
        unimplemented!()
    }

    /// Takes a delta of the log again, under its index. One at or below [`Shard::index`] is skipped.
    ///
    /// # Errors
    /// [`ConvergentError`]
    pub fn replay(&mut self, index: u64, delta: Bytes) -> Result<(), ConvergentError> {
        let _ = (index, delta);
        unimplemented!()
    }

    /// Runs jobs in their order.
    ///
    /// # Errors
    /// [`ConvergentError`]
    pub fn work(&mut self, jobs: Vec<Job>, out: &mut Vec<Outcome>) -> Result<(), ConvergentError> {
        let _ = (jobs, out);
        unimplemented!()
    }

    /// The hash of a key's state. Equal exactly if states are.
    ///
    /// # Errors
    /// [`ConvergentError`]
    pub fn digest(&mut self, key: &[u8]) -> Result<u128, ConvergentError> {
        let _ = key;
        unimplemented!()
    }
}
