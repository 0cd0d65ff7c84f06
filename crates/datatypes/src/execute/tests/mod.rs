//! Golden tables: operations one after the other, and what each answers.

use bytes::Bytes;

use crate::{Op, OpError, Reply, Value, execute};

mod bits;
mod hash;
mod keys;
mod model;
mod set;
mod sketch;
mod sorted;
mod string;

pub const NOW_MS: i64 = 1_000_000;

/// A key on which operations are run one after the other.
#[derive(Default)]
pub struct Script {
    pub value: Value,
    now_ms: Option<i64>,
}

impl Script {
    pub fn at(&mut self, now_ms: i64) {
        self.now_ms = Some(now_ms);
    }

    pub fn run(&mut self, op: impl Into<Op>) -> Result<Reply, OpError> {
        let now_ms = self.now_ms.unwrap_or(NOW_MS);
        let op = op.into();
        let is_read = op.is_read();
        let (reply, edits) = execute(op, &self.value, now_ms, 7)?;
        assert!(!is_read || edits.is_empty(), "a read changes nothing");
        self.value.apply(&edits, now_ms).unwrap();
        Ok(reply)
    }

    /// Runs all and compares.
    pub fn table<O: Into<Op>>(&mut self, table: impl IntoIterator<Item = (O, Reply)>) {
        for (op, reply) in table {
            let op = op.into();
            assert_eq!(self.run(op.clone()), Ok(reply), "{op:?}");
        }
    }
}

pub fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub fn all(texts: &[&'static str]) -> Vec<Bytes> {
    texts.iter().map(|text| b(text)).collect()
}

pub fn text(text: &'static str) -> Reply {
    Reply::Bytes(b(text))
}

pub fn list(texts: &[&'static str]) -> Reply {
    Reply::List(all(texts))
}
