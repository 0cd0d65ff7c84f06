//! Where the keys of a command stand among its words.

use bytes::Bytes;

use crate::wire::number;

/// Where keys stand. Word 0 is the command's name; of a subcommand, word 1 is its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// Nowhere.
    None,
    /// From `first` to `last` (from the end if negative), each `step`-th word.
    Range {
        /// The first.
        first: usize,
        /// The last; -1 is the last word.
        last: i32,
        /// From one to the next.
        step: usize,
    },
    /// As many as the word at `count` says, after it; and `store`, which is written, before it.
    Counted {
        /// Where the number stands.
        count: usize,
        /// Where the key stands that is written, if one is.
        store: Option<usize>,
    },
    /// The key of `SORT`: word 1, and what follows `STORE`.
    Sort,
    /// The keys of `GEORADIUS`: word 1, and what follows the last `STORE` or `STOREDIST` among the options.
    Radius,
}

/// The first word of `GEORADIUSBYMEMBER` that may be an option; `GEORADIUS` has its unit there.
const RADIUS_OPTIONS: usize = 5;
/// One key.
pub const ONE: Keys = Keys::Range { first: 1, last: 1, step: 1 };
/// Two.
pub const TWO: Keys = Keys::Range { first: 1, last: 2, step: 1 };
/// All words but the first.
pub const ALL: Keys = Keys::Range { first: 1, last: -1, step: 1 };

impl Keys {
    /// The keys of a command whose number of words is right; `None` if what says how many there are is no number, or there
    /// are fewer.
    #[must_use]
    pub fn of<'a>(&self, words: &'a [Bytes]) -> Option<Vec<&'a Bytes>> {
        match *self {
            Self::None => Some(Vec::new()),
            Self::Range { first, last, step } => {
                let last = match usize::try_from(last) {
                    Ok(last) => last,
                    Err(_) => words.len().checked_sub(usize::try_from(-last).ok()?)?,
                };
                Some(words.get(first..=last)?.iter().step_by(step).collect())
            }
            Self::Counted { count, store } => {
                let number = usize::try_from(number::integer(words.get(count)?)?).ok().filter(|&number| number > 0)?;
                let counted = words.get(count + 1..)?.get(..number)?;
                let store = store.map(|at| words.get(at)).into_iter().flatten();
                Some(store.chain(counted).collect())
            }
            Self::Radius => {
                let mut options = words.get(RADIUS_OPTIONS..).unwrap_or_default().iter();
                let mut store = None;
                while let Some(option) = options.next() {
                    if option.eq_ignore_ascii_case(b"store") || option.eq_ignore_ascii_case(b"storedist") {
                        store = options.next().or(store);
                    }
                }
                Some(words.get(1).into_iter().chain(store).collect())
            }
            Self::Sort => {
                let store = words.windows(2).rev().find(|pair| pair[0].eq_ignore_ascii_case(b"store"));
                Some(words.get(1).into_iter().chain(store.map(|pair| &pair[1])).collect())
            }
        }
    }

    /// What `COMMAND` says of it: first, last, step; zeros where words say where keys are.
    #[must_use]
    pub fn positions(&self) -> (i64, i64, i64) {
        match *self {
            Self::None => (0, 0, 0),
            Self::Range { first, last, step } => {
                (i64::try_from(first).unwrap_or(0), i64::from(last), i64::try_from(step).unwrap_or(0))
            }
            Self::Counted { store, .. } => {
                if store.is_some() {
                    (1, 1, 1)
                } else {
                    (0, 0, 0)
                }
            }
            Self::Sort | Self::Radius => (1, 1, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: Keys, line: &str) -> Option<String> {
        let words: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let found = keys.of(&words)?;
        Some(found.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn keys_are_found_by_place_by_step_and_by_count() {
        assert_eq!(keys(ONE, "get a").as_deref(), Some("a"));
        assert_eq!(keys(ALL, "del a b c").as_deref(), Some("a b c"));
        assert_eq!(keys(Keys::Range { first: 1, last: -1, step: 2 }, "mset a 1 b 2").as_deref(), Some("a b"));
        let stored = Keys::Counted { count: 2, store: Some(1) };
        assert_eq!(keys(stored, "zunionstore d 2 a b weights 1 2").as_deref(), Some("d a b"));
        assert_eq!(keys(Keys::Counted { count: 1, store: None }, "zdiff 1 a").as_deref(), Some("a"));
        assert_eq!(keys(Keys::Radius, "georadius a 1 2 3 km asc storedist b").as_deref(), Some("a b"));
        assert_eq!(keys(Keys::Radius, "georadiusbymember a store 3 km store b STORE c").as_deref(), Some("a c"));
        assert_eq!(keys(Keys::Radius, "georadiusbymember a m 3 km store").as_deref(), Some("a"));
        assert_eq!(keys(Keys::Sort, "sort a limit 0 1 store b").as_deref(), Some("a b"));
    }

    #[test]
    fn a_count_that_lies_finds_none() {
        let counted = Keys::Counted { count: 1, store: None };
        for line in ["zdiff 3 a b", "zdiff 0 a", "zdiff -1 a", "zdiff x a", "zdiff 9223372036854775807 a"] {
            assert_eq!(keys(counted, line), None, "{line}");
        }
    }
}
