//! Diagnostics: the `tracing` events of kraft's crates, as lines of the log.
//!
//! ```text
//! basic   debug: HTTP request method=GET url=https://h/v2/ outcome=200 milliseconds=12 attempt=1
//! json    {"level":"debug","msg":"HTTP request","method":"GET","url":"https://h/v2/",…}
//! ```
//!
//! Events of libraries are omitted: they may contain secrets.

use std::fmt;

use indicatif::MultiProgress;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::log::{Level, Log};

/// The prefix of the module paths whose events are logged.
const OURS: &str = "kraft";

/// Writes events into the log; spans are ignored.
struct Diagnostics {
    log: Log,
    bars: MultiProgress,
}

/// Logs events from now on, if the log level allows any.
pub(super) fn start(log: Log, bars: MultiProgress) {
    if log.takes(Level::Debug) {
        // A second call, in the tests of this crate, has no effect.
        let _ = tracing::subscriber::set_global_default(Diagnostics { log, bars });
    }
}

impl Subscriber for Diagnostics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // `enabled!` calls this without an event.
        !metadata.is_span()
            && metadata.target().starts_with(OURS)
            && self.log.takes(level(metadata))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if self.log.takes(Level::Trace) {
            LevelFilter::TRACE
        } else {
            LevelFilter::DEBUG
        })
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, fields } = fields;
        let level = level(event.metadata());
        self.bars
            .suspend(|| self.log.event(level, &message, &fields));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

/// The message and the fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    fields: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.record_u64(field, u64::try_from(value).unwrap_or(u64::MAX));
    }
}
