//! What `althing-manifest` says to an object, in the words of the API.

use althing_manifest::{Kind, Mistake, Mistakes, Object, Refusal};
use serde_json::Value;

use crate::status::{Cause, Reason, Status};

/// Reads an object that a client sent for this path.
pub(crate) fn read(kind: Kind, name: Option<&str>, value: &Value) -> Result<Object, Status> {
    let object = Object::from_value(value.clone()).map_err(|mistakes| invalid("the object", &mistakes))?;
    if object.kind() != kind {
        let message =
            format!("{} was sent to {}; send it to {}", object.title(), kind.plural(), object.kind().plural());
        return Err(Status::new(Reason::BadRequest, message));
    }
    match name {
        Some(name) if name != object.name() => {
            let message = format!("{} was sent to the path of {name}; the two names must be the same", object.title());
            Err(Status::new(Reason::BadRequest, message))
        }
        Some(_) | None => Ok(object),
    }
}

/// An object with mistakes.
fn invalid(title: &str, mistakes: &Mistakes) -> Status {
    let causes = mistakes.0.iter().map(cause).collect();
    Status::new(Reason::Invalid, format!("{title} is not right:\n{mistakes}")).with_causes(causes)
}

fn cause(mistake: &Mistake) -> Cause {
    let whole = mistake.to_string();
    let message = whole.strip_prefix(&format!("{}: ", mistake.field)).unwrap_or(&whole).to_owned();
    Cause { field: mistake.field.clone(), message }
}

/// Why what a client wants is not done.
pub(crate) fn refused(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Invalid { title, mistakes } => invalid(title, mistakes),
        Refusal::Conflict { .. } => Status::new(Reason::Conflict, refusal.to_string()),
        Refusal::Forbidden { .. } => Status::new(Reason::Forbidden, refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_mistake_names_its_field() {
        let value = json!({
            "apiVersion": "althing/v1", "kind": "Table", "metadata": {"name": "t"}, "spec": {"shards": 0, "replicas": 2}
        });
        let status = read(Kind::Table, None, &value).unwrap_err();
        assert_eq!(status.reason, Reason::Invalid);
        let fields: Vec<_> = status.details.causes.iter().map(|cause| cause.field.as_str()).collect();
        assert_eq!(fields, ["spec.replicas", "spec.shards"]);
        assert!(status.details.causes.iter().all(|cause| !cause.message.starts_with("spec.")), "{status:?}");
    }

    #[test]
    fn an_object_goes_to_its_own_path() {
        let value = json!({"apiVersion": "althing/v1", "kind": "Table", "metadata": {"name": "t"}});
        let said = |kind, name| read(kind, name, &value).unwrap_err().message;
        assert_eq!(said(Kind::Node, None), "table/t was sent to nodes; send it to tables");
        assert_eq!(said(Kind::Table, Some("u")), "table/t was sent to the path of u; the two names must be the same");
        assert!(read(Kind::Table, Some("t"), &value).is_ok());
    }
}
