//! `althing bench`: a load generator over the etcd API, against any endpoint that speaks it.
//!
//! In a *closed loop* each client sends its next request when the last one is answered, so latency is what a client waits and
//! throughput is what the server and the generator together can do. With a rate it is an *open loop*: requests are sent
//! when they are due, whatever has become of those before, as by a crowd that does not know of each other. Only that can
//! overload a server. Latency is then counted from when a request was due, so that a generator which falls behind does not
//! hide it.
//!
//! Everything runs on one thread: on a machine that also runs the
//! servers, the generator should not be what is measured, and one thread makes its share plain (`generator_cpu`).
//!
//! * [`options`]: what is asked for.
//! * [`workload`]: one request of each kind.
//! * [`wire`]: the calls, on a connection.
//! * [`open`]: requests at a rate.
//! * [`watch`]: many watchers, and how long an event takes to reach them.
//! * [`report`]: what came out, for people and as JSON.

pub mod open;
pub mod options;
pub mod report;
pub mod run;
pub mod watch;
pub mod wire;
pub mod workload;

pub use options::{Options, Workload};
pub use report::Report;
pub use run::{BenchError, run};
