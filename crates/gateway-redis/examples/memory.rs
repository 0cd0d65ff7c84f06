//! A gateway over a table in memory, for trying clients without a node: `cargo run --example memory -- 6379`.

use std::time::{SystemTime, UNIX_EPOCH};

use althing_gateway_redis::hub::Alone;
use althing_gateway_redis::run::kind_name;
use althing_gateway_redis::{Admission, Config, Entrance, Gateway, Peer, Standing, Table, TableKind, Tables, serve};

include!("../tests/support/node.rs");

/// The machine's clock.
struct MachineClock(std::time::Instant);

impl Clock for MachineClock {
    fn now(&self) -> Instant {
        Instant::ZERO + self.0.elapsed()
    }

    fn wall(&self) -> WallTime {
        #[allow(clippy::disallowed_methods)] // an example is its own runtime
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(6379);
    #[allow(clippy::disallowed_methods)] // as above
    let clock = Arc::new(MachineClock(std::time::Instant::now()));
    let gateway = gateway_with(clock, TwoTables { port, entrance: Entrance::Open }, Config::default());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on 127.0.0.1:{port}");
    let (stop, stopping) = tokio::sync::watch::channel(());
    serve(listener, None, gateway, stopping).await;
    drop(stop);
    Ok(())
}
