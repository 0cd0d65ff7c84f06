//! Label selectors: `zone=a,tier!=test,owner,!spare`, all of which must hold.

use std::collections::BTreeMap;

/// Which objects are meant, by their labels. The empty one means all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Selector(Vec<Requirement>);

/// Requirements that one selector may have: more than a person writes, few enough to check on every object.
const MAX_REQUIREMENTS: usize = 32;

#[derive(Clone, PartialEq, Eq, Debug)]
enum Requirement {
    Equals(String, String),
    Differs(String, String),
    Has(String),
    Lacks(String),
}

impl Selector {
    /// Reads a selector; the error is in words for people.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.len() > MAX_REQUIREMENTS {
            return Err(format!("a labelSelector has at most {MAX_REQUIREMENTS} requirements, not {}", parts.len()));
        }
        parts.into_iter().map(requirement).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an object with these labels is meant.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Equals(key, value) => labels.get(key) == Some(value),
            Requirement::Differs(key, value) => labels.get(key) != Some(value),
            Requirement::Has(key) => labels.contains_key(key),
            Requirement::Lacks(key) => !labels.contains_key(key),
        })
    }
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let parts = |(key, value): (&str, &str)| (key.trim().to_owned(), value.trim().to_owned());
    let found = if let Some(pair) = text.split_once("!=") {
        let (key, value) = parts(pair);
        Requirement::Differs(key, value)
    } else if let Some(pair) = text.split_once("==").or_else(|| text.split_once('=')) {
        let (key, value) = parts(pair);
        Requirement::Equals(key, value)
    } else if let Some(key) = text.strip_prefix('!') {
        Requirement::Lacks(key.trim().to_owned())
    } else {
        Requirement::Has(text.to_owned())
    };
    let (Requirement::Equals(key, _) | Requirement::Differs(key, _) | Requirement::Has(key) | Requirement::Lacks(key)) =
        &found;
    let is_word = !key.is_empty() && !key.contains(|c: char| c.is_whitespace() || matches!(c, '!' | '=' | '(' | ')'));
    match is_word {
        true => Ok(found),
        false => Err(format!("{text:?} is no requirement of labels; write key=value, key!=value, key or !key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Selector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn every_requirement_must_hold() {
        let labels = [("zone", "a"), ("owner", "me")];
        for selector in ["", "zone=a", "zone == a", "zone=a,owner", "zone!=b,!spare", "spare!=x"] {
            assert!(matches(selector, &labels), "{selector}");
        }
        for selector in ["zone=b", "zone=a,spare", "!owner", "zone!=a"] {
            assert!(!matches(selector, &labels), "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for selector in ["=a", "a b", "zone in (a)", "!"] {
            assert!(Selector::parse(selector).unwrap_err().contains("write key=value"), "{selector}");
        }
        assert!(Selector::parse(&"a,".repeat(40)).unwrap_err().contains("at most 32"));
    }
}
