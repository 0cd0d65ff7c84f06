//! Who answers. It remembers nothing of a session, so a repeated question is answered again, a late one does no harm, and
//! whoever goes away in the middle of a session leaves nothing behind.

use std::cmp::Ordering;

use crate::digest::Secret;
use crate::message::{
    Answer, Bits, Comparison, Difference, Listing, MAX_ENTRIES, Node, Question, Request, SessionId, Short, Verdict,
};
use crate::place::Range;
use crate::session::Page;
use crate::tree::Tree;

/// What a question leads to.
#[derive(Debug)]
pub enum Reply {
    /// An answer.
    Now(Answer),
    /// Reading first.
    Read(Pending),
}

/// The reply of this tree to a question.
#[must_use]
pub fn answer(tree: &Tree, secret: &Secret, request: Request) -> Reply {
    let Request { session, step, question } = request;
    let verdict = match question {
        Question::Open { fingerprint, .. } if fingerprint != secret.fingerprint() => Verdict::OtherSecret,
        Question::Open { root, .. } if root == tree.root().sum => Verdict::Same,
        Question::Open { .. } => Verdict::Differs { depth: tree.depth() },
        Question::Compare(nodes) => Verdict::Compared(nodes.iter().map(|node| compare(tree, node)).collect()),
        Question::List(pages) => return Reply::Read(Pending::new(session, step, pages)),
    };
    Reply::Now(Answer { session, step, verdict })
}

fn compare(tree: &Tree, node: &Node) -> Comparison {
    let mut differing = Bits::default();
    for (number, (descendant, sum)) in node.prefix.descendants(node.span).zip(&node.sums).enumerate() {
        match tree.summary(descendant) {
            None => return Comparison::TooDeep,
            Some(own) if own.sum != *sum => differing.set(number),
            Some(_) => {}
        }
    }
    Comparison::Differing(differing)
}

/// A question about lists, whose ranges the host reads one by one:
///
/// `while let Some((range, limit)) = pending.wants() { pending.supply(read(range, limit)); }`, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct Pending {
    session: SessionId,
    step: u32,
    pages: std::vec::IntoIter<Listing>,
    differences: Vec<Difference>,
    /// Entries that may still be read.
    left: usize,
}

impl Pending {
    fn new(session: SessionId, step: u32, pages: Vec<Listing>) -> Self {
        let differences = Vec::with_capacity(pages.len());
        Self { session, step, pages: pages.into_iter(), differences, left: MAX_ENTRIES }
    }

    /// What must be read next, and how many entries at most; nothing if all is there or the answer is full.
    #[must_use]
    pub fn wants(&self) -> Option<(Range, usize)> {
        let page = self.pages.as_slice().first()?;
        (self.left > 0).then_some((page.range, self.left))
    }

    /// What was read of the range that [`wants`](Self::wants) named.
    pub fn supply(&mut self, page: Page) {
        let Some(listing) = self.pages.next() else { return };
        self.left = self.left.saturating_sub(page.entries.len().max(1));
        let through = page.through.clamp(listing.range.first, listing.range.last);
        self.differences.push(difference(&listing.entries, &page.shorts(), through));
    }

    /// The answer; listings that were not read are marked as such.
    #[must_use]
    pub fn finish(mut self) -> Answer {
        self.differences.extend(self.pages.map(|_| Difference::Unread));
        Answer { session: self.session, step: self.step, verdict: Verdict::Listed(self.differences) }
    }
}

/// What each side has, as far as `through`, that the other has not.
fn difference(theirs: &[Short], ours: &[Short], through: u64) -> Difference {
    let (mut send, mut ask) = (Vec::new(), Vec::new());
    let mut theirs = groups(theirs, through).peekable();
    let mut ours = groups(ours, through).peekable();
    loop {
        let order = match (theirs.peek(), ours.peek()) {
            (Some(their), Some(our)) => their[0].position.cmp(&our[0].position),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Difference::Read { through, send, ask },
        };
        let their = if order.is_le() { theirs.next() } else { None };
        let our = if order.is_ge() { ours.next() } else { None };
        if their != our {
            send.extend(their.map(|group| group[0].position));
            ask.extend(our.map(|group| group[0].position));
        }
    }
}

/// The entries as far as `through`, those at one position together.
fn groups(entries: &[Short], through: u64) -> impl Iterator<Item = &[Short]> {
    let end = entries.partition_point(|entry| entry.position <= through);
    entries[..end].chunk_by(|one, next| one.position == next.position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(of: &[(u64, u64)]) -> Vec<Short> {
        of.iter().map(|&(position, digest)| Short { position, digest }).collect()
    }

    #[test]
    fn keys_at_one_position_are_repaired_together() {
        let theirs = shorts(&[(1, 1), (1, 2), (3, 1), (5, 5), (9, 9)]);
        let ours = shorts(&[(1, 1), (2, 2), (3, 1), (5, 6), (8, 1)]);
        let expected = Difference::Read { through: 7, send: vec![1, 5], ask: vec![1, 2, 5] };
        assert_eq!(difference(&theirs, &ours, 7), expected);
    }

    #[test]
    fn an_answer_that_is_full_says_what_was_not_read() {
        let listing = Listing { range: Range { first: 0, last: 9 }, entries: shorts(&[(4, 4)]) };
        let mut pending = Pending::new(SessionId(1), 2, vec![listing.clone(), listing]);
        assert_eq!(pending.wants(), Some((Range { first: 0, last: 9 }, MAX_ENTRIES)));
        let entries = (0..MAX_ENTRIES as u128).map(|digest| crate::Entry { position: 0, digest }).collect();
        pending.supply(Page { entries, through: 3 });
        assert_eq!(pending.wants(), None);
        let differences = vec![Difference::Read { through: 3, send: vec![], ask: vec![0] }, Difference::Unread];
        assert_eq!(pending.finish().verdict, Verdict::Listed(differences));
    }
}
