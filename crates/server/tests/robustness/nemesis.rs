//! What is done to the processes, drawn from the seed: round after round of one or two faults, each held for a while and then
//! mended; after every other round, about, the next one does not wait until all is well again.

use std::fmt;
use std::time::{Duration, Instant as Moment};

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{self, Cluster};
use crate::disks::{Disks, Left, MAX_TOTAL_MIB, MIB};
use crate::finish;

/// Whom a fault hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whom {
    Node(usize),
    /// Who leads when it comes to it.
    Leader,
    All,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Harm {
    /// `kill -9`.
    Kill,
    /// SIGSTOP, usually for longer than an election takes.
    Stop,
    /// SIGTERM, and the node stops in good order.
    Terminate,
    /// The disk is full.
    Fill(Left),
    /// Not a byte is left on the disk, and the node is killed and tries to start.
    StartFull,
}

/// One fault and how long it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub whom: Whom,
    pub harm: Harm,
    pub hold: Duration,
}

impl Fault {
    pub fn draw(rng: &mut Rng) -> Self {
        let (harm, most_ms) = match rng.u32(0..100) {
            0..35 => (Harm::Kill, 800),
            35..65 => (Harm::Stop, 2000),
            65..75 => (Harm::Terminate, 300),
            75..86 => (Harm::Fill(Left::Little), 2000),
            86..94 => (Harm::Fill(Left::Nothing), 1200),
            _ => (Harm::StartFull, 600),
        };
        let whom = match rng.u32(0..100) {
            0..55 => Whom::Node(rng.usize(0..3)),
            55..85 => Whom::Leader,
            _ => Whom::All,
        };
        // Half of them are short: the next one then comes while everybody still is busy with this one.
        let most_ms = if rng.bool() { most_ms } else { most_ms / 4 };
        Self { whom, harm, hold: Duration::from_millis(rng.u64(0..most_ms)) }
    }
}

/// How often each thing was done to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Harms {
    pub kills: u64,
    pub stops: u64,
    pub terminations: u64,
    pub full_disks: u64,
    /// Nodes that ended by themselves because not a byte was left.
    pub ended_on_full_disks: u64,
}

impl fmt::Display for Harms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, stops, terminations, full_disks, ended_on_full_disks } = self;
        write!(
            f,
            "{kills} kills, {stops} stops, {terminations} terminations, {full_disks} full disks ({ended_on_full_disks} of \
             which ended their node)"
        )
    }
}

/// How a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Health {
    Well,
    /// It does not run.
    Down,
    /// It does not move.
    Stopped,
    /// Its disk is full.
    Full,
    /// Its disk was full a moment ago, and what had failed by then may still end it.
    Recovering,
}

/// After all is mended, every node answers a linearizable read within this time.
const SERVE_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Who does it.
pub struct Nemesis {
    pub cluster: Cluster,
    disks: Option<Disks>,
    health: [Health; 3],
    rng: Rng,
    pub harms: Harms,
    /// What should not have happened to a process.
    pub findings: Vec<String>,
}

impl Nemesis {
    /// With three nodes, each on a small disk of its own if the machine allows it.
    pub async fn begin(rng: Rng) -> Self {
        let mut cluster = Cluster::prepare(3);
        let mounts: Vec<_> = cluster.nodes.iter().map(|node| node.dir.clone()).collect();
        let disks = Disks::make(&mounts).map_err(|why| println!("full disks are skipped: {why}")).ok();
        if disks.is_some() {
            for node in &mut cluster.nodes {
                node.dir = node.dir.join("data");
            }
        }
        let health = [Health::Down; 3];
        let mut nemesis = Self { cluster, disks, health, rng, harms: Harms::default(), findings: Vec::new() };
        nemesis.mend();
        nemesis.settle().await;
        nemesis
    }

    /// What lies on the small disks, if there are any.
    pub fn disk_mib(&self) -> Option<u64> {
        self.disks.as_ref().map(|disks| disks.total_bytes() / MIB)
    }

    /// Faults until the time is over, or until something is found.
    pub async fn rage(&mut self, until: Moment) {
        while Moment::now() < until && self.findings.is_empty() {
            let first = Fault::draw(&mut self.rng);
            self.inflict(first).await;
            match self.rng.u32(0..6) {
                0 | 1 => {
                    let second = Fault::draw(&mut self.rng);
                    self.inflict(second).await;
                }
                // Once more to the same.
                2 => {
                    let second = Fault { whom: first.whom, ..Fault::draw(&mut self.rng) };
                    self.inflict(second).await;
                }
                _ => {}
            }
            let was_full = self.health.contains(&Health::Full);
            self.mend();
            assert!(self.disk_mib().is_none_or(|mib| mib < MAX_TOTAL_MIB), "more lies on the disks than may");
            if self.rng.bool() || was_full {
                self.settle().await;
            }
            if was_full {
                self.lower_alarms().await;
            }
            self.sleep(0..300).await;
        }
    }

    /// As an operator would, once there is space again: an alarm outlives the run of a node that raised it. Where nobody
    /// answers, the next round may do better.
    async fn lower_alarms(&self) {
        for node in &self.cluster.nodes {
            let lowered = tokio::time::timeout(Duration::from_secs(1), finish::lower_alarms(&node.client)).await;
            if matches!(lowered, Ok(Ok(()))) {
                return;
            }
        }
    }

    async fn inflict(&mut self, fault: Fault) {
        let nodes: Vec<_> = match fault.whom {
            Whom::Node(index) => vec![index],
            Whom::Leader => vec![self.leader().await],
            Whom::All => vec![0, 1, 2],
        };
        for index in nodes {
            self.harm(index, fault.harm);
        }
        tokio::time::sleep(fault.hold).await;
        self.look();
    }

    /// Two faults can meet: who is stopped can be killed, and who has a full disk can be killed and tries to start on it.
    fn harm(&mut self, index: usize, harm: Harm) {
        match (self.health[index], harm) {
            (Health::Well | Health::Recovering, harm) => self.harm_well(index, harm),
            (Health::Stopped, Harm::Kill) => {
                self.cluster.kill(index);
                self.harms.kills += 1;
                self.health[index] = Health::Down;
            }
            (Health::Full, Harm::Kill) => self.start_full(index),
            (Health::Down, _)
            | (Health::Stopped | Health::Full, Harm::Stop | Harm::Terminate | Harm::Fill(_) | Harm::StartFull) => {}
        }
    }

    fn start_full(&mut self, index: usize) {
        self.cluster.kill(index);
        self.harms.kills += 1;
        self.start(index);
    }

    fn harm_well(&mut self, index: usize, harm: Harm) {
        match (harm, &self.disks) {
            (Harm::Kill, _) => {
                self.cluster.kill(index);
                self.harms.kills += 1;
                self.health[index] = Health::Down;
            }
            (Harm::Stop, _) => {
                self.signal(index, Signal::STOP);
                self.harms.stops += 1;
                self.health[index] = Health::Stopped;
            }
            (Harm::Terminate, _) => {
                let code = self.cluster.stop(index);
                if code != Some(0) {
                    self.find(index, &format!("ended with {code:?} when it was asked to stop"));
                }
                self.harms.terminations += 1;
                self.health[index] = Health::Down;
            }
            (Harm::Fill(left), Some(_)) => self.fill(index, left),
            (Harm::StartFull, Some(_)) => {
                self.fill(index, Left::Nothing);
                self.start_full(index);
            }
            (Harm::Fill(_) | Harm::StartFull, None) => {}
        }
    }

    fn fill(&mut self, index: usize, left: Left) {
        let disks = self.disks.as_ref().expect("only a disk of its own is ever filled");
        match disks.fill(index, left) {
            Ok(()) => {
                self.harms.full_disks += 1;
                self.health[index] = Health::Full;
            }
            Err(why) => self.find(index, &format!("has a disk that cannot be filled: {why}")),
        }
    }

    /// Whose process has ended although nobody ended it: on a full disk it may, and elsewhere it may not.
    fn look(&mut self) {
        for index in 0..self.health.len() {
            if !self.cluster.has_ended(index) {
                continue;
            }
            match self.health[index] {
                Health::Down => {}
                Health::Full => self.harms.ended_on_full_disks += 1,
                Health::Recovering => {
                    self.harms.ended_on_full_disks += 1;
                    self.health[index] = Health::Well;
                }
                Health::Well | Health::Stopped => self.find(index, "ended by itself"),
            }
            self.cluster.kill(index);
            if self.health[index] == Health::Well {
                self.start(index);
            }
        }
    }

    /// Waits until every node serves.
    pub async fn settle(&mut self) {
        let deadline = Moment::now() + SERVE_WITHIN;
        for index in 0..self.health.len() {
            while !common::serves(&self.cluster.nodes[index].client).await {
                self.look();
                if Moment::now() > deadline {
                    return self.find(index, &format!("does not serve within {SERVE_WITHIN:?}"));
                }
                tokio::time::sleep(PAUSE).await;
            }
            self.health[index] = Health::Well;
        }
    }

    /// All disks are free again, all processes run and move.
    pub fn mend(&mut self) {
        self.look();
        for index in 0..self.health.len() {
            match std::mem::replace(&mut self.health[index], Health::Well) {
                Health::Well | Health::Down => {}
                Health::Recovering => self.health[index] = Health::Recovering,
                Health::Stopped => self.signal(index, Signal::CONT),
                Health::Full => {
                    let disks = self.disks.as_ref().expect("only a disk of its own is ever full");
                    self.health[index] = Health::Recovering;
                    if let Err(why) = disks.free(index) {
                        self.find(index, &format!("has a disk that cannot be freed: {why}"));
                    }
                }
            }
            if self.cluster.pid(index).is_none() {
                self.start(index);
            }
        }
    }

    fn start(&mut self, index: usize) {
        let command = self.cluster.command(index);
        let command = self.disks.as_ref().map_or_else(|| command, |disks| disks.inside(&self.cluster.command(index)));
        self.cluster.start_command(index, command);
    }

    fn signal(&self, index: usize, signal: Signal) {
        let pid = self.cluster.pid(index).and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("a node that is well has a process"), signal).expect("a child can be signalled");
    }

    fn find(&mut self, index: usize, what: &str) {
        let log = common::tail(&self.cluster.log_of(index));
        self.findings.push(format!("Process: {} {what}:\n{log}", self.cluster.nodes[index].name));
    }

    /// Who leads, as the nodes that are well see it; somebody, if nobody knows.
    async fn leader(&mut self) -> usize {
        for (index, node) in self.cluster.nodes.iter().enumerate() {
            if matches!(self.health[index], Health::Well | Health::Recovering)
                && let Some(status) = common::status(&node.client).await
                && status.header.as_ref().is_some_and(|header| header.member_id == status.leader)
            {
                return index;
            }
        }
        self.rng.usize(0..3)
    }

    async fn sleep(&mut self, milliseconds: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(milliseconds))).await;
    }
}

#[test]
fn a_seed_always_draws_the_same_faults() {
    let drawn = |seed| {
        let mut rng = Rng::with_seed(seed);
        (0..20).map(|_| Fault::draw(&mut rng)).collect::<Vec<_>>()
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
}
