//! What a node asks of the world: clocks and disks, as traits. `runtime` implements them for real, `faultdisk` and
//! `sim` in memory with faults. Nothing here knows who implements it.
//!
//! The network is not here: a node returns what it wants to send as an effect and is handed what arrives as an input.

pub mod clock;
pub mod disk;

pub use clock::Clock;
pub use disk::{Disk, DiskError, DiskErrorKind, DiskFile, OpenMode};
