//! Many watchers, and how long an event takes to reach them.
//!
//! Each value begins with the moment, in nanoseconds since the run's start, at which its put began; a watcher subtracts.

#![allow(clippy::disallowed_methods, reason = "a load generator measures real time")]

use std::rc::Rc;
use std::time::Instant;

use althing_etcd_proto::etcdserverpb as pb;
use bytes::Bytes;
use hdrhistogram::Histogram;
use pb::watch_client::WatchClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::options::Options;
use crate::report::{Latency, Report, histogram};
use crate::run::{BenchError, Phase, Shared};
use crate::wire::TABLE_HEADER;
use crate::workload::Client;

/// What the watchers have seen.
#[derive(Debug)]
pub struct Events {
    histogram: Histogram<u64>,
}

impl Default for Events {
    fn default() -> Self {
        Self { histogram: histogram() }
    }
}

impl Events {
    /// Adds what was seen to a report.
    pub fn add_to(&self, report: &mut Report) {
        report.events_per_second = Some(self.histogram.len() as f64 / report.seconds);
        report.event_latency = Some(Latency::of(&self.histogram));
    }
}

/// Opens all watches, one stream on each of as many connections as the writers have, and counts what they see.
pub(crate) async fn start(options: &Options, shared: &Rc<Shared>, started: Instant) -> Result<(), BenchError> {
    let streams = options.connections.min(options.watches) as usize;
    for number in 0..streams {
        let share = (options.watches as usize).div_ceil(streams);
        let first = number * share;
        let creates: Vec<_> = (first..(first + share).min(options.watches as usize)).map(|_| create(options)).collect();
        if creates.is_empty() {
            continue;
        }
        // The stream of requests must stay open as long as the watches should.
        let (sender, receiver) = tokio::sync::mpsc::channel(creates.len());
        for create in creates {
            let _ = sender.send(create).await;
        }
        let mut requests = Request::new(Receiver(receiver));
        if let Some(table) = &options.table {
            let name = table.as_str().parse().expect("a table's name has letters, digits and dashes only");
            requests.metadata_mut().insert(TABLE_HEADER, name);
        }
        let channel = connect(options.endpoint(number)).await?;
        let mut events = WatchClient::new(channel).watch(requests).await.map_err(BenchError::Watch)?.into_inner();
        let shared = shared.clone();
        tokio::task::spawn_local(async move {
            while let Ok(Some(response)) = events.message().await {
                see(&shared, started, &response);
            }
            drop(sender);
        });
    }
    Ok(())
}

async fn connect(endpoint: &str) -> Result<Channel, BenchError> {
    let failed = |source| BenchError::Connect { endpoint: endpoint.to_owned(), source: std::io::Error::other(source) };
    let channel = Endpoint::from_shared(format!("http://{endpoint}")).map_err(failed)?;
    channel.tcp_nodelay(true).connect().await.map_err(failed)
}

fn create(options: &Options) -> pb::WatchRequest {
    let key = Bytes::from(options.prefix.clone().into_bytes());
    let mut range_end = options.prefix.clone().into_bytes();
    if let Some(last) = range_end.last_mut() {
        *last += 1;
    }
    let create = pb::WatchCreateRequest { key, range_end: range_end.into(), ..pb::WatchCreateRequest::default() };
    pb::WatchRequest { request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)) }
}

fn see(shared: &Shared, started: Instant, response: &pb::WatchResponse) {
    if shared.phase.get() != Phase::Measure {
        return;
    }
    let now = started.elapsed().as_nanos() as u64;
    let mut events = shared.events.borrow_mut();
    for event in &response.events {
        let sent = event.kv.as_ref().and_then(|kv| kv.value.first_chunk::<8>());
        if let Some(sent) = sent {
            events.histogram.saturating_record(now.saturating_sub(u64::from_le_bytes(*sent)) / 1_000);
        }
    }
}

/// Puts a value that says when.
pub(crate) async fn put(client: &mut Client, options: &Options, started: Instant) -> Result<(), Status> {
    let mut value = (started.elapsed().as_nanos() as u64).to_le_bytes().to_vec();
    value.resize(options.value_bytes as usize, b'v');
    let key = client.random_key();
    client.put_value(key, value.into()).await
}

/// A channel's receiver as a stream of requests.
struct Receiver(tokio::sync::mpsc::Receiver<pb::WatchRequest>);

impl futures_core::Stream for Receiver {
    type Item = pb::WatchRequest;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}
