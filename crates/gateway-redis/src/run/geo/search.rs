//! Looking around a place: `GEOSEARCH`, and `GEORADIUS` of older clients.
//!
//! A search reads the squares of the map that its shape lies in, each of them a range of scores, side by side; then it measures
//! what it has found. The ranges are several operations on one key: a member that moves from square to square in between may be missed, but is
//! never told twice. Its words are judged before anything is read, so a client is told of a mistake in them rather than of a wrong key.

mod plan;

use std::collections::BTreeSet;

use althing_datatypes::op::{RangeBy, ScoreBound, ScoreRange, SortedOp, WithValues};
use althing_datatypes::{Content, Op, Reply};
use bytes::Bytes;

use super::area::Area;
use super::cell::{Position, Scores};
use super::{coordinates, told};
use crate::command::{Answer, Answering};
use crate::keyspace::{Keyspace, Operated};
use crate::refusal::Refusal;
use crate::run::{refused, wrong_reply};
use crate::wire::Value;
use plan::{Center, Detail, Direction, Form, Plan, Stores, Take, Written};

/// What [`Plan::find`] has found.
struct Found {
    member: Bytes,
    score: f64,
    position: Position,
    /// In metres.
    distance: f64,
}

/// The members of a key with these scores.
fn within(Scores { first, end }: Scores) -> Op {
    let range = ScoreRange { min: ScoreBound::Inclusive(first), max: ScoreBound::Exclusive(end) };
    let (by, order) = (RangeBy::Score(range), althing_datatypes::op::Order::Ascending);
    Op::Sorted(SortedOp::Range { by, order, limit: None, with: WithValues::Yes })
}

impl Plan<'_> {
    fn reply(&self, operated: Operated) -> Result<Reply, Refusal> {
        operated.map_err(|error| refused(error, self.form.name()))
    }

    /// Where the middle is; `None` if the key is not there.
    async fn center(&self, space: &Keyspace) -> Result<Option<Position>, Refusal> {
        let member = match self.center {
            Center::Place(position) => return Ok(Some(position)),
            Center::Member(member) => member,
        };
        let ask = |op: SortedOp| space.ask(self.source, Op::Sorted(op));
        match self.reply(ask(SortedOp::Score(member.clone())).await?)? {
            Reply::Float(score) => Ok(Some(Position::of_score(score))),
            Reply::Nil => match self.reply(ask(SortedOp::Len).await?)? {
                Reply::Int(0) => Ok(None),
                Reply::Int(_) => Err(Refusal::of("ERR could not decode requested zset member")),
                _ => Err(wrong_reply()),
            },
            _ => Err(wrong_reply()),
        }
    }

    /// The members within, as many and in the order as was asked.
    async fn find(&self, space: &Keyspace) -> Result<Vec<Found>, Refusal> {
        let Some(center) = self.center(space).await? else { return Ok(Vec::new()) };
        let area = Area { center, shape: self.shape };
        let squares = area.scores().into_iter().map(|scores| (self.source.clone(), within(scores))).collect();
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        for square in space.each(squares).await? {
            let members = match self.reply(square)? {
                Reply::Scored(members) => members,
                Reply::Nil => Vec::new(),
                _ => return Err(wrong_reply()),
            };
            for (member, score) in members {
                let position = Position::of_score(score);
                if let Some(distance) = area.measure(position)
                    && seen.insert(member.clone())
                {
                    found.push(Found { member, score, position, distance });
                }
            }
        }
        Ok(self.chosen(found))
    }

    fn chosen(&self, mut found: Vec<Found>) -> Vec<Found> {
        // The first that are found are chosen before they are sorted, the nearest or farthest after it.
        if let Take::First(count) = self.take {
            found.truncate(count);
        }
        match self.direction {
            Direction::Unsorted => {}
            Direction::Nearest => found.sort_by(|one, other| one.distance.total_cmp(&other.distance)),
            Direction::Farthest => found.sort_by(|one, other| other.distance.total_cmp(&one.distance)),
        }
        if let Take::Best(count) = self.take {
            found.truncate(count);
        }
        found
    }

    fn said(&self, found: Found) -> Value {
        let member = Value::Bulk(found.member);
        if self.details.is_empty() {
            return member;
        }
        let detail = |detail: &Detail| match detail {
            Detail::Distance => told(found.distance, self.unit),
            // A score that is no geohash is told as what there is of it.
            Detail::Hash => Value::Int(found.score as i64),
            Detail::Coordinates => coordinates(found.position),
        };
        Value::Array(std::iter::once(member).chain(self.details.iter().map(detail)).collect())
    }

    async fn run(&self, space: &Keyspace) -> Answer {
        let found = self.find(space).await?;
        let Some((destination, written)) = self.store else {
            return Ok(Value::Array(found.into_iter().map(|found| self.said(found)).collect()));
        };
        let count = Value::count(found.len());
        let score = |found: &Found| match written {
            Written::Hash => found.score,
            Written::Distance => found.distance / self.unit.metres(),
        };
        let members: Vec<(Bytes, f64)> = found.into_iter().map(|found| (found.member.clone(), score(&found))).collect();
        let content = (!members.is_empty()).then_some(Content::Sorted(members));
        space.replace(destination, content, None).await?;
        Ok(count)
    }
}

fn search<'a>(space: &'a Keyspace, words: &'a [Bytes], form: Form) -> Answering<'a> {
    Box::pin(async move { Plan::read(words, form)?.run(space).await })
}

/// `GEOSEARCH key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS radius unit | BYBOX width height unit [ASC | DESC]
/// [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]`
pub fn geosearch<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    search(space, words, Form::Search)
}

/// `GEOSEARCHSTORE destination key`, as `GEOSEARCH` without what is shown, `[STOREDIST]`
pub fn geosearchstore<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    search(space, words, Form::SearchStore)
}

/// `GEORADIUS key longitude latitude radius unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]
/// [STORE key | STOREDIST key]`
pub fn georadius<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    search(space, words, Form::Radius(Stores::Maybe))
}

/// `GEORADIUS_RO`, as `GEORADIUS` without a store
pub fn georadius_ro<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    search(space, words, Form::Radius(Stores::Never))
}

/// `GEORADIUSBYMEMBER key member radius unit`, and options as `GEORADIUS`
pub fn georadiusbymember<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    search(space, words, Form::RadiusByMember(Stores::Maybe))
}

/// `GEORADIUSBYMEMBER_RO`, as `GEORADIUSBYMEMBER` without a store
pub fn georadiusbymember_ro<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    search(space, words, Form::RadiusByMember(Stores::Never))
}
