//! Jobs of a repair: see [`crate::survey`].

use std::collections::BTreeSet;
use std::ops::Bound;

use althing_merkle::message::Question;
use althing_merkle::{Answer, Entry, Handled, Next, Page, Prefix, Range, Reply, Request};
use bytes::Bytes;

use super::{Shard, own};
use crate::delta::{KeyDelta, Message};
use crate::error::ConvergentError;
use crate::hashes::Counted;
use crate::job::{Compare, Outcome, Rest};
use crate::layout;
use crate::survey::{
    ANSWER_ENTRIES, Compared, Finished, Mended, QUESTION_BYTES, STATES_BYTES, States, StatesWriter, Survey, Want,
    decode_wants, lacking,
};

impl Shard {
    /// Goes on with making the tree, by so many keys at the most, about.
    pub(super) fn plant(&mut self, budget: usize) -> Result<Rest, ConvergentError> {
        self.commit()?;
        let after = match self.hashes.counted() {
            Counted::All => return self.grow(budget),
            Counted::None => Bound::Included(layout::KEYS_PREFIX.to_vec()),
            Counted::Through(last) => Bound::Excluded(layout::key(last)),
        };
        let view = self.engine.view();
        let end = layout::end(layout::KEYS_PREFIX);
        let records = view.scan(self.space, (after.as_ref().map(Vec::as_slice), Bound::Excluded(&end[..])));
        let (mut entries, mut last) = (Vec::new(), None);
        for record in records.take(budget.max(1)) {
            let (key, value) = record?;
            let name = layout::name(&key);
            entries.push(self.hashes.entry(&name, &value));
            last = Some(name);
        }
        let is_full = entries.len() == budget.max(1);
        let counted = last.filter(|_| is_full).map_or(Counted::All, |last| Counted::Through(own(&last)));
        self.hashes.count(&entries, counted);
        Ok(Rest::Some)
    }

    /// Makes the tree as deep as its keys want.
    fn grow(&mut self, budget: usize) -> Result<Rest, ConvergentError> {
        let mut read = 0;
        while let Some(bucket) = self.hashes.grow() {
            if read >= budget {
                return Ok(Rest::Some);
            }
            let entries = self.bucket(bucket)?;
            read += entries.len().max(1);
            self.hashes.fill(bucket, &entries);
        }
        Ok(if self.hashes.is_ready() { Rest::None } else { Rest::Some })
    }

    fn bucket(&self, bucket: Prefix) -> Result<Vec<Entry>, ConvergentError> {
        Ok(self.read_range(bucket.range(), usize::MAX)?.entries)
    }

    /// The entries of a range, at most so many, but for those that share the last position.
    fn read_range(&self, range: Range, limit: usize) -> Result<Page, ConvergentError> {
        let view = self.engine.view();
        let (start, end) = (layout::position(range.first), layout::after_position(range.last));
        let mut entries: Vec<Entry> = Vec::new();
        for record in view.scan(self.space, (Bound::Included(&start[..]), Bound::Excluded(&end[..]))) {
            let (position, name) = layout::positioned(&record?.0)?;
            if entries.len() >= limit && entries.last().is_some_and(|last| last.position != position) {
                let through = entries.last().map_or(range.first, |last| last.position);
                return Ok(Page { entries, through });
            }
            // A key that lies there has a record: both are written in one batch.
            let value = view.get(self.space, &layout::key(&name))?;
            entries.extend(value.map(|value| self.hashes.next_entry(position, &name, &value)));
        }
        Ok(Page { entries, through: range.last })
    }

    /// The names of the keys at a position.
    fn names_at(&self, position: u64) -> Result<Vec<Bytes>, ConvergentError> {
        let view = self.engine.view();
        let (start, end) = (layout::position(position), layout::after_position(position));
        let records = view.scan(self.space, (Bound::Included(&start[..]), Bound::Excluded(&end[..])));
        records.map(|record| Ok(layout::positioned(&record?.0)?.1)).collect()
    }

    /// A step of a comparison.
    pub(super) fn compare(&mut self, step: Compare) -> Result<Compared, ConvergentError> {
        self.commit()?;
        match step {
            Compare::Begin { session, attested } => {
                let Ok(Message::Attestation(attested)) = Message::decode(own(&attested)) else {
                    return Ok(Compared::Broken);
                };
                let Some((session, question)) = self.hashes.open(session) else { return Ok(Compared::Unready) };
                let progress = session.progress();
                self.survey = Some(Survey::new(session, attested));
                Ok(Compared::Question { question, wants: Vec::new(), found: 0, progress })
            }
            Compare::Go { answer } => self.compared(&answer),
        }
    }

    fn compared(&mut self, answer: &Bytes) -> Result<Compared, ConvergentError> {
        let Some(mut survey) = self.survey.take() else { return Ok(Compared::Broken) };
        match Answer::decode(own(answer)).map(|answer| survey.session.handle(answer)) {
            Ok(Ok(Handled::Fresh)) => {}
            Ok(Ok(Handled::Stale)) => {
                self.survey = Some(survey);
                return Ok(Compared::Stale);
            }
            Ok(Err(_)) | Err(_) => return Ok(Compared::Broken),
        }
        let question = loop {
            let Some((tree, _)) = self.hashes.whole() else { return Ok(Compared::Unready) };
            match survey.session.next(tree, QUESTION_BYTES) {
                Next::Read(range, limit) => {
                    let page = self.read_range(range, limit)?;
                    survey.session.supply(&page);
                }
                Next::Send(request) => break Some(request.encode()),
                Next::Wait | Next::Done => break None,
            }
        };
        let (wants, found) = self.wants(&mut survey)?;
        let progress = survey.session.progress();
        self.survey = Some(survey);
        Ok(match question {
            Some(question) => Compared::Question { question, wants, found, progress },
            None => Compared::Over { wants, found, progress },
        })
    }

    /// What a comparison has found: keys of here by their names, those of there by where they lie; and how many they are. Two
    /// keys at one position count once, which does not happen in the life of a shard but on purpose.
    fn wants(&self, survey: &mut Survey) -> Result<(Vec<Want>, u64), ConvergentError> {
        let found = survey.session.take_findings();
        let (ask, send): (BTreeSet<u64>, BTreeSet<u64>) =
            (found.ask.into_iter().collect(), found.send.into_iter().collect());
        let (mut wants, mut differing) = (Vec::new(), 0);
        for position in ask.union(&send) {
            differing += 1;
            wants.extend(ask.contains(position).then_some(Want::At(*position)));
            if send.contains(position) {
                // A key that both have is wanted twice so, and answered once.
                wants.extend(self.names_at(*position)?.into_iter().map(Want::Key));
            }
        }
        Ok((wants, differing))
    }

    /// The answer to a question of another replica; nothing if there is no tree yet, or it is no question.
    pub(super) fn respond(&mut self, question: &Bytes) -> Result<Option<Bytes>, ConvergentError> {
        self.commit()?;
        let Some((tree, secret)) = self.hashes.whole() else { return Ok(None) };
        let Ok(request) = Request::decode(own(question)) else { return Ok(None) };
        if matches!(request.question, Question::Open { .. }) && !self.hashes.is_ready() {
            return Ok(None);
        }
        let mut pending = match althing_merkle::answer(tree, secret, request) {
            Reply::Now(answer) => return Ok(Some(answer.encode())),
            Reply::Read(pending) => pending,
        };
        let mut left = ANSWER_ENTRIES;
        while let Some((range, limit)) = pending.wants().filter(|_| left > 0) {
            let page = self.read_range(range, limit.min(left))?;
            left = left.saturating_sub(page.entries.len().max(1));
            pending.supply(page);
        }
        Ok(Some(pending.finish().encode()))
    }

    /// The states of what is wanted, and of how much of it; nothing if it does not parse.
    pub(super) fn states(&mut self, wants: &Bytes) -> Result<(Bytes, usize), ConvergentError> {
        self.commit()?;
        let mut writer = StatesWriter::new(&self.head.known);
        let (mut answered, mut told) = (0, BTreeSet::new());
        for want in decode_wants(own(wants)).unwrap_or_default() {
            if writer.len() >= STATES_BYTES {
                break;
            }
            let keys = match want {
                Want::Key(key) => vec![key],
                Want::At(position) => self.names_at(position)?,
            };
            for key in keys.into_iter().filter(|key| told.insert(key.clone())) {
                let place = self.place(&key)?;
                writer.push(&key, &self.cache.slot(place).state);
            }
            answered += 1;
        }
        Ok((writer.finish(), answered))
    }

    /// Joins states of another replica, and says what it lacks itself.
    pub(super) fn mend(
        &mut self,
        ticket: u64,
        states: &Bytes,
        out: &mut Vec<Outcome>,
    ) -> Result<Mended, ConvergentError> {
        let mut mended = Mended { keys: 0, joined: 0, mended: 0, lacking: Vec::new(), result: Ok(()) };
        let States { known, states } = match States::decode(own(states)) {
            Ok(states) => states,
            Err(error) => return Ok(Mended { result: Err(error.into()), ..mended }),
        };
        for (key, theirs) in states {
            let place = self.place(&key)?;
            let (mine, other) = lacking((&self.head.known, &self.cache.slot(place).state), (&known, &theirs));
            let encode = |delta| KeyDelta { key: key.clone(), time: None, delta }.encode();
            mended.keys += 1;
            let differ = mine.is_some() || other.is_some();
            mended.lacking.extend(other.map(encode));
            if let Some(delta) = mine.map(encode) {
                if let Err(error) = self.join(&delta)? {
                    mended.result = Err(error);
                    return Ok(mended);
                }
                mended.joined += 1;
                out.push(Outcome::Taken { ticket, index: self.index, delta });
            }
            mended.mended += u64::from(differ);
            if let Some(survey) = &mut self.survey {
                survey.cleared(&key);
            }
        }
        Ok(mended)
    }

    /// Ends a comparison.
    pub(super) fn finish(&mut self) -> Result<Finished, ConvergentError> {
        let Some(survey) = self.survey.take() else { return Ok(Finished::Broken) };
        match survey.again() {
            None => Ok(Finished::Broken),
            Some(again) if !again.is_empty() => {
                self.survey = Some(survey);
                Ok(Finished::Again(again))
            }
            Some(_) => {
                let delta = survey.attested.encode();
                let news = self.join(&delta)?;
                Ok(match news {
                    Ok(super::jobs::News::Some) => Finished::Known(Some(delta)),
                    Ok(super::jobs::News::None) => Finished::Known(None),
                    Err(_) => Finished::Broken,
                })
            }
        }
    }
}
