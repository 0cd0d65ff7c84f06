//! From contacts to addresses: those that are names are looked up, off the way of the datagrams, and again from time to time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use althing_gossip::Contact;
use tokio::task::JoinSet;
use tokio::time::Instant;

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
#[derive(Default)]
pub(super) struct Contacts {
    names: BTreeMap<Contact, Name>,
    lookups: JoinSet<(Contact, Option<SocketAddr>)>,
}

impl Contacts {
    /// The address of a contact; `None` while it is looked up for the first time, or if it has none.
    pub fn address(&mut self, contact: &Contact) -> Option<SocketAddr> {
        if let Ok(address) = contact.as_str().parse() {
            return Some(address);
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
        self.lookups.spawn(async move {
            let Ok(Address { host, port }) = contact.as_str().parse() else { return (contact, None) };
            let found = tokio::net::lookup_host((host, port)).await;
            let first = found.ok().and_then(|mut addresses| addresses.next());
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
    use super::*;

    #[test]
    fn addresses_need_no_lookup_and_names_get_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut contacts = Contacts::default();
            let plain = Contact::new("[::1]:7").unwrap();
            assert_eq!(contacts.address(&plain), Some("[::1]:7".parse().unwrap()));
            let name = Contact::new("localhost:7").unwrap();
            assert_eq!(contacts.address(&name), None, "it is being looked up");
            contacts.looked_up().await;
            let found = contacts.address(&name).expect("localhost has an address");
            assert!(found.ip().is_loopback() && found.port() == 7);
        });
    }
}
