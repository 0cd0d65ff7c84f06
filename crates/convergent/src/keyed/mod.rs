//! All that is held under one key.
//!
//! A key is of the type that was written to it; but two sides of a partition may write different types. Then all are kept, side by
//! side, and the key is of the first of them in the order of [`Kind`]: string, hash, set, sorted set, sketch. The others are
//! seen when that one is gone. A deletion removes all of them, as far as its coordinator held them.
//!
//! | part | written by | is |
//! |---|---|---|
//! | [`Text`] | SET, INCR, INCRBYFLOAT, APPEND, SETBIT … | siblings, and counters on top |
//! | [`Fields`] | HSET, HINCRBY … | field → text |
//! | set | SADD … | observed-remove set |
//! | sorted set | ZADD, ZINCRBY … | member → score with siblings, and a counter on top |
//! | sketch | PFADD, PFMERGE | HyperLogLog |
//! | [`Deadline`] | EXPIRE, PERSIST, SET with EX … | see [`crate::deadline`] |

use althing_clock::{Actor, Coded, Dot, DotContext};
use althing_codec::{DecodeError, Reader, Writer};
use althing_crdt::{Bottoms, DotFun, DotMap, HllKey, Join, OrSet, Reset, Seen, SortedSet, zset};
use althing_datatypes::Kind;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::deadline::{self, Deadline};
use crate::fields::Fields;
use crate::text::{Text, dead_runs, has_run_of, read_part, reset_counter};

pub mod diff;
pub mod edit;
mod view;

/// All that is held under one key.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Keyed {
    pub(crate) text: Text,
    pub(crate) fields: Fields,
    pub(crate) set: OrSet<Bytes>,
    pub(crate) sorted: SortedSet<Bytes>,
    pub(crate) sketch: HllKey,
    pub(crate) deadlines: DotFun<Deadline>,
}

/// What is held of a sorted set's members, whether they are to be read or not.
type Scores = DotMap<Bytes, zset::Score>;

impl Keyed {
    /// The type that the key shows, if there is a key.
    #[must_use]
    pub fn shows(&self) -> Option<Kind> {
        if self.text.is_shown() {
            Some(Kind::String)
        } else if self.fields.shown() > 0 {
            Some(Kind::Hash)
        } else if !self.set.is_empty() {
            Some(Kind::Set)
        } else if !self.sorted.is_empty() {
            Some(Kind::Sorted)
        } else if !self.sketch.is_bottom() {
            Some(Kind::Sketch)
        } else {
            None
        }
    }

    /// The string, with its siblings and all that was added to it.
    #[must_use]
    pub const fn text(&self) -> &Text {
        &self.text
    }

    /// When it expires, in milliseconds since 1970; `None` is never.
    #[must_use]
    pub fn expires_ms(&self) -> Option<i64> {
        let strings = self.text.written.siblings();
        deadline::effective(&self.deadlines, strings.iter().map(|(dot, _)| *dot))
    }

    /// The strings that were written concurrently, by dot: what a reader with an eye for siblings is shown. Counted increments
    /// are not among them.
    pub fn siblings(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.text.written.siblings().iter().map(|(_, sibling)| &sibling.value)
    }

    /// The hash of the state: equal for equal states, and, as hashes go, for no others.
    #[must_use]
    pub fn digest(&self) -> u128 {
        xxh3_128(&self.encode())
    }

    /// The deltas' store that removes what was seen of everything.
    pub(crate) fn reset_as(&self, actor: Actor, seen: Seen<'_>, removed: &mut DotContext) -> Self {
        let fields = self.fields.map().iter();
        let fields: DotMap<Bytes, Text> =
            fields.map(|(field, text)| (field.clone(), text.reset_as(actor, seen, removed))).collect();
        let members: Vec<Bytes> = self.sorted.iter_by_element(None).map(|(member, _)| member.clone()).collect();
        let scores: Scores = members
            .into_iter()
            .map(|member| (member.clone(), self.reset_score(&member, actor, seen, removed)))
            .collect();
        Self {
            text: self.text.reset_as(actor, seen, removed),
            fields: fields.into(),
            set: self.set.reset(seen, removed),
            sorted: scores.into(),
            sketch: self.sketch.reset(seen, removed),
            deadlines: self.deadlines.reset(seen, removed),
        }
    }

    pub(crate) fn reset_score(
        &self,
        member: &Bytes,
        actor: Actor,
        seen: Seen<'_>,
        removed: &mut DotContext,
    ) -> zset::Score {
        let parts = self.sorted.parts(member);
        parts.map_or_else(zset::Score::default, |(written, added)| {
            (written.reset(seen, removed), reset_counter(added, actor, seen, removed))
        })
    }

    /// The deltas' store that drops this actor's runs of which everything was taken back, by whomever: nobody else may.
    pub(crate) fn forget(&self, actor: Actor, removed: &mut DotContext) -> Self {
        removed.join(&self.text.dead_runs(actor));
        let mut fields = Vec::new();
        for (field, text) in self.fields.map().iter() {
            let dead = text.dead_runs(actor);
            if !dead.is_empty() {
                removed.join(&dead);
                fields.push((field.clone(), Text::default()));
            }
        }
        let mut members = Vec::new();
        for (member, (_, added)) in self.scores().iter() {
            let dead = dead_runs(added, actor);
            if !dead.is_empty() {
                removed.join(&dead);
                members.push((member.clone(), zset::Score::default()));
            }
        }
        let (fields, scores) = (DotMap::from_iter(fields), Scores::from_iter(members));
        Self { fields: fields.into(), sorted: scores.into(), ..Self::default() }
    }

    /// Whether it speaks of a run of this actor; as the delta of somebody else, it then resets it.
    pub(crate) fn has_run_of(&self, actor: Actor) -> bool {
        let in_fields = || self.fields.map().iter().any(|(_, text)| text.has_run_of(actor));
        let in_scores = || self.scores().iter().any(|(_, (_, added))| has_run_of(added, actor));
        self.text.has_run_of(actor) || in_fields() || in_scores()
    }

    /// What is held of the sorted set's members. It costs a copy.
    fn scores(&self) -> Scores {
        if self.sorted.is_bottom() {
            return Scores::default();
        }
        Scores::decode(self.sorted.encode()).expect("a sorted set is written as the map of its scores")
    }
}

impl Join for Keyed {
    fn join(&mut self, mine: &DotContext, other: Self, theirs: &DotContext) {
        self.text.join(mine, other.text, theirs);
        self.fields.join(mine, other.fields, theirs);
        self.set.join(mine, other.set, theirs);
        self.sorted.join(mine, other.sorted, theirs);
        self.sketch.join(mine, other.sketch, theirs);
        self.deadlines.join(mine, other.deadlines, theirs);
    }

    fn apply(&mut self, mine: &DotContext, delta: Self, its: &DotContext, bottoms: Bottoms) {
        self.text.apply(mine, delta.text, its, bottoms);
        self.fields.apply(mine, delta.fields, its, bottoms);
        self.set.apply(mine, delta.set, its, bottoms);
        self.sorted.apply(mine, delta.sorted, its, bottoms);
        self.sketch.apply(mine, delta.sketch, its, bottoms);
        self.deadlines.apply(mine, delta.deadlines, its, bottoms);
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.text.dots(visit);
        self.fields.dots(visit);
        self.set.dots(visit);
        self.sorted.dots(visit);
        self.sketch.dots(visit);
        self.deadlines.dots(visit);
    }

    fn is_bottom(&self) -> bool {
        self.text.is_bottom()
            && self.fields.is_bottom()
            && self.set.is_bottom()
            && self.sorted.is_bottom()
            && self.sketch.is_bottom()
            && self.deadlines.is_bottom()
    }
}

const TEXT: u8 = 1;
const FIELDS: u8 = 1 << 1;
const SET: u8 = 1 << 2;
const SORTED: u8 = 1 << 3;
const SKETCH: u8 = 1 << 4;
const DEADLINES: u8 = 1 << 5;
const ALL: u8 = (1 << 6) - 1;

impl Coded for Keyed {
    const NAME: &'static str = "a key's state";

    fn write(&self, writer: &mut Writer) {
        let flag = |is_bottom: bool, flag: u8| if is_bottom { 0 } else { flag };
        let flags = flag(self.text.is_bottom(), TEXT)
            | flag(self.fields.is_bottom(), FIELDS)
            | flag(self.set.is_bottom(), SET)
            | flag(self.sorted.is_bottom(), SORTED)
            | flag(self.sketch.is_bottom(), SKETCH)
            | flag(self.deadlines.is_bottom(), DEADLINES);
        writer.u8(flags);
        let mut part = |flag: u8, write: &dyn Fn(&mut Writer)| {
            if flags & flag != 0 {
                write(writer);
            }
        };
        part(TEXT, &|writer| self.text.write(writer));
        part(FIELDS, &|writer| self.fields.write(writer));
        part(SET, &|writer| self.set.write(writer));
        part(SORTED, &|writer| Coded::write(&self.sorted, writer));
        part(SKETCH, &|writer| self.sketch.write(writer));
        part(DEADLINES, &|writer| self.deadlines.write(writer));
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let flags = reader.u8("a key's parts")?;
        if flags & !ALL != 0 {
            return Err(DecodeError::Unknown { field: "a key's parts", value: u64::from(flags) });
        }
        Ok(Self {
            text: read_part(reader, flags & TEXT)?,
            fields: read_part(reader, flags & FIELDS)?,
            set: read_part(reader, flags & SET)?,
            sorted: read_part(reader, flags & SORTED)?,
            sketch: read_part(reader, flags & SKETCH)?,
            deadlines: read_part(reader, flags & DEADLINES)?,
        })
    }
}
