//! From JSON to an object, with everything that is wrong with it.
//!
//! The JSON is held against the table of fields. A field that is wrong is noted and taken out, so that what is left can be
//! read and held against the rules between fields: whoever writes an object is told of all mistakes at once. `null` stands for a
//! field that is left out.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::kind::Kind;
use crate::metadata::Metadata;
use crate::mistake::{Mistake, Mistakes};
use crate::object::{MAX_OBJECT_BYTES, Object, Resource};
use crate::schema::{self, Default, Field, MAX_LABEL_CHARS, MAX_LABELS, MAX_LIST, MAX_TEXT_BYTES, Shape, children};
use crate::{cluster, node, rules, table, text};

impl Object {
    /// Reads an object as users write it, with defaults for what is left out.
    ///
    /// # Errors
    ///
    /// All mistakes in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Mistakes> {
        if bytes.len() > MAX_OBJECT_BYTES {
            let problem = format!("has {} bytes, and {MAX_OBJECT_BYTES} are allowed", bytes.len());
            return Err(Mistakes::one(Mistake::of("", "the object", problem, "make it smaller")));
        }
        let value = serde_json::from_slice(bytes).map_err(|error| {
            Mistakes::one(Mistake::of("", "the input", format!("is not JSON: {error}"), "correct it"))
        })?;
        Self::from_value(value)
    }

    /// Reads an object from JSON that is parsed already.
    ///
    /// # Errors
    ///
    /// All mistakes in it.
    pub fn from_value(mut value: Value) -> Result<Self, Mistakes> {
        let Some(map) = value.as_object_mut() else {
            let fix = "write apiVersion, kind, metadata and spec";
            return Err(Mistakes::one(Mistake::of("", &value.to_string(), "is not an object", fix)));
        };
        let kind = kind_of(map).map_err(Mistakes::one)?;
        let mut checker = Checker { kind, mistakes: Vec::new() };
        checker.fields("", map);
        let mut mistakes = checker.mistakes;
        match read(kind, value) {
            Ok(mut object) => {
                rules::complete(&mut object);
                let told = |mistake: &Mistake| mistakes.iter().any(|other| other.field == mistake.field);
                let between: Vec<Mistake> = rules::check(&object).into_iter().filter(|new| !told(new)).collect();
                mistakes.extend(between);
                if mistakes.is_empty() { Ok(object) } else { Err(Mistakes(mistakes)) }
            }
            Err(error) if mistakes.is_empty() => {
                let fix = format!("see `althing explain {}`", kind.singular());
                Err(Mistakes::one(Mistake::of("", "the object", format!("cannot be read: {error}"), fix)))
            }
            Err(_) => Err(Mistakes(mistakes)),
        }
    }

    /// Everything that is wrong with an object that was made in the program.
    #[must_use]
    pub fn validate(&self) -> Vec<Mistake> {
        let value = serde_json::to_value(self).expect("objects have text keys and no numbers that JSON lacks");
        Self::from_value(value).err().map(|mistakes| mistakes.0).unwrap_or_default()
    }
}

/// The kind that an object names.
fn kind_of(map: &Map<String, Value>) -> Result<Kind, Mistake> {
    let names = || Kind::ALL.iter().map(|kind| kind.name());
    let all = names().collect::<Vec<_>>().join(", ");
    let Some(value) = map.get("kind") else {
        return Err(Mistake::missing("kind", format!("set it to one of {all}")));
    };
    let word = value.as_str().unwrap_or_default();
    Kind::ALL.into_iter().find(|kind| kind.name() == word).ok_or_else(|| {
        let fix = match schema::nearest(word, names()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("set it to one of {all}"),
        };
        Mistake::of("kind", &value.to_string(), "is not a kind of object", fix)
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Given<Spec, Status> {
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Kind,
    metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

fn read(kind: Kind, value: Value) -> Result<Object, serde_json::Error> {
    match kind {
        Kind::Cluster => resource(value).map(Object::Cluster),
        Kind::Node => resource(value).map(Object::Node),
        Kind::Table => resource(value).map(Object::Table),
        Kind::Shard => resource(value).map(Object::Shard),
    }
}

/// A spec that is left out is one of defaults, if there is such a one.
fn resource<Spec: DeserializeOwned, Status: DeserializeOwned + std::default::Default>(
    value: Value,
) -> Result<Resource<Spec, Status>, serde_json::Error> {
    let given: Given<Spec, Status> = serde_json::from_value(value)?;
    let spec = given.spec.map_or_else(|| serde_json::from_value(Value::Object(Map::new())), Ok)?;
    Ok(Resource { metadata: given.metadata, spec, status: given.status.unwrap_or_default() })
}

/// A name without underscores, with a capital after each.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

struct Checker {
    kind: Kind,
    mistakes: Vec<Mistake>,
}

impl Checker {
    /// Checks the fields below a path, and takes out those that are wrong.
    fn fields(&mut self, path: &str, map: &mut Map<String, Value>) {
        self.respell(path, map);
        map.retain(|name, value| {
            let child = children(self.kind, path).find(|field| schema::name(field) == name);
            match (child, value) {
                (None, value) => {
                    self.unknown(path, name, value);
                    false
                }
                (Some(_), Value::Null) => false,
                (Some(field), value) => self.field(field, value),
            }
        });
        for field in children(self.kind, path).filter(|field| field.default == Default::Required) {
            let is_told = self.mistakes.iter().any(|mistake| mistake.field == field.path);
            if !map.contains_key(schema::name(field)) && !is_told {
                let fix = format!("set it to {}", field.shape.allowed());
                self.mistakes.push(Mistake::missing(field.path, fix));
            }
            map.entry(schema::name(field)).or_insert_with(|| stand_in(field.shape));
        }
    }

    /// Takes `redis_db` for `redisDb`: what generates YAML often writes names with underscores. A field that is given in both
    /// spellings is not guessed at.
    fn respell(&self, path: &str, map: &mut Map<String, Value>) {
        let odd: Vec<String> = map.keys().filter(|name| name.contains('_')).cloned().collect();
        for name in odd {
            let camel = camel_case(&name);
            let is_field = children(self.kind, path).any(|field| schema::name(field) == camel);
            if is_field
                && !map.contains_key(&camel)
                && let Some(value) = map.remove(&name)
            {
                map.insert(camel, value);
            }
        }
    }

    fn unknown(&mut self, path: &str, name: &str, value: &Value) {
        let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let names = || children(self.kind, path).map(schema::name);
        let fix = match schema::nearest(name, names()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
        };
        let problem = format!("is in a field that a {} does not have", self.kind);
        self.mistakes.push(Mistake::of(&full, &value.to_string(), problem, fix));
    }

    /// Whether a field's value can stay.
    fn field(&mut self, field: &'static Field, value: &mut Value) -> bool {
        let before = self.mistakes.len();
        match (field.shape, &mut *value) {
            (Shape::Object, Value::Object(map)) => {
                self.fields(field.path, map);
                return true;
            }
            (Shape::Objects, Value::Array(items)) if items.len() <= MAX_LIST => {
                for item in items {
                    match item {
                        Value::Object(map) => self.fields(field.path, map),
                        other => self.wrong(field, other),
                    }
                }
            }
            (shape, value) if is_allowed(shape, value) => {}
            (_, value) => self.wrong(field, value),
        }
        self.mistakes.len() == before
    }

    fn wrong(&mut self, field: &'static Field, value: &Value) {
        let fix = match (field.shape, value.as_str(), field.default) {
            (Shape::Choice(choice), Some(word), _) if near(word, choice).is_some() => {
                format!("did you mean {:?}?", near(word, choice).unwrap_or_default())
            }
            (_, _, Default::Value(default)) => format!("change it, or leave it out for {default}"),
            (_, _, Default::Absent) => "change it, or leave it out".to_owned(),
            (_, _, Default::Required) => "change it".to_owned(),
        };
        let problem = format!("is not {}", field.shape.allowed());
        self.mistakes.push(Mistake::of(field.path, &value.to_string(), problem, fix));
    }
}

/// What stands for a field that must be there and is not, so that the rest can be read. Nobody gets to see it: there is a
/// mistake already.
fn stand_in(shape: Shape) -> Value {
    match shape {
        Shape::Object => Value::Object(Map::from_iter([("name".to_owned(), Value::from("1"))])),
        _ => Value::from("1"),
    }
}

fn near(word: &str, choice: &'static [&'static str]) -> Option<&'static str> {
    schema::nearest(word, choice.iter().copied())
}

/// Whether a value is what its field's shape allows.
fn is_allowed(shape: Shape, value: &Value) -> bool {
    match (shape, value) {
        (Shape::Text, Value::String(text)) => text.len() <= MAX_TEXT_BYTES,
        (Shape::Exactly(wanted), Value::String(text)) => text == wanted,
        (Shape::Choice(choice), Value::String(text)) => choice.contains(&text.as_str()),
        (Shape::TableName, Value::String(text)) => is_table_name(text),
        (Shape::NodeName, Value::String(text)) => is_node_name(text),
        (Shape::ClusterName, Value::String(text)) => text == cluster::NAME,
        (Shape::ShardName, Value::String(text)) => is_shard_name(text),
        (Shape::Number(least, most), Value::Number(number)) => {
            number.as_u64().is_some_and(|number| (least..=most).contains(&number))
        }
        (Shape::OneOf(numbers), Value::Number(number)) => {
            number.as_u64().is_some_and(|number| numbers.contains(&number))
        }
        (Shape::Truth, Value::Bool(_)) => true,
        (Shape::Urls, Value::Array(items)) => is_list(items, is_url),
        (Shape::NodeId, Value::String(text)) => text::parse_node_id(text).is_some(),
        (Shape::NodeIds, Value::Array(items)) => is_list(items, |text| text::parse_node_id(text).is_some()),
        (Shape::Key, Value::String(text)) => text::unescape(text).is_some(),
        (Shape::Version, Value::String(text)) => text.parse::<i64>().is_ok_and(|number| number >= 0),
        (Shape::Labels, Value::Object(labels)) => {
            let fits = |text: &str| text.chars().count() <= MAX_LABEL_CHARS;
            let mut each = labels.iter();
            labels.len() <= MAX_LABELS && each.all(|(name, text)| fits(name) && text.as_str().is_some_and(fits))
        }
        _ => false,
    }
}

fn is_list(items: &[Value], fits: impl Fn(&str) -> bool) -> bool {
    items.len() <= MAX_LIST && items.iter().all(|item| item.as_str().is_some_and(&fits))
}

/// Whether a table may have this name.
#[must_use]
pub fn is_table_name(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = !text.starts_with('-') && !text.ends_with('-');
    (1..=table::MAX_NAME_CHARS).contains(&text.len()) && ends && text.bytes().all(is_fine)
}

/// Whether a node may have this name.
#[must_use]
pub fn is_node_name(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=node::MAX_NAME_CHARS).contains(&text.len()) && text.bytes().all(is_fine)
}

fn is_shard_name(text: &str) -> bool {
    let Some((table, group)) = text.rsplit_once('-') else { return false };
    is_table_name(table) && group.parse::<u64>().is_ok()
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_fine = |rest: &str| !rest.is_empty() && rest.chars().all(|c| !c.is_whitespace() && !c.is_control());
    text.len() <= MAX_TEXT_BYTES && rest.is_some_and(is_fine)
}

#[cfg(test)]
mod tests;
