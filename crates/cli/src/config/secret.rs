//! Secrets among the settings: they are read, and never shown.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, invalid};

/// The shortest secret that is taken, in bytes: a shorter one is guessed.
const MIN_SECRET_BYTES: usize = 16;

/// A text that no log and no error shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Its bytes, for whoever compares with them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where the cluster's secret comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClusterKey {
    /// There is none: datagrams of the membership are checked by the cluster's id only.
    None,
    /// It is among the settings.
    Given(Secret),
    /// It stands in a file, read at the start; white space around it is not a part of it.
    File(PathBuf),
}

impl ClusterKey {
    /// What the two settings mean together.
    pub(super) fn resolve(given: Option<Secret>, file: Option<PathBuf>) -> Result<Self, ConfigError> {
        match (given, file) {
            (None, None) => Ok(Self::None),
            (Some(secret), None) => check("cluster_key", &secret.0).map(|()| Self::Given(secret.clone())),
            (None, Some(file)) => Ok(Self::File(file)),
            (Some(_), Some(_)) => Err(invalid("cluster_key_file", "is given beside cluster_key; keep one of the two")),
        }
    }

    /// The secret's bytes.
    pub fn read(&self) -> Result<Option<Vec<u8>>, ConfigError> {
        match self {
            Self::None => Ok(None),
            Self::Given(Secret(secret)) => Ok(Some(secret.clone().into_bytes())),
            Self::File(file) => read(file).map(Some),
        }
    }
}

fn check(key: &'static str, secret: &str) -> Result<(), ConfigError> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(invalid(key, format!("has {} bytes; give it {MIN_SECRET_BYTES} or more", secret.len())));
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>, ConfigError> {
    let key = "cluster_key_file";
    let text = std::fs::read_to_string(file)
        .map_err(|error| invalid(key, format!("cannot read {}: {error}", file.display())))?;
    let secret = text.trim();
    check(key, secret)?;
    Ok(secret.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<Secret> {
        Some(text.to_owned().into())
    }

    #[test]
    fn a_secret_is_never_shown() {
        let key = ClusterKey::resolve(secret("0123456789abcdef"), None).unwrap();
        assert_eq!(format!("{key:?}"), "Given(Secret(..))");
        let error = ClusterKey::resolve(secret("short"), None).unwrap_err().to_string();
        assert_eq!(error, "`cluster_key`: has 5 bytes; give it 16 or more");
    }

    #[test]
    fn there_is_one_secret_at_most() {
        let both = ClusterKey::resolve(secret("0123456789abcdef"), Some("f".into())).unwrap_err();
        assert!(both.to_string().contains("keep one of the two"), "{both}");
        assert_eq!(ClusterKey::resolve(None, None).unwrap().read(), Ok(None));
    }

    #[test]
    fn a_file_holds_it_with_or_without_an_end_of_line() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("key");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        assert_eq!(ClusterKey::File(file.clone()).read().unwrap().unwrap(), b"0123456789abcdef");
        std::fs::write(&file, "\n").unwrap();
        assert!(ClusterKey::File(file).read().is_err());
        assert!(ClusterKey::File(temp.path().join("none")).read().is_err());
    }
}
