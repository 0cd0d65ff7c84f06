//! `GET /apis/althing/v1`: which kinds there are, what they are called and what can be done with them.

use althing_manifest::{API_VERSION, Kind};
use serde_json::{Value, json};

use crate::route::{Verb, verbs};

pub(crate) fn document() -> Value {
    let resources: Vec<Value> = Kind::ALL.into_iter().map(resource).collect();
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": API_VERSION, "resources": resources })
}

fn resource(kind: Kind) -> Value {
    let verbs = verbs(kind).iter().flat_map(|verb| match verb {
        Verb::Read => vec!["get", "list", "watch"],
        Verb::Create | Verb::Replace | Verb::Delete => vec![verb.name()],
    });
    json!({
        "name": kind.plural(),
        "singularName": kind.singular(),
        "kind": kind.name(),
        "shortNames": kind.aliases(),
        "namespaced": false,
        "verbs": verbs.collect::<Vec<_>>(),
    })
}
