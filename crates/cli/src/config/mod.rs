//! The configuration of one node: a TOML file, the environment and flags, in ascending order of precedence.
//!
//! Each setting is one field of [`ServerArgs`]: its name is the key of the file, with dashes the flag, in capitals after
//! `ALTHING_` the variable. `docs/configuration.md` is made from the same definition. [`Settings`] is what they mean
//! together, checked.

mod redis;
mod secret;
mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use serde::{Deserialize, Serialize};

use crate::args::LogArgs;
pub use redis::{RedisPort, RedisUser, RedisUsers};
pub use secret::{ClusterKey, Secret};
pub use settings::{MemberSetting, Settings, TablePort, parse_members};

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
    /// Join a cluster that runs instead of founding one: client endpoints of some of its nodes. Used when the data directory
    /// is new. The node registers itself, and gets its share of replicas; one that was added with this node's peer URL before
    /// (`etcdctl member add`) comes as that member.
    #[arg(long, env = "ALTHING_JOIN", value_name = "HOST:PORT", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<Vec<String>>,
    /// What fails together with this node: a rack, a datacenter. Replicas are spread over zones. Default: none.
    #[arg(long, env = "ALTHING_ZONE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// How much the node holds beside others, in hundredths of a usual node: 200 gets twice the share. Said when it joins;
    /// later `althing apply` changes it. Default: 100.
    #[arg(long, env = "ALTHING_CAPACITY", value_name = "HUNDREDTHS", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// Where to listen for clients. Default: 127.0.0.1:2379.
    #[arg(long, env = "ALTHING_LISTEN_CLIENT", value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_client: Option<SocketAddr>,
    /// A further port for clients that serves one table and no other, for clients that cannot name a table in a header
    /// (etcdctl). May be given many times. Default: none: tables but the default one are reached by the header
    /// althing-table only.
    #[arg(long, env = "ALTHING_TABLE_LISTEN", value_name = "TABLE=IP:PORT", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_listen: Option<Vec<String>>,
    /// Where to listen for clients of Redis. Default: nowhere.
    #[arg(long, env = "ALTHING_LISTEN_REDIS", value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_redis: Option<SocketAddr>,
    /// Where clients of Redis reach this node, as CLUSTER SLOTS tells them. Default: listen-redis, or its port at the host of
    /// advertise-client if it is for all interfaces.
    #[arg(long, env = "ALTHING_ADVERTISE_REDIS", value_name = "HOST:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise_redis: Option<String>,
    /// Whether clients of Redis speak TLS, with the certificate of client-tls-cert. Default: true if there is one.
    #[arg(long, env = "ALTHING_REDIS_TLS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_tls: Option<bool>,
    /// The password that clients of Redis must give (AUTH), at least 8 bytes: that of the user default, who reaches all tables.
    /// Prefer the file or the environment: other users of the machine see flags. Default: none is asked for.
    #[arg(long, env = "ALTHING_REDIS_PASSWORD", value_name = "SECRET", hide_env_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_password: Option<Secret>,
    /// A file that holds that password, instead of redis-password.
    #[arg(long, env = "ALTHING_REDIS_PASSWORD_FILE", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_password_file: Option<PathBuf>,
    /// A file of users of the port for clients of Redis, one a line: NAME PASSWORD, and perhaps the only tables that it may
    /// use: TABLE,TABLE. Lines that begin with # are none. Who gives no name is the user default.
    #[arg(long, env = "ALTHING_REDIS_USERS_FILE", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_users_file: Option<PathBuf>,
    /// Where to listen for other nodes, TCP and UDP. Default: 127.0.0.1:2380.
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
    /// The cluster's secret, the same on all nodes, at least 16 bytes: who does not know it cannot speak in the membership
    /// (UDP on the number of listen-peer). Prefer the file or the environment: other users of the machine see flags.
    /// Default: none: datagrams are checked by the cluster's id only.
    #[arg(long, env = "ALTHING_CLUSTER_KEY", value_name = "SECRET", hide_env_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_key: Option<Secret>,
    /// A file that holds the cluster's secret, instead of cluster-key.
    #[arg(long, env = "ALTHING_CLUSTER_KEY_FILE", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_key_file: Option<PathBuf>,
    /// Where the membership may find any other node of the cluster: peer addresses, or DNS names that stand for many of them, as
    /// that of a headless service does. Names are looked up again from time to time. Default: the members are looked for at
    /// the addresses that they gave.
    #[arg(long, env = "ALTHING_GOSSIP_JOIN", value_name = "HOST:PORT", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gossip_join: Option<Vec<String>>,
    /// Listen off loopback without TLS. Default: false: the node refuses to start.
    #[arg(long, env = "ALTHING_INSECURE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,
    /// Let `althing cut` cut this node off from others, to see what becomes of them: for tests, never where data matters to
    /// somebody. Default: false.
    #[arg(long, env = "ALTHING_ALLOW_CUT", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_cut: Option<bool>,
    /// How many bytes of data the default table may hold before it refuses writes that add: the leader's setting counts,
    /// so give all nodes the same. Default: what the table has, 8589934592 (8 GiB) in a new one.
    #[arg(long, env = "ALTHING_QUOTA_BYTES", value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// How long a node waits without a leader before it stands for election, in milliseconds: at least this, at most
    /// twice this. 100 to 60000, the same on all nodes. Default: 150.
    #[arg(long, env = "ALTHING_ELECTION_TIMEOUT_MS", value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=60_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub election_timeout_ms: Option<u64>,
    /// How long a watch that asked for progress is left without a word, in milliseconds: at least 100. Default: 600000.
    #[arg(long, env = "ALTHING_WATCH_PROGRESS_INTERVAL_MS", value_name = "MS", value_parser = clap::value_parser!(u64).range(100..))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_progress_interval_ms: Option<u64>,
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

pub(crate) fn invalid(key: &'static str, detail: impl Into<String>) -> ConfigError {
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
    let keys = keys();
    let known: Vec<&str> = keys.iter().map(String::as_str).collect();
    althing_sim::nearest::hint(key, &known, "keys")
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ServerArgs,
    }

    fn refused(text: &str) -> String {
        ServerArgs::from_toml(Path::new("F.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_valid_one() {
        assert_eq!(refused("nmae = \"n1\""), "F.toml: unknown key `nmae`; did you mean `name`?");
        assert_eq!(refused("data-dir = \"d\""), "F.toml: unknown key `data-dir`; did you mean `data_dir`?");
        assert_eq!(
            refused("peer_tls_certificate = \"x\""),
            "F.toml: unknown key `peer_tls_certificate`; did you mean `peer_tls_cert`?"
        );
        assert!(refused("[server]\nname = \"n1\"").starts_with("F.toml: unknown key `server`; the keys are name, "));
        assert!(refused("zzz = 1").starts_with("F.toml: unknown key `zzz`; "));
        assert!(refused("config = \"g\"").starts_with("F.toml: unknown key `config`; "));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_line() {
        let message = refused("name = \"n1\"\nquota_bytes = \"much\"\n");
        assert!(message.contains("line 2") && message.contains("quota_bytes = \"much\""), "{message}");
        assert!(refused("name = ").starts_with("F.toml: TOML parse error"));
    }

    #[test]
    fn flags_go_before_the_file() {
        let file = ServerArgs::from_toml(
            Path::new("F.toml"),
            "name = \"file\"\ncluster = \"prod\"\ninsecure = true\nlog_format = \"json\"\nlisten_client = \"127.0.0.1:1\"",
        )
        .unwrap();
        let line =
            ["server", "--name", "flag", "--insecure", "false", "--initial-cluster", "a=http://h:1,b=http://h:2"];
        let merged = Line::try_parse_from(line).unwrap().args.over(file);
        assert_eq!(merged.name.as_deref(), Some("flag"));
        assert_eq!(merged.cluster.as_deref(), Some("prod"));
        assert_eq!(merged.insecure, Some(false));
        assert_eq!(merged.log.log_format, Some(crate::args::LogFormat::Json));
        assert_eq!(merged.initial_cluster.map(|members| members.len()), Some(2));
        assert_eq!(merged.listen_client, Some(SocketAddr::from(([127, 0, 0, 1], 1))));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = ServerArgs::from_file(Path::new("/no/such.toml")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the configuration /no/such.toml: "), "{error}");
    }
}
