//! Who asks: one comparison of two replicas, from the roots down to keys.
//!
//! ```text
//!   Open ──► Same                                      done
//!        └─► Differs ─► Compare* ─► List* ─► …          done when no node and no range is left
//! ```
//!
//! All that is known of a session lies here: a stack of nodes that differ and of ranges that must be listed. A question takes as many
//! as fit the bytes that it may have, from several levels at once, the deepest first, so the stack stays short: at
//! most what one question found on each level.
//!
//! Each question has a number. An answer with another number, or of another session, is stale and ignored, so
//! nothing is counted twice, and a question can be sent again as it was. Trees may change between two questions. What
//! changes behind a session's back is found by the next session; what becomes equal before it is listed is not repaired.

use crate::digest::{Entry, Secret};
use crate::message::{
    Answer, Bits, Comparison, Difference, Listing, MAX_ENTRIES, MAX_NODES, MAX_PAGES, MAX_SPAN, Node, Question,
    Request, SessionId, Short, Verdict,
};
use crate::place::{Prefix, Range, nodes};
use crate::tree::Tree;

mod progress;
#[cfg(test)]
mod tests;

pub use progress::{Findings, Progress};

/// Bytes of a question up to which nodes are compared over two levels at once: a round saved is worth a few kilobytes.
const SPAN_BYTES: usize = 8 * 1024;
/// Listings that wait before they go first: more only cost memory.
const MANY_RANGES: usize = 256;

/// What was read of a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The entries of the range up to `through`, in order of their positions.
    pub entries: Vec<Entry>,
    /// The range was read as far as this position. If more entries than the limit lie at one position, all of them are here.
    pub through: u64,
}

impl Page {
    pub(crate) fn shorts(&self) -> Vec<Short> {
        let mut shorts: Vec<Short> = self.entries.iter().copied().map(Short::from).collect();
        shorts.sort_unstable();
        shorts.dedup();
        shorts
    }
}

/// What a session wants its host to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Send this, then wait for its answer.
    Send(Request),
    /// Read this range, at most so many entries, and [`supply`](Session::supply) them.
    Read(Range, usize),
    /// Wait for the answer to what was sent.
    Wait,
    /// Nothing: it is over.
    Done,
}

/// What an answer was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handled {
    /// The one that was waited for.
    Fresh,
    /// One that is not waited for: it came twice, late, or from another session. Nothing has changed.
    Stale,
}

/// Why a session is over before its end. What it has found is true all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SessionError {
    /// The replicas have different secrets.
    #[error("the replicas have different secrets: give both the table's")]
    OtherSecret,
    /// The answer does not fit the question.
    #[error("an answer does not fit its question: {0}")]
    Unfit(&'static str),
}

/// A range to be listed, and how many buckets are compared once it is.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    range: Range,
    weight: u64,
}

/// Where a session stands.
#[derive(Debug)]
enum State {
    /// The next question can be made.
    Ready,
    /// A list is being made.
    Listing(List),
    /// A question is on its way.
    Waiting { request: Request, of: Asked },
    /// It is over.
    Done,
}

/// A list that is being made.
#[derive(Debug, Default)]
struct List {
    listings: Vec<Listing>,
    wanted: Vec<Wanted>,
    bytes: usize,
    entries: usize,
    /// What is being read.
    reading: Option<Wanted>,
}

/// What was asked, beside what the request says.
#[derive(Debug)]
enum Asked {
    Open,
    Compare,
    List(Vec<Wanted>),
}

/// One comparison.
///
/// The host calls [`next`](Self::next) until it says [`Next::Wait`] or [`Next::Done`] or has sent something, hands answers to
/// [`handle`](Self::handle), and takes what was found with [`take_findings`](Self::take_findings) whenever it likes.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    step: u32,
    /// Levels that are compared: those that both trees had in the beginning.
    depth: u8,
    state: State,
    nodes: Vec<Prefix>,
    ranges: Vec<Wanted>,
    progress: Progress,
    findings: Findings,
}

impl Session {
    /// Begins a session with an id that this replica has never used before; its first question waits to be sent.
    #[must_use]
    pub fn open(id: SessionId, tree: &Tree, secret: &Secret) -> (Self, Request) {
        let question = Question::Open { fingerprint: secret.fingerprint(), depth: tree.depth(), root: tree.root().sum };
        let request = Request { session: id, step: 0, question };
        let session = Self {
            id,
            step: 0,
            depth: tree.depth(),
            state: State::Waiting { request: request.clone(), of: Asked::Open },
            nodes: Vec::new(),
            ranges: Vec::new(),
            progress: Progress { compared: 0, total: nodes(tree.depth()) as u64, differing: 0 },
            findings: Findings::default(),
        };
        (session, request)
    }

    /// Whose session it is.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// How far it has come.
    #[must_use]
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// What was found since it was last asked.
    #[must_use]
    pub fn take_findings(&mut self) -> Findings {
        std::mem::take(&mut self.findings)
    }

    /// The question that waits for its answer, to be sent again when that has not come for a while.
    #[must_use]
    pub const fn resend(&self) -> Option<&Request> {
        match &self.state {
            State::Waiting { request, .. } => Some(request),
            State::Ready | State::Listing(_) | State::Done => None,
        }
    }

    /// What is to be done now. A question has at most `max_bytes`, or what its first part takes if that is more: 4 KB.
    pub fn next(&mut self, tree: &Tree, max_bytes: usize) -> Next {
        match &self.state {
            State::Waiting { .. } => Next::Wait,
            State::Done => Next::Done,
            State::Listing(_) => self.go_on_listing(max_bytes),
            State::Ready => self.ask(tree, max_bytes),
        }
    }

    fn ask(&mut self, tree: &Tree, max_bytes: usize) -> Next {
        if self.ranges.len() < MANY_RANGES {
            let nodes = self.take_nodes(tree, max_bytes);
            if !nodes.is_empty() {
                return self.send(Question::Compare(nodes), Asked::Compare);
            }
        }
        if self.ranges.is_empty() {
            self.state = State::Done;
            return Next::Done;
        }
        self.state = State::Listing(List::default());
        self.go_on_listing(max_bytes)
    }

    fn send(&mut self, question: Question, of: Asked) -> Next {
        self.step += 1;
        let request = Request { session: self.id, step: self.step, question };
        self.state = State::Waiting { request: request.clone(), of };
        Next::Send(request)
    }

    /// Nodes to compare, as many as fit; those that are buckets go to the lists.
    fn take_nodes(&mut self, tree: &Tree, max_bytes: usize) -> Vec<Node> {
        let span = if self.nodes.len() * Node::max_bytes(MAX_SPAN) <= SPAN_BYTES { MAX_SPAN } else { 1 };
        let (mut taken, mut bytes) = (Vec::new(), 0);
        let depth = self.depth.min(tree.depth());
        while let Some(prefix) = self.nodes.pop() {
            if prefix.level() >= depth {
                self.list(prefix);
                continue;
            }
            let span = span.min(depth - prefix.level());
            let more = Node::max_bytes(span);
            if !taken.is_empty() && (bytes + more > max_bytes || taken.len() == MAX_NODES) {
                self.nodes.push(prefix);
                break;
            }
            bytes += more;
            let sums = prefix.descendants(span).filter_map(|child| Some(tree.summary(child)?.sum)).collect();
            taken.push(Node { prefix, span, sums });
        }
        taken
    }

    /// A bucket differs.
    fn list(&mut self, bucket: Prefix) {
        let weight = self.weight(bucket.level());
        self.progress.differing += weight;
        self.findings.buckets.push(bucket);
        self.ranges.push(Wanted { range: bucket.range(), weight });
    }

    /// Buckets below a node of this level.
    fn weight(&self, level: u8) -> u64 {
        nodes(self.depth - level) as u64
    }

    fn go_on_listing(&mut self, max_bytes: usize) -> Next {
        let State::Listing(list) = &mut self.state else { return Next::Wait };
        if let Some(limit) = list.room(max_bytes)
            && let Some(wanted) = list.reading.or_else(|| self.ranges.pop())
        {
            list.reading = Some(wanted);
            return Next::Read(wanted.range, limit);
        }
        let List { listings, wanted, reading, .. } = std::mem::take(list);
        self.ranges.extend(reading);
        self.send(Question::List(listings), Asked::List(wanted))
    }

    /// What was read of the range that [`Next::Read`] named.
    pub fn supply(&mut self, page: &Page) {
        let State::Listing(list) = &mut self.state else { return };
        let Some(wanted) = list.reading.take() else { return };
        let rest = list.add(wanted, page);
        self.ranges.extend(rest);
    }

    /// An answer has come.
    ///
    /// # Errors
    ///
    /// Those of [`SessionError`]; the session is over then.
    pub fn handle(&mut self, answer: Answer) -> Result<Handled, SessionError> {
        let is_fresh = answer.session == self.id && answer.step == self.step;
        if !is_fresh || !matches!(self.state, State::Waiting { .. }) {
            return Ok(Handled::Stale);
        }
        // Whatever goes wrong from here on ends the session.
        let State::Waiting { request, of } = std::mem::replace(&mut self.state, State::Done) else {
            return Ok(Handled::Stale);
        };
        match (of, request.question, answer.verdict) {
            (Asked::Open, _, Verdict::OtherSecret) => return Err(SessionError::OtherSecret),
            (Asked::Open, _, Verdict::Same) => {
                self.progress.compared = self.progress.total;
                return Ok(Handled::Fresh);
            }
            (Asked::Open, _, Verdict::Differs { depth }) => self.begin(depth),
            (Asked::Compare, Question::Compare(nodes), Verdict::Compared(all)) => self.compared(&nodes, &all)?,
            (Asked::List(wanted), Question::List(listings), Verdict::Listed(all)) => {
                self.listed(&wanted, &listings, all)?;
            }
            (Asked::Open | Asked::Compare | Asked::List(_), _, _) => return Err(SessionError::Unfit("another kind")),
        }
        self.state = State::Ready;
        Ok(Handled::Fresh)
    }

    fn begin(&mut self, depth: u8) {
        self.depth = self.depth.min(depth);
        self.progress.total = nodes(self.depth) as u64;
        self.nodes.push(Prefix::ROOT);
    }

    fn compared(&mut self, nodes: &[Node], all: &[Comparison]) -> Result<(), SessionError> {
        if nodes.len() != all.len() {
            return Err(SessionError::Unfit("not one comparison for each node"));
        }
        for (node, comparison) in nodes.iter().zip(all) {
            match comparison {
                Comparison::TooDeep => self.list(node.prefix),
                Comparison::Differing(bits) => self.descend(node, bits),
            }
        }
        Ok(())
    }

    fn descend(&mut self, node: &Node, differing: &Bits) {
        for (number, descendant) in node.prefix.descendants(node.span).enumerate() {
            if differing.has(number) {
                self.nodes.push(descendant);
            } else {
                self.progress.compared += self.weight(descendant.level());
            }
        }
    }

    fn listed(&mut self, wanted: &[Wanted], listings: &[Listing], all: Vec<Difference>) -> Result<(), SessionError> {
        if listings.len() != all.len() {
            return Err(SessionError::Unfit("not one difference for each listing"));
        }
        for ((wanted, listing), difference) in wanted.iter().zip(listings).zip(all) {
            match difference {
                Difference::Unread => self.ranges.push(Wanted { range: listing.range, weight: wanted.weight }),
                Difference::Read { through, send, ask } => self.settle(wanted, listing, through, send, ask)?,
            }
        }
        Ok(())
    }

    fn settle(
        &mut self,
        wanted: &Wanted,
        listing: &Listing,
        through: u64,
        send: Vec<u64>,
        ask: Vec<u64>,
    ) -> Result<(), SessionError> {
        let read = Range { first: listing.range.first, last: through };
        if !listing.range.contains(through) || !send.iter().chain(&ask).all(|position| read.contains(*position)) {
            return Err(SessionError::Unfit("positions outside of what was listed"));
        }
        let has = |position: &u64| listing.entries.binary_search_by_key(position, |entry| entry.position).is_ok();
        if !send.iter().all(has) {
            return Err(SessionError::Unfit("keys to send that were not listed"));
        }
        self.findings.send.extend(send);
        self.findings.ask.extend(ask);
        match listing.range.after(through) {
            Some(range) => self.ranges.push(Wanted { range, weight: wanted.weight }),
            None => self.progress.compared += wanted.weight,
        }
        Ok(())
    }
}

impl List {
    /// How many entries still fit; the first range gets some in any case.
    fn room(&self, max_bytes: usize) -> Option<usize> {
        let taken = self.bytes + Listing::OVERHEAD;
        let room = (max_bytes.saturating_sub(taken) / Short::MAX_BYTES).min(MOST_READ - self.entries);
        if self.listings.is_empty() {
            return Some(room.max(MIN_READ));
        }
        (room > 0 && self.listings.len() < MAX_PAGES).then_some(room)
    }

    /// Takes what was read of a range, and gives back what of it was not.
    fn add(&mut self, wanted: Wanted, page: &Page) -> Option<Wanted> {
        let through = page.through.clamp(wanted.range.first, wanted.range.last);
        let rest = wanted.range.after(through).map(|range| Wanted { range, weight: wanted.weight });
        let entries = page.shorts();
        self.bytes += Listing::OVERHEAD + entries.len() * Short::MAX_BYTES;
        self.entries = (self.entries + entries.len()).min(MOST_READ);
        self.listings.push(Listing { range: Range { first: wanted.range.first, last: through }, entries });
        // Its buckets are compared with its last part.
        self.wanted.push(Wanted { weight: if rest.is_some() { 0 } else { wanted.weight }, ..wanted });
        rest
    }
}

/// Entries that a list asks for at most: fewer than one may have, because those that share the last position come along.
const MOST_READ: usize = MAX_ENTRIES - 64;
/// Entries that a list may have however few bytes are allowed, or nothing would ever go on.
const MIN_READ: usize = 64;
