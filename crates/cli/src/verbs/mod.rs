//! The verbs.

pub mod context;
mod files;
