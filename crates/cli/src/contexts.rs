//! Named contexts: clusters and how to reach them, in one file of this user.
//!
//! ```toml
//! current = "prod"
//!
//! [contexts.prod]
//! endpoints = ["https://10.0.0.1:2379", "https://10.0.0.2:2379"]
//! cacert = "/home/me/prod-ca.pem"
//! ```

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// The variable that names another file than the usual one. It is not `ALTHING_CONFIG`: that is a node's configuration, and
/// a machine that runs a node may well have it set.
const VARIABLE: &str = "ALTHING_CONTEXTS";

/// One cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Its client endpoints.
    pub endpoints: Vec<String>,
    /// The CA that signs its certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cacert: Option<PathBuf>,
    /// This user's certificate there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// All clusters that this user has named.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// All, by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// Where the file is: what the variable says, or `althing/config.toml` where the user keeps configurations.
pub fn file() -> Result<PathBuf, CliError> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = variable(VARIABLE) {
        return Ok(file);
    }
    let base = variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    let base = base.ok_or_else(|| CliError::usage(format!("there is no $HOME; name a file with {VARIABLE}")))?;
    Ok(base.join("althing/config.toml"))
}

impl Contexts {
    /// Reads the user's file; without one there are none.
    pub fn load() -> Result<Self, CliError> {
        Self::read(&file()?)
    }

    /// Reads a file; without one there are none.
    pub fn read(file: &Path) -> Result<Self, CliError> {
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(&text).map_err(|error| CliError::usage(format!("{}: {error}", file.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(CliError::usage(format!("cannot read {}: {error}", file.display()))),
        }
    }

    /// Reads the text of a file; the error says what is wrong and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }

    /// Writes the file whole or not at all: a temporary one is renamed.
    pub fn write(&self, file: &Path) -> Result<(), CliError> {
        let failed = |error: std::io::Error| CliError::failed(format!("cannot write {}: {error}", file.display()));
        let text = toml::to_string(self).map_err(CliError::failed)?;
        let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir).map_err(failed)?;
        let temporary = file.with_extension(format!("new-{}", std::process::id()));
        let written = std::fs::File::create(&temporary).and_then(|mut new| {
            new.write_all(text.as_bytes())?;
            new.sync_all()
        });
        written.and_then(|()| std::fs::rename(&temporary, file)).map_err(failed)
    }

    /// The context of this name, or the one in use; none if nothing is named and none is in use.
    pub fn choose(&self, name: Option<&str>) -> Result<Option<&Context>, CliError> {
        match name.or(self.current.as_deref()) {
            None => Ok(None),
            Some(name) => self.get(name).map(Some),
        }
    }

    /// The context of this name, or an error with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Context, CliError> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
            let hint = match known.is_empty() {
                true => "; make one with: althing context set NAME --endpoints HOST:PORT".to_owned(),
                false => althing_sim::nearest::hint(name, &known, "contexts"),
            };
            CliError::usage(format!("there is no context `{name}`{hint}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Contexts {
        let context = |endpoint: &str| Context { endpoints: vec![endpoint.to_owned()], ..Context::default() };
        let contexts = [("prod".to_owned(), context("p:1")), ("test".to_owned(), context("t:1"))];
        Contexts { current: Some("prod".into()), contexts: contexts.into() }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/er/config.toml");
        assert_eq!(Contexts::read(&file).unwrap(), Contexts::default());
        two().write(&file).unwrap();
        assert_eq!(Contexts::read(&file).unwrap(), two());
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_name_that_is_not_there_is_answered_with_the_nearest() {
        let said = two().get("prdo").unwrap_err().to_string();
        assert_eq!(said, "there is no context `prdo`; did you mean `prod`?");
        let said = Contexts::default().get("x").unwrap_err().to_string();
        assert!(said.ends_with("make one with: althing context set NAME --endpoints HOST:PORT"), "{said}");
        assert_eq!(Contexts::default().choose(None).unwrap(), None);
    }

    #[test]
    fn an_unknown_key_of_the_file_is_refused() {
        assert!(Contexts::parse("[contexts.a]\nendpoint = \"x\"\n").unwrap_err().contains("unknown field `endpoint`"));
    }
}
