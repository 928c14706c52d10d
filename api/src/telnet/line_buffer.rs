//! Cuts what a connection sends into lines.

use bytes::{Bytes, BytesMut};

/// Longest line in bytes, without its end.
pub(crate) const LINE_BYTES_MAX: usize = 1024;
/// Bytes that are gathered before their points are written as a batch.
const READ_BYTES: usize = 64 << 10;

/// Bytes that were read, of which the last line may not be complete.
#[derive(Debug)]
pub(crate) struct LineBuffer(BytesMut);

/// What is in the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Whole lines, each with its end. May be empty.
    Whole(Bytes),
    /// Whole lines before one that is too long.
    ThenTooLong(Bytes),
}

impl LineBuffer {
    pub(crate) fn new() -> Self {
        Self(BytesMut::new())
    }

    /// Where to read to; always has room.
    pub(crate) fn spare(&mut self) -> &mut BytesMut {
        self.0.reserve(READ_BYTES);
        &mut self.0
    }

    /// Whether there is enough for a batch.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= READ_BYTES
    }

    /// Takes the whole lines out. A line without its end stays until its end comes: half a number is not a number.
    pub(crate) fn take_lines(&mut self) -> Lines {
        let whole = memchr::memrchr(b'\n', &self.0).map_or(0, |last| last + 1);
        let lines = self.0.split_to(whole).freeze();
        if self.0.len() > LINE_BYTES_MAX + 1 {
            self.0.clear();
            return Lines::ThenTooLong(lines);
        }
        match first_too_long(&lines) {
            Some(start) => Lines::ThenTooLong(lines.slice(..start)),
            None => Lines::Whole(lines),
        }
    }
}

/// Where the first line begins that is too long.
fn first_too_long(lines: &[u8]) -> Option<usize> {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', lines) {
        if end - start > LINE_BYTES_MAX + 1 {
            return Some(start);
        }
        start = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_waits_for_its_end() {
        let mut buffer = LineBuffer::new();
        buffer.spare().extend_from_slice(b"put a\nput b 1");
        assert_eq!(buffer.take_lines(), Lines::Whole(Bytes::from_static(b"put a\n")));
        assert_eq!(buffer.take_lines(), Lines::Whole(Bytes::new()));
        buffer.spare().extend_from_slice(b"2\r\n");
        assert_eq!(buffer.take_lines(), Lines::Whole(Bytes::from_static(b"put b 12\r\n")));
    }

    #[test]
    fn a_line_that_is_too_long_ends_the_lines() {
        let long = "x".repeat(LINE_BYTES_MAX + 2);
        let mut buffer = LineBuffer::new();
        buffer.spare().extend_from_slice(format!("a\n{long}\nb\n").as_bytes());
        assert_eq!(buffer.take_lines(), Lines::ThenTooLong(Bytes::from_static(b"a\n")));
        let mut buffer = LineBuffer::new();
        buffer.spare().extend_from_slice(format!("a\n{long}").as_bytes());
        assert_eq!(buffer.take_lines(), Lines::ThenTooLong(Bytes::from_static(b"a\n")));
        let mut buffer = LineBuffer::new();
        buffer.spare().extend_from_slice(format!("{}\r\n", "x".repeat(LINE_BYTES_MAX)).as_bytes());
        assert!(matches!(buffer.take_lines(), Lines::Whole(_)));
    }
}
