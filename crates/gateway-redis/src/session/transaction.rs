//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`.
//!
//! On a convergent table `EXEC` runs what was queued in its order, without isolation: others may see a part of it, and a failure
//! of the node in between leaves a part of it. There is nothing there that could tell whether a key has changed since it
//! was watched, on any side of a partition; so `WATCH` is refused, and names where it is exact.

use bytes::Bytes;

use super::Session;
use crate::command::{Answer, Command};
use crate::refusal::Refusal;
use crate::tables::TableKind;
use crate::wire::Value;
use crate::wire::request::{MAX_COMMAND_BYTES, Words};

/// Commands of one transaction.
pub const MAX_QUEUED: usize = 65_536;

/// What waits for `EXEC`.
#[derive(Debug, Default)]
pub struct Transaction {
    queued: Vec<(&'static Command, Words)>,
    bytes: usize,
    is_spoilt: bool,
}

impl Transaction {
    /// How many commands wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.queued.len()
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// A command was refused, so none will be run.
    pub const fn spoil(&mut self) {
        self.is_spoilt = true;
    }

    /// Adds a command.
    ///
    /// # Errors
    /// If there are too many.
    pub fn queue(&mut self, command: &'static Command, words: Words) -> Answer {
        self.bytes += words.iter().map(|word| word.len() + size_of::<Bytes>()).sum::<usize>();
        if self.queued.len() >= MAX_QUEUED || self.bytes > MAX_COMMAND_BYTES {
            self.spoil();
            return Err(Refusal::new(format!(
                "ERR a transaction may have {MAX_QUEUED} commands and {MAX_COMMAND_BYTES} bytes"
            )));
        }
        self.queued.push((command, words));
        Ok(Value::status("QUEUED"))
    }
}

/// A strong table's transactions would be atomic, and are not served here.
const STRONG: Refusal = Refusal::of(
    "ERR MULTI on a strong table is not supported by Althing: its atomic EXEC is served over etcd's API only",
);

/// `MULTI`
pub fn multi(session: &mut Session, _: &[Bytes]) -> Answer {
    if session.transaction.is_some() {
        return Err(Refusal::of("ERR MULTI calls can not be nested"));
    }
    match session.space.table().kind {
        TableKind::Strong => Err(STRONG),
        TableKind::Convergent => {
            session.transaction = Some(Transaction::default());
            session.client.facts().queued = Some(0);
            Ok(Value::OK)
        }
    }
}

/// `DISCARD`
pub fn discard(session: &mut Session, _: &[Bytes]) -> Answer {
    session.client.facts().queued = None;
    session.transaction.take().map(|_| Value::OK).ok_or(Refusal::of("ERR DISCARD without MULTI"))
}

/// `WATCH key...`
pub fn watch(session: &mut Session, _: &[Bytes]) -> Answer {
    if session.transaction.is_some() {
        return Err(Refusal::of("ERR WATCH inside MULTI is not allowed"));
    }
    let table = session.space.table();
    let why = match table.kind {
        TableKind::Convergent => {
            "a convergent table has no order in which a key could be seen to change; use a strong table"
        }
        TableKind::Strong => "its compare-and-set is served over etcd's API only",
    };
    Err(Refusal::unsupported("WATCH", why))
}

/// `UNWATCH`
pub fn unwatch(_: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::OK)
}

impl Session {
    /// `EXEC`
    pub(super) async fn exec(&mut self) -> Answer {
        let transaction = self.transaction.take().ok_or(Refusal::of("ERR EXEC without MULTI"))?;
        self.client.facts().queued = None;
        if transaction.is_spoilt {
            return Err(Refusal::of("EXECABORT Transaction discarded because of previous errors."));
        }
        let mut answers = Vec::with_capacity(transaction.queued.len());
        for (command, words) in transaction.queued {
            // One that fails does not stop the others: so Redis does it.
            answers.push(self.run_now(command, &words).await.unwrap_or_else(Value::from));
        }
        Ok(Value::Array(answers))
    }
}
