//! One run from its seed to what the judges are given.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as Moment};

use althing_sim::checker::Outcome;
use althing_sim::history::LeaseStep;
use althing_sim::random::stream;
use tokio::task::JoinHandle;

use crate::archive::{self, Archive};
use crate::bank::{self, BankOutcome};
use crate::evidence::Evidence;
use crate::nemesis::{Harms, Nemesis};
use crate::recorder::Recorder;
use crate::wire::Session;
use crate::{finish, leases, registers, watches};

/// Clients of each kind. More than 10 on registers could not be judged in time.
const REGISTER_CLIENTS: usize = 8;
const BANK_CLIENTS: usize = 2;
const LEASE_CLIENTS: usize = 6;
const WATCH_CLIENTS: usize = 3;
/// After the load has ended its clients get this long for what they have under way. What is not answered then stays unknown.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Whether there are faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weather {
    Calm,
    Faults,
}

/// Whether the history is compacted now and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retention {
    Everything,
    Compacted,
}

/// One run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    pub seed: u64,
    pub load: Duration,
    pub weather: Weather,
    pub retention: Retention,
}

impl Plan {
    /// Every other seed compacts.
    pub fn with_faults(seed: u64, seconds: u64) -> Self {
        let retention = if seed.is_multiple_of(2) { Retention::Everything } else { Retention::Compacted };
        Self { seed, load: Duration::from_secs(seconds), weather: Weather::Faults, retention }
    }

    /// A short run in which nothing goes wrong, and nothing is compacted.
    pub fn calm(seed: u64, load: Duration) -> Self {
        Self { seed, load, weather: Weather::Calm, retention: Retention::Everything }
    }
}

/// What happened, in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub seed: u64,
    pub load: Duration,
    pub operations: usize,
    pub refused: usize,
    pub unknown: usize,
    pub transfers: usize,
    pub bank_unknown: usize,
    pub bank_calls: usize,
    pub leases: usize,
    pub renewals: usize,
    pub leases_ended: usize,
    pub watches: usize,
    pub watch_events: u64,
    pub watch_streams: u64,
    pub compactions: u64,
    pub revisions: i64,
    pub harms: Harms,
    pub first_write: Duration,
    pub disk_mib: Option<u64>,
    pub errors: String,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: usize, whole: usize| part as f64 * 100.0 / whole.max(1) as f64;
        write!(f, "seed {}, {:?} of load: {}; ", self.seed, self.load, self.harms)?;
        write!(
            f,
            "{} operations on registers ({} refused, {} unknown: {:.1} %), ",
            self.operations,
            self.refused,
            self.unknown,
            share(self.unknown, self.operations)
        )?;
        write!(
            f,
            "{} calls to the bank ({} transfers, {:.1} % unknown), {} leases ({} renewals, {} seen to end), ",
            self.bank_calls,
            self.transfers,
            share(self.bank_unknown, self.bank_calls),
            self.leases,
            self.renewals,
            self.leases_ended
        )?;
        write!(
            f,
            "{} watches over {} streams ({} events), {} compactions, {} revisions; the first write {:?} after the mending",
            self.watches, self.watch_streams, self.watch_events, self.compactions, self.revisions, self.first_write
        )?;
        match self.disk_mib {
            Some(mib) => write!(f, ", {mib} MiB on the disks; errors: {}", self.errors),
            None => write!(f, ", full disks skipped; errors: {}", self.errors),
        }
    }
}

impl Counts {
    /// A run in which nothing happened proves nothing, and one in which most answers are unknown not much.
    pub fn assert_that_something_happened(&self) {
        assert!(self.operations > 100 && self.transfers > 5 && self.leases > 2 && self.watch_events > 100, "no load");
        assert!(self.unknown * 4 < self.operations, "too much is unknown");
        let Harms { kills, stops, terminations, full_disks, .. } = self.harms;
        assert!(kills + stops + terminations + full_disks > 0, "there were faults");
    }
}

/// Runs it; returns the evidence, what was found while running, and the figures.
pub async fn run(plan: &Plan) -> (Evidence, Vec<String>, Counts) {
    let mut nemesis = Nemesis::begin(stream(plan.seed, "faults")).await;
    let endpoints: Arc<[String]> = nemesis.cluster.endpoints().into();
    let session = |name: String| Session::new(Arc::clone(&endpoints), stream(plan.seed, &name));
    bank::open(&mut session("bank opens".into())).await.expect("nothing is broken yet");
    let recorder = Arc::new(Recorder::new());
    let workers = spawn_workers(&recorder, session);
    let watchers: Vec<_> = (0..WATCH_CLIENTS)
        .map(|number| tokio::spawn(watches::work(Arc::clone(&recorder), session(format!("watch {number}")))))
        .collect();
    let keeper = match plan.retention {
        Retention::Everything => None,
        Retention::Compacted => Some(tokio::spawn(archive::keep(Arc::clone(&recorder), session("keeper".into())))),
    };

    let end = Moment::now() + plan.load;
    match plan.weather {
        Weather::Calm => tokio::time::sleep(plan.load).await,
        Weather::Faults => nemesis.rage(end).await,
    }
    nemesis.mend();
    nemesis.settle().await;
    let mut findings = Vec::new();
    let first_write = finish::writes_again(&endpoints).await.map_err(|finding| findings.push(finding));
    recorder.unload();
    end_of(workers).await;
    let mut archive = match keeper {
        Some(keeper) => keeper.await.expect("the keeper does not panic"),
        None => Archive::new(),
    };
    audit(&endpoints, &recorder, session("audit".into()), &mut archive, watchers, &mut findings).await;
    findings.append(&mut nemesis.findings);

    let evidence =
        Evidence { history: recorder.history().clone(), bank: recorder.bank().clone(), truth: archive.truth() };
    let mut counts = count(&evidence, &recorder);
    counts.seed = plan.seed;
    counts.load = plan.load;
    counts.harms = nemesis.harms;
    counts.disk_mib = nemesis.disk_mib();
    counts.first_write = first_write.unwrap_or_default();
    (evidence, findings, counts)
}

fn spawn_workers(recorder: &Arc<Recorder>, session: impl Fn(String) -> Session) -> Vec<JoinHandle<()>> {
    let mut workers = Vec::new();
    for number in 0..REGISTER_CLIENTS {
        workers.push(tokio::spawn(registers::work(Arc::clone(recorder), session(format!("register {number}")))));
    }
    for number in 0..BANK_CLIENTS {
        workers.push(tokio::spawn(bank::work(Arc::clone(recorder), session(format!("bank {number}")))));
    }
    for number in 0..LEASE_CLIENTS {
        workers.push(tokio::spawn(leases::work(Arc::clone(recorder), session(format!("lease {number}")))));
    }
    workers
}

/// Waits for the last answers, then no longer. A client that has panicked fails the test.
async fn end_of(workers: Vec<JoinHandle<()>>) {
    let deadline = tokio::time::Instant::now() + LAST_ANSWERS_WITHIN;
    for mut worker in workers {
        match tokio::time::timeout_at(deadline, &mut worker).await {
            Ok(ended) => ended.expect("a client does not panic"),
            Err(_) => worker.abort(),
        }
    }
}

/// Reads everything once more, compares the replicas, and lets the watches see the rest.
async fn audit(
    endpoints: &[String],
    recorder: &Recorder,
    mut session: Session,
    archive: &mut Archive,
    watchers: Vec<JoinHandle<Result<(), String>>>,
    findings: &mut Vec<String>,
) {
    if let Err(status) = registers::read_all(recorder, &mut session).await {
        findings.push(format!("Progress: not all registers can be read once all is mended: {status}"));
    }
    let revision = match finish::common_revision(endpoints).await {
        Ok(revision) => revision,
        Err(status) => {
            findings.push(format!("Progress: not all nodes answer reads once all is mended: {status}"));
            archive.compacted()
        }
    };
    recorder.set_goal(revision);
    findings.extend(finish::compare(endpoints, archive, revision).await.err());
    findings.extend(finish::become_equal(endpoints).await.err());
    for watcher in watchers {
        let reached = watcher.await.expect("a client does not panic");
        findings.extend(reached.err().map(|late| format!("Watches: {late}")));
    }
}

fn count(evidence: &Evidence, recorder: &Recorder) -> Counts {
    let Evidence { history, bank, truth } = evidence;
    let operations = |wanted: fn(&Outcome) -> bool| history.operations.iter().filter(|o| wanted(&o.outcome)).count();
    let calls = |wanted: fn(&BankOutcome) -> bool| bank.iter().filter(|record| wanted(&record.outcome)).count();
    let steps = |wanted: fn(&LeaseStep) -> bool| {
        history.leases.iter().flat_map(|lease| &lease.steps).filter(|step| wanted(step)).count()
    };
    Counts {
        operations: history.operations.len(),
        refused: operations(|outcome| *outcome == Outcome::Refused),
        unknown: operations(|outcome| *outcome == Outcome::Unknown),
        transfers: calls(|outcome| matches!(outcome, BankOutcome::Moved { .. })),
        bank_unknown: calls(|outcome| *outcome == BankOutcome::Unknown),
        bank_calls: bank.len(),
        leases: history.leases.len(),
        renewals: steps(|step| matches!(step, LeaseStep::Alive { .. })) - history.leases.len(),
        leases_ended: steps(|step| matches!(step, LeaseStep::KeyGone { .. })),
        watches: history.watches.len(),
        watch_events: recorder.watch_events.load(Ordering::Relaxed),
        watch_streams: recorder.watch_streams.load(Ordering::Relaxed),
        compactions: recorder.compactions.load(Ordering::Relaxed),
        revisions: truth.last().get(),
        errors: recorder.errors(),
        ..Counts::default()
    }
}
