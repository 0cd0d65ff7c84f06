//! Whole clusters in one thread, and the judges of what their clients saw.

pub mod checker;
