//! Clients of Redis of the plainest kind, and a cluster with a port for them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Cluster;

/// A convergent table that clients of Redis begin in.
const TABLE: &str = "apiVersion: althing/v1\nkind: Table\nmetadata:\n  name: carts\nspec:\n  guarantee: convergent\n  shards: 4\n  redisDb: 0\n";

/// What a server says: enough of RESP2 for these tests.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Said {
    Status(String),
    Error(String),
    Number(i64),
    Text(Option<String>),
    List(Vec<Self>),
}

pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub fn send(&mut self, words: &[&str]) -> std::io::Result<()> {
        let mut bytes = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| bytes.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        self.0.get_mut().write_all(bytes.as_bytes())
    }

    pub fn ask(&mut self, words: &[&str]) -> std::io::Result<Said> {
        self.send(words)?;
        self.read()
    }

    pub fn read(&mut self) -> std::io::Result<Said> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = (line.as_bytes()[0], line[1..].trim_end());
        let number = || rest.parse::<i64>().unwrap();
        Ok(match kind {
            b'+' => Said::Status(rest.to_owned()),
            b'-' => Said::Error(rest.to_owned()),
            b':' => Said::Number(number()),
            b'$' if number() < 0 => Said::Text(None),
            b'$' => {
                let mut text = vec![0; usize::try_from(number()).unwrap() + 2];
                self.0.read_exact(&mut text)?;
                text.truncate(text.len() - 2);
                Said::Text(Some(String::from_utf8(text).unwrap()))
            }
            b'*' => Said::List((0..number()).map(|_| self.read()).collect::<Result<_, _>>()?),
            other => panic!("no RESP2: {other}"),
        })
    }
}

/// Three nodes with a port for clients of Redis each, and a convergent table.
pub async fn cluster() -> (Cluster, Vec<String>) {
    cluster_with(TABLE).await
}

/// Three nodes with a port for clients of Redis each, and a table in database 0.
pub async fn cluster_with(table: &str) -> (Cluster, Vec<String>) {
    let mut cluster = Cluster::prepare(3);
    let ports: Vec<_> = (0..3).map(|_| format!("127.0.0.1:{}", super::free_port())).collect();
    for index in 0..3 {
        start(&mut cluster, &ports, index);
    }
    cluster.wait_until_serving().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), table).unwrap();
    let applied = Command::new(super::binary())
        .args(["apply", "--wait", "--endpoint", &cluster.nodes[0].client, "-f"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    for port in &ports {
        until_said(port, &["SET", "ready", "yes"], &Said::Status("OK".to_owned()));
    }
    (cluster, ports)
}

pub fn start(cluster: &mut Cluster, ports: &[String], index: usize) {
    let mut command = cluster.command(index);
    command.args(["--listen-redis", &ports[index]]);
    cluster.start_command(index, command);
}

/// Asks until the answer is as wanted.
pub fn until_said(port: &str, words: &[&str], wanted: &Said) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let said = Client::connect(port).and_then(|mut client| client.ask(words));
        if said.as_ref().is_ok_and(|said| said == wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{words:?} at {port}: {said:?} instead of {wanted:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
