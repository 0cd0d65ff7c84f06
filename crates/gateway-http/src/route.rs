//! What a path and a method ask for.

use althing_manifest::Kind;
use http::Method;

use crate::BASE;
use crate::status::{Reason, Status};

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target<'a> {
    /// The API itself.
    Discovery,
    /// All objects of a kind.
    All(Kind),
    /// One of them.
    One(Kind, &'a str),
}

/// What is to be done with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    /// GET, and HEAD, which is GET without its body.
    Read,
    /// POST.
    Create,
    /// PUT.
    Replace,
    /// DELETE.
    Delete,
}

impl Verb {
    const ALL: [Self; 4] = [Self::Read, Self::Create, Self::Replace, Self::Delete];

    const fn methods(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD",
            Self::Create => "POST",
            Self::Replace => "PUT",
            Self::Delete => "DELETE",
        }
    }

    fn of(method: &Method) -> Option<Self> {
        Some(match *method {
            Method::GET | Method::HEAD => Self::Read,
            Method::POST => Self::Create,
            Method::PUT => Self::Replace,
            Method::DELETE => Self::Delete,
            _ => return None,
        })
    }

    /// Its name in the discovery document.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "get",
            Self::Create => "create",
            Self::Replace => "update",
            Self::Delete => "delete",
        }
    }
}

/// What users may do with objects of a kind: shards are made of tables, and the cluster comes with itself.
pub(crate) const fn verbs(kind: Kind) -> &'static [Verb] {
    match kind {
        Kind::Cluster => &[Verb::Read, Verb::Replace],
        Kind::Node | Kind::Table => &Verb::ALL,
        Kind::Shard => &[Verb::Read],
    }
}

impl<'a> Target<'a> {
    /// What a path names.
    pub(crate) fn parse(path: &'a str) -> Result<Self, Status> {
        let nothing =
            || Status::new(Reason::NotFound, format!("there is nothing at {path}; {BASE} lists what there is"));
        let rest = path.strip_prefix(BASE).ok_or_else(nothing)?;
        let rest = match rest.strip_prefix('/') {
            None if rest.is_empty() => return Ok(Self::Discovery),
            None => return Err(nothing()),
            Some("") => return Ok(Self::Discovery),
            Some(rest) => rest,
        };
        let (plural, name) = rest.split_once('/').unwrap_or((rest, ""));
        let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural).ok_or_else(nothing)?;
        match name {
            "" => Ok(Self::All(kind)),
            name if name.contains('/') => Err(nothing()),
            name => Ok(Self::One(kind, name)),
        }
    }

    /// What a method does with it, or the methods that would do something.
    pub(crate) fn verb(self, method: &Method) -> Result<Verb, (&'static [Verb], Status)> {
        let allowed = self.allowed();
        let wanted = Verb::of(method).filter(|verb| allowed.contains(verb));
        wanted.ok_or_else(|| {
            let why = match self {
                Self::Discovery => "the list of kinds can be read",
                Self::All(Kind::Shard) | Self::One(Kind::Shard, _) => {
                    "shards are made and removed as their table needs it"
                }
                Self::All(Kind::Cluster) | Self::One(Kind::Cluster, _) => {
                    "the cluster can be changed, not made or deleted"
                }
                Self::All(Kind::Node | Kind::Table) => "POST makes an object; PUT and DELETE need its name in the path",
                Self::One(Kind::Node | Kind::Table, _) => "POST makes an object at the path without its name",
            };
            (allowed, Status::new(Reason::MethodNotAllowed, format!("{method} is not possible here: {why}")))
        })
    }

    fn allowed(self) -> &'static [Verb] {
        match self {
            Self::Discovery | Self::All(Kind::Cluster | Kind::Shard) => &[Verb::Read],
            Self::All(Kind::Node | Kind::Table) => &[Verb::Read, Verb::Create],
            Self::One(Kind::Shard, _) => &[Verb::Read],
            Self::One(Kind::Cluster, _) => &[Verb::Read, Verb::Replace],
            Self::One(Kind::Node | Kind::Table, _) => &[Verb::Read, Verb::Replace, Verb::Delete],
        }
    }
}

/// The value of the header `allow`.
pub(crate) fn allow(verbs: &[Verb]) -> String {
    verbs.iter().map(|verb| verb.methods()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_the_api_a_kind_or_an_object() {
        assert_eq!(Target::parse("/apis/althing/v1").unwrap(), Target::Discovery);
        assert_eq!(Target::parse("/apis/althing/v1/").unwrap(), Target::Discovery);
        assert_eq!(Target::parse("/apis/althing/v1/tables").unwrap(), Target::All(Kind::Table));
        assert_eq!(Target::parse("/apis/althing/v1/nodes/").unwrap(), Target::All(Kind::Node));
        assert_eq!(Target::parse("/apis/althing/v1/nodes/n.1").unwrap(), Target::One(Kind::Node, "n.1"));
        for path in [
            "/apis",
            "/apis/althing/v2/tables",
            "/apis/althing/v1tables",
            "/apis/althing/v1/rows",
            "/apis/althing/v1/tables/a/b",
        ] {
            assert_eq!(Target::parse(path).unwrap_err().reason, Reason::NotFound, "{path}");
        }
    }

    #[test]
    fn a_method_that_does_nothing_is_answered_with_those_that_do() {
        let refused = |target: Target<'_>, method: Method| {
            let (allowed, status) = target.verb(&method).unwrap_err();
            (allow(allowed), status.message)
        };
        let (allowed, message) = refused(Target::All(Kind::Shard), Method::POST);
        assert_eq!(allowed, "GET, HEAD");
        assert_eq!(message, "POST is not possible here: shards are made and removed as their table needs it");
        assert_eq!(refused(Target::One(Kind::Table, "t"), Method::PATCH).0, "GET, HEAD, PUT, DELETE");
        assert_eq!(refused(Target::All(Kind::Node), Method::PUT).0, "GET, HEAD, POST");
        assert_eq!(refused(Target::One(Kind::Cluster, "cluster"), Method::DELETE).0, "GET, HEAD, PUT");
        assert_eq!(Target::One(Kind::Table, "t").verb(&Method::HEAD).unwrap(), Verb::Read);
    }
}
