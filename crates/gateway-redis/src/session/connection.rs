//! Who a client is, what it speaks, and where it stands.

use bytes::Bytes;

use super::{Next, Session};
use crate::command::Answer;
use crate::counters::Counters;
use crate::refusal::{Refusal, quoted};
use crate::run::words::{Options, is};
use crate::tables::{Admission, Entrance, Table};
use crate::wire::request::Sender;
use crate::wire::{Protocol, Value, number};

/// The version of Redis whose commands and answers these are.
pub const REDIS_VERSION: &str = "7.0.15";

/// `PING [message]`
pub fn ping(session: &mut Session, words: &[Bytes]) -> Answer {
    if words.len() > 2 {
        return Err(Refusal::arity("ping"));
    }
    let message = words.get(1).cloned();
    if session.protocol == Protocol::Resp2 && !session.heard.is_empty() {
        let message = message.unwrap_or_default();
        return Ok(Value::Array(vec![Value::word("pong"), Value::Bulk(message)]));
    }
    Ok(message.map_or(Value::status("PONG"), Value::Bulk))
}

/// `ECHO message`
pub fn echo(_: &mut Session, words: &[Bytes]) -> Answer {
    Ok(Value::Bulk(words[1].clone()))
}

/// `QUIT`
pub fn quit(session: &mut Session, _: &[Bytes]) -> Answer {
    session.next = Next::End;
    Ok(Value::OK)
}

/// `RESET`
pub fn reset(session: &mut Session, _: &[Bytes]) -> Answer {
    session.reset();
    Ok(Value::status("RESET"))
}

/// `READONLY`, `READWRITE`, `ASKING`: every node answers any key.
pub fn any_node(_: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::OK)
}

/// `SELECT index`
pub fn select(session: &mut Session, words: &[Bytes]) -> Answer {
    let index = number::integer(&words[1]).ok_or(Refusal::NOT_AN_INTEGER)?;
    let table = u32::try_from(index).ok().and_then(|index| session.shared().tables.by_index(index));
    let table = table.ok_or(Refusal::of("ERR DB index is out of range"))?;
    session.permit(&session.user, &table)?;
    session.enter(table);
    Ok(Value::OK)
}

/// `AUTH [user[@table]] password`, `AUTH user@table`
pub fn auth(session: &mut Session, words: &[Bytes]) -> Answer {
    match &words[1..] {
        [user, password] => session.authenticate(user, Some(password)),
        [name] if name.contains(&b'@') => session.authenticate(name, None),
        [password] => match session.shared().tables.entrance() {
            Entrance::Guarded => session.authenticate(b"default", Some(password)),
            Entrance::Open => Err(Refusal::of(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            )),
        },
        [] | [_, _, _, ..] => Err(Refusal::SYNTAX),
    }
}

impl Session {
    /// Refuses a table that is not for a user.
    fn permit(&self, user: &str, table: &Table) -> Result<(), Refusal> {
        match self.shared().tables.may_use(user, table) {
            Admission::Admitted => Ok(()),
            Admission::Refused => {
                Err(Refusal::new(format!("NOPERM this user has no permissions to access the table {}", table.name)))
            }
        }
    }

    /// Lets a user in, and into the table that follows its name after an `@`: clients of clusters know database 0 only.
    fn authenticate(&mut self, name: &[u8], password: Option<&[u8]>) -> Answer {
        let name = std::str::from_utf8(name).map_err(|_| Refusal::WRONG_PASSWORD)?;
        let (user, table) = match name.rsplit_once('@') {
            None => (name, None),
            Some((user, table)) => (user, Some(table)),
        };
        let is_known = match (password, self.shared().tables.entrance()) {
            (Some(password), _) => self.shared().tables.authenticate(user, password) == Admission::Admitted,
            (None, Entrance::Open) => true,
            // Who has said its password may go to another table without it.
            (None, Entrance::Guarded) => self.sender == Sender::Known && user == self.user,
        };
        if !is_known {
            Counters::add(&self.shared().counters.strangers, 1);
            return Err(Refusal::WRONG_PASSWORD);
        }
        // Which tables there are is not told to strangers.
        let unknown = |table: &str| {
            Refusal::new(format!("ERR there is no table {} that serves Redis", quoted(table.as_bytes(), 64)))
        };
        let find = |table: &str| self.shared().tables.by_name(table).ok_or_else(|| unknown(table));
        let table = table.map(find).transpose()?;
        self.permit(user, table.as_deref().unwrap_or_else(|| self.space.table()))?;
        user.clone_into(&mut self.user);
        user.clone_into(&mut self.client.facts().user);
        self.sender = Sender::Known;
        if let Some(table) = table {
            self.enter(table);
        }
        Ok(Value::OK)
    }
}

/// `HELLO [2 | 3 [AUTH user password] [SETNAME name]]`
pub fn hello(session: &mut Session, words: &[Bytes]) -> Answer {
    let mut options = Options::from(words, 1);
    let protocol = match options.pull() {
        None => session.protocol,
        Some(version) => match number::integer(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(Refusal::of("NOPROTO unsupported protocol version")),
            None => return Err(Refusal::of("ERR Protocol version is not an integer or out of range")),
        },
    };
    let (mut auth, mut name) = (None, None);
    while let Some(option) = options.pull() {
        let wrong = || Refusal::new(format!("ERR Syntax error in HELLO option '{}'", quoted(option, 128)));
        if is(option, "auth") {
            auth = Some((options.pull().ok_or_else(wrong)?, options.pull().ok_or_else(wrong)?));
        } else if is(option, "setname") {
            name = Some(options.pull().ok_or_else(wrong)?);
        } else {
            return Err(wrong());
        }
    }
    if let Some((user, password)) = auth {
        session.authenticate(user, Some(password))?;
    }
    if session.sender == Sender::Stranger {
        return Err(Refusal::of(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        ));
    }
    if let Some(name) = name {
        session.set_name(name)?;
    }
    session.protocol = protocol;
    session.client.facts().protocol = protocol;
    let spoken = match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    Ok(Value::Map(vec![
        (Value::word("server"), Value::word("redis")),
        (Value::word("version"), Value::word(REDIS_VERSION)),
        (Value::word("proto"), Value::Int(spoken)),
        (Value::word("id"), Value::Int(i64::try_from(session.client.id).unwrap_or(i64::MAX))),
        (Value::word("mode"), Value::word("standalone")),
        (Value::word("role"), Value::word("master")),
        (Value::word("modules"), Value::Array(Vec::new())),
    ]))
}
