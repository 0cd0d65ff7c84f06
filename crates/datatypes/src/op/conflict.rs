use super::{BitsOp, Existence, ExpireIf, HashOp, KeyOp, Op, ScoreIf, ScoreWrite, SetOp, SketchOp, SortedOp, StringOp};

/// What two replicas come to that have both run an operation without seeing the other's. Rules for each command are in the table
/// of `docs/compatibility.md`; this is what tables that refuse or arrange conditional writes go by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conflict {
    /// Both count: sums are added up, what was added is there, what was seen and removed is gone. Reads are of this kind.
    Converges,
    /// Each has written a whole value: the latest is shown, the others stay beside it as siblings.
    LastWriterWins,
    /// What was done hangs on what was there, so that both may have been told yes: it needs compare-and-set.
    Conditional,
}

impl Op {
    /// Whether it leaves everything as it is, whatever is there.
    #[must_use]
    pub fn is_read(&self) -> bool {
        match self {
            Self::Key(op) => key_is_read(op),
            Self::String(op) => string_is_read(op),
            Self::Bits(op) => bits_are_read(op),
            Self::Hash(op) => hash_is_read(op),
            Self::Set(op) => set_is_read(op),
            Self::Sorted(op) => sorted_is_read(op),
            Self::Sketch(op) => sketch_is_read(op),
        }
    }

    /// Whether it is asked to be the only one that is told yes: to take a value's place while that is free, or while it holds what was
    /// compared. Two replicas that both say yes have broken that word, and nothing that they come to afterwards mends it; so it is
    /// done where replicas agree first, or not at all. The other [conditional](Conflict::Conditional) operations ask for a state
    /// (that only the greater score counts, that only what is there is replaced, that a copy overwrites nothing), and come to one of
    /// those that were asked for.
    #[must_use]
    pub const fn claims(&self) -> bool {
        match self {
            Self::String(StringOp::Set { condition, .. }) => matches!(condition, Existence::Absent),
            Self::String(StringOp::Compare { .. }) | Self::Hash(HashOp::SetIfAbsent { .. }) => true,
            Self::Key(_)
            | Self::String(_)
            | Self::Bits(_)
            | Self::Hash(_)
            | Self::Set(_)
            | Self::Sorted(_)
            | Self::Sketch(_) => false,
        }
    }

    /// What two replicas come to that both run it.
    #[must_use]
    pub fn conflict(&self) -> Conflict {
        match self {
            Self::Key(op) => of_key(op),
            Self::String(op) => of_string(op),
            Self::Bits(BitsOp::Set { .. }) => Conflict::LastWriterWins,
            Self::Bits(op @ BitsOp::Field(_)) if !bits_are_read(op) => Conflict::LastWriterWins,
            Self::Bits(BitsOp::Get { .. } | BitsOp::Count(_) | BitsOp::Position { .. } | BitsOp::Field(_)) => {
                Conflict::Converges
            }
            Self::Hash(op) => of_hash(op),
            Self::Set(_) | Self::Sketch(_) => Conflict::Converges,
            Self::Sorted(op) => of_sorted(op),
        }
    }
}

fn key_is_read(op: &KeyOp) -> bool {
    match op {
        KeyOp::Exists
        | KeyOp::Kind
        | KeyOp::TimeToLive(_)
        | KeyOp::ExpireTime(_)
        | KeyOp::Encoding
        | KeyOp::RefCount
        | KeyOp::IdleTime
        | KeyOp::Frequency
        | KeyOp::Dump
        | KeyOp::Whole => true,
        KeyOp::Delete | KeyOp::Expire { .. } | KeyOp::Persist | KeyOp::Restore { .. } | KeyOp::Replace { .. } => false,
    }
}

fn of_key(op: &KeyOp) -> Conflict {
    match op {
        KeyOp::Expire { condition, .. } => match condition {
            // Concurrent deadlines join to the later, which is what GT asks for.
            ExpireIf::Always | ExpireIf::Later => Conflict::Converges,
            ExpireIf::None | ExpireIf::Some | ExpireIf::Earlier | ExpireIf::SomeEarlier => Conflict::Conditional,
        },
        KeyOp::Restore { condition, .. } | KeyOp::Replace { condition, .. } => match condition {
            Existence::Any => Conflict::LastWriterWins,
            Existence::Absent | Existence::Present => Conflict::Conditional,
        },
        KeyOp::Delete | KeyOp::Persist => Conflict::Converges,
        KeyOp::Exists
        | KeyOp::Kind
        | KeyOp::TimeToLive(_)
        | KeyOp::ExpireTime(_)
        | KeyOp::Encoding
        | KeyOp::RefCount
        | KeyOp::IdleTime
        | KeyOp::Frequency
        | KeyOp::Dump
        | KeyOp::Whole => Conflict::Converges,
    }
}

fn string_is_read(op: &StringOp) -> bool {
    match op {
        StringOp::Get | StringOp::Length | StringOp::GetRange { .. } | StringOp::GetExpire(super::GetExpiry::Keep) => {
            true
        }
        StringOp::Set { .. }
        | StringOp::GetDelete
        | StringOp::GetExpire(super::GetExpiry::Persist | super::GetExpiry::Set(_))
        | StringOp::Append(_)
        | StringOp::SetRange { .. }
        | StringOp::Increment(_)
        | StringOp::Compare { .. }
        | StringOp::IncrementFloat(_) => false,
    }
}

fn of_string(op: &StringOp) -> Conflict {
    match op {
        StringOp::Set { condition: Existence::Any, .. } => Conflict::LastWriterWins,
        StringOp::Set { condition: Existence::Absent | Existence::Present, .. } | StringOp::Compare { .. } => {
            Conflict::Conditional
        }
        StringOp::Append(_) | StringOp::SetRange { .. } => Conflict::LastWriterWins,
        StringOp::Get
        | StringOp::Length
        | StringOp::GetRange { .. }
        | StringOp::GetDelete
        | StringOp::GetExpire(_)
        | StringOp::Increment(_)
        | StringOp::IncrementFloat(_) => Conflict::Converges,
    }
}

fn bits_are_read(op: &BitsOp) -> bool {
    match op {
        BitsOp::Get { .. } | BitsOp::Count(_) | BitsOp::Position { .. } => true,
        BitsOp::Set { .. } => false,
        BitsOp::Field(steps) => steps.iter().all(super::FieldOp::is_read),
    }
}

fn hash_is_read(op: &HashOp) -> bool {
    match op {
        HashOp::Get(_)
        | HashOp::GetMany(_)
        | HashOp::GetAll
        | HashOp::Fields
        | HashOp::Values
        | HashOp::Len
        | HashOp::Contains(_)
        | HashOp::ValueLength(_)
        | HashOp::Random { .. }
        | HashOp::Scan(_) => true,
        HashOp::Set(_)
        | HashOp::SetIfAbsent { .. }
        | HashOp::Remove(_)
        | HashOp::Increment { .. }
        | HashOp::IncrementFloat { .. } => false,
    }
}

fn of_hash(op: &HashOp) -> Conflict {
    match op {
        HashOp::Set(_) => Conflict::LastWriterWins,
        HashOp::SetIfAbsent { .. } => Conflict::Conditional,
        HashOp::Get(_)
        | HashOp::GetMany(_)
        | HashOp::GetAll
        | HashOp::Fields
        | HashOp::Values
        | HashOp::Len
        | HashOp::Contains(_)
        | HashOp::ValueLength(_)
        | HashOp::Random { .. }
        | HashOp::Scan(_)
        | HashOp::Remove(_)
        | HashOp::Increment { .. }
        | HashOp::IncrementFloat { .. } => Conflict::Converges,
    }
}

fn set_is_read(op: &SetOp) -> bool {
    match op {
        SetOp::Contains(_)
        | SetOp::ContainsMany(_)
        | SetOp::Len
        | SetOp::Members
        | SetOp::Random(_)
        | SetOp::Scan(_) => true,
        SetOp::Add(_) | SetOp::Remove(_) | SetOp::Pop(_) => false,
    }
}

fn sketch_is_read(op: &SketchOp) -> bool {
    match op {
        SketchOp::Count | SketchOp::Read => true,
        SketchOp::Add(_) | SketchOp::Merge(_) => false,
    }
}

fn sorted_is_read(op: &SortedOp) -> bool {
    match op {
        SortedOp::Len
        | SortedOp::Score(_)
        | SortedOp::Scores(_)
        | SortedOp::Rank { .. }
        | SortedOp::Count(_)
        | SortedOp::CountLex(_)
        | SortedOp::Range { .. }
        | SortedOp::Random { .. }
        | SortedOp::Scan(_) => true,
        SortedOp::Add { .. }
        | SortedOp::Increment { .. }
        | SortedOp::Remove(_)
        | SortedOp::RemoveRange(_)
        | SortedOp::Pop { .. } => false,
    }
}

fn of_sorted(op: &SortedOp) -> Conflict {
    match op {
        SortedOp::Add { write, .. } => of_score(*write, Conflict::LastWriterWins),
        SortedOp::Increment { write, .. } => of_score(*write, Conflict::Converges),
        SortedOp::Len
        | SortedOp::Score(_)
        | SortedOp::Scores(_)
        | SortedOp::Rank { .. }
        | SortedOp::Count(_)
        | SortedOp::CountLex(_)
        | SortedOp::Range { .. }
        | SortedOp::Random { .. }
        | SortedOp::Scan(_)
        | SortedOp::Remove(_)
        | SortedOp::RemoveRange(_)
        | SortedOp::Pop { .. } => Conflict::Converges,
    }
}

fn of_score(write: ScoreWrite, unconditional: Conflict) -> Conflict {
    match (write.existence, write.score) {
        (Existence::Any, ScoreIf::Any) => unconditional,
        (Existence::Absent | Existence::Present, _) | (Existence::Any, ScoreIf::Greater | ScoreIf::Less) => {
            Conflict::Conditional
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::op::{Bit, FieldOp, FieldType, GetExpiry, Overflow, SetAnswer, SetExpiry, When, ZaddAnswer};
    use Conflict::{Conditional, Converges, LastWriterWins};

    fn set(condition: Existence) -> Op {
        let (expiry, answer) = (SetExpiry::Clear, SetAnswer::Done);
        StringOp::Set { value: Bytes::new(), expiry, condition, answer }.into()
    }

    fn add(existence: Existence, score: ScoreIf) -> Op {
        let write = ScoreWrite { existence, score };
        SortedOp::Add { members: Vec::new(), write, answer: ZaddAnswer::Added }.into()
    }

    fn expire(condition: ExpireIf) -> Op {
        KeyOp::Expire { when: When::At(1), condition }.into()
    }

    fn field(is_read: bool) -> Op {
        let field = FieldType::try_from((false, 8)).unwrap();
        let get = FieldOp::Get { field, offset: 0 };
        let set = FieldOp::Set { field, offset: 0, value: 0, overflow: Overflow::Wrap };
        BitsOp::Field(if is_read { vec![get] } else { vec![get, set] }).into()
    }

    #[test]
    fn sums_and_collections_converge_whole_values_are_the_last_writers_and_conditions_need_to_be_decided() {
        let table = [
            (StringOp::Increment(1).into(), Converges),
            (SetOp::Add(Vec::new()).into(), Converges),
            (SetOp::Pop(None).into(), Converges),
            (HashOp::Increment { field: Bytes::new(), by: 1 }.into(), Converges),
            (HashOp::Remove(Vec::new()).into(), Converges),
            (KeyOp::Delete.into(), Converges),
            (SketchOp::Add(Vec::new()).into(), Converges),
            (expire(ExpireIf::Later), Converges),
            (set(Existence::Any), LastWriterWins),
            (StringOp::Append(Bytes::new()).into(), LastWriterWins),
            (HashOp::Set(Vec::new()).into(), LastWriterWins),
            (BitsOp::Set { offset: 0, bit: Bit::One }.into(), LastWriterWins),
            (field(false), LastWriterWins),
            (add(Existence::Any, ScoreIf::Any), LastWriterWins),
            (set(Existence::Absent), Conditional),
            (set(Existence::Present), Conditional),
            (HashOp::SetIfAbsent { field: Bytes::new(), value: Bytes::new() }.into(), Conditional),
            (add(Existence::Any, ScoreIf::Greater), Conditional),
            (add(Existence::Absent, ScoreIf::Any), Conditional),
            (expire(ExpireIf::None), Conditional),
            (KeyOp::Replace { whole: None, condition: Existence::Absent }.into(), Conditional),
        ];
        for (op, conflict) in table {
            assert_eq!(op.conflict(), conflict, "{op:?}");
            assert!(!op.is_read(), "{op:?}");
        }
    }

    #[test]
    fn what_takes_what_is_free_claims_it_and_what_asks_for_a_state_does_not() {
        let compare = StringOp::Compare { expected: None, new: None };
        let take = HashOp::SetIfAbsent { field: Bytes::new(), value: Bytes::new() };
        for op in [set(Existence::Absent), compare.into(), take.into()] {
            assert!(op.claims() && op.conflict() == Conditional, "{op:?}");
        }
        let asks = [set(Existence::Present), add(Existence::Absent, ScoreIf::Any), expire(ExpireIf::None)];
        for op in asks.into_iter().chain([set(Existence::Any), StringOp::Increment(1).into()]) {
            assert!(!op.claims(), "{op:?}");
        }
    }

    #[test]
    fn reads_converge() {
        let reads: [Op; 5] = [
            StringOp::Get.into(),
            StringOp::GetExpire(GetExpiry::Keep).into(),
            field(true),
            KeyOp::Whole.into(),
            SetOp::Random(None).into(),
        ];
        for op in reads {
            assert!(op.is_read() && op.conflict() == Converges, "{op:?}");
        }
    }
}
