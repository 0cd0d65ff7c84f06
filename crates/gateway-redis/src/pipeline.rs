//! The commands of one connection: read, run and answered in their order.
//!
//! A client may send many commands before it reads an answer. Those that came together are run without a look at the socket in
//! between. Operations on single keys of a convergent table are started side by side as long as their keys differ (or all only
//! read), so that a pipeline does not wait for a quorum as many times as it has commands; what touches a key that is still
//! being written waits for it, and every other command waits for all before it. So the order of effects of one connection
//! is kept for each key, as much as a convergent table has one. On a strong table, whose order spans keys, one
//! command runs at a time.

use std::collections::VecDeque;

use althing_api::Reply as Coming;
use althing_datatypes::Reply;
use althing_types::Instant;
use bytes::{Bytes, BytesMut};

use crate::asleep::Asleep;
use crate::command::{self, Action, Command, Flag, Group};
use crate::counters::Outcome;
use crate::hub::{Delivery, Post};
use crate::run::sorted::pops::{Otherwise, Waiting};
use crate::run::{Keyed, refused};
use crate::session::{Next, Session, Speech};
use crate::tables::TableKind;
use crate::wire::request::Words;
use crate::wire::{Reader, Value, write};

/// Operations of one connection that are under way at the same time.
const MAX_IN_FLIGHT: usize = 128;
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

/// One operation that is under way.
struct Flight {
    coming: Coming,
    say: fn(Reply) -> Value,
    key: Bytes,
    is_read: bool,
    command: &'static Command,
    asked: Asked,
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
    flights: VecDeque<Flight>,
    asleep: Option<Asleep>,
}

impl Pipeline {
    /// No command has come.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self { session, reader: Reader::default(), flights: VecDeque::new(), asleep: None }
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

    /// Starts an operation as soon as it cannot overtake another on its key.
    async fn start(&mut self, keyed: Keyed, command: &'static Command, asked: Asked, out: &mut BytesMut) {
        let is_read = command.has(Flag::Readonly);
        while self.must_wait(&keyed.key, is_read) {
            self.land(out).await;
        }
        let coming = self.session.space().start(keyed.key.clone(), &keyed.op);
        self.flights.push_back(Flight { coming, say: keyed.say, key: keyed.key, is_read, command, asked });
    }

    fn must_wait(&self, key: &Bytes, is_read: bool) -> bool {
        if self.session.space().is_in_session() {
            return !self.flights.is_empty();
        }
        match self.session.space().table().kind {
            TableKind::Strong => !self.flights.is_empty(),
            TableKind::Convergent => {
                let collides = |flight: &Flight| flight.key == *key && !(is_read && flight.is_read);
                self.flights.len() >= MAX_IN_FLIGHT || self.flights.iter().any(collides)
            }
        }
    }

    /// Waits for the oldest operation under way and says what it came to.
    async fn land(&mut self, out: &mut BytesMut) {
        let Some(flight) = self.flights.pop_front() else { return };
        let answer = flight.coming.await;
        let reply = self.session.space().operated(answer);
        if !flight.is_read {
            self.session.space().wrote(&flight.key);
        }
        let answer = reply.and_then(|reply| reply.map(flight.say).map_err(|error| refused(error, flight.command.name)));
        self.say(answer, flight.asked, out);
    }

    /// Waits for all that is under way.
    async fn settle(&mut self, out: &mut BytesMut) {
        while !self.flights.is_empty() {
            self.land(out).await;
        }
    }
}
