//! The port for clients of Redis, and who may use it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use althing_runtime::transport::address::Address;
use althing_types::TableName;

use super::{ConfigError, Secret, ServerArgs, invalid};

/// The shortest password that is taken, in bytes: clients may guess some ten thousand a second.
const MIN_PASSWORD_BYTES: usize = 8;
/// The user that clients are who give no name.
const DEFAULT_USER: &str = "default";
/// Bytes of a user's name, which stands in lists and logs.
const MAX_USER_BYTES: usize = 64;

/// The port, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedisPort {
    /// Where the node listens.
    pub listen: SocketAddr,
    /// Where clients reach it.
    pub address: Address,
    /// Whether they speak TLS, with the certificate for clients.
    pub is_tls: bool,
    /// Who may use it.
    pub users: RedisUsers,
}

/// Where users come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RedisUsers {
    password: Option<Secret>,
    password_file: Option<PathBuf>,
    users_file: Option<PathBuf>,
}

/// One user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedisUser {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: Secret,
    /// The tables that it may use; `None` for all.
    pub tables: Option<BTreeSet<TableName>>,
}

impl RedisPort {
    /// What the settings mean together; `None` if the node does not listen for clients of Redis.
    pub(super) fn resolve(args: &ServerArgs, client_urls: &[String]) -> Result<Option<Self>, ConfigError> {
        let has_certificate = args.client_tls_cert.is_some();
        let is_tls = args.redis_tls.unwrap_or(has_certificate);
        if is_tls && !has_certificate {
            return Err(invalid("redis_tls", "needs client_tls_cert and client_tls_key"));
        }
        let password = args.redis_password.clone();
        let (password_file, users_file) = (args.redis_password_file.clone(), args.redis_users_file.clone());
        match (&password, &password_file) {
            (Some(_), Some(_)) => {
                return Err(invalid("redis_password_file", "is given beside redis_password; keep one of the two"));
            }
            (Some(secret), None) => check("redis_password", secret.bytes())?,
            (None, _) => {}
        }
        let Some(listen) = args.listen_redis else { return Ok(None) };
        let address = address(args.advertise_redis.as_deref(), listen, client_urls)?;
        Ok(Some(Self { listen, address, is_tls, users: RedisUsers { password, password_file, users_file } }))
    }
}

fn address(given: Option<&str>, listen: SocketAddr, client_urls: &[String]) -> Result<Address, ConfigError> {
    if let Some(text) = given {
        return text.parse().map_err(|_| invalid("advertise_redis", format!("{text:?} is not HOST:PORT")));
    }
    let (ip, port): (IpAddr, u16) = (listen.ip(), listen.port());
    if !ip.is_unspecified() {
        return Ok(Address { host: ip.to_string(), port });
    }
    // The URLs were checked; there is always one.
    let host = client_urls.iter().find_map(|url| url.parse::<Address>().ok()).map(|address| address.host);
    host.map(|host| Address { host, port }).ok_or_else(|| {
        invalid(
            "advertise_redis",
            format!("is needed: {listen} says where to listen, not where clients reach this node"),
        )
    })
}

impl RedisUsers {
    /// Whether nobody is asked for a password.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.password.is_none() && self.password_file.is_none() && self.users_file.is_none()
    }

    /// All users; reads the files.
    ///
    /// # Errors
    /// If a file cannot be read, or holds what is no user.
    pub fn read(&self) -> Result<Vec<RedisUser>, ConfigError> {
        let mut users = match &self.users_file {
            None => Vec::new(),
            Some(file) => parse(&text("redis_users_file", file)?)?,
        };
        let of_file = self.password_file.as_ref().map(|file| {
            let text = text("redis_password_file", file)?;
            check("redis_password_file", text.trim().as_bytes())?;
            Ok(Secret::from(text.trim().to_owned()))
        });
        if let Some(password) = of_file.transpose()?.or_else(|| self.password.clone()) {
            if users.iter().any(|user| user.name == DEFAULT_USER) {
                return Err(invalid("redis_users_file", "has the user default, whose password is given beside it"));
            }
            users.push(RedisUser { name: DEFAULT_USER.to_owned(), password, tables: None });
        }
        Ok(users)
    }
}

fn check(key: &'static str, password: &[u8]) -> Result<(), ConfigError> {
    if password.len() < MIN_PASSWORD_BYTES {
        let detail = format!("has a password of {} bytes; give it {MIN_PASSWORD_BYTES} or more", password.len());
        return Err(invalid(key, detail));
    }
    Ok(())
}

fn text(key: &'static str, file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|error| invalid(key, format!("cannot read {}: {error}", file.display())))
}

/// Reads a file of users.
fn parse(text: &str) -> Result<Vec<RedisUser>, ConfigError> {
    let key = "redis_users_file";
    let mut users: Vec<RedisUser> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // Errors name the line and never show it.
        let refused = |detail: &str| invalid(key, format!("line {number}: {detail}"));
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, password, tables) = match words[..] {
            [name, password] => (name, password, None),
            [name, password, tables] => {
                let names = tables.split(',').map(TableName::new);
                let tables = names.collect::<Result<BTreeSet<_>, _>>().map_err(|bad| refused(&bad.to_string()))?;
                (name, password, Some(tables))
            }
            _ => return Err(refused("is not NAME PASSWORD or NAME PASSWORD TABLE,TABLE")),
        };
        if name.len() > MAX_USER_BYTES || name.contains('@') {
            return Err(refused("a name has at most 64 bytes and no '@', behind which clients name their table"));
        }
        if users.iter().any(|user| user.name == name) {
            return Err(refused("the user stands there twice"));
        }
        check(key, password.as_bytes()).map_err(|_| refused("the password has fewer than 8 bytes"))?;
        users.push(RedisUser { name: name.to_owned(), password: password.to_owned().into(), tables });
    }
    if users.is_empty() { Err(invalid(key, "has no user")) } else { Ok(users) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> ServerArgs {
        ServerArgs { listen_redis: Some("127.0.0.1:6379".parse().unwrap()), ..ServerArgs::default() }
    }

    fn port(args: &ServerArgs) -> RedisPort {
        RedisPort::resolve(args, &["http://n1.example.org:2379".to_owned()]).unwrap().unwrap()
    }

    #[test]
    fn clients_are_told_where_they_reach_the_node() {
        assert_eq!(port(&args()).address.to_string(), "127.0.0.1:6379");
        let all = ServerArgs { listen_redis: Some("0.0.0.0:6380".parse().unwrap()), ..args() };
        assert_eq!(port(&all).address.to_string(), "n1.example.org:6380");
        let said = ServerArgs { advertise_redis: Some("[::1]:7".to_owned()), ..all.clone() };
        assert_eq!(port(&said).address.to_string(), "[::1]:7");
        let wrong = ServerArgs { advertise_redis: Some("h".to_owned()), ..all };
        let error = RedisPort::resolve(&wrong, &[]).unwrap_err().to_string();
        assert_eq!(error, "`advertise_redis`: \"h\" is not HOST:PORT");
        assert_eq!(RedisPort::resolve(&ServerArgs::default(), &[]), Ok(None));
    }

    #[test]
    fn there_is_tls_where_there_is_a_certificate_unless_told_otherwise() {
        let with = ServerArgs { client_tls_cert: Some("c.pem".into()), ..args() };
        assert!(port(&with).is_tls && !port(&args()).is_tls);
        assert!(!port(&ServerArgs { redis_tls: Some(false), ..with }).is_tls);
        let without = RedisPort::resolve(&ServerArgs { redis_tls: Some(true), ..args() }, &[]);
        assert_eq!(without.unwrap_err().to_string(), "`redis_tls`: needs client_tls_cert and client_tls_key");
    }

    #[test]
    fn users_are_read_from_their_file() {
        let users = parse("# people\n\nann  correcthorse\nbob batterystaple carts,orders\n").unwrap();
        let names: Vec<_> = users.iter().map(|user| user.name.as_str()).collect();
        assert_eq!((names, users[0].password.bytes()), (vec!["ann", "bob"], &b"correcthorse"[..]));
        assert_eq!((users[0].tables.is_none(), users[1].tables.as_ref().map(BTreeSet::len)), (true, Some(2)));
        let refused = |text: &str| parse(text).unwrap_err().to_string();
        for (text, detail) in [
            ("ann", "line 1: is not NAME PASSWORD"),
            ("ann short", "line 1: the password has fewer than 8 bytes"),
            ("\nann@x longenough", "line 2: a name has"),
            ("ann longenough\nann longenough", "line 2: the user stands there twice"),
            ("ann longenough Orders", "line 1: "),
            ("# nobody", "has no user"),
        ] {
            assert!(refused(text).contains(detail), "{}", refused(text));
            assert!(!refused(text).contains("longenough"), "a password is never shown");
        }
    }

    #[test]
    fn a_password_is_that_of_the_user_default() {
        let with = ServerArgs { redis_password: Some("longenough".to_owned().into()), ..args() };
        let users = port(&with).users.read().unwrap();
        assert_eq!((users.len(), users[0].name.as_str()), (1, "default"));
        assert!(port(&args()).users.is_empty() && port(&args()).users.read().unwrap().is_empty());
        let short = ServerArgs { redis_password: Some("short".to_owned().into()), ..args() };
        let error = RedisPort::resolve(&short, &[]).unwrap_err().to_string();
        assert_eq!(error, "`redis_password`: has a password of 5 bytes; give it 8 or more");
        let temp = tempfile::tempdir().unwrap();
        let (file, people) = (temp.path().join("password"), temp.path().join("users"));
        std::fs::write(&file, "longenough\n").unwrap();
        std::fs::write(&people, "default longenough\n").unwrap();
        let both = ServerArgs { redis_password_file: Some(file), redis_users_file: Some(people), ..args() };
        assert!(port(&both).users.read().unwrap_err().to_string().contains("beside it"));
    }
}
