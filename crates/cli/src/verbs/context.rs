//! `althing context`: clusters by name.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::contexts::{self, Context, Contexts};
use crate::error::CliError;
use crate::table;

/// What can be done with contexts.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List the clusters that have a name; the one in use is marked.
    List,
    /// Ask this cluster from now on, unless told otherwise.
    Use {
        /// Its name.
        name: String,
    },
    /// Name a cluster, or change what is known of it: what is not given stays. The first one named is used at once.
    Set(SetArgs),
    /// Forget a cluster. The cluster itself goes on.
    Delete {
        /// Its name.
        name: String,
    },
}

/// Settings of `althing context set`.
#[derive(Clone, Debug, Args)]
pub struct SetArgs {
    /// The name: what you like.
    pub name: String,
    /// Client endpoints of the cluster, as HOST:PORT or URL.
    #[arg(long, alias = "endpoint", value_name = "ENDPOINT", value_delimiter = ',')]
    pub endpoints: Vec<String>,
    /// The CA that signs the servers' certificates (PEM).
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// This client's certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The private key of --cert (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// Does it with the user's file.
pub fn run(command: ContextCommand, out: &mut dyn Write) -> Result<(), CliError> {
    run_with(command, &contexts::file()?, out)
}

fn run_with(command: ContextCommand, file: &Path, out: &mut dyn Write) -> Result<(), CliError> {
    let mut contexts = Contexts::read(file)?;
    let said = match command {
        ContextCommand::List => return list(&contexts, out).map_err(CliError::failed),
        ContextCommand::Use { name } => {
            contexts.get(&name)?;
            contexts.current = Some(name.clone());
            format!("context/{name} in use")
        }
        ContextCommand::Set(args) => set(&mut contexts, args)?,
        ContextCommand::Delete { name } => {
            contexts.get(&name)?;
            contexts.contexts.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
            format!("context/{name} deleted")
        }
    };
    contexts.write(file)?;
    writeln!(out, "{said}").map_err(CliError::failed)
}

fn set(contexts: &mut Contexts, args: SetArgs) -> Result<String, CliError> {
    let SetArgs { name, endpoints, cacert, cert, key } = args;
    let said = if contexts.contexts.contains_key(&name) { "configured" } else { "created" };
    let context: &mut Context = contexts.contexts.entry(name.clone()).or_default();
    if !endpoints.is_empty() {
        context.endpoints = endpoints;
    }
    if context.endpoints.is_empty() {
        return Err(CliError::usage(
            "--endpoints: a new context needs at least one, such as --endpoints 10.0.0.1:2379",
        ));
    }
    // A relative path would mean another file wherever the command is run next.
    context.cacert = absolute(cacert)?.or(context.cacert.take());
    context.cert = absolute(cert)?.or(context.cert.take());
    context.key = absolute(key)?.or(context.key.take());
    contexts.current.get_or_insert_with(|| name.clone());
    Ok(format!("context/{name} {said}"))
}

fn absolute(file: Option<PathBuf>) -> Result<Option<PathBuf>, CliError> {
    file.map(std::path::absolute).transpose().map_err(CliError::usage)
}

fn list(contexts: &Contexts, out: &mut dyn Write) -> std::io::Result<()> {
    let rows = contexts.contexts.iter().map(|(name, context)| {
        let mark = if contexts.current.as_ref() == Some(name) { "*" } else { "" };
        let tls = match (&context.cacert, &context.cert) {
            (_, Some(_)) => "mutual",
            (Some(_), None) => "server",
            (None, None) => "-",
        };
        vec![mark.to_owned(), name.clone(), context.endpoints.join(","), tls.to_owned()]
    });
    table::print(&["IN USE", "NAME", "ENDPOINTS", "TLS"], rows.collect(), out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_args(name: &str, endpoints: &[&str]) -> ContextCommand {
        ContextCommand::Set(SetArgs {
            name: name.into(),
            endpoints: endpoints.iter().map(|one| (*one).to_owned()).collect(),
            cacert: None,
            cert: None,
            key: None,
        })
    }

    #[test]
    fn contexts_are_named_listed_used_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        let does = |command| {
            let mut out = Vec::new();
            run_with(command, &file, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(does(set_args("prod", &["p:1", "p:2"])).unwrap(), "context/prod created\n");
        assert_eq!(does(set_args("test", &["t:1"])).unwrap(), "context/test created\n");
        assert_eq!(does(set_args("test", &["t:2"])).unwrap(), "context/test configured\n");
        assert_eq!(
            does(ContextCommand::List).unwrap(),
            "IN USE  NAME  ENDPOINTS  TLS\n*       prod  p:1,p:2    -\n        test  t:2        -\n"
        );
        assert_eq!(does(ContextCommand::Use { name: "test".into() }).unwrap(), "context/test in use\n");
        assert_eq!(does(ContextCommand::Delete { name: "test".into() }).unwrap(), "context/test deleted\n");
        assert_eq!(Contexts::read(&file).unwrap().current, None, "what is forgotten is not in use");
        let said = does(ContextCommand::Use { name: "tset".into() }).unwrap_err().to_string();
        assert_eq!(said, "there is no context `tset`; the contexts are prod");
        assert!(does(set_args("new", &[])).unwrap_err().to_string().starts_with("--endpoints: a new context needs"));
    }
}
