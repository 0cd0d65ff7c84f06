//! The verbs over objects, in the manner of platform tools: `get`, `apply`, `describe` and the others.
//!
//! Each verb is a file: its flags, and what it does with a [`Cluster`] and a [`Screen`].

mod apply;
mod columns;
pub mod context;
mod delete;
mod describe;
mod doctor;
mod drain;
mod explain;
mod files;
mod get;
mod kinds;
mod picture;
mod repair;
mod top;
mod wait;
mod words;

use clap::Subcommand;

use crate::error::CliError;
use crate::objects::Cluster;
use crate::remote::{RemoteArgs, block_on};
use crate::screen::Screen;

/// What can be done with the objects of a cluster.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make the cluster have the objects in files: make those that are not there, change those that are.
    ///
    /// The spec and the labels of an object that is there are replaced as a whole; what the control plane wrote stays. All
    /// files are read and checked before anything is sent.
    Apply(apply::ApplyArgs),
    /// Show objects: tables, nodes, shards and the cluster.
    Get(get::GetArgs),
    /// Tell all about an object; of a table, whether its guarantee holds now, and where its shards are.
    Describe(describe::DescribeArgs),
    /// Delete objects. A table's data goes with it.
    Delete(delete::DeleteArgs),
    /// Say what a kind of object or one of its fields means. Asks no cluster.
    Explain(explain::ExplainArgs),
    /// Empty a node, so that it can be taken away: its replicas move to other nodes.
    Drain(drain::DrainArgs),
    /// Give a node no more replicas; it keeps those that it has.
    Cordon(drain::NodesArgs),
    /// Give a node its share of replicas again, after `cordon` or `drain`.
    Uncordon(drain::NodesArgs),
    /// Show what nodes, tables or shards use.
    #[command(subcommand)]
    Top(top::TopCommand),
    /// Look for trouble: what is wrong, what it means, and which command helps. Exit code 1 if something is wrong.
    Doctor(doctor::DoctorArgs),
}

impl Verb {
    /// How the cluster is reached that it is about.
    fn remote(&self) -> RemoteArgs {
        match self {
            Self::Apply(args) => args.remote.clone(),
            Self::Get(args) => args.remote.clone(),
            Self::Describe(args) => args.remote.clone(),
            Self::Delete(args) => args.remote.clone(),
            Self::Explain(_) => RemoteArgs::default(),
            Self::Drain(args) => args.remote.clone(),
            Self::Cordon(args) | Self::Uncordon(args) => args.remote.clone(),
            Self::Top(command) => command.remote().clone(),
            Self::Doctor(args) => args.remote.clone(),
        }
    }

    /// Does it.
    pub fn run(self, screen: &mut Screen<'_>) -> Result<(), CliError> {
        block_on(async {
            match self {
                Self::Explain(args) => explain::run(&args, screen),
                // What the doctor is for is a cluster that may not answer.
                Self::Doctor(args) => doctor::run(&args, screen).await,
                verb => {
                    let cluster = Cluster::connect(verb.remote()).await?;
                    verb.with(&cluster, screen).await
                }
            }
        })
    }

    /// Does it with a cluster that is reached already.
    pub async fn with(self, cluster: &Cluster, screen: &mut Screen<'_>) -> Result<(), CliError> {
        match self {
            Self::Apply(args) => apply::run(&args, cluster, screen).await,
            Self::Get(args) => get::run(&args, cluster, screen).await,
            Self::Describe(args) => describe::run(&args, cluster, screen).await,
            Self::Delete(args) => delete::run(&args, cluster, screen).await,
            Self::Explain(args) => explain::run(&args, screen),
            Self::Drain(args) => drain::drain(&args, cluster, screen).await,
            Self::Cordon(args) => drain::cordon(&args, cluster, screen).await,
            Self::Uncordon(args) => drain::uncordon(&args, cluster, screen).await,
            Self::Top(command) => top::run(&command, cluster, screen).await,
            Self::Doctor(args) => doctor::run(&args, screen).await,
        }
    }
}
