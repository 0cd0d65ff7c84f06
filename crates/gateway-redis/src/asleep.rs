//! A connection that waits for a key to have something: `BZPOPMIN` and its kin.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

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
    NotYet,
}

/// What a connection waits for.
pub struct Asleep {
    pop: Pop,
    /// Whether it is answered.
    pub speech: Speech,
    sleeper: Sleeper,
    /// When it ends with nothing; never without.
    until: Option<Instant>,
    pause: Duration,
    next: Instant,
    look: Look,
}

impl Asleep {
    /// Begins to wait. Whoever calls tries once afterwards: so no write falls between.
    pub fn new(session: &Session, speech: Speech, waiting: Waiting) -> Self {
        let (table, waits) = (&session.space().table().name, &session.shared().waits);
        let sleeper = waits.enter(table, &waiting.pop.keys, session.client().id);
        let now = Instant::now();
        // What no clock holds is for ever.
        let until = waiting.timeout.and_then(|timeout| now.checked_add(timeout));
        session.client().facts().blocked = true;
        Self { pop: waiting.pop, speech, sleeper, until, pause: FIRST_PAUSE, next: now, look: Look::Due }
    }

    /// Returns when it is time to look again. May be dropped and called again.
    pub async fn due(&mut self, client: &Client) {
        let next = self.until.map_or(self.next, |until| self.next.min(until));
        tokio::select! {
            () = self.sleeper.woken() => {}
            () = client.nudge.notified() => {}
            () = sleep_until(next) => {}
        }
        self.look = Look::Due;
    }

    /// Looks once if it is time. `None` if it goes on waiting.
    pub async fn look(&mut self, session: &Session, otherwise: Otherwise) -> Option<Answer> {
        match self.look {
            Look::NotYet => return None,
            Look::Due => self.look = Look::NotYet,
        }
        let unblocked = session.client().facts().unblocked.take();
        match unblocked {
            Some(Unblocked::WithError) => {
                return Some(Err(Refusal::of("UNBLOCKED client unblocked via CLIENT UNBLOCK")));
            }
            Some(Unblocked::WithNothing) => return Some(Ok(Value::NilArray)),
            None => {}
        }
        match self.pop.attempt(session.space(), otherwise).await {
            Ok(None) if self.until.is_some_and(|until| Instant::now() >= until) => Some(Ok(Value::NilArray)),
            Ok(None) => {
                self.next = Instant::now() + self.pause;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                None
            }
            Ok(Some(value)) => Some(Ok(value)),
            Err(refusal) => Some(Err(refusal)),
        }
    }
}
