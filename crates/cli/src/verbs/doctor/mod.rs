//! `althing doctor`: looks at everything that can be seen from outside, and says what is wrong, what it means and which command
//! helps.
//!
//! [`gather`] asks; [`checks`] judges what was found, and asks nobody.

mod checks;
mod gather;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::error::CliError;
use crate::remote::RemoteArgs;
use crate::screen::{Ink, Look, Screen};

/// Settings of `althing doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// The form of the answer.
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: Form,
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// The form of the findings on standard output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Form {
    /// For people.
    #[default]
    Table,
    /// For programs: a list of findings.
    Json,
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work, or one more failure would stop it.
    Error,
    /// It works, and is not as it should be.
    Warning,
    /// It is good to know.
    Note,
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `node/n1`, `table/orders`.
    pub about: String,
    /// What is wrong.
    pub what: String,
    /// What it means.
    pub means: String,
    /// Which command helps.
    pub help: String,
}

impl Severity {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Note => "NOTE",
        }
    }

    const fn ink(self) -> Ink {
        match self {
            Self::Error => Ink::Bad,
            Self::Warning => Ink::Warning,
            Self::Note => Ink::Faint,
        }
    }
}

/// Looks, and tells.
pub async fn run(args: &DoctorArgs, screen: &mut Screen<'_>) -> Result<(), CliError> {
    let remote = args.remote.clone().resolved()?;
    let facts = gather::gather(&remote).await;
    let mut findings = checks::examine(&facts);
    findings.sort();
    let text = match args.output {
        Form::Json => serde_json::to_string_pretty(&findings).map_err(CliError::failed)? + "\n",
        Form::Table => findings.iter().map(|finding| page(finding, screen.look)).collect(),
    };
    screen.out.write_all(text.as_bytes()).map_err(CliError::failed)?;
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors > 0 {
        return Err(CliError::failed(format!("{errors} errors, {warnings} warnings")));
    }
    let said = match warnings {
        0 => format!("all is well: {}", facts.summary()),
        _ => format!("no errors, {warnings} warnings: {}", facts.summary()),
    };
    writeln!(screen.err, "{said}").map_err(CliError::failed)
}

fn page(finding: &Finding, look: Look) -> String {
    let word = look.ink(finding.severity.ink(), &format!("{:<7}", finding.severity.word()));
    let Finding { about, what, means, help, .. } = finding;
    format!("{word}  {about}: {what}\n         means  {means}\n         help   {help}\n")
}
