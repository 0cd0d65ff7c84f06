//! No guarded update is lost: every writer of an object counts on from the version that it compared with, so each version
//! says how many there were before it.

use althing_api::kv::{Event, EventKind};

use super::truth::Truth;
use crate::workload::controller::{OBJECT_PREFIX, updates};

/// Objects whose updates are counted; events are written once.
const COUNTED: &[u8] = b"pods/";

/// Every version that does not count on from the one before it.
#[must_use]
pub fn check(truth: &Truth) -> Vec<&Event> {
    let of_an_object = |event: &&Event| {
        let name = event.kv.key.strip_prefix(OBJECT_PREFIX);
        name.is_some_and(|name| name.starts_with(COUNTED)) && event.kind == EventKind::Put
    };
    let events = truth.since(truth.first()).filter(of_an_object);
    events.filter(|event| updates(&event.kv.value) != Some(event.kv.version)).collect()
}

#[cfg(test)]
mod tests {
    use althing_api::kv::KeyValue;
    use althing_types::Revision;

    use super::*;

    fn put(revision: i64, version: i64, value: &'static str) -> (Revision, Vec<Event>) {
        let mod_revision = Revision(revision);
        let kv = KeyValue { key: "k/pods/1".into(), value: value.into(), version, mod_revision, ..KeyValue::default() };
        (mod_revision, vec![Event { kind: EventKind::Put, kv, prev_kv: None }])
    }

    #[test]
    fn updates_that_count_on_are_fine() {
        let truth = Truth::new(Revision(2), [put(2, 1, "1 7"), put(3, 2, "2 8"), put(9, 1, "1 9")]);
        assert_eq!(check(&truth), Vec::<&Event>::new());
    }

    #[test]
    fn an_update_that_another_one_wrote_over_is_found() {
        let truth = Truth::new(Revision(2), [put(2, 1, "1 7"), put(3, 2, "2 8"), put(4, 3, "2 9")]);
        assert_eq!(check(&truth), [&truth.at(Revision(4))[0]]);
    }
}
