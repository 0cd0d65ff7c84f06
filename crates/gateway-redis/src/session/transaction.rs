//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`.
//!
//! On a strong table they are what they are in Redis. `WATCH` notes when its keys were changed last, and `EXEC` asks the table for all
//! that was queued at once: it is one entry of its log, which does nothing if a watched key has changed. Where a command of
//! several steps is among them, all are tried first ([`crate::attempt`]). All keys lie in one shard; otherwise nothing is
//! run, and the client is told so.
//!
//! On a convergent table `EXEC` runs what was queued in its order, without isolation: others may see a part of it, and a failure
//! of the node in between leaves a part of it. There is nothing there that could tell whether a key has changed since it
//! was watched, on any side of a partition; so `WATCH` is refused, and names where it is exact.

use std::sync::Arc;

use althing_api::keyed::{Access, Step, Watched};
use althing_datatypes::codec::Message as _;
use althing_types::TableName;
use bytes::Bytes;

use super::Session;
use crate::attempt::{CONTENDED, Fate, MAX_ATTEMPTS, Scope, Together};
use crate::command::{Action, Answer, Command};
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::sorted::pops::Otherwise;
use crate::run::{Keyed, refused};
use crate::tables::TableKind;
use crate::wire::Value;
use crate::wire::request::{MAX_COMMAND_BYTES, Words};

/// Commands of one transaction.
pub const MAX_QUEUED: usize = 65_536;

/// What waits for `EXEC`.
#[derive(Debug, Default)]
pub struct Transaction {
    queued: Vec<(&'static Command, Words)>,
    bytes: usize,
    is_spoilt: bool,
}

impl Transaction {
    /// How many commands wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.queued.len()
    }

    /// Whether none waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.queued.is_empty()
    }

    /// A command was refused, so none will be run.
    pub const fn spoil(&mut self) {
        self.is_spoilt = true;
    }

    /// Adds a command.
    ///
    /// # Errors
    /// If there are too many.
    pub fn queue(&mut self, command: &'static Command, words: Words) -> Answer {
        self.bytes += words.iter().map(|word| word.len() + size_of::<Bytes>()).sum::<usize>();
        if self.queued.len() >= MAX_QUEUED || self.bytes > MAX_COMMAND_BYTES {
            self.spoil();
            return Err(Refusal::new(format!(
                "ERR a transaction may have {MAX_QUEUED} commands and {MAX_COMMAND_BYTES} bytes"
            )));
        }
        self.queued.push((command, words));
        Ok(Value::status("QUEUED"))
    }
}

/// Keys that a connection watches at a time: each is asked for again with every `WATCH`.
pub const MAX_WATCHED: usize = 4096;

/// What a connection watches.
#[derive(Debug)]
pub(super) struct Watching {
    /// The table that the keys are of.
    table: TableName,
    /// Each once, with the revision at which it was watched first.
    keys: Vec<Watched>,
}

/// A queued command, as it is run on a strong table.
enum Planned {
    /// One operation on one key.
    Keyed(&'static Command, Keyed),
    /// Several.
    Composed(&'static Command, Words),
    /// Something about the connection: it is done once all others are.
    Session(&'static Command, Words),
    /// It was refused before it was run.
    Refused(Refusal),
}

/// `MULTI`
pub fn multi(session: &mut Session, _: &[Bytes]) -> Answer {
    if session.transaction.is_some() {
        return Err(Refusal::of("ERR MULTI calls can not be nested"));
    }
    session.transaction = Some(Transaction::default());
    session.client.facts().queued = Some(0);
    Ok(Value::OK)
}

/// `DISCARD`
pub fn discard(session: &mut Session, _: &[Bytes]) -> Answer {
    session.client.facts().queued = None;
    session.watching = None;
    session.transaction.take().map(|_| Value::OK).ok_or(Refusal::of("ERR DISCARD without MULTI"))
}

/// `UNWATCH`
pub fn unwatch(session: &mut Session, _: &[Bytes]) -> Answer {
    session.watching = None;
    Ok(Value::OK)
}

/// What may not be queued on a strong table: the transaction is one of the table that it began in.
#[must_use]
pub fn leaves_its_table(command: &str) -> bool {
    matches!(command, "select" | "auth" | "hello")
}

/// A command that would leave its table.
pub const LEAVES_ITS_TABLE: Refusal = Refusal::of(
    "ERR a transaction of a strong table stays in its table: this is not supported by Althing between MULTI and EXEC",
);

impl Session {
    /// `WATCH key...`
    pub(super) async fn watch(&mut self, words: &[Bytes]) -> Answer {
        if self.transaction.is_some() {
            return Err(Refusal::of("ERR WATCH inside MULTI is not allowed"));
        }
        let table = self.space.table();
        match table.kind {
            TableKind::Convergent => {
                let why = "a convergent table has no order in which a key could be seen to change; use a strong table";
                return Err(Refusal::unsupported("WATCH", why));
            }
            TableKind::Strong => {}
        }
        let name = table.name.clone();
        let known = self.watching.take().filter(|watching| watching.table == name);
        let mut keys = known.map(|watching| watching.keys).unwrap_or_default();
        let is_new = |key: &&Bytes| !keys.iter().any(|watched| watched.key == **key);
        let new: std::collections::BTreeSet<&Bytes> = words[1..].iter().filter(is_new).collect();
        if keys.len() + new.len() > MAX_WATCHED {
            self.watching = Some(Watching { table: name, keys });
            return Err(Refusal::new(format!("ERR a connection watches up to {MAX_WATCHED} keys")));
        }
        // Those that are watched already are asked for again, so that keys of several shards are refused here.
        let asked: Vec<Bytes> =
            new.into_iter().cloned().chain(keys.iter().map(|watched| watched.key.clone())).collect();
        let found = self.space.revisions(&asked).await;
        if let Ok(revisions) = &found {
            let watched = asked.into_iter().zip(revisions).map(|(key, &revision)| Watched { key, revision });
            let new = watched.take(revisions.len() - keys.len());
            keys.extend(new.collect::<Vec<_>>());
        }
        self.watching = Some(Watching { table: name, keys });
        found.map(|_| Value::OK)
    }

    /// `EXEC`
    pub(super) async fn exec(&mut self) -> Answer {
        let transaction = self.transaction.take().ok_or(Refusal::of("ERR EXEC without MULTI"))?;
        let watching = self.watching.take();
        self.client.facts().queued = None;
        if transaction.is_spoilt {
            return Err(Refusal::of("EXECABORT Transaction discarded because of previous errors."));
        }
        let table = self.space.table();
        let watched = match (table.kind, watching) {
            (_, Some(watching)) if watching.table != table.name => {
                return Err(Refusal::new(format!(
                    "EXECABORT the watched keys are of the table {}: EXEC where they were watched",
                    watching.table
                )));
            }
            (TableKind::Convergent, _) => return Ok(self.in_order(transaction).await),
            (TableKind::Strong, watching) => watching.map(|watching| watching.keys).unwrap_or_default(),
        };
        self.at_once(transaction, watched).await
    }

    /// Runs what was queued, one after the other.
    async fn in_order(&mut self, transaction: Transaction) -> Value {
        let mut answers = Vec::with_capacity(transaction.queued.len());
        for (command, words) in transaction.queued {
            // One that fails does not stop the others: so Redis does it.
            answers.push(self.run_now(command, &words).await.unwrap_or_else(Value::from));
        }
        Value::Array(answers)
    }

    /// Runs what was queued at one moment, if what is watched has not changed.
    async fn at_once(&mut self, transaction: Transaction, watched: Vec<Watched>) -> Answer {
        let plan: Vec<Planned> =
            transaction.queued.into_iter().map(|(command, words)| planned(command, words)).collect();
        let has_steps = plan.iter().any(|planned| matches!(planned, Planned::Composed(..)));
        let answers = if has_steps {
            try_plan(&self.space, &plan, &watched).await?
        } else {
            ask_plan(&self.space, &plan, watched).await?
        };
        let Some(mut answers) = answers else { return Ok(Value::NilArray) };
        for (planned, answer) in plan.iter().zip(&mut answers) {
            if let Planned::Session(command, words) = planned {
                *answer = self.run_now(command, words).await.unwrap_or_else(Value::from);
            }
        }
        Ok(Value::Array(answers))
    }
}

/// Asks for all at once, since none has to know what another one has found. `None` if a watched key has changed.
async fn ask_plan(space: &Keyspace, plan: &[Planned], watched: Vec<Watched>) -> Result<Option<Vec<Value>>, Refusal> {
    let keyed = plan.iter().filter_map(Planned::keyed);
    let steps: Vec<_> = keyed.map(|keyed| Step { key: keyed.key.clone(), operation: keyed.op.encode() }).collect();
    let only_reads = plan.iter().filter_map(Planned::keyed).all(|keyed| keyed.op.is_read());
    let access = if only_reads { Access::Read } else { Access::Write };
    let replies = match (steps.is_empty(), watched.is_empty()) {
        (true, true) => Vec::new(),
        (true, false) | (false, _) => match space.together(watched, steps, access, None).await?? {
            Together::Done(replies, _) => replies,
            Together::Aborted => return Ok(None),
        },
    };
    let mut replies = replies.into_iter();
    let mut answer = |planned: &Planned| match planned {
        Planned::Keyed(command, keyed) => match replies.next() {
            Some(Ok(reply)) => (keyed.say)(reply),
            Some(Err(error)) => refused(error, command.name).into(),
            None => crate::run::wrong_reply().into(),
        },
        Planned::Refused(refusal) => refusal.clone().into(),
        Planned::Composed(..) | Planned::Session(..) => Value::Nil,
    };
    Ok(Some(plan.iter().map(&mut answer).collect()))
}

/// Tries all until they were done at one moment. `None` if a watched key has changed.
async fn try_plan(space: &Keyspace, plan: &[Planned], watched: &[Watched]) -> Result<Option<Vec<Value>>, Refusal> {
    for _ in 0..MAX_ATTEMPTS {
        let attempt = space.attempt_of(Scope::Transaction);
        let within = space.in_attempt(Arc::clone(&attempt));
        let mut answers = Vec::with_capacity(plan.len());
        for planned in plan {
            answers.push(planned.run(&within).await.unwrap_or_else(Value::from));
        }
        match space.commit(&attempt, watched).await? {
            Fate::Done => return Ok(Some(answers)),
            Fate::Abandoned => return Ok(None),
            Fate::Overtaken => {}
        }
    }
    Err(CONTENDED)
}

impl Planned {
    const fn keyed(&self) -> Option<&Keyed> {
        match self {
            Self::Keyed(_, keyed) => Some(keyed),
            Self::Composed(..) | Self::Session(..) | Self::Refused(_) => None,
        }
    }

    /// Runs it as a part of an attempt.
    async fn run(&self, space: &Keyspace) -> Answer {
        match self {
            Self::Keyed(command, keyed) => {
                let reply = space.ask(&keyed.key, keyed.op.clone()).await?;
                reply.map(keyed.say).map_err(|error| refused(error, command.name))
            }
            Self::Composed(command, words) => match command.action {
                Action::Composed(run) => run(space, words).await,
                // In a transaction nothing waits.
                Action::Waiting(parse) => {
                    let popped = parse(words)?.pop.attempt(space, Otherwise::Tell).await?;
                    Ok(popped.unwrap_or(Value::NilArray))
                }
                Action::Keyed(_) | Action::Session(_) | Action::Watch | Action::Exec | Action::Container(_) => {
                    Err(Refusal::SYNTAX)
                }
            },
            // Its answer comes afterwards.
            Self::Session(..) => Ok(Value::Nil),
            Self::Refused(refusal) => Err(refusal.clone()),
        }
    }
}

fn planned(command: &'static Command, words: Words) -> Planned {
    match command.action {
        Action::Keyed(parse) => match parse(&words) {
            Ok(keyed) => Planned::Keyed(command, keyed),
            Err(refusal) => Planned::Refused(refusal),
        },
        Action::Composed(_) | Action::Waiting(_) => Planned::Composed(command, words),
        Action::Session(_) => Planned::Session(command, words),
        // They are never queued.
        Action::Watch | Action::Exec | Action::Container(_) => Planned::Refused(Refusal::SYNTAX),
    }
}
