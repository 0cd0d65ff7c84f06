//! Splits of shards of tables that are split by range: ADR 18.
//!
//! The control plane decides that a shard is split, makes two children on its nodes, and moves all keys to them with one write
//! once both serve. What lies between is done here, by the parent's leader ([`fill`]):
//!
//! ```text
//!   parent ── feed, page by page ──► Ingest, Ingest, …          to each child, through its own log
//!     │       both nearly up to date: Seal                       the parent serves nothing any more
//!     └────── the rest ────────────► Ingest, Activate            the children serve
//! ```
//!
//! Everything stands in the logs of the three shards: where a child is in its bounds, that the parent is sealed in its own. A
//! leader that takes over looks at them and goes on. And requests that meet a sealed parent go on at a child ([`redirect`]).

mod fill;
mod redirect;

pub(crate) use self::fill::Fillings;
pub(crate) use self::redirect::Redirects;
