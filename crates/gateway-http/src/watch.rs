//! Following objects: what has changed is read every [`POLL_INTERVAL`], and each change is a line of JSON.
//!
//! A removal leaves nothing to read. It shows in the number of objects, which every read tells: if there are fewer than are
//! known, their names are read, and those that are missing have gone. All reads of one turn are of one revision, so what a
//! client has been told is at every bookmark what was there at that revision.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use althing_manifest::{API_VERSION, Kind, Object, parse_key, prefix};
use althing_types::Revision;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::body::Lines;
use crate::objects::parse;
use crate::selector::Selector;
use crate::status::{Reason, Status};
use crate::store::{Store, Stored};

/// How often the meta table is asked for changes.
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Turns without a change after which a bookmark says that the stream lives, and up to where it has come: ten seconds.
const BOOKMARK_TURNS: u32 = 20;
/// Turns in a row that may fail (no leader, no meta node in reach) before the stream ends with the error: ten seconds.
const PATIENCE_TURNS: u32 = 20;
/// Streams of one node at the same time: each asks the meta table twice in a second.
const MAX_WATCHERS: usize = 256;

/// Everybody who follows objects through one gateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watchers(Arc<AtomicUsize>);

/// A place among those who follow. It is free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Watchers {
    /// Takes a place.
    pub(crate) fn enter(&self) -> Result<Place, Status> {
        let place = Place(Arc::clone(&self.0));
        if self.0.fetch_add(1, Ordering::Relaxed) >= MAX_WATCHERS {
            let message =
                format!("{MAX_WATCHERS} streams follow objects through this node; ask another node, or later");
            return Err(Status::new(Reason::TooManyRequests, message));
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of an object: when it came into being, and whether the client was shown it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    created: Revision,
    sight: Sight,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sight {
    Shown,
    /// The selector does not mean it.
    Hidden,
}

/// One stream.
struct Follower {
    store: Store,
    kind: Kind,
    selector: Selector,
    known: BTreeMap<String, Known>,
    /// All that was written up to here has been told.
    at: Revision,
    quiet_turns: u32,
    failed_turns: u32,
    _place: Place,
}

/// Follows the objects of a kind: after `since`, or, without it, from all that are there now on, each told as `ADDED`.
pub(crate) async fn follow(
    store: Store,
    kind: Kind,
    selector: Selector,
    since: Option<Revision>,
    place: Place,
) -> Result<Lines, Status> {
    let at = since.unwrap_or_default();
    let mut follower =
        Follower { store, kind, selector, known: BTreeMap::new(), at, quiet_turns: 0, failed_turns: 0, _place: place };
    let first = match since {
        Some(at) => {
            let (there, _) = follower.store.list(&prefix(kind), Some(at), false).await?;
            for stored in &there {
                let known = follower.judge(stored, &parse(kind, stored)?);
                follower.known.insert(name_of(stored), known);
            }
            Bytes::new()
        }
        None => {
            let (there, revision) = follower.store.list(&prefix(kind), None, false).await?;
            let mut lines = Vec::new();
            for stored in &there {
                follower.tell(stored, &mut lines)?;
            }
            follower.at = revision;
            follower.bookmark(&mut lines);
            lines.into()
        }
    };
    Ok(Box::pin(Stream { next: Step::Ready(Box::new(follower), first) }))
}

fn name_of(stored: &Stored) -> String {
    parse_key(&stored.key)
        .map_or_else(|| String::from_utf8_lossy(&stored.key).into_owned(), |(_, name)| name.to_owned())
}

fn line(what: &str, object: &Value, lines: &mut Vec<u8>) {
    lines.extend_from_slice(json!({ "type": what, "object": object }).to_string().as_bytes());
    lines.push(b'\n');
}

fn value(object: &Object) -> Result<Value, Status> {
    serde_json::to_value(object).map_err(|error| Status::new(Reason::InternalError, error.to_string()))
}

impl Follower {
    fn judge(&self, stored: &Stored, object: &Object) -> Known {
        let is_meant = self.selector.matches(&object.metadata().labels);
        Known { created: stored.created, sight: if is_meant { Sight::Shown } else { Sight::Hidden } }
    }

    /// Tells of an object that was written.
    fn tell(&mut self, stored: &Stored, lines: &mut Vec<u8>) -> Result<(), Status> {
        let object = parse(self.kind, stored)?;
        let (name, now) = (name_of(stored), self.judge(stored, &object));
        let before = self.known.insert(name.clone(), now);
        let is_same = before.is_some_and(|before| before.created == now.created);
        let was_shown = before.is_some_and(|before| before.sight == Sight::Shown);
        match now.sight {
            Sight::Shown if was_shown && is_same => line("MODIFIED", &value(&object)?, lines),
            Sight::Shown => {
                if was_shown {
                    line("DELETED", &self.gone(&name, stored.revision), lines);
                }
                line("ADDED", &value(&object)?, lines);
            }
            Sight::Hidden if was_shown => line("DELETED", &self.gone(&name, stored.revision), lines),
            Sight::Hidden => {}
        }
        Ok(())
    }

    /// What is left of an object that has gone.
    fn gone(&self, name: &str, revision: Revision) -> Value {
        let metadata = json!({ "name": name, "resourceVersion": revision.to_string() });
        json!({ "apiVersion": API_VERSION, "kind": self.kind.name(), "metadata": metadata })
    }

    fn bookmark(&mut self, lines: &mut Vec<u8>) {
        let metadata = json!({ "resourceVersion": self.at.to_string() });
        let object = json!({ "apiVersion": API_VERSION, "kind": self.kind.name(), "metadata": metadata });
        line("BOOKMARK", &object, lines);
        self.quiet_turns = 0;
    }

    /// What has changed since the last turn, in lines.
    async fn changes(&mut self) -> Result<Vec<u8>, Status> {
        let prefix = prefix(self.kind);
        let first = self.store.changes(&prefix, None, self.at, None).await?;
        let (revision, count) = (first.revision, first.count);
        let (mut written, mut more) = (first.objects, first.more);
        while more {
            let last = written.last().map(|object| object.key.clone());
            let page = self.store.changes(&prefix, last.as_ref(), self.at, Some(revision)).await?;
            more = page.more && !page.objects.is_empty();
            written.extend(page.objects);
        }
        let new = written.iter().filter(|stored| !self.known.contains_key(&name_of(stored))).count();
        let left = if (self.known.len() + new) as u64 > count {
            Some(self.store.list(&prefix, Some(revision), true).await?.0)
        } else {
            None
        };
        let mut lines = Vec::new();
        if let Some(left) = left {
            self.tell_gone(&left.iter().map(name_of).collect(), revision, &mut lines);
        }
        // In the order in which they were written, as one who watches the table itself would see them.
        written.sort_by(|one, other| (one.revision, &one.key).cmp(&(other.revision, &other.key)));
        for stored in &written {
            self.tell(stored, &mut lines)?;
        }
        self.at = revision.max(self.at);
        Ok(lines)
    }

    fn tell_gone(&mut self, left: &std::collections::BTreeSet<String>, revision: Revision, lines: &mut Vec<u8>) {
        let gone: Vec<String> = self.known.keys().filter(|name| !left.contains(*name)).cloned().collect();
        for name in gone {
            let known = self.known.remove(&name);
            if known.is_some_and(|known| known.sight == Sight::Shown) {
                line("DELETED", &self.gone(&name, revision), lines);
            }
        }
    }

    /// One turn: the lines that it brings, and whether the stream goes on.
    async fn turn(&mut self) -> (Vec<u8>, Goes) {
        match self.changes().await {
            Ok(lines) if lines.is_empty() => {
                (self.failed_turns, self.quiet_turns) = (0, self.quiet_turns + 1);
                let mut lines = lines;
                if self.quiet_turns >= BOOKMARK_TURNS {
                    self.bookmark(&mut lines);
                }
                (lines, Goes::On)
            }
            Ok(lines) => {
                (self.failed_turns, self.quiet_turns) = (0, 0);
                (lines, Goes::On)
            }
            Err(status) => {
                self.failed_turns += 1;
                if status.reason.is_passing() && self.failed_turns < PATIENCE_TURNS {
                    return (Vec::new(), Goes::On);
                }
                let mut lines = Vec::new();
                line("ERROR", &serde_json::to_value(&status).unwrap_or_default(), &mut lines);
                (lines, Goes::NoFurther)
            }
        }
    }
}

/// Whether a stream goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Goes {
    On,
    NoFurther,
}

type Turn = Pin<Box<dyn Future<Output = (Box<Follower>, Vec<u8>, Goes)> + Send>>;

/// Where a stream stands.
enum Step {
    /// These lines come first.
    Ready(Box<Follower>, Bytes),
    /// A turn is under way.
    Running(Turn),
    /// It has ended.
    Ended,
}

struct Stream {
    next: Step,
}

/// The next turn, after a while.
fn turn(mut follower: Box<Follower>) -> Turn {
    Box::pin(async move {
        tokio::time::sleep(POLL_INTERVAL).await;
        let (lines, goes) = follower.turn().await;
        (follower, lines, goes)
    })
}

impl futures_core::Stream for Stream {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match std::mem::replace(&mut self.next, Step::Ended) {
                Step::Ended => return Poll::Ready(None),
                Step::Ready(follower, lines) => {
                    self.next = Step::Running(turn(follower));
                    if !lines.is_empty() {
                        return Poll::Ready(Some(lines));
                    }
                }
                Step::Running(mut turn) => match turn.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.next = Step::Running(turn);
                        return Poll::Pending;
                    }
                    Poll::Ready((_, lines, Goes::NoFurther)) => return Poll::Ready(Some(lines.into())),
                    Poll::Ready((follower, lines, Goes::On)) => self.next = Step::Ready(follower, lines.into()),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests;
