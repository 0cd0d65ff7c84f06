//! Logger.
