//! The scenarios that come with the program: famous bad days.

use super::Scenario;

/// Name and text of each, by name.
pub const LIBRARY: &[(&str, &str)] = &[];

/// The text of a scenario of the library.
#[must_use]
pub fn find(name: &str) -> Option<&'static str> {
    LIBRARY.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// All of them, read.
pub fn all() -> impl Iterator<Item = Scenario> {
    LIBRARY.iter().map(|(_, text)| Scenario::parse(text).expect("a test reads every scenario of the library"))
}
