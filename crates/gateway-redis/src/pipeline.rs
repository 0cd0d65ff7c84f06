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
use bytes::{Bytes, BytesMut};

use crate::command::{self, Action, Command, Flag};
use crate::gateway::Counters;
use crate::hub::{Delivery, Post};
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
    speech: Speech,
}

/// The commands of one connection.
pub struct Pipeline {
    session: Session,
    reader: Reader,
    flights: VecDeque<Flight>,
}

impl Pipeline {
    /// No command has come.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self { session, reader: Reader::default(), flights: VecDeque::new() }
    }

    /// What the connection is.
    pub const fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The next message for the connection. May be dropped and called again.
    pub async fn post(&mut self) -> Post {
        self.session.inbox().next().await
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
        loop {
            let state = match self.reader.next(input, self.session.limits()) {
                Ok(Some(words)) => match self.take(words, out).await {
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

    /// Takes one command: starts it, or runs it once all before it are done.
    async fn take(&mut self, words: Words, out: &mut BytesMut) -> Next {
        Counters::add(&self.session.shared().counters.commands, 1);
        let speech = self.session.listen();
        match self.session.judge(&words) {
            Ok(command) => match command.action {
                Action::Keyed(parse) if !self.session.is_queueing() => match parse(&words) {
                    Ok(keyed) => {
                        self.start(keyed, command, speech, out).await;
                        Next::GoOn
                    }
                    Err(refusal) => self.answer(Err(refusal), speech, out).await,
                },
                Action::Keyed(_) | Action::Composed(_) | Action::Session(_) | Action::Exec | Action::Container(_) => {
                    self.settle(out).await;
                    let answer = self.session.run(command, words).await;
                    // `CLIENT REPLY` is obeyed by its own answer.
                    let speech = if command.name == "client|reply" { self.session.listen_after() } else { speech };
                    self.answer(answer, speech, out).await
                }
            },
            Err(refusal) => self.answer(Err(refusal), speech, out).await,
        }
    }

    /// Says an answer behind those that are under way.
    async fn answer(&mut self, answer: command::Answer, speech: Speech, out: &mut BytesMut) -> Next {
        self.settle(out).await;
        self.say(answer, speech, out);
        self.session.next()
    }

    fn say(&mut self, answer: command::Answer, speech: Speech, out: &mut BytesMut) {
        let value = answer.unwrap_or_else(Value::from);
        if matches!(value, Value::Error(_)) {
            Counters::add(&self.session.shared().counters.errors, 1);
        }
        match speech {
            Speech::Silent => {}
            Speech::Aloud => write(&value, self.session.protocol(), out),
        }
    }

    /// Starts an operation as soon as it cannot overtake another on its key.
    async fn start(&mut self, keyed: Keyed, command: &'static Command, speech: Speech, out: &mut BytesMut) {
        let is_read = command.has(Flag::Readonly);
        while self.must_wait(&keyed.key, is_read) {
            self.land(out).await;
        }
        let coming = self.session.space().start(keyed.key.clone(), &keyed.op);
        self.flights.push_back(Flight { coming, say: keyed.say, key: keyed.key, is_read, command, speech });
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
        let answer = reply.and_then(|reply| reply.map(flight.say).map_err(|error| refused(error, flight.command.name)));
        self.say(answer, flight.speech, out);
    }

    /// Waits for all that is under way.
    async fn settle(&mut self, out: &mut BytesMut) {
        while !self.flights.is_empty() {
            self.land(out).await;
        }
    }
}
