//! The commands that are spoken, as a table.
//!
//! A row says all that is known of a command: how many words it takes, where its keys stand, what two halves of a
//! partitioned cluster that both run it converge to, and what carries it out. `COMMAND` and `COMMAND DOCS`, errors of arity,
//! hash slots, what a transaction may queue, and the table in `docs/redis-commands.md` are all read off it, so none can
//! disagree with another.
//!
//! What is refused stands in [`refused`], with the reason that the client is told. The commands that are Althing's own are
//! named `AL.…` and have a table of their own beside Redis's.

pub mod describe;
pub mod keys;
pub mod refused;
mod table;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::Keyed;
use crate::run::sorted::pops::Waiting;
use crate::session::Session;
use crate::wire::Value;

pub use keys::Keys;

/// What a command answers, or why it does not.
pub type Answer = Result<Value, Refusal>;
/// An answer to come.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// One row.
#[derive(Debug)]
pub struct Command {
    /// Its name in lower case; of a subcommand, with its command's before it, as `client|id`.
    pub name: &'static str,
    /// What it belongs to.
    pub group: Group,
    /// How many words it takes, its name included; at least so many if negative.
    pub arity: i32,
    /// What clients and proxies may want to know of it.
    pub flags: &'static [Flag],
    /// Where its keys are.
    pub keys: Keys,
    /// The first version of Redis that had it.
    pub since: &'static str,
    /// What two partitions that both run it converge to.
    pub merges: Merges,
    /// What it does, in a line.
    pub summary: &'static str,
    /// What carries it out.
    pub action: Action,
}

/// What carries a command out.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// One operation on one key. Several of a connection may be under way if their keys differ.
    Keyed(fn(&[Bytes]) -> Result<Keyed, Refusal>),
    /// Several operations, or one that waits for something else.
    Composed(for<'a> fn(&'a Keyspace, &'a [Bytes]) -> Answering<'a>),
    /// A pop that waits until there is something; the connection does that.
    Waiting(fn(&[Bytes]) -> Result<Waiting, Refusal>),
    /// Something about the connection, at once.
    Session(fn(&mut Session, &[Bytes]) -> Answer),
    /// Notes what keys are now, for the next transaction; the connection does that.
    Watch,
    /// Ends a transaction by running what it has queued; the connection does that.
    Exec,
    /// Nothing by itself: it has subcommands.
    Container(&'static [Command]),
}

/// What a command belongs to, as Redis's documentation groups them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// Keys of any type.
    Generic,
    /// Strings and counters.
    String,
    /// Bits of strings.
    Bitmap,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Places on the earth, which are sorted sets.
    Geo,
    /// Sketches that count distinct members.
    HyperLogLog,
    /// Messages.
    PubSub,
    /// Commands that run together.
    Transactions,
    /// The connection.
    Connection,
    /// The node.
    Server,
    /// Slots and nodes.
    Cluster,
    /// What Redis has not.
    Althing,
}

impl Group {
    /// All of them, in the order of documents.
    pub const ALL: [Self; 14] = [
        Self::Generic,
        Self::String,
        Self::Bitmap,
        Self::Hash,
        Self::Set,
        Self::SortedSet,
        Self::Geo,
        Self::HyperLogLog,
        Self::PubSub,
        Self::Transactions,
        Self::Connection,
        Self::Server,
        Self::Cluster,
        Self::Althing,
    ];

    /// As `COMMAND DOCS` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Geo => "geo",
            Self::HyperLogLog => "hyperloglog",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Althing => "althing",
        }
    }

    /// The category of Redis's access control, where it differs from the name.
    #[must_use]
    pub const fn category(self) -> &'static str {
        match self {
            Self::Generic => "@keyspace",
            Self::String => "@string",
            Self::Bitmap => "@bitmap",
            Self::Hash => "@hash",
            Self::Set => "@set",
            Self::SortedSet => "@sortedset",
            Self::Geo => "@geo",
            Self::HyperLogLog => "@hyperloglog",
            Self::PubSub => "@pubsub",
            Self::Transactions => "@transaction",
            Self::Connection => "@connection",
            Self::Server => "@admin",
            Self::Cluster => "@dangerous",
            Self::Althing => "@keyspace",
        }
    }
}

/// What a client or a proxy may want to know of a command (the flags of Redis's `COMMAND`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flag {
    /// May change data.
    Write,
    /// Reads data and changes none.
    Readonly,
    /// Is refused where there is no room.
    Denyoom,
    /// Takes a constant or logarithmic time.
    Fast,
    /// Is about messages.
    Pubsub,
    /// Runs while a node starts.
    Loading,
    /// Runs on a node that is behind.
    Stale,
    /// Needs no authentication.
    NoAuth,
    /// Is not run by scripts.
    Noscript,
    /// Cannot be queued.
    NoMulti,
    /// Is for operators.
    Admin,
    /// Its keys do not stand in fixed places.
    Movablekeys,
    /// May wait.
    Blocking,
}

impl Flag {
    /// As `COMMAND` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Readonly => "readonly",
            Self::Denyoom => "denyoom",
            Self::Fast => "fast",
            Self::Pubsub => "pubsub",
            Self::Loading => "loading",
            Self::Stale => "stale",
            Self::NoAuth => "no_auth",
            Self::Noscript => "noscript",
            Self::NoMulti => "no_multi",
            Self::Admin => "admin",
            Self::Movablekeys => "movablekeys",
            Self::Blocking => "blocking",
        }
    }
}

/// What two halves of a partitioned convergent table that both run a command converge to. On a strong table each command is
/// linearizable, and none of this is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Merges {
    /// It changes no data.
    Nothing,
    /// It reads.
    Reads,
    /// The later write is shown; the other is kept beside it until a write has seen both.
    LastWriter,
    /// What it writes is made of what it has read; then as [`Merges::LastWriter`].
    ReadModifyWrite,
    /// All increments count.
    Counts,
    /// Each field for itself: the later write of a field is shown; fields that only one side wrote stay.
    PerField,
    /// Additions of both sides stay; an addition is not undone by a removal that had not seen it.
    AddWins,
    /// What it had seen goes; what the other side added meanwhile stays.
    RemovesSeen,
    /// Both sketches are joined, and count each member once.
    Union,
    /// The later deadline stands, and none is latest.
    LaterDeadline,
    /// The condition is judged on what one side sees, so that both sides may pass. Exact on a strong table.
    Conditional,
    /// Only one may be told yes: it is decided by a round, or refused.
    Claims,
    /// The same, of what no round decides: it is refused.
    StrongOnly,
    /// What the command that it runs comes to.
    AsItSays,
    /// It reads some keys, then writes another with what it found.
    ReadsThenWrites,
    /// It writes several keys, each for itself.
    EachKey,
}

impl Merges {
    /// In words, for the document.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Nothing => "changes no data",
            Self::Reads => "reads",
            Self::LastWriter => "the later write is shown; the other is kept beside it until a write has seen both",
            Self::ReadModifyWrite => {
                "computed from what one side sees; of two results the later is shown, the other kept beside it"
            }
            Self::Counts => "all increments of both sides count",
            Self::PerField => "field by field: the later write of a field is shown; fields that one side wrote stay",
            Self::AddWins => "additions of both sides stay; a removal does not undo an addition that it has not seen",
            Self::RemovesSeen => "what it has seen goes; what the other side added meanwhile stays",
            Self::Union => "the sketches are joined: every member of either side counts once",
            Self::LaterDeadline => "the later deadline stands; none is later than any",
            Self::Conditional => {
                "decided by the replica that coordinates; two sides may both succeed; then as the unconditional command. Exact on strong tables"
            }
            Self::Claims => {
                "refused, for both sides would be told yes. Exact on strong tables and, of strings, where the table's `conditional` is `paxos`: then only a side with most of the replicas goes on"
            }
            Self::StrongOnly => "refused, for both sides would be told yes. Exact on strong tables",
            Self::AsItSays => "as the command that it runs",
            Self::ReadsThenWrites => "reads what one side sees, then replaces or changes the destination, key by key",
            Self::EachKey => "each key for itself, as the command for one key",
        }
    }
}

impl Command {
    /// Whether the row has `flag`.
    #[must_use]
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// Its subcommands.
    #[must_use]
    pub const fn subcommands(&self) -> &'static [Self] {
        match self.action {
            Action::Container(subcommands) => subcommands,
            Action::Keyed(_)
            | Action::Composed(_)
            | Action::Waiting(_)
            | Action::Session(_)
            | Action::Watch
            | Action::Exec => &[],
        }
    }

    /// Refuses words that are too few or too many.
    ///
    /// # Errors
    /// In Redis's words.
    pub fn check_arity(&self, words: &[Bytes]) -> Result<(), Refusal> {
        let count = i32::try_from(words.len()).unwrap_or(i32::MAX);
        let fits = if self.arity >= 0 { count == self.arity } else { count >= -self.arity };
        if fits { Ok(()) } else { Err(Refusal::arity(self.name)) }
    }
}

/// The commands that are served, by name.
#[must_use]
pub fn all() -> &'static BTreeMap<&'static str, &'static Command> {
    static ALL: OnceLock<BTreeMap<&'static str, &'static Command>> = OnceLock::new();
    ALL.get_or_init(|| table::TABLES.iter().flat_map(|rows| rows.iter()).map(|row| (row.name, row)).collect())
}

/// The longest name of a command; a longer word is none.
const MAX_NAME_BYTES: usize = 32;

/// The row of a name in any case.
#[must_use]
pub fn by_name(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0; MAX_NAME_BYTES];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    all().get(std::str::from_utf8(lower).ok()?).copied()
}

/// The row that a whole command means, its subcommand if it has some, once its number of words is checked.
///
/// # Errors
/// If there is no such command, or it is refused, or has another number of words.
pub fn find(words: &[Bytes]) -> Result<&'static Command, Refusal> {
    let name = words.first().map_or(&b""[..], |name| &name[..]);
    let Some(row) = by_name(name) else {
        return Err(refused::reason(words).unwrap_or_else(|| Refusal::unknown_command(words)));
    };
    let Action::Container(rows) = row.action else {
        row.check_arity(words)?;
        return Ok(row);
    };
    row.check_arity(words)?;
    let Some(second) = words.get(1) else { return describe::alone(row).ok_or_else(|| Refusal::arity(row.name)) };
    let Some(found) = subcommand(row, rows, second) else {
        return Err(refused::reason(words).unwrap_or_else(|| Refusal::unknown_subcommand(row.name, second)));
    };
    found.check_arity(words)?;
    Ok(found)
}

fn subcommand(row: &Command, rows: &'static [Command], name: &[u8]) -> Option<&'static Command> {
    rows.iter().find(|sub| {
        let own = sub.name.get(row.name.len() + 1..).unwrap_or_default();
        own.as_bytes().eq_ignore_ascii_case(name)
    })
}

/// The row whose full name, as `client|id`, is this.
#[must_use]
pub fn by_full_name(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&byte| byte == b'|') {
        None => by_name(name),
        Some(bar) => {
            let row = by_name(&name[..bar])?;
            subcommand(row, row.subcommands(), &name[bar + 1..])
        }
    }
}
