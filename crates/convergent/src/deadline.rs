//! When a key expires.
//!
//! A deadline is a dotted value: EXPIRE replaces those that it has seen, and of concurrent ones the latest counts, never being the
//! latest of all. It must not take with it what its writer has not seen. A SET says that the key lives on, and needs no word for that:
//! **a deadline names the written strings that it binds**, and as long as there is one that none binds, the key does not
//! expire.
//!
//! ```text
//!   one side     SET k old    EXPIRE k 100 (binds old)  ─┐
//!   other side                SET k new                 ─┴─▶  new is not bound: k lives on
//! ```
//!
//! What is added to a key that has a deadline (members, fields, increments) lives as long as the key, as in Redis.

use althing_clock::coded::ascending;
use althing_clock::{Coded, Dot};
use althing_codec::{DecodeError, Reader, Writer};
use althing_crdt::{DotFun, Merge};

/// What one EXPIRE or PERSIST has said.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Deadline {
    /// When, in milliseconds since 1970; `None` is never.
    pub at_ms: Option<i64>,
    /// The writes of strings that it binds, ascending.
    pub binds: Vec<Dot>,
}

impl Merge for Deadline {
    /// Deadlines of one dot are equal, or somebody has issued it twice: then all replicas choose the same.
    fn merge(&mut self, other: Self) {
        if *self < other {
            *self = other;
        }
    }
}

/// When a key expires that has these deadlines and these written strings; `None` is never.
#[must_use]
pub fn effective(deadlines: &DotFun<Deadline>, mut strings: impl Iterator<Item = Dot>) -> Option<i64> {
    let said = deadlines.as_slice();
    let latest = said.iter().map(|(_, deadline)| deadline.at_ms.unwrap_or(i64::MAX)).max();
    let latest = latest.filter(|at_ms| *at_ms < i64::MAX)?;
    let is_bound = |dot| said.iter().any(|(_, deadline)| deadline.binds.binary_search(&dot).is_ok());
    strings.all(is_bound).then_some(latest)
}

impl Coded for Deadline {
    const NAME: &'static str = "a deadline";

    fn write(&self, writer: &mut Writer) {
        writer.bool(self.at_ms.is_some());
        self.at_ms.into_iter().for_each(|at_ms| writer.i64(at_ms));
        writer.u64(self.binds.len() as u64);
        self.binds.iter().for_each(|dot| dot.write(writer));
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let at_ms = if reader.bool("whether a key expires")? { Some(reader.i64("a deadline")?) } else { None };
        let mut binds: Vec<Dot> = Vec::new();
        for place in 0..reader.count("what a deadline binds")? {
            let dot = Dot::read(reader)?;
            ascending(binds.last(), &dot, place, "the order of what a deadline binds")?;
            binds.push(dot);
        }
        Ok(Self { at_ms, binds })
    }
}
