//! `althing bench`: a closed-loop load generator over the etcd API, against any endpoint that speaks it.
//!
//! Each client sends its next request when the last one is answered, so latency is what a client waits and throughput is
//! what the server and the generator together can do. Everything runs on one thread: on a machine that also runs the
//! servers, the generator should not be what is measured, and one thread makes its share plain (`generator_cpu`).
//!
//! * [`options`]: what is asked for.
//! * [`workload`]: one request of each kind.
//! * [`wire`]: the calls, on a connection.
//! * [`watch`]: many watchers, and how long an event takes to reach them.
//! * [`report`]: what came out, for people and as JSON.

pub mod options;
pub mod report;
pub mod run;
pub mod watch;
pub mod wire;
pub mod workload;

pub use options::{Options, Workload};
pub use report::Report;
pub use run::{BenchError, run};
