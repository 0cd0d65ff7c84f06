//! What the applier has done for a repair goes on its way.

use althing_convergent::{Outcome, Rest};
use althing_types::{GroupId, Instant, NodeId};

use super::Waiting;
use crate::envelope::{KeyedMessage, Message};
use crate::node::Node;

impl Node {
    /// A step of a repair has been done, of this replica's own or for another one.
    pub(super) fn settle_repair(&mut self, now: Instant, group: GroupId, outcome: Outcome) {
        let Some(keyed) = self.keyed.get_mut(&group) else { return };
        match outcome {
            Outcome::Attested { ticket, delta, .. } => {
                if let Some(Waiting::Attested(from, name, applied)) = keyed.waiting.remove(&ticket) {
                    self.say_keyed(group, from, KeyedMessage::Attested { name, applied, delta });
                }
            }
            Outcome::Planted { ticket, rest, .. } => match keyed.waiting.remove(&ticket) {
                Some(Waiting::Round(name)) => self.planted(now, group, name, rest),
                Some(Waiting::Planting) if rest == Rest::Some => self.plant(group),
                Some(_) | None => {}
            },
            Outcome::Responded { ticket, answer, .. } => match (keyed.waiting.remove(&ticket), answer) {
                (Some(Waiting::Differs(from, name)), Some(answer)) => {
                    self.say_keyed(group, from, KeyedMessage::Differs { name, answer });
                }
                (Some(Waiting::Differs(..)), None) => self.plant(group),
                (Some(_) | None, _) => {}
            },
            Outcome::States { ticket, states, answered, .. } => {
                if let Some(Waiting::Wanted(from, name)) = keyed.waiting.remove(&ticket) {
                    self.say_keyed(group, from, KeyedMessage::States { name, answered: answered as u64, states });
                }
            }
            Outcome::Compared { ticket, compared, .. } => {
                if let Some(Waiting::Round(name)) = keyed.waiting.remove(&ticket) {
                    self.compared(now, group, name, compared);
                }
            }
            Outcome::Mended { ticket, mended, .. } => {
                if let Some(Waiting::Round(name)) = keyed.waiting.remove(&ticket) {
                    self.mended(now, group, name, mended);
                }
            }
            Outcome::Finished { ticket, finished, .. } => {
                if let Some(Waiting::Round(name)) = keyed.waiting.remove(&ticket) {
                    self.finished(now, group, name, finished);
                }
            }
            // What was taken is in the log; the rest is settled elsewhere.
            Outcome::Taken { .. }
            | Outcome::Executed { .. }
            | Outcome::Joined { .. }
            | Outcome::State { .. }
            | Outcome::Page { .. }
            | Outcome::Removed { .. }
            | Outcome::Flushed { .. }
            | Outcome::Rounds { .. }
            | Outcome::Tended { .. } => {}
        }
    }

    fn say_keyed(&mut self, group: GroupId, to: NodeId, message: KeyedMessage) {
        self.shared.peers.send(to, &Message::Keyed(group, message));
    }
}
