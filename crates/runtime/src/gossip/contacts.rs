//! From contacts to addresses: those that are names are looked up, off the way of the datagrams, and again from time to time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use althing_gossip::Contact;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::resolver::Resolver;
use crate::transport::address::Address;

/// After which time a name is looked up again.
const FRESH: Duration = Duration::from_secs(30);
/// Names that are kept; beyond that all are forgotten and looked up again.
const MAX_NAMES: usize = 8192;

/// A name that was looked up, or is being.
struct Name {
    address: Option<SocketAddr>,
    asked: Instant,
}

/// What is known of names.
pub(super) struct Contacts {
    /// The address of the socket that will send.
    local: SocketAddr,
    resolver: Arc<dyn Resolver>,
    names: BTreeMap<Contact, Name>,
    lookups: JoinSet<(Contact, Option<SocketAddr>)>,
}

/// An address as a socket at `local` can send to it: one for IPv6 reaches IPv4 by mapped addresses, one for IPv4 reaches
/// nothing else.
fn reachable(local: SocketAddr, address: SocketAddr) -> Option<SocketAddr> {
    match (local, address) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_)) => Some(address),
        (SocketAddr::V6(_), SocketAddr::V4(v4)) => Some(SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()))),
        (SocketAddr::V4(_), SocketAddr::V6(_)) => None,
    }
}

impl Contacts {
    /// Contacts for a socket at this address.
    pub fn new(local: SocketAddr, resolver: Arc<dyn Resolver>) -> Self {
        Self { local, resolver, names: BTreeMap::new(), lookups: JoinSet::new() }
    }

    /// The address of a contact; `None` while it is looked up for the first time, or if it has none.
    pub fn address(&mut self, contact: &Contact) -> Option<SocketAddr> {
        if let Ok(address) = contact.as_str().parse() {
            return reachable(self.local, address);
        }
        let known = self.names.get(contact);
        let address = known.and_then(|name| name.address);
        if known.is_none_or(|name| name.asked.elapsed() > FRESH) {
            if self.names.len() >= MAX_NAMES {
                self.names.clear();
            }
            self.names.insert(contact.clone(), Name { address, asked: Instant::now() });
            self.look_up(contact.clone());
        }
        address
    }

    fn look_up(&mut self, contact: Contact) {
        let (local, resolver) = (self.local, Arc::clone(&self.resolver));
        self.lookups.spawn(async move {
            let Ok(Address { host, port }) = contact.as_str().parse() else { return (contact, None) };
            let found = resolver.resolve(&host, port).await.unwrap_or_default();
            let first = found.into_iter().find_map(|address| reachable(local, address));
            (contact, first)
        });
    }

    /// Takes in one answer. Waits for ever if nothing is asked.
    pub async fn looked_up(&mut self) {
        match self.lookups.join_next().await {
            // What was known stays known if it cannot be looked up now.
            Some(Ok((contact, Some(address)))) => {
                self.names.insert(contact, Name { address: Some(address), asked: Instant::now() });
            }
            Some(Ok((_, None)) | Err(_)) => {}
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::resolver::SystemResolver;
    use super::*;

    #[test]
    fn addresses_need_no_lookup_and_names_get_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut contacts = Contacts::new("127.0.0.1:1".parse().unwrap(), Arc::new(SystemResolver));
            let plain = Contact::new("127.0.0.2:7").unwrap();
            assert_eq!(contacts.address(&plain), Some("127.0.0.2:7".parse().unwrap()));
            let name = Contact::new("localhost:7").unwrap();
            assert_eq!(contacts.address(&name), None, "it is being looked up");
            contacts.looked_up().await;
            let found = contacts.address(&name).expect("localhost has an address");
            assert!(found.ip().is_loopback() && found.is_ipv4() && found.port() == 7);
        });
    }

    #[test]
    fn a_socket_sends_to_its_own_family_and_ipv6_to_both() {
        let [v4, v6]: [SocketAddr; 2] = ["10.0.0.1:7", "[2001:db8::1]:7"].map(|text| text.parse().unwrap());
        let [local4, local6]: [SocketAddr; 2] = ["0.0.0.0:1", "[::]:1"].map(|text| text.parse().unwrap());
        assert_eq!((reachable(local4, v4), reachable(local6, v6)), (Some(v4), Some(v6)));
        assert_eq!(
            (reachable(local4, v6), reachable(local6, v4)),
            (None, Some("[::ffff:10.0.0.1]:7".parse().unwrap()))
        );
    }
}
