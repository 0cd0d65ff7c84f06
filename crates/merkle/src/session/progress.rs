//! What a session knows.

use crate::place::Prefix;

/// How far a session has come, in buckets of the shallower of both trees. `compared` never goes back, and at the end it is `total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Buckets of which it is known what differs in them: nothing, or the keys that were found.
    pub compared: u64,
    /// All buckets.
    pub total: u64,
    /// Buckets that differed when they were compared. If one side's tree lost levels meanwhile, a node of a higher level is
    /// listed as a whole, and all its buckets count.
    pub differing: u64,
}

/// What a session has found.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Findings {
    /// Buckets that differed, each once.
    pub buckets: Vec<Prefix>,
    /// Positions of keys that the asking side has and the other one lacks or has in another version: to be sent to it.
    pub send: Vec<u64>,
    /// Positions of keys that the other side has and the asking one lacks or has in another version: to be asked for. A key that
    /// both have in different versions is in both lists, since only a join tells what comes of them.
    pub ask: Vec<u64>,
}
