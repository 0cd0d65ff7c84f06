//! The configuration of one node: a TOML file, the environment and flags, in ascending order of precedence.
//!
//! Each setting is one field of [`ServerArgs`]: its name is the key of the file, with dashes the flag, in capitals after
//! `ALTHING_` the variable. `docs/configuration.md` is made from the same definition. [`Settings`] is what they mean
//! together, checked.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use althing_runtime::tls::TlsFiles;
use althing_runtime::transport::address::Address;
use althing_types::limits::DEFAULT_QUOTA_BYTES;
use clap::{Args, Command};
use serde::{Deserialize, Serialize};

use crate::args::LogArgs;

/// The settings of `althing server` as they are given.
#[derive(Clone, PartialEq, Eq, Debug, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerArgs {
    /// A TOML file with any of the settings below: the key is the flag's name with underscores.
    ///
    /// Flags go before the environment, the environment before the file.
    #[arg(long, env = "ALTHING_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// This node's name, unique in the cluster. Default: n1.
    #[arg(long, env = "ALTHING_NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the node keeps its data. Default: ./NAME.althing.
    #[arg(long, env = "ALTHING_DATA_DIR", value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The cluster's name. A data directory of another cluster is refused. Default: althing.
    #[arg(long, env = "ALTHING_CLUSTER", value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// All members that the cluster is born with, as NAME=PEER-URL, this one among them and the same on each. Used when
    /// the data directory is new; later the addresses only help to find members that have moved. Default: this node
    /// alone.
    #[arg(long, env = "ALTHING_INITIAL_CLUSTER", value_name = "NAME=URL", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_cluster: Option<Vec<String>>,
    /// Join a cluster that runs instead of founding one: client endpoints of some of its members. The node must have
    /// been added there (`etcdctl member add`) with this node's peer URL.
    #[arg(long, env = "ALTHING_JOIN", value_name = "HOST:PORT", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<Vec<String>>,
    /// Where to listen for clients. Default: 127.0.0.1:2379.
    #[arg(long, env = "ALTHING_LISTEN_CLIENT", value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_client: Option<SocketAddr>,
    /// Where to listen for other nodes. Default: 127.0.0.1:2380.
    #[arg(long, env = "ALTHING_LISTEN_PEER", value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_peer: Option<SocketAddr>,
    /// The URLs that clients reach this node at. Default: made from listen-client, which must then name one address.
    #[arg(long, env = "ALTHING_ADVERTISE_CLIENT", value_name = "URL", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise_client: Option<Vec<String>>,
    /// The URL that other nodes reach this node at. Default: this node's in initial-cluster, else made from
    /// listen-peer, which must then name one address.
    #[arg(long, env = "ALTHING_ADVERTISE_PEER", value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise_peer: Option<String>,
    /// The certificate chain for clients (PEM, leaf first). Default: no TLS.
    #[arg(long, env = "ALTHING_CLIENT_TLS_CERT", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_tls_cert: Option<PathBuf>,
    /// The private key of client-tls-cert (PEM).
    #[arg(long, env = "ALTHING_CLIENT_TLS_KEY", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_tls_key: Option<PathBuf>,
    /// The CA that signs clients' certificates (PEM): with it, clients must have one.
    #[arg(long, env = "ALTHING_CLIENT_TLS_CA", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_tls_ca: Option<PathBuf>,
    /// This node's certificate chain for other nodes (PEM, leaf first), valid as server and client. Default: no TLS.
    #[arg(long, env = "ALTHING_PEER_TLS_CERT", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_tls_cert: Option<PathBuf>,
    /// The private key of peer-tls-cert (PEM).
    #[arg(long, env = "ALTHING_PEER_TLS_KEY", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_tls_key: Option<PathBuf>,
    /// The CA that signs the nodes' certificates (PEM). Nodes always prove themselves to each other.
    #[arg(long, env = "ALTHING_PEER_TLS_CA", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_tls_ca: Option<PathBuf>,
    /// Listen off loopback without TLS. Default: false: the node refuses to start.
    #[arg(long, env = "ALTHING_INSECURE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,
    /// How many bytes of data the default table may hold before it refuses writes that add. Default: 8589934592 (8 GiB).
    #[arg(long, env = "ALTHING_QUOTA_BYTES", value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// How long a node waits without a leader before it stands for election, in milliseconds: at least this, at most
    /// twice this. 100 to 60000, the same on all nodes. Default: 150.
    #[arg(long, env = "ALTHING_ELECTION_TIMEOUT_MS", value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=60_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub election_timeout_ms: Option<u64>,
    /// How long a graceful stop may take, in milliseconds: handing leadership over, then finishing what is under way.
    /// Default: 5000.
    #[arg(long, env = "ALTHING_STOP_TIMEOUT_MS", value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout_ms: Option<u64>,
    /// Logging.
    #[command(flatten)]
    #[serde(flatten)]
    pub log: LogArgs,
    /// Stop when standard input ends: so the nodes of `dev --processes` never outlive it.
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub stop_with_stdin: bool,
}

/// Why a configuration is refused. Every message names the key and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {file}: {detail}", file = .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// The file is not TOML, or a value has the wrong type.
    #[error("{file}: {detail}", file = .file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong, and on which line.
        detail: String,
    },
    /// The file has a key that means nothing.
    #[error("{file}: unknown key `{key}`{hint}", file = .file.display())]
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// The key.
        key: String,
        /// The nearest key that exists.
        hint: String,
    },
    /// A value is outside what its key allows.
    #[error("`{key}`: {detail}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        detail: String,
    },
    /// The node would be open to everybody.
    #[error(
        "`{key}` is {address}, which is not loopback, and there is no TLS: set {prefix}_tls_cert and {prefix}_tls_key, \
         or `insecure` (--insecure) if the network itself is trusted"
    )]
    Insecure {
        /// The key.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the TLS keys begin with.
        prefix: &'static str,
    },
}

fn invalid(key: &'static str, detail: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { key, detail: detail.into() }
}

/// The keys that a configuration file may have.
#[must_use]
pub fn keys() -> Vec<String> {
    let command = ServerArgs::augment_args(Command::new("server"));
    let ids = command.get_arguments().filter(|arg| !arg.is_hide_set()).map(|arg| arg.get_id().to_string());
    ids.filter(|id| id != "config").collect()
}

/// The hint towards the key that a person probably meant.
fn nearest(key: &str) -> String {
    let normal = key.to_lowercase().replace('-', "_");
    let distance = |known: &String| (strsim::damerau_levenshtein(&normal, known), known.clone());
    match keys().iter().map(distance).min() {
        Some((distance, known)) if distance <= known.len() / 2 => format!("; did you mean `{known}`?"),
        Some(_) | None => format!("; the keys are {}", keys().join(", ")),
    }
}

impl ServerArgs {
    /// Reads a configuration file.
    pub fn from_file(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| ConfigError::Unreadable { file: file.to_path_buf(), detail: error.to_string() })?;
        Self::from_toml(file, &text)
    }

    /// Reads the text of a configuration file; `file` is only named in errors.
    pub fn from_toml(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let malformed = |error: toml::de::Error| ConfigError::Malformed {
            file: file.to_path_buf(),
            detail: error.to_string().trim_end().to_owned(),
        };
        let table: toml::Table = text.parse().map_err(malformed)?;
        let known = keys();
        if let Some(key) = table.keys().find(|key| !known.contains(key)) {
            let hint = nearest(key);
            return Err(ConfigError::UnknownKey { file: file.to_path_buf(), key: key.clone(), hint });
        }
        toml::from_str(text).map_err(malformed)
    }

    /// These settings, and for those not given the ones of `file`.
    #[must_use]
    pub fn over(self, file: Self) -> Self {
        let (config, stop_with_stdin) = (self.config.clone(), self.stop_with_stdin);
        let table = |settings: &Self| toml::Table::try_from(settings).expect("every setting has a form in TOML");
        let mut merged = table(&file);
        merged.extend(table(&self));
        let merged: Self = merged.try_into().expect("what was written from settings reads as settings");
        Self { config, stop_with_stdin, ..merged }
    }

    /// The settings with those of the file that `config` names, if it names one.
    pub fn load(self) -> Result<Self, ConfigError> {
        match self.config.clone() {
            None => Ok(self),
            Some(file) => Ok(self.over(Self::from_file(&file)?)),
        }
    }
}

/// One member as it is configured.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MemberSetting {
    /// Its name.
    pub name: String,
    /// Where other nodes reach it.
    pub peer_url: String,
}

/// What a node starts from, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The node's name.
    pub name: String,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// The cluster's name.
    pub cluster: String,
    /// The members that the cluster is born with, by name.
    pub members: Vec<MemberSetting>,
    /// Client endpoints of the running cluster to join; empty to found one.
    pub join: Vec<String>,
    /// Where it listens for clients.
    pub listen_client: SocketAddr,
    /// Where it listens for other nodes.
    pub listen_peer: SocketAddr,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// Where other nodes reach it.
    pub peer_url: String,
    /// TLS for clients.
    pub client_tls: Option<TlsFiles>,
    /// TLS between nodes.
    pub peer_tls: Option<TlsFiles>,
    /// The quota of the default table, in bytes.
    pub quota_bytes: u64,
    /// The least election timeout; the greatest is twice this.
    pub election_timeout: Duration,
    /// How long a graceful stop may take.
    pub stop_timeout: Duration,
    /// Whether the node stops when standard input ends.
    pub stop_with_stdin: bool,
}

/// The least election timeout unless told otherwise, in milliseconds (DESIGN: 150 to 300 ms on a LAN).
const DEFAULT_ELECTION_TIMEOUT_MS: u64 = 150;
/// How long a graceful stop may take unless told otherwise, in milliseconds.
const DEFAULT_STOP_TIMEOUT_MS: u64 = 5_000;

impl Settings {
    /// What the given settings mean, with all defaults.
    pub fn resolve(args: ServerArgs) -> Result<Self, ConfigError> {
        let name = args.name.clone().unwrap_or_else(|| "n1".into());
        check_name("name", &name)?;
        let cluster = args.cluster.clone().unwrap_or_else(|| "althing".into());
        check_name("cluster", &cluster)?;
        let listen_client = args.listen_client.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 2379)));
        let listen_peer = args.listen_peer.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 2380)));
        let client_tls = tls_files("client_tls_cert", &args.client_tls_cert, &args.client_tls_key, &args.client_tls_ca)?;
        let peer_tls = tls_files("peer_tls_cert", &args.peer_tls_cert, &args.peer_tls_key, &args.peer_tls_ca)?;
        if peer_tls.as_ref().is_some_and(|tls| tls.ca.is_none()) {
            return Err(invalid("peer_tls_ca", "is needed: nodes always prove themselves to each other"));
        }
        if !args.insecure.unwrap_or(false) {
            refuse_insecure("listen_client", listen_client, "client", client_tls.as_ref())?;
            refuse_insecure("listen_peer", listen_peer, "peer", peer_tls.as_ref())?;
        }
        let mut members = parse_members(args.initial_cluster.as_deref().unwrap_or_default())?;
        let peer_url = peer_url(&args, &name, &members, listen_peer, peer_tls.is_some())?;
        if members.is_empty() {
            members.push(MemberSetting { name: name.clone(), peer_url: peer_url.clone() });
        }
        Ok(Self {
            data_dir: args.data_dir.unwrap_or_else(|| format!("./{name}.althing").into()),
            join: args.join.unwrap_or_default(),
            client_urls: client_urls(args.advertise_client, listen_client, client_tls.is_some())?,
            quota_bytes: args.quota_bytes.unwrap_or(DEFAULT_QUOTA_BYTES),
            election_timeout: election_timeout(args.election_timeout_ms)?,
            stop_timeout: Duration::from_millis(args.stop_timeout_ms.unwrap_or(DEFAULT_STOP_TIMEOUT_MS)),
            stop_with_stdin: args.stop_with_stdin,
            name,
            cluster,
            members,
            listen_client,
            listen_peer,
            peer_url,
            client_tls,
            peer_tls,
        })
    }
}

/// Names stand in files, logs and metrics: one short word.
fn check_name(key: &'static str, name: &str) -> Result<(), ConfigError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_fine) {
        return Err(invalid(key, format!("{name:?} is not a name; use 1 to 64 letters, digits, '-', '_' or '.'")));
    }
    Ok(())
}

fn tls_files(
    key: &'static str,
    cert: &Option<PathBuf>,
    private_key: &Option<PathBuf>,
    ca: &Option<PathBuf>,
) -> Result<Option<TlsFiles>, ConfigError> {
    match (cert, private_key, ca) {
        (Some(cert), Some(private_key), ca) => {
            Ok(Some(TlsFiles { cert: cert.clone(), key: private_key.clone(), ca: ca.clone() }))
        }
        (None, None, None) => Ok(None),
        (Some(_), None, _) | (None, Some(_), _) | (None, None, Some(_)) => {
            Err(invalid(key, "a certificate and its key come together, and a CA only with both"))
        }
    }
}

fn refuse_insecure(
    key: &'static str,
    address: SocketAddr,
    prefix: &'static str,
    tls: Option<&TlsFiles>,
) -> Result<(), ConfigError> {
    if tls.is_none() && !address.ip().is_loopback() {
        return Err(ConfigError::Insecure { key, address, prefix });
    }
    Ok(())
}

/// Reads members as `NAME=URL`.
pub fn parse_members(texts: &[String]) -> Result<Vec<MemberSetting>, ConfigError> {
    let key = "initial_cluster";
    let mut members = Vec::new();
    for text in texts {
        let (name, url) = text
            .split_once('=')
            .ok_or_else(|| invalid(key, format!("{text:?} is not NAME=URL, such as n1=http://127.0.0.1:2380")))?;
        check_name(key, name)?;
        check_url(key, url)?;
        members.push(MemberSetting { name: name.to_owned(), peer_url: url.to_owned() });
    }
    members.sort();
    if let Some(pair) = members.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(invalid(key, format!("{:?} stands there twice", pair[0].name)));
    }
    Ok(members)
}

fn check_url(key: &'static str, url: &str) -> Result<(), ConfigError> {
    let has_scheme = url.starts_with("http://") || url.starts_with("https://");
    match url.parse::<Address>() {
        Ok(_) if has_scheme => Ok(()),
        Ok(_) | Err(_) => Err(invalid(key, format!("{url:?} is not a URL of the form http://HOST:PORT or https://HOST:PORT"))),
    }
}

fn url_of(key: &'static str, listen: SocketAddr, is_tls: bool) -> Result<String, ConfigError> {
    let unspecified = match listen.ip() {
        IpAddr::V4(ip) => ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    if unspecified {
        return Err(invalid(key, format!("is needed: {listen} says where to listen, not where others reach this node")));
    }
    Ok(format!("{}://{listen}", if is_tls { "https" } else { "http" }))
}

fn client_urls(given: Option<Vec<String>>, listen: SocketAddr, is_tls: bool) -> Result<Vec<String>, ConfigError> {
    let key = "advertise_client";
    match given {
        None => Ok(vec![url_of(key, listen, is_tls)?]),
        Some(urls) => {
            urls.iter().try_for_each(|url| check_url(key, url))?;
            Ok(urls)
        }
    }
}

fn peer_url(
    args: &ServerArgs,
    name: &str,
    members: &[MemberSetting],
    listen: SocketAddr,
    is_tls: bool,
) -> Result<String, ConfigError> {
    let mine = members.iter().find(|member| member.name == name);
    if mine.is_none() && !members.is_empty() {
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        return Err(invalid("initial_cluster", format!("this node, {name:?}, is not among {}", names.join(", "))));
    }
    match (&args.advertise_peer, mine) {
        (Some(url), Some(mine)) if *url != mine.peer_url => {
            Err(invalid("advertise_peer", format!("is {url}, but initial_cluster says {}", mine.peer_url)))
        }
        (Some(url), Some(_) | None) => check_url("advertise_peer", url).map(|()| url.clone()),
        (None, Some(mine)) => Ok(mine.peer_url.clone()),
        (None, None) => url_of("advertise_peer", listen, is_tls),
    }
}

fn election_timeout(ms: Option<u64>) -> Result<Duration, ConfigError> {
    let ms = ms.unwrap_or(DEFAULT_ELECTION_TIMEOUT_MS);
    if !(100..=60_000).contains(&ms) {
        return Err(invalid("election_timeout_ms", format!("{ms} is not between 100 and 60000")));
    }
    Ok(Duration::from_millis(ms))
}
