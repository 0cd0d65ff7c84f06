//! Reading, making, replacing and deleting objects.

use althing_manifest::{API_VERSION, Admitted, Deletion as Way, Kind, Object, admit, admit_deletion, key_of, prefix};
use althing_types::Revision;
use serde::Serialize;
use serde_json::Value;

use crate::admission::{read, refused};
use crate::query::Effect;
use crate::selector::Selector;
use crate::status::{Reason, Status};
use crate::store::{Store, Stored, Written};

/// How often a write without a condition of the client's own is tried again when the control plane was quicker: it writes an
/// object's status a few times in a second at the most.
const ATTEMPTS: usize = 8;

/// The objects of a cluster.
pub(crate) struct Objects<'a> {
    pub(crate) store: &'a Store,
}

/// A list as clients get it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List {
    kind: String,
    api_version: &'static str,
    metadata: ListMetadata,
    items: Vec<Object>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
}

/// What the deletion of an object has done, and what happens next.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    kind: &'static str,
    api_version: &'static str,
    /// In words: what happens next.
    message: String,
    /// The object as it was last.
    object: Object,
}

/// How far a deletion has come.
pub(crate) enum Outcome {
    /// The object is gone.
    Done(Deletion),
    /// It goes when all that belongs to it has gone.
    Begun(Deletion),
}

pub(crate) fn parse(kind: Kind, stored: &Stored) -> Result<Object, Status> {
    Object::from_stored(kind, stored.revision, &stored.value).map_err(|error| {
        let key = String::from_utf8_lossy(&stored.key).into_owned();
        Status::new(Reason::InternalError, format!("{key}: {error}"))
    })
}

impl Objects<'_> {
    pub(crate) async fn list(&self, kind: Kind, selector: &Selector, at: Option<Revision>) -> Result<List, Status> {
        let (stored, revision) = self.store.list(&prefix(kind), at, false).await?;
        let mut items = Vec::with_capacity(stored.len());
        for stored in &stored {
            let object = parse(kind, stored)?;
            if selector.matches(&object.metadata().labels) {
                items.push(object);
            }
        }
        let metadata = ListMetadata { resource_version: revision.to_string() };
        Ok(List { kind: format!("{kind}List"), api_version: API_VERSION, metadata, items })
    }

    async fn find(&self, kind: Kind, name: &str) -> Result<Option<Object>, Status> {
        let stored = self.store.get(&key_of(kind, name)).await?;
        stored.map(|stored| parse(kind, &stored)).transpose()
    }

    pub(crate) async fn get(&self, kind: Kind, name: &str) -> Result<Object, Status> {
        self.find(kind, name)
            .await?
            .ok_or_else(|| Status::new(Reason::NotFound, format!("there is no {}/{name}", kind.singular())))
    }

    pub(crate) async fn create(&self, kind: Kind, value: &Value, effect: Effect) -> Result<Object, Status> {
        let wanted = read(kind, None, value)?;
        if self.find(kind, wanted.name()).await?.is_some() {
            return Err(exists(&wanted));
        }
        let admitted = admit(None, wanted).map_err(|refusal| refused(&refusal))?;
        let (Admitted::Created(object) | Admitted::Changed(object)) = admitted else {
            return Err(Status::new(Reason::InternalError, "a new object cannot be unchanged"));
        };
        if let Object::Node(node) = &object {
            self.check_addresses(node).await?;
        }
        match effect {
            Effect::Shown => Ok(object),
            Effect::Written => match self.store.put(&object.key(), Revision(0), object.to_stored().into()).await? {
                Written::Done(revision) => Ok(at(object, revision)),
                Written::Changed(_) => Err(exists(&object)),
            },
        }
    }

    /// Two nodes at one address would be one node to all others.
    async fn check_addresses(&self, node: &althing_manifest::Node) -> Result<(), Status> {
        let (stored, _) = self.store.list(&prefix(Kind::Node), None, false).await?;
        for stored in &stored {
            let Object::Node(other) = parse(Kind::Node, stored)? else { continue };
            if other.spec.id == node.spec.id {
                let message =
                    format!("node/{} has the id {}; let the newcomer draw another one", other.name(), node.spec.id);
                return Err(Status::new(Reason::AlreadyExists, message));
            }
            if let Some(url) = node.spec.peer_urls.iter().find(|url| other.spec.peer_urls.contains(url)) {
                let name = other.name();
                let message = format!(
                    "node/{name} is at {url}; give the newcomer another address, or delete {name} first if it is lost"
                );
                return Err(Status::new(Reason::AlreadyExists, message));
            }
        }
        Ok(())
    }

    pub(crate) async fn replace(
        &self,
        kind: Kind,
        name: &str,
        value: &Value,
        effect: Effect,
    ) -> Result<Object, Status> {
        let wanted = read(kind, Some(name), value)?;
        for _ in 0..ATTEMPTS {
            let stored = self.get(kind, name).await?;
            let object = match admit(Some(&stored), wanted.clone()).map_err(|refusal| refused(&refusal))? {
                Admitted::Unchanged => return Ok(stored),
                Admitted::Created(object) | Admitted::Changed(object) => object,
            };
            match effect {
                Effect::Shown => return Ok(object),
                Effect::Written => {}
            }
            let expected = stored.metadata().resource_version;
            if let Written::Done(revision) = self.store.put(&object.key(), expected, object.to_stored().into()).await? {
                return Ok(at(object, revision));
            }
        }
        Err(busy(kind, name))
    }

    pub(crate) async fn delete(&self, kind: Kind, name: &str, effect: Effect) -> Result<Outcome, Status> {
        for _ in 0..ATTEMPTS {
            let stored = self.get(kind, name).await?;
            let expected = stored.metadata().resource_version;
            let (object, written) = match (admit_deletion(&stored).map_err(|refusal| refused(&refusal))?, effect) {
                (Way::Marked, _) => return Ok(Outcome::Begun(deletion(stored))),
                (Way::Mark(marked), Effect::Shown) => return Ok(Outcome::Begun(deletion(*marked))),
                (Way::Remove, Effect::Shown) => return Ok(Outcome::Done(deletion(stored))),
                (Way::Mark(marked), Effect::Written) => {
                    let written = self.store.put(&marked.key(), expected, marked.to_stored().into()).await?;
                    (Outcome::Begun(deletion(*marked)), written)
                }
                (Way::Remove, Effect::Written) => {
                    let written = self.store.remove(&stored.key(), expected).await?;
                    (Outcome::Done(deletion(stored)), written)
                }
            };
            match written {
                Written::Done(_) => return Ok(object),
                Written::Changed(_) => {}
            }
        }
        Err(busy(kind, name))
    }
}

fn at(mut object: Object, revision: Revision) -> Object {
    object.metadata_mut().resource_version = revision;
    object
}

fn exists(object: &Object) -> Status {
    let message = format!("{} exists already; PUT at its own path replaces it", object.title());
    Status::new(Reason::AlreadyExists, message)
}

fn busy(kind: Kind, name: &str) -> Status {
    let message = format!("{}/{name} changed all the time; nothing was done: send it again", kind.singular());
    Status::new(Reason::Conflict, message)
}

fn deletion(object: Object) -> Deletion {
    let message = match &object {
        Object::Table(table) => format!(
            "table/{} takes no more requests; its {} shards are dropped, then the object goes",
            table.name(),
            table.status.shards
        ),
        Object::Node(node) => {
            format!(
                "node/{} is out of the cluster; stop it if it runs, and never start it again with this directory",
                node.name()
            )
        }
        Object::Cluster(_) | Object::Shard(_) => format!("{} is gone", object.title()),
    };
    Deletion { kind: "Deletion", api_version: API_VERSION, message, object }
}

#[cfg(test)]
mod tests;
