//! What the given settings mean together, checked.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use althing_manifest::node::{MAX_CAPACITY, USUAL_CAPACITY};
use althing_runtime::tls::TlsFiles;
use althing_runtime::transport::address::Address;
use althing_types::TableName;

use super::redis::RedisPort;
use super::secret::ClusterKey;
use super::{ConfigError, ServerArgs, invalid};

/// One member as it is configured.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MemberSetting {
    /// Its name.
    pub name: String,
    /// Where other nodes reach it.
    pub peer_url: String,
}

/// A port of one table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TablePort {
    /// The table.
    pub table: TableName,
    /// Where to listen for its clients.
    pub listen: SocketAddr,
}

/// What a node starts from, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The node's name.
    pub name: String,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// The cluster's name.
    pub cluster: String,
    /// The members that the cluster is born with, by name.
    pub members: Vec<MemberSetting>,
    /// Client endpoints of the running cluster to join; empty to found one.
    pub join: Vec<String>,
    /// What fails together with it; empty if nobody said.
    pub zone: String,
    /// How much it holds beside others when it joins, in hundredths of a usual node.
    pub capacity: u32,
    /// Where it listens for clients.
    pub listen_client: SocketAddr,
    /// Where it listens for clients of single tables.
    pub table_listen: Vec<TablePort>,
    /// Its port for clients of Redis, if it has one.
    pub redis: Option<RedisPort>,
    /// Where it listens for other nodes.
    pub listen_peer: SocketAddr,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// Where other nodes reach it.
    pub peer_url: String,
    /// TLS for clients.
    pub client_tls: Option<TlsFiles>,
    /// TLS between nodes.
    pub peer_tls: Option<TlsFiles>,
    /// The cluster's secret.
    pub cluster_key: ClusterKey,
    /// Where the membership may find any other node, as HOST:PORT.
    pub gossip_join: Vec<String>,
    /// Whether it may be cut off from other nodes on purpose.
    pub allow_cut: bool,
    /// What the quota of the default table should be, in bytes; `None` leaves it as it is.
    pub quota_bytes: Option<u64>,
    /// The least election timeout; the greatest is twice this.
    pub election_timeout: Duration,
    /// How long a watch that asked for progress is left without a word.
    pub watch_progress_interval: Duration,
    /// How long a graceful stop may take.
    pub stop_timeout: Duration,
    /// Whether the node stops when standard input ends.
    pub stop_with_stdin: bool,
}

/// The least election timeout unless told otherwise, in milliseconds (DESIGN: 150 to 300 ms on a LAN).
const DEFAULT_ELECTION_TIMEOUT_MS: u64 = 150;
/// How long a watch that asked for progress is left without a word unless told otherwise, in milliseconds (etcd's default).
const DEFAULT_WATCH_PROGRESS_INTERVAL_MS: u64 = 600_000;
/// How long a graceful stop may take unless told otherwise, in milliseconds.
const DEFAULT_STOP_TIMEOUT_MS: u64 = 5_000;

impl Settings {
    /// What the given settings mean, with all defaults.
    pub fn resolve(args: ServerArgs) -> Result<Self, ConfigError> {
        let name = args.name.clone().unwrap_or_else(|| "n1".into());
        check_name("name", &name)?;
        let cluster = args.cluster.clone().unwrap_or_else(|| "althing".into());
        check_name("cluster", &cluster)?;
        let listen_client = args.listen_client.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 2379)));
        let table_listen = table_ports(args.table_listen.as_deref().unwrap_or_default())?;
        let listen_peer = args.listen_peer.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 2380)));
        let client_tls =
            tls_files("client_tls_cert", &args.client_tls_cert, &args.client_tls_key, &args.client_tls_ca)?;
        let peer_tls = tls_files("peer_tls_cert", &args.peer_tls_cert, &args.peer_tls_key, &args.peer_tls_ca)?;
        if peer_tls.as_ref().is_some_and(|tls| tls.ca.is_none()) {
            return Err(invalid("peer_tls_ca", "is needed: nodes always prove themselves to each other"));
        }
        let is_insecure = args.insecure.unwrap_or(false);
        if !is_insecure {
            refuse_insecure("listen_client", listen_client, "client", client_tls.as_ref())?;
            for port in &table_listen {
                refuse_insecure("table_listen", port.listen, "client", client_tls.as_ref())?;
            }
            refuse_insecure("listen_peer", listen_peer, "peer", peer_tls.as_ref())?;
        }
        let client_urls = client_urls(args.advertise_client.clone(), listen_client, client_tls.is_some())?;
        let redis = RedisPort::resolve(&args, &client_urls)?;
        if let Some(port) = redis.as_ref().filter(|_| !is_insecure) {
            let tls = client_tls.as_ref().filter(|_| port.is_tls);
            refuse_insecure("listen_redis", port.listen, "client", tls)?;
        }
        let mut members = parse_members(args.initial_cluster.as_deref().unwrap_or_default())?;
        let peer_url = peer_url(&args, &name, &members, listen_peer, peer_tls.is_some())?;
        if members.is_empty() {
            members.push(MemberSetting { name: name.clone(), peer_url: peer_url.clone() });
        }
        Ok(Self {
            data_dir: args.data_dir.unwrap_or_else(|| format!("./{name}.althing").into()),
            join: args.join.unwrap_or_default(),
            zone: zone(args.zone)?,
            capacity: capacity(args.capacity)?,
            client_urls,
            cluster_key: ClusterKey::resolve(args.cluster_key, args.cluster_key_file)?,
            gossip_join: args.gossip_join.unwrap_or_default(),
            allow_cut: args.allow_cut.unwrap_or(false),
            quota_bytes: args.quota_bytes,
            election_timeout: election_timeout(args.election_timeout_ms)?,
            watch_progress_interval: watch_progress_interval(args.watch_progress_interval_ms)?,
            stop_timeout: Duration::from_millis(args.stop_timeout_ms.unwrap_or(DEFAULT_STOP_TIMEOUT_MS)),
            stop_with_stdin: args.stop_with_stdin,
            name,
            cluster,
            members,
            listen_client,
            table_listen,
            redis,
            listen_peer,
            peer_url,
            client_tls,
            peer_tls,
        })
    }
}

fn zone(given: Option<String>) -> Result<String, ConfigError> {
    match given.filter(|zone| !zone.is_empty()) {
        None => Ok(String::new()),
        Some(zone) => check_name("zone", &zone).map(|()| zone),
    }
}

fn capacity(given: Option<u32>) -> Result<u32, ConfigError> {
    match given.unwrap_or(USUAL_CAPACITY) {
        capacity @ 0..=MAX_CAPACITY => Ok(capacity),
        capacity => Err(invalid("capacity", format!("{capacity} is not between 0 and {MAX_CAPACITY}"))),
    }
}

/// Names stand in files, logs and metrics: one short word.
fn check_name(key: &'static str, name: &str) -> Result<(), ConfigError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_fine) {
        return Err(invalid(key, format!("{name:?} is not a name; use 1 to 64 letters, digits, '-', '_' or '.'")));
    }
    Ok(())
}

fn tls_files(
    key: &'static str,
    cert: &Option<PathBuf>,
    private_key: &Option<PathBuf>,
    ca: &Option<PathBuf>,
) -> Result<Option<TlsFiles>, ConfigError> {
    match (cert, private_key, ca) {
        (Some(cert), Some(private_key), ca) => {
            Ok(Some(TlsFiles { cert: cert.clone(), key: private_key.clone(), ca: ca.clone() }))
        }
        (None, None, None) => Ok(None),
        (Some(_), None, _) | (None, Some(_), _) | (None, None, Some(_)) => {
            Err(invalid(key, "a certificate and its key come together, and a CA only with both"))
        }
    }
}

fn refuse_insecure(
    key: &'static str,
    address: SocketAddr,
    prefix: &'static str,
    tls: Option<&TlsFiles>,
) -> Result<(), ConfigError> {
    if tls.is_none() && !address.ip().is_loopback() {
        return Err(ConfigError::Insecure { key, address, prefix });
    }
    Ok(())
}

/// Reads members as `NAME=URL`.
pub fn parse_members(texts: &[String]) -> Result<Vec<MemberSetting>, ConfigError> {
    let key = "initial_cluster";
    let mut members = Vec::new();
    for text in texts {
        let (name, url) = text
            .split_once('=')
            .ok_or_else(|| invalid(key, format!("{text:?} is not NAME=URL, such as n1=http://127.0.0.1:2380")))?;
        check_name(key, name)?;
        check_url(key, url)?;
        members.push(MemberSetting { name: name.to_owned(), peer_url: url.to_owned() });
    }
    members.sort();
    if let Some(pair) = members.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(invalid(key, format!("{:?} stands there twice", pair[0].name)));
    }
    Ok(members)
}

/// Reads ports of single tables as `TABLE=IP:PORT`.
fn table_ports(texts: &[String]) -> Result<Vec<TablePort>, ConfigError> {
    let key = "table_listen";
    let mut ports = Vec::new();
    for text in texts {
        let refused = || invalid(key, format!("{text:?} is not TABLE=IP:PORT, such as orders=127.0.0.1:2479"));
        let (table, listen) = text.split_once('=').ok_or_else(refused)?;
        let table = TableName::new(table).map_err(|bad| invalid(key, bad.to_string()))?;
        if table == TableName::META {
            return Err(invalid(key, "names table meta, which is the control plane's own: use `althing get`"));
        }
        ports.push(TablePort { table, listen: listen.parse().map_err(|_| refused())? });
    }
    ports.sort();
    Ok(ports)
}

fn check_url(key: &'static str, url: &str) -> Result<(), ConfigError> {
    let has_scheme = url.starts_with("http://") || url.starts_with("https://");
    match url.parse::<Address>() {
        Ok(_) if has_scheme => Ok(()),
        Ok(_) | Err(_) => {
            Err(invalid(key, format!("{url:?} is not a URL of the form http://HOST:PORT or https://HOST:PORT")))
        }
    }
}

fn url_of(key: &'static str, listen: SocketAddr, is_tls: bool) -> Result<String, ConfigError> {
    let unspecified = match listen.ip() {
        IpAddr::V4(ip) => ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    if unspecified {
        return Err(invalid(
            key,
            format!("is needed: {listen} says where to listen, not where others reach this node"),
        ));
    }
    Ok(format!("{}://{listen}", if is_tls { "https" } else { "http" }))
}

fn client_urls(given: Option<Vec<String>>, listen: SocketAddr, is_tls: bool) -> Result<Vec<String>, ConfigError> {
    let key = "advertise_client";
    match given {
        None => Ok(vec![url_of(key, listen, is_tls)?]),
        Some(urls) => {
            urls.iter().try_for_each(|url| check_url(key, url))?;
            Ok(urls)
        }
    }
}

fn peer_url(
    args: &ServerArgs,
    name: &str,
    members: &[MemberSetting],
    listen: SocketAddr,
    is_tls: bool,
) -> Result<String, ConfigError> {
    let mine = members.iter().find(|member| member.name == name);
    if mine.is_none() && !members.is_empty() {
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        return Err(invalid("initial_cluster", format!("this node, {name:?}, is not among {}", names.join(", "))));
    }
    match (&args.advertise_peer, mine) {
        (Some(url), Some(mine)) if *url != mine.peer_url => {
            Err(invalid("advertise_peer", format!("is {url}, but initial_cluster says {}", mine.peer_url)))
        }
        (Some(url), Some(_) | None) => check_url("advertise_peer", url).map(|()| url.clone()),
        (None, Some(mine)) => Ok(mine.peer_url.clone()),
        (None, None) => url_of("advertise_peer", listen, is_tls),
    }
}

fn election_timeout(ms: Option<u64>) -> Result<Duration, ConfigError> {
    let ms = ms.unwrap_or(DEFAULT_ELECTION_TIMEOUT_MS);
    if !(100..=60_000).contains(&ms) {
        return Err(invalid("election_timeout_ms", format!("{ms} is not between 100 and 60000")));
    }
    Ok(Duration::from_millis(ms))
}

fn watch_progress_interval(ms: Option<u64>) -> Result<Duration, ConfigError> {
    let ms = ms.unwrap_or(DEFAULT_WATCH_PROGRESS_INTERVAL_MS);
    if ms < 100 {
        return Err(invalid("watch_progress_interval_ms", format!("{ms} is less than 100")));
    }
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> ServerArgs {
        ServerArgs::default()
    }

    fn refused(args: ServerArgs) -> String {
        Settings::resolve(args).unwrap_err().to_string()
    }

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_table_has_a_port_of_its_own_where_the_settings_say_so() {
        let of = |texts: &[&str]| ServerArgs {
            table_listen: Some(texts.iter().map(|text| (*text).to_owned()).collect()),
            ..args()
        };
        let port = |table: &str, listen: &str| TablePort {
            table: TableName::new(table).unwrap(),
            listen: listen.parse().unwrap(),
        };
        let settings = Settings::resolve(of(&["orders=127.0.0.1:2479", "a=[::1]:1"])).unwrap();
        assert_eq!(settings.table_listen, [port("a", "[::1]:1"), port("orders", "127.0.0.1:2479")]);
        assert_eq!(
            refused(of(&["orders"])),
            "`table_listen`: \"orders\" is not TABLE=IP:PORT, such as orders=127.0.0.1:2479"
        );
        assert!(refused(of(&["Orders=127.0.0.1:1"])).contains("no name of a table"));
        assert!(refused(of(&["meta=127.0.0.1:1"])).contains("the control plane's own"));
        assert!(refused(of(&["orders=10.0.0.1:1"])).contains("which is not loopback, and there is no TLS"));
    }

    #[test]
    fn without_any_setting_one_node_stands_alone_on_loopback() {
        let settings = Settings::resolve(args()).unwrap();
        assert_eq!(settings.client_urls, ["http://127.0.0.1:2379"]);
        assert_eq!(settings.peer_url, "http://127.0.0.1:2380");
        assert_eq!(settings.data_dir, PathBuf::from("./n1.althing"));
        let alone = MemberSetting { name: "n1".into(), peer_url: settings.peer_url };
        assert_eq!(settings.members, [alone]);
    }

    #[test]
    fn off_loopback_there_must_be_tls_or_the_word_insecure() {
        let open = ServerArgs { listen_client: address("10.0.0.1:2379"), ..args() };
        assert_eq!(
            refused(open.clone()),
            "`listen_client` is 10.0.0.1:2379, which is not loopback, and there is no TLS: set client_tls_cert and \
             client_tls_key, or `insecure` (--insecure) if the network itself is trusted"
        );
        assert!(Settings::resolve(ServerArgs { insecure: Some(true), ..open }).is_ok());
        let peer = ServerArgs { listen_peer: address("0.0.0.0:2380"), ..args() };
        assert!(refused(peer).contains("set peer_tls_cert and peer_tls_key"));
    }

    #[test]
    fn a_node_must_be_among_its_members() {
        let cluster = |members: &[&str]| ServerArgs {
            initial_cluster: Some(members.iter().map(|member| (*member).to_owned()).collect()),
            ..args()
        };
        assert_eq!(
            refused(cluster(&["a=http://h:1", "b=http://h:2"])),
            "`initial_cluster`: this node, \"n1\", is not among a, b"
        );
        assert_eq!(
            refused(cluster(&["n1=http://h:1", "n1=http://h:2"])),
            "`initial_cluster`: \"n1\" stands there twice"
        );
        assert_eq!(
            refused(cluster(&["http://h:1"])),
            "`initial_cluster`: \"http://h:1\" is not NAME=URL, such as n1=http://127.0.0.1:2380"
        );
        assert!(refused(cluster(&["n1=h:1"])).contains("\"h:1\" is not a URL of the form http://HOST:PORT"));
        let settings = Settings::resolve(cluster(&["n2=http://h:2", "n1=http://h:1"])).unwrap();
        assert_eq!((settings.peer_url.as_str(), settings.members[0].name.as_str()), ("http://h:1", "n1"));
    }

    #[test]
    fn an_address_for_all_interfaces_is_no_address_to_advertise() {
        let all = ServerArgs { listen_client: address("0.0.0.0:2379"), insecure: Some(true), ..args() };
        assert_eq!(
            refused(all),
            "`advertise_client`: is needed: 0.0.0.0:2379 says where to listen, not where others reach this node"
        );
    }

    #[test]
    fn tls_comes_whole() {
        let half = ServerArgs { client_tls_cert: Some("c.pem".into()), ..args() };
        assert_eq!(
            refused(half),
            "`client_tls_cert`: a certificate and its key come together, and a CA only with both"
        );
        let peer = ServerArgs { peer_tls_cert: Some("c.pem".into()), peer_tls_key: Some("k.pem".into()), ..args() };
        assert_eq!(refused(peer), "`peer_tls_ca`: is needed: nodes always prove themselves to each other");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let fast = ServerArgs { election_timeout_ms: Some(5), ..args() };
        assert_eq!(refused(fast), "`election_timeout_ms`: 5 is not between 100 and 60000");
        let talkative = ServerArgs { watch_progress_interval_ms: Some(99), ..args() };
        assert_eq!(refused(talkative), "`watch_progress_interval_ms`: 99 is less than 100");
        let huge = ServerArgs { capacity: Some(10_001), ..args() };
        assert_eq!(refused(huge), "`capacity`: 10001 is not between 0 and 10000");
        let zoned = ServerArgs { zone: Some("rack 1".into()), ..args() };
        assert_eq!(refused(zoned), "`zone`: \"rack 1\" is not a name; use 1 to 64 letters, digits, '-', '_' or '.'");
        let named = ServerArgs { name: Some("a b".into()), ..args() };
        assert_eq!(refused(named), "`name`: \"a b\" is not a name; use 1 to 64 letters, digits, '-', '_' or '.'");
    }
}
