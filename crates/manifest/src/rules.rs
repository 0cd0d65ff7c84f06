//! Rules between the fields of one object, and defaults that depend on other fields.

use crate::mistake::Mistake;
use crate::object::Object;
use crate::shard::{Phase, Shard, Slice, name_of};
use crate::table::{Built, DEFAULT_SPLIT_BYTES, Guarantee, Split, Table, TableSpec};

/// Fills in what is left out and depends on what is not.
pub(crate) fn complete(object: &mut Object) {
    match object {
        Object::Table(table) => match table.spec.split {
            Split::Range => {
                table.spec.split_bytes.get_or_insert(DEFAULT_SPLIT_BYTES);
            }
            Split::Hash => {}
        },
        Object::Cluster(_) | Object::Node(_) | Object::Shard(_) => {}
    }
}

/// What is wrong between the fields of an object each of which is right.
pub(crate) fn check(object: &Object) -> Vec<Mistake> {
    match object {
        Object::Table(table) => check_table(table),
        Object::Shard(shard) => check_shard(shard),
        Object::Cluster(_) | Object::Node(_) => Vec::new(),
    }
}

fn check_table(table: &Table) -> Vec<Mistake> {
    let spec = &table.spec;
    let mut mistakes = Vec::new();
    match spec.guarantee.built() {
        Built::Yes => {}
        Built::NotYet => {
            let built = Guarantee::ALL.into_iter().filter(|each| each.built() == Built::Yes);
            let built = built.map(|each| format!("{:?}", each.name())).collect::<Vec<_>>().join(", ");
            mistakes.push(Mistake::of(
                "spec.guarantee",
                &format!("{:?}", spec.guarantee.name()),
                "is not built yet",
                format!("this version has {built}"),
            ));
        }
    }
    match (spec.split, spec.split_bytes) {
        (Split::Hash, Some(bytes)) => mistakes.push(Mistake::of(
            "spec.splitBytes",
            &bytes.to_string(),
            "has no meaning for a table that is split by hash",
            "leave it out, or set spec.split to \"range\"",
        )),
        (Split::Hash, None) | (Split::Range, _) => {}
    }
    mistakes.extend(check_convergence(spec));
    match spec.split {
        Split::Range if spec.shards != 1 => mistakes.push(Mistake::of(
            "spec.shards",
            &spec.shards.to_string(),
            "cannot be chosen for a table that is split by range, which begins with 1 and finds its own number",
            "leave it out",
        )),
        Split::Range | Split::Hash => {}
    }
    mistakes
}

/// What only convergent tables have, and what they have not.
fn check_convergence(spec: &TableSpec) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    match spec.guarantee {
        Guarantee::Convergent if spec.split == Split::Range => mistakes.push(Mistake::of(
            "spec.split",
            "\"range\"",
            "is not possible for a convergent table",
            "leave it out: its keys are dealt by a hash",
        )),
        Guarantee::Convergent => {}
        Guarantee::Strong | Guarantee::Stream | Guarantee::Blob => {
            let levels = [("spec.readLevel", spec.read_level), ("spec.writeLevel", spec.write_level)];
            let levels = levels.into_iter().filter_map(|(path, level)| Some((path, level?.name())));
            let conditional = Some(spec.conditional).filter(|conditional| !conditional.is_refuse());
            let given = levels.chain(conditional.map(|conditional| ("spec.conditional", conditional.name())));
            mistakes.extend(given.map(|(path, value)| {
                let problem = format!("has no meaning for a {} table", spec.guarantee.name());
                Mistake::of(path, value, problem, "leave it out, or set spec.guarantee to \"convergent\"")
            }));
        }
    }
    mistakes
}

fn check_shard(shard: &Shard) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let name = name_of(&shard.spec.table, shard.spec.group);
    if name != shard.metadata.name {
        let problem = "is not the name of a shard of this table and group";
        let fix = format!("it is {name:?}");
        mistakes.push(Mistake::of("metadata.name", &format!("{:?}", shard.metadata.name), problem, fix));
    }
    match (shard.spec.phase, shard.spec.parent) {
        (Phase::Filling, None) => {
            mistakes.push(Mistake::missing("spec.parent", "name the shard that it gets its data from".to_owned()));
        }
        (Phase::Filling, Some(_)) | (Phase::Serving | Phase::Retiring, _) => {}
    }
    match &shard.spec.slice {
        Slice::Hash(part) if part.index >= part.of => mistakes.push(Mistake::of(
            "spec.slice.hash.index",
            &part.index.to_string(),
            format!("is not below {}", part.of),
            "the first part has index 0",
        )),
        Slice::Range(range) if range.end.as_ref().is_some_and(|end| *end <= range.start) => {
            let end = range.end.as_deref().map(crate::text::escape).unwrap_or_default();
            let problem = "is not above the start";
            mistakes.push(Mistake::of("spec.slice.range.end", &format!("{end:?}"), problem, "a range holds some key"));
        }
        Slice::Hash(_) | Slice::Range(_) => {}
    }
    mistakes
}
