//! What a command writes to, and how it may look there.

use std::io::{IsTerminal, Write};

/// Whether text may be coloured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Look {
    /// Characters only: a file, a pipe, a terminal that cannot, or `NO_COLOR` (no-color.org).
    #[default]
    Plain,
    /// With colours.
    Coloured,
}

/// Whether progress is drawn while one waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Progress {
    /// One line when it changes: nobody watches.
    #[default]
    Lines,
    /// A bar that moves.
    Bar,
}

/// The colours in use, by what they mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ink {
    /// A heading.
    Heading,
    /// It is well.
    Good,
    /// Somebody should look.
    Warning,
    /// It is not well.
    Bad,
    /// Less important.
    Faint,
}

/// Where a command writes: data, everything else, and how.
pub struct Screen<'a> {
    /// Data.
    pub out: &'a mut dyn Write,
    /// The rest.
    pub err: &'a mut dyn Write,
    /// How data may look.
    pub look: Look,
    /// How progress is shown on the error stream.
    pub progress: Progress,
}

impl Look {
    /// What standard output can show, and the user wants.
    #[must_use]
    pub fn of_stdout() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb {
            true => Self::Coloured,
            false => Self::Plain,
        }
    }

    /// A text in a colour, where there are colours.
    #[must_use]
    pub fn ink(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Heading => "1",
            Ink::Good => "32",
            Ink::Warning => "33",
            Ink::Bad => "31",
            Ink::Faint => "2",
        };
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

impl Progress {
    /// What standard error can show.
    #[must_use]
    pub fn of_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Bar } else { Self::Lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        assert_eq!(Look::Plain.ink(Ink::Bad, "x"), "x");
        assert_eq!(Look::Coloured.ink(Ink::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
