//! `althing drain`, `cordon` and `uncordon`: whether a node gets replicas.

use althing_gateway_http::status::Reason;
use althing_manifest::{Kind, Node, Object, Schedule, condition};
use clap::Args;

use super::get::get_one;
use super::wait::{self, Stage, WaitArgs};
use super::words::many;
use crate::error::CliError;
use crate::objects::{Cluster, Effect};
use crate::remote::RemoteArgs;
use crate::screen::Screen;

/// Settings of `althing drain`.
#[derive(Clone, Debug, Args)]
pub struct DrainArgs {
    /// The nodes, by name.
    #[arg(value_name = "NODE", required = true)]
    pub nodes: Vec<String>,
    /// Whether to wait until no replica is left on them.
    #[command(flatten)]
    pub wait: WaitArgs,
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// Settings of `althing cordon` and `althing uncordon`.
#[derive(Clone, Debug, Args)]
pub struct NodesArgs {
    /// The nodes, by name.
    #[arg(value_name = "NODE", required = true)]
    pub nodes: Vec<String>,
    /// Where to ask.
    #[command(flatten)]
    pub remote: RemoteArgs,
}

/// How often a change is tried again when the object changed meanwhile: the control plane writes its status.
const ATTEMPTS: usize = 8;

/// Gives nodes no more replicas.
pub async fn cordon(args: &NodesArgs, cluster: &Cluster, screen: &mut Screen<'_>) -> Result<(), CliError> {
    set_all(&args.nodes, Schedule::Cordoned, "cordoned", cluster, screen).await
}

/// Gives nodes replicas again.
pub async fn uncordon(args: &NodesArgs, cluster: &Cluster, screen: &mut Screen<'_>) -> Result<(), CliError> {
    set_all(&args.nodes, Schedule::Active, "active", cluster, screen).await
}

/// Empties nodes.
pub async fn drain(args: &DrainArgs, cluster: &Cluster, screen: &mut Screen<'_>) -> Result<(), CliError> {
    set_all(&args.nodes, Schedule::Drain, "draining", cluster, screen).await?;
    for name in &args.nodes {
        if args.wait.wait {
            until_drained(name, args.wait, cluster, screen).await?;
            writeln!(screen.out, "node/{name} drained").map_err(CliError::failed)?;
        }
    }
    let names = args.nodes.join(" ");
    let next = match args.wait.wait {
        true => format!("it holds nothing any more: althing delete node {names}; then stop it"),
        false => format!("its replicas move to other nodes; althing drain --wait {names} shows how far it is"),
    };
    writeln!(screen.err, "{next}").map_err(CliError::failed)
}

async fn set_all(
    names: &[String],
    schedule: Schedule,
    word: &str,
    cluster: &Cluster,
    screen: &mut Screen<'_>,
) -> Result<(), CliError> {
    for name in names {
        let said = if set(name, schedule, cluster).await? { word.to_owned() } else { format!("{word} already") };
        writeln!(screen.out, "node/{name} {said}").map_err(CliError::failed)?;
    }
    Ok(())
}

/// Changes the schedule of a node and nothing else; whether that was a change.
async fn set(name: &str, schedule: Schedule, cluster: &Cluster) -> Result<bool, CliError> {
    for _ in 0..ATTEMPTS {
        let mut node = node(name, cluster).await?;
        if node.spec.schedule == schedule {
            return Ok(false);
        }
        node.spec.schedule = schedule;
        match cluster.replace(&Object::Node(node), Effect::Done).await {
            Ok(_) => return Ok(true),
            Err(refused) if refused.reason() == Some(Reason::Conflict) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    Err(CliError::failed(format!("node/{name} changed all the time; nothing was done: try again")))
}

async fn node(name: &str, cluster: &Cluster) -> Result<Node, CliError> {
    match get_one(cluster, Kind::Node, name).await? {
        Object::Node(node) => Ok(node),
        other => Err(CliError::failed(format!("{} is not a node", other.title()))),
    }
}

async fn until_drained(name: &str, args: WaitArgs, cluster: &Cluster, screen: &mut Screen<'_>) -> Result<(), CliError> {
    let mut most = 0;
    wait::until(&format!("node/{name}"), args, screen, async || {
        let node = node(name, cluster).await?;
        most = most.max(node.status.replicas);
        Ok(stage(&node, most))
    })
    .await
}

fn stage(node: &Node, most: u64) -> Stage {
    let drained = condition::get(&node.status.conditions, condition::DRAINED);
    if drained.is_some_and(|drained| drained.status == althing_manifest::Truth::True) {
        return Stage::Done;
    }
    let left = node.status.replicas;
    let why = drained.map(|drained| drained.message.as_str()).filter(|why| !why.is_empty());
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    Stage::Going {
        part: Some((most.saturating_sub(left), most)),
        words: format!("{} left{why}", many(left, "replica")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_manifest::{Condition, NodeSpec, Truth};
    use althing_types::NodeId;

    #[test]
    fn a_drain_says_what_is_left_and_why_it_does_not_go_on() {
        let mut node = Node::new("n4", NodeSpec::new(NodeId(4)));
        node.status.replicas = 3;
        let moving = Condition::new(condition::DRAINED, Truth::False, "NoRoom", "no other node is left");
        condition::set(&mut node.status.conditions, moving);
        let words = "3 replicas left: no other node is left".to_owned();
        assert_eq!(stage(&node, 12), Stage::Going { part: Some((9, 12)), words });
        condition::set(&mut node.status.conditions, Condition::new(condition::DRAINED, Truth::True, "Empty", ""));
        assert_eq!(stage(&node, 12), Stage::Done);
    }
}
