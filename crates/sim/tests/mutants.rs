//! Every mistake that a node or its host can be asked to make is noticed in one of the runs of the CI set. The tests print by
//! which check and at which seed; `docs/mutants.md` has the table.
#![cfg(debug_assertions)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use althing_probe::Mutant;
use althing_sim::scenario::{Scenario, library};
use althing_sim::{Options, ci, run};

const HOST: &[Mutant] = &[
    Mutant::AcknowledgeBeforeSync,
    Mutant::ReportCheckpointEarly,
    Mutant::SkipHardStates,
    Mutant::SerializableReads,
    Mutant::RepeatWrites,
    Mutant::SkipEntries,
    Mutant::LoseWatchEvents,
    Mutant::RushClocks,
];

const CONSENSUS: &[Mutant] = &[
    Mutant::PromiseBeforeDurable,
    Mutant::MisplacedAppends,
    Mutant::VoteForShortLogs,
    Mutant::ReadWithoutQuorum,
    Mutant::CommitEarlierTerm,
    Mutant::LearnerVotes,
];

const NODE: &[Mutant] = &[
    Mutant::ForgetCommit,
    Mutant::ForgetVoteAtRestart,
    Mutant::ApplyUncommitted,
    Mutant::EarlyMembership,
    Mutant::ReadBeforeApply,
    Mutant::ResendOnSilence,
    Mutant::TruncateApplied,
    Mutant::SnapshotWithoutEnd,
    Mutant::FollowerEndsLeases,
    Mutant::LeakStreams,
    Mutant::LeakProposals,
];

const TABLE: &[Mutant] = &[
    Mutant::ApplyTwice,
    Mutant::ForgetLeases,
    Mutant::SnapshotWithoutLeases,
    Mutant::CompareAfterPut,
    Mutant::DeleteKeepsRevision,
    Mutant::WrongPrevious,
    Mutant::RenewWithoutRestoring,
    Mutant::ShortTakeover,
    Mutant::IgnoreRenewals,
    Mutant::IgnoreComparisons,
    Mutant::ReadPagesNow,
    Mutant::ForgetVersionsBefore,
    Mutant::CompactTooMuch,
];

const WATCHES: &[Mutant] = &[
    Mutant::CompactPastWatch,
    Mutant::LoseHandover,
    Mutant::ProgressWhileBehind,
    Mutant::DropWhenFull,
    Mutant::SilentSnapshot,
];

const LOG: &[Mutant] =
    &[Mutant::IgnoreChecksums, Mutant::RecycleNeeded, Mutant::ClaimDurable, Mutant::RetrySync, Mutant::ForgetCarry];

const CONTROL: &[Mutant] = &[
    Mutant::LeaveAtOnce,
    Mutant::FoundAgain,
    Mutant::RemoveFirst,
    Mutant::ResendRoutedWrites,
    Mutant::RouteAstray,
    Mutant::ConformToOldMap,
];

/// One that shows in few runs, and where.
const NODE_RARE: (&[Mutant], Range<u64>) = (&[Mutant::BelieveLateRefusal], 305..306);

/// One that needs a longer run.
const CONTROL_LONG: &[Mutant] = &[Mutant::ReconcileBlindly];

/// One that shows in few of them: it needs a replica to leave its node and to come back at a bad moment.
const CONTROL_RARE: &[Mutant] = &[Mutant::ForgetPromise];

const SPLITS: &[Mutant] = &[
    Mutant::GiveUpInSilence,
    Mutant::ActivateShort,
    Mutant::HandOverEarly,
    Mutant::ServeSealed,
    Mutant::ReturnByOldMap,
];

/// Mistakes with convergent shards, by the scenario in which they are looked for.
const CONVERGENT: [(&str, &[Mutant]); 6] = [
    ("partitioned-carts", &[Mutant::ForgetContext, Mutant::ExecuteTwice, Mutant::ReadFirstAnswer, Mutant::DropRetries]),
    ("clocks-an-hour-apart", &[Mutant::LatestWins]),
    ("convergent-churn", &[Mutant::ReuseActor, Mutant::AttestFirst]),
    ("torn-deltas", &[Mutant::AcknowledgeAlone, Mutant::TellBeforeDurable, Mutant::ReuseActor]),
    ("wiped-and-restored", &[Mutant::BelieveAnyDirectory]),
    // An acceptor that forgets in a crash what it has promised, one that does not keep to it, one that hides what it has accepted, and a
    // proposer that does a thing twice.
    (
        "decided-strings",
        &[
            Mutant::TellBeforeDurable,
            Mutant::PaxosAcceptBelowPromise,
            Mutant::PaxosHideAccepted,
            Mutant::PaxosRetrySuperseded,
        ],
    ),
];

/// Those that the simulation of a core by itself notices: `crates/paxos/tests/simulation.rs`.
const ELSEWHERE: &[Mutant] =
    &[Mutant::PaxosSendBeforeDurable, Mutant::PaxosForgetFloor, Mutant::PaxosEraseWithQuorum, Mutant::PaxosKeepSeat];

/// Runs each with the seeds of the CI set until one notices, and fails if none does.
fn assert_all_noticed(mutants: &[Mutant]) {
    // Another test holds those of them that are clean to that (`tests/meta.rs`).
    let is_clean = |seed| ci::SEEDS.contains(&seed) || run(ci::options(seed)).findings.is_empty();
    assert_noticed(mutants, ci::MUTANT_SEEDS, ci::options, is_clean);
}

fn assert_noticed(
    mutants: &[Mutant],
    seeds: Range<u64>,
    options: impl Fn(u64) -> Options,
    is_clean: impl Fn(u64) -> bool,
) {
    let mut survivors = Vec::new();
    let mut clean: BTreeMap<u64, bool> = BTreeMap::new();
    for mutant in mutants {
        let found = seeds.clone().find_map(|seed| {
            let report = run(Options { mutant: Some(*mutant), ..options(seed) });
            let finding = report.findings.first()?.to_string();
            // What is found without the mistake as well says nothing of it.
            clean.entry(seed).or_insert_with(|| is_clean(seed)).then_some((seed, finding))
        });
        match found {
            Some((seed, finding)) => println!("{:24} seed {seed:>3}  {finding:.160}", mutant.name()),
            None => survivors.push(mutant.name()),
        }
    }
    assert!(survivors.is_empty(), "nobody notices {survivors:?} within the seeds {seeds:?}");
}

/// The same with other runs than those of the CI set.
fn assert_noticed_in(mutants: &[Mutant], seeds: Range<u64>, options: impl Fn(u64) -> Options) {
    assert_noticed(mutants, seeds, &options, |seed| run(options(seed)).findings.is_empty());
}

#[test]
fn mistakes_of_the_host_are_noticed() {
    assert_all_noticed(HOST);
}

#[test]
fn mistakes_of_consensus_are_noticed() {
    assert_all_noticed(CONSENSUS);
}

#[test]
fn mistakes_of_the_node_are_noticed() {
    assert_all_noticed(NODE);
    assert_noticed_in(NODE_RARE.0, NODE_RARE.1, ci::options);
}

#[test]
fn mistakes_of_the_table_and_its_leases_are_noticed() {
    assert_all_noticed(TABLE);
}

#[test]
fn mistakes_of_watches_are_noticed() {
    assert_all_noticed(WATCHES);
}

#[test]
fn mistakes_of_the_log_are_noticed() {
    assert_all_noticed(LOG);
}

#[test]
fn mistakes_of_the_control_plane_are_noticed() {
    assert_noticed_in(CONTROL, ci::TABLE_MUTANT_SEEDS, ci::table_options);
}

#[test]
fn mistakes_of_the_control_plane_that_need_long_runs_are_noticed() {
    assert_noticed_in(CONTROL_LONG, ci::TABLE_MUTANT_SEEDS, Options::with_tables);
}

#[test]
#[ignore = "takes minutes"]
fn rare_mistakes_of_the_control_plane_are_noticed() {
    assert_noticed_in(CONTROL_RARE, ci::LONG_TABLE_MUTANT_SEEDS, Options::with_tables);
}

#[test]
fn mistakes_of_splits_are_noticed() {
    let text = library::find("splits-under-load").expect("it is in the library");
    let scenario = Scenario::parse(text).expect("it can be read");
    assert_noticed_in(SPLITS, ci::SPLIT_MUTANT_SEEDS, |seed| scenario.options(seed, None));
}

#[test]
fn mistakes_of_convergent_tables_are_noticed() {
    for (name, mutants) in CONVERGENT {
        let text = library::find(name).expect("it is in the library");
        let scenario = Scenario::parse(text).expect("it can be read");
        assert_noticed_in(mutants, ci::CONVERGENT_MUTANT_SEEDS, |seed| scenario.options(seed, None));
    }
}

#[test]
fn no_mutant_is_without_a_test() {
    let tested: BTreeSet<_> = [
        HOST,
        CONSENSUS,
        NODE,
        NODE_RARE.0,
        TABLE,
        WATCHES,
        LOG,
        CONTROL,
        CONTROL_LONG,
        CONTROL_RARE,
        SPLITS,
        &CONVERGENT.map(|(_, mutants)| mutants).concat(),
        ELSEWHERE,
    ]
    .concat()
    .into_iter()
    .collect();
    let missing: Vec<_> = Mutant::ALL.iter().filter(|mutant| !tested.contains(mutant)).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}
