//! What `dev` prints once the cluster serves.

use std::io::{self, IsTerminal, Write};

use althing_cli::CliError;
use serde_json::json;

use super::plan::{NodePlan, Plan};

/// A node and the process that it runs in.
pub type Process<'a> = (&'a NodePlan, u32);

/// Prints where everything stands: one line of JSON, or words and lines to copy.
pub fn ready(plan: &Plan, processes: &[Process<'_>]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let text = if plan.json { machine(processes) } else { people(plan, processes, out.is_terminal()) };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CliError::failed)
}

fn machine(processes: &[Process<'_>]) -> String {
    let node = |(node, pid): &Process<'_>| {
        json!({
            "name": node.name,
            "pid": pid,
            "etcd": node.etcd.to_string(),
            "peer": node.peer.to_string(),
            "redis": node.redis.to_string(),
            "dir": node.dir.display().to_string(),
        })
    };
    format!("{}\n", json!({ "nodes": processes.iter().map(node).collect::<Vec<_>>() }))
}

fn people(plan: &Plan, processes: &[Process<'_>], is_terminal: bool) -> String {
    let (bold, plain) = if is_terminal { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    let endpoints: Vec<_> = plan.nodes.iter().map(|node| node.etcd.to_string()).collect();
    let first = &plan.nodes[0].etcd;
    let mut text = format!("{bold}Althing serves{plain}, data in {}\n\n", plan.dir.display());
    for (node, pid) in processes {
        text.push_str(&format!(
            "  {}  etcd {}  redis {}  peer {}  pid {pid}\n",
            node.name, node.etcd, node.redis, node.peer
        ));
    }
    text.push_str(&format!(
        "\n{bold}etcdctl{plain}\n  \
           export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={endpoints}\n  \
           etcdctl put greeting hello\n  \
           etcdctl get greeting\n  \
           etcdctl watch --prefix gree\n\
         \n{bold}curl{plain}\n  \
           curl -s http://{first}/v3/kv/put -d '{{\"key\":\"Z3JlZXRpbmc=\",\"value\":\"aGVsbG8=\"}}'\n  \
           curl -s http://{first}/v3/kv/range -d '{{\"key\":\"Z3JlZXRpbmc=\"}}'\n  \
           curl -s http://{first}/metrics\n\
         \n{bold}python{plain}  (pip install etcd3gw)\n  \
           python3 -c \"import etcd3gw; c = etcd3gw.client(host='{host}', port={port}, api_path='/v3/'); \
           c.put('greeting', 'hello'); print(c.get('greeting'))\"\n\
         \n{bold}althing{plain}\n  \
           althing status --endpoints {endpoints}\n\
         \nCtrl-C stops it; the same command finds the data again.\n",
        endpoints = endpoints.join(","),
        host = first.ip(),
        port = first.port(),
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn node() -> NodePlan {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        NodePlan {
            name: "n1".into(),
            etcd: address(2379),
            peer: address(2380),
            redis: address(6379),
            dir: "/d/n1".into(),
        }
    }

    #[test]
    fn json_is_one_line_that_names_every_node() {
        assert_eq!(
            machine(&[(&node(), 7)]),
            "{\"nodes\":[{\"dir\":\"/d/n1\",\"etcd\":\"127.0.0.1:2379\",\"name\":\"n1\",\"peer\":\"127.0.0.1:2380\",\"pid\":7,\"redis\":\"127.0.0.1:6379\"}]}\n"
        );
    }

    #[test]
    fn words_are_plain_when_nobody_sees_colours() {
        let plan = Plan { nodes: vec![node()], dir: "/d".into(), json: false, log: Default::default() };
        let node = node();
        let text = people(&plan, &[(&node, 7)], false);
        assert!(!text.contains('\x1b'));
        assert!(text.contains("  n1  etcd 127.0.0.1:2379  redis 127.0.0.1:6379  peer 127.0.0.1:2380  pid 7\n"));
        assert!(text.contains("ETCDCTL_ENDPOINTS=127.0.0.1:2379\n"));
        assert!(people(&plan, &[(&node, 7)], true).contains("\x1b[1metcdctl\x1b[0m"));
    }
}
