//! How a node with a new directory finds its place in a cluster that runs.

use std::collections::BTreeMap;

use althing_api::cluster::Member;
use althing_cli::CliError;
use althing_cli::config::Settings;
use althing_cli::objects::{Cluster, Effect};
use althing_cli::remote::RemoteArgs;
use althing_manifest::{Kind, Liveness, Node, NodeSpec, Object};
use althing_runtime::directory::{Birth, random};
use althing_types::{ClusterId, NodeId};

/// Who a node is in its cluster, and who else is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// How it came to it.
    pub birth: Birth,
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// All nodes, this one among them.
    pub members: Vec<Member>,
}

/// Asks a running cluster: the node comes as the member that was added with its peer URL, or registers itself.
pub async fn ask(settings: &Settings) -> Result<Place, CliError> {
    let remote = RemoteArgs {
        endpoints: settings.join.clone(),
        cacert: settings.client_tls.as_ref().and_then(|tls| tls.ca.clone()),
        cert: settings.client_tls.as_ref().map(|tls| tls.cert.clone()),
        key: settings.client_tls.as_ref().map(|tls| tls.key.clone()),
        timeout_ms: 5_000,
        ..RemoteArgs::default()
    };
    let list = remote.members().await?;
    let cluster = ClusterId(list.header.map_or(0, |header| header.cluster_id));
    let members: Vec<_> = list
        .members
        .into_iter()
        .map(|member| Member {
            id: NodeId(member.id),
            name: member.name,
            peer_urls: member.peer_ur_ls,
            client_urls: member.client_ur_ls,
            is_learner: member.is_learner,
        })
        .collect();
    match members.iter().find(|member| member.peer_urls.contains(&settings.peer_url)) {
        Some(mine) => Ok(Place { birth: Birth::Joined, cluster, node: mine.id, members: members.clone() }),
        None => {
            let (cluster, node, members) = register_node(settings, remote, members).await?;
            Ok(Place { birth: Birth::Registered, cluster, node, members })
        }
    }
}

/// Makes the node's object in the cluster. It has no replica yet: the control plane gives it some once it is heard of.
async fn register_node(
    settings: &Settings,
    remote: RemoteArgs,
    members: Vec<Member>,
) -> Result<(ClusterId, NodeId, Vec<Member>), CliError> {
    let objects = Cluster::connect(remote).await?;
    let id = objects.id().await?;
    let cluster = u64::from_str_radix(&id, 16).map(ClusterId);
    let cluster = cluster.map_err(|_| CliError::failed(format!("the cluster names no id of its own ({id:?})")))?;
    let nodes = objects.list(Kind::Node, None).await?.items;
    let mine = match existing(settings, &nodes)? {
        Some(node) => node.clone(),
        None => match objects.create(&Object::Node(new_node(settings)), Effect::Done).await? {
            Object::Node(node) => node,
            other => return Err(CliError::failed(format!("the cluster made {} of this node", other.title()))),
        },
    };
    tracing::info!(node = %mine.spec.id, %cluster, "registered with the cluster");
    let mut all: BTreeMap<NodeId, Member> = members.into_iter().map(|member| (member.id, member)).collect();
    for node in nodes.iter().filter_map(as_node).chain([&mine]) {
        all.entry(node.spec.id).or_insert_with(|| member_of(node));
    }
    Ok((cluster, mine.spec.id, all.into_values().collect()))
}

fn as_node(object: &Object) -> Option<&Node> {
    match object {
        Object::Node(node) => Some(node),
        Object::Cluster(_) | Object::Table(_) | Object::Shard(_) => None,
    }
}

fn member_of(node: &Node) -> Member {
    Member {
        id: node.spec.id,
        name: node.name().to_owned(),
        peer_urls: node.spec.peer_urls.clone(),
        client_urls: node.spec.client_urls.clone(),
        is_learner: false,
    }
}

fn new_node(settings: &Settings) -> Node {
    let spec = NodeSpec {
        peer_urls: vec![settings.peer_url.clone()],
        client_urls: settings.client_urls.clone(),
        zone: settings.zone.clone(),
        capacity: settings.capacity,
        // Zero is nobody.
        ..NodeSpec::new(NodeId(random().max(1)))
    };
    Node::new(&settings.name, spec)
}

/// The node's own object, if it is there from an earlier try that ended before the directory was founded: the same name and
/// address, and never heard of. Any other of this name is another node, or was this one with a directory that is lost.
fn existing<'a>(settings: &Settings, nodes: &'a [Object]) -> Result<Option<&'a Node>, CliError> {
    let Some(node) = nodes.iter().filter_map(as_node).find(|node| node.name() == settings.name) else {
        return Ok(None);
    };
    let is_own = node.spec.peer_urls.contains(&settings.peer_url);
    match (is_own, node.status.liveness) {
        (true, Liveness::Unknown) if node.status.replicas == 0 => Ok(Some(node)),
        (true | false, _) => Err(CliError::usage(format!(
            "the cluster has a node {name} already, at {at}; choose another --name, or, if that node is lost, first: \
             althing drain --wait {name}, then althing delete node {name}",
            name = settings.name,
            at = node.spec.peer_urls.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use althing_cli::config::ServerArgs;

    fn settings() -> Settings {
        let args = ServerArgs {
            name: Some("n4".into()),
            zone: Some("b".into()),
            capacity: Some(200),
            join: Some(vec!["127.0.0.1:1".into()]),
            ..ServerArgs::default()
        };
        Settings::resolve(args).unwrap()
    }

    #[test]
    fn a_new_node_says_where_it_is_and_what_it_holds() {
        let node = new_node(&settings());
        assert_eq!((node.name(), node.spec.zone.as_str(), node.spec.capacity), ("n4", "b", 200));
        assert_eq!(node.spec.peer_urls, ["http://127.0.0.1:2380"]);
        assert_ne!(node.spec.id, NodeId::NONE);
        assert_ne!(node.spec.id, new_node(&settings()).spec.id);
        assert!(Object::Node(node).validate().is_empty());
    }

    #[test]
    fn an_object_of_an_earlier_try_is_taken_and_another_nodes_is_not() {
        let settings = settings();
        let mut node = new_node(&settings);
        assert_eq!(existing(&settings, &[Object::Node(node.clone())]).unwrap(), Some(&node));
        assert_eq!(existing(&settings, &[]).unwrap(), None);
        node.status.liveness = Liveness::Silent;
        let said = existing(&settings, &[Object::Node(node.clone())]).unwrap_err().to_string();
        assert!(
            said.starts_with("the cluster has a node n4 already, at http://127.0.0.1:2380; choose another --name"),
            "{said}"
        );
        (node.status.liveness, node.spec.peer_urls) = (Liveness::Unknown, vec!["http://h:1".into()]);
        assert!(existing(&settings, &[Object::Node(node)]).is_err());
    }
}
