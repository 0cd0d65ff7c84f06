use althing_crdt::Hll;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What can be asked of a HyperLogLog. PFCOUNT of many keys reads the sketches and merges them
/// ([`crate::combine::sketches`]); PFMERGE merges what was read into its target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SketchOp {
    /// PFADD: `Int` 1 if the sketch has changed or is new.
    Add(Vec<Bytes>),
    /// PFCOUNT: `Int`.
    Count,
    /// The sketch itself: `Sketch`, or `Nil`.
    Read,
    /// PFMERGE: `Ok`. It makes a key even of an empty sketch.
    Merge(#[serde(with = "crate::sketch")] Hll),
}
