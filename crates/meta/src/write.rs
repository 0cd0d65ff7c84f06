//! What the reconcilers want written.

use althing_manifest::{Kind, key_of};
use althing_types::Revision;
use bytes::Bytes;

/// One write of one object: a transaction that is done only if nothing that it was decided upon has changed.
///
/// Each is safe on its own, whatever becomes of the others: they may be done in any order, one by one or not at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// The object's key.
    pub key: Bytes,
    /// The `mod_revision` that the key must have; zero: it must not exist.
    pub expected: Revision,
    /// What to put there; `None` to delete it.
    pub value: Option<Bytes>,
    /// Other objects that must not have changed either.
    pub guards: Vec<Guard>,
}

/// An object that must not have changed for a write of another to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guard {
    /// Its key.
    pub key: Bytes,
    /// The `mod_revision` that the key must have.
    pub expected: Revision,
}

impl Guard {
    /// An object as it is in a view.
    pub(crate) fn of(kind: Kind, name: &str, revision: Revision) -> Self {
        Self { key: Bytes::from(key_of(kind, name)), expected: revision }
    }
}

impl Write {
    /// Everything that the transaction must compare: keys and the `mod_revision` that each must have (zero: no such key).
    pub fn compares(&self) -> impl Iterator<Item = (&Bytes, Revision)> {
        let own = std::iter::once((&self.key, self.expected));
        own.chain(self.guards.iter().map(|guard| (&guard.key, guard.expected)))
    }
}
