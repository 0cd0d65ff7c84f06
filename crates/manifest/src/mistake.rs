//! What is wrong with an object, field by field.

use std::fmt;

/// Characters of a value that a message repeats.
const MAX_SHOWN: usize = 60;

/// One mistake: which field, what it holds, what is allowed and what to do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mistake {
    /// The field's path; empty for the object as a whole. Entries of lists have their number in brackets.
    pub field: String,
    /// What it holds, as JSON, shortened; `None` if it is missing.
    pub value: Option<String>,
    /// What is wrong: the rest of a sentence that begins with the value.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

impl Mistake {
    /// A mistake in a field that is there.
    #[must_use]
    pub fn of(field: &str, value: &str, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        let mut shown: String = value.chars().take(MAX_SHOWN).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Self { field: field.to_owned(), value: Some(shown), problem: problem.into(), fix: fix.into() }
    }

    /// A field that is missing.
    #[must_use]
    pub fn missing(field: &str, fix: impl Into<String>) -> Self {
        Self { field: field.to_owned(), value: None, problem: "is missing".to_owned(), fix: fix.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        if let Some(value) = &self.value {
            write!(f, "{value} ")?;
        }
        write!(f, "{}; {}", self.problem, self.fix)
    }
}

/// Everything that is wrong with one object; never empty where it is an error.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// One mistake.
    #[must_use]
    pub fn one(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
