use althing_types::{Duration, NodeId};
use proptest::prelude::*;

use super::settings::{Field, SETTINGS, Setup};
use super::text::Span;
use super::*;
use crate::faults::Episodes;
use crate::random::{Chance, Latency};
use crate::scene::{FOLLOWER, LEADER, META};

fn refused(text: &str) -> String {
    Scenario::parse(text).expect_err("it must be refused").to_string()
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_one() {
    assert_eq!(refused("nodes = 3\nnmae = \"x\"\n"), "line 2: unknown key `nmae`; did you mean `name`?");
    assert_eq!(refused("[network]\n\ndorp = \"3%\"\n"), "line 3: unknown key `dorp`; did you mean `drop`?");
    assert_eq!(
        refused("[faults]\ncrashes = { evrey = \"6s\", every = \"6s\" }\n"),
        "line 2: unknown key `evrey`; did you mean `every`?"
    );
    assert_eq!(refused("[faluts]\n"), "line 1: unknown key `faluts`; did you mean `faults`?");
    let entry = "[[at]]\ntime = \"2s\"\nfault = \"crash\"\nnodee = 1\nnode = 1\n";
    assert_eq!(refused(entry), "line 4: unknown key `nodee`; did you mean `node`?");
}

#[test]
fn a_wrong_value_is_named_with_what_was_expected() {
    assert_eq!(refused("[network]\ndrop = 3\n"), "line 2: `drop` is 3, but must be a chance, as \"3%\" or \"0.5%\"");
    assert_eq!(refused("nodes = 12\n"), "line 1: `nodes` is 12, but must be a whole number from 1 to 9");
    assert!(refused("[faults]\ncrashes = \"often\"\n").contains("must be \"off\" or a rate, as { every = "));
    assert!(refused("base = \"some\"").ends_with("must be \"none\", \"swarm\" or \"all\""));
    assert!(refused("name = ").starts_with("line 1: "));
    assert!(refused("network = 3").ends_with("must be a table, [network]"));
}

#[test]
fn a_fault_says_what_it_needs_and_what_it_does_not_know() {
    let at = |more: &str| refused(&format!("[[at]]\ntime = \"2s\"\n{more}"));
    assert_eq!(at("fault = \"crahs\"\nnode = 1\n"), "line 3: unknown fault `crahs`; did you mean `crash`?");
    assert!(at("fault = \"crash\"\n").starts_with("line 3: `crash` needs `node = 1`"));
    assert_eq!(at("fault = \"heal\"\nnode = 1\n"), "line 3: `heal` has no `node`");
    assert_eq!(
        at("fault = \"restart\"\nnode = 1\nlasting = \"1s\"\n"),
        "line 3: `restart` has no `lasting`: it happens once"
    );
    assert_eq!(at("fault = \"crash\"\nnode = 7\n"), "line 1: there is no node 7: `nodes` is 3");
    assert_eq!(refused("[[at]]\nfault = \"heal\"\n"), "line 1: an entry of [[at]] needs `time`");
}

/// A person who has made three mistakes need not run three times.
#[test]
fn all_mistakes_are_told_at_once_from_the_top() {
    let lines = refused("nodes = 0\nbase = \"x\"\n[disk]\nsink = \"1ms\"\n");
    let numbers: Vec<&str> = lines.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(numbers, ["line 1", "line 2", "line 4"]);
}

#[test]
fn a_file_changes_what_its_base_says_and_nothing_else() {
    let text = "base = \"all\"\n[faults]\ncrashes = \"off\"\npauses = { every = \"2s\" }\n[workload]\nkeepers = 0\n";
    let setup = Scenario::parse(text).unwrap().setup(1);
    let mut expected = crate::FaultPlan::all();
    expected.crashes = Episodes::NONE;
    expected.pauses = Episodes::new(Duration::from_secs(2), Duration::ZERO, Duration::ZERO);
    assert_eq!(setup.faults, expected);
    assert_eq!(setup.workload.keepers, 0);
}

#[test]
fn roles_and_ends_are_scenes_and_the_rest_is_the_schedule() {
    let text = "[[at]]\ntime = \"1s\"\nfault = \"pause\"\nnode = \"leader\"\nlasting = \"2s\"\n\
                [[at]]\ntime = \"2s\"\nfault = \"one-way\"\nfrom = \"follower\"\nto = 2\n\
                [[at]]\ntime = \"3s\"\nfault = \"heal\"\n";
    let scenario = Scenario::parse(text).unwrap();
    let secs = Duration::from_secs;
    let pause = Scene { at: secs(1), fault: Fault::Pause(LEADER), lasting: Some(secs(2)) };
    let cut = Scene { at: secs(2), fault: Fault::OneWay { from: FOLLOWER, to: NodeId(2) }, lasting: None };
    assert_eq!(scenario.scenes, [pause, cut]);
    assert_eq!(scenario.schedule, [(secs(3), Fault::Heal)]);
}

fn times() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        (0..20_000_u64).prop_map(Duration::from_millis),
        any::<u32>().prop_map(|n| Duration::from_nanos(n.into()))
    ]
}

fn value(field: Field) -> BoxedStrategy<Value> {
    let span = (times(), times()).prop_map(|(least, spread)| Span { least, most: least + spread });
    match field {
        Field::Chance(_) => (0..=1_000_000_u32).prop_map(|ppm| Value::Chance(Chance(ppm))).boxed(),
        Field::Latency(_) => (times(), times(), 0..=1_000_000_u32, times())
            .prop_map(|(least, spread, ppm, spike)| {
                Value::Latency(Latency { least, spread, spike_chance: Chance(ppm), spike })
            })
            .boxed(),
        Field::Time(_) => times().prop_map(Value::Time).boxed(),
        Field::Times(_) => span.prop_map(Value::Times).boxed(),
        Field::Count(_) | Field::Number(_) => (1..=10_u64).prop_map(Value::Number).boxed(),
        Field::Percent(_) | Field::Ppm(_) => (0..=100_u32).prop_map(Value::Parts).boxed(),
        Field::Rate(_) => (0..9_000_u64, span)
            .prop_map(|(every, span)| {
                Value::Rate(match every {
                    0 => Episodes::NONE,
                    _ => Episodes::new(Duration::from_millis(every), span.least, span.most),
                })
            })
            .boxed(),
    }
}

fn node() -> impl Strategy<Value = NodeId> {
    let joined = (1000..u64::MAX - 2).prop_map(NodeId);
    prop_oneof![(1..=3_u64).prop_map(NodeId), Just(LEADER), Just(FOLLOWER), Just(META), joined]
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let place = 0..stage::FAULTS.len();
    (place, node(), node(), prop::collection::vec(node(), 1..3), times()).prop_map(|(place, one, two, island, by)| {
        let (node, to) = (Some(one), Some(two));
        let (name, back) = (stage::FAULTS[place], Some(by));
        let mut props = stage::Props { node, island: Some(island), from: node, to, ..stage::Props::default() };
        let (ppm, seed) = (i32::try_from(by.subsec_nanos()).ok().map(|ppm| ppm - 500), Some(by.subsec_nanos()));
        props = stage::Props { by: back.filter(|_| two != LEADER), back, ppm, seed, ..props };
        props.by = props.by.or_else(|| back.filter(|_| name.starts_with("slow")));
        stage::fault(name, &mut props).expect("it has all that any fault needs")
    })
}

fn setups() -> impl Strategy<Value = Setup> {
    let values: Vec<_> = SETTINGS.iter().map(|setting| prop::option::of(value(setting.field))).collect();
    let faults = prop::collection::vec((times(), any_fault(), prop::option::of(times())), 0..6);
    let triggers = prop::collection::vec((prop::sample::select(Trigger::all()), 0..=1_000_000_u32), 0..4);
    (values, faults, triggers).prop_map(|(values, faults, triggers)| {
        let mut setup = Setup {
            faults: crate::FaultPlan::none(),
            workload: WorkloadOptions::default(),
            tables: crate::options::Tables::NONE,
        };
        setup.faults.triggers =
            triggers.into_iter().map(|(trigger, ppm)| Trigger { chance: Chance(ppm), ..trigger }).collect();
        for (setting, value) in SETTINGS.iter().zip(values) {
            if let Some(value) = value {
                setting.set(&mut setup, value);
            }
        }
        for (at, fault, lasting) in faults {
            let lasting = lasting.filter(|_| fault.end().is_some());
            let scene = Scene { at, fault, lasting };
            if scene.lasting.is_some() || scene.has_roles() {
                setup.faults.scenes.push(scene);
            } else {
                setup.faults.schedule.push((at, scene.fault));
            }
        }
        setup
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_plan_written_as_a_file_is_read_back_as_that_plan(setup in setups(), seed in any::<u64>()) {
        let scenario = Scenario::of(&setup.faults, &setup.workload, &setup.tables);
        let text = scenario.to_toml();
        let read = Scenario::parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(read.setup(seed), setup);
        prop_assert_eq!(read, scenario);
    }

    #[test]
    fn names_and_stories_are_kept_to_the_letter(name in "\\PC*", description in "[ -~\\n\"'\\\\]*", from in 0..1000_u64) {
        let seeds = from..from + 1 + from % 3;
        let scenario = Scenario { name, description, seeds, base: Base::Swarm, ..Scenario::default() };
        prop_assert_eq!(Scenario::parse(&scenario.to_toml()), Ok(scenario));
    }
}
