//! Manifests from files: YAML and JSON, one or many documents in each, a directory of them, or standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::CliError;

/// Bytes of one file: far more than the objects of the largest cluster, far less than what a slip such as a disk image has.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// One document, and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    /// The file, and which document of it if there are several.
    pub origin: String,
    /// What it says.
    pub value: Value,
}

/// Reads every file that is named; `-` is standard input. In a directory: what ends in .yaml, .yml or .json, by name.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Document>, CliError> {
    let mut documents = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let text = limited(&mut std::io::stdin().lock(), "standard input")?;
            documents.extend(parse("standard input", &text)?);
        } else if path.is_dir() {
            for file in files_of(path)? {
                documents.extend(from_file(&file)?);
            }
        } else {
            documents.extend(from_file(path)?);
        }
    }
    if documents.is_empty() {
        let named: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(CliError::usage(format!("there is no object in {}", named.join(", "))));
    }
    Ok(documents)
}

fn files_of(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let refuse = |error: std::io::Error| CliError::usage(format!("cannot read {}: {error}", dir.display()));
    let entries: Result<Vec<_>, _> = std::fs::read_dir(dir).map_err(refuse)?.collect();
    let mut files: Vec<_> = entries.map_err(refuse)?.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| {
        let ending = file.extension().and_then(|ending| ending.to_str());
        file.is_file() && matches!(ending, Some("yaml" | "yml" | "json"))
    });
    files.sort();
    Ok(files)
}

fn from_file(file: &Path) -> Result<Vec<Document>, CliError> {
    let name = file.display().to_string();
    let mut open =
        std::fs::File::open(file).map_err(|error| CliError::usage(format!("cannot read {name}: {error}")))?;
    parse(&name, &limited(&mut open, &name)?)
}

fn limited(from: &mut dyn Read, name: &str) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| CliError::usage(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(CliError::usage(format!("{name} has more than {MAX_FILE_BYTES} bytes: it holds no objects")));
    }
    String::from_utf8(bytes).map_err(|_| CliError::usage(format!("{name} is not UTF-8: it holds no objects")))
}

/// Reads the documents of a text; a `List` is taken apart. `name` is only named in errors.
fn parse(name: &str, text: &str) -> Result<Vec<Document>, CliError> {
    let is_json = text.trim_start().starts_with('{');
    let values = if is_json { from_json(text) } else { from_yaml(text) };
    let values = values.map_err(|error| CliError::usage(format!("{name}: {error}")))?;
    let mut values: Vec<Value> = values.into_iter().filter(|value| !value.is_null()).collect();
    let only_a_list =
        matches!(values.as_slice(), [one] if one["kind"].as_str().is_some_and(|kind| kind.ends_with("List")));
    if let (true, Some(Value::Array(items))) = (only_a_list, values[0].get_mut("items").map(Value::take)) {
        values = items;
    }
    let many = values.len() > 1;
    let origin = |at: usize| if many { format!("{name}, document {}", at + 1) } else { name.to_owned() };
    Ok(values.into_iter().enumerate().map(|(at, value)| Document { origin: origin(at), value }).collect())
}

fn from_json(text: &str) -> Result<Vec<Value>, String> {
    serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn from_yaml(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| error.without_snippet().to_string())
}

/// A value as one YAML document.
pub fn to_yaml(value: &impl serde::Serialize) -> Result<String, CliError> {
    serde_saphyr::to_string(value).map_err(CliError::failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(text: &str) -> Vec<Value> {
        parse("f", text).unwrap().into_iter().map(|document| document.value).collect()
    }

    #[test]
    fn yaml_of_many_documents_and_json_one_after_the_other_are_read() {
        let yaml = "# a comment\nkind: Table\nspec: {shards: 2}\n---\n---\nkind: Node\nspec:\n  zone: 'a'\n";
        let expected =
            [json!({"kind": "Table", "spec": {"shards": 2}}), json!({"kind": "Node", "spec": {"zone": "a"}})];
        assert_eq!(values(yaml), expected);
        assert_eq!(
            values("{\"kind\":\"Table\",\"spec\":{\"shards\":2}}\n{\"kind\":\"Node\",\"spec\":{\"zone\":\"a\"}}"),
            expected
        );
        let origins: Vec<_> = parse("f", yaml).unwrap().into_iter().map(|document| document.origin).collect();
        assert_eq!(origins, ["f, document 1", "f, document 2"]);
    }

    #[test]
    fn a_list_as_get_prints_it_is_taken_apart() {
        assert_eq!(
            values("{\"kind\":\"TableList\",\"items\":[{\"a\":1},{\"a\":2}]}"),
            [json!({"a": 1}), json!({"a": 2})]
        );
        assert_eq!(values("kind: List\nitems:\n- a: 1\n"), [json!({"a": 1})]);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        let said = parse("t.yaml", "kind: Table\nspec: {shards: 2\n").unwrap_err().to_string();
        assert!(said.starts_with("t.yaml: ") && said.contains("line 2, column 7"), "{said}");
        let said = parse("t.json", "{\"kind\":}").unwrap_err().to_string();
        assert_eq!(said, "t.json: expected value at line 1 column 9");
        let said = read(&["/no/such.yaml".into()]).unwrap_err().to_string();
        assert!(said.starts_with("cannot read /no/such.yaml: "), "{said}");
        let dir = tempfile::tempdir().unwrap();
        let said = read(&[dir.path().to_path_buf()]).unwrap_err().to_string();
        assert!(said.starts_with("there is no object in "), "{said}");
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        let said = parse("t.yaml", "spec:\n  shards: 1\n  shards: 2\n").unwrap_err().to_string();
        assert!(said.contains("shards"), "{said}");
    }

    #[test]
    fn what_is_written_as_yaml_is_read_again() {
        let value = json!({"a": {"b": [1, "x: y", "no", "007", true, null]}, "c": ""});
        assert_eq!(values(&to_yaml(&value).unwrap()), [value]);
    }

    #[test]
    fn a_directory_is_read_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("b.yaml", "a: 2"), ("a.json", "{\"a\":1}"), ("c.txt", "a: 3")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let found: Vec<_> = read(&[dir.path().into()]).unwrap().into_iter().map(|document| document.value).collect();
        assert_eq!(found, [json!({"a": 1}), json!({"a": 2})]);
    }
}
