//! Lines of a pipe under a limit.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Longest line that is kept, blanks included; of a longer one only its length is known.
const RAW_LINE_BYTES_MAX: usize = 8 * 1024;

/// Reads lines of any bytes without ever holding more than one of the longest.
pub(super) struct LineReader<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    dropped: usize,
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RawLine {
    Text(String),
    TooLong(usize),
    NotUtf8,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), line: Vec::new(), dropped: 0 }
    }

    /// The next line without its end; the last one may have none. `None` at the end.
    ///
    /// # Cancel safety
    /// A line that was read in part is continued by the next call.
    pub(super) async fn next(&mut self) -> io::Result<Option<RawLine>> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok((!self.line.is_empty() || self.dropped > 0).then(|| self.take_line()));
            }
            let end = available.iter().position(|&byte| byte == b'\n');
            let part = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
            let room = RAW_LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
            self.dropped += part.len().saturating_sub(room);
            let consumed = part.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                return Ok(Some(self.take_line()));
            }
        }
    }

    fn take_line(&mut self) -> RawLine {
        let bytes = std::mem::take(&mut self.line);
        match std::mem::take(&mut self.dropped) {
            0 => String::from_utf8(bytes).map_or(RawLine::NotUtf8, RawLine::Text),
            dropped => RawLine::TooLong(bytes.len() + dropped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(bytes: &[u8]) -> Vec<RawLine> {
        let mut reader = LineReader::new(bytes);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await.unwrap() {
            lines.push(line);
        }
        lines
    }

    #[tokio::test]
    async fn the_last_line_needs_no_end() {
        let text = |text: &str| RawLine::Text(text.to_owned());
        assert_eq!(lines(b"a\n\nb").await, [text("a"), text(""), text("b")]);
        assert_eq!(lines(b"").await, []);
    }

    #[tokio::test]
    async fn a_line_without_end_takes_no_memory_and_spoils_no_other() {
        let mut bytes = vec![b'x'; 1_000_000];
        bytes.extend_from_slice(b"\nok\n\xff\xfe\nfine\n");
        let expect = [
            RawLine::TooLong(1_000_000),
            RawLine::Text("ok".to_owned()),
            RawLine::NotUtf8,
            RawLine::Text("fine".to_owned()),
        ];
        assert_eq!(lines(&bytes).await, expect);
    }
}
