//! Runs of many seeds side by side. One run stays on one thread; its outcome does not depend on what else runs.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};

use althing_types::Duration;

/// How often somebody may want to look at how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Does `work` for every seed on so many threads and hands the results to `each` in the order of the seeds, until it
/// breaks off or `look`, which is asked now and then, does.
pub fn run<T: Send>(
    seeds: Range<u64>,
    jobs: usize,
    work: impl Fn(u64) -> T + Sync,
    mut each: impl FnMut(T) -> ControlFlow<()>,
    mut look: impl FnMut() -> ControlFlow<()>,
) {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let (results, inbox) = channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (results, next, stop, work) = (results.clone(), &next, &stop, &work);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    // The other end hangs up when it has seen enough.
                    if seed >= seeds.end || results.send((seed, work(seed))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(results);
        let (mut early, mut turn) = (BTreeMap::new(), seeds.start);
        loop {
            match inbox.recv_timeout(LOOK_EVERY) {
                Ok((seed, result)) => {
                    early.insert(seed, result);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let mut flow = ControlFlow::Continue(());
            while let Some(result) = early.remove(&turn).filter(|_| flow.is_continue()) {
                turn += 1;
                flow = each(result);
            }
            if flow.is_break() || look().is_break() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(jobs: usize, last: u64) -> Vec<u64> {
        let mut seen = Vec::new();
        let each = |seed: u64| {
            seen.push(seed);
            if seed == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        run(3..40, jobs, |seed| seed, each, || ControlFlow::Continue(()));
        seen
    }

    #[test]
    fn results_come_in_the_order_of_the_seeds_however_many_work() {
        for jobs in [1, 2, 7] {
            assert_eq!(seen(jobs, u64::MAX), (3..40).collect::<Vec<_>>());
        }
    }

    #[test]
    fn whoever_has_seen_enough_sees_no_more() {
        assert_eq!(seen(4, 9), (3..=9).collect::<Vec<_>>());
    }
}
