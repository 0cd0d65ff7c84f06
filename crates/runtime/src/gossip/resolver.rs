//! From names to addresses.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// An answer to come.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>>;

/// Whoever knows the addresses of names.
pub trait Resolver: Send + Sync + std::fmt::Debug {
    /// All addresses of a host, of IPv4 and IPv6 (A and AAAA), with this port. A host that is an address has itself.
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a>;
}

/// The system's: the hosts file and DNS, as configured there.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_and_addresses_of_both_families_are_resolved() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let resolve = |host: &str| runtime.block_on(SystemResolver.resolve(host, 7)).unwrap();
        let localhost = resolve("localhost");
        assert!(!localhost.is_empty() && localhost.iter().all(|at| at.ip().is_loopback() && at.port() == 7));
        assert_eq!(resolve("10.0.0.1"), ["10.0.0.1:7".parse().unwrap()]);
        assert_eq!(resolve("2001:db8::1"), ["[2001:db8::1]:7".parse().unwrap()]);
    }
}
