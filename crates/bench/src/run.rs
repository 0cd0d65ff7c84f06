//! A run: connect, fill, warm up, measure.

#![allow(clippy::disallowed_methods, reason = "a load generator measures real time")]

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, LocalSet};
use tonic::{Code, Status};

use crate::options::{Options, Workload};
use crate::report::{Report, Tally};
use crate::wire::Connection;
use crate::workload::Client;
use crate::{open, watch};

/// Why a run could not be done.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// An endpoint is not one, or nobody listens there.
    #[error("cannot connect to {endpoint}: {source}")]
    Connect {
        /// Which.
        endpoint: String,
        /// Why.
        source: std::io::Error,
    },
    /// The keys to read could not be written first.
    #[error("cannot write the keys that are to be read: {0}")]
    Fill(Status),
    /// A watch could not be opened.
    #[error("cannot watch: {0}")]
    Watch(Status),
    /// The runtime could not be made.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// The pause before the first try that is made again, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often each key of a fill is tried again.
const FILL_RETRIES: u32 = 100;

/// What of a run is going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    WarmUp,
    Measure,
    Over,
}

/// What the clients of one run share.
pub(crate) struct Shared {
    pub phase: Cell<Phase>,
    pub tally: RefCell<Tally>,
    pub events: RefCell<watch::Events>,
}

/// Does a run, on this thread. It shows its progress on standard error unless told not to.
pub fn run(options: &Options) -> Result<Report, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, measure(options))
}

async fn measure(options: &Options) -> Result<Report, BenchError> {
    let connections = connect(options).await?;
    if options.workload != Workload::Put {
        fill(options, &connections).await?;
    }
    let shared = Rc::new(Shared {
        phase: Cell::new(Phase::WarmUp),
        tally: RefCell::new(Tally::default()),
        events: RefCell::new(watch::Events::default()),
    });
    let started = Instant::now();
    if options.workload == Workload::Watch {
        watch::start(options, &shared, started).await?;
    }
    let clients = match options.rate {
        Some(rate) => {
            vec![tokio::task::spawn_local(open::offer(rate, options.clone(), connections, shared.clone(), started))]
        }
        None => closed(options, &connections, &shared, started),
    };
    wait(options, "warming up", options.warm_up()).await;
    shared.phase.set(Phase::Measure);
    let (begin, cpu) = (Instant::now(), cpu_time());
    wait(options, "measuring", options.duration()).await;
    shared.phase.set(Phase::Over);
    let (seconds, cpu) = (begin.elapsed().as_secs_f64(), cpu_time().saturating_sub(cpu));
    for client in clients {
        // A client that hangs on its last request is not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(5), client).await;
    }
    let tally = shared.tally.take();
    let mut report = Report::new(options, seconds, cpu.as_secs_f64(), tally);
    if options.workload == Workload::Watch {
        shared.events.borrow().add_to(&mut report);
    }
    Ok(report)
}

/// Starts the clients of a closed loop.
fn closed(options: &Options, connections: &[Connection], shared: &Rc<Shared>, started: Instant) -> Vec<JoinHandle<()>> {
    let start = |number: u32| {
        let connection = connections[number as usize % connections.len()].clone();
        let client = Client::new(options, connection, u64::from(number));
        tokio::task::spawn_local(drive(client, options.clone(), shared.clone(), started))
    };
    (0..options.clients).map(start).collect()
}

/// Time of a core that this process has used.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

async fn connect(options: &Options) -> Result<Vec<Connection>, BenchError> {
    let mut connections = Vec::new();
    for number in 0..options.connections.min(options.clients) {
        let endpoint = options.endpoint(number as usize);
        let failed = |source| BenchError::Connect { endpoint: endpoint.to_owned(), source };
        connections.push(Connection::open(endpoint, options.table.as_ref()).await.map_err(failed)?);
    }
    Ok(connections)
}

/// Writes every key once, so that each read finds something. Many at once: a fill is not what is measured.
async fn fill(options: &Options, connections: &[Connection]) -> Result<(), BenchError> {
    let next = Rc::new(Cell::new(0));
    let fillers: Vec<_> = (0..options.clients.max(64))
        .map(|number| {
            let (options, next) = (options.clone(), next.clone());
            let connection = connections[number as usize % connections.len()].clone();
            tokio::task::spawn_local(async move {
                let mut client = Client::new(&options, connection, u64::from(number));
                let value = bytes::Bytes::from(vec![b'v'; options.value_bytes as usize]);
                while next.get() < options.keys {
                    let number = next.replace(next.get() + 1);
                    fill_one(&mut client, options.key(number).into(), &value).await?;
                    if number % 1_000 == 0 {
                        progress(&options, &format!("filling {number} of {} keys", options.keys));
                    }
                }
                Ok(())
            })
        })
        .collect();
    for filler in fillers {
        filler.await.unwrap_or(Ok(())).map_err(BenchError::Fill)?;
    }
    Ok(())
}

/// Writes a key, if need be more than once: a server that was asked too much a moment ago may still refuse.
async fn fill_one(client: &mut Client, key: bytes::Bytes, value: &bytes::Bytes) -> Result<(), Status> {
    for _ in 0..FILL_RETRIES {
        match client.put_value(key.clone(), value.clone()).await {
            Err(status) if is_worth_another(&status) => tokio::time::sleep(LONGEST_PAUSE / 10).await,
            result => return result,
        }
    }
    client.put_value(key, value.clone()).await
}

async fn drive(mut client: Client, options: Options, shared: Rc<Shared>, started: Instant) {
    while shared.phase.get() != Phase::Over {
        let begin = Instant::now();
        let result = persist(&mut client, &options, &shared, started).await;
        if shared.phase.get() == Phase::Measure {
            shared.tally.borrow_mut().count(begin.elapsed().as_micros() as u64, &result);
        }
        if result.is_err() {
            // A server that refuses at once should not be asked in a busy loop.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// One operation of the workload: tried again as often as is asked for, each time after a longer pause, of which chance takes up to a
/// half away.
pub(crate) async fn persist(
    client: &mut Client,
    options: &Options,
    shared: &Shared,
    started: Instant,
) -> Result<(), Status> {
    let mut pause = FIRST_PAUSE;
    for _ in 0..options.retries {
        match once(client, options, started).await {
            Err(status) if is_worth_another(&status) && shared.phase.get() != Phase::Over => {
                shared.tally.borrow_mut().retries += u64::from(shared.phase.get() == Phase::Measure);
            }
            result => return result,
        }
        tokio::time::sleep(pause.mul_f64(client.chance().mul_add(0.5, 0.5))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    once(client, options, started).await
}

/// Whether the server may do another time what it has not done now. All workloads may be done twice.
fn is_worth_another(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
}

/// One request of the workload.
async fn once(client: &mut Client, options: &Options, started: Instant) -> Result<(), Status> {
    match options.workload {
        Workload::Watch => watch::put(client, options, started).await,
        Workload::Put | Workload::Get | Workload::GetSerializable | Workload::Mixed | Workload::Txn => {
            client.step().await
        }
    }
}

async fn wait(options: &Options, what: &str, duration: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < duration {
        let left = duration.saturating_sub(begin.elapsed());
        progress(options, &format!("{what}, {} s left", left.as_secs() + 1));
        tokio::time::sleep(left.min(Duration::from_millis(500))).await;
    }
    progress(options, "");
}

fn progress(options: &Options, text: &str) {
    if !options.quiet {
        let mut stderr = std::io::stderr().lock();
        // A progress line that cannot be written is no reason to stop.
        let _ = write!(stderr, "\r\x1b[2K{text}");
        let _ = stderr.flush();
    }
}
