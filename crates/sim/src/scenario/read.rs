//! Reads a scenario file, strictly: every mistake is named with its line, and with what would have been right.

use std::fmt;
use std::ops::Range;

use althing_types::{Duration, NodeId};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::{Field, SECTIONS, SETTINGS, Setting, Value};
use super::stage::{self, BLOWS, KEYS, MOMENTS, NODE_EXPECTED, Props, TRIGGER_KEYS, named};
use super::text::{Span, Text};
use super::{Base, Scenario};
use crate::faults::{Episodes, Fault};
use crate::nearest::hint;
use crate::options::{MAX_MACHINES, MAX_NODES, MAX_SPARES};
use crate::random::Chance;
use crate::report::Verdict;
use crate::scene::{Scene, is_role};
use crate::triggers::Trigger;
use crate::workload::MAX_REGISTER_CLIENTS;

/// One thing that is wrong with a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Why a file is no scenario: everything that is wrong with it, from the top.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScenarioError(pub Vec<Mistake>);

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ScenarioError {}

/// A table of more shards takes longer to be made than a run should.
const MAX_SHARDS: u64 = 512;

/// Keys at the top of the file.
const HEAD: [&str; 8] = ["name", "description", "nodes", "for", "seed", "seeds", "expect", "base"];

pub(super) fn scenario(text: &str) -> Result<Scenario, ScenarioError> {
    let mut reader = Reader { text, mistakes: Vec::new() };
    let mut scenario = Scenario::default();
    match DeTable::parse(text) {
        Ok(table) => reader.file(table.get_ref(), &mut scenario),
        Err(error) => reader.mistake(&error.span().unwrap_or_default(), error.message()),
    }
    let mut mistakes = reader.mistakes;
    mistakes.sort();
    if mistakes.is_empty() { Ok(scenario) } else { Err(ScenarioError(mistakes)) }
}

struct Reader<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

/// A value of the file and where it stands.
type Node<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    fn mistake(&mut self, place: &Range<usize>, what: impl Into<String>) {
        let before = self.text.get(..place.start).unwrap_or(self.text);
        self.mistakes.push(Mistake { line: before.matches('\n').count() + 1, what: what.into() });
    }

    fn wrong(&mut self, key: &str, node: &Node<'_>, expected: &str) {
        let found = self.text.get(node.span()).unwrap_or_default().lines().next().unwrap_or_default().to_owned();
        self.mistake(&node.span(), format!("`{key}` is {found}, but must be {expected}"));
    }

    fn unknown(&mut self, place: &Range<usize>, key: &str, known: &[&str]) {
        self.mistake(place, format!("unknown key `{key}`{}", hint(key, known, "keys")));
    }

    /// Takes what could be read, or notes what was expected.
    fn take<T>(&mut self, key: &str, node: &Node<'_>, expected: &str, read: Option<T>) -> Option<T> {
        if read.is_none() {
            self.wrong(key, node, expected);
        }
        read
    }

    fn text_of<T: Text>(&mut self, key: &str, node: &Node<'_>) -> Option<T> {
        let read = node.get_ref().as_str().and_then(T::read);
        self.take(key, node, T::EXPECTED, read)
    }

    fn number(&mut self, key: &str, node: &Node<'_>, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let expected = match *range.end() {
            u64::MAX => "a whole number".to_owned(),
            end => format!("a whole number from {} to {end}", range.start()),
        };
        let read = whole(node.get_ref()).filter(|number| range.contains(number));
        self.take(key, node, &expected, read)
    }

    fn file(&mut self, table: &DeTable<'_>, scenario: &mut Scenario) {
        for (key, node) in table {
            let name = key.get_ref().as_ref();
            match (name, node.get_ref()) {
                ("at", DeValue::Array(entries)) => entries.iter().for_each(|entry| self.entry(entry, scenario)),
                ("when", DeValue::Array(entries)) => entries.iter().for_each(|entry| self.trigger(entry, scenario)),
                ("when", _) => self.wrong(name, node, "a list of tables, each under [[when]]"),
                ("at", _) => self.wrong(name, node, "a list of tables, each under [[at]]"),
                (section, DeValue::Table(table)) if SECTIONS.contains(&section) => {
                    self.section(section, table, scenario);
                }
                (section, _) if SECTIONS.contains(&section) => self.wrong(name, node, &format!("a table, [{section}]")),
                _ if HEAD.contains(&name) => self.head(name, node, scenario),
                _ => {
                    let known: Vec<&str> = HEAD.into_iter().chain(SECTIONS).chain(["when", "at"]).collect();
                    self.unknown(&key.span(), name, &known);
                }
            }
        }
        scenario.changes.sort_by_key(|(place, _)| *place);
        if let (Some((seed, _)), true) = (table.get_key_value("seed"), table.contains_key("seeds")) {
            self.mistake(&seed.span(), "`seed` and `seeds` exclude each other");
        }
        self.check_nodes(table, scenario);
    }

    fn head(&mut self, key: &str, node: &Node<'_>, scenario: &mut Scenario) {
        let word = node.get_ref().as_str();
        match key {
            "name" => scenario.name = self.take(key, node, "a text", word).unwrap_or_default().to_owned(),
            "description" => {
                scenario.description = self.take(key, node, "a text", word).unwrap_or_default().to_owned();
            }
            "nodes" => scenario.nodes = self.number(key, node, 1..=MAX_NODES).unwrap_or(scenario.nodes),
            "for" => scenario.duration = self.text_of(key, node).unwrap_or(scenario.duration),
            "seed" => {
                let seed = self.number(key, node, 0..=u64::MAX).unwrap_or_default();
                scenario.seeds = seed..seed.saturating_add(1);
            }
            "seeds" => scenario.seeds = self.text_of(key, node).unwrap_or_default(),
            "expect" => {
                let verdict = match word {
                    Some("kept") => Some(Verdict::Kept),
                    Some("broken") => Some(Verdict::Broken),
                    _ => None,
                };
                scenario.expect = self.take(key, node, "\"kept\" or \"broken\"", verdict).unwrap_or(Verdict::Kept);
            }
            _ => {
                let base = [Base::None, Base::Swarm, Base::All].into_iter().find(|base| Some(base.name()) == word);
                scenario.base = self.take(key, node, "\"none\", \"swarm\" or \"all\"", base).unwrap_or_default();
            }
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>, scenario: &mut Scenario) {
        for (key, node) in table {
            let name = key.get_ref().as_ref();
            match Setting::find(section, name) {
                Some(place) => {
                    if let Some(value) = self.value(&SETTINGS[place], node) {
                        scenario.changes.push((place, value));
                    }
                }
                None => self.unknown(&key.span(), name, &Setting::keys(section)),
            }
        }
    }

    fn value(&mut self, setting: &Setting, node: &Node<'_>) -> Option<Value> {
        match (setting.field, node.get_ref()) {
            (Field::Rate(_), DeValue::Table(table)) => self.rate(setting, node, table),
            (Field::Count(_) | Field::Number(_), _) => {
                let most = match setting.key {
                    "register_clients" => MAX_REGISTER_CLIENTS as u64,
                    "spares" => MAX_SPARES,
                    "shards" => MAX_SHARDS,
                    _ => u64::MAX,
                };
                let least = u64::from(matches!(setting.field, Field::Number(_)));
                self.number(setting.key, node, least..=most).map(Value::Number)
            }
            (_, value) => {
                let read = value.as_str().and_then(|text| setting.read(text));
                self.take(setting.key, node, setting.expected(), read)
            }
        }
    }

    fn rate(&mut self, setting: &Setting, node: &Node<'_>, table: &DeTable<'_>) -> Option<Value> {
        let (mut every, mut lasting) = (None, Span::default());
        for (key, node) in table {
            match key.get_ref().as_ref() {
                "every" => every = self.text_of::<Duration>("every", node),
                "lasting" => lasting = self.text_of("lasting", node).unwrap_or_default(),
                unknown => self.unknown(&key.span(), unknown, &["every", "lasting"]),
            }
        }
        if !table.contains_key("every") {
            self.wrong(setting.key, node, setting.expected());
        }
        every.map(|every| Value::Rate(Episodes { every, shortest: lasting.least, longest: lasting.most }))
    }

    /// One entry of `[[at]]`.
    fn entry(&mut self, entry: &Node<'_>, scenario: &mut Scenario) {
        let DeValue::Table(table) = entry.get_ref() else {
            return self.wrong("at", entry, "a table under [[at]]");
        };
        let (mut time, mut name, mut lasting, mut props) = (None, None, None, Props::default());
        for (key, node) in table {
            let word = key.get_ref().as_ref();
            match word {
                "time" => time = self.text_of::<Duration>(word, node),
                "fault" => name = self.take(word, node, "the name of a fault, as \"crash\"", node.get_ref().as_str()),
                "node" => props.node = self.node(word, node),
                "from" => props.from = self.node(word, node),
                "to" => props.to = self.node(word, node),
                "island" => props.island = self.island(node),
                "by" => props.by = self.text_of(word, node),
                "back" => props.back = self.text_of(word, node),
                "ppm" => {
                    let read = node.get_ref().as_integer().and_then(|integer| integer.as_str().parse().ok());
                    props.ppm = self.take(word, node, "a whole number, as -500", read);
                }
                "seed" => {
                    let seed = self.number(word, node, 0..=u64::from(u32::MAX));
                    props.seed = seed.and_then(|seed| u32::try_from(seed).ok());
                }
                "lasting" => lasting = self.text_of::<Duration>(word, node),
                unknown => self.unknown(&key.span(), unknown, &KEYS),
            }
        }
        let place = entry.span();
        for key in ["time", "fault"].into_iter().filter(|key| !table.contains_key(*key)) {
            self.mistake(&place, format!("an entry of [[at]] needs `{key}`"));
        }
        let (Some(at), Some(name)) = (time, name) else { return };
        let place = table.get_key_value("fault").map_or(place, |(key, _)| key.span());
        match stage::fault(name, &mut props) {
            Ok(fault) => self.stage(&place, Scene { at, fault, lasting }, name, &props, scenario),
            Err(what) => self.mistake(&place, what),
        }
    }

    /// Puts a fault where it belongs, if everything that was said of it means something.
    fn stage(&mut self, place: &Range<usize>, scene: Scene, name: &str, rest: &Props, scenario: &mut Scenario) {
        if let Some(key) = rest.left() {
            return self.mistake(place, format!("`{name}` has no `{key}`"));
        }
        if scene.lasting.is_some() && scene.fault.end().is_none() {
            return self.mistake(place, format!("`{name}` has no `lasting`: it happens once"));
        }
        if scene.lasting.is_some() || scene.has_roles() {
            scenario.scenes.push(scene);
        } else {
            scenario.schedule.push((scene.at, scene.fault));
        }
    }

    /// One entry of `[[when]]`.
    fn trigger(&mut self, entry: &Node<'_>, scenario: &mut Scenario) {
        let DeValue::Table(table) = entry.get_ref() else {
            return self.wrong("when", entry, "a table under [[when]]");
        };
        let (mut moment, mut chance, mut blow, mut lasting) = (None, None, None, None);
        for (key, node) in table {
            let word = key.get_ref().as_ref();
            match word {
                "moment" => moment = self.word(word, node, &MOMENTS),
                "chance" => chance = self.text_of::<Chance>(word, node),
                "fault" => blow = self.word(word, node, &BLOWS),
                "lasting" => lasting = self.text_of::<Span>(word, node),
                unknown => self.unknown(&key.span(), unknown, &TRIGGER_KEYS),
            }
        }
        for key in TRIGGER_KEYS.into_iter().filter(|key| !table.contains_key(*key)) {
            self.mistake(&entry.span(), format!("an entry of [[when]] needs `{key}`"));
        }
        let (Some(moment), Some(chance), Some(blow), Some(lasting)) = (moment, chance, blow, lasting) else { return };
        let trigger = Trigger { moment, chance, blow, shortest: lasting.least, longest: lasting.most };
        scenario.triggers.push(trigger);
    }

    /// One of a few words.
    fn word<T: Copy>(&mut self, key: &str, node: &Node<'_>, names: &[(&'static str, T)]) -> Option<T> {
        let read = node.get_ref().as_str().and_then(|word| named(names, word));
        let known: Vec<String> = names.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        self.take(key, node, &format!("one of {}", known.join(", ")), read)
    }

    fn node(&mut self, key: &str, node: &Node<'_>) -> Option<NodeId> {
        let read = match node.get_ref() {
            DeValue::String(word) => stage::node_of(word),
            number => whole(number).filter(|number| (1..=MAX_MACHINES).contains(number)).map(NodeId),
        };
        self.take(key, node, NODE_EXPECTED, read)
    }

    fn island(&mut self, node: &Node<'_>) -> Option<Vec<NodeId>> {
        let expected = "a list of nodes, as [1, \"leader\"]";
        let array = self.take("island", node, expected, node.get_ref().as_array())?;
        array.iter().map(|node| self.node("island", node)).collect()
    }

    /// A node that is hit must be there.
    fn check_nodes(&mut self, table: &DeTable<'_>, scenario: &Scenario) {
        let faults = scenario.schedule.iter().map(|(_, fault)| fault);
        let faults: Vec<&Fault> = faults.chain(scenario.scenes.iter().map(|scene| &scene.fault)).collect();
        let spares = scenario.setup(0).tables.spares as u64;
        let others = scenario.nodes + spares + 1..=MAX_MACHINES;
        let absent = |node: &NodeId| !is_role(*node) && others.contains(&node.get());
        if let Some(absent) = faults.into_iter().flat_map(Fault::nodes).find(absent) {
            let place = table.get_key_value("at").map(|(key, _)| key.span()).unwrap_or_default();
            self.mistake(&place, format!("there is no node {absent}: `nodes` is {}", scenario.nodes));
        }
    }
}

fn whole(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}
