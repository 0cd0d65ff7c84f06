//! What a run is told.

use std::time::Duration;

use althing_types::TableName;

/// What the clients do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Writes of random keys.
    Put,
    /// Linearizable reads of random keys.
    Get,
    /// Serializable reads of random keys: answered by the node that is asked, perhaps stale.
    GetSerializable,
    /// Nine reads for each write.
    Mixed,
    /// Compare the version of a key and put it, and as many more as are asked for: what optimistic updates do.
    Txn,
    /// Writes while many watches look on: events delivered and how long they took.
    Watch,
}

/// A benchmark of any endpoints that speak the etcd v3 API.
#[derive(Clone, PartialEq, Eq, Debug, clap::Args)]
pub struct Options {
    /// What the clients do
    #[arg(value_enum)]
    pub workload: Workload,
    /// Endpoints, comma-separated; connections are dealt to them in turn
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379", env = "ALTHING_ENDPOINT")]
    pub endpoints: Vec<String>,
    /// The table, if not the default one (sent as the header althing-table)
    #[arg(long, value_name = "NAME")]
    pub table: Option<TableName>,
    /// Clients that each wait for their answer before they ask again; with a rate they only fill the keys
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub clients: u32,
    /// Connections that the clients share
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub connections: u32,
    /// Seconds that are measured
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub seconds: u64,
    /// Seconds before that
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub warm_up: u64,
    /// Different keys
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub value_bytes: u32,
    /// Offer so many requests per second, whether they are answered or not, instead of waiting for each answer
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub rate: Option<u64>,
    /// Try an operation again, up to so many times, that was refused or found nobody to serve it
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub retries: u32,
    /// Keys that each transaction puts, for the txn workload
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=128))]
    pub txn_puts: u32,
    /// Watches, for the watch workload
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub watches: u32,
    /// What all keys begin with
    #[arg(long, default_value = "bench/")]
    pub prefix: String,
    /// Seed of keys and values
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// No progress line
    #[arg(long)]
    pub quiet: bool,
}

impl Options {
    /// How long is measured.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// How long runs before that.
    #[must_use]
    pub const fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up)
    }

    /// The endpoint of a connection, as `HOST:PORT`.
    #[must_use]
    pub fn endpoint(&self, connection: usize) -> &str {
        let endpoint = &self.endpoints[connection % self.endpoints.len()];
        endpoint.strip_prefix("http://").unwrap_or(endpoint)
    }

    /// The key with a number.
    #[must_use]
    pub fn key(&self, number: u64) -> Vec<u8> {
        format!("{}{number:012}", self.prefix).into_bytes()
    }
}
