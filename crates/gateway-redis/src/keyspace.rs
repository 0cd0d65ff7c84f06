//! The table that a connection stands in, as commands use it.

use std::sync::{Arc, Mutex, PoisonError};

use althing_api::keyed::{Access, KeyedAnswer, KeyedRequest, Step};
use althing_api::request::Body;
use althing_api::{Answer, Call, Error, ErrorKind, Reply as Coming, Request, Target};
use althing_datatypes::codec::Message;
use althing_datatypes::op::{Existence, KeyOp, SetAnswer, SetExpiry, StringOp};
use althing_datatypes::{Content, Op, OpError, Reply, Whole};
use althing_quorum::Level;
use althing_types::GroupId;
use bytes::Bytes;

use crate::attempt::Attempt;
use crate::cursors::Cursors;
pub use crate::cursors::Position;
use crate::gateway::Shared;
use crate::refusal::Refusal;
use crate::run::{refused, wrong_reply};
use crate::tables::{Table, TableKind};

/// Operations of one command that are under way at a time. A command of ten thousand keys must not fill the node's queue.
const MAX_AT_ONCE: usize = 256;
/// Shards that one step of a scan asks at the most.
const MAX_SHARDS_PER_STEP: usize = 64;
/// Keys among which a random one is drawn.
const RANDOM_SAMPLE: u32 = 64;

/// What an operation came to: a reply, or why the value does not allow it.
pub type Operated = Result<Reply, OpError>;

/// A table and the node that holds it. Clones are cheap.
#[derive(Clone)]
pub struct Keyspace {
    shared: Arc<Shared>,
    table: Arc<Table>,
    standing: Standing,
    /// What operations are part of, on a strong table.
    attempt: Option<Arc<Attempt>>,
    levels: Levels,
    /// What the connection has seen, if it keeps that. Its clones keep the same.
    token: Arc<Mutex<Option<Bytes>>>,
}

/// How many replicas are asked; `None` for what the table says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Levels {
    /// By reads.
    pub read: Option<Level>,
    /// By writes.
    pub write: Option<Level>,
}

/// Whether there is a table at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// There is.
    InTable,
    /// There is none: no table is database 0, or the map is not known yet.
    Nowhere,
}

impl Keyspace {
    pub(crate) fn new(shared: Arc<Shared>, table: Arc<Table>) -> Self {
        let (levels, token) = (Levels::default(), Arc::default());
        Self { shared, table, standing: Standing::InTable, attempt: None, levels, token }
    }

    /// Where connections stand while there is no table for them. Nothing that is asked there reaches any table.
    pub(crate) fn nowhere(shared: Arc<Shared>) -> Self {
        let table = Table {
            name: althing_types::TableName::DEFAULT,
            index: None,
            kind: TableKind::Strong,
            shards: Vec::new(),
            other_copies: 0,
        };
        Self { standing: Standing::Nowhere, ..Self::new(shared, Arc::new(table)) }
    }

    /// Whether this is the same table as it was known then, at the same levels.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table) && self.standing == other.standing && self.levels == other.levels
    }

    /// Whether there is no table.
    pub(crate) fn is_nowhere(&self) -> bool {
        self.standing == Standing::Nowhere
    }

    /// At which levels its operations are done.
    #[must_use]
    pub const fn levels(&self) -> Levels {
        self.levels
    }

    /// The same at other levels.
    #[must_use]
    pub fn with_levels(&self, levels: Levels) -> Self {
        Self { levels, ..self.clone() }
    }

    /// What the connection has seen, if it keeps that.
    #[must_use]
    pub fn token(&self) -> Option<Bytes> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what the connection has seen from now on, or does not.
    pub fn keep_token(&self, token: Option<Bytes>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Whether each operation must know what the one before has seen.
    #[must_use]
    pub fn is_in_session(&self) -> bool {
        self.token().is_some()
    }

    /// The same, where all that is done is part of an attempt.
    pub(crate) fn in_attempt(&self, attempt: Arc<Attempt>) -> Self {
        Self { attempt: Some(attempt), ..self.clone() }
    }

    /// The same, where nothing is part of an attempt.
    pub(crate) fn apart(&self) -> Self {
        Self { attempt: None, ..self.clone() }
    }

    /// What operations are part of.
    pub(crate) fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_deref()
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The same node's other table.
    #[must_use]
    pub(crate) fn beside(&self, table: Arc<Table>) -> Self {
        Self { table, ..self.clone() }
    }

    /// The gateway.
    #[must_use]
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Where scans stand.
    #[must_use]
    pub fn cursors(&self) -> &Cursors {
        &self.shared.cursors
    }

    pub(crate) fn call(&self, target: Target, request: KeyedRequest) -> Coming {
        if self.is_nowhere() {
            let reason = "no table is database 0, or this node does not know of it yet: give one redisDb: 0, or say AUTH user@table";
            return Coming::ready(Err(ErrorKind::Unsupported(reason.to_owned()).into()));
        }
        let call = Call { target, request: Request::Keyed(request), timeout: None, require_leader: false };
        self.shared.service.call(call)
    }

    /// Starts an operation on one key. It runs whether or not the reply is waited for.
    #[must_use]
    pub fn start(&self, key: Bytes, op: &Op) -> Coming {
        let (access, level) =
            if op.is_read() { (Access::Read, self.levels.read) } else { (Access::Write, self.levels.write) };
        self.begin(KeyedRequest::Operate { key, operation: op.encode(), access, level })
    }

    /// Starts operations on one key, one after the other, at once: at most [`MAX_SERIES`]. They run whether or not the replies are
    /// waited for.
    ///
    /// [`MAX_SERIES`]: althing_api::keyed::MAX_SERIES
    #[must_use]
    pub fn start_series(&self, key: Bytes, ops: &[Op]) -> Coming {
        let access = if ops.iter().all(Op::is_read) { Access::Read } else { Access::Write };
        let operations = ops.iter().map(Op::encode);
        self.begin(match self.table.kind {
            TableKind::Convergent => {
                let Levels { read: read_level, write: write_level } = self.levels;
                KeyedRequest::Series { key, operations: operations.collect(), access, read_level, write_level }
            }
            // Its log has them as one entry.
            TableKind::Strong => {
                let steps = operations.map(|operation| Step { key: key.clone(), operation }).collect();
                KeyedRequest::Transact { watches: Vec::new(), steps, access, moment: None }
            }
        })
    }

    /// What operations came to that were [started](Keyspace::start_series) at once, in their order. All fail where the node could do
    /// none of them.
    #[must_use]
    pub fn series(&self, answer: Result<Answer, Error>, count: usize) -> Vec<Result<Operated, Refusal>> {
        let answers: Result<Vec<_>, _> = self.answered(answer).and_then(|answer| match answer {
            KeyedAnswer::Series(answers) => {
                Ok(answers.into_iter().map(|answer| operation(answer.map_err(Refusal::from)?)).collect())
            }
            KeyedAnswer::Transacted { replies, .. } => {
                Ok(replies.into_iter().map(|reply| operation(KeyedAnswer::Operated(reply))).collect())
            }
            other => Err(operation(other).err().unwrap_or_else(wrong_reply)),
        });
        match answers {
            Ok(answers) if answers.len() == count => answers,
            Ok(_) => vec![Err(wrong_reply()); count],
            Err(refusal) => vec![Err(refusal); count],
        }
    }

    /// Starts a request about one key.
    fn begin(&self, request: KeyedRequest) -> Coming {
        let token = self.token().filter(|_| self.table.kind == TableKind::Convergent);
        let request = match token {
            None => request,
            Some(token) => KeyedRequest::InSession { token, request: Box::new(request) },
        };
        self.call(Target::Table(self.table.name.clone()), request)
    }

    /// The answer to a request about one key; what it lets the connection see is kept.
    fn answered(&self, answer: Result<Answer, Error>) -> Result<KeyedAnswer, Refusal> {
        match keyed(answer)? {
            KeyedAnswer::InSession { answer, token } => {
                if self.is_in_session() {
                    self.keep_token(Some(token));
                }
                Ok(*answer)
            }
            answer => Ok(answer),
        }
    }

    /// What an operation came to that was [started](Keyspace::start).
    ///
    /// # Errors
    /// If the node could not do it.
    pub fn operated(&self, answer: Result<Answer, Error>) -> Result<Operated, Refusal> {
        operation(self.answered(answer)?)
    }

    /// A request about one key, and its answer.
    ///
    /// # Errors
    /// If the node could not do it.
    pub async fn request(&self, request: KeyedRequest) -> Result<KeyedAnswer, Refusal> {
        self.answered(self.begin(request).await)
    }

    /// An operation on one key, and what it came to.
    ///
    /// # Errors
    /// If the node could not do it.
    pub async fn ask(&self, key: &Bytes, op: Op) -> Result<Operated, Refusal> {
        if let Some(attempt) = self.attempt() {
            let replies = self.tried(attempt, vec![(key.clone(), op)]).await?;
            return replies.into_iter().next().ok_or_else(wrong_reply);
        }
        self.landed(key, &op, self.start(key.clone(), &op)).await
    }

    /// As [`Keyspace::ask`] of what brings nothing to a key: nobody is woken by it.
    pub(crate) async fn ask_quietly(&self, key: &Bytes, op: Op) -> Result<Operated, Refusal> {
        match self.attempt() {
            Some(_) => self.ask(key, op).await,
            None => self.operated(self.start(key.clone(), &op).await),
        }
    }

    /// Whether anybody on this node waits for a key.
    pub(crate) fn is_awaited(&self) -> bool {
        self.shared.waits.count() > 0
    }

    /// A write has been answered, whatever the answer: those that wait for the key look again.
    pub(crate) fn wrote(&self, key: &Bytes) {
        self.shared.waits.wrote(&self.table.name, key);
    }

    async fn landed(&self, key: &Bytes, op: &Op, coming: Coming) -> Result<Operated, Refusal> {
        let answer = self.operated(coming.await);
        if !op.is_read() {
            self.wrote(key);
        }
        answer
    }

    /// Operations on keys of which no two that change something are the same, side by side; replies in their order.
    ///
    /// # Errors
    /// The first error of the node. The others were started all the same.
    pub async fn each(&self, operations: Vec<(Bytes, Op)>) -> Result<Vec<Operated>, Refusal> {
        if let Some(attempt) = self.attempt() {
            return self.tried(attempt, operations).await;
        }
        let at_once = if self.is_in_session() { 1 } else { MAX_AT_ONCE };
        let mut coming = std::collections::VecDeque::new();
        let (mut all, mut failure) = (Vec::new(), None);
        let mut take = |result: Result<Operated, Refusal>| match result {
            Ok(operated) => all.push(operated),
            Err(error) => failure = failure.take().or(Some(error)),
        };
        for (key, op) in operations {
            if coming.len() >= at_once
                && let Some((key, op, first)) = coming.pop_front()
            {
                take(self.landed(&key, &op, first).await);
            }
            let reply = self.start(key.clone(), &op);
            coming.push_back((key, op, reply));
        }
        for (key, op, reply) in coming {
            take(self.landed(&key, &op, reply).await);
        }
        failure.map_or(Ok(all), Err)
    }

    /// The same operation on each of these keys.
    ///
    /// # Errors
    /// As [`Keyspace::each`].
    pub async fn each_of(&self, keys: &[Bytes], op: Op) -> Result<Vec<Operated>, Refusal> {
        self.each(keys.iter().map(|key| (key.clone(), op.clone())).collect()).await
    }

    /// How many of the keys are there.
    ///
    /// # Errors
    /// If the node could not tell.
    pub async fn count_existing(&self, keys: &[Bytes]) -> Result<i64, Refusal> {
        self.each_of(keys, Op::Key(KeyOp::Exists)).await?.into_iter().try_fold(0, |sum, result| match result {
            Ok(Reply::Int(number)) => Ok(sum + number),
            Ok(_) => Err(wrong_reply()),
            Err(error) => Err(refused(error, "exists")),
        })
    }

    /// Makes a key this string, or nothing if it is empty.
    ///
    /// # Errors
    /// If it could not be done.
    pub async fn store_string(&self, key: &Bytes, value: Bytes) -> Result<(), Refusal> {
        let op = if value.is_empty() {
            Op::Key(KeyOp::Delete)
        } else {
            let (expiry, condition, answer) = (SetExpiry::Clear, Existence::Any, SetAnswer::Done);
            Op::String(StringOp::Set { value, expiry, condition, answer })
        };
        self.ask(key, op).await?.map(drop).map_err(|error| refused(error, "set"))
    }

    /// Makes a key this, or nothing.
    ///
    /// # Errors
    /// If it could not be done.
    pub async fn replace(
        &self,
        key: &Bytes,
        content: Option<Content>,
        deadline_ms: Option<i64>,
    ) -> Result<(), Refusal> {
        let whole = content.map(|content| Whole { content, deadline_ms });
        let op = Op::Key(KeyOp::Replace { whole, condition: Existence::Any });
        self.ask(key, op).await?.map(drop).map_err(|error| refused(error, "set"))
    }

    /// The table's shards now: they change when one splits.
    fn shards(&self) -> Result<Vec<GroupId>, Refusal> {
        let table = self.shared.tables.by_name(self.table.name.as_str());
        table
            .map(|table| table.shards.clone())
            .ok_or_else(|| Refusal::new(format!("ERR there is no table {} any more", self.table.name)))
    }

    async fn page(
        &self,
        shard: GroupId,
        after: Option<Bytes>,
        limit: u32,
        pattern: Option<Bytes>,
        kind: Option<Bytes>,
    ) -> Result<(Vec<Bytes>, Option<Bytes>), Refusal> {
        self.must_not_be_part()?;
        let request = KeyedRequest::Scan { after, limit, pattern, kind };
        match keyed(self.call(Target::Group(shard), request).await)? {
            KeyedAnswer::Page { keys, after } => Ok((keys, after)),
            KeyedAnswer::Operated(_)
            | KeyedAnswer::Refused(_)
            | KeyedAnswer::Count(_)
            | KeyedAnswer::Flushed(_)
            | KeyedAnswer::Series(_)
            | KeyedAnswer::Siblings { .. }
            | KeyedAnswer::Reread(_)
            | KeyedAnswer::InSession { .. }
            | KeyedAnswer::Transacted { .. }
            | KeyedAnswer::Aborted => Err(wrong_reply()),
        }
    }

    /// One step of a scan of the table: keys, and where to go on. A step that comes to the end of a shard goes on in the next.
    ///
    /// # Errors
    /// If the node could not do it.
    pub async fn scan(
        &self,
        position: Position,
        count: u64,
        pattern: Option<Bytes>,
        kind: Option<Bytes>,
    ) -> Result<(Vec<Bytes>, Option<Position>), Refusal> {
        let shards = self.shards()?;
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        let (mut found, mut after, mut asked) = (Vec::new(), position.after, 0);
        let begun = position.shard;
        let rest = shards.into_iter().skip_while(|&shard| begun.is_some_and(|begun| shard < begun));
        for shard in rest {
            if begun != Some(shard) {
                // The shard that the scan stood in is over or gone.
                after = None;
            }
            if asked >= MAX_SHARDS_PER_STEP || found.len() >= wanted {
                return Ok((found, Some(Position { shard: Some(shard), after })));
            }
            let limit = u32::try_from(wanted - found.len()).unwrap_or(u32::MAX);
            let (keys, next) = self.page(shard, after.take(), limit, pattern.clone(), kind.clone()).await?;
            asked += 1;
            found.extend(keys);
            if let Some(next) = next {
                return Ok((found, Some(Position { shard: Some(shard), after: Some(next) })));
            }
        }
        Ok((found, None))
    }

    /// How many keys the table has.
    ///
    /// # Errors
    /// If the node could not tell.
    pub async fn size(&self) -> Result<u64, Refusal> {
        self.must_not_be_part()?;
        let mut sum = 0;
        let coming: Vec<Coming> =
            self.shards()?.into_iter().map(|shard| self.call(Target::Group(shard), KeyedRequest::Count)).collect();
        for reply in coming {
            match keyed(reply.await)? {
                KeyedAnswer::Count(count) => sum += count,
                KeyedAnswer::Operated(_)
                | KeyedAnswer::Refused(_)
                | KeyedAnswer::Page { .. }
                | KeyedAnswer::Series(_)
                | KeyedAnswer::Siblings { .. }
                | KeyedAnswer::Reread(_)
                | KeyedAnswer::InSession { .. }
                | KeyedAnswer::Flushed(_)
                | KeyedAnswer::Transacted { .. }
                | KeyedAnswer::Aborted => return Err(wrong_reply()),
            }
        }
        Ok(sum)
    }

    /// Removes every key of the table.
    ///
    /// # Errors
    /// If a shard could not; the others did.
    pub async fn flush(&self) -> Result<(), Refusal> {
        self.must_not_be_part()?;
        let coming: Vec<Coming> =
            self.shards()?.into_iter().map(|shard| self.call(Target::Group(shard), KeyedRequest::Flush)).collect();
        let mut result = Ok(());
        for reply in coming {
            result = result.and(keyed(reply.await).map(drop));
        }
        result
    }

    /// Some key; not each equally likely.
    ///
    /// # Errors
    /// If the node could not do it.
    pub async fn random_key(&self) -> Result<Option<Bytes>, Refusal> {
        let mut shards = self.shards()?;
        if shards.is_empty() {
            return Ok(None);
        }
        let (first, anywhere) = (self.shared.draw(shards.len()), self.shared.draw(256));
        shards.rotate_left(first);
        let somewhere = Bytes::from(vec![u8::try_from(anywhere).unwrap_or(0)]);
        for shard in shards {
            for after in [Some(somewhere.clone()), None] {
                let (keys, _) = self.page(shard, after, RANDOM_SAMPLE, None, None).await?;
                if !keys.is_empty() {
                    return Ok(keys.get(self.shared.draw(keys.len())).cloned());
                }
            }
        }
        Ok(None)
    }
}

/// What an operation came to, from the node's answer.
pub(crate) fn operation(answer: KeyedAnswer) -> Result<Operated, Refusal> {
    match answer {
        // Which of the two it is tells nodes in between whether something may have been done; the bytes say it all.
        KeyedAnswer::Operated(bytes) | KeyedAnswer::Refused(bytes) => {
            Operated::decode(&bytes).map_err(|_| wrong_reply())
        }
        KeyedAnswer::Reread(siblings) => Err(Refusal::new(format!(
            "REREAD {siblings} concurrent values wait that this writer has not seen: read them, and write with their context"
        ))),
        KeyedAnswer::Page { .. }
        | KeyedAnswer::Count(_)
        | KeyedAnswer::Flushed(_)
        | KeyedAnswer::Series(_)
        | KeyedAnswer::Siblings { .. }
        | KeyedAnswer::InSession { .. }
        | KeyedAnswer::Transacted { .. }
        | KeyedAnswer::Aborted => Err(wrong_reply()),
    }
}

fn keyed(answer: Result<Answer, Error>) -> Result<KeyedAnswer, Refusal> {
    match answer?.body {
        Body::Keyed(answer) => Ok(answer),
        _ => Err(wrong_reply()),
    }
}
