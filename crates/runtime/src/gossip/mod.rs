//! The membership's thread: a UDP socket beside the peer port, timers, and push/pulls, around the core `althing_gossip`.
//!
//! It has a thread and a runtime of its own and shares nothing with the driver but a channel for push/pulls that come in:
//! whatever becomes of it, the node goes on. What it finds out goes to metrics and to people; nothing is decided by it.

mod board;
mod contacts;
mod join;
#[cfg(test)]
mod join_tests;
mod resolver;
mod view;

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use althing_env::{Clock, Disk};
use althing_gossip::{
    Config, Contact, Effects, Event, Exchange, Gossip, Identity, Input, Key, Liveness, Outcome, Seal, Seed, Timing,
    Value,
};
use althing_types::NodeId;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::cut::Cut;
use crate::threads::Fatal;
use crate::transport::address::Address;
use crate::transport::push_pull::{Called, Caller, PushPullError};
pub use board::{Board, Neighbour, Standing};
use contacts::Contacts;
use join::{Answered, Company, Joiner, Next};
pub use resolver::{Resolver, Resolving, SystemResolver};
pub(crate) use view::{GossipView, MemberRow};

/// How often what is known is copied for metrics.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);
/// How often the node looks at what it tells of itself.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Push/pulls that this node calls for at the same time.
const MAX_EXCHANGES: usize = 8;
/// Push/pulls that wait to be answered.
pub(crate) const MAX_CALLED: usize = 16;
/// Bytes of a read of the socket: more than a datagram may have, so that one that is too long is seen to be.
const READ_BYTES: usize = 2048;
/// How long to wait after the socket has failed.
const FAILED_WAIT: Duration = Duration::from_millis(100);

/// What a node needs to take part in the membership.
#[derive(Debug)]
pub struct GossipOptions {
    /// Its socket: the same number as its peer port.
    pub socket: UdpSocket,
    /// Where other nodes reach it.
    pub contact: Address,
    /// The cluster's secret. Without one, datagrams are checked by the cluster's id only.
    pub secret: Option<Vec<u8>>,
    /// Where clients reach it: told to the others.
    pub client_urls: Vec<String>,
    /// Where clients of Redis reach it, if they do: told to the others.
    pub redis: Option<Address>,
    /// Where any other node of the cluster may be found, whichever it is: addresses, or names that may have many.
    pub join: Vec<Address>,
    /// Who knows the addresses of names.
    pub resolver: Arc<dyn Resolver>,
}

/// What the thread starts from.
pub(crate) struct GossipThread {
    pub options: GossipOptions,
    pub me: crate::transport::handshake::Identity,
    pub seeds: Vec<(NodeId, Address)>,
    pub caller: Caller,
    pub called: mpsc::Receiver<Called>,
    pub cut: Arc<Cut>,
    /// Closed when the node has ended.
    pub stop: watch::Receiver<()>,
    pub clock: Arc<dyn Clock>,
    /// The disk whose free space is told.
    pub disk: Arc<dyn Disk>,
    /// Requests that the node has taken in so far.
    pub requests: Box<dyn Fn() -> u64 + Send>,
    /// Where the node stands; empty if nobody said.
    pub zone: String,
    pub board: Arc<Board>,
    pub view: Arc<Mutex<GossipView>>,
}

/// A contact of an address; one that is too long is none.
fn contact(address: &Address) -> Option<Contact> {
    Contact::new(&address.to_string()).ok()
}

impl GossipThread {
    /// Works until the node has ended, then leaves the cluster.
    pub(crate) fn run(self) -> Result<(), Fatal> {
        let system = |error: std::io::Error| Fatal::System { what: "start the membership", message: error.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
        let result = runtime.block_on(self.serve()).map_err(system);
        // A name that is still being looked up holds nothing up.
        runtime.shutdown_background();
        result
    }

    async fn serve(self) -> std::io::Result<()> {
        self.options.socket.set_nonblocking(true)?;
        let socket = tokio::net::UdpSocket::from_std(self.options.socket)?;
        let local = socket.local_addr()?;
        let Some(mine) = contact(&self.options.contact) else {
            return Err(std::io::Error::other(format!("{} is too long for a contact", self.options.contact)));
        };
        let run = self.me.lineage.run();
        let identity = Identity { node: self.me.node, generation: run.starts, renewal: 0, contact: mine };
        let core = Gossip::new(Config {
            identity,
            seal: Seal::new(self.me.cluster, self.options.secret.as_deref()),
            seed: run.nonce ^ self.me.node.get(),
            timing: Timing::default(),
        });
        let mut member = Member {
            core,
            socket,
            exchanges: JoinSet::new(),
            contacts: Contacts::new(local, Arc::clone(&self.options.resolver)),
            joiner: Joiner::new(self.options.resolver, self.options.join, self.caller.clone(), run.nonce),
            board: self.board,
            caller: self.caller,
            cut: self.cut,
            clock: self.clock,
            disk: self.disk,
            requests: self.requests,
            told_requests: 0,
            view: self.view,
            out: Effects::default(),
        };
        let seeds =
            self.seeds.iter().filter_map(|(node, address)| Some(Seed { node: *node, contact: contact(address)? }));
        let seeds = seeds.collect();
        member.set(Key::Addresses, Value::Text(self.options.client_urls.join(",")));
        member.set(Key::Software, Value::Text(env!("CARGO_PKG_VERSION").to_owned()));
        if let Some(redis) = self.options.redis {
            member.set(Key::Redis, Value::Text(redis.to_string()));
        }
        if !self.zone.is_empty() {
            member.set(Key::Zone, Value::Text(self.zone));
        }
        member.handle(Input::Join(seeds));
        member.work(self.called, self.stop).await;
        Ok(())
    }
}

/// The core and what surrounds it.
struct Member {
    core: Gossip,
    socket: tokio::net::UdpSocket,
    caller: Caller,
    cut: Arc<Cut>,
    exchanges: JoinSet<(NodeId, Result<Vec<Bytes>, PushPullError>)>,
    contacts: Contacts,
    joiner: Joiner,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    requests: Box<dyn Fn() -> u64 + Send>,
    /// Requests when they were looked at last.
    told_requests: u64,
    view: Arc<Mutex<GossipView>>,
    out: Effects,
}

impl Member {
    async fn work(&mut self, mut called: mpsc::Receiver<Called>, mut stop: watch::Receiver<()>) {
        let mut buffer = [0; READ_BYTES];
        let (mut publish, mut tell) = (interval(PUBLISH_EVERY), interval(TELL_EVERY));
        publish.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.perform().await;
            let wait = self.core.next_deadline().since(self.clock.now());
            tokio::select! {
                _ = stop.changed() => break,
                read = self.socket.recv_from(&mut buffer) => match read {
                    Ok((_, from)) if self.is_cut_off(from) => {}
                    Ok((bytes, _)) => self.handle(Input::Datagram(Bytes::copy_from_slice(&buffer[..bytes]))),
                    Err(error) => {
                        tracing::debug!("cannot read from the membership's socket: {error}");
                        sleep(FAILED_WAIT).await;
                    }
                },
                Some(called) = called.recv() => self.answer(called),
                Some(ended) = self.exchanges.join_next() => if let Ok((with, result)) = ended {
                    self.exchanged(with, result);
                },
                () = self.contacts.looked_up() => {}
                next = self.joiner.next() => match next {
                    Next::Due => self.joiner.look_up(self.company()),
                    Next::Found(found) => self.joiner.call(found, &self.core.pages()),
                    Next::Answered(answered) => self.answered(answered),
                },
                () = self.board.changed() => self.set(Key::MapEpoch, Value::Number(self.board.map_epoch())),
                () = sleep(wait) => self.handle(Input::Tick),
                _ = publish.tick() => self.publish(),
                _ = tell.tick() => self.tell(),
            }
        }
        self.handle(Input::Leave);
        self.perform().await;
    }

    fn handle(&mut self, input: Input) {
        self.core.handle(self.clock.now(), input, &mut self.out);
    }

    fn set(&mut self, key: Key, value: Value) {
        self.handle(Input::Set { key, value });
    }

    /// Carries out what the core wants.
    async fn perform(&mut self) {
        for event in std::mem::take(&mut self.out.events) {
            log(&event);
            self.hear(&event);
        }
        for datagram in std::mem::take(&mut self.out.datagrams) {
            // One whose address is still being looked up, or that the system does not take now, is lost as any may be.
            if let Some(address) = self.contacts.address(&datagram.contact)
                && !self.is_cut_off(address)
            {
                let _ = self.socket.send_to(&datagram.bytes, address).await;
            }
        }
        for Exchange { with, contact } in std::mem::take(&mut self.out.exchanges) {
            let address = contact.as_str().parse::<Address>();
            match address {
                Ok(address) if self.exchanges.len() < MAX_EXCHANGES => {
                    let (caller, pages) = (self.caller.clone(), self.core.pages());
                    self.exchanges.spawn(async move { (with, caller.exchange(with, &address, &pages).await) });
                }
                Ok(_) | Err(_) => self.handle(Input::Exchanged { with, outcome: Outcome::Failed }),
            }
        }
    }

    /// Whether there is a cut, made on purpose, between this node and whoever has this address.
    fn is_cut_off(&mut self, address: SocketAddr) -> bool {
        let nodes = self.cut.nodes();
        if nodes.is_empty() {
            return false;
        }
        let peers = self.core.peers(self.clock.now()).filter(|peer| nodes.contains(&peer.identity.node));
        let contacts: Vec<_> = peers.map(|peer| peer.identity.contact.clone()).collect();
        contacts.iter().any(|contact| self.contacts.address(contact) == Some(address))
    }

    fn answer(&mut self, Called { from, pages, answer }: Called) {
        for page in pages {
            self.handle(Input::Page { from, page });
        }
        // A caller that has gone away needs no answer.
        let _ = answer.send(self.core.pages());
    }

    fn exchanged(&mut self, with: NodeId, result: Result<Vec<Bytes>, PushPullError>) {
        let outcome = match result {
            Ok(pages) => {
                for page in pages {
                    self.handle(Input::Page { from: with, page });
                }
                Outcome::Done
            }
            Err(error) => {
                tracing::debug!(peer = %with, "a push/pull failed: {error}");
                Outcome::Failed
            }
        };
        self.handle(Input::Exchanged { with, outcome });
    }

    fn company(&self) -> Company {
        if self.core.active() == 0 { Company::Alone } else { Company::Others }
    }

    /// Somebody behind a name has answered, or has not.
    fn answered(&mut self, answered: Answered) {
        match answered {
            Ok((node, pages)) => self.exchanged(node, Ok(pages)),
            // This node itself is behind the name, too, and others may have gone.
            Err(error) => tracing::debug!("nobody was found behind a name: {error}"),
        }
    }

    /// Notes what the node wants to know of the others.
    fn hear(&self, event: &Event) {
        if let Event::State { node, key: Key::MapEpoch } = event
            && let Some(epoch) = self.core.state(*node).and_then(|state| state.number(Key::MapEpoch))
        {
            self.board.heard_map_epoch(epoch);
        }
    }

    fn publish(&self) {
        let now = self.clock.now();
        let peers = self.core.peers(now).filter(|peer| !self.caller.was_removed(peer.identity.node));
        let members = peers.map(|peer| MemberRow::of(&peer, now)).collect();
        self.board.set_neighbours(self.neighbours());
        let view = GossipView { members, metrics: Some(self.core.metrics().clone()) };
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// The nodes that say where clients of Redis reach them, but those that have left.
    fn neighbours(&self) -> Vec<Neighbour> {
        let own = (self.core.identity().node, Standing::Living);
        let others = self.core.peers(self.clock.now()).filter(|peer| !self.caller.was_removed(peer.identity.node));
        let others = others.filter_map(|peer| match peer.liveness {
            Liveness::Alive | Liveness::Suspected => Some((peer.identity.node, Standing::Living)),
            Liveness::Down => Some((peer.identity.node, Standing::Lost)),
            Liveness::Left => None,
        });
        let with_address = |(node, standing)| {
            // What another node says is not believed to be an address.
            let address = self.core.state(node)?.text(Key::Redis)?.parse().ok()?;
            Some(Neighbour { node, address, standing })
        };
        let mut all: Vec<Neighbour> = others.chain([own]).filter_map(with_address).collect();
        all.sort_unstable_by_key(|neighbour| neighbour.node);
        all
    }

    /// Tells the others what has changed of this node, coarsely: news costs every node something.
    fn tell(&mut self) {
        let requests = (self.requests)();
        let per_second = (requests - self.told_requests) / TELL_EVERY.as_secs();
        self.told_requests = requests;
        let node = self.core.identity().node;
        let free = self.disk.available_bytes().ok();
        for (key, found) in [(Key::Load, Some(per_second)), (Key::DiskFree, free)] {
            let known = self.core.state(node).and_then(|state| state.number(key));
            if let Some(value) = found.map(coarse)
                && known != Some(value)
            {
                self.set(key, Value::Number(value));
            }
        }
    }
}

/// A number to two binary digits.
const fn coarse(number: u64) -> u64 {
    let bits = u64::BITS - number.leading_zeros();
    if bits <= 2 { number } else { number >> (bits - 2) << (bits - 2) }
}

fn log(event: &Event) {
    match event {
        Event::Joined(id) => tracing::info!(peer = %id.node, contact = %id.contact, "the peer is a member"),
        Event::Suspected(id) => tracing::info!(peer = %id.node, "the peer does not answer and is suspected"),
        Event::Refuted(id) => tracing::info!(peer = %id.node, "the peer has refuted the suspicion"),
        Event::Down(id) => tracing::warn!(peer = %id.node, "the peer is thought to be down"),
        Event::Left(id) => tracing::info!(peer = %id.node, "the peer has left"),
        Event::Renewed(id) => tracing::info!(peer = %id.node, "the peer has restarted or come back"),
        Event::Forgotten(node) => tracing::info!(peer = %node, "the peer was down for so long that it is forgotten"),
        Event::Rejoined(_) => tracing::warn!("the others thought this node dead; it has told them otherwise"),
        Event::Paused(late) => tracing::warn!(?late, "this node did not run for a while"),
        Event::State { .. } => {}
    }
}

/// How many members look so.
pub(crate) fn count_of(view: &GossipView, liveness: Liveness) -> usize {
    view.members.iter().filter(|member| member.liveness == liveness).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_coarse() {
        let found = [0, 1, 3, 5, 7, 8, 11, 12, 1_000].map(coarse);
        assert_eq!(found, [0, 1, 3, 4, 6, 8, 8, 12, 768]);
    }
}
