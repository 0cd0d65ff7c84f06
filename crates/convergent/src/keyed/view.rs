//! A key as operations see it.

use std::borrow::Cow;
use std::ops::Range;

use althing_crdt::Hll;
use althing_datatypes::op::Order;
use althing_datatypes::{Cut, Kind, View};
use bytes::Bytes;

use super::Keyed;

impl Keyed {
    /// The key, if it shows this type.
    fn of(&self, kind: Kind) -> Option<&Self> {
        (self.shows() == Some(kind)).then_some(self)
    }
}

impl View for Keyed {
    fn kind(&self) -> Option<Kind> {
        self.shows()
    }

    fn deadline_ms(&self) -> Option<i64> {
        self.expires_ms()
    }

    fn string(&self) -> Option<Bytes> {
        self.text.shown()
    }

    fn hash_len(&self) -> u64 {
        self.of(Kind::Hash).map_or(0, |keyed| keyed.fields.shown() as u64)
    }

    fn hash_get(&self, field: &[u8]) -> Option<Bytes> {
        self.of(Kind::Hash)?.fields.map().get(field)?.shown()
    }

    fn hash_iter(&self) -> impl Iterator<Item = (Bytes, Bytes)> + '_ {
        let fields = self.of(Kind::Hash).into_iter().flat_map(|keyed| keyed.fields.map().iter());
        fields.filter_map(|(field, text)| Some((field.clone(), text.shown()?)))
    }

    fn set_len(&self) -> u64 {
        self.of(Kind::Set).map_or(0, |keyed| keyed.set.len() as u64)
    }

    fn set_contains(&self, member: &[u8]) -> bool {
        self.of(Kind::Set).is_some_and(|keyed| keyed.set.get(member).is_some())
    }

    fn set_iter(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.of(Kind::Set).into_iter().flat_map(|keyed| keyed.set.elements().cloned())
    }

    fn sorted_len(&self) -> u64 {
        self.of(Kind::Sorted).map_or(0, |keyed| keyed.sorted.len() as u64)
    }

    fn sorted_score(&self, member: &[u8]) -> Option<f64> {
        self.of(Kind::Sorted)?.sorted.score(&Bytes::copy_from_slice(member))
    }

    fn sorted_rank(&self, member: &[u8]) -> Option<u64> {
        self.of(Kind::Sorted)?.sorted.rank(&Bytes::copy_from_slice(member)).map(|rank| rank as u64)
    }

    fn sorted_below(&self, cut: Cut<'_>) -> u64 {
        let Some(keyed) = self.of(Kind::Sorted) else { return 0 };
        let count = match cut {
            Cut::BeforeScore(cut) => keyed.sorted.count_while(|score, _| score.get() < cut),
            Cut::AfterScore(cut) => keyed.sorted.count_while(|score, _| score.get() <= cut),
            Cut::BeforeMember(cut) => keyed.sorted.count_while(|_, member| member.as_ref() < cut),
            Cut::AfterMember(cut) => keyed.sorted.count_while(|_, member| member.as_ref() <= cut),
        };
        count as u64
    }

    fn sorted_slice(&self, ranks: Range<u64>, order: Order) -> impl Iterator<Item = (Bytes, f64)> + '_ {
        let count = ranks.end.saturating_sub(ranks.start) as usize;
        let (first, end) = (ranks.start as usize, ranks.end as usize);
        let keyed = self.of(Kind::Sorted);
        let members: Box<dyn Iterator<Item = (&Bytes, f64)>> = match (keyed, order) {
            (None, Order::Ascending | Order::Descending) => Box::new(std::iter::empty()),
            (Some(keyed), Order::Ascending) => Box::new(keyed.sorted.iter_from(first)),
            (Some(keyed), Order::Descending) => Box::new(keyed.sorted.iter_back_from(end)),
        };
        members.take(count).map(|(member, score)| (member.clone(), score))
    }

    fn sketch(&self) -> Option<Cow<'_, Hll>> {
        let keyed = self.of(Kind::Sketch)?;
        Some(match keyed.sketch.as_slice() {
            [(_, one)] => Cow::Borrowed(one),
            _ => Cow::Owned(keyed.sketch.merged()),
        })
    }
}
