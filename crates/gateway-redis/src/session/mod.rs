//! One connection: who it is, where it stands, and what it may do next.
//!
//! Here is its state, and what it lets pass. Its commands stand beside: [`connection`] has `HELLO`, `AUTH`, `SELECT` and their
//! kin, [`client`] has `CLIENT`, [`messages`] has `SUBSCRIBE` and `PUBLISH` in all their forms, and [`transaction`] has
//! `MULTI`, `EXEC`, `DISCARD` and `WATCH`.

pub mod client;
pub mod connection;
pub mod messages;
pub mod transaction;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clients::Client;
use crate::command::{self, Action, Answer, Command, Flag};
use crate::gateway::{Gateway, Shared};
use crate::hub::{Heard, Inbox, Listening, Postbox, postbox};
use crate::keyspace::{Keyspace, Levels};
use crate::refusal::Refusal;
use crate::run::sorted::pops::Otherwise;
use crate::tables::{Entrance, Table, TableKind};
use crate::wire::request::{Limits, Sender, Words};
use crate::wire::{Protocol, Value};
use transaction::{Transaction, Watching};

/// What a connection does after a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// It goes on.
    GoOn,
    /// It ends once the answer is sent.
    End,
}

/// Whether a command is answered: `CLIENT REPLY`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speech {
    /// It is.
    Aloud,
    /// It is not.
    Silent,
}

/// What `CLIENT REPLY` has asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Replies {
    #[default]
    On,
    Off,
    /// Not the next one.
    SkipNext,
}

/// One connection.
pub struct Session {
    gateway: Gateway,
    client: Arc<Client>,
    space: Keyspace,
    protocol: Protocol,
    sender: Sender,
    user: String,
    replies: Replies,
    next: Next,
    transaction: Option<Transaction>,
    watching: Option<Watching>,
    heard: Heard,
    postbox: Postbox,
    inbox: Inbox,
}

impl Session {
    /// A connection that has said nothing.
    #[must_use]
    pub fn new(gateway: Gateway, client: Arc<Client>) -> Self {
        let shared = &gateway.0;
        let space = first_table(shared);
        let sender = entrance(shared);
        let (postbox, inbox) = postbox();
        Self {
            space,
            protocol: Protocol::default(),
            sender,
            user: "default".to_owned(),
            replies: Replies::default(),
            next: Next::GoOn,
            transaction: None,
            watching: None,
            heard: Heard::default(),
            postbox,
            inbox,
            gateway,
            client,
        }
    }

    /// What all connections share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.gateway.0
    }

    /// How others see it.
    #[must_use]
    pub const fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The table that it stands in.
    #[must_use]
    pub const fn space(&self) -> &Keyspace {
        &self.space
    }

    /// What it speaks.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Its messages.
    pub const fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// Whether it goes on.
    #[must_use]
    pub const fn next(&self) -> Next {
        self.next
    }

    /// What it may send.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { max_bulk_bytes: self.shared().config.max_bulk_bytes, sender: self.sender }
    }

    /// How long it may be silent: as long as it likes if it listens.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.shared().config.idle_timeout.filter(|_| self.heard.is_empty())
    }

    /// Whether commands are queued for `EXEC`.
    #[must_use]
    pub const fn is_queueing(&self) -> bool {
        self.transaction.is_some()
    }

    /// Whether the command that has just come is answered.
    pub const fn listen(&mut self) -> Speech {
        match self.replies {
            Replies::On => Speech::Aloud,
            Replies::Off => Speech::Silent,
            Replies::SkipNext => {
                self.replies = Replies::On;
                Speech::Silent
            }
        }
    }

    /// Whether `CLIENT REPLY` itself is answered: only `ON` is.
    #[must_use]
    pub const fn listen_after(&self) -> Speech {
        match self.replies {
            Replies::On => Speech::Aloud,
            Replies::Off | Replies::SkipNext => Speech::Silent,
        }
    }

    /// The command that is meant, if it may be run now.
    ///
    /// # Errors
    /// In Redis's words. A transaction that is being queued is spoilt by it.
    pub fn judge(&mut self, words: &[Bytes]) -> Result<&'static Command, Refusal> {
        if self.space.is_nowhere() && !self.is_queueing() {
            // A connection may come before its node knows of any table.
            self.begin();
        }
        let judged = command::find(words).and_then(|command| self.may_run(command).map(|()| command));
        match (&judged, &mut self.transaction) {
            (Err(_), Some(transaction)) => transaction.spoil(),
            (Err(_), None) | (Ok(_), _) => {}
        }
        if let Ok(command) = &judged {
            let now = self.shared().clock.now();
            let mut facts = self.client.facts();
            (facts.command, facts.active) = (command.name, now);
        }
        judged
    }

    fn may_run(&self, command: &Command) -> Result<(), Refusal> {
        if self.sender == Sender::Stranger && !command.has(Flag::NoAuth) {
            return Err(Refusal::NO_AUTH);
        }
        if self.protocol == Protocol::Resp2 && !self.heard.is_empty() && !is_for_listeners(command.name) {
            return Err(Refusal::new(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                 this context",
                command.name
            )));
        }
        if self.is_queueing() && command.has(Flag::NoMulti) {
            return Err(Refusal::of("ERR Command not allowed inside a transaction"));
        }
        Ok(())
    }

    /// Runs a command that [`Session::judge`] has let pass, or queues it.
    ///
    /// # Errors
    /// What the command is refused with.
    pub async fn run(&mut self, command: &'static Command, words: Words) -> Answer {
        if let Some(transaction) = &mut self.transaction
            && !is_of_transactions(command.name)
        {
            if self.space.table().kind == TableKind::Strong && transaction::leaves_its_table(command.name) {
                transaction.spoil();
                return Err(transaction::LEAVES_ITS_TABLE);
            }
            let queued = transaction.queue(command, words);
            self.client.facts().queued = Some(transaction.len());
            return queued;
        }
        match command.action {
            Action::Exec => self.exec().await,
            Action::Watch => self.watch(&words).await,
            Action::Keyed(_) | Action::Composed(_) | Action::Waiting(_) | Action::Session(_) | Action::Container(_) => {
                self.run_now(command, &words).await
            }
        }
    }

    /// Runs one command, in a transaction or not.
    async fn run_now(&mut self, command: &'static Command, words: &[Bytes]) -> Answer {
        match command.action {
            Action::Keyed(parse) => {
                let keyed = parse(words)?;
                let reply = self.space.ask(&keyed.key, keyed.op).await?;
                reply.map(keyed.say).map_err(|error| crate::run::refused(error, command.name))
            }
            Action::Composed(run) => match self.space.table().kind {
                TableKind::Convergent => run(&self.space, words).await,
                TableKind::Strong => self.space.exactly(run, words).await,
            },
            // In a transaction nothing waits.
            Action::Waiting(parse) => {
                let popped = parse(words)?.pop.attempt(&self.space, Otherwise::Tell).await?;
                Ok(popped.unwrap_or(Value::NilArray))
            }
            Action::Session(run) => run(self, words),
            // None is ever queued or found as the command of its words.
            Action::Watch | Action::Exec | Action::Container(_) => Err(Refusal::SYNTAX),
        }
    }

    /// Stands in another table from now on.
    fn enter(&mut self, table: Arc<Table>) {
        self.client.facts().index = table.index.unwrap_or(0);
        self.space = self.space.beside(table);
    }

    /// From now on operations are done at these levels.
    pub fn set_levels(&mut self, levels: Levels) {
        self.space = self.space.with_levels(levels);
    }

    /// Stands where connections begin.
    fn begin(&mut self) {
        self.space = first_table(self.shared());
        self.client.facts().index = self.space.table().index.unwrap_or(0);
    }

    /// Forgets everything that the connection has said, as `RESET` does.
    fn reset(&mut self) {
        self.transaction = None;
        self.watching = None;
        self.stop_listening();
        self.protocol = Protocol::default();
        self.sender = entrance(self.shared());
        "default".clone_into(&mut self.user);
        self.replies = Replies::On;
        self.begin();
        self.set_levels(Levels::default());
        self.space.keep_token(None);
        let mut facts = self.client.facts();
        facts.name.clear();
        "default".clone_into(&mut facts.user);
        (facts.queued, facts.protocol) = (None, self.protocol);
    }

    fn stop_listening(&mut self) {
        for (listening, name) in self.heard.take() {
            self.shared().hub.unsubscribe(self.client.id, listening, &name);
        }
        self.note_heard();
    }

    fn note_heard(&self) {
        let mut facts = self.client.facts();
        facts.channels = self.heard.count(Listening::Channel);
        facts.patterns = self.heard.count(Listening::Pattern);
        facts.shard_channels = self.heard.count(Listening::Shard);
    }

    /// The connection has ended.
    pub fn end(&mut self) {
        self.stop_listening();
    }
}

/// Where connections begin: in the table of index 0, if there is one.
fn first_table(shared: &Arc<Shared>) -> Keyspace {
    match shared.tables.by_index(0) {
        Some(table) => Keyspace::new(Arc::clone(shared), table),
        None => Keyspace::nowhere(Arc::clone(shared)),
    }
}

fn entrance(shared: &Shared) -> Sender {
    match shared.tables.entrance() {
        Entrance::Open => Sender::Known,
        Entrance::Guarded => Sender::Stranger,
    }
}

/// What a connection of RESP2 that listens may say: its answers could not be told from messages otherwise.
fn is_for_listeners(command: &str) -> bool {
    matches!(
        command,
        "subscribe"
            | "unsubscribe"
            | "psubscribe"
            | "punsubscribe"
            | "ssubscribe"
            | "sunsubscribe"
            | "ping"
            | "quit"
            | "reset"
    )
}

/// What is never queued.
fn is_of_transactions(command: &str) -> bool {
    matches!(command, "multi" | "exec" | "discard" | "watch" | "reset" | "quit")
}
