//! `althing explain`: what a kind or a field means, from the table of fields.

use std::fmt::Write;

use crate::kind::Kind;
use crate::schema::{self, Default, Field, Writer, about, children, field, name};

/// Why there is nothing to explain.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExplainError {
    /// There is no such kind.
    #[error("there is no kind {word:?}; {fix}")]
    NoKind {
        /// What was asked for.
        word: String,
        /// What to do.
        fix: String,
    },
    /// The kind has no such field.
    #[error("a {kind} has no field {path:?}; {fix}")]
    NoField {
        /// The kind.
        kind: Kind,
        /// What was asked for.
        path: String,
        /// What to do.
        fix: String,
    },
}

/// What a kind (`table`) or one of its fields (`table.spec.shards`) means, as text of several lines.
///
/// # Errors
///
/// [`ExplainError`] if there is no such thing, with the nearest that there is.
pub fn explain(what: &str) -> Result<String, ExplainError> {
    let (word, path) = what.split_once('.').unwrap_or((what, ""));
    let kind = Kind::named(word).ok_or_else(|| {
        let names = || Kind::ALL.iter().map(|kind| kind.singular());
        let fix = match schema::nearest(word, names()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        };
        ExplainError::NoKind { word: word.to_owned(), fix }
    })?;
    if path.is_empty() {
        return Ok(with_fields(format!("{kind}\n\n{}\n", about(kind)), kind, ""));
    }
    let found = field(kind, path).ok_or_else(|| no_field(kind, path))?;
    let mut page = format!("{}.{path}  <{}>\n\n{}\n", kind.singular(), found.shape.type_name(), found.text);
    let _ =
        write!(page, "\nallowed  {}\ndefault  {}\nset by   {}\n", found.shape.allowed(), default(found), writer(found));
    Ok(with_fields(page, kind, path))
}

fn with_fields(mut page: String, kind: Kind, path: &str) -> String {
    let width = children(kind, path).map(|field| name(field).len()).max().unwrap_or_default();
    for (number, field) in children(kind, path).enumerate() {
        if number == 0 {
            page.push_str("\nfields\n");
        }
        let _ =
            writeln!(page, "  {:width$}  <{}>  {}", name(field), field.shape.type_name(), first_sentence(field.text));
    }
    page
}

fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}

fn no_field(kind: Kind, path: &str) -> ExplainError {
    let paths = || schema::fields(kind).map(|field| field.path);
    let same_name = paths().find(|other| other.rsplit('.').next() == Some(path));
    let fix = match same_name.or_else(|| schema::nearest(path, paths())) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("see `althing explain {}`", kind.singular()),
    };
    ExplainError::NoField { kind, path: path.to_owned(), fix }
}

/// What is taken if a field is left out, in words.
#[must_use]
pub const fn default(field: &Field) -> &'static str {
    match field.default {
        Default::Required => "none: it must be given",
        Default::Absent => "none",
        Default::Value(value) => value,
    }
}

/// Who writes a field, in words.
#[must_use]
pub const fn writer(field: &Field) -> &'static str {
    match field.writer {
        Writer::Owner => "you",
        Writer::OwnerOnce => "you, when the object is made",
        Writer::System => "the control plane",
    }
}

/// `docs/objects.md`: every kind with all its fields.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Objects\n\nWhat a cluster is told and says, field by field. Made from the program's own definitions; a test keeps it \
         true. `althing explain table.spec.shards` says the same. A field may also be written with underscores (`redis_db`).\n",
    );
    for kind in Kind::ALL {
        let _ = write!(page, "\n## {kind}\n\n{}\n\n", about(kind));
        page.push_str("| field | type | allowed | default | set by | meaning |\n|---|---|---|---|---|---|\n");
        for field in schema::fields(kind) {
            let cell = |text: &str| text.replace('|', "\\|");
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} | {} |",
                field.path,
                field.shape.type_name(),
                cell(&field.shape.allowed()),
                cell(default(field)),
                writer(field),
                cell(field.text)
            );
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_of_objects_is_what_the_program_says() {
        let path = format!("{}/../../docs/objects.md", env!("CARGO_MANIFEST_DIR"));
        let page = reference();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == page,
            "docs/objects.md is not what the program says; run: UPDATE_DOCS=1 cargo test -p althing-manifest"
        );
    }

    #[test]
    fn a_field_is_explained_with_what_is_allowed() {
        assert_eq!(
            explain("tbl.spec.replicas").unwrap(),
            "table.spec.replicas  <number>\n\n\
             Replicas of each shard. With 3 a shard bears the loss of one node, with 5 of two, with 7 of three.\n\n\
             allowed  1, 3, 5 or 7\ndefault  3\nset by   you\n"
        );
    }

    #[test]
    fn an_object_is_explained_with_its_fields() {
        let page = explain("shard.spec.slice").unwrap();
        assert!(page.ends_with("fields\n  hash   <object>  One of equal parts, by a hash of the key.\n  range  <object>  The keys from one to another.\n"), "{page}");
        assert!(explain("Nodes").unwrap().contains("\nfields\n  apiVersion  <text>"));
    }

    #[test]
    fn what_is_not_there_is_asked_back() {
        let error = |what| explain(what).unwrap_err().to_string();
        assert_eq!(error("tabel"), "there is no kind \"tabel\"; did you mean \"table\"?");
        assert_eq!(error("user"), "there is no kind \"user\"; there are cluster, node, table, shard");
        assert_eq!(error("table.shards"), "a Table has no field \"shards\"; did you mean \"spec.shards\"?");
        assert_eq!(error("table.spec.shard"), "a Table has no field \"spec.shard\"; did you mean \"spec.shards\"?");
        assert_eq!(error("table.x.y.z.u.v.w"), "a Table has no field \"x.y.z.u.v.w\"; see `althing explain table`");
    }
}
