//! How each member looks, kept in step with `foca`'s own list, which tells of members that come and go but not of
//! suspicions.

use std::collections::BTreeMap;

use althing_types::{Duration, Instant, NodeId};

use crate::identity::Identity;
use crate::io::{Event, Liveness, Peer};
use crate::phi::PhiAccrual;

/// What is known of one member.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub identity: Identity,
    pub liveness: Liveness,
    pub since: Instant,
    pub incarnation: u16,
    pub phi: PhiAccrual,
}

/// All other members that were ever seen active and are not forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    known: BTreeMap<NodeId, Known>,
}

impl Members {
    pub fn get(&self, node: NodeId) -> Option<&Known> {
        self.known.get(&node)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Known)> {
        self.known.iter()
    }

    /// Something of this life of a member arrived.
    pub fn heard(&mut self, identity: &Identity, now: Instant) {
        if let Some(known) = self.known.get_mut(&identity.node)
            && known.identity == *identity
        {
            known.phi.arrival(now);
        }
    }

    /// A member is active that was not.
    pub fn up(&mut self, identity: &Identity, now: Instant, expected: Duration) -> Event {
        let known = Known {
            identity: identity.clone(),
            liveness: Liveness::Alive,
            since: now,
            incarnation: 0,
            phi: PhiAccrual::new(now, expected),
        };
        self.known.insert(identity.node, known);
        Event::Joined(identity.clone())
    }

    /// A member that was active is not any more.
    pub fn ended(&mut self, identity: &Identity, how: Liveness, now: Instant) -> Option<Event> {
        let known = self.known.get_mut(&identity.node)?;
        (known.liveness, known.since) = (how, now);
        match how {
            Liveness::Left => Some(Event::Left(identity.clone())),
            Liveness::Down => Some(Event::Down(identity.clone())),
            Liveness::Alive | Liveness::Suspected => None,
        }
    }

    /// A member goes on under another life.
    pub fn renewed(&mut self, identity: &Identity, now: Instant) -> Option<Event> {
        let known = self.known.get_mut(&identity.node)?;
        known.identity = identity.clone();
        known.incarnation = 0;
        if !known.liveness.is_active() {
            return None;
        }
        (known.liveness, known.since) = (Liveness::Alive, now);
        Some(Event::Renewed(identity.clone()))
    }

    /// `foca` holds an active member for this.
    pub fn seen(&mut self, member: &foca::Member<Identity>, now: Instant) -> Option<Event> {
        let known = self.known.get_mut(&member.id().node)?;
        known.incarnation = member.incarnation();
        let (liveness, event) = match member.state() {
            foca::State::Alive => (Liveness::Alive, Event::Refuted(member.id().clone())),
            foca::State::Suspect => (Liveness::Suspected, Event::Suspected(member.id().clone())),
            foca::State::Down => return None,
        };
        if known.liveness == liveness || !known.liveness.is_active() {
            return None;
        }
        (known.liveness, known.since) = (liveness, now);
        Some(event)
    }

    pub fn forget(&mut self, node: NodeId) -> Option<Event> {
        self.known.remove(&node).map(|_| Event::Forgotten(node))
    }

    /// Whether a look into `foca`'s list may show something that is not known here.
    pub fn may_change(&self, update: &foca::Member<Identity>) -> bool {
        let Some(known) = self.known.get(&update.id().node) else { return true };
        let suspected = known.liveness == Liveness::Suspected;
        known.identity != *update.id()
            || update.incarnation() > known.incarnation
            || (update.state() == foca::State::Suspect) != suspected
    }

    pub fn peers(&self, now: Instant) -> impl Iterator<Item = Peer> {
        self.known.values().map(move |known| Peer {
            identity: known.identity.clone(),
            liveness: known.liveness,
            since: known.since,
            incarnation: known.incarnation,
            phi: known.phi.phi(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Contact;
    use foca::{Member, State};

    fn life(renewal: u64) -> Identity {
        Identity { node: NodeId(7), generation: 1, renewal, contact: Contact::new("a:1").unwrap() }
    }

    #[test]
    fn the_lives_of_a_member_are_told_as_they_happen() {
        let (mut members, now) = (Members::default(), Instant::ZERO);
        let seen = |state, incarnation| Member::new(life(0), incarnation, state);
        assert_eq!(members.up(&life(0), now, Duration::from_secs(1)), Event::Joined(life(0)));
        assert_eq!(members.seen(&seen(State::Alive, 0), now), None);
        assert_eq!(members.seen(&seen(State::Suspect, 0), now), Some(Event::Suspected(life(0))));
        assert_eq!(members.seen(&seen(State::Alive, 1), now), Some(Event::Refuted(life(0))));
        assert_eq!(members.renewed(&life(1), now), Some(Event::Renewed(life(1))));
        assert_eq!(members.ended(&life(1), Liveness::Down, now), Some(Event::Down(life(1))));
        assert_eq!(members.seen(&seen(State::Alive, 2), now), None, "the dead do not answer");
        assert_eq!(members.forget(NodeId(7)), Some(Event::Forgotten(NodeId(7))));
    }
}
