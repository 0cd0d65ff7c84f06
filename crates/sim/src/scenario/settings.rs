//! Every setting of a scenario file, once: its section and key, what it means, and where its value goes.
//!
//! The reader, the writer, the hint towards the nearest key and the table in the documentation all follow from
//! [`SETTINGS`]: a new kind of fault or client is one line here.

use althing_types::Duration;

use super::text::{Span, Text};
use crate::faults::{Episodes, FaultPlan};
use crate::options::Tables;
use crate::random::{Chance, Latency};
use crate::workload::WorkloadOptions;

/// What settings change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setup {
    /// What goes wrong.
    pub faults: FaultPlan,
    /// What clients do.
    pub workload: WorkloadOptions,
    /// The control plane; without shards there is none.
    pub tables: Tables,
}

/// Where the value of a setting goes, and by that what kind of value it is.
#[derive(Clone, Copy, Debug)]
pub enum Field {
    /// How often something happens.
    Chance(fn(&mut Setup) -> &mut Chance),
    /// How long something takes.
    Latency(fn(&mut Setup) -> &mut Latency),
    /// A time.
    Time(fn(&mut Setup) -> &mut Duration),
    /// The shortest and the longest time.
    Times(fn(&mut Setup) -> (&mut Duration, &mut Duration)),
    /// A number of things.
    Count(fn(&mut Setup) -> &mut usize),
    /// A number.
    Number(fn(&mut Setup) -> &mut u64),
    /// How many of a hundred.
    Percent(fn(&mut Setup) -> &mut u32),
    /// Parts per million.
    Ppm(fn(&mut Setup) -> &mut u32),
    /// A kind of fault that begins by chance.
    Rate(fn(&mut Setup) -> &mut Episodes),
}

/// The value of a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// Of [`Field::Chance`].
    Chance(Chance),
    /// Of [`Field::Latency`].
    Latency(Latency),
    /// Of [`Field::Time`].
    Time(Duration),
    /// Of [`Field::Times`].
    Times(Span),
    /// Of [`Field::Count`] and [`Field::Number`].
    Number(u64),
    /// Of [`Field::Percent`] and [`Field::Ppm`].
    Parts(u32),
    /// Of [`Field::Rate`].
    Rate(Episodes),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The table of the file that it stands in.
    pub section: &'static str,
    /// Its key there.
    pub key: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Where its value goes.
    pub field: Field,
}

/// The tables of a scenario file that hold settings, in the order in which they are written.
pub const SECTIONS: [&str; 6] = ["control_plane", "network", "disk", "clocks", "faults", "workload"];

const fn control(key: &'static str, meaning: &'static str, field: Field) -> Setting {
    Setting { section: "control_plane", key, meaning, field }
}

const fn network(key: &'static str, meaning: &'static str, field: Field) -> Setting {
    Setting { section: "network", key, meaning, field }
}

const fn disk(key: &'static str, meaning: &'static str, field: fn(&mut Setup) -> &mut Latency) -> Setting {
    Setting { section: "disk", key, meaning, field: Field::Latency(field) }
}

const fn clocks(key: &'static str, meaning: &'static str, field: Field) -> Setting {
    Setting { section: "clocks", key, meaning, field }
}

const fn rate(key: &'static str, meaning: &'static str, field: fn(&mut Setup) -> &mut Episodes) -> Setting {
    Setting { section: "faults", key, meaning, field: Field::Rate(field) }
}

const fn workload(key: &'static str, meaning: &'static str, field: Field) -> Setting {
    Setting { section: "workload", key, meaning, field }
}

/// All of them.
pub const SETTINGS: &[Setting] = &[
    control(
        "shards",
        "shards of the table that clients write to; without them there is no control plane",
        Field::Count(|to| &mut to.tables.shards),
    ),
    control(
        "split_kib",
        "kibibytes at which a shard is split; the table is then split by range and begins with one shard",
        Field::Count(|to| &mut to.tables.split_kib),
    ),
    control(
        "convergent",
        "shards of a second table, which is convergent; there must be a first one, too",
        Field::Count(|to| &mut to.tables.convergent),
    ),
    control(
        "decided",
        "shards of a third table, which is convergent, and whose strings are decided by rounds",
        Field::Count(|to| &mut to.tables.decided),
    ),
    control("spares", "nodes that are registered besides `nodes`", Field::Count(|to| &mut to.tables.spares)),
    control("late", "of these, nodes that come when the table is there", Field::Count(|to| &mut to.tables.late)),
    control("joins", "from one late node to the next", Field::Time(|to| &mut to.tables.joins)),
    control("zones", "zones in which nodes stand by turns", Field::Count(|to| &mut to.tables.zones)),
    control(
        "grace",
        "how long a silent node keeps its replicas, in whole seconds",
        Field::Time(|to| &mut to.tables.grace),
    ),
    control("drains", "a node is drained, or comes back", Field::Rate(|to| &mut to.tables.pace)),
    network("latency", "how long a frame is under way", Field::Latency(|to| &mut to.faults.network.latency)),
    network("drop", "a frame vanishes", Field::Chance(|to| &mut to.faults.network.drop)),
    network("duplicate", "a frame comes twice", Field::Chance(|to| &mut to.faults.network.duplicate)),
    network("reorder", "a frame may overtake others", Field::Chance(|to| &mut to.faults.network.reorder)),
    disk("sync", "an append to the log and its sync", |to| &mut to.faults.disk.sync_latency),
    disk("apply", "a batch of the applier", |to| &mut to.faults.disk.apply_latency),
    disk("read", "a read of the engine", |to| &mut to.faults.disk.read_latency),
    disk("checkpoint", "a checkpoint, until it is durable", |to| &mut to.faults.disk.checkpoint_latency),
    clocks("offset", "a clock starts up to this far ahead", Field::Time(|to| &mut to.faults.clocks.max_offset)),
    clocks(
        "drift",
        "a clock is up to this much too fast or slow",
        Field::Ppm(|to| &mut to.faults.clocks.max_drift_ppm),
    ),
    rate("partitions", "the nodes fall apart into two sides", |to| &mut to.faults.partitions),
    rate("one_way", "one node is no longer heard by another", |to| &mut to.faults.one_way),
    rate("crashes", "power fails; what was not synced is lost, kept or torn", |to| &mut to.faults.crashes),
    rate("kills", "a process is killed", |to| &mut to.faults.kills),
    rate("pauses", "a process stands still", |to| &mut to.faults.pauses),
    rate("slow_disks", "syncs take 5 to 250 ms longer", |to| &mut to.faults.slow_disks),
    rate("failed_syncs", "the next sync of a node fails", |to| &mut to.faults.failed_syncs),
    rate("failed_writes", "the next write of a node fails", |to| &mut to.faults.failed_writes),
    rate("full_disks", "a disk is full", |to| &mut to.faults.full_disks),
    rate("transfers", "the leadership is handed over", |to| &mut to.faults.transfers),
    rate("stops", "a node is stopped in good order", |to| &mut to.faults.stops),
    rate("clogs", "frames of some nodes are held back, not lost", |to| &mut to.faults.clogs),
    rate("slow_nodes", "a processor is busy with other things", |to| &mut to.faults.slow_nodes),
    rate("clock_jumps", "a clock is set, forward or back", |to| &mut to.faults.clock_jumps),
    rate("drifts", "a clock changes its pace", |to| &mut to.faults.drifts),
    rate("rot", "a synced bit of a log turns for good", |to| &mut to.faults.rot),
    rate("rot_on_read", "a read of a log gives a turned bit, once", |to| &mut to.faults.rot_on_read),
    rate("wipes", "a data directory is emptied", |to| &mut to.faults.wipes),
    rate("rollbacks", "a data directory is put back to an earlier state", |to| &mut to.faults.rollbacks),
    rate("copies", "a second machine starts on a copied directory", |to| &mut to.faults.copies),
    rate("lost_syncs", "a disk answers syncs and keeps nothing", |to| &mut to.faults.lost_syncs),
    rate("checkpoints", "a checkpoint is asked for", |to| &mut to.faults.checkpoints),
    rate("compactions", "a compaction is asked for", |to| &mut to.faults.compactions),
    rate("membership", "members are added, promoted and removed", |to| &mut to.faults.membership),
    rate("withheld_maps", "updates of the map do not reach a node", |to| &mut to.faults.withheld_maps),
    rate("withheld_reports", "reports of a node reach nobody", |to| &mut to.faults.withheld_reports),
    rate("lies", "a node is told wrongly who is up and who is down", |to| &mut to.faults.lies),
    rate("destroyed", "a machine is gone for good", |to| &mut to.faults.destroyed),
    workload("register_clients", "clients on registers", Field::Count(|to| &mut to.workload.register_clients)),
    workload("registers", "registers, one of them hot", Field::Number(|to| &mut to.workload.registers)),
    workload("hot", "operations that go to the hot register", Field::Percent(|to| &mut to.workload.hot_percent)),
    workload(
        "large",
        "values on registers, in carts and of decided strings that are large",
        Field::Percent(|to| &mut to.workload.large_percent),
    ),
    workload("lease_clients", "clients with leases", Field::Count(|to| &mut to.workload.lease_clients)),
    workload("watch_clients", "clients that watch", Field::Count(|to| &mut to.workload.watch_clients)),
    workload("keepers", "clients that compact", Field::Count(|to| &mut to.workload.keepers)),
    workload("bank_clients", "clients that move money", Field::Count(|to| &mut to.workload.bank_clients)),
    workload("accounts", "accounts that they move it between", Field::Number(|to| &mut to.workload.accounts)),
    workload("list_clients", "clients with transactions on lists", Field::Count(|to| &mut to.workload.list_clients)),
    workload("lock_clients", "clients that take locks", Field::Count(|to| &mut to.workload.lock_clients)),
    workload(
        "range_clients",
        "clients that read ranges in every way",
        Field::Count(|to| &mut to.workload.range_clients),
    ),
    workload(
        "controllers",
        "clients that update objects as in Kubernetes",
        Field::Count(|to| &mut to.workload.controllers),
    ),
    workload("objects", "objects that they update", Field::Number(|to| &mut to.workload.objects)),
    workload("reflectors", "clients that list in pages, then watch", Field::Count(|to| &mut to.workload.reflectors)),
    workload("compactors", "clients that compact as in Kubernetes", Field::Count(|to| &mut to.workload.compactors)),
    workload("cart_clients", "clients of the convergent table", Field::Count(|to| &mut to.workload.cart_clients)),
    workload("carts", "keys of each kind that they use", Field::Number(|to| &mut to.workload.carts)),
    workload(
        "decided_clients",
        "clients of the table whose strings are decided by rounds",
        Field::Count(|to| &mut to.workload.decided_clients),
    ),
    workload("locks", "locks that they use, and as many counters", Field::Number(|to| &mut to.workload.locks)),
    workload("leisure", "the pause of all other clients", Field::Latency(|to| &mut to.workload.leisure)),
    workload(
        "think",
        "the pause of clients on registers, with leases, and of the convergent table",
        Field::Latency(|to| &mut to.workload.think),
    ),
    workload(
        "patience",
        "how long a client waits for an answer",
        Field::Times(|to| (&mut to.workload.least_patience, &mut to.workload.most_patience)),
    ),
];

impl Setting {
    /// The setting of a key, as its place in [`SETTINGS`].
    #[must_use]
    pub fn find(section: &str, key: &str) -> Option<usize> {
        SETTINGS.iter().position(|setting| (setting.section, setting.key) == (section, key))
    }

    /// The keys of a section.
    #[must_use]
    pub fn keys(section: &str) -> Vec<&'static str> {
        SETTINGS.iter().filter(|setting| setting.section == section).map(|setting| setting.key).collect()
    }

    /// The value that it has in a setup.
    #[must_use]
    pub fn get(&self, setup: &mut Setup) -> Value {
        match self.field {
            Field::Chance(field) => Value::Chance(*field(setup)),
            Field::Latency(field) => Value::Latency(*field(setup)),
            Field::Time(field) => Value::Time(*field(setup)),
            Field::Times(field) => {
                let (least, most) = field(setup);
                Value::Times(Span { least: *least, most: *most })
            }
            Field::Count(field) => Value::Number(*field(setup) as u64),
            Field::Number(field) => Value::Number(*field(setup)),
            Field::Percent(field) | Field::Ppm(field) => Value::Parts(*field(setup)),
            Field::Rate(field) => Value::Rate(*field(setup)),
        }
    }

    /// Gives it a value. A value of another kind, which no reader makes, changes nothing.
    pub fn set(&self, setup: &mut Setup, value: Value) {
        match (self.field, value) {
            (Field::Chance(field), Value::Chance(value)) => *field(setup) = value,
            (Field::Latency(field), Value::Latency(value)) => *field(setup) = value,
            (Field::Time(field), Value::Time(value)) => *field(setup) = value,
            (Field::Times(field), Value::Times(span)) => {
                let (least, most) = field(setup);
                (*least, *most) = (span.least, span.most);
            }
            (Field::Count(field), Value::Number(value)) => *field(setup) = usize::try_from(value).unwrap_or(usize::MAX),
            (Field::Number(field), Value::Number(value)) => *field(setup) = value,
            (Field::Percent(field) | Field::Ppm(field), Value::Parts(value)) => *field(setup) = value,
            (Field::Rate(field), Value::Rate(value)) => *field(setup) = value,
            _ => {}
        }
    }

    /// What is expected of its value, with an example.
    #[must_use]
    pub fn expected(&self) -> &'static str {
        match self.field {
            Field::Chance(_) => Chance::EXPECTED,
            Field::Latency(_) => Latency::EXPECTED,
            Field::Time(_) => Duration::EXPECTED,
            Field::Times(_) => Span::EXPECTED,
            Field::Count(_) | Field::Number(_) => "a whole number",
            Field::Percent(_) => "a percentage, as \"25%\"",
            Field::Ppm(_) => "parts per million, as \"1000ppm\"",
            Field::Rate(_) => "\"off\" or a rate, as { every = \"6s\", lasting = \"200ms..4s\" }",
        }
    }

    /// Reads its value, if it is written as text.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<Value> {
        match self.field {
            Field::Chance(_) => Chance::read(text).map(Value::Chance),
            Field::Latency(_) => Latency::read(text).map(Value::Latency),
            Field::Time(_) => Duration::read(text).map(Value::Time),
            Field::Times(_) => Span::read(text).map(Value::Times),
            Field::Count(_) | Field::Number(_) => None,
            Field::Percent(_) => parts(text, "%").filter(|percent| *percent <= 100).map(Value::Parts),
            Field::Ppm(_) => parts(text, "ppm").filter(|parts| *parts < 1_000_000).map(Value::Parts),
            Field::Rate(_) => (text == "off").then_some(Value::Rate(Episodes::NONE)),
        }
    }

    /// Writes its value as it stands behind the key.
    #[must_use]
    pub fn write(&self, value: Value) -> String {
        match value {
            Value::Chance(chance) => quoted(&chance.write()),
            Value::Latency(latency) => quoted(&latency.write()),
            Value::Time(time) => quoted(&time.write()),
            Value::Times(span) => quoted(&span.write()),
            Value::Number(number) => number.to_string(),
            Value::Parts(parts) => {
                let unit = if matches!(self.field, Field::Ppm(_)) { "ppm" } else { "%" };
                quoted(&format!("{parts}{unit}"))
            }
            Value::Rate(Episodes::NONE) => quoted("off"),
            Value::Rate(Episodes { every, shortest, longest }) => {
                let lasting = Span { least: shortest, most: longest };
                let lasting = match lasting == Span::default() {
                    true => String::new(),
                    false => format!(", lasting = {}", quoted(&lasting.write())),
                };
                format!("{{ every = {}{lasting} }}", quoted(&every.write()))
            }
        }
    }
}

/// The table of all keys that stands in docs/simulation.md: a test compares them.
#[must_use]
pub fn reference() -> String {
    let rows = |section: &str| {
        let of_it = SETTINGS.iter().filter(|setting| setting.section == section);
        let rows = of_it.map(|setting| format!("| `{}` | {} |\n", setting.key, setting.meaning));
        format!("| `[{section}]` | |\n|---|---|\n{}\n", rows.collect::<String>())
    };
    SECTIONS.into_iter().map(rows).collect()
}

fn parts(text: &str, unit: &str) -> Option<u32> {
    text.trim().strip_suffix(unit)?.trim().parse().ok()
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_stands_once_and_in_a_section_that_is_known() {
        for (place, setting) in SETTINGS.iter().enumerate() {
            assert_eq!(Setting::find(setting.section, setting.key), Some(place), "{}", setting.key);
            assert!(SECTIONS.contains(&setting.section), "{}", setting.section);
        }
    }

    #[test]
    fn the_documentation_has_the_table_of_all_keys() {
        let document = include_str!("../../../../docs/simulation.md");
        assert!(document.contains(&reference()), "put this into docs/simulation.md:\n{}", reference());
    }

    /// Two settings with the same field would overwrite each other.
    #[test]
    fn every_setting_has_a_field_of_its_own() {
        let (faults, workload) = (FaultPlan::none(), WorkloadOptions::default());
        let quiet = Setup { faults, workload, tables: Tables::NONE };
        for setting in SETTINGS {
            let mut setup = quiet.clone();
            setting.set(&mut setup, unlike(setting.get(&mut quiet.clone())));
            let changed = SETTINGS.iter().filter(|other| other.get(&mut setup) != other.get(&mut quiet.clone()));
            let changed: Vec<&str> = changed.map(|other| other.key).collect();
            assert_eq!(changed, [setting.key]);
        }
    }

    fn unlike(value: Value) -> Value {
        let second = Duration::from_secs(1);
        match value {
            Value::Chance(chance) => Value::Chance(Chance(chance.0 + 1)),
            Value::Latency(latency) => Value::Latency(Latency { least: latency.least + second, ..latency }),
            Value::Time(time) => Value::Time(time + second),
            Value::Times(span) => Value::Times(Span { most: span.most + second, ..span }),
            Value::Number(number) => Value::Number(number + 1),
            Value::Parts(parts) => Value::Parts(parts + 1),
            Value::Rate(rate) => Value::Rate(Episodes { every: rate.every + second, ..rate }),
        }
    }
}
