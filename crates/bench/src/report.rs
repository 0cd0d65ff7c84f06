//! What a run found.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;
use tonic::{Code, Status};

use crate::options::{Options, Workload};

/// Latencies in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Latency {
    /// Mean.
    pub mean_us: f64,
    /// Half are below.
    pub p50_us: u64,
    /// 90 % are below.
    pub p90_us: u64,
    /// 99 % are below.
    pub p99_us: u64,
    /// 99.9 % are below.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Latency {
    /// The figures of a histogram of microseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            mean_us: histogram.mean(),
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        }
    }
}

/// What a run found.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// What was done.
    pub workload: Workload,
    /// To whom.
    pub endpoints: Vec<String>,
    /// By how many clients.
    pub clients: u32,
    /// Over how many connections.
    pub connections: u32,
    /// Bytes of each value.
    pub value_bytes: u32,
    /// Seconds measured.
    pub seconds: f64,
    /// Seconds of a core that the generator itself used, per second.
    pub generator_cpu: f64,
    /// Operations answered well.
    pub operations: u64,
    /// Operations answered with an error.
    pub errors: u64,
    /// Those of them that the server refused because it was asked too much.
    pub refused: u64,
    /// Tries that were made again, if that was asked for.
    pub retries: u64,
    /// Operations that were due per second, in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered_per_second: Option<f64>,
    /// Operations that were due and not sent because too many waited for an answer, in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsent: Option<u64>,
    /// Operations answered well, per second.
    pub operations_per_second: f64,
    /// How long one took.
    pub latency: Latency,
    /// Events delivered per second, for the watch workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<f64>,
    /// How long an event took from the put's start to a watcher, for the watch workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_latency: Option<Latency>,
    /// The first error, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
}

/// What is counted while a run goes on.
#[derive(Debug)]
pub struct Tally {
    /// Latencies in microseconds.
    pub histogram: Histogram<u64>,
    /// Answered with an error.
    pub errors: u64,
    /// Refused because the server was asked too much.
    pub refused: u64,
    /// Tries made again.
    pub retries: u64,
    /// Due, in an open loop.
    pub offered: u64,
    /// Due and not sent, in an open loop.
    pub unsent: u64,
    /// The first error.
    pub first_error: Option<String>,
}

impl Tally {
    /// Counts an operation that took so many microseconds.
    pub fn count(&mut self, micros: u64, result: &Result<(), Status>) {
        match result {
            Ok(()) => self.histogram.saturating_record(micros),
            Err(status) => {
                self.errors += 1;
                self.refused += u64::from(status.code() == Code::ResourceExhausted);
                self.first_error.get_or_insert_with(|| format!("{:?}: {}", status.code(), status.message()));
            }
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self { histogram: histogram(), errors: 0, refused: 0, retries: 0, offered: 0, unsent: 0, first_error: None }
    }
}

/// A histogram of microseconds up to a minute with three digits.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    let mut histogram =
        Histogram::new_with_max(60_000_000, 3).expect("three digits up to a minute is a valid histogram");
    histogram.auto(true);
    histogram
}

impl Report {
    /// What was counted over `seconds`, of which the generator has used `cpu_seconds` of a core.
    #[must_use]
    pub fn new(options: &Options, seconds: f64, cpu_seconds: f64, tally: Tally) -> Self {
        let operations = tally.histogram.len();
        Self {
            workload: options.workload,
            endpoints: options.endpoints.clone(),
            clients: options.clients,
            connections: options.connections,
            value_bytes: options.value_bytes,
            seconds,
            generator_cpu: cpu_seconds / seconds,
            operations,
            errors: tally.errors,
            refused: tally.refused,
            retries: tally.retries,
            offered_per_second: options.rate.map(|_| tally.offered as f64 / seconds),
            unsent: options.rate.map(|_| tally.unsent),
            operations_per_second: operations as f64 / seconds,
            latency: Latency::of(&tally.histogram),
            events_per_second: None,
            event_latency: None,
            first_error: tally.first_error,
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| us as f64 / 1000.0;
        write!(
            f,
            "p50 {:.2} ms · p90 {:.2} ms · p99 {:.2} ms · p99.9 {:.2} ms · max {:.2} ms",
            ms(self.p50_us),
            ms(self.p90_us),
            ms(self.p99_us),
            ms(self.p999_us),
            ms(self.max_us)
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:?}: {:.0} operations/s ({} in {:.1} s, {} errors), {} clients on {} connections to {}",
            self.workload,
            self.operations_per_second,
            self.operations,
            self.seconds,
            self.errors,
            self.clients,
            self.connections,
            self.endpoints.join(",")
        )?;
        write!(f, "  {} · generator {:.2} cores", self.latency, self.generator_cpu)?;
        if self.retries > 0 {
            write!(f, "\n  {} tries made again", self.retries)?;
        }
        if let (Some(offered), Some(unsent)) = (self.offered_per_second, self.unsent) {
            write!(f, "\n  {offered:.0} offered/s; {} refused, {unsent} not sent", self.refused)?;
        }
        if let (Some(events), Some(latency)) = (self.events_per_second, self.event_latency) {
            write!(f, "\n  {events:.0} events/s; put to event {latency}")?;
        }
        if let Some(error) = &self.first_error {
            write!(f, "\n  first error: {error}")?;
        }
        Ok(())
    }
}
