//! TLS for clients and, mutual, between nodes: whoever cannot prove who he is stays outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use althing_etcd_proto::etcdserverpb::kv_client::KvClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::common::{self, Cluster};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority(dir: &Path, name: &str) -> (Issuer, PathBuf) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let file = dir.join(format!("{name}.pem"));
    fs::write(&file, issuer.pem()).unwrap();
    (issuer, file)
}

/// A certificate for loopback, good for a server and for a client: the files of the chain and of its key.
fn certificate(dir: &Path, name: &str, issuer: &Issuer) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.signed_by(&key, issuer).unwrap();
    let files = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    fs::write(&files.0, certificate.pem()).unwrap();
    fs::write(&files.1, key.serialize_pem()).unwrap();
    files
}

fn channel(address: &str, ca: &Path, identity: Option<&(PathBuf, PathBuf)>) -> Channel {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(ca).unwrap()));
    if let Some((cert, key)) = identity {
        tls = tls.identity(Identity::from_pem(fs::read(cert).unwrap(), fs::read(key).unwrap()));
    }
    Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap().connect_lazy()
}

/// Puts until one succeeds.
async fn put_within(channel: Channel, key: &str, within: Duration) -> bool {
    let mut client = KvClient::new(channel);
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        if common::put(&mut client, key, "value").await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

fn flags(side: &str, ca: &Path, (cert, key): &(PathBuf, PathBuf)) -> Vec<String> {
    let flag = |what: &str, file: &Path| [format!("--{side}-tls-{what}"), file.display().to_string()];
    [flag("cert", cert), flag("key", key), flag("ca", ca)].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_only_those_with_a_certificate_of_the_right_authority_get_in() {
    let dir = tempfile::tempdir().unwrap();
    let ((issuer, ca), (stranger, strange_ca)) = (authority(dir.path(), "ca"), authority(dir.path(), "stranger-ca"));
    let node = certificate(dir.path(), "node", &issuer);
    let client = certificate(dir.path(), "client", &issuer);
    let impostor = certificate(dir.path(), "impostor", &stranger);

    let mut cluster = Cluster::prepare(3);
    cluster.scheme = "https";
    cluster.more_args = [flags("client", &ca, &node), flags("peer", &ca, &node)].concat();
    cluster.start_node(0);
    cluster.start_node(1);
    let address = cluster.nodes[0].client.clone();
    assert!(put_within(channel(&address, &ca, Some(&client)), "inside", Duration::from_secs(20)).await);
    let shown = |file: &Path| file.display().to_string();
    let (authority, cert, key) = (shown(&ca), shown(&client.0), shown(&client.1));
    let args = ["status", "--endpoints", &address, "--cacert", &authority, "--cert", &cert, "--key", &key];
    let status = || std::process::Command::new(common::binary()).args(args).output().unwrap();
    // A node is listed with its address once it has published it.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !String::from_utf8_lossy(&status().stdout).contains("leader") {
        assert!(Instant::now() < deadline, "{:?}", status());
    }

    let short = Duration::from_millis(500);
    assert!(!put_within(channel(&address, &ca, None), "anonymous", short).await);
    assert!(!put_within(channel(&address, &ca, Some(&impostor)), "impostor", short).await);
    assert!(!put_within(channel(&address, &strange_ca, Some(&client)), "deceived", short).await);
    assert!(!put_within(common::channel(&address), "plain", short).await);

    // A third node that only says that it is one: it is in the configuration, but cannot prove itself.
    cluster.more_args = [flags("client", &ca, &node), flags("peer", &strange_ca, &impostor)].concat();
    cluster.start_node(2);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let outside = cluster.nodes[2].client.clone();
    assert!(!put_within(channel(&outside, &ca, Some(&client)), "outside", short).await);
    assert!(cluster.said(2).contains("invalid peer certificate"), "{}", cluster.said(2));
    assert!(put_within(channel(&address, &ca, Some(&client)), "still", Duration::from_secs(20)).await);

    // With a certificate of the right authority the same node is one of them.
    assert_eq!(cluster.stop(2), Some(0));
    cluster.more_args = [flags("client", &ca, &node), flags("peer", &ca, &node)].concat();
    cluster.start_node(2);
    assert!(put_within(channel(&outside, &ca, Some(&client)), "inside", Duration::from_secs(20)).await);
}
