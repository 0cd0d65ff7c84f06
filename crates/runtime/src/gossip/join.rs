//! Joining by name: one name may stand for every node of the cluster, as that of a headless service does.
//!
//! Behind such a name are addresses without ids, of which some are new, some gone, and one this node's own. So the name is
//! looked up again each time, a few of its addresses are called at once in an order of chance, and whoever answers says who
//! it is in the handshake. One push/pull is enough: it brings everybody. Names are asked while the node is alone, and seldom
//! later: the halves of a cluster that started apart find each other then.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use althing_resilience::{Backoff, Jitter};
use althing_types::NodeId;
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::resolver::Resolver;
use crate::transport::address::Address;
use crate::transport::push_pull::{Caller, PushPullError};

/// Addresses that are called in one go.
const CALLS_AT_ONCE: usize = 3;
/// The shortest and the longest wait before a node that is alone asks again.
const ALONE_WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How often a node asks that has company.
const COMPANY_WAIT: Duration = Duration::from_secs(60);

/// Whether this node knows of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Company {
    /// It does not.
    Alone,
    /// It does.
    Others,
}

/// What came of a call: who answered, with which pages.
pub(super) type Answered = Result<(NodeId, Vec<Bytes>), PushPullError>;

/// What a joiner has to say.
pub(super) enum Next {
    /// Names should be looked up.
    Due,
    /// These addresses should be called.
    Found(Vec<(Address, SocketAddr)>),
    /// A call has ended.
    Answered(Answered),
}

/// Asks names for other nodes.
pub(super) struct Joiner {
    resolver: Arc<dyn Resolver>,
    names: Vec<Address>,
    caller: Caller,
    random: fastrand::Rng,
    wait: Backoff,
    due: Instant,
    lookups: JoinSet<Vec<(Address, SocketAddr)>>,
    /// What the lookups under way have found so far. Two names may stand for one address.
    found: BTreeSet<(Address, SocketAddr)>,
    calls: JoinSet<Answered>,
}

impl Joiner {
    /// One that asks these names, soon.
    pub fn new(resolver: Arc<dyn Resolver>, names: Vec<Address>, caller: Caller, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let wait = Backoff::new(Jitter::Decorrelated, ALONE_WAIT.0, ALONE_WAIT.1, random.u64(..));
        let due = Instant::now() + wait.clone().next_wait();
        let (lookups, found, calls) = (JoinSet::new(), BTreeSet::new(), JoinSet::new());
        Self { resolver, names, caller, random, wait, due, lookups, found, calls }
    }

    /// Waits for what comes next: names are looked up, then some of their addresses are called, then it waits. It may be
    /// abandoned at any point and called again. For ever if there are no names.
    pub async fn next(&mut self) -> Next {
        while let Some(answer) = self.lookups.join_next().await {
            // A lookup that panicked has found nothing.
            self.found.extend(answer.unwrap_or_default());
        }
        if !self.found.is_empty() {
            return Next::Found(self.choose());
        }
        match self.calls.join_next().await {
            Some(Ok(answered)) => return Next::Answered(answered),
            Some(Err(error)) => return Next::Answered(Err(PushPullError::Unreached(error.to_string()))),
            None => {}
        }
        if self.names.is_empty() {
            std::future::pending().await
        }
        sleep_until(self.due).await;
        Next::Due
    }

    /// Some of the addresses that were found, by chance.
    fn choose(&mut self) -> Vec<(Address, SocketAddr)> {
        let mut found: Vec<_> = std::mem::take(&mut self.found).into_iter().collect();
        self.random.shuffle(&mut found);
        found.truncate(CALLS_AT_ONCE);
        found
    }

    /// Looks all names up.
    pub fn look_up(&mut self, company: Company) {
        let wait = match company {
            Company::Alone => self.wait.next_wait(),
            Company::Others => {
                self.wait.reset();
                COMPANY_WAIT.mul_f64(0.75 + self.random.f64() / 2.0)
            }
        };
        self.due = Instant::now() + wait;
        for name in self.names.clone() {
            let resolver = Arc::clone(&self.resolver);
            self.lookups.spawn(async move {
                match resolver.resolve(&name.host, name.port).await {
                    Ok(found) => found.into_iter().map(|at| (name.clone(), at)).collect(),
                    Err(error) => {
                        tracing::debug!(%name, "cannot look the name up: {error}");
                        Vec::new()
                    }
                }
            });
        }
    }

    /// Calls some addresses at once with these pages.
    pub fn call(&mut self, found: Vec<(Address, SocketAddr)>, pages: &[Bytes]) {
        for (name, at) in found {
            let (caller, pages) = (self.caller.clone(), pages.to_vec());
            self.calls.spawn(async move { caller.exchange_with_anybody(&name, at, &pages).await });
        }
    }
}
