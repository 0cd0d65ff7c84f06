//! Conditions: what is the case about an object, each with a reason for programs and a message for people.

use serde::{Deserialize, Serialize};

/// The condition that says whether an object does what it is for, now.
pub const READY: &str = "Ready";
/// The condition of a table or shard: it has as many replicas as are wanted, where they are wanted.
pub const REPLICATED: &str = "Replicated";
/// The condition of a node whose drain is wanted: no replica is left on it.
pub const DRAINED: &str = "Drained";
/// The condition of the cluster: no shard is on its way and none waits to be.
pub const SETTLED: &str = "Settled";
/// The condition of a shard that is being split, or was: how far that is.
pub const SPLITTING: &str = "Splitting";

/// Whether a condition holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Truth {
    /// Its name, as JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// One condition of an object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// What it is about, for example [`READY`].
    #[serde(rename = "type")]
    pub about: String,
    /// Whether it holds.
    pub status: Truth,
    /// Why, in one word for programs.
    pub reason: String,
    /// Why, in a sentence for people; empty if there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Condition {
    /// A condition.
    #[must_use]
    pub fn new(about: &str, status: Truth, reason: &str, message: impl Into<String>) -> Self {
        Self { about: about.to_owned(), status, reason: reason.to_owned(), message: message.into() }
    }
}

/// What setting a condition changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transition {
    /// Nothing.
    None,
    /// The reason or the message; it holds or does not hold as before.
    Reworded,
    /// Whether it holds, or it was not there before.
    Turned,
}

/// Sets the condition of its type among others, which stay in the order of their types.
pub fn set(conditions: &mut Vec<Condition>, condition: Condition) -> Transition {
    match conditions.binary_search_by(|other| other.about.cmp(&condition.about)) {
        Ok(place) if conditions[place] == condition => Transition::None,
        Ok(place) => {
            let before = std::mem::replace(&mut conditions[place], condition);
            if before.status == conditions[place].status { Transition::Reworded } else { Transition::Turned }
        }
        Err(place) => {
            conditions.insert(place, condition);
            Transition::Turned
        }
    }
}

/// Takes a condition away, if it is there.
pub fn clear(conditions: &mut Vec<Condition>, about: &str) {
    conditions.retain(|condition| condition.about != about);
}

/// The condition of this type.
#[must_use]
pub fn get<'a>(conditions: &'a [Condition], about: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.about == about)
}

/// Whether the condition of this type is there and holds.
#[must_use]
pub fn holds(conditions: &[Condition], about: &str) -> bool {
    get(conditions, about).is_some_and(|condition| condition.status == Truth::True)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_says_what_it_changed() {
        let mut all = Vec::new();
        let yes = || Condition::new(READY, Truth::True, "Serving", "");
        assert_eq!(set(&mut all, yes()), Transition::Turned);
        assert_eq!(set(&mut all, yes()), Transition::None);
        assert_eq!(set(&mut all, Condition::new(READY, Truth::True, "Well", "")), Transition::Reworded);
        assert_eq!(set(&mut all, Condition::new(READY, Truth::False, "NoLeader", "no leader")), Transition::Turned);
        assert_eq!(set(&mut all, Condition::new(DRAINED, Truth::False, "Moving", "")), Transition::Turned);
        let names: Vec<&str> = all.iter().map(|condition| condition.about.as_str()).collect();
        assert_eq!(names, [DRAINED, READY]);
        assert!(!holds(&all, READY));
        clear(&mut all, READY);
        assert_eq!(get(&all, READY), None);
    }
}
