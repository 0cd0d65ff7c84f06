//! A connection that waits for a key to have something: `BZPOPMIN` and its kin.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::clients::{Client, Unblocked};
use crate::command::Answer;
use crate::refusal::Refusal;
use crate::run::sorted::pops::{Otherwise, Pop, Waiting};
use crate::session::{Session, Speech};
use crate::waits::{FIRST_PAUSE, LONGEST_PAUSE, Sleeper};
use crate::wire::Value;

/// Whether it is time to look again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    Due,
    /// Its time is over: for the last time.
    Last,
    NotYet,
}

/// What a connection waits for.
pub struct Asleep {
    pop: Pop,
    /// Whether it is answered.
    pub speech: Speech,
    sleeper: Sleeper,
    /// When it ends with nothing; never without.
    until: Option<Pin<Box<Sleep>>>,
    pause: Duration,
    next: Pin<Box<Sleep>>,
    look: Look,
}

impl Asleep {
    /// Begins to wait. Whoever calls tries once afterwards: so no write falls between.
    pub fn new(session: &Session, speech: Speech, waiting: Waiting) -> Self {
        let (table, waits) = (&session.space().table().name, &session.shared().waits);
        let sleeper = waits.enter(table, &waiting.pop.keys, session.client().id);
        let until = waiting.timeout.map(|timeout| Box::pin(sleep(timeout)));
        let next = Box::pin(sleep(FIRST_PAUSE));
        session.client().facts().blocked = true;
        Self { pop: waiting.pop, speech, sleeper, until, pause: FIRST_PAUSE, next, look: Look::Due }
    }

    /// Returns when it is time to look again. May be dropped and called again.
    pub async fn due(&mut self, client: &Client) {
        let until = &mut self.until;
        let over = async {
            match until {
                Some(until) => until.await,
                None => std::future::pending().await,
            }
        };
        self.look = tokio::select! {
            () = over => Look::Last,
            () = self.sleeper.woken() => Look::Due,
            () = client.nudge.notified() => Look::Due,
            () = &mut self.next => Look::Due,
        };
    }

    /// Looks once if it is time. `None` if it goes on waiting.
    pub async fn look(&mut self, session: &Session, otherwise: Otherwise) -> Option<Answer> {
        let is_last = match std::mem::replace(&mut self.look, Look::NotYet) {
            Look::NotYet => return None,
            Look::Due => false,
            Look::Last => true,
        };
        let unblocked = session.client().facts().unblocked.take();
        match unblocked {
            Some(Unblocked::WithError) => {
                return Some(Err(Refusal::of("UNBLOCKED client unblocked via CLIENT UNBLOCK")));
            }
            Some(Unblocked::WithNothing) => return Some(Ok(Value::NilArray)),
            None => {}
        }
        match self.pop.attempt(session.space(), otherwise).await {
            Ok(None) if is_last => Some(Ok(Value::NilArray)),
            Ok(None) => {
                self.next = Box::pin(sleep(self.pause));
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                None
            }
            Ok(Some(value)) => Some(Ok(value)),
            Err(refusal) => Some(Err(refusal)),
        }
    }
}
