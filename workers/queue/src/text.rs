//! Texts of a bounded length.

use crate::TEXT_BYTES_MAX;

/// A reason of at most [`TEXT_BYTES_MAX`] bytes.
pub(crate) fn shorten(text: String) -> String {
    shorten_to(text, TEXT_BYTES_MAX)
}

/// A text of at most so many bytes, which are no less than 3.
pub(crate) fn shorten_to(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max.saturating_sub(3)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}
