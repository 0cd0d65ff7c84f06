//! What a gateway counts, and how it becomes the Prometheus text format.
//!
//! Commands are counted by the family that Redis's documentation puts them into and by what became of them, so the number of series
//! does not grow with what clients say. Hot paths touch plain atomic numbers and one histogram.

use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::command::Group;

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was answered, if only with nothing.
    Done,
    /// It was answered with an error.
    Failed,
}

/// The commands of one family.
#[derive(Debug)]
struct Family {
    done: AtomicU64,
    failed: AtomicU64,
    seconds: Histogram,
}

impl Default for Family {
    fn default() -> Self {
        // From 20 µs to 1.3 s.
        let seconds = Histogram::new(exponential_buckets(0.000_02, 2.0, 17));
        Self { done: AtomicU64::default(), failed: AtomicU64::default(), seconds }
    }
}

/// How many families there are: those of the table, and what is no command.
const FAMILIES: usize = Group::ALL.len() + 1;

/// What a gateway counts since it started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that were taken.
    pub connections: AtomicU64,
    /// Connections that are open.
    pub open: AtomicU64,
    /// Connections that were refused: too many, or no TLS where it is spoken.
    pub rejected: AtomicU64,
    /// Attempts to authenticate that were refused.
    pub strangers: AtomicU64,
    /// Bytes that came in.
    pub bytes_in: AtomicU64,
    /// Bytes that went out.
    pub bytes_out: AtomicU64,
    /// Messages that clients of this node published.
    pub published: AtomicU64,
    /// Messages that were put before clients of this node: one for each that listened.
    pub delivered: AtomicU64,
    /// Clients that were cut off because they did not take their messages.
    pub overflows: AtomicU64,
    families: [Family; FAMILIES],
}

/// A family's name: the last is that of what is no command.
fn name(at: usize) -> &'static str {
    Group::ALL.get(at).map_or("unknown", |group| group.name())
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, number: usize) {
        counter.fetch_add(number as u64, Ordering::Relaxed);
    }

    /// A command was answered, so long after it was read. `took` is `None` for one that waited for a key.
    pub(crate) fn command(&self, group: Option<Group>, outcome: Outcome, took: Option<Duration>) {
        let at = group.map_or(FAMILIES - 1, |group| group as usize);
        let Some(family) = self.families.get(at) else { return };
        Self::add(
            match outcome {
                Outcome::Done => &family.done,
                Outcome::Failed => &family.failed,
            },
            1,
        );
        if let Some(took) = took {
            family.seconds.observe(took.as_secs_f64());
        }
    }

    /// Commands that were answered.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.families.iter().map(|family| read(&family.done) + read(&family.failed)).sum()
    }

    /// Those of them that were answered with an error.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.families.iter().map(|family| read(&family.failed)).sum()
    }

    /// Makes the numbers part of a registry, so that they are in what `/metrics` shows.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register_collector(Box::new(Page(Arc::clone(self))));
    }
}

/// Encodes the numbers when somebody asks.
#[derive(Debug)]
struct Page(Arc<Counters>);

impl Page {
    /// The numbers that have no label, with their names.
    fn counters(&self) -> [(&'static str, &'static str, u64); 8] {
        let of = read;
        let counters = &self.0;
        [
            ("althing_redis_connections", "Connections of Redis's clients taken", of(&counters.connections)),
            ("althing_redis_connections_refused", "Connections of Redis's clients refused", of(&counters.rejected)),
            ("althing_redis_strangers", "Attempts to authenticate that were refused", of(&counters.strangers)),
            ("althing_redis_received_bytes", "Bytes of Redis's clients", of(&counters.bytes_in)),
            ("althing_redis_sent_bytes", "Bytes to Redis's clients", of(&counters.bytes_out)),
            ("althing_redis_messages_published", "Messages published here", of(&counters.published)),
            ("althing_redis_messages_delivered", "Messages put before clients here", of(&counters.delivered)),
            ("althing_redis_messages_overflows", "Clients that did not take their messages", of(&counters.overflows)),
        ]
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        for (name, help, value) in self.counters() {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let open = ConstGauge::new(i64::try_from(read(&self.0.open)).unwrap_or(i64::MAX));
        let help = "Connections of Redis's clients that are open";
        open.encode(encoder.encode_descriptor("althing_redis_connections_open", help, None, open.metric_type())?)?;
        let (kind, help) = (ConstCounter::new(0_u64).metric_type(), "Commands of Redis answered");
        let mut commands = encoder.encode_descriptor("althing_redis_commands", help, None, kind)?;
        for (at, family) in self.0.families.iter().enumerate() {
            for (outcome, counter) in [("done", &family.done), ("failed", &family.failed)] {
                let label = [("family", name(at)), ("outcome", outcome)];
                ConstCounter::new(read(counter)).encode(commands.encode_family(&label)?)?;
            }
        }
        let help = "How long commands of Redis took from their last byte to their answer";
        let kind = Family::default().seconds.metric_type();
        let mut seconds = encoder.encode_descriptor("althing_redis_command_seconds", help, None, kind)?;
        for (at, family) in self.0.families.iter().enumerate() {
            family.seconds.encode(seconds.encode_family(&[("family", name(at))])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_by_family_and_outcome() {
        let (counters, mut registry) = (Arc::<Counters>::default(), Registry::default());
        counters.register(&mut registry);
        counters.command(Some(Group::Hash), Outcome::Done, Some(Duration::from_micros(30)));
        counters.command(None, Outcome::Failed, None);
        Counters::add(&counters.bytes_in, 7);
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
        for line in [
            "althing_redis_commands_total{family=\"hash\",outcome=\"done\"} 1",
            "althing_redis_commands_total{family=\"unknown\",outcome=\"failed\"} 1",
            "althing_redis_command_seconds_count{family=\"hash\"} 1",
            "althing_redis_command_seconds_count{family=\"unknown\"} 0",
            "althing_redis_received_bytes_total 7",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in {page}");
        }
        assert_eq!((counters.commands(), counters.errors()), (2, 1));
    }

    #[test]
    fn every_family_has_a_place_of_its_own() {
        for (at, group) in Group::ALL.into_iter().enumerate() {
            assert_eq!(group as usize, at);
        }
    }
}
