//! The newest points that were rejected, for the person who asks where their points are.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tidemark_model::TimestampMs;

use super::Protocol;

/// How many are kept.
const KEPT: usize = 20;
/// Characters of a line that are kept.
const TEXT_CHARACTERS_MAX: usize = 200;

/// A point that was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedLine {
    /// When, in milliseconds since the epoch.
    pub at: TimestampMs,
    /// How it came in.
    pub protocol: Protocol,
    /// Its beginning, control characters escaped.
    pub text: String,
    /// Why it was rejected.
    pub reason: String,
}

/// Keeps the newest 20 points that were rejected.
#[derive(Debug, Default)]
pub struct RejectedLines(Mutex<VecDeque<RejectedLine>>);

impl RejectedLines {
    pub(crate) fn add(&self, at: TimestampMs, protocol: Protocol, text: &str, reason: &str) {
        let line = RejectedLine { at, protocol, text: printable(text), reason: printable(reason) };
        let mut lines = self.0.lock();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The lines, oldest first.
    #[must_use]
    pub fn snapshot(&self) -> Vec<RejectedLine> {
        self.0.lock().iter().cloned().collect()
    }
}

/// The beginning of a text that somebody sent, fit for a log: control and bidirectional characters are escaped.
pub(crate) fn printable(text: &str) -> String {
    let harmless = |character: char| !character.is_control() && !is_bidirectional(character);
    text.chars().take(TEXT_CHARACTERS_MAX).fold(String::new(), |mut out, character| {
        if harmless(character) {
            out.push(character);
        } else {
            out.extend(character.escape_unicode());
        }
        out
    })
}

fn is_bidirectional(character: char) -> bool {
    matches!(character, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_lines_are_kept_and_they_are_safe_to_print() {
        let lines = RejectedLines::default();
        for number in 0..30 {
            lines.add(number, Protocol::Telnet, "put \u{1b}[31m\u{202e}x", "because");
        }
        let kept = lines.snapshot();
        assert_eq!((kept.len(), kept[0].at), (20, 10));
        assert_eq!(kept[0].text, r"put \u{1b}[31m\u{202e}x");
    }
}
