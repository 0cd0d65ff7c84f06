//! Strings that are decided by rounds: what clients asked of one, and what came of it. Each is judged by
//! [`super::linearizability`].

use althing_types::{Instant, NodeId};
use bytes::Bytes;

use super::linearizability::{End, Step};

/// One operation on one string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Which node was asked.
    pub node: NodeId,
    /// Which key.
    pub key: Bytes,
    /// What was asked.
    pub action: Action,
    /// When it was sent, in the time of the world.
    pub invoked: Instant,
    /// What came of it.
    pub outcome: Outcome,
}

/// What is asked of a string.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// GET.
    Read,
    /// SET.
    Put(Bytes),
    /// SET NX.
    Claim(Bytes),
    /// AL.CAS.
    Compare {
        /// What must be there; `None` is nothing.
        expected: Option<Bytes>,
        /// What is to be there.
        new: Option<Bytes>,
    },
    /// INCRBY.
    Count(i64),
    /// DEL.
    Delete,
}

/// What came of an operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was done.
    Done {
        /// When the answer was there.
        returned: Instant,
        /// What the answer said.
        said: Said,
    },
    /// It was refused: it did not happen and never will.
    Refused,
    /// Nobody knows: it may take effect at any moment after it was sent, or never.
    Unknown,
}

/// What an answer said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// To a read: what is there.
    Held(Option<Bytes>),
    /// It has changed something.
    Yes,
    /// It has found that there was nothing to change.
    No,
    /// To an addition: what is there now.
    Number(i64),
}

impl Operation {
    /// When its answer was there, if it came.
    #[must_use]
    pub const fn done(&self) -> Option<Instant> {
        match self.outcome {
            Outcome::Done { returned, .. } => Some(returned),
            Outcome::Refused | Outcome::Unknown => None,
        }
    }
}

/// The number that a string is; nothing counts as 0.
fn number(held: Option<&Bytes>) -> Option<i64> {
    held.map_or(Some(0), |text| std::str::from_utf8(text).ok()?.parse().ok())
}

fn text(number: i64) -> Bytes {
    Bytes::from(number.to_string())
}

impl Step for Operation {
    type State = Option<Bytes>;

    fn key(&self) -> &Bytes {
        &self.key
    }

    fn invoked(&self) -> Instant {
        self.invoked
    }

    fn end(&self) -> End {
        match self.outcome {
            Outcome::Done { returned, .. } => End::Answered(returned),
            Outcome::Refused => End::Refused,
            Outcome::Unknown => End::Unknown,
        }
    }

    fn after(&self, held: &Self::State) -> Option<Self::State> {
        let said = match &self.outcome {
            Outcome::Refused => return None,
            Outcome::Done { said, .. } => Some(said),
            Outcome::Unknown => None,
        };
        match (&self.action, said) {
            (Action::Read, Some(Said::Held(seen))) => (seen == held).then(|| held.clone()),
            (Action::Put(value), Some(Said::Yes) | None) => Some(Some(value.clone())),
            (Action::Claim(value), Some(Said::Yes) | None) => held.is_none().then(|| Some(value.clone())),
            (Action::Claim(_), Some(Said::No)) => held.is_some().then(|| held.clone()),
            (Action::Compare { expected, new }, Some(Said::Yes) | None) => (expected == held).then(|| new.clone()),
            (Action::Compare { expected, .. }, Some(Said::No)) => (expected != held).then(|| held.clone()),
            (Action::Count(by), said) => {
                let now = number(held.as_ref())? + by;
                match said {
                    Some(Said::Number(said)) => (*said == now).then(|| Some(text(now))),
                    None => Some(Some(text(now))),
                    Some(Said::Held(_) | Said::Yes | Said::No) => None,
                }
            }
            (Action::Delete, Some(Said::Yes) | None) => held.is_some().then_some(None),
            (Action::Delete, Some(Said::No)) => held.is_none().then_some(None),
            // What is not known of a read changes nothing; the rest answers another question.
            (Action::Read, Some(Said::Yes | Said::No | Said::Number(_)) | None)
            | (Action::Put(_), Some(Said::Held(_) | Said::No | Said::Number(_)))
            | (Action::Claim(_) | Action::Compare { .. } | Action::Delete, Some(Said::Held(_) | Said::Number(_))) => {
                None
            }
        }
    }

    fn is_blind(&self) -> bool {
        match self.action {
            Action::Put(_) => true,
            Action::Read | Action::Claim(_) | Action::Compare { .. } | Action::Count(_) | Action::Delete => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::linearizability::{Verdict, check};
    use super::*;

    fn operation(action: Action, (from, to): (u64, u64), said: Option<Said>) -> Operation {
        let at = |millis| Instant::ZERO + althing_types::Duration::from_millis(millis);
        let outcome = said.map_or(Outcome::Unknown, |said| Outcome::Done { returned: at(to), said });
        Operation { node: NodeId(1), key: "k".into(), action, invoked: at(from), outcome }
    }

    fn is_kept(history: &[Operation]) -> bool {
        match check(history, 10_000) {
            Verdict::Linearizable => true,
            Verdict::Violated { .. } => false,
            Verdict::Undecided { .. } => panic!("too few configurations"),
        }
    }

    fn claim(value: &'static str, times: (u64, u64), said: Option<Said>) -> Operation {
        operation(Action::Claim(value.into()), times, said)
    }

    fn read(value: Option<&'static str>, times: (u64, u64)) -> Operation {
        operation(Action::Read, times, Some(Said::Held(value.map(Bytes::from))))
    }

    #[test]
    fn a_lock_that_two_were_given_is_found() {
        assert!(is_kept(&[claim("a", (0, 9), Some(Said::Yes)), claim("b", (1, 8), Some(Said::No))]));
        assert!(!is_kept(&[claim("a", (0, 9), Some(Said::Yes)), claim("b", (1, 8), Some(Said::Yes))]));
    }

    #[test]
    fn what_nobody_knows_may_have_happened_or_not() {
        let lost = || claim("a", (0, 0), None);
        assert!(is_kept(&[lost(), claim("b", (1, 2), Some(Said::Yes)), read(Some("b"), (3, 4))]));
        assert!(is_kept(&[lost(), claim("b", (1, 2), Some(Said::No)), read(Some("a"), (3, 4))]));
        assert!(!is_kept(&[claim("b", (1, 2), Some(Said::No)), read(None, (3, 4))]), "against what was it lost?");
    }

    #[test]
    fn an_increment_is_counted_once() {
        let count = |times, said: Option<i64>| operation(Action::Count(5), times, said.map(Said::Number));
        assert!(is_kept(&[count((0, 0), None), count((1, 2), Some(5)), count((3, 4), Some(15))]));
        assert!(!is_kept(&[count((0, 0), None), count((1, 2), Some(5)), count((3, 4), Some(20))]));
        assert!(!is_kept(&[count((0, 1), Some(5)), read(None, (2, 3))]), "it was acknowledged");
    }

    #[test]
    fn a_comparison_is_made_with_what_is_there() {
        let compare = |expected: Option<&'static str>, new: &'static str, said| {
            let expected = expected.map(Bytes::from);
            operation(Action::Compare { expected, new: Some(new.into()) }, (5, 6), Some(said))
        };
        let put = || operation(Action::Put("a".into()), (0, 1), Some(Said::Yes));
        assert!(is_kept(&[put(), compare(Some("a"), "b", Said::Yes), read(Some("b"), (7, 8))]));
        assert!(!is_kept(&[put(), compare(Some("a"), "b", Said::No)]));
        assert!(!is_kept(&[put(), compare(None, "b", Said::Yes)]));
        let delete = |said| operation(Action::Delete, (7, 8), Some(said));
        assert!(is_kept(&[put(), delete(Said::Yes), read(None, (9, 10))]));
        assert!(!is_kept(&[put(), delete(Said::No)]));
    }
}
