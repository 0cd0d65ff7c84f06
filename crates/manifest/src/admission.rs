//! What users may do with objects. The control plane itself is not held to this.
//!
//! | kind | make | change | delete |
//! |---|---|---|---|
//! | Cluster | no | its spec and labels | no |
//! | Node | yes: a node makes its own when it joins | capacity, schedule, labels | once it is drained, or silent without replicas |
//! | Table | yes | replicas, splitBytes, labels; not `meta` | yes; not `default` and `meta` |
//! | Shard | no | no | no |
//!
//! Nobody but the control plane sets a status: one that is given is not taken, so that what was read can be edited and handed
//! back. Generation and deletion are kept in the same manner.

use althing_types::Revision;

use crate::condition;
use crate::metadata::{Life, Metadata};
use crate::mistake::{Mistake, Mistakes};
use crate::node::{Liveness, Node, Schedule};
use crate::object::Object;
use crate::table::{self, META, Owner, Split, Table};

/// What becomes of an object that a user handed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admitted {
    /// It is made. Write it where its key does not exist.
    Created(Object),
    /// It is changed. Write it where its key has the revision of what it was held against.
    Changed(Object),
    /// It is so already.
    Unchanged,
}

/// How an object is deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deletion {
    /// Its key is deleted.
    Remove,
    /// It is marked, and the control plane takes it apart. Write this.
    Mark(Box<Object>),
    /// It is marked already.
    Marked,
}

/// Why what a user wants is not done. Nothing has changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The object is wrong. Correct it.
    #[error("{title} is not right:\n{mistakes}")]
    Invalid {
        /// What people call the object.
        title: String,
        /// Everything that is wrong with it.
        mistakes: Mistakes,
    },
    /// The object has changed since it was read. Read it again.
    #[error(
        "{title} has changed: it is at {found}, and {given} was given; read it again, or leave out metadata.resourceVersion"
    )]
    Conflict {
        /// What people call the object.
        title: String,
        /// The resource version that was given.
        given: Revision,
        /// The one that it has; zero if there is no such object.
        found: Revision,
    },
    /// Users may not do this. The text says why and what to do.
    #[error("{title} {reason}")]
    Forbidden {
        /// What people call the object.
        title: String,
        /// Why, and what to do.
        reason: String,
    },
}

/// Judges an object that a user hands in, held against the one that is stored.
///
/// # Errors
///
/// [`Refusal`] if it is wrong, out of date, or not for users to do.
pub fn admit(stored: Option<&Object>, wanted: Object) -> Result<Admitted, Refusal> {
    let mistakes = wanted.validate();
    if !mistakes.is_empty() {
        return Err(Refusal::Invalid { title: wanted.title(), mistakes: Mistakes(mistakes) });
    }
    let given = wanted.metadata().resource_version;
    let found = stored.map_or(Revision(0), |stored| stored.metadata().resource_version);
    if given.get() != 0 && given != found {
        return Err(Refusal::Conflict { title: wanted.title(), given, found });
    }
    match stored {
        None => create(wanted).map(Admitted::Created),
        Some(stored) => change(stored, wanted),
    }
}

fn forbidden(object: &Object, reason: &str) -> Refusal {
    Refusal::Forbidden { title: object.title(), reason: reason.to_owned() }
}

/// A new object, with nothing known to be the case.
fn create(wanted: Object) -> Result<Object, Refusal> {
    let metadata = new_metadata(wanted.metadata());
    match wanted {
        Object::Cluster(_) => Err(forbidden(&wanted, "is made with the cluster; it can only be changed")),
        Object::Shard(_) => Err(forbidden(&wanted, "is made by the control plane; make a table instead")),
        Object::Table(ref table) => match table::owner(table.name()) {
            Owner::System => Err(forbidden(&wanted, "is made with the cluster; choose another name")),
            Owner::Users => Ok(Object::Table(Table { metadata, spec: table.spec.clone(), status: Default::default() })),
        },
        Object::Node(node) => Ok(Object::Node(Node { metadata, spec: node.spec, status: Default::default() })),
    }
}

fn new_metadata(wanted: &Metadata) -> Metadata {
    Metadata { generation: 1, labels: wanted.labels.clone(), ..Metadata::new(&wanted.name) }
}

fn change(stored: &Object, wanted: Object) -> Result<Admitted, Refusal> {
    match stored.metadata().life {
        Life::Kept => {}
        Life::Deleting => return Err(forbidden(stored, "is being deleted; wait until it is gone, then make it anew")),
    }
    let changed = match (stored, wanted) {
        (Object::Cluster(old), Object::Cluster(new)) => {
            merge(stored, &old.metadata, &new.metadata, old.spec != new.spec, Vec::new()).map(|metadata| {
                Object::Cluster(crate::Cluster { metadata, spec: new.spec, status: old.status.clone() })
            })
        }
        (Object::Node(old), Object::Node(new)) => {
            let mistakes = fixed_of_node(old, &new);
            merge(stored, &old.metadata, &new.metadata, old.spec != new.spec, mistakes)
                .map(|metadata| Object::Node(Node { metadata, spec: new.spec, status: old.status.clone() }))
        }
        (Object::Table(old), Object::Table(new)) => {
            if old.name() == META && old.spec != new.spec {
                let reason = "cannot be changed; set spec.metaReplicas of cluster/cluster for its replicas";
                return Err(forbidden(stored, reason));
            }
            let mistakes = fixed_of_table(old, &new);
            merge(stored, &old.metadata, &new.metadata, old.spec != new.spec, mistakes)
                .map(|metadata| Object::Table(Table { metadata, spec: new.spec, status: old.status.clone() }))
        }
        (Object::Shard(old), Object::Shard(new))
            if old.spec == new.spec && old.metadata.labels == new.metadata.labels =>
        {
            return Ok(Admitted::Unchanged);
        }
        (Object::Shard(_), Object::Shard(_)) => {
            Err(forbidden(stored, "cannot be changed; the control plane makes it follow its table"))
        }
        (Object::Cluster(_) | Object::Node(_) | Object::Table(_) | Object::Shard(_), other) => {
            let reason = format!("is not what {} can be changed into", other.title());
            Err(Refusal::Forbidden { title: stored.title(), reason })
        }
    }?;
    Ok(if changed == *stored { Admitted::Unchanged } else { Admitted::Changed(changed) })
}

/// The metadata after a change: labels are the user's, the rest is the system's.
fn merge(
    stored: &Object,
    old: &Metadata,
    new: &Metadata,
    spec_changed: bool,
    mistakes: Vec<Mistake>,
) -> Result<Metadata, Refusal> {
    if !mistakes.is_empty() {
        return Err(Refusal::Invalid { title: stored.title(), mistakes: Mistakes(mistakes) });
    }
    let generation = old.generation + u64::from(spec_changed);
    Ok(Metadata { generation, labels: new.labels.clone(), ..old.clone() })
}

/// A field that stays as it was made.
fn fixed<T: PartialEq + serde::Serialize>(field: &str, old: &T, new: &T, instead: &str) -> Option<Mistake> {
    let text = |value: &T| serde_json::to_string(value).unwrap_or_default();
    let problem = || format!("cannot be changed: it is {}", text(old));
    (old != new).then(|| Mistake::of(field, &text(new), problem(), instead))
}

fn fixed_of_table(old: &Table, new: &Table) -> Vec<Mistake> {
    let instead = "make another table and copy what it is to hold";
    let shards = match old.spec.split {
        Split::Hash => "make another table with as many shards and copy what it is to hold",
        Split::Range => "leave it out: the table finds its own number",
    };
    let (old, new) = (&old.spec, &new.spec);
    [
        fixed("spec.guarantee", &old.guarantee, &new.guarantee, instead),
        fixed("spec.split", &old.split, &new.split, instead),
        fixed("spec.shards", &old.shards, &new.shards, shards),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn fixed_of_node(old: &Node, new: &Node) -> Vec<Mistake> {
    let (old, new) = (&old.spec, &new.spec);
    let said = "the node says so itself: change its configuration and start it anew";
    let id = (old.id != new.id).then(|| {
        let text = |id| format!("{:?}", crate::text::node_id_text(id));
        let problem = format!("cannot be changed: it is {}", text(old.id));
        Mistake::of(
            "spec.id",
            &text(new.id),
            problem,
            "delete this node once it is drained, and let the other one join",
        )
    });
    [
        id,
        fixed("spec.peerUrls", &old.peer_urls, &new.peer_urls, said),
        fixed("spec.clientUrls", &old.client_urls, &new.client_urls, said),
        fixed("spec.zone", &old.zone, &new.zone, said),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Judges whether a user may delete an object, and how that is done.
///
/// # Errors
///
/// [`Refusal::Forbidden`] if not.
pub fn admit_deletion(stored: &Object) -> Result<Deletion, Refusal> {
    match stored {
        Object::Cluster(_) => Err(forbidden(stored, "cannot be deleted")),
        Object::Shard(_) => Err(forbidden(stored, "cannot be deleted; delete its table instead")),
        Object::Table(table) => match (table::owner(table.name()), table.metadata.life) {
            (Owner::System, _) => Err(forbidden(stored, "cannot be deleted: the cluster needs it")),
            (Owner::Users, Life::Deleting) => Ok(Deletion::Marked),
            (Owner::Users, Life::Kept) => {
                let mut marked = table.clone();
                marked.metadata.life = Life::Deleting;
                Ok(Deletion::Mark(Box::new(Object::Table(marked))))
            }
        },
        Object::Node(node) => delete_node(stored, node),
    }
}

fn delete_node(stored: &Object, node: &Node) -> Result<Deletion, Refusal> {
    if node.status.replicas > 0 {
        let reason = format!(
            "still holds {} replicas; set spec.schedule to \"drain\" (`althing drain {}`) and wait until it is Drained",
            node.status.replicas,
            node.name()
        );
        return Err(Refusal::Forbidden { title: stored.title(), reason });
    }
    match (node.spec.schedule, node.status.liveness) {
        (Schedule::Drain, _) if condition::holds(&node.status.conditions, condition::DRAINED) => Ok(Deletion::Remove),
        (Schedule::Drain, Liveness::Up) => Err(forbidden(stored, "is being drained; wait until it is Drained")),
        (Schedule::Active | Schedule::Cordoned, Liveness::Up) => {
            let reason = "is up and may get replicas; set spec.schedule to \"drain\" first";
            Err(forbidden(stored, reason))
        }
        (Schedule::Active | Schedule::Cordoned | Schedule::Drain, Liveness::Silent | Liveness::Unknown) => {
            Ok(Deletion::Remove)
        }
    }
}

#[cfg(test)]
mod tests;
