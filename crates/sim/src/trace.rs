//! The trace of a run: every event that was delivered, folded into one hash and, if wanted, written as JSON lines.
//!
//! Two runs of one seed are the same run exactly if their hashes agree. The hash covers what each event carried, frames
//! byte by byte, so that it notices a difference long before an answer does.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::Write;

use althing_types::{Instant, NodeId};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// One line of a trace.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The world's time.
    pub at: Instant,
    /// The event's number.
    pub sequence: u64,
    /// Where it happened; `NONE` if in no node.
    pub node: NodeId,
    /// What kind of event, in one word.
    pub kind: &'static str,
    /// The other node or the client, if there is one, else 0.
    pub peer: u64,
    /// What it carried.
    pub payload: Payload<'a>,
    /// More, for people. Not part of the hash, so that a run hashes alike whether or not anybody reads along.
    pub note: &'a str,
}

/// What an event carried. Hashed whole; a line tells only its hash, and of bytes their number.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    /// Nothing.
    None,
    /// Bytes, as they were under way.
    Bytes(&'a [u8]),
    /// A value.
    Value(&'a dyn Digest),
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(bytes).finish(),
            Self::Value(_) => f.write_str("Value(..)"),
        }
    }
}

/// A value that can be hashed: [`Hash`] as an object.
pub trait Digest {
    /// Adds the value to a hash.
    fn digest(&self, hash: &mut Xxh3);
}

impl<T: Hash> Digest for T {
    fn digest(&self, hash: &mut Xxh3) {
        self.hash(hash);
    }
}

/// Folds lines into a hash.
pub struct Trace {
    hash: Xxh3,
    lines: u64,
    sink: Option<Box<dyn Write>>,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace").field("hash", &self.digest()).field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl Trace {
    /// A trace that is written to `sink` as well as hashed, if there is one.
    #[must_use]
    pub fn new(sink: Option<Box<dyn Write>>) -> Self {
        Self { hash: Xxh3::new(), lines: 0, sink }
    }

    /// Adds a line. An error of the sink ends the writing, not the run.
    pub fn add(&mut self, line: &Line<'_>) {
        self.lines += 1;
        self.fold(line);
        if let Some(sink) = &mut self.sink
            && writeln!(sink, "{}", json(line)).is_err()
        {
            self.sink = None;
        }
    }

    fn fold(&mut self, line: &Line<'_>) {
        for number in [line.at.as_nanos(), line.sequence, line.node.get(), line.peer] {
            self.hash.update(&number.to_le_bytes());
        }
        self.fold_bytes(line.kind.as_bytes());
        match line.payload {
            Payload::None => self.fold_bytes(&[]),
            Payload::Bytes(bytes) => self.fold_bytes(bytes),
            Payload::Value(value) => value.digest(&mut self.hash),
        }
    }

    fn fold_bytes(&mut self, bytes: &[u8]) {
        self.hash.update(&(bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }

    /// Whether lines are written, so that a note is worth making.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.sink.is_some()
    }

    /// The hash so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.hash.digest()
    }

    /// Lines so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Brings written lines to where they belong.
    pub fn flush(&mut self) {
        if let Some(sink) = &mut self.sink
            && sink.flush().is_err()
        {
            self.sink = None;
        }
    }
}

fn json(line: &Line<'_>) -> String {
    let seconds = line.at.as_nanos() / 1_000_000_000;
    let nanos = line.at.as_nanos() % 1_000_000_000;
    let mut text = format!(
        r#"{{"at":{seconds}.{nanos:09},"seq":{},"node":{},"event":"{}""#,
        line.sequence,
        line.node.get(),
        line.kind
    );
    if line.peer != 0 {
        text.push_str(&format!(r#","peer":{}"#, line.peer));
    }
    match line.payload {
        Payload::None => {}
        Payload::Bytes(bytes) => {
            let hash = xxh3_64(bytes);
            text.push_str(&format!(r#","bytes":{},"hash":"{hash:016x}""#, bytes.len()));
        }
        Payload::Value(value) => {
            let mut hash = Xxh3::new();
            value.digest(&mut hash);
            text.push_str(&format!(r#","hash":"{:016x}""#, hash.finish()));
        }
    }
    if !line.note.is_empty() {
        text.push_str(r#","note":"#);
        push_json_string(&mut text, line.note);
    }
    text.push('}');
    text
}

fn push_json_string(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            control if control.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(payload: &[u8]) -> Line<'_> {
        Line {
            at: Instant::from_nanos(1_000_000_005),
            sequence: 3,
            node: NodeId(2),
            kind: "frame",
            peer: 1,
            payload: Payload::Bytes(payload),
            note: "a \"note\"",
        }
    }

    #[test]
    fn traces_agree_exactly_if_every_line_does() {
        let digest = |payloads: &[&[u8]]| {
            let mut trace = Trace::new(None);
            payloads.iter().for_each(|payload| trace.add(&line(payload)));
            trace.digest()
        };
        assert_eq!(digest(&[b"ab", b"c"]), digest(&[b"ab", b"c"]));
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"ab"]), digest(&[b"ab", b""]));
    }

    #[test]
    fn a_line_is_one_json_object() {
        let expected = format!(
            r#"{{"at":1.000000005,"seq":3,"node":2,"event":"frame","peer":1,"bytes":2,"hash":"{:016x}","note":"a \"note\""}}"#,
            xxh3_64(b"ab")
        );
        assert_eq!(json(&line(b"ab")), expected);
    }
}
