//! Splits in the log: the filling of children, the seal of their parent, their activation. Each can be proposed again
//! without harm: what was done already is recognised and does nothing.

use althing_api::ErrorKind;
use althing_api::keys::Keys;
use althing_api::kv::KeyValue;
use althing_api::request::Body;
use althing_probe::Mutant;
use althing_types::{GroupId, Revision};
use bytes::Bytes;

use super::apply::Apply;
use crate::bounds::{Bounds, START, Seal, Stage};
use crate::command::Command;
use crate::error::{Failure, StrongError};
use crate::feed::{Fed, Page};
use crate::layout::{self, Current, Deed, Meta, VersionBody, VersionId};
use crate::state::version_bytes;

fn refused<T>(what: &str) -> Result<T, Failure> {
    Err(ErrorKind::InvalidArgument(what.to_owned()).into())
}

impl Apply<'_, '_> {
    /// Refuses what this shard does not hold, and leases where there are bounds.
    pub(super) fn admit_keys(&self, command: &Command) -> Result<(), ErrorKind> {
        let Some(bounds) = &self.table.bounds else { return Ok(()) };
        match command {
            Command::Put(request) => bounds.admit(&Keys::Single(&request.key)),
            Command::DeleteRange(request) => bounds.admit(&Keys::of(&request.keys)),
            Command::Txn(request) => bounds.admit(&Keys::of_txn(request)),
            Command::Operate { step, .. } => bounds.admit(&Keys::Single(&step.key)),
            Command::Transact { watches, steps, .. } => bounds.admit(&Keys::of_steps(watches, steps)),
            Command::Flush | Command::Expire { .. } => bounds.admit(&Keys::None),
            Command::Compact { .. } | Command::LeaseRevoke { .. } | Command::LeaseCheckpoint { .. } => {
                bounds.admit(&Keys::None)
            }
            Command::LeaseGrant { .. } => Err(ErrorKind::Unsupported(
                "a table that is split by range has no leases: keep keys with leases in a table with one shard"
                    .to_owned(),
            )),
            Command::Alarm { .. }
            | Command::MemberUpsert(_)
            | Command::MemberAdd(_)
            | Command::MemberRemove(_)
            | Command::MemberPromote(_)
            | Command::SetQuota { .. }
            | Command::Ingest(_)
            | Command::Seal { .. }
            | Command::Bar { .. }
            | Command::Activate { .. } => Ok(()),
        }
    }

    /// Takes in a page of the parent's history.
    pub(super) fn ingest(&mut self, page: &Page) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        let Some(bounds) = self.table.bounds.clone() else { return refused("the shard is not being filled") };
        let (next, compacted) = match bounds.stage {
            Stage::Serving | Stage::Sealed(_) => return refused("the shard is not being filled"),
            Stage::Activated(revision) if page.next <= VersionId::after(revision) => return Ok(Body::Compact),
            Stage::Activated(_) => return refused("the shard was filled and serves"),
            Stage::Filling { next, .. } if page.next <= next => return Ok(Body::Compact),
            Stage::Filling { next, .. } if page.from != next => {
                return refused(&format!("the shard goes on from position {}.{}", next.main, next.sub));
            }
            Stage::Filling { next: START, .. } => (page.next, page.compacted),
            Stage::Filling { compacted, .. } => (page.next, compacted),
        };
        if page.versions.iter().any(|fed| !bounds.slice.holds(&fed.key)) {
            return refused("a page holds a key outside the shard");
        }
        for fed in &page.versions {
            self.ingest_version(fed)?;
        }
        self.table.state.revision = last_begun(next);
        self.store_bounds(Bounds { stage: Stage::Filling { next, compacted }, ..bounds });
        Ok(Body::Compact)
    }

    /// Writes a version as it was in the parent. What it replaces is what this shard has: of versions that the parent had
    /// removed it never hears.
    fn ingest_version(&mut self, fed: &Fed) -> Result<(), StrongError> {
        let Fed { key, id, body } = fed;
        let source = self.source();
        let old = source.current(key)?.map(|current| (current.version_id, current.value_bytes));
        let deed = match (body, &old) {
            (VersionBody::Put { .. }, None) => Deed::Create,
            (VersionBody::Put { .. }, Some(_)) => Deed::Update,
            (VersionBody::Tombstone, _) => Deed::Delete,
        };
        // A key of its own: the page may go.
        let key = Bytes::copy_from_slice(key);
        match body {
            VersionBody::Put { create_revision, version, lease, value } => {
                let (create_revision, version, lease) = (*create_revision, *version, *lease);
                let value = Bytes::copy_from_slice(value);
                let kv = KeyValue { key: key.clone(), create_revision, mod_revision: id.main, version, value, lease };
                let current = Current::of(&kv, *id);
                self.batch.put(&layout::current_key(&key), &current.encode());
                // Of what it replaces the deadline stays noted: the entry that looks at it finds nothing.
                self.note_deadline(&key, None, Some(&kv.value));
                self.table.state.written += version_bytes(key.len(), kv.value.len() as u64);
                self.table.recent.write(&key, Some(current));
            }
            VersionBody::Tombstone => {
                self.batch.delete(&layout::current_key(&key));
                self.table.recent.write(&key, None);
            }
        }
        self.write_version(&key, *id, body.clone(), deed, old);
        // The tombstone of the compact revision itself may come without the version that it ended.
        if deed == Deed::Delete && old.is_none() {
            self.membership.pop();
        }
        Ok(())
    }

    /// The shard serves nothing any more: its revision is its last.
    pub(super) fn seal(&mut self, at: &Bytes, children: [GroupId; 2], filled: VersionId) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        let Some(bounds) = self.table.bounds.clone() else {
            let reason = "only a table that is split by range can be split";
            return Err(ErrorKind::Unsupported(reason.to_owned()).into());
        };
        match &bounds.stage {
            Stage::Sealed(seal) if seal.at == *at && seal.children == children => return Ok(Body::Compact),
            Stage::Sealed(_) => return refused("the shard was split otherwise"),
            Stage::Serving | Stage::Activated(_) | Stage::Filling { .. } => bounds.admit(&Keys::Single(at))?,
        }
        if children.iter().any(|child| *child <= bounds.barred) {
            return refused("these children were given up");
        }
        if *at == bounds.slice.start {
            return refused("a shard cannot be split at its first key");
        }
        let (revision, compacted) = (self.table.state.revision, self.table.state.compacted);
        if filled < VersionId::after(compacted) {
            return refused("the shard was compacted beyond where its children are");
        }
        let seal = Seal { at: at.clone(), children, revision, compacted };
        self.store_bounds(Bounds { stage: Stage::Sealed(seal), ..bounds });
        Ok(Body::Compact)
    }

    /// The shard is never sealed for these children, nor for earlier ones. One that is sealed is theirs.
    pub(super) fn bar(&mut self, child: GroupId) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        let Some(bounds) = self.table.bounds.clone() else { return refused("the shard has no children") };
        match bounds.stage {
            Stage::Sealed(_) => return refused("the shard is sealed"),
            Stage::Serving | Stage::Activated(_) | Stage::Filling { .. } => {}
        }
        if child > bounds.barred {
            self.store_bounds(Bounds { barred: child, ..bounds });
        }
        Ok(Body::Compact)
    }

    /// The child has everything up to the seal of its parent, and serves from there.
    pub(super) fn activate(&mut self, revision: Revision, compacted: Revision) -> Result<Body, Failure> {
        self.refuse_if_corrupt()?;
        let Some(bounds) = self.table.bounds.clone() else { return refused("the shard is not being filled") };
        let compacted = match bounds.stage {
            Stage::Activated(known) if known == revision => return Ok(Body::Compact),
            Stage::Serving | Stage::Activated(_) | Stage::Sealed(_) => {
                return refused("the shard is not being filled");
            }
            Stage::Filling { next, compacted: least }
                if next == VersionId::after(revision) || althing_probe::is(Mutant::ActivateShort) =>
            {
                compacted.max(least)
            }
            Stage::Filling { next, .. } => {
                return refused(&format!("the shard is filled up to position {}.{} only", next.main, next.sub));
            }
        };
        if revision < Revision::FIRST {
            return refused("no table stands at such a revision");
        }
        self.table.state.revision = revision;
        if compacted > self.table.state.compacted {
            self.table.state.freed = self.garbage_after(compacted)?;
            self.table.state.compacted = compacted;
            self.out.compacted = Some(compacted);
        }
        self.store_bounds(Bounds { stage: Stage::Activated(revision), ..bounds });
        Ok(Body::Compact)
    }

    fn store_bounds(&mut self, bounds: Bounds) {
        self.batch.put(&layout::meta_key(Meta::Bounds), &bounds.encode());
        self.out.bounds = Some(bounds.clone());
        self.table.bounds = Some(bounds);
    }
}

/// The last revision of which anything lies below a position.
fn last_begun(next: VersionId) -> Revision {
    let main = if next.sub == 0 { next.main.0 - 1 } else { next.main.0 };
    Revision(main).max(Revision::FIRST)
}
