//! Requests that meet a shard which was split under them: they go on at the child that has their keys.
//!
//! A shard with bounds answers `WrongShard` to whatever it does not serve (any more), and that proves that nothing was done. So
//! calls on such shards are kept until they are answered: one that is refused is handed to the child, as soon as that serves.
//! Its client sees nothing but the time that it takes. A router with an old map is served as well: the nodes of the parent have
//! the children at first, and know where they are later.

use std::collections::BTreeMap;

use althing_api::keys::{cross_shard, shard_keys};
use althing_api::{Answer, Call, Error, ErrorKind, Outcome};
use althing_strong::{Bounds, Role, Stage};
use althing_types::{GroupId, Instant, RequestId, limits};

use crate::effects::Effects;
use crate::node::Node;

/// Calls that may have to go on elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Redirects {
    /// Calls that shards with bounds are at.
    held: BTreeMap<RequestId, Held>,
    /// Calls that wait for a shard to serve.
    waiting: BTreeMap<RequestId, Held>,
}

/// A call on a shard with bounds.
#[derive(Debug)]
struct Held {
    call: Call,
    group: GroupId,
    deadline: Instant,
}

/// Who has the keys of a call now.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    /// A replica on this node.
    Here(GroupId),
    /// Another node.
    Elsewhere(GroupId),
    /// A child that does not serve yet.
    Later(GroupId),
    /// Nobody: they lie in both children.
    Nowhere(ErrorKind),
}

impl Node {
    /// Where a call on a shard belongs, if that shard, or its children, have been sealed.
    fn place(&self, mut group: GroupId, call: &Call) -> Place {
        loop {
            let Some(held) = self.groups.get(&group).filter(|_| self.serves(group)) else {
                return Place::Elsewhere(group);
            };
            let Some(bounds) = held.bounds() else { return Place::Here(group) };
            match &bounds.stage {
                Stage::Serving | Stage::Activated(_) => return Place::Here(group),
                // The map may know that it serves, where this replica does not yet: its leader does.
                Stage::Filling { .. } if self.control.view.is_routed(group) => return Place::Here(group),
                Stage::Filling { .. } => return Place::Later(group),
                Stage::Sealed(seal) => {
                    let keys = shard_keys(&call.request);
                    let slices = bounds.slice.cut(&seal.at);
                    let admits = |slice| Bounds::new(slice, Role::Serve).admit(&keys).is_ok();
                    // What asks for no keys belongs to no child more than to the other.
                    let mut having = slices.into_iter().zip(seal.children).filter(|(slice, _)| admits(slice.clone()));
                    match (having.next(), having.next()) {
                        (Some((_, child)), None) => group = child,
                        (Some(_), Some(_)) | (None, _) => return Place::Nowhere(cross_shard(&call.request)),
                    }
                }
            }
        }
    }

    /// Hands a call to the shard that has its keys.
    pub(crate) fn request_placed(
        &mut self,
        now: Instant,
        id: RequestId,
        group: GroupId,
        call: Call,
        out: &mut Effects,
    ) {
        match self.place(group, &call) {
            Place::Here(group) => {
                if self.groups.get(&group).is_some_and(|held| held.bounds().is_some()) {
                    let deadline = self.shared.config.request_deadline(now, call.timeout);
                    self.redirects.held.insert(id, Held { call: call.clone(), group, deadline });
                }
                self.request_here(now, id, group, call, out);
            }
            Place::Elsewhere(group) if self.control.view.shard(group).is_some() => {
                self.route(now, id, group, call, out)
            }
            // One that is gone is in no map, which will say who has its keys.
            Place::Elsewhere(group) | Place::Later(group) => self.wait(now, id, group, call, out),
            Place::Nowhere(error) => out.responses.push((id, Err(error.into()))),
        }
    }

    fn wait(&mut self, now: Instant, id: RequestId, group: GroupId, call: Call, out: &mut Effects) {
        if self.redirects.waiting.len() >= limits::MAX_PENDING_REQUESTS {
            self.shared.metrics.overloads += 1;
            return out.responses.push((id, Err(ErrorKind::Overloaded.into())));
        }
        let deadline = self.shared.config.request_deadline(now, call.timeout);
        self.redirects.waiting.insert(id, Held { call, group, deadline });
    }

    /// Takes refusals out of the answers of a turn: these calls go on elsewhere.
    pub(crate) fn redirect(&mut self, now: Instant, out: &mut Effects) {
        if self.redirects.held.is_empty() || !self.is_running() {
            return;
        }
        let held = &mut self.redirects.held;
        let mut refused = Vec::new();
        out.responses.retain(|(id, result)| match held.remove(id) {
            Some(call) if is_refusal(result) => {
                refused.push((*id, call));
                false
            }
            Some(_) | None => true,
        });
        for (id, held) in refused {
            self.shared.metrics.redirected += 1;
            match self.place(held.group, &held.call) {
                // Whoever has refused it is not asked at once again.
                Place::Here(group) if group == held.group => {
                    self.redirects.waiting.insert(id, held);
                }
                Place::Here(_) | Place::Elsewhere(_) | Place::Later(_) | Place::Nowhere(_) => {
                    self.go_on(now, id, held, out);
                }
            }
        }
    }

    fn go_on(&mut self, now: Instant, id: RequestId, held: Held, out: &mut Effects) {
        let call = Call { timeout: Some(held.deadline.since(now)), ..held.call };
        self.request_placed(now, id, held.group, call, out);
    }

    /// A shard serves that did not, or time has passed: calls that wait are tried again, or told that it took too long.
    pub(crate) fn retry_redirected(&mut self, now: Instant, out: &mut Effects) {
        for (id, mut held) in std::mem::take(&mut self.redirects.waiting) {
            if held.deadline <= now {
                out.responses.push((id, Err(ErrorKind::Timeout.into())));
                continue;
            }
            // The shard may be gone, with its children in the map.
            if let Ok(group) = self.locate(&held.call) {
                held.group = group;
            }
            self.go_on(now, id, held, out);
        }
    }

    /// The client of a call no longer waits.
    pub(crate) fn cancel_redirected(&mut self, id: RequestId) {
        self.redirects.held.remove(&id);
        self.redirects.waiting.remove(&id);
    }

    /// The node stops: whoever waits is told.
    pub(crate) fn stop_redirected(&mut self, out: &mut Effects) {
        let waiting = std::mem::take(&mut self.redirects.waiting);
        out.responses.extend(waiting.into_keys().map(|id| (id, Err(ErrorKind::Stopped.into()))));
    }
}

/// Whether a shard has proved that it did nothing, because it does not serve the keys or has left this node.
const fn is_refusal(result: &Result<Answer, Error>) -> bool {
    match result {
        Err(Error { kind: ErrorKind::WrongShard | ErrorKind::Stopped, outcome: Outcome::NotDone }) => true,
        Ok(_) | Err(_) => false,
    }
}
