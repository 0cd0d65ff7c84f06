//! A scenario as the text of a file: only what differs from a default, in the order in which a person would say it.

use std::fmt::Write;

use althing_types::Duration;

use super::settings::{SECTIONS, SETTINGS};
use super::stage::{BLOWS, MOMENTS, Props, describe, name_of, node_word};
use super::text::{Span, Text};
use super::{Base, Scenario};
use crate::faults::Fault;
use crate::report::Verdict;
use crate::triggers::Trigger;

pub(super) fn scenario(scenario: &Scenario) -> String {
    let mut text = String::new();
    head(&mut text, scenario);
    for section in SECTIONS {
        let of_it = |(place, _): &&super::Change| SETTINGS[*place].section == section;
        let lines: Vec<String> = scenario.changes.iter().filter(of_it).map(line).collect();
        if !lines.is_empty() {
            let _ = write!(text, "\n[{section}]\n{}", lines.concat());
        }
    }
    scenario.triggers.iter().for_each(|trigger| when(&mut text, trigger));
    for (at, fault) in &scenario.schedule {
        entry(&mut text, *at, fault, None);
    }
    for scene in &scenario.scenes {
        entry(&mut text, scene.at, &scene.fault, scene.lasting);
    }
    text
}

fn head(text: &mut String, scenario: &Scenario) {
    let Scenario { name, description, nodes, duration, seeds, expect, base, .. } = scenario;
    if !name.is_empty() {
        let _ = writeln!(text, "name = {}", string(name));
    }
    if !description.is_empty() {
        let _ = writeln!(text, "description = {}", string(description));
    }
    let _ = writeln!(text, "nodes = {nodes}\nfor = \"{}\"", duration.write());
    if seeds.end - seeds.start == 1 {
        let _ = writeln!(text, "seed = {}", seeds.start);
    } else {
        let _ = writeln!(text, "seeds = \"{}\"", seeds.write());
    }
    match expect {
        Verdict::Kept => {}
        Verdict::Broken => text.push_str("expect = \"broken\"\n"),
    }
    if *base != Base::None {
        let _ = writeln!(text, "base = \"{}\"", base.name());
    }
}

fn line((place, value): &super::Change) -> String {
    let setting = &SETTINGS[*place];
    format!("{} = {}\n", setting.key, setting.write(*value))
}

fn entry(text: &mut String, at: Duration, fault: &Fault, lasting: Option<Duration>) {
    let (name, Props { node, island, from, to, by, back, ppm, seed }) = describe(fault);
    let _ = writeln!(text, "\n[[at]]\ntime = \"{}\"\nfault = \"{name}\"", at.write());
    for (key, node) in [("node", node), ("from", from), ("to", to)] {
        if let Some(node) = node {
            let _ = writeln!(text, "{key} = {}", node_word(node));
        }
    }
    if let Some(island) = island {
        let nodes: Vec<String> = island.into_iter().map(node_word).collect();
        let _ = writeln!(text, "island = [{}]", nodes.join(", "));
    }
    for (key, number) in [("ppm", ppm.map(i64::from)), ("seed", seed.map(i64::from))] {
        if let Some(number) = number {
            let _ = writeln!(text, "{key} = {number}");
        }
    }
    for (key, time) in [("by", by), ("back", back), ("lasting", lasting)] {
        if let Some(time) = time {
            let _ = writeln!(text, "{key} = \"{}\"", time.write());
        }
    }
}

fn when(text: &mut String, trigger: &Trigger) {
    let Trigger { moment, chance, blow, shortest, longest } = *trigger;
    let (moment, blow) = (name_of(&MOMENTS, moment), name_of(&BLOWS, blow));
    let lasting = Span { least: shortest, most: longest }.write();
    let chance = chance.write();
    let _ = writeln!(
        text,
        "\n[[when]]\nmoment = \"{moment}\"\nchance = \"{chance}\"\nfault = \"{blow}\"\nlasting = \"{lasting}\""
    );
}

/// A string as TOML writes it: in several lines if it has them.
fn string(text: &str) -> String {
    if text.contains('\n') && !text.contains("'''") && !text.contains('\r') {
        return format!("'''\n{text}'''");
    }
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
