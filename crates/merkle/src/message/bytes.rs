//! The bytes of requests and answers. Positions in a list are written as distances from the one before.

use althing_codec::{DecodeError, Reader, Writer};
use bytes::Bytes;

use super::{
    Answer, Bits, Comparison, Difference, Listing, MAX_ENTRIES, MAX_NODES, MAX_PAGES, MAX_SPAN, Node, Question,
    Request, SessionId, Short, Verdict, width,
};
use crate::place::{MAX_DEPTH, Prefix, Range};
use crate::tree::bytes::read_sum;

/// The format of both.
const VERSION: u8 = 1;

fn version(reader: &mut Reader, what: &'static str) -> Result<(), DecodeError> {
    match reader.u8(what)? {
        VERSION => Ok(()),
        found => Err(DecodeError::Version { what, found: found.into(), known: VERSION.into() }),
    }
}

/// A count that has a limit of its own beside that of the bytes that are left.
fn count(reader: &mut Reader, field: &'static str, most: usize) -> Result<usize, DecodeError> {
    let count = reader.count(field)?;
    if count > most { Err(DecodeError::Unknown { field, value: count as u64 }) } else { Ok(count) }
}

impl Request {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.u64(self.session.0);
        writer.u64(self.step.into());
        match &self.question {
            Question::Open { fingerprint, depth, root } => {
                writer.u8(1);
                writer.fixed_u64(*fingerprint);
                writer.u8(*depth);
                writer.raw(&root.to_le_bytes());
            }
            Question::Compare(nodes) => {
                writer.u8(2);
                writer.u64(nodes.len() as u64);
                nodes.iter().for_each(|node| write_node(&mut writer, node));
            }
            Question::List(pages) => {
                writer.u8(3);
                writer.u64(pages.len() as u64);
                pages.iter().for_each(|page| write_listing(&mut writer, page));
            }
        }
        writer.finish()
    }

    /// The request of these bytes.
    ///
    /// # Errors
    ///
    /// Bytes that no request is written as, or beyond a limit of this module.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let (session, step) = head(&mut reader, "a request's version")?;
        let question = match reader.u8("a question")? {
            1 => Question::Open {
                fingerprint: reader.fixed_u64("a fingerprint")?,
                depth: depth(&mut reader)?,
                root: read_sum(&mut reader, "a root")?,
            },
            2 => {
                let count = count(&mut reader, "nodes", MAX_NODES)?;
                Question::Compare((0..count).map(|_| read_node(&mut reader)).collect::<Result<_, _>>()?)
            }
            3 => {
                let count = count(&mut reader, "listings", MAX_PAGES)?;
                let mut left = MAX_ENTRIES;
                Question::List((0..count).map(|_| read_listing(&mut reader, &mut left)).collect::<Result<_, _>>()?)
            }
            value => return Err(DecodeError::Unknown { field: "a question", value: value.into() }),
        };
        reader.finish()?;
        Ok(Self { session, step, question })
    }
}

impl Answer {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.u64(self.session.0);
        writer.u64(self.step.into());
        match &self.verdict {
            Verdict::OtherSecret => writer.u8(1),
            Verdict::Same => writer.u8(2),
            Verdict::Differs { depth } => {
                writer.u8(3);
                writer.u8(*depth);
            }
            Verdict::Compared(all) => {
                writer.u8(4);
                writer.u64(all.len() as u64);
                all.iter().for_each(|each| write_comparison(&mut writer, each));
            }
            Verdict::Listed(all) => {
                writer.u8(5);
                writer.u64(all.len() as u64);
                all.iter().for_each(|each| write_difference(&mut writer, each));
            }
        }
        writer.finish()
    }

    /// The answer of these bytes.
    ///
    /// # Errors
    ///
    /// Bytes that no answer is written as, or beyond a limit of this module.
    pub fn decode(input: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(input);
        let (session, step) = head(&mut reader, "an answer's version")?;
        let verdict = match reader.u8("a verdict")? {
            1 => Verdict::OtherSecret,
            2 => Verdict::Same,
            3 => Verdict::Differs { depth: depth(&mut reader)? },
            4 => {
                let count = count(&mut reader, "comparisons", MAX_NODES)?;
                Verdict::Compared((0..count).map(|_| read_comparison(&mut reader)).collect::<Result<_, _>>()?)
            }
            5 => {
                let count = count(&mut reader, "differences", MAX_PAGES)?;
                let mut left = 2 * MAX_ENTRIES;
                Verdict::Listed((0..count).map(|_| read_difference(&mut reader, &mut left)).collect::<Result<_, _>>()?)
            }
            value => return Err(DecodeError::Unknown { field: "a verdict", value: value.into() }),
        };
        reader.finish()?;
        Ok(Self { session, step, verdict })
    }
}

fn head(reader: &mut Reader, what: &'static str) -> Result<(SessionId, u32), DecodeError> {
    version(reader, what)?;
    let session = SessionId(reader.u64("a session")?);
    let step = reader.u64("a step")?;
    let step = u32::try_from(step).map_err(|_| DecodeError::Overlong("a step"))?;
    Ok((session, step))
}

fn depth(reader: &mut Reader) -> Result<u8, DecodeError> {
    match reader.u8("a depth")? {
        depth @ 0..=MAX_DEPTH => Ok(depth),
        value => Err(DecodeError::Unknown { field: "a depth", value: value.into() }),
    }
}

/// Bits of so many descendants, eight to a byte.
fn write_bits(writer: &mut Writer, bits: &Bits, width: usize) {
    for byte in 0..width / 8 {
        writer.u8((bits.0[byte / 8] >> (byte % 8 * 8)) as u8);
    }
}

fn read_bits(reader: &mut Reader, width: usize) -> Result<Bits, DecodeError> {
    let mut bits = Bits::default();
    for byte in 0..width / 8 {
        bits.0[byte / 8] |= u64::from(reader.u8("bits")?) << (byte % 8 * 8);
    }
    Ok(bits)
}

fn write_node(writer: &mut Writer, node: &Node) {
    writer.u8(node.prefix.level());
    writer.u64(node.prefix.index().into());
    writer.u8(node.span);
    let mut present = Bits::default();
    let there = node.sums.iter().enumerate().filter(|(_, sum)| **sum != 0);
    there.clone().for_each(|(number, _)| present.set(number));
    write_bits(writer, &present, width(node.span));
    there.for_each(|(_, sum)| writer.raw(&sum.to_le_bytes()));
}

fn read_node(reader: &mut Reader) -> Result<Node, DecodeError> {
    let level = reader.u8("a node's level")?;
    let index = reader.u64("a node's number")?;
    let unknown = DecodeError::Unknown { field: "a node's number", value: index };
    let prefix = u32::try_from(index).ok().and_then(|index| Prefix::new(level, index)).ok_or(unknown)?;
    let span = span(reader)?;
    if level + span > MAX_DEPTH {
        return Err(DecodeError::Unknown { field: "a node's level", value: level.into() });
    }
    let present = read_bits(reader, width(span))?;
    let sum = |number| if present.has(number) { read_sum(reader, "a node's sum") } else { Ok(0) };
    Ok(Node { prefix, span, sums: (0..width(span)).map(sum).collect::<Result<_, _>>()? })
}

fn span(reader: &mut Reader) -> Result<u8, DecodeError> {
    match reader.u8("a node's span")? {
        span @ 1..=MAX_SPAN => Ok(span),
        value => Err(DecodeError::Unknown { field: "a node's span", value: value.into() }),
    }
}

fn write_listing(writer: &mut Writer, page: &Listing) {
    writer.fixed_u64(page.range.first);
    writer.fixed_u64(page.range.last);
    writer.u64(page.entries.len() as u64);
    let mut before = page.range.first;
    for entry in &page.entries {
        writer.u64(entry.position - before);
        writer.fixed_u64(entry.digest);
        before = entry.position;
    }
}

fn read_listing(reader: &mut Reader, left: &mut usize) -> Result<Listing, DecodeError> {
    let range = Range { first: reader.fixed_u64("a range")?, last: reader.fixed_u64("a range")? };
    if range.last < range.first {
        return Err(DecodeError::Unknown { field: "a range", value: range.last });
    }
    let count = count(reader, "entries", *left)?;
    *left -= count;
    let mut entries: Vec<Short> = Vec::with_capacity(count);
    let mut before = range.first;
    for _ in 0..count {
        let position = further(reader, before, range.last)?;
        let entry = Short { position, digest: reader.fixed_u64("a digest")? };
        if entries.last().is_some_and(|last| *last >= entry) {
            return Err(DecodeError::Unknown { field: "a digest", value: entry.digest });
        }
        entries.push(entry);
        before = position;
    }
    Ok(Listing { range, entries })
}

/// The position so far from the one before, if it is not beyond the last one.
fn further(reader: &mut Reader, before: u64, last: u64) -> Result<u64, DecodeError> {
    let distance = reader.u64("a position")?;
    let position = before.checked_add(distance).filter(|position| *position <= last);
    position.ok_or(DecodeError::Unknown { field: "a position", value: distance })
}

fn write_comparison(writer: &mut Writer, comparison: &Comparison) {
    match comparison {
        Comparison::TooDeep => writer.u8(0),
        Comparison::Differing(bits) => {
            let span = if bits.0[0] >> width(1) == 0 && bits.0[1..] == [0; 3] { 1 } else { MAX_SPAN };
            writer.u8(span);
            write_bits(writer, bits, width(span));
        }
    }
}

fn read_comparison(reader: &mut Reader) -> Result<Comparison, DecodeError> {
    match reader.u8("a comparison")? {
        0 => Ok(Comparison::TooDeep),
        span @ 1..=MAX_SPAN => Ok(Comparison::Differing(read_bits(reader, width(span))?)),
        value => Err(DecodeError::Unknown { field: "a comparison", value: value.into() }),
    }
}

fn write_difference(writer: &mut Writer, difference: &Difference) {
    match difference {
        Difference::Unread => writer.u8(0),
        Difference::Read { through, send, ask } => {
            writer.u8(1);
            writer.fixed_u64(*through);
            write_positions(writer, send);
            write_positions(writer, ask);
        }
    }
}

fn read_difference(reader: &mut Reader, left: &mut usize) -> Result<Difference, DecodeError> {
    match reader.u8("a difference")? {
        0 => Ok(Difference::Unread),
        1 => {
            let through = reader.fixed_u64("the last position")?;
            let send = read_positions(reader, left, through)?;
            let ask = read_positions(reader, left, through)?;
            Ok(Difference::Read { through, send, ask })
        }
        value => Err(DecodeError::Unknown { field: "a difference", value: value.into() }),
    }
}

fn write_positions(writer: &mut Writer, positions: &[u64]) {
    writer.u64(positions.len() as u64);
    let mut before = 0;
    for (number, position) in positions.iter().enumerate() {
        // The first one is anywhere and the distances are short.
        if number == 0 {
            writer.fixed_u64(*position)
        } else {
            writer.u64(position - before)
        }
        before = *position;
    }
}

fn read_positions(reader: &mut Reader, left: &mut usize, last: u64) -> Result<Vec<u64>, DecodeError> {
    let count = count(reader, "positions", *left)?;
    *left -= count;
    let mut positions = Vec::with_capacity(count);
    for _ in 0..count {
        let position = match positions.last() {
            None => reader.fixed_u64("a position")?,
            Some(before) => further(reader, *before, last)?,
        };
        if position > last || positions.last() == Some(&position) {
            return Err(DecodeError::Unknown { field: "a position", value: position });
        }
        positions.push(position);
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    fn node() -> impl Strategy<Value = Node> {
        (any::<u64>(), 0..=3_u8, 1..=MAX_SPAN).prop_flat_map(|(position, level, span)| {
            vec(prop_oneof![Just(0_u128), any::<u128>()], width(span)).prop_map(move |sums| Node {
                prefix: Prefix::of(position, level),
                span,
                sums,
            })
        })
    }

    fn listing() -> impl Strategy<Value = Listing> {
        (any::<u64>(), any::<u64>(), btree_set((any::<u64>(), any::<u64>()), 0..9)).prop_map(|(one, other, all)| {
            let range = Range { first: one.min(other), last: one.max(other) };
            let inside = all.into_iter().filter(|(position, _)| range.contains(*position));
            Listing { range, entries: inside.map(|(position, digest)| Short { position, digest }).collect() }
        })
    }

    fn request() -> impl Strategy<Value = Request> {
        let question = prop_oneof![
            (any::<u64>(), 0..=MAX_DEPTH, any::<u128>()).prop_map(|(fingerprint, depth, root)| Question::Open {
                fingerprint,
                depth,
                root
            }),
            vec(node(), 0..4).prop_map(Question::Compare),
            vec(listing(), 0..4).prop_map(Question::List),
        ];
        (any::<u64>(), any::<u32>(), question).prop_map(|(session, step, question)| Request {
            session: SessionId(session),
            step,
            question,
        })
    }

    fn difference() -> impl Strategy<Value = Difference> {
        let positions = || btree_set(any::<u64>(), 0..9);
        prop_oneof![
            Just(Difference::Unread),
            (any::<u64>(), positions(), positions()).prop_map(|(through, send, ask)| Difference::Read {
                through,
                send: send.into_iter().filter(|position| *position <= through).collect(),
                ask: ask.into_iter().filter(|position| *position <= through).collect(),
            })
        ]
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        let bits = any::<[u64; 4]>().prop_map(Bits);
        let few = any::<u16>().prop_map(|bits| Bits([bits.into(), 0, 0, 0]));
        let differing = prop_oneof![bits, few].prop_map(Comparison::Differing);
        prop_oneof![
            Just(Verdict::OtherSecret),
            Just(Verdict::Same),
            (0..=MAX_DEPTH).prop_map(|depth| Verdict::Differs { depth }),
            vec(prop_oneof![Just(Comparison::TooDeep), differing], 0..9).prop_map(Verdict::Compared),
            vec(difference(), 0..4).prop_map(Verdict::Listed),
        ]
    }

    proptest! {
        #[test]
        fn requests_are_read_as_they_were_written(request in request()) {
            prop_assert_eq!(Request::decode(request.encode()), Ok(request));
        }

        #[test]
        fn answers_are_read_as_they_were_written(session: u64, step: u32, verdict in verdict()) {
            let answer = Answer { session: SessionId(session), step, verdict };
            prop_assert_eq!(Answer::decode(answer.encode()), Ok(answer));
        }

        #[test]
        fn hostile_bytes_are_refused(mut input: Vec<u8>, kind in 0_u8..7) {
            let _ = Request::decode(input.clone().into());
            input.splice(0..0, [VERSION, 3, 1, kind]);
            let _ = Request::decode(input.clone().into());
            let _ = Answer::decode(input.into());
        }

        #[test]
        fn messages_that_are_bent_or_cut_are_refused_or_are_other_messages(
            request in request(), at: prop::sample::Index, bit in 0_u8..8, cut: bool,
        ) {
            let mut input = request.encode().to_vec();
            let at = at.index(input.len());
            if cut { input.truncate(at) } else { input[at] ^= 1 << bit }
            prop_assert_ne!(Request::decode(input.into()), Ok(request));
        }
    }

    #[test]
    fn limits_hold() {
        let list = |pages: usize, entries: u64| {
            let entries: Vec<Short> = (0..entries).map(|position| Short { position, digest: 0 }).collect();
            let page = Listing { range: Range { first: 0, last: u64::MAX }, entries };
            Request { session: SessionId(1), step: 1, question: Question::List(vec![page; pages]) }
        };
        assert!(Request::decode(list(2, MAX_ENTRIES as u64 / 2).encode()).is_ok());
        assert!(Request::decode(list(2, MAX_ENTRIES as u64 / 2 + 1).encode()).is_err());
        assert!(Request::decode(list(MAX_PAGES + 1, 0).encode()).is_err());
    }
}
