//! A hash: fields and their texts, and how many of them there are to be read.
//!
//! A field of which all increments were taken back still holds the base that says so ([`althing_crdt::counter`]), and is not to be
//! read. The count of the others is derived: no part of what is joined, encoded or compared.

use althing_clock::{Coded, Dot, DotContext};
use althing_codec::{DecodeError, Reader, Writer};
use althing_crdt::{Bottoms, DotMap, Join};
use bytes::Bytes;

use crate::text::Text;

/// Fields and their texts.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    map: DotMap<Bytes, Text>,
    shown: usize,
}

impl Fields {
    /// All that is held.
    #[must_use]
    pub const fn map(&self) -> &DotMap<Bytes, Text> {
        &self.map
    }

    /// How many fields there are to be read.
    #[must_use]
    pub const fn shown(&self) -> usize {
        self.shown
    }

    fn count(&self, field: &Bytes) -> usize {
        usize::from(self.map.get(field).is_some_and(Text::is_shown))
    }
}

impl From<DotMap<Bytes, Text>> for Fields {
    fn from(map: DotMap<Bytes, Text>) -> Self {
        let shown = map.iter().filter(|(_, text)| text.is_shown()).count();
        Self { map, shown }
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.map == other.map
    }
}

impl Join for Fields {
    fn join(&mut self, mine: &DotContext, other: Self, theirs: &DotContext) {
        self.map.join(mine, other.map, theirs);
        *self = Self::from(std::mem::take(&mut self.map));
    }

    fn apply(&mut self, mine: &DotContext, delta: Self, its: &DotContext, bottoms: Bottoms) {
        for (field, text) in delta.map.into_inner() {
            let before = self.count(&field);
            self.map.apply(mine, DotMap::from_iter([(field.clone(), text)]), its, bottoms);
            self.shown = self.shown + self.count(&field) - before;
        }
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.map.dots(visit);
    }

    fn is_bottom(&self) -> bool {
        self.map.is_bottom()
    }
}

impl Coded for Fields {
    const NAME: &'static str = "a hash";

    fn write(&self, writer: &mut Writer) {
        self.map.write(writer);
    }

    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        DotMap::read(reader).map(Self::from)
    }
}
