//! The `althing` binary.
fn main() {}
