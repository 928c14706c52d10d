//! The newest log lines, kept in memory.

use std::{
    collections::VecDeque,
    fmt::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tidemark_api::LogBook;
use tidemark_model::{Clock, SystemClock};
use tracing::{Event, Level, Subscriber, field::Field};
use tracing_subscriber::{EnvFilter, Layer, layer::Context, registry::Registry, reload};

/// Lines that are kept.
const LINES_MAX: usize = 1_024;
/// Longest line that is kept whole, in bytes.
const LINE_BYTES_MAX: usize = 2_048;

/// The newest log lines, and what decides which there are.
#[derive(Debug)]
pub(crate) struct KeptLines {
    lines: Mutex<VecDeque<String>>,
    /// What is logged, as it was last set.
    levels: Mutex<String>,
    handle: reload::Handle<EnvFilter, Registry>,
    clock: SystemClock,
}

impl KeptLines {
    pub(super) fn new(levels: &str, handle: reload::Handle<EnvFilter, Registry>) -> Self {
        let clock = SystemClock::new();
        Self { lines: Mutex::default(), levels: Mutex::new(levels.to_owned()), handle, clock }
    }

    /// What puts the lines here.
    pub(super) fn layer(self: &Arc<Self>) -> KeepingLayer {
        KeepingLayer(Arc::clone(self))
    }

    fn keep(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

impl LogBook for KeptLines {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    fn set_level(&self, level: &str, place: Option<&str>) -> Result<(), String> {
        let shown: String = level.chars().take(64).collect();
        // WARNING is what people write, and OFF and ALL are levels of Java's.
        let level = match level.to_ascii_uppercase().as_str() {
            "TRACE" | "ALL" => "trace",
            "DEBUG" => "debug",
            "INFO" => "info",
            "WARN" | "WARNING" => "warn",
            "ERROR" => "error",
            "OFF" => "off",
            _ => return Err(format!("Invalid level: {shown}")),
        };
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = match place {
            None => level.to_owned(),
            Some(place) => {
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
                if place.len() > 128 || !place.bytes().all(is_name) {
                    return Err(format!("Invalid logger: {}", place.chars().take(64).collect::<String>()));
                }
                let others =
                    levels.split(',').filter(|part| part.split('=').next() != Some(place) || !part.contains('='));
                others.chain([format!("{place}={level}").as_str()]).collect::<Vec<_>>().join(",")
            }
        };
        let filter = EnvFilter::try_new(&changed).map_err(|error| error.to_string())?;
        self.handle.reload(filter).map_err(|error| error.to_string())?;
        *levels = changed;
        Ok(())
    }
}

/// Puts each event that is logged among the kept lines.
pub(super) struct KeepingLayer(Arc<KeptLines>);

impl<S: Subscriber> Layer<S> for KeepingLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let thread = thread::current();
        let metadata = event.metadata();
        let place = metadata.target();
        let seconds = self.0.clock.now_ms() / 1000;
        let level = level(*metadata.level());
        let thread = thread.name().unwrap_or("?");
        let mut line = format!("{seconds}\t{level}\t{thread}\t{place}\t{}{}", text.message, text.fields);
        if line.len() > LINE_BYTES_MAX {
            let end = line.floor_char_boundary(LINE_BYTES_MAX);
            line.truncate(end);
        }
        self.0.keep(line.replace(['\n', '\r'], " "));
    }
}

fn level(level: Level) -> &'static str {
    level.as_str()
}

/// The message and the fields of an event.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { self.message.push_str(value) } else { self.record_debug(field, &value) }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_levels_can_be_changed() {
        let (filter, handle) = reload::Layer::new(EnvFilter::new("info"));
        let kept = Arc::new(KeptLines::new("info", handle));
        let subscriber = tracing_subscriber::registry().with(kept.layer().with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("not wanted");
            tracing::info!(number = 7, "first\nof all");
            kept.set_level("debug", None).unwrap();
            tracing::debug!("wanted now");
            kept.set_level("ERROR", Some("tidemark")).unwrap();
            tracing::info!("not wanted any more");
        });
        let lines = kept.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("\twanted now"), "{lines:?}");
        assert!(lines[1].contains("\tINFO\t") && lines[1].ends_with("\tfirst of all number=7"), "{lines:?}");
        assert_eq!(kept.set_level("loud", None), Err("Invalid level: loud".to_owned()));
        assert_eq!(kept.set_level("info", Some("a b")), Err("Invalid logger: a b".to_owned()));
        (0..2_000).for_each(|number| kept.keep(number.to_string()));
        assert_eq!((kept.lines().len(), kept.lines()[0].as_str()), (1_024, "1999"));
    }
}
