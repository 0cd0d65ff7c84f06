//! Members by score and scores by member.

use std::collections::BTreeMap;
use std::ops::Range;

use althing_crdt::Real;
use althing_crdt::zset::Ranked;
use bytes::Bytes;

use crate::op::Order;
use crate::{Cut, OpError};

/// A sorted set. Both indexes hold the same members; scores are never NaN.
#[derive(Clone, Debug, Default)]
pub struct Sorted {
    scores: BTreeMap<Bytes, Real>,
    ranked: Ranked<(Real, Bytes)>,
}

impl Sorted {
    pub fn len(&self) -> u64 {
        self.scores.len() as u64
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).map(|score| score.get())
    }

    pub fn rank(&self, member: &[u8]) -> Option<u64> {
        let (member, score) = self.scores.get_key_value(member)?;
        Some(self.ranked.rank(&(*score, member.clone())) as u64)
    }

    pub fn put(&mut self, member: &Bytes, score: f64) -> Result<(), OpError> {
        let score = Real::new(score).map_err(|_| OpError::ScoreNotANumber)?;
        if let Some(old) = self.scores.insert(member.clone(), score) {
            self.ranked.remove(&(old, member.clone()));
        }
        self.ranked.insert((score, member.clone()));
        Ok(())
    }

    pub fn add(&mut self, member: &Bytes, by: f64) -> Result<(), OpError> {
        self.put(member, self.score(member).unwrap_or_default() + by)
    }

    pub fn remove(&mut self, member: &Bytes) {
        if let Some(score) = self.scores.remove(member) {
            self.ranked.remove(&(score, member.clone()));
        }
    }

    pub fn below(&self, cut: Cut<'_>) -> u64 {
        let count = match cut {
            Cut::BeforeScore(cut) => self.ranked.count_while(|(score, _)| score.get() < cut),
            Cut::AfterScore(cut) => self.ranked.count_while(|(score, _)| score.get() <= cut),
            Cut::BeforeMember(cut) => self.ranked.count_while(|(_, member)| member.as_ref() < cut),
            Cut::AfterMember(cut) => self.ranked.count_while(|(_, member)| member.as_ref() <= cut),
        };
        count as u64
    }

    pub fn slice(&self, ranks: Range<u64>, order: Order) -> Box<dyn Iterator<Item = (Bytes, f64)> + '_> {
        let count = ranks.end.saturating_sub(ranks.start) as usize;
        let shown = |(score, member): &(Real, Bytes)| (member.clone(), score.get());
        match order {
            Order::Ascending => Box::new(self.ranked.iter_from(ranks.start as usize).take(count).map(shown)),
            Order::Descending => Box::new(self.ranked.iter_back_from(ranks.end as usize).take(count).map(shown)),
        }
    }
}

impl FromIterator<(Bytes, f64)> for Sorted {
    fn from_iter<I: IntoIterator<Item = (Bytes, f64)>>(members: I) -> Self {
        let numbers = members.into_iter().filter_map(|(member, score)| Some((member, Real::new(score).ok()?)));
        let scores: BTreeMap<Bytes, Real> = numbers.collect();
        let ranked = scores.iter().map(|(member, score)| (*score, member.clone())).collect();
        Self { scores, ranked }
    }
}
