//! What is told of the node: `INFO`, `CONFIG`, `TIME`, `WAIT` and what clients and tools ask for before they begin.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use althing_datatypes::glob;
use bytes::Bytes;

use crate::command::{Answer, Answering};
use crate::gateway::Shared;
use crate::keyspace::Keyspace;
use crate::refusal::Refusal;
use crate::run::words::{int, is};
use crate::session::Session;
use crate::session::connection::REDIS_VERSION;
use crate::wire::Value;

/// `TIME`
pub fn time(session: &mut Session, _: &[Bytes]) -> Answer {
    let milliseconds = session.shared().clock.wall().0;
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    Ok(Value::Array(vec![Value::text(seconds.to_string()), Value::text((rest * 1000).to_string())]))
}

/// `LASTSAVE`: every write that was acknowledged is durable, so the last save is now.
pub fn lastsave(session: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::Int(i64::try_from(session.shared().clock.wall().0 / 1000).unwrap_or(i64::MAX)))
}

/// `WAIT replicas timeout`: a write is acknowledged only when it is on so many, so there is nothing to wait for.
pub fn wait(session: &mut Session, words: &[Bytes]) -> Answer {
    int(&words[1])?;
    if int(&words[2])? < 0 {
        return Err(Refusal::of("ERR timeout is negative"));
    }
    Ok(Value::Int(i64::from(session.space().table().other_copies)))
}

/// `ROLE`: every node takes writes.
pub fn role(_: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::Array(vec![Value::word("master"), Value::Int(0), Value::Array(Vec::new())]))
}

/// `SLOWLOG GET`, `LATENCY LATEST`, `LATENCY HISTORY`, `MODULE LIST`: there is nothing of that kind.
pub fn empty_list(_: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::Array(Vec::new()))
}

/// `SLOWLOG LEN`, `LATENCY RESET`
pub fn zero(_: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::Int(0))
}

/// `SLOWLOG RESET`, `CONFIG RESETSTAT`, `MEMORY PURGE`: nothing is kept that could be thrown away.
pub fn nothing_to_do(_: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::OK)
}

/// `SCRIPT EXISTS digest...`: there are no scripts.
pub fn script_exists(_: &mut Session, words: &[Bytes]) -> Answer {
    Ok(Value::Array(words[2..].iter().map(|_| Value::Int(0)).collect()))
}

/// `MEMORY DOCTOR`
pub fn memory_doctor(_: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::Text("Data is on disk; the memory of the node is in its metrics.".to_owned()))
}

/// `ACL WHOAMI`
pub fn whoami(session: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::text(session.client().facts().user.clone()))
}

/// `DEBUG JMAP`, `DEBUG SET-ACTIVE-EXPIRE` and what else suites of tests say to a server to make it quicker or slower. Nothing here
/// hangs on it.
pub fn debug_no_effect(_: &mut Session, _: &[Bytes]) -> Answer {
    Ok(Value::OK)
}

/// What can be asked by `CONFIG GET`, as it is.
fn settings(shared: &Shared) -> Vec<(&'static str, String)> {
    let config = &shared.config;
    let databases = shared.tables.all().iter().filter_map(|table| table.index).max().map_or(1, |index| index + 1);
    let fixed = [
        ("activerehashing", "yes"),
        ("appendfsync", "always"),
        ("appendonly", "yes"),
        ("client-output-buffer-limit", "normal 0 0 0 slave 0 0 0 pubsub 33554432 33554432 0"),
        ("cluster-enabled", "yes"),
        ("cluster-require-full-coverage", "no"),
        ("hash-max-listpack-entries", "512"),
        ("hash-max-listpack-value", "64"),
        ("hash-max-ziplist-entries", "512"),
        ("hash-max-ziplist-value", "64"),
        ("hll-sparse-max-bytes", "3000"),
        ("latency-monitor-threshold", "0"),
        ("lazyfree-lazy-expire", "no"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("notify-keyspace-events", ""),
        ("protected-mode", "no"),
        ("save", ""),
        ("set-max-intset-entries", "512"),
        ("slowlog-log-slower-than", "-1"),
        ("slowlog-max-len", "0"),
        ("tcp-keepalive", "300"),
        ("zset-max-listpack-entries", "128"),
        ("zset-max-listpack-value", "64"),
        ("zset-max-ziplist-entries", "128"),
        ("zset-max-ziplist-value", "64"),
    ];
    let mut all: Vec<(&'static str, String)> =
        fixed.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    all.push(("databases", databases.to_string()));
    all.push(("maxclients", config.max_clients.to_string()));
    all.push(("proto-max-bulk-len", config.max_bulk_bytes.to_string()));
    all.push(("timeout", config.idle_timeout.map_or(0, |timeout| timeout.as_secs()).to_string()));
    all.sort_unstable();
    all
}

/// `CONFIG GET pattern...`
pub fn config_get(session: &mut Session, words: &[Bytes]) -> Answer {
    let fits =
        |name: &str| words[2..].iter().any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes()));
    let found = settings(session.shared()).into_iter().filter(|(name, _)| fits(name));
    Ok(Value::Map(found.map(|(name, value)| (Value::word(name), Value::text(value))).collect()))
}

/// `CONFIG SET name value ...`: what is so already, and what changes nothing that a client could see, is accepted.
pub fn config_set(session: &mut Session, words: &[Bytes]) -> Answer {
    /// Tunings of one server's memory and of its own log.
    const HARMLESS: [&str; 10] = [
        "activerehashing",
        "hash-max-",
        "hll-sparse-max-bytes",
        "latency-monitor-threshold",
        "lazyfree-",
        "set-max-",
        "slowlog-",
        "stream-node-max-",
        "list-",
        "zset-max-",
    ];
    let pairs = &words[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(Refusal::arity("config|set"));
    }
    let settings = settings(session.shared());
    for pair in pairs.chunks_exact(2) {
        let name = String::from_utf8_lossy(&pair[0]).to_ascii_lowercase();
        let is_so = settings.iter().any(|(known, value)| *known == name && value.as_bytes() == &pair[1][..]);
        if !is_so && !HARMLESS.iter().any(|harmless| name.starts_with(harmless)) {
            return Err(Refusal::new(format!(
                "ERR CONFIG SET failed (possibly related to argument '{}') - it is not a setting of a node of Althing; see \
                 docs/configuration.md",
                crate::refusal::quoted(name.as_bytes(), 64)
            )));
        }
    }
    Ok(Value::OK)
}

/// `CONFIG REWRITE`
pub fn config_rewrite(_: &mut Session, _: &[Bytes]) -> Answer {
    Err(Refusal::unsupported("CONFIG REWRITE", "the configuration is a file of yours, which the program only reads"))
}

/// A section of `INFO`.
type Section = (&'static str, fn(&Shared, &mut String));

/// The sections that say themselves what they are; `Keyspace` asks the shards.
const SECTIONS: [Section; 8] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Cluster", cluster),
];

/// `INFO [section...]`
pub fn info<'a>(space: &'a Keyspace, words: &'a [Bytes]) -> Answering<'a> {
    Box::pin(async move {
        let asked = &words[1..];
        let all = asked.is_empty()
            || asked.iter().any(|word| ["all", "default", "everything"].iter().any(|all| is(word, all)));
        let wants = |name: &str| all || asked.iter().any(|word| is(word, name));
        let mut text = String::new();
        for (name, section) in SECTIONS {
            if wants(name) {
                heading(name, &mut text);
                section(space.shared(), &mut text);
            }
        }
        if wants("Keyspace") {
            heading("Keyspace", &mut text);
            keyspace(space, &mut text).await;
        }
        Ok(Value::Text(text))
    })
}

fn heading(name: &str, text: &mut String) {
    let _ = write!(text, "{}# {name}\r\n", if text.is_empty() { "" } else { "\r\n" });
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{name}:{value}\r\n");
}

fn server(shared: &Shared, text: &mut String) {
    let uptime = shared.clock.now().since(shared.started).as_secs();
    line(text, "redis_version", REDIS_VERSION);
    line(text, "redis_mode", "standalone");
    line(text, "althing_version", env!("CARGO_PKG_VERSION"));
    line(text, "os", std::env::consts::OS);
    line(text, "arch_bits", usize::BITS);
    line(text, "multiplexing_api", "tokio");
    line(text, "run_id", shared.run_id());
    line(text, "tcp_port", shared.port());
    line(text, "server_time_usec", shared.clock.wall().0 * 1000);
    line(text, "uptime_in_seconds", uptime);
    line(text, "uptime_in_days", uptime / 86_400);
}

fn clients(shared: &Shared, text: &mut String) {
    line(text, "connected_clients", shared.clients.count());
    line(text, "maxclients", shared.config.max_clients);
    line(text, "blocked_clients", shared.waits.count());
}

fn memory(_: &Shared, text: &mut String) {
    // The node's own metrics tell of its memory; clients only look whether there is a bound.
    line(text, "used_memory", 0);
    line(text, "maxmemory", 0);
    line(text, "maxmemory_policy", "noeviction");
}

fn persistence(shared: &Shared, text: &mut String) {
    let health = shared.service.health();
    line(text, "loading", u8::from(!health.ready));
    line(text, "rdb_changes_since_last_save", 0);
    line(text, "rdb_bgsave_in_progress", 0);
    line(text, "aof_enabled", 1);
    line(text, "aof_last_write_status", if health.live { "ok" } else { "err" });
}

fn stats(shared: &Shared, text: &mut String) {
    let counters = &shared.counters;
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    line(text, "total_connections_received", of(&counters.connections));
    line(text, "total_commands_processed", counters.commands());
    line(text, "total_net_input_bytes", of(&counters.bytes_in));
    line(text, "total_net_output_bytes", of(&counters.bytes_out));
    line(text, "rejected_connections", of(&counters.rejected));
    line(text, "total_error_replies", counters.errors());
    line(text, "pubsub_channels", shared.hub.names(crate::hub::Listening::Channel, None).len());
    line(text, "pubsub_patterns", shared.hub.names(crate::hub::Listening::Pattern, None).len());
}

fn replication(shared: &Shared, text: &mut String) {
    line(text, "role", "master");
    line(text, "connected_slaves", 0);
    line(text, "master_replid", shared.run_id());
    line(text, "master_repl_offset", 0);
}

fn cpu(_: &Shared, text: &mut String) {
    line(text, "used_cpu_sys", "0.000000");
    line(text, "used_cpu_user", "0.000000");
}

fn cluster(_: &Shared, text: &mut String) {
    line(text, "cluster_enabled", 1);
}

/// The tables that have a number. One that cannot be counted now is left out.
async fn keyspace(space: &Keyspace, text: &mut String) {
    for table in space.shared().tables.all() {
        let Some(index) = table.index else { continue };
        let name = table.name.clone();
        if let Ok(keys @ 1..) = space.beside(table).size().await {
            let _ = write!(text, "db{index}:keys={keys},expires=0,avg_ttl=0,table={name}\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_in_the_order_of_their_names() {
        let node = crate::testing::gateway();
        let names: Vec<&str> = settings(&node.0).iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted());
    }
}
