//! An open loop: requests at a rate, whether those before are answered or not.

#![allow(clippy::disallowed_methods, reason = "a load generator measures real time")]

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::run::{Phase, Shared, persist};
use crate::wire::Connection;
use crate::workload::Client;

/// Requests that may wait for an answer; what is due beyond that is counted and not sent, so that the generator's own memory
/// stays bounded however much the server is asked.
pub const MAX_OUTSTANDING: u64 = 50_000;
/// How often requests are sent that have become due.
const STEP: Duration = Duration::from_millis(1);

/// Sends requests at a rate until the run is over, dealt to all connections in turn.
pub(crate) async fn offer(
    rate: u64,
    options: Options,
    connections: Vec<Connection>,
    shared: Rc<Shared>,
    started: Instant,
) {
    let options = Rc::new(options);
    let mut source = Client::new(&options, connections[0].clone(), 0);
    let outstanding = Rc::new(Cell::new(0_u64));
    let begin = Instant::now();
    let mut sent = 0;
    while shared.phase.get() != Phase::Over {
        let due = (begin.elapsed().as_secs_f64() * rate as f64) as u64;
        for number in sent..due {
            let measured = shared.phase.get() == Phase::Measure;
            shared.tally.borrow_mut().offered += u64::from(measured);
            if outstanding.get() >= MAX_OUTSTANDING {
                shared.tally.borrow_mut().unsent += u64::from(measured);
                continue;
            }
            outstanding.set(outstanding.get() + 1);
            let was_due = begin + Duration::from_secs_f64(number as f64 / rate as f64);
            let mut client = source.fork(connections[number as usize % connections.len()].clone());
            let (options, shared, outstanding) = (options.clone(), shared.clone(), outstanding.clone());
            tokio::task::spawn_local(async move {
                let result = persist(&mut client, &options, &shared, started).await;
                outstanding.set(outstanding.get() - 1);
                if shared.phase.get() == Phase::Measure {
                    shared.tally.borrow_mut().count(was_due.elapsed().as_micros() as u64, &result);
                }
            });
        }
        sent = due;
        tokio::time::sleep(STEP).await;
    }
}
