//! Tasks about rounds: see [`crate::rounds`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use althing_clock::{Actor, Coded, Dot, DotContext};
use althing_codec::{DecodeError, Reader, Writer};
use althing_paxos::acceptor::{Born, Effect, Record};
use althing_paxos::message::Ask;
use althing_paxos::{Acceptor, Answer, Register, Value};
use althing_storage::engine::Batch;
use bytes::Bytes;

use super::{Shard, own};
use crate::delta::{Issued, KeyDelta, Message, check_version};
use crate::error::ConvergentError;
use crate::job::Outcome;
use crate::keyed::Keyed;
use crate::layout;
use crate::names::is_of_rounds;
use crate::rounds::{Task, Told};
use crate::shard::pages::{MAX_PAGE_KEYS, bound_after};

const VERSION: u8 = 1;
/// Bytes of registers after which a page of them ends: it is one message between nodes.
const MAX_PAGE_BYTES: usize = 1024 * 1024;

/// Registers by key.
type Registers = Vec<(Bytes, Register)>;

/// What a replica keeps of rounds beside its values.
#[derive(Debug)]
pub(super) struct Rounds {
    /// Under which name it proposes.
    pub(super) actor: Actor,
    /// The number of the last event that was issued under that name.
    pub(super) issued: u64,
    /// What was issued for keys, and neither joined nor given up.
    pub(super) open: BTreeMap<Bytes, DotContext>,
    /// Of these, what an earlier run has left.
    inherited: BTreeSet<Bytes>,
    /// As an acceptor.
    acceptor: Acceptor,
    /// Registers that have changed since the last commit.
    changed: BTreeMap<Bytes, Option<Register>>,
    /// Keys of `open` that have changed since the last commit.
    reopened: BTreeSet<Bytes>,
}

impl Rounds {
    /// As the space holds it.
    pub(super) fn open(
        actor: Actor,
        born: Born,
        head: Option<Bytes>,
        open: BTreeMap<Bytes, DotContext>,
    ) -> Result<Self, ConvergentError> {
        let damaged = |source| ConvergentError::Record { what: "rounds", source };
        let (issued, record) = head.map_or(Ok((0, None)), read_head).map_err(damaged)?;
        let mut acceptor = Acceptor::new(born);
        record.iter().for_each(|record| acceptor.recall(record));
        let (changed, reopened) = (BTreeMap::new(), BTreeSet::new());
        let inherited = open.keys().cloned().collect();
        Ok(Self { actor, issued, open, inherited, acceptor, changed, reopened })
    }

    /// Writes what has changed since the last commit.
    pub(super) fn commit(&mut self, batch: &mut dyn Batch) {
        if self.issued == 0 && self.acceptor.shard().is_none() {
            return;
        }
        for (key, register) in std::mem::take(&mut self.changed) {
            match register {
                Some(register) => batch.put(&layout::register(&key), &register.encode()),
                None => batch.delete(&layout::register(&key)),
            }
        }
        for key in std::mem::take(&mut self.reopened) {
            match self.open.get(&key) {
                Some(dots) => batch.put(&layout::open(&key), &dots.encode()),
                None => batch.delete(&layout::open(&key)),
            }
        }
        let mut head = Writer::with_capacity(48);
        head.u8(VERSION);
        head.u64(self.issued);
        let record = self.acceptor.shard().map(|shard| Record::Shard(shard).encode());
        head.bytes(&record.unwrap_or_default());
        batch.put(layout::ROUNDS, &head.finish());
    }

    /// Keys of which something has changed since the last commit.
    pub(super) fn unwritten(&self) -> usize {
        self.changed.len() + self.reopened.len()
    }

    /// Remembers a record of the acceptor.
    fn remember(&mut self, record: Record) {
        self.acceptor.recall(&record);
        match record {
            Record::Shard(_) => {}
            Record::Register { key, register } => {
                self.changed.insert(own(&key), Some(register));
            }
            Record::Erased { key, .. } => {
                self.changed.insert(own(&key), None);
            }
        }
    }

    /// What was issued for a key was found in the log after a start.
    fn inherit(&mut self, key: &Bytes) {
        if self.open.contains_key(key) {
            self.inherited.insert(own(key));
        }
    }

    /// Remembers that events were issued for a key.
    fn issue(&mut self, issued: Issued) {
        let last = issued.dots.next_dot(self.actor).counter - 1;
        self.issued = self.issued.max(last);
        self.reopened.insert(issued.key.clone());
        self.open.entry(issued.key).or_default().join(&issued.dots);
    }

    /// A delta of a key was taken: what it covers of what was issued for the key is open no more.
    pub(super) fn taken(&mut self, key: &Bytes, known: impl Fn(&DotContext) -> bool) {
        if self.open.get(key).is_some_and(known) {
            self.open.remove(key);
            self.inherited.remove(key);
            self.reopened.insert(key.clone());
        }
    }
}

/// The number of the last event that was issued, and what the acceptor goes by.
fn read_head(bytes: Bytes) -> Result<(u64, Option<Record>), DecodeError> {
    let mut reader = Reader::new(bytes);
    check_version(&mut reader, "the head of rounds", VERSION)?;
    let issued = reader.u64("events that were issued")?;
    let record = reader.bytes("an acceptor's record")?;
    reader.finish()?;
    Ok((issued, if record.is_empty() { None } else { Some(Record::decode(record)?) }))
}

impl Shard {
    /// Does a task; gives what is to be logged, and what became of it.
    pub(super) fn do_task(&mut self, task: Task) -> Result<(Option<Bytes>, Told), ConvergentError> {
        match task {
            Task::Configure { epoch, stage, since } => {
                let (logged, _) = self.accept(|acceptor, out| acceptor.configure(epoch, stage, since, out))?;
                Ok((logged, self.standing()))
            }
            Task::Answer { from, request } => {
                let stored = self.register(&request.key)?;
                if request.ask == Ask::Erase && stored.as_ref().is_some_and(|register| !self.has_taken(register)) {
                    // Its removal is still to come here. Who asks will ask again.
                    return Ok((None, Told::Answered(None)));
                }
                let (logged, said) = self.accept(|acceptor, out| acceptor.handle(from, request, stored, out))?;
                Ok((logged, Told::Answered(said)))
            }
            Task::Propose { key, wish, current, now_ms, seed } => self.propose(&key, wish, &current, now_ms, seed),
            Task::Page { after, count } => {
                let (found, mut next) = self.registers(after.as_ref(), count)?;
                let standing = self.rounds.acceptor.shard();
                let (mut registers, mut bytes) = (Vec::new(), 0);
                for (key, register) in found {
                    let register = register.encode();
                    if bytes > MAX_PAGE_BYTES {
                        next = registers.last().map(|(key, _): &(Bytes, Bytes)| key.clone());
                        break;
                    }
                    bytes += register.len();
                    registers.push((key, register));
                }
                Ok((None, Told::Page { registers, next, standing }))
            }
            Task::Copy { registers } => self.copy(registers),
            Task::Fill { epoch, floor } => {
                let (logged, _) = self.accept(|acceptor, out| acceptor.filled(epoch, floor, out))?;
                Ok((logged, self.standing()))
            }
            Task::Resolve { key } => {
                let delta = self.resolve(&key)?;
                Ok((delta.clone(), Told::Resolved(delta)))
            }
            Task::Unsettled { after, count } => Ok((None, self.unsettled(after.as_ref(), count)?)),
        }
    }

    fn standing(&self) -> Told {
        Told::Standing(self.rounds.acceptor.shard())
    }

    /// Lets the acceptor act. What it wants remembered is one entry of the log, and what it says waits for that.
    fn accept(
        &mut self,
        act: impl FnOnce(&mut Acceptor, &mut Vec<Effect>),
    ) -> Result<(Option<Bytes>, Option<Answer>), ConvergentError> {
        let mut effects = Vec::new();
        act(&mut self.rounds.acceptor, &mut effects);
        let (mut records, mut said) = (Vec::new(), None);
        for effect in effects {
            match effect {
                Effect::Persist { record, .. } => records.push(record),
                Effect::Send { answer, .. } => said = Some(answer),
                // The log of the shard's group brings it.
                Effect::Behind { .. } => {}
            }
        }
        Ok((self.remember(records)?, said))
    }

    /// Forgets all registers.
    fn forget_registers(&mut self) -> Result<(), ConvergentError> {
        let end = layout::end(layout::REGISTERS_PREFIX);
        let span = (Bound::Included(layout::REGISTERS_PREFIX), Bound::Excluded(&end[..]));
        let view = self.engine.view();
        for record in view.scan(self.space, span) {
            let (key, _) = record?;
            self.rounds.changed.insert(layout::name(&own(&key)), None);
        }
        self.rounds.changed.values_mut().for_each(|register| *register = None);
        Ok(())
    }

    /// Remembers records of the acceptor as one entry of the log.
    fn remember(&mut self, records: Vec<Record>) -> Result<Option<Bytes>, ConvergentError> {
        if records.is_empty() {
            return Ok(None);
        }
        let message = Message::Rounds(records);
        let bytes = message.encode();
        let Message::Rounds(records) = message else { return Ok(None) };
        self.take_records(records, bytes.len())?;
        Ok(Some(bytes))
    }

    /// Takes records of the acceptor, of so many bytes: its own at this moment, or those of the log.
    pub(super) fn take_records(&mut self, records: Vec<Record>, bytes: usize) -> Result<(), ConvergentError> {
        for record in records {
            if record.forgets_all() {
                self.forget_registers()?;
            }
            self.rounds.remember(record);
        }
        self.index += 1;
        self.unwritten += bytes;
        Ok(())
    }

    /// Takes what was issued, of so many bytes: at this moment, or in the log.
    pub(super) fn take_issued(&mut self, issued: Issued, bytes: usize) {
        self.rounds.issue(issued);
        self.index += 1;
        self.unwritten += bytes;
    }

    /// A key's events were issued by an earlier run, which has not told what became of them.
    pub(super) fn inherit(&mut self, key: &Bytes) {
        self.rounds.inherit(key);
    }

    /// What this acceptor remembers of a key.
    pub(super) fn register(&self, key: &Bytes) -> Result<Option<Register>, ConvergentError> {
        if let Some(register) = self.rounds.changed.get(key) {
            return Ok(register.clone());
        }
        let bytes = self.engine.get(self.space, &layout::register(key))?;
        bytes.map(|bytes| decode_register(&bytes)).transpose()
    }

    fn registers(
        &mut self,
        after: Option<&Bytes>,
        count: usize,
    ) -> Result<(Registers, Option<Bytes>), ConvergentError> {
        self.commit()?;
        let count = count.clamp(1, MAX_PAGE_KEYS);
        let from = bound_after(after, layout::register);
        let from = from.as_ref().map_or(Bound::Included(layout::REGISTERS_PREFIX), |from| Bound::Excluded(&from[..]));
        let end = layout::end(layout::REGISTERS_PREFIX);
        let view = self.engine.view();
        let mut registers = Vec::new();
        for record in view.scan(self.space, (from, Bound::Excluded(&end))).take(count) {
            let (key, register) = record?;
            registers.push((layout::name(&own(&key)), decode_register(&register)?));
        }
        let next = registers.last().filter(|_| registers.len() == count).map(|(key, _)| key.clone());
        Ok((registers, next))
    }

    /// Copies another acceptor's registers, as long as this one is silent.
    fn copy(&mut self, registers: Vec<(Bytes, Bytes)>) -> Result<(Option<Bytes>, Told), ConvergentError> {
        let mut copied = Vec::with_capacity(registers.len());
        for (key, theirs) in registers {
            // One that does not parse was sent by a broken node: nothing is taken from it, and it is not counted as copied.
            let Ok(theirs) = Register::decode(own(&theirs)) else { return Ok((None, Told::Standing(None))) };
            let stored = self.register(&key)?;
            copied.push((own(&key), theirs, stored));
        }
        let (logged, _) = self.accept(|acceptor, out| {
            copied.into_iter().for_each(|(key, theirs, stored)| acceptor.copy(&key, theirs, stored, out));
        })?;
        Ok((logged, Told::Copied))
    }

    /// What was issued for a key and is not known was never chosen, or a later value was, which has replaced it: it is known from now
    /// on, and holds nothing. In the second case what it removes may still have to go here, when its delta comes (`Shard::join`).
    fn resolve(&mut self, key: &Bytes) -> Result<Option<Bytes>, ConvergentError> {
        let Some(dots) = self.rounds.open.get(key).cloned() else { return Ok(None) };
        let mut lost = DotContext::EMPTY;
        dots.cloud()
            .chain(vector_dots(&dots))
            .filter(|dot| !self.head.known.contains(*dot))
            .for_each(|dot| lost.insert(dot));
        let delta = althing_crdt::Delta { store: Keyed::default(), context: lost.clone(), writes: lost };
        let message = KeyDelta { key: key.clone(), time: None, delta };
        let bytes = message.encode();
        self.take(Message::Key(Box::new(message)), bytes.len())?;
        Ok(Some(bytes))
    }

    fn unsettled(&mut self, after: Option<&Bytes>, count: usize) -> Result<Told, ConvergentError> {
        let (registers, next) = self.registers(after, count)?;
        let (mut open, mut absent) = (Vec::new(), Vec::new());
        for (key, register) in registers {
            let Some(accepted) = register.accepted else { continue };
            match (&accepted.value, self.has_value(&accepted.value)) {
                (Value::Present(_) | Value::Absent(_), false) => open.push(key),
                (Value::Absent(removal), true) => absent.push((key, removal.clone())),
                (Value::Present(_), true) => {}
            }
        }
        Ok(Told::Unsettled { open, absent, inherited: self.rounds.inherited.iter().cloned().collect(), next })
    }

    /// Whether the store has the whole effect of what a register holds.
    fn has_taken(&self, register: &Register) -> bool {
        register.accepted.as_ref().is_none_or(|accepted| self.has_value(&accepted.value))
    }

    fn has_value(&self, value: &Value) -> bool {
        let (Value::Present(bytes) | Value::Absent(bytes)) = value;
        match Message::decode(bytes.clone()) {
            Ok(Message::Key(delta)) => self.head.taken.covers(&delta.delta.writes),
            // That of a key that never was; any other is refused when it is read.
            Ok(Message::Attestation(_) | Message::Rounds(_) | Message::Issued(_)) | Err(_) => true,
        }
    }

    /// Whether the string of a key is to be removed by a round: it was written by one.
    pub(super) fn is_by_rounds(&mut self, key: &Bytes) -> Result<bool, ConvergentError> {
        let place = self.place(key)?;
        let written = self.cache.slot(place).state.text.written.siblings();
        Ok(written.iter().any(|(dot, _)| is_of_rounds(dot.actor)))
    }

    /// Says that a string is to be removed by a round.
    pub(super) fn due(&self, ticket: u64, key: &Bytes, out: &mut Vec<Outcome>) {
        let told = Told::Due(key.clone());
        out.push(Outcome::Rounds { ticket, index: self.index, logged: None, told });
    }
}

/// The single dots that a vector stands for: of one key's rounds these are few.
fn vector_dots(context: &DotContext) -> impl Iterator<Item = Dot> + '_ {
    context.vector().iter().flat_map(|(actor, last)| (1..=last).map(move |counter| Dot::new(actor, counter)))
}

fn decode_register(bytes: &Bytes) -> Result<Register, ConvergentError> {
    Register::decode(own(bytes)).map_err(|source| ConvergentError::Record { what: "register", source })
}
