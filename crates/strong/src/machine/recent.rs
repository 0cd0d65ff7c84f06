//! The keys that were written last, so that writing them again asks the engine nothing.
//!
//! A put has to know the version that it replaces. What is overwritten often is found here; everything else is looked up.
//! The machine is the only writer of its space, and it puts every write in here, so what is found is what is true.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use bytes::Bytes;

use crate::layout::Current;

/// Bytes of a generation, about. Two are held, so this is half of what a table may spend.
const MAX_GENERATION_BYTES: usize = 8 * 1024 * 1024;
/// What an entry costs beside its key and its value, about.
const ENTRY_BYTES: usize = 160;

/// Never iterated, so its order is of no consequence; its hasher has no seed all the same.
type Generation = HashMap<Box<[u8]>, Option<Current>, BuildHasherDefault<DefaultHasher>>;

/// What was last written to some keys. Two generations: when the young one is full it becomes the old one, and what was
/// old is forgotten unless it was written again.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    young: Generation,
    young_bytes: usize,
    old: Generation,
}

impl Recent {
    /// What was last written to a key: a version, or its removal. `None` if that is not known here.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Option<Current>> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Notes a version or a removal.
    pub(crate) fn write(&mut self, key: &[u8], mut current: Option<Current>) {
        let inline = current.as_mut().and_then(|current| current.inline.as_mut());
        let inline_bytes = inline.map_or(0, |value| {
            // A copy: the value is a slice of a whole batch of the log, which it would keep in memory.
            *value = Bytes::copy_from_slice(value);
            value.len()
        });
        if let Some(known) = self.young.get_mut(key) {
            *known = current;
            return;
        }
        self.young_bytes += key.len() + inline_bytes + ENTRY_BYTES;
        if self.young_bytes > MAX_GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = key.len() + inline_bytes + ENTRY_BYTES;
        }
        self.young.insert(key.into(), current);
    }
}

#[cfg(test)]
mod tests {
    use althing_types::Revision;

    use super::*;
    use crate::layout::VersionId;

    fn version(main: i64) -> Current {
        Current {
            version_id: VersionId { main: Revision(main), sub: 0 },
            create_revision: Revision(1),
            version: 1,
            lease: None,
            value_bytes: 3,
            inline: Some(Bytes::from_static(b"abc")),
        }
    }

    #[test]
    fn the_last_write_of_a_key_is_what_is_found() {
        let mut recent = Recent::default();
        assert_eq!(recent.get(b"k"), None);
        recent.write(b"k", Some(version(2)));
        recent.write(b"k", Some(version(3)));
        assert_eq!(recent.get(b"k"), Some(&Some(version(3))));
        recent.write(b"k", None);
        assert_eq!(recent.get(b"k"), Some(&None));
    }

    #[test]
    fn the_newest_is_kept_and_memory_is_bounded() {
        let mut recent = Recent::default();
        recent.write(b"first", Some(version(1)));
        let last = (2 * MAX_GENERATION_BYTES / ENTRY_BYTES) as i64;
        for main in 2..=last {
            recent.write(&main.to_be_bytes(), Some(version(main)));
        }
        assert_eq!(recent.get(b"first"), None);
        assert_eq!(recent.get(&last.to_be_bytes()), Some(&Some(version(last))));
        assert!(recent.young_bytes <= MAX_GENERATION_BYTES);
        assert!(recent.young.len() + recent.old.len() <= 2 * MAX_GENERATION_BYTES / ENTRY_BYTES);
    }

    #[test]
    fn a_version_that_has_grown_old_is_hidden_by_a_newer_one() {
        let mut recent = Recent::default();
        recent.write(b"k", Some(version(1)));
        recent.old = std::mem::take(&mut recent.young);
        recent.write(b"k", Some(version(2)));
        assert_eq!(recent.get(b"k"), Some(&Some(version(2))));
    }
}
