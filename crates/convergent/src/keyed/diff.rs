//! What one state lacks of another that includes it.

use std::collections::BTreeMap;

use althing_clock::DotContext;
use althing_crdt::{Delta, DotMap, Join};
use bytes::Bytes;

use super::Keyed;

/// The delta that a replica lacks which holds `held`, of what several hold together. It replaces the parts that differ, and only
/// them: the events that these hold on either side are its context. No write of it counts as taken, as it may be only part
/// of one.
#[must_use]
pub fn missing(held: &Keyed, joined: &Keyed) -> Option<Delta<Keyed>> {
    if held == joined {
        return None;
    }
    let mut context = DotContext::EMPTY;
    let mut note = |dot| context.insert(dot);
    let store = Keyed {
        text: part(&held.text, &joined.text, &mut note),
        fields: parts(held.fields.map(), joined.fields.map(), &mut note).into(),
        set: parts(&held.set, &joined.set, &mut note),
        sorted: if held.sorted == joined.sorted {
            Default::default()
        } else {
            parts(&held.scores(), &joined.scores(), &mut note).into()
        },
        sketch: part(&held.sketch, &joined.sketch, &mut note),
        deadlines: part(&held.deadlines, &joined.deadlines, &mut note),
    };
    Some(Delta { store, context, writes: DotContext::EMPTY })
}

fn part<T: Join>(held: &T, joined: &T, note: &mut impl FnMut(althing_clock::Dot)) -> T {
    if held == joined {
        return T::default();
    }
    held.dots(note);
    joined.dots(note);
    joined.clone()
}

fn parts<V: Join>(
    held: &DotMap<Bytes, V>,
    joined: &DotMap<Bytes, V>,
    note: &mut impl FnMut(althing_clock::Dot),
) -> DotMap<Bytes, V> {
    let nothing = V::default();
    let mut differing = BTreeMap::new();
    for (key, store) in joined.iter() {
        let before = held.get(key).unwrap_or(&nothing);
        if before != store {
            differing.insert(key.clone(), part(before, store, note));
        }
    }
    for (key, store) in held.iter().filter(|(key, _)| joined.get::<Bytes>(key).is_none()) {
        differing.insert(key.clone(), part(store, &nothing, note));
    }
    differing.into_iter().collect()
}
