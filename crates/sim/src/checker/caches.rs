//! What a client listed page by page at one revision is the table at that revision, and so is what it made of it by
//! following a watch; at the end of a run, all of it.

use std::fmt;

use althing_api::kv::KeyValue;

use super::table::Table;
use crate::history::Cache;

/// A copy that is not the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation<'a> {
    /// The copy.
    pub cache: &'a Cache,
    /// What it lacks or has otherwise, as the table has it.
    pub missing: Vec<KeyValue>,
    /// What it has and the table has not, or otherwise.
    pub extra: Vec<KeyValue>,
}

impl fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cache { keys, revision, source, .. } = self.cache;
        let Self { missing, extra, .. } = self;
        write!(f, "a copy of {keys:?} at {revision} ({source:?}) lacks {missing:?} and has {extra:?}")
    }
}

/// Every copy that is not the table at its revision.
#[must_use]
pub fn check<'a>(caches: &'a [Cache], table: &Table) -> Vec<Violation<'a>> {
    caches.iter().filter_map(|cache| check_one(cache, table)).collect()
}

fn check_one<'a>(cache: &'a Cache, table: &Table) -> Option<Violation<'a>> {
    let held: Vec<&KeyValue> = table.range(&cache.keys, cache.revision).collect();
    if held.iter().copied().eq(&cache.content) {
        return None;
    }
    let missing = held.iter().filter(|kv| !cache.content.contains(kv)).map(|kv| (*kv).clone()).collect();
    let extra = cache.content.iter().filter(|kv| !held.contains(kv)).cloned().collect();
    Some(Violation { cache, missing, extra })
}

#[cfg(test)]
mod tests {
    use althing_api::kv::{Event, EventKind, KeyRange};
    use althing_types::Revision;

    use super::super::truth::Truth;
    use super::*;
    use crate::history::CacheSource;

    fn kv(revision: i64, key: &'static str) -> KeyValue {
        KeyValue { key: key.into(), mod_revision: Revision(revision), ..KeyValue::default() }
    }

    fn table() -> Table {
        let event = |kind, kv: KeyValue| (kv.mod_revision, vec![Event { kind, kv, prev_kv: None }]);
        let changes = [
            event(EventKind::Put, kv(2, "a")),
            event(EventKind::Put, kv(3, "b")),
            event(EventKind::Delete, kv(4, "a")),
            event(EventKind::Put, kv(5, "b")),
        ];
        Table::new(&Truth::new(Revision(2), changes))
    }

    fn cache(revision: i64, content: Vec<KeyValue>) -> Cache {
        Cache { keys: KeyRange::all(), revision: Revision(revision), source: CacheSource::Listed, content }
    }

    #[test]
    fn copies_that_are_the_table_are_fine() {
        let caches = [
            cache(1, Vec::new()),
            cache(3, vec![kv(2, "a"), kv(3, "b")]),
            cache(4, vec![kv(3, "b")]),
            cache(9, vec![kv(5, "b")]),
        ];
        assert_eq!(check(&caches, &table()), []);
    }

    #[test]
    fn a_page_that_was_lost_a_key_that_stayed_and_an_old_version_are_found() {
        let lost = [cache(3, vec![kv(2, "a")])];
        assert_eq!(check(&lost, &table())[0].missing, [kv(3, "b")]);
        let stayed = [cache(4, vec![kv(2, "a"), kv(3, "b")])];
        assert_eq!(check(&stayed, &table())[0].extra, [kv(2, "a")]);
        let old = [cache(5, vec![kv(3, "b")])];
        let found = &check(&old, &table())[0];
        assert_eq!((&found.missing[..], &found.extra[..]), (&[kv(5, "b")][..], &[kv(3, "b")][..]));
    }
}
