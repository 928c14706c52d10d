//! What a handler tells about its job while it works: progress and log lines.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tidemark_model::TimestampMs;

use crate::text::shorten_to;

/// Log lines of a job that are kept: the last ones.
pub const LOG_LINES_MAX: usize = 100;
/// Longest log line or message that is kept, in bytes.
pub const LOG_LINE_BYTES_MAX: usize = 256;

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Steps done.
    pub done: u64,
    /// Steps in all; 0 when that is not known.
    pub total: u64,
    /// What it does now, in at most [`LOG_LINE_BYTES_MAX`] bytes.
    pub message: Option<String>,
}

/// Something that a handler said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When, in ms since the epoch.
    pub at_ms: TimestampMs,
    /// What, in at most [`LOG_LINE_BYTES_MAX`] bytes.
    pub text: String,
}

/// What a handler has told since it last did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobNote {
    /// How far it is now, if that has changed.
    pub progress: Option<Progress>,
    /// New lines, the oldest first. Of more than [`LOG_LINES_MAX`] the last ones are kept.
    pub lines: VecDeque<LogLine>,
}

impl JobNote {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.progress.is_none() && self.lines.is_empty()
    }

    /// Adds a line, shortened.
    pub fn log(&mut self, at_ms: TimestampMs, text: impl Into<String>) {
        self.add_line(LogLine { at_ms, text: text.into() });
    }

    fn add_line(&mut self, line: LogLine) {
        if self.lines.len() >= LOG_LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(LogLine { text: shorten_to(line.text, LOG_LINE_BYTES_MAX), ..line });
    }

    /// Adds what was told later.
    pub fn append(&mut self, later: Self) {
        if let Some(progress) = later.progress {
            let message = progress.message.map(|message| shorten_to(message, LOG_LINE_BYTES_MAX));
            self.progress = Some(Progress { message, ..progress });
        }
        later.lines.into_iter().for_each(|line| self.add_line(line));
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let message = self.progress.as_ref().and_then(|progress| progress.message.as_ref()).map_or(0, String::len);
        let lines: usize = self.lines.iter().map(|line| line.text.len() + 32).sum();
        (message + lines + 64) as u64
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WireProgress<'a> {
    done: u64,
    total: u64,
    #[serde(borrow)]
    message: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WireLine<'a> {
    at_ms: i64,
    text: &'a str,
}

impl<'a> From<&'a Progress> for WireProgress<'a> {
    fn from(progress: &'a Progress) -> Self {
        Self { done: progress.done, total: progress.total, message: progress.message.as_deref() }
    }
}

impl From<WireProgress<'_>> for Progress {
    fn from(wire: WireProgress<'_>) -> Self {
        Self { done: wire.done, total: wire.total, message: wire.message.map(ToOwned::to_owned) }
    }
}

impl<'a> From<&'a LogLine> for WireLine<'a> {
    fn from(line: &'a LogLine) -> Self {
        Self { at_ms: line.at_ms, text: &line.text }
    }
}

impl From<WireLine<'_>> for LogLine {
    fn from(wire: WireLine<'_>) -> Self {
        Self { at_ms: wire.at_ms, text: wire.text.to_owned() }
    }
}

/// A progress as bytes: a MessagePack array.
pub(crate) fn encode_progress(progress: &Progress) -> Vec<u8> {
    // A vector takes every byte, and the structure has nothing that MessagePack cannot express.
    rmp_serde::to_vec(&WireProgress::from(progress)).unwrap_or_default()
}

/// A line as bytes: a MessagePack array.
pub(crate) fn encode_line(line: &LogLine) -> Vec<u8> {
    // As above.
    rmp_serde::to_vec(&WireLine::from(line)).unwrap_or_default()
}

/// `None` for damage: a note is worth no failure.
pub(crate) fn decode_progress(bytes: &[u8]) -> Option<Progress> {
    rmp_serde::from_slice::<WireProgress<'_>>(bytes).ok().map(Into::into)
}

pub(crate) fn decode_line(bytes: &[u8]) -> Option<LogLine> {
    rmp_serde::from_slice::<WireLine<'_>>(bytes).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_hundred_lines_and_the_last_progress_are_kept() {
        let mut note = JobNote::default();
        for number in 0..150 {
            let mut later =
                JobNote { progress: Some(Progress { done: number, total: 150, message: None }), ..JobNote::default() };
            later.log(7, format!("{number} {}", "x".repeat(400)));
            note.append(later);
        }
        assert_eq!(note.progress.as_ref().unwrap().done, 149);
        assert_eq!(note.lines.len(), LOG_LINES_MAX);
        assert!(note.lines[0].text.starts_with("50 ") && note.lines[0].text.len() == LOG_LINE_BYTES_MAX);
        assert!(note.bytes() < 32_768);
    }

    proptest! {
        #[test]
        fn progress_and_lines_survive_their_bytes(done: u64, total: u64, at_ms: i64, text in ".{0,60}") {
            let progress = Progress { done, total, message: Some(text.clone()) };
            prop_assert_eq!(decode_progress(&encode_progress(&progress)), Some(progress));
            let line = LogLine { at_ms, text };
            prop_assert_eq!(decode_line(&encode_line(&line)), Some(line));
        }

        #[test]
        fn no_bytes_make_the_reader_of_notes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _outcome = (decode_progress(&bytes), decode_line(&bytes));
        }
    }
}
