//! Rate, errors and duration of every RPC, under the names that dashboards for etcd know (`grpc_server_…`).
//!
//! Labels are service, method and code, so the number of series is bounded by the table of RPCs. The handles of the
//! common case (started, handled with OK, its duration) are looked up once per process, not per request.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tonic::Code;

use crate::rpc::RPCS;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Method {
    grpc_service: &'static str,
    grpc_method: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Handled {
    grpc_service: &'static str,
    grpc_method: &'static str,
    grpc_code: &'static str,
}

/// Counts RPCs. Clones count into the same series.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Series>);

#[derive(Debug)]
struct Series {
    started: Family<Method, Counter>,
    handled: Family<Handled, Counter>,
    seconds: Family<Method, Histogram, fn() -> Histogram>,
    watch_streams: Gauge,
    hot: Vec<Hot>,
}

/// The series of one RPC's common case.
#[derive(Debug)]
struct Hot {
    started: Counter,
    succeeded: Counter,
    seconds: Histogram,
}

/// From 100 µs to 6.5 s, each bucket twice the one before.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 17))
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let started = Family::<Method, Counter>::default();
        let handled = Family::<Handled, Counter>::default();
        let seconds = Family::<Method, Histogram, fn() -> Histogram>::new_with_constructor(latency);
        let hot = (0..RPCS.len())
            .map(|rpc| Hot {
                started: started.get_or_create_owned(&method(rpc)),
                succeeded: handled.get_or_create_owned(&outcome(rpc, Code::Ok)),
                seconds: seconds.get_or_create_owned(&method(rpc)),
            })
            .collect();
        Self(Arc::new(Series { started, handled, seconds, watch_streams: Gauge::default(), hot }))
    }

    /// Makes the series part of a registry, so that they are in what `/metrics` shows.
    pub fn register(&self, registry: &mut Registry) {
        let series = &self.0;
        registry.register("grpc_server_started", "RPCs begun on the etcd gateway", series.started.clone());
        registry.register("grpc_server_handled", "RPCs ended on the etcd gateway, by code", series.handled.clone());
        registry.register("grpc_server_handling_seconds", "How long RPCs took", series.seconds.clone());
        registry.register(
            "althing_etcd_watch_streams",
            "Watch streams that are open on the etcd gateway",
            series.watch_streams.clone(),
        );
    }

    pub(crate) fn started(&self, rpc: usize) {
        self.0.hot[rpc].started.inc();
    }

    pub(crate) fn handled(&self, rpc: usize, code: Code, took: Duration) {
        let hot = &self.0.hot[rpc];
        hot.seconds.observe(took.as_secs_f64());
        match code {
            Code::Ok => hot.succeeded.inc(),
            failed => self.0.handled.get_or_create(&outcome(rpc, failed)).inc(),
        };
    }

    pub(crate) fn watch_stream(&self) -> OpenStream {
        self.0.watch_streams.inc();
        OpenStream(self.0.watch_streams.clone())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts as one open stream until dropped.
#[derive(Debug)]
pub(crate) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn method(rpc: usize) -> Method {
    Method { grpc_service: RPCS[rpc].service_name(), grpc_method: RPCS[rpc].method_name() }
}

fn outcome(rpc: usize, code: Code) -> Handled {
    let Method { grpc_service, grpc_method } = method(rpc);
    Handled { grpc_service, grpc_method, grpc_code: code_name(code) }
}

/// The name of a code as gRPC libraries print it.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rpc_is_counted_under_its_service_method_and_code() {
        let metrics = Metrics::new();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.started(0);
        metrics.handled(0, Code::Ok, Duration::from_millis(1));
        metrics.handled(0, Code::OutOfRange, Duration::from_millis(1));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let labels = "grpc_service=\"etcdserverpb.KV\",grpc_method=\"Range\"";
        assert!(text.contains(&format!("grpc_server_started_total{{{labels}}} 1")), "{text}");
        assert!(text.contains(&format!("grpc_server_handled_total{{{labels},grpc_code=\"OutOfRange\"}} 1")), "{text}");
        assert!(text.contains(&format!("grpc_server_handling_seconds_count{{{labels}}} 2")), "{text}");
    }

    #[test]
    fn a_watch_stream_counts_as_open_until_it_is_dropped() {
        let metrics = Metrics::new();
        let stream = metrics.watch_stream();
        assert_eq!(metrics.0.watch_streams.get(), 1);
        drop(stream);
        assert_eq!(metrics.0.watch_streams.get(), 0);
    }
}
