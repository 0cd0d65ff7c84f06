//! Connections between nodes: whoever sends frames is asked first which directory it runs on.
//!
//! The decision is the store's own (`althing_node::lineage`), the same that its transport makes in the handshake. A machine
//! that is refused for good must never come again. What cannot be told by whoever is called is listed in
//! docs/bugs-found.md ("Known and open"): an emptied directory, by who has never seen its node; a copy, by who has seen
//! nothing of its node since the copy was made. On just these connections the world lets nothing pass.

use althing_node::lineage::{LineageError, Seen, Sighting};
use althing_probe::Mutant;
use althing_types::NodeId;

use super::World;
use crate::host::directory::Standing;
use crate::report::Check;

/// Whether frames pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Passage {
    /// They do.
    Open,
    /// They do not.
    Closed,
}

impl World {
    /// The connection on which a frame comes, made if it does not stand yet.
    pub(super) fn passage(&mut self, from: NodeId, to: NodeId) -> Passage {
        if self.links.contains(&(from, to)) {
            return Passage::Open;
        }
        if !self.host(from).is_up() || !self.host(to).is_up() {
            return Passage::Closed;
        }
        // The called node looks first; then the caller looks who has answered.
        let passage = match self.believes(to, from) {
            Passage::Open => self.believes(from, to),
            Passage::Closed => Passage::Closed,
        };
        if passage == Passage::Open {
            self.links.insert((from, to));
        }
        passage
    }

    /// Whether what a machine says may reach somebody, so that it counts.
    pub(super) fn is_heard(&self, node: NodeId) -> bool {
        self.hosts[&node].standing == Standing::Sound || althing_probe::is(Mutant::BelieveAnyDirectory)
    }

    /// A process has started: nobody is connected with it yet.
    pub(super) fn forget_links(&mut self, node: NodeId) {
        self.links.retain(|(from, to)| *from != node && *to != node);
    }

    /// Whether one node believes another one's directory.
    fn believes(&mut self, who: NodeId, whom: NodeId) -> Passage {
        let (id, offered) = (self.hosts[&whom].id, self.hosts[&whom].directory.lineage.clone());
        let standing = self.hosts[&whom].standing;
        let book = &mut self.host(who).directory.book;
        let before = book.clone();
        let entered = book.enter(id, &offered);
        if althing_probe::is(Mutant::BelieveAnyDirectory) {
            return Passage::Open;
        }
        match (entered, standing) {
            (Ok(Seen::Same | Seen::Newer), Standing::Sound) => Passage::Open,
            (Ok(Seen::Same | Seen::Newer), Standing::Astray | Standing::Condemned) => {
                *book = before.clone();
                let could_tell = before.0.get(&id).is_some_and(|seen| !fits(seen, &offered));
                if could_tell {
                    self.find(Check::Recovery, format!("node {who} believes machine {whom}, which has lost its past"));
                }
                self.budget.spare();
                Passage::Closed
            }
            (Err(error), Standing::Sound) => {
                self.find(Check::Recovery, format!("node {who} refuses a directory that has lost nothing: {error}"));
                Passage::Closed
            }
            (
                Err(LineageError::Forked { .. } | LineageError::Replaced { .. }),
                Standing::Astray | Standing::Condemned,
            ) => {
                self.condemn(whom);
                Passage::Closed
            }
        }
    }
}

/// Whether what was seen of a node is a part of what is offered, so that nobody could tell them apart.
fn fits(seen: &Sighting, offered: &althing_node::lineage::Lineage) -> bool {
    seen.founding == offered.founding() && offered.runs().any(|run| run == seen.run)
}
