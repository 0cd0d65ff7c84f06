//! An object of any kind, and its JSON.

use althing_types::Revision;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use crate::cluster::Cluster;
use crate::kind::{API_VERSION, Kind, key_of};
use crate::metadata::Metadata;
use crate::node::Node;
use crate::shard::Shard;
use crate::table::Table;

/// Bytes of one object at the most: fifty times what the largest needs, and small beside a request.
pub const MAX_OBJECT_BYTES: usize = 64 * 1024;

/// One object: what it is, what is wanted, what is the case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource<Spec, Status> {
    /// What it says about itself.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
    /// What is the case; written by the control plane only.
    pub status: Status,
}

impl<Spec, Status: Default> Resource<Spec, Status> {
    /// A new object of which nothing is known to be the case.
    #[must_use]
    pub fn new(name: &str, spec: Spec) -> Self {
        Self { metadata: Metadata::new(name), spec, status: Status::default() }
    }
}

impl<Spec, Status> Resource<Spec, Status> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// The revision of its last write; zero if that is not known.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.metadata.resource_version
    }
}

/// An object of any kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Object {
    /// The cluster.
    Cluster(Cluster),
    /// A node.
    Node(Node),
    /// A table.
    Table(Table),
    /// A shard.
    Shard(Shard),
}

macro_rules! each {
    ($object:expr, $resource:ident => $body:expr) => {
        match $object {
            Object::Cluster($resource) => $body,
            Object::Node($resource) => $body,
            Object::Table($resource) => $body,
            Object::Shard($resource) => $body,
        }
    };
}

impl Object {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Cluster(_) => Kind::Cluster,
            Self::Node(_) => Kind::Node,
            Self::Table(_) => Kind::Table,
            Self::Shard(_) => Kind::Shard,
        }
    }

    /// What it says about itself.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        each!(self, resource => &resource.metadata)
    }

    /// What it says about itself, to be changed.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        each!(self, resource => &mut resource.metadata)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata().name
    }

    /// The key under which it is stored.
    #[must_use]
    pub fn key(&self) -> String {
        key_of(self.kind(), self.name())
    }

    /// What people call it: `table/orders`.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{}/{}", self.kind().singular(), self.name())
    }

    /// Its JSON, with fields in a fixed order and without spaces. Two equal objects have the same.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("objects have text keys and no numbers that JSON lacks")
    }

    /// What is stored of it: its JSON without its resource version, which only the store knows.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        let mut stored = self.clone();
        stored.metadata_mut().resource_version = Revision(0);
        stored.to_json()
    }

    /// Reads what was stored under a key of this kind at this revision. Ranges are not checked again: what is stored was
    /// admitted or written by the control plane.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] if it is not an object of this kind and version.
    pub fn from_stored(kind: Kind, revision: Revision, bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut object = match kind {
            Kind::Cluster => read(kind, bytes).map(Self::Cluster),
            Kind::Node => read(kind, bytes).map(Self::Node),
            Kind::Table => read(kind, bytes).map(Self::Table),
            Kind::Shard => read(kind, bytes).map(Self::Shard),
        }?;
        object.metadata_mut().resource_version = revision;
        Ok(object)
    }
}

/// Why bytes in the store are no object that this program knows. A later version may have written them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("what is stored as a {kind} cannot be read: {reason}; run the version of the program that wrote it")]
pub struct Unreadable {
    /// What it should be.
    pub kind: Kind,
    /// What is wrong.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored<Spec, Status> {
    api_version: String,
    kind: Kind,
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

fn read<Spec: DeserializeOwned, Status: DeserializeOwned>(
    kind: Kind,
    bytes: &[u8],
) -> Result<Resource<Spec, Status>, Unreadable> {
    let wrong = |reason: String| Unreadable { kind, reason };
    if bytes.len() > MAX_OBJECT_BYTES {
        return Err(wrong(format!("it has {} bytes, and {MAX_OBJECT_BYTES} are allowed", bytes.len())));
    }
    let stored: Stored<Spec, Status> = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    if stored.api_version != API_VERSION || stored.kind != kind {
        return Err(wrong(format!("it is a {} of {:?}", stored.kind, stored.api_version)));
    }
    Ok(Resource { metadata: stored.metadata, spec: stored.spec, status: stored.status })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a, Spec, Status> {
    api_version: &'static str,
    kind: Kind,
    metadata: &'a Metadata,
    spec: &'a Spec,
    status: &'a Status,
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        each!(self, resource => Written {
            api_version: API_VERSION,
            kind: self.kind(),
            metadata: &resource.metadata,
            spec: &resource.spec,
            status: &resource.status,
        }
        .serialize(to))
    }
}

macro_rules! from {
    ($($kind:ident),*) => {
        $(
            impl From<$kind> for Object {
                fn from(resource: $kind) -> Self {
                    Self::$kind(resource)
                }
            }
        )*
    };
}

from!(Cluster, Node, Table, Shard);
