//! Who is a member of the cluster and who answers: SWIM with suspicion, around `foca`, as one pure core.
//!
//! ```text
//!             datagrams (may be lost)                      pages (over checked connections)
//!        ┌──────────────────────────────┐             ┌──────────────────────────────────────┐
//!        ▼                              │             ▼                                      │
//!  seal::open ─► codec::observe ─► swim (foca)   page::read ─► exchange: what another believes
//!                                       │             │
//!                        members: how each one looks; table: what each one says of itself
//!                                       │
//!                            Effects { datagrams, exchanges, events }
//! ```
//!
//! * **SWIM** (Das, Gupta, Motivala, *SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol*,
//!   2002): each period a node probes another one, directly and then through three others. Who does not answer is
//!   *suspected*, and declared down after some seconds unless it refutes that with a higher *incarnation*. News rides
//!   along with the probes.
//! * **Push/pull** ([`page`]): at its join and about every 30 s a node exchanges all that it knows with another member, and
//!   tries one that is down. So a newcomer learns everybody, partitions heal, and a node learns that it was thought dead:
//!   it then comes back under a renewed [`Identity`].
//! * **State** ([`state`]): a few versioned values per node that only their owner writes.
//! * **Datagrams** ([`seal`]) are bounded, marked with their cluster, and authenticated.
//! * **Phi** ([`phi`]): a hint per peer.
//!
//! # What the host owes
//!
//! 1. [`Gossip::handle`] with [`Input::Tick`] at [`Gossip::next_deadline`]; a later one is forgiven.
//! 2. Datagrams are sent or lost. Push/pulls run as [`Exchange`] says, over connections that have checked who is there.
//! 3. `identity.generation` of the configuration grows with every start of the node.
//!
//! # What the core promises
//!
//! The same effects for the same seed and inputs. **Nothing here is true of anybody**: two nodes may see a third one
//! differently at any time, and a member that is declared down may be well. Only consensus decides.

mod codec;
mod config;
mod exchange;
mod gossip;
pub mod identity;
mod io;
mod members;
pub mod page;
pub mod phi;
pub mod piggyback;
pub mod seal;
pub mod state;
mod swim;
mod timers;

pub use config::{Config, MAX_MEMBERS, Timing};
pub use gossip::Gossip;
pub use identity::{Contact, Identity};
pub use io::{Datagram, Effects, Event, Exchange, Input, Liveness, Metrics, Outcome, Peer, Seed};
pub use seal::{Dropped, MAX_DATAGRAM_BYTES, Seal};
pub use state::{Key, NodeState, Value};
