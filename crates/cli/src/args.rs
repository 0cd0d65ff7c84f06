//! The command line: one definition of every command and flag, from which help, completions and `docs/cli.md` are made.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::config::ServerArgs;
use crate::cut::{CutArgs, HealArgs};
use crate::remote::RemoteArgs;
use crate::verbs::Verb;
use crate::verbs::context::ContextCommand;

/// Althing: the distributed-systems layer of an application, in one binary.
///
/// Exit codes: 0 done; 1 the operation failed; 2 the command line or the configuration is wrong; 3 the node stopped
/// because its storage failed, one of its threads panicked, or the other nodes refuse it for good.
#[derive(Debug, Parser)]
#[command(name = "althing", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole cluster on this machine, for development: open to local clients, closed to all others.
    Dev(DevArgs),
    /// Run one node of a cluster.
    Server(Box<ServerArgs>),
    /// Work with the objects of a cluster.
    #[command(flatten)]
    Objects(Verb),
    /// Name clusters and say which one is meant.
    #[command(subcommand)]
    Context(ContextCommand),
    /// Show how the nodes of a cluster stand.
    ///
    /// LIVENESS is how each node looks to the first endpoint that answers: a hint on which no data depends.
    Status(StatusArgs),
    /// Cut a cluster in two, to see what it promises: the nodes that are named, and all others. Clients reach both sides.
    ///
    /// Only nodes that were started with --allow-cut take it; those of `althing dev` are.
    Cut(CutArgs),
    /// End what `althing cut` began.
    Heal(HealArgs),
    /// Take a snapshot of a cluster, or make a new cluster from one.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Look into the write-ahead log of a node that is stopped.
    #[command(subcommand)]
    Wal(WalCommand),
    /// Measure how fast a cluster answers, over the etcd API.
    Bench(althing_bench::Options),
    /// Run whole clusters in a simulated world in which everything goes wrong, and judge what their clients saw.
    ///
    /// Each seed is one run, the same every time. Exit code 1 and the command that repeats it, if a promise was broken.
    Sim(althing_sim::cli::Arguments),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// How much is logged, and how.
#[derive(Clone, PartialEq, Eq, Debug, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub struct LogArgs {
    /// What to log: error, warn, info, debug or trace, or directives such as `info,althing_node=debug`.
    ///
    /// Default: info; for `dev`, warn.
    #[arg(long, env = "ALTHING_LOG_LEVEL", value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// How to write the log to standard error. Default: human.
    #[arg(long, env = "ALTHING_LOG_FORMAT", value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
}

/// The form of a line of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line, with trace and span ids.
    Json,
}

/// Settings of `althing dev`.
#[derive(Clone, Debug, Args)]
pub struct DevArgs {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: u16,
    /// Where the data is kept. A second start with the same directory finds it.
    #[arg(long, value_name = "DIR", default_value = "./althing-dev")]
    pub dir: PathBuf,
    /// The first node's etcd port; its peer port is one above. Each further node stands 100 above the one before.
    #[arg(long, value_name = "PORT", default_value_t = 2379)]
    pub base_port: u16,
    /// Run each node as a process of its own, so that one can be killed.
    #[arg(long)]
    pub processes: bool,
    /// Once it serves, print one line of JSON that names every node, and nothing else.
    #[arg(long)]
    pub json: bool,
    /// Logging.
    #[command(flatten)]
    pub log: LogArgs,
}

/// The form of an answer on standard output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Settings of `althing status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// The form of the answer.
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}

/// What can be done with snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Download a consistent snapshot from one node of a running cluster.
    Save(SnapshotSaveArgs),
    /// Make the data directory of one node of a new cluster from a snapshot.
    ///
    /// Run it once per node of the new cluster with the same snapshot, cluster name and members, then start the
    /// nodes. The cluster is new: it has a new id, and no node of the old one can join it.
    Restore(SnapshotRestoreArgs),
}

/// Settings of `althing snapshot save`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotSaveArgs {
    /// The file to write; it must not exist.
    pub file: PathBuf,
    /// Where to ask: the first endpoint is used.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Settings of `althing snapshot restore`.
#[derive(Clone, Debug, Args)]
pub struct SnapshotRestoreArgs {
    /// The snapshot.
    pub file: PathBuf,
    /// The data directory to make; it must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The name of the node that will use it.
    #[arg(long, default_value = "n1")]
    pub name: String,
    /// The name of the new cluster. Choose one that was never used.
    #[arg(long)]
    pub cluster: String,
    /// All members of the new cluster as NAME=PEER-URL, this one among them.
    #[arg(long, value_name = "NAME=URL", value_delimiter = ',', required = true)]
    pub initial_cluster: Vec<String>,
    /// How far revisions jump ahead, so that clients of the old cluster never see one go back: more than the writes
    /// that the old cluster took after the snapshot.
    #[arg(long, value_name = "REVISIONS", default_value_t = 1_000_000_000)]
    pub bump_revision: u64,
}

/// What can be done with a log.
#[derive(Debug, Subcommand)]
pub enum WalCommand {
    /// List the records of a log: where each stands, whose it is and whether its checksum fits.
    Inspect(WalInspectArgs),
}

/// Settings of `althing wal inspect`.
#[derive(Clone, Debug, Args)]
pub struct WalInspectArgs {
    /// The data directory of the node.
    pub data_dir: PathBuf,
    /// The form of the answer.
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
}
