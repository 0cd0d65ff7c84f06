//! Operations on one key that a client asks for at once ([`KeyedRequest::Series`]).
//!
//! Each becomes a request of its own, with a name of its own, and what comes of them is gathered until all are answered. They are
//! begun in their order, so they stand in it among the jobs of the shard. Where rounds decide, whose order among themselves is theirs,
//! each is begun when the one before is over.
//!
//! [`KeyedRequest::Series`]: althing_api::keyed::KeyedRequest::Series

use std::collections::{BTreeMap, VecDeque};

use althing_api::keyed::{Access, KeyedAnswer, MAX_SERIES};
use althing_api::request::Body;
use althing_api::{Answer, Error, ErrorKind};
use althing_datatypes::{Message as _, Op};
use althing_manifest::Conditional;
use althing_quorum::Level;
use althing_types::{GroupId, Instant, RequestId};
use bytes::Bytes;

use super::Asked;
use crate::effects::Effects;
use crate::node::Node;

/// Marks the requests that are parts of series. Below what marks those of other nodes' clients.
const PART: u64 = crate::CLIENT_REQUESTS;

/// What is asked for.
pub(super) struct Asks {
    pub(super) id: RequestId,
    pub(super) key: Bytes,
    pub(super) operations: Vec<Bytes>,
    pub(super) read_level: Option<Level>,
    pub(super) write_level: Option<Level>,
    pub(super) deadline: Instant,
}

/// The series that are under way at this node, by the names of their first parts.
#[derive(Debug, Default)]
pub(crate) struct AllSeries {
    last: u64,
    open: BTreeMap<RequestId, Series>,
}

/// One of them.
#[derive(Debug)]
struct Series {
    /// Who is told.
    id: RequestId,
    group: GroupId,
    key: Bytes,
    deadline: Instant,
    /// What has come, by place.
    answers: Vec<Option<Result<KeyedAnswer, Error>>>,
    /// Parts that are not begun.
    rest: VecDeque<(RequestId, Part)>,
    /// How many are not answered.
    left: usize,
}

/// One operation.
#[derive(Debug)]
struct Part {
    op: Op,
    level: Option<Level>,
}

impl AllSeries {
    /// Names for so many parts, one after the other: the first.
    fn names(&mut self, count: usize) -> u64 {
        // They are not told apart over more of them than could ever be under way.
        if self.last + MAX_SERIES as u64 >= PART {
            self.last = 0;
        }
        let first = self.last;
        self.last += count as u64;
        PART | first
    }

    /// Opens a series of so many parts, none of which is begun: the name of the first.
    fn open(&mut self, id: RequestId, group: GroupId, key: Bytes, deadline: Instant, count: usize) -> u64 {
        let first = self.names(count);
        let (answers, rest) = ((0..count).map(|_| None).collect(), VecDeque::new());
        self.open.insert(RequestId(first), Series { id, group, key, deadline, answers, rest, left: count });
        first
    }
}

impl Node {
    /// Begins what a client asks for at once.
    pub(super) fn begin_series(&mut self, now: Instant, group: GroupId, asks: Asks, out: &mut Effects) {
        let Asks { id, key, operations, read_level, write_level, deadline } = asks;
        let count = operations.len();
        let ops: Result<Vec<_>, _> = operations.iter().map(|operation| Op::decode(operation)).collect();
        let error = match ops {
            Ok(ops) if (1..=MAX_SERIES).contains(&count) => {
                let first = self.series.open(id, group, key, deadline, count);
                let part = |op: Op| Part { level: if op.is_read() { read_level } else { write_level }, op };
                let rest = (first..).map(RequestId).zip(ops.into_iter().map(part));
                if let Some(series) = self.series.open.get_mut(&RequestId(first)) {
                    series.rest.extend(rest);
                }
                return self.next_part(now, RequestId(first), out);
            }
            Ok(_) => format!("a series has 1 to {MAX_SERIES} operations, not {count}"),
            Err(_) => "an operation does not parse".to_owned(),
        };
        out.responses.push((id, Err(ErrorKind::InvalidArgument(error).into())));
    }

    /// A series whose parts are begun by who asks for this: their names. None if there are none or too many.
    pub(super) fn series_apart(
        &mut self,
        id: RequestId,
        group: GroupId,
        key: &Bytes,
        count: usize,
    ) -> Option<Vec<RequestId>> {
        if !(1..=MAX_SERIES).contains(&count) {
            return None;
        }
        let first = self.series.open(id, group, key.clone(), Instant::FAR_FUTURE, count);
        Some((first..).map(RequestId).take(count).collect())
    }

    /// Begins the next part of a series, or all that are left where they keep their order by themselves.
    fn next_part(&mut self, now: Instant, first: RequestId, out: &mut Effects) {
        while let Some(series) = self.series.open.get_mut(&first) {
            let Some((id, Part { op, level })) = series.rest.pop_front() else { return };
            let (group, access) = (series.group, if op.is_read() { Access::Read } else { Access::Write });
            let asked = Asked::new(id, series.key.clone(), op, level, series.deadline);
            self.operate(now, group, asked, access, out);
            match self.conditional(group) {
                Some(Conditional::Refuse) => {}
                Some(Conditional::Paxos) | None => return,
            }
        }
    }

    /// Gathers what has come of parts; a series of which all has come is answered.
    pub(crate) fn gather_series(&mut self, now: Instant, out: &mut Effects) {
        while out.responses.iter().any(|(id, _)| is_part(*id)) {
            let came: Vec<_> = out.responses.extract_if(.., |(id, _)| is_part(*id)).collect();
            for (id, result) in came {
                // Of one whose client went away nobody is told.
                let Some((&first, series)) = self.series.open.range_mut(..=id).next_back() else { continue };
                let place = usize::try_from(id.get() - first.get()).unwrap_or(usize::MAX);
                let Some(answer @ None) = series.answers.get_mut(place) else { continue };
                *answer = Some(result.and_then(part_of));
                series.left -= 1;
                if series.left > 0 {
                    self.next_part(now, first, out);
                } else if let Some(series) = self.series.open.remove(&first) {
                    let answers = series.answers.into_iter().flatten().collect();
                    self.keyed_answer(series.id, KeyedAnswer::Series(answers), out);
                }
            }
        }
    }

    /// A client no longer waits. What is begun takes its course.
    pub(super) fn cancel_series(&mut self, id: RequestId) {
        self.series.open.retain(|_, series| series.id != id);
    }
}

/// Whether a request is a part of a series.
const fn is_part(id: RequestId) -> bool {
    id.get() & PART != 0 && !crate::route::is_lent(id.get())
}

/// What one part was answered.
fn part_of(answer: Answer) -> Result<KeyedAnswer, Error> {
    match answer.body {
        Body::Keyed(answer) => Ok(answer),
        _ => Err(Error::maybe_done(ErrorKind::Storage("an operation had another answer".to_owned()))),
    }
}
