//! Which nodes there are, and where each stands.
//!
//! Node i of a cluster (from 0) has its etcd API on base + 100·i and its peer port one above: 2379 and 2380, 2479 and 2480,
//! 2579 and 2580. Its port for clients of Redis is 4,000 above the first: 6379, 6479, 6579; or 2 above it, where there are no such
//! ports. Data is in DIR/n1, DIR/n2, …, the cluster's secret in DIR/cluster.key.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use althing_cli::CliError;
use althing_cli::args::{DevArgs, LogArgs, LogFormat};
use althing_cli::config::ServerArgs;

/// What lies between the ports of one node and those of the next.
const PORT_STEP: u16 = 100;

/// What makes 6379 of 2379.
const REDIS_OFFSET: u16 = 4000;
/// Ports that are kept for the nodes after the first.
const REDIS_ROOM: u16 = 2000;

/// One node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodePlan {
    /// Its name: n1, n2, ….
    pub name: String,
    /// Where its etcd API stands.
    pub etcd: SocketAddr,
    /// Where it listens for the others.
    pub peer: SocketAddr,
    /// Where it listens for clients of Redis.
    pub redis: SocketAddr,
    /// Where its data is.
    pub dir: PathBuf,
}

/// The cluster.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its nodes.
    pub nodes: Vec<NodePlan>,
    /// Where all of its data is.
    pub dir: PathBuf,
    /// Whether to print JSON instead of words.
    pub json: bool,
    /// How to log.
    pub log: LogArgs,
}

impl Plan {
    /// The cluster that the command line asks for.
    pub fn new(args: &DevArgs) -> Result<Self, CliError> {
        let last = u32::from(args.base_port) + u32::from(PORT_STEP) * u32::from(args.nodes - 1) + 2;
        if last > u32::from(u16::MAX) || args.base_port == 0 {
            return Err(CliError::usage(format!(
                "--base-port {}: {} nodes need ports up to {last}; choose one from 1 to {}",
                args.base_port,
                args.nodes,
                u32::from(u16::MAX) - u32::from(PORT_STEP) * u32::from(args.nodes - 1) - 2
            )));
        }
        let dir = std::path::absolute(&args.dir).map_err(CliError::usage)?;
        let found = nodes_in(&dir);
        if found != 0 && found != args.nodes {
            return Err(CliError::usage(format!(
                "{} holds a cluster of {found} nodes; start it with --nodes {found}, or choose another directory with --dir",
                dir.display()
            )));
        }
        let nodes = (0..args.nodes).map(|at| NodePlan::new(at, args.base_port, &dir)).collect();
        Ok(Self { nodes, dir, json: args.json, log: args.log.clone() })
    }

    /// Where the cluster's secret stands.
    fn key_file(&self) -> PathBuf {
        self.dir.join("cluster.key")
    }

    /// Draws the cluster's secret, unless the directory has one.
    pub fn draw_key(&self) -> Result<(), CliError> {
        let file = self.key_file();
        let failed = |error: std::io::Error| CliError::failed(format!("cannot write {}: {error}", file.display()));
        if file.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.dir).map_err(failed)?;
        let secret = althing_runtime::directory::secret().map_err(failed)?;
        let open = File::options().write(true).create_new(true).mode(0o600).open(&file);
        open.and_then(|mut file| file.write_all(format!("{secret}\n").as_bytes())).map_err(failed)
    }

    /// What a node of the plan is started with.
    pub fn server_args(&self, node: &NodePlan) -> ServerArgs {
        let members = self.nodes.iter().map(|node| format!("{}=http://{}", node.name, node.peer));
        ServerArgs {
            name: Some(node.name.clone()),
            data_dir: Some(node.dir.clone()),
            cluster: Some("althing-dev".to_owned()),
            initial_cluster: Some(members.collect()),
            listen_client: Some(node.etcd),
            listen_peer: Some(node.peer),
            listen_redis: Some(node.redis),
            allow_cut: Some(true),
            cluster_key_file: Some(self.key_file()),
            log: self.log.clone(),
            ..ServerArgs::default()
        }
    }

    /// The command line that starts a node of the plan by itself.
    pub fn command_line(&self, node: &NodePlan) -> Vec<String> {
        let args = self.server_args(node);
        let mut line = vec!["server".to_owned()];
        let mut flag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                line.extend([format!("--{name}"), value]);
            }
        };
        flag("name", args.name);
        flag("data-dir", args.data_dir.map(|dir| dir.display().to_string()));
        flag("cluster", args.cluster);
        flag("initial-cluster", args.initial_cluster.map(|members| members.join(",")));
        flag("listen-client", args.listen_client.map(|address| address.to_string()));
        flag("listen-peer", args.listen_peer.map(|address| address.to_string()));
        flag("listen-redis", args.listen_redis.map(|address| address.to_string()));
        flag("allow-cut", args.allow_cut.map(|allowed| allowed.to_string()));
        flag("cluster-key-file", args.cluster_key_file.map(|file| file.display().to_string()));
        flag("log-level", Some(args.log.log_level.unwrap_or_else(|| "warn".to_owned())));
        flag(
            "log-format",
            args.log.log_format.map(|format| match format {
                LogFormat::Human => "human".to_owned(),
                LogFormat::Json => "json".to_owned(),
            }),
        );
        line
    }
}

impl NodePlan {
    fn new(at: u16, base_port: u16, dir: &Path) -> Self {
        let name = format!("n{}", at + 1);
        let port = base_port + at * PORT_STEP;
        Self {
            etcd: SocketAddr::from(([127, 0, 0, 1], port)),
            peer: SocketAddr::from(([127, 0, 0, 1], port + 1)),
            redis: SocketAddr::from(([127, 0, 0, 1], port + redis_offset(base_port))),
            dir: dir.join(&name),
            name,
        }
    }
}

/// How far the port for clients of Redis lies above that of the etcd API.
const fn redis_offset(base_port: u16) -> u16 {
    // Some nodes further on there must be ports as well.
    if base_port < u16::MAX - REDIS_OFFSET - REDIS_ROOM { REDIS_OFFSET } else { 2 }
}

/// How many nodes a directory holds: n1, n2, … without a gap.
fn nodes_in(dir: &Path) -> u16 {
    (1..=u16::MAX).take_while(|number| dir.join(format!("n{number}/identity")).exists()).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_cli::config::Settings;
    use clap::Parser;

    fn args(line: &[&str]) -> DevArgs {
        let cli = althing_cli::Cli::parse_from(["althing", "dev"].iter().chain(line));
        let althing_cli::Command::Dev(args) = cli.command else { panic!("not dev") };
        args
    }

    #[test]
    fn three_nodes_stand_a_hundred_ports_apart() {
        let plan = Plan::new(&args(&["--dir", "/d"])).unwrap();
        let stands = plan.nodes.iter().map(|node| format!("{} {} {} {}", node.name, node.etcd, node.peer, node.redis));
        assert_eq!(
            stands.collect::<Vec<_>>(),
            [
                "n1 127.0.0.1:2379 127.0.0.1:2380 127.0.0.1:6379",
                "n2 127.0.0.1:2479 127.0.0.1:2480 127.0.0.1:6479",
                "n3 127.0.0.1:2579 127.0.0.1:2580 127.0.0.1:6579"
            ]
        );
    }

    #[test]
    fn the_printed_command_line_means_what_the_plan_means() {
        let plan = Plan::new(&args(&["--dir", "/d", "--log-format", "json"])).unwrap();
        let line = plan.command_line(&plan.nodes[1]);
        let cli = althing_cli::Cli::parse_from(std::iter::once("althing".to_owned()).chain(line));
        let althing_cli::Command::Server(parsed) = cli.command else { panic!("not server") };
        let planned = plan.server_args(&plan.nodes[1]);
        assert_eq!(Settings::resolve(*parsed).unwrap(), Settings::resolve(planned).unwrap());
    }

    #[test]
    fn the_secret_is_drawn_once_and_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("d").display().to_string();
        let plan = Plan::new(&args(&["--dir", &dir])).unwrap();
        plan.draw_key().unwrap();
        let key = || std::fs::read_to_string(plan.key_file()).unwrap();
        let drawn = key();
        plan.draw_key().unwrap();
        assert_eq!((drawn.trim().len(), key()), (64, drawn));
        assert_eq!(std::fs::metadata(plan.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_directory_with_another_number_of_nodes_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["n1", "n2", "n3"] {
            std::fs::create_dir(temp.path().join(name)).unwrap();
            std::fs::write(temp.path().join(name).join("identity"), "").unwrap();
        }
        let dir = temp.path().display().to_string();
        assert!(Plan::new(&args(&["--dir", &dir])).is_ok());
        let error = Plan::new(&args(&["--dir", &dir, "--nodes", "5"])).unwrap_err().to_string();
        assert!(error.contains("holds a cluster of 3 nodes; start it with --nodes 3"), "{error}");
    }

    #[test]
    fn ports_beyond_the_last_are_refused() {
        let error = Plan::new(&args(&["--base-port", "65500"])).unwrap_err().to_string();
        assert_eq!(error, "--base-port 65500: 3 nodes need ports up to 65702; choose one from 1 to 65333");
    }
}
