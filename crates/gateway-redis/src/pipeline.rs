//! The commands of one connection: read, run and answered in their order.
//!
//! A client may send many commands before it reads an answer. Those that came together are run without a look at the socket in
//! between, so that a pipeline does not wait for a quorum as many times as it has commands. Operations on single keys gather, and
//! leave together when there are many or no more have come: those on one key as a series, which the node does in its order, those
//! on different keys of a convergent table side by side. What touches a key that is still being written waits for it, and every
//! other command waits for all before it. So the order of effects of one connection is kept for each key, as much as a convergent table
//! has one. On a strong table, whose order spans keys, only operations on one key go together.

use std::collections::VecDeque;

use althing_api::Reply as Coming;
use althing_api::keyed::MAX_SERIES;
use althing_datatypes::{Op, Reply};
use althing_types::Instant;
use bytes::{Bytes, BytesMut};

use crate::asleep::Asleep;
use crate::command::{self, Action, Command, Flag, Group};
use crate::counters::Outcome;
use crate::hub::{Delivery, Post};
use crate::keyspace::{Keyspace, Operated};
use crate::refusal::Refusal;
use crate::run::sorted::pops::{Otherwise, Waiting};
use crate::run::{Keyed, refused, wrong_reply};
use crate::session::{Next, Session, Speech};
use crate::tables::TableKind;
use crate::wire::request::Words;
use crate::wire::{Reader, Value, write};

/// Operations of one connection that are under way at the same time.
const MAX_IN_FLIGHT: usize = 2 * MAX_SERIES;
/// Bytes of answers at which they are sent before more is run: a client that does not read is not answered on.
const MAX_OUTPUT_BYTES: usize = 256 * 1024;

/// What running came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// All commands that are there have been run; more must come.
    Hungry,
    /// There are answers enough to send; then run again.
    Full,
    /// The connection is over once the answers are sent.
    Ended,
}

/// One operation that has gathered or is under way.
struct Flight {
    stage: Stage,
    say: fn(Reply) -> Value,
    key: Bytes,
    is_read: bool,
    command: &'static Command,
    asked: Asked,
}

/// How far an operation is.
enum Stage {
    /// It has not left.
    Gathered(Op),
    /// It has, alone.
    Alone(Coming),
    /// It has, as the first of the series of this number.
    Leads(u64, Coming),
    /// It has, in the series of this number; what came of it comes to the first of it.
    Follows(u64),
    /// This came of it.
    Landed(Result<Operated, Refusal>),
}

/// How a command is answered and counted.
#[derive(Clone, Copy)]
struct Asked {
    speech: Speech,
    group: Option<Group>,
    /// When it was read; `None` if it waited for a key, which is no measure of anything.
    since: Option<Instant>,
}

/// What comes to a connection beside what its client says.
pub enum Happening {
    /// A message.
    Post(Post),
    /// What it waits for may be there: it is to run on.
    Due,
}

/// The commands of one connection.
pub struct Pipeline {
    session: Session,
    reader: Reader,
    /// What has left, and behind it what has gathered.
    flights: VecDeque<Flight>,
    /// How many of them have gathered and not left.
    gathered: usize,
    /// Where the connection stood when the first of them came: where they are done.
    gathered_in: Option<Keyspace>,
    last_series: u64,
    asleep: Option<Asleep>,
}

impl Pipeline {
    /// No command has come.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self {
            session,
            reader: Reader::default(),
            flights: VecDeque::new(),
            gathered: 0,
            gathered_in: None,
            last_series: 0,
            asleep: None,
        }
    }

    /// What the connection is.
    pub const fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Whether the connection waits for a key, and runs nothing meanwhile.
    #[must_use]
    pub const fn is_asleep(&self) -> bool {
        self.asleep.is_some()
    }

    /// How long the connection may be silent.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<std::time::Duration> {
        self.session.idle_timeout().filter(|_| !self.is_asleep())
    }

    /// What happens next to the connection. May be dropped and called again.
    pub async fn happening(&mut self) -> Happening {
        let Some(asleep) = &mut self.asleep else { return Happening::Post(self.session.inbox().next().await) };
        let client = std::sync::Arc::clone(self.session.client());
        tokio::select! {
            post = self.session.inbox().next() => Happening::Post(post),
            () = asleep.due(&client) => Happening::Due,
        }
    }

    /// Says a message, and those that wait behind it.
    pub fn deliver(&mut self, first: Delivery, out: &mut BytesMut) {
        let mut next = Some(first);
        while let Some(delivery) = next {
            write(&Session::said(delivery), self.session.protocol(), out);
            next = if out.len() < MAX_OUTPUT_BYTES { self.session.inbox().ready() } else { None };
        }
    }

    /// Runs the commands in `input` as far as they are whole, and appends their answers to `out`.
    pub async fn run(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> State {
        if let Some(state) = self.wake(out).await {
            return state;
        }
        loop {
            let state = match self.reader.next(input, self.session.limits()) {
                Ok(Some(words)) => match self.take(words, out).await {
                    Next::GoOn if self.is_asleep() => State::Hungry,
                    Next::GoOn if out.len() < MAX_OUTPUT_BYTES => continue,
                    Next::GoOn => State::Full,
                    Next::End => State::Ended,
                },
                Ok(None) => State::Hungry,
                Err(error) => {
                    self.settle(out).await;
                    write(&Value::Error(format!("ERR {error}").into()), self.session.protocol(), out);
                    return State::Ended;
                }
            };
            self.settle(out).await;
            return state;
        }
    }

    /// Looks whether what the connection waits for is there. It runs on if this gives nothing.
    async fn wake(&mut self, out: &mut BytesMut) -> Option<State> {
        let mut asleep = self.asleep.take()?;
        let Some(answer) = asleep.look(&self.session, Otherwise::PassOver).await else {
            self.asleep = Some(asleep);
            return Some(State::Hungry);
        };
        match self.roused(&asleep, answer, out).await {
            Next::GoOn => None,
            Next::End => Some(State::Ended),
        }
    }

    async fn roused(&mut self, asleep: &Asleep, answer: command::Answer, out: &mut BytesMut) -> Next {
        self.session.client().facts().blocked = false;
        let asked = Asked { speech: asleep.speech, group: Some(Group::SortedSet), since: None };
        self.answer(answer, asked, out).await
    }

    /// Pops at once if there is something, and waits otherwise.
    async fn fall_asleep(&mut self, waiting: Waiting, speech: Speech, out: &mut BytesMut) -> Next {
        self.settle(out).await;
        let mut asleep = Asleep::new(&self.session, speech, waiting);
        match asleep.look(&self.session, Otherwise::Tell).await {
            Some(answer) => self.roused(&asleep, answer, out).await,
            None => {
                self.asleep = Some(asleep);
                Next::GoOn
            }
        }
    }

    /// Takes one command: starts it, or runs it once all before it are done.
    async fn take(&mut self, words: Words, out: &mut BytesMut) -> Next {
        let (speech, since) = (self.session.listen(), self.session.shared().clock.now());
        let judged = self.session.judge(&words);
        let mut asked = Asked { speech, group: judged.as_ref().ok().map(|command| command.group), since: Some(since) };
        match judged {
            Ok(command) => match command.action {
                Action::Keyed(parse) if !self.session.is_queueing() => match parse(&words) {
                    Ok(keyed) => {
                        self.start(keyed, command, asked, out).await;
                        Next::GoOn
                    }
                    Err(refusal) => self.answer(Err(refusal), asked, out).await,
                },
                Action::Waiting(parse) if !self.session.is_queueing() => match parse(&words) {
                    Ok(waiting) => self.fall_asleep(waiting, speech, out).await,
                    Err(refusal) => self.answer(Err(refusal), asked, out).await,
                },
                Action::Keyed(_)
                | Action::Composed(_)
                | Action::Waiting(_)
                | Action::Session(_)
                | Action::Watch
                | Action::Exec
                | Action::Container(_) => {
                    self.settle(out).await;
                    let answer = self.session.run(command, words).await;
                    // `CLIENT REPLY` is obeyed by its own answer.
                    if command.name == "client|reply" {
                        asked.speech = self.session.listen_after();
                    }
                    self.answer(answer, asked, out).await
                }
            },
            Err(refusal) => self.answer(Err(refusal), asked, out).await,
        }
    }

    /// Says an answer behind those that are under way.
    async fn answer(&mut self, answer: command::Answer, asked: Asked, out: &mut BytesMut) -> Next {
        self.settle(out).await;
        self.say(answer, asked, out);
        self.session.next()
    }

    fn say(&mut self, answer: command::Answer, asked: Asked, out: &mut BytesMut) {
        let value = answer.unwrap_or_else(Value::from);
        let outcome = if matches!(value, Value::Error(_)) { Outcome::Failed } else { Outcome::Done };
        let shared = self.session.shared();
        let took = asked.since.map(|since| shared.clock.now().since(since));
        shared.counters.command(asked.group, outcome, took);
        match asked.speech {
            Speech::Silent => {}
            Speech::Aloud => write(&value, self.session.protocol(), out),
        }
    }

    /// Takes an operation as soon as it cannot overtake another on its key.
    async fn start(&mut self, keyed: Keyed, command: &'static Command, asked: Asked, out: &mut BytesMut) {
        let is_read = command.has(Flag::Readonly);
        // A table may be known, or another one, only since the last command.
        let space = self.session.space();
        if self.gathered_in.as_ref().is_some_and(|before| !before.is_same(space)) {
            self.depart();
        }
        while self.must_wait(&keyed.key, is_read) {
            self.land(out).await;
        }
        self.gathered_in.get_or_insert_with(|| self.session.space().clone());
        self.flights.push_back(Flight {
            stage: Stage::Gathered(keyed.op),
            say: keyed.say,
            key: keyed.key,
            is_read,
            command,
            asked,
        });
        self.gathered += 1;
        if self.gathered >= MAX_SERIES {
            self.depart();
        }
    }

    fn must_wait(&self, key: &Bytes, is_read: bool) -> bool {
        if self.flights.len() >= MAX_IN_FLIGHT {
            return true;
        }
        if self.session.space().is_in_session() {
            return !self.flights.is_empty();
        }
        match self.session.space().table().kind {
            TableKind::Strong => self.flights.iter().any(|flight| flight.key != *key || flight.has_left()),
            // A read is answered by several replicas, and must not come to one of them behind a write that it goes before.
            TableKind::Convergent => self.flights.iter().any(|flight| {
                flight.key == *key
                    && match (flight.is_read, is_read) {
                        (true, true) => false,
                        (true, false) => true,
                        (false, _) => flight.has_left(),
                    }
            }),
        }
    }

    /// What has gathered leaves: what is on one key as one.
    fn depart(&mut self) {
        let Some(space) = self.gathered_in.take() else { return };
        let (end, gathered) = (self.flights.len(), std::mem::take(&mut self.gathered));
        for place in end - gathered..end {
            // Else it has left with an earlier one on its key.
            if !self.flights[place].has_left() {
                let key = self.flights[place].key.clone();
                let places: Vec<_> = (place..end).filter(|at| self.flights[*at].key == key).collect();
                self.depart_together(&space, &key, &places);
            }
        }
    }

    fn depart_together(&mut self, space: &Keyspace, key: &Bytes, places: &[usize]) {
        let mut ops = Vec::with_capacity(places.len());
        self.last_series += 1;
        for place in places {
            let stage = Stage::Follows(self.last_series);
            if let Stage::Gathered(op) = std::mem::replace(&mut self.flights[*place].stage, stage) {
                ops.push(op);
            }
        }
        let Some(first) = places.first() else { return };
        self.flights[*first].stage = match &ops[..] {
            [op] => Stage::Alone(space.start(key.clone(), op)),
            ops => Stage::Leads(self.last_series, space.start_series(key.clone(), ops)),
        };
    }

    /// Waits for the oldest operation under way and says what it came to.
    async fn land(&mut self, out: &mut BytesMut) {
        if self.flights.front().is_some_and(|flight| !flight.has_left()) {
            self.depart();
        }
        let Some(flight) = self.flights.pop_front() else { return };
        let operated = match flight.stage {
            Stage::Alone(coming) => {
                let answer = coming.await;
                self.session.space().operated(answer)
            }
            Stage::Leads(series, coming) => {
                let answer = coming.await;
                self.land_series(series, answer)
            }
            Stage::Landed(operated) => operated,
            Stage::Gathered(_) | Stage::Follows(_) => Err(wrong_reply()),
        };
        if !flight.is_read {
            self.session.space().wrote(&flight.key);
        }
        let answer =
            operated.and_then(|reply| reply.map(flight.say).map_err(|error| refused(error, flight.command.name)));
        self.say(answer, flight.asked, out);
    }

    /// Says to the others of a series what came of them, and gives what came of the first.
    fn land_series(
        &mut self,
        series: u64,
        answer: Result<althing_api::Answer, althing_api::Error>,
    ) -> Result<Operated, Refusal> {
        let mut others: Vec<_> = self
            .flights
            .iter_mut()
            .filter(|flight| matches!(flight.stage, Stage::Follows(of) if of == series))
            .collect();
        let mut operated = self.session.space().series(answer, others.len() + 1).into_iter();
        let first = operated.next().unwrap_or_else(|| Err(wrong_reply()));
        for (flight, operated) in others.iter_mut().zip(operated) {
            flight.stage = Stage::Landed(operated);
        }
        first
    }

    /// Waits for all that is under way.
    async fn settle(&mut self, out: &mut BytesMut) {
        while !self.flights.is_empty() {
            self.land(out).await;
        }
    }
}

impl Flight {
    /// Whether the node has it.
    const fn has_left(&self) -> bool {
        match self.stage {
            Stage::Gathered(_) => false,
            Stage::Alone(_) | Stage::Leads(..) | Stage::Follows(_) | Stage::Landed(_) => true,
        }
    }
}
