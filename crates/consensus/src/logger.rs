//! What the raft crate says about itself, handed on to `tracing`.
//!
//! It is talkative: what it calls info is a detail here, and nothing is formatted unless somebody listens.

use std::fmt::{Arguments, Write as _};

use slog::{Drain, KV, Key, Level, Logger, Never, OwnedKVList, Record, Serializer, o};

use crate::config::Config;

/// The logger of one replica.
pub(crate) fn logger(config: &Config) -> Logger {
    Logger::root(ToTracing, o!("group" => config.group.get()))
}

struct ToTracing;

impl Drain for ToTracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        match record.level() {
            Level::Critical | Level::Error => {
                if tracing::enabled!(tracing::Level::ERROR) {
                    tracing::error!("{}", render(record, values));
                }
            }
            Level::Warning => {
                if tracing::enabled!(tracing::Level::WARN) {
                    tracing::warn!("{}", render(record, values));
                }
            }
            Level::Info | Level::Debug => {
                if tracing::enabled!(tracing::Level::DEBUG) {
                    tracing::debug!("{}", render(record, values));
                }
            }
            Level::Trace => {
                if tracing::enabled!(tracing::Level::TRACE) {
                    tracing::trace!("{}", render(record, values));
                }
            }
        }
        Ok(())
    }
}

fn render(record: &Record<'_>, values: &OwnedKVList) -> String {
    let mut line = Line(record.msg().to_string());
    let rendered = values.serialize(record, &mut line).and_then(|()| record.kv().serialize(record, &mut line));
    match rendered {
        Ok(()) => line.0,
        Err(error) => format!("{} (a value could not be rendered: {error})", line.0),
    }
}

struct Line(String);

impl Serializer for Line {
    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}")?;
        Ok(())
    }
}
