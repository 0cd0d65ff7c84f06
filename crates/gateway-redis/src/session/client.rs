//! `CLIENT`: what connections know of themselves and of each other.

use std::sync::Arc;

use bytes::Bytes;

use super::{Replies, Session};
use crate::clients::{Client, Unblocked};
use crate::command::Answer;
use crate::refusal::{Refusal, quoted};
use crate::run::words::{Options, is};
use crate::wire::{Value, number};

/// Bytes of a name or of a library's; a client's own, so Redis has no limit, but they stand in every list.
const MAX_NAME_BYTES: usize = 256;

fn id_of(client: &Client) -> i64 {
    i64::try_from(client.id).unwrap_or(i64::MAX)
}

/// `CLIENT ID`
pub fn id(session: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::Int(id_of(&session.client)))
}

/// `CLIENT INFO`
pub fn info(session: &mut Session, _: &[Bytes]) -> Answer {
    let line = session.client.line(session.shared().clock.now());
    Ok(Value::Text(format!("{line}\n")))
}

/// `CLIENT GETNAME`
pub fn getname(session: &mut Session, _: &[Bytes]) -> Answer {
    let name = session.client.facts().name.clone();
    Ok(if name.is_empty() { Value::Nil } else { Value::text(name) })
}

/// `CLIENT SETNAME name`
pub fn setname(session: &mut Session, words: &[Bytes]) -> Answer {
    session.set_name(&words[2])
}

/// A word that may stand in `CLIENT LIST`: printable, without spaces.
fn printable<'a>(word: &'a [u8], what: &str) -> Result<&'a str, Refusal> {
    let text = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    let text = text.filter(|text| text.len() <= MAX_NAME_BYTES);
    text.ok_or_else(|| Refusal::new(format!("ERR {what} cannot contain spaces, newlines or special characters.")))
}

impl Session {
    pub(super) fn set_name(&mut self, name: &[u8]) -> Answer {
        let name = printable(name, "Client names")?;
        name.clone_into(&mut self.client.facts().name);
        Ok(Value::OK)
    }
}

/// `CLIENT SETINFO LIB-NAME | LIB-VER value` (of Redis 7.2, but all libraries send it)
pub fn setinfo(session: &mut Session, words: &[Bytes]) -> Answer {
    let (attribute, value) = (&words[2], &words[3]);
    let text = printable(value, &quoted(attribute, 32))?;
    let mut facts = session.client.facts();
    if is(attribute, "lib-name") {
        text.clone_into(&mut facts.library);
    } else if is(attribute, "lib-ver") {
        text.clone_into(&mut facts.library_version);
    } else {
        return Err(Refusal::new(format!("ERR Unrecognized option '{}'", quoted(attribute, 128))));
    }
    Ok(Value::OK)
}

/// `CLIENT NO-EVICT ON | OFF`, `CLIENT NO-TOUCH`: nothing is evicted here, and no key's last use is kept.
pub fn no_effect(_: &mut Session, words: &[Bytes]) -> Answer {
    if is(&words[2], "on") || is(&words[2], "off") { Ok(Value::OK) } else { Err(Refusal::SYNTAX) }
}

/// `CLIENT REPLY ON | OFF | SKIP`
pub fn reply(session: &mut Session, words: &[Bytes]) -> Answer {
    session.replies = if is(&words[2], "on") {
        Replies::On
    } else if is(&words[2], "off") {
        Replies::Off
    } else if is(&words[2], "skip") {
        match session.replies {
            Replies::On | Replies::SkipNext => Replies::SkipNext,
            Replies::Off => Replies::Off,
        }
    } else {
        return Err(Refusal::SYNTAX);
    };
    Ok(Value::OK)
}

/// Whether a connection is of a type: there are no replicas, and those that listen are of a type of their own.
fn is_of_type(client: &Client, word: &[u8]) -> Result<bool, Refusal> {
    let facts = client.facts();
    let listens = facts.channels + facts.patterns + facts.shard_channels > 0;
    match word.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(!listens),
        b"pubsub" => Ok(listens),
        b"master" | b"replica" | b"slave" => Ok(false),
        _ => Err(Refusal::new(format!("ERR Unknown client type '{}'", quoted(word, 128)))),
    }
}

fn client_id(word: &[u8]) -> Result<u64, Refusal> {
    let id = number::integer(word).and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0);
    id.ok_or(Refusal::of("ERR Invalid client ID"))
}

/// `CLIENT LIST [TYPE type] [ID id...]`
pub fn list(session: &mut Session, words: &[Bytes]) -> Answer {
    let (shared, now) = (session.shared(), session.shared().clock.now());
    let mut clients = shared.clients.all();
    match words.get(2..).unwrap_or_default() {
        [] => {}
        [option, kind] if is(option, "type") => {
            let mut of_type = Vec::new();
            for client in clients {
                if is_of_type(&client, kind)? {
                    of_type.push(client);
                }
            }
            clients = of_type;
        }
        [option, ids @ ..] if is(option, "id") && !ids.is_empty() => {
            let ids = ids.iter().map(|id| client_id(id)).collect::<Result<Vec<_>, _>>()?;
            clients.retain(|client| ids.contains(&client.id));
        }
        [_, ..] => return Err(Refusal::SYNTAX),
    }
    let lines: Vec<String> = clients.iter().map(|client| client.line(now) + "\n").collect();
    Ok(Value::Text(lines.concat()))
}

/// `CLIENT KILL address`, or `CLIENT KILL [ID id] [ADDR address] [LADDR address] [TYPE type] [USER name] [SKIPME yes | no]`
pub fn kill(session: &mut Session, words: &[Bytes]) -> Answer {
    let mut clients = session.shared().clients.all();
    if let [address] = &words[2..] {
        let found = clients.into_iter().find(|client| client.peer.as_bytes() == &address[..]);
        let found = found.ok_or(Refusal::of("ERR No such client"))?;
        end(session, &found);
        return Ok(Value::OK);
    }
    let (mut options, mut skips_me) = (Options::from(words, 2), true);
    while let Some(option) = options.pull() {
        let value = options.value()?;
        if is(option, "id") {
            let id = client_id(value)?;
            clients.retain(|client| client.id == id);
        } else if is(option, "addr") {
            clients.retain(|client| client.peer.as_bytes() == &value[..]);
        } else if is(option, "laddr") {
            clients.retain(|client| client.local.as_bytes() == &value[..]);
        } else if is(option, "user") {
            clients.retain(|client| client.facts().user.as_bytes() == &value[..]);
        } else if is(option, "type") {
            let mut of_type = Vec::new();
            for client in clients {
                if is_of_type(&client, value)? {
                    of_type.push(client);
                }
            }
            clients = of_type;
        } else if is(option, "skipme") && (is(value, "yes") || is(value, "no")) {
            skips_me = is(value, "yes");
        } else {
            return Err(Refusal::SYNTAX);
        }
    }
    let mut ended = 0;
    for client in clients {
        if client.id != session.client.id || !skips_me {
            end(session, &client);
            ended += 1;
        }
    }
    Ok(Value::Int(ended))
}

/// `CLIENT UNBLOCK id [TIMEOUT | ERROR]`
pub fn unblock(session: &mut Session, words: &[Bytes]) -> Answer {
    let how = match words.get(3..).unwrap_or_default() {
        [] => Unblocked::WithNothing,
        [how] if is(how, "timeout") => Unblocked::WithNothing,
        [how] if is(how, "error") => Unblocked::WithError,
        [_, ..] => return Err(Refusal::of("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let id = number::integer(&words[2]).ok_or(Refusal::NOT_AN_INTEGER)?;
    let found = session.shared().clients.all().into_iter().find(|client| id_of(client) == id);
    let Some(client) = found.filter(|client| client.facts().blocked) else { return Ok(Value::Int(0)) };
    client.facts().unblocked = Some(how);
    client.nudge.notify_one();
    Ok(Value::Int(1))
}

/// Ends a connection: another at once, this one after its answer.
fn end(session: &mut Session, client: &Arc<Client>) {
    if client.id == session.client.id {
        session.next = super::Next::End;
    } else {
        client.end.notify_one();
    }
}
