//! What clients of Redis see of several nodes: which there are, messages from one to another, pops that wait; and who may come in.

#![allow(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Cluster;
use common::redis::{Client, Said, cluster, start};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn text(text: &str) -> Said {
    Said::Text(Some(text.to_owned()))
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The ports that a node shows, and from which slot to which each has.
fn slots(port: &str) -> Vec<(i64, i64, i64)> {
    let Ok(Said::List(shares)) = Client::connect(port).and_then(|mut client| client.ask(&["CLUSTER", "SLOTS"])) else {
        return Vec::new();
    };
    let share = |share: &Said| match share {
        Said::List(parts) => match (&parts[0], &parts[1], &parts[2]) {
            (Said::Number(from), Said::Number(to), Said::List(node)) => match &node[1] {
                Said::Number(port) => (*from, *to, *port),
                other => panic!("no port: {other:?}"),
            },
            other => panic!("no share: {other:?}"),
        },
        other => panic!("no share: {other:?}"),
    };
    shares.iter().map(share).collect()
}

fn ports_of(slots: &[(i64, i64, i64)]) -> Vec<i64> {
    let mut ports: Vec<_> = slots.iter().map(|(_, _, port)| *port).collect();
    ports.sort_unstable();
    ports
}

fn numbers(ports: &[String]) -> Vec<i64> {
    let mut numbers: Vec<i64> = ports.iter().map(|port| port.rsplit_once(':').unwrap().1.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_see_all_nodes_that_live_and_hear_what_is_said_on_any() {
    let (mut cluster, ports) = cluster().await;
    until("every node shows all three", || ports.iter().all(|port| ports_of(&slots(port)) == numbers(&ports)));
    let shown = slots(&ports[0]);
    assert!(ports.iter().all(|port| slots(port) == shown), "all say the same");
    assert_eq!((shown[0].0, shown[2].1), (0, 16_383));
    assert!(shown.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "no slot is left out: {shown:?}");

    // What n1 says is heard on n3, by channel, by pattern and by shard.
    let mut listener = Client::connect(&ports[2]).unwrap();
    for (verb, name) in [("SUBSCRIBE", "news"), ("PSUBSCRIBE", "n*"), ("SSUBSCRIBE", "news")] {
        assert!(matches!(listener.ask(&[verb, name]).unwrap(), Said::List(_)), "{verb}");
    }
    let mut speaker = Client::connect(&ports[0]).unwrap();
    assert_eq!(speaker.ask(&["PUBLISH", "news", "hello"]).unwrap(), Said::Number(0), "nobody listens on n1");
    assert_eq!(listener.read().unwrap(), Said::List(vec![text("message"), text("news"), text("hello")]));
    let by_pattern = vec![text("pmessage"), text("n*"), text("news"), text("hello")];
    assert_eq!(listener.read().unwrap(), Said::List(by_pattern));
    speaker.ask(&["SPUBLISH", "news", "shard"]).unwrap();
    assert_eq!(listener.read().unwrap(), Said::List(vec![text("smessage"), text("news"), text("shard")]));
    // In their order.
    for number in 0..200 {
        speaker.ask(&["PUBLISH", "n", &number.to_string()]).unwrap();
    }
    for number in 0..200 {
        let said = vec![text("pmessage"), text("n*"), text("n"), text(&number.to_string())];
        assert_eq!(listener.read().unwrap(), Said::List(said));
    }

    // A node that is gone has no slots, and gets them again when it is back.
    cluster.kill(2);
    until("n1 and n2 have all slots", || ports[..2].iter().all(|port| ports_of(&slots(port)) == numbers(&ports[..2])));
    let Said::Text(Some(nodes)) = speaker.ask(&["CLUSTER", "NODES"]).unwrap() else { panic!("no text") };
    let lost: Vec<_> = nodes.lines().filter(|line| line.contains("master,fail")).collect();
    assert_eq!((nodes.lines().count(), lost.len()), (3, 1), "{nodes}");
    assert!(lost[0].contains(&ports[2]) && lost[0].ends_with("disconnected"), "{nodes}");
    start(&mut cluster, &ports, 2);
    until("all three have slots again", || ports.iter().all(|port| ports_of(&slots(port)) == numbers(&ports)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pop_that_waits_on_one_node_gets_what_is_added_on_another() {
    let (_cluster, ports) = cluster().await;
    let (waiting, adding) = (ports[2].clone(), ports[0].clone());
    let popped = std::thread::spawn(move || Client::connect(&waiting)?.ask(&["BZPOPMIN", "none", "jobs", "10"]));
    until("it waits", || {
        let said = Client::connect(&ports[2]).and_then(|mut client| client.ask(&["INFO", "clients"]));
        matches!(said, Ok(Said::Text(Some(info))) if info.contains("blocked_clients:1"))
    });
    Client::connect(&adding).unwrap().ask(&["ZADD", "jobs", "7", "job"]).unwrap();
    assert_eq!(popped.join().unwrap().unwrap(), Said::List(vec![text("jobs"), text("job"), text("7")]));
    assert_eq!(Client::connect(&adding).unwrap().ask(&["ZCARD", "jobs"]).unwrap(), Said::Number(0));
    // Whoever goes away while it waits takes nothing with it.
    let mut gone = Client::connect(&ports[1]).unwrap();
    gone.send(&["BZPOPMIN", "later", "0"]).unwrap();
    let blocked = |count: &str| {
        let said = Client::connect(&ports[1]).and_then(|mut client| client.ask(&["INFO", "clients"]));
        matches!(said, Ok(Said::Text(Some(info))) if info.contains(count))
    };
    until("it waits", || blocked("blocked_clients:1"));
    drop(gone);
    until("it is gone", || blocked("blocked_clients:0"));
    let mut client = Client::connect(&ports[1]).unwrap();
    client.ask(&["ZADD", "later", "1", "kept"]).unwrap();
    assert_eq!(client.ask(&["ZCARD", "later"]).unwrap(), Said::Number(1));
}

/// An authority's certificate, and a certificate for loopback with its key, as files.
fn certificates(dir: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let files = (dir.join("ca.pem"), dir.join("node.pem"), dir.join("node.key"));
    fs::write(&files.0, issuer.pem()).unwrap();
    fs::write(&files.1, certificate.pem()).unwrap();
    fs::write(&files.2, key.serialize_pem()).unwrap();
    files
}

/// Says lines over TLS, and gives the first line of each answer.
async fn said_over_tls(port: &str, ca: &Path, lines: &[&str]) -> std::io::Result<Vec<String>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(port).await?).await?;
    let (mut stream, mut answers) = (BufReader::new(stream), Vec::new());
    for line in lines {
        stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        stream.flush().await?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await?;
        answers.push(answer.trim_end().to_owned());
    }
    Ok(answers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_passwords_and_tls_only_those_who_are_known_come_in() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, cert, key) = certificates(dir.path());
    let (users, password) = (dir.path().join("users"), dir.path().join("password"));
    fs::write(&users, "ann correcthorse\nbob batterystaple default\neve eavesdropping carts\n").unwrap();
    fs::write(&password, "longenough\n").unwrap();
    let mut cluster = Cluster::prepare(1);
    let port = format!("127.0.0.1:{}", common::free_port());
    let mut command = cluster.command(0);
    command.args(["--listen-redis", &port]).arg("--client-tls-cert").arg(&cert).arg("--client-tls-key").arg(&key);
    command.arg("--redis-users-file").arg(&users).arg("--redis-password-file").arg(&password);
    cluster.start_command(0, command);
    let deadline = Instant::now() + PATIENCE;
    while said_over_tls(&port, &ca, &["PING"]).await.is_err() {
        assert!(Instant::now() < deadline, "{}", cluster.said(0));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lines =
        ["PING", "AUTH wrongwrong", "AUTH ann batterystaple", "AUTH nobody correcthorse", "AUTH ann correcthorse"];
    let said = said_over_tls(&port, &ca, &lines).await.unwrap();
    assert_eq!(said[0], "-NOAUTH Authentication required.");
    for wrong in &said[1..4] {
        assert_eq!(wrong, "-WRONGPASS invalid username-password pair or user is disabled.");
    }
    assert_eq!(said[4], "+OK");
    let said = said_over_tls(&port, &ca, &["AUTH longenough", "PING", "AUTH eve eavesdropping"]).await.unwrap();
    assert_eq!(said[..2], ["+OK", "+PONG"]);
    assert_eq!(said[2], "-NOPERM this user has no permissions to access the table default");
    let said = said_over_tls(&port, &ca, &["AUTH bob@none wrong", "AUTH bob@none batterystaple"]).await.unwrap();
    assert_eq!(said[0], "-WRONGPASS invalid username-password pair or user is disabled.");
    assert_eq!(said[1], "-ERR there is no table none that serves Redis");
    let plain = Client::connect(&port).and_then(|mut client| client.ask(&["PING"]));
    assert!(plain.is_err(), "nothing is said without TLS: {plain:?}");
    assert!(!cluster.said(0).contains("correcthorse"), "a password stands in the log");
}
