//! Lines of a file, also of a compressed one, in bounded memory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, stdin},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Longest line in bytes, enough for a histogram of a thousand buckets; longer ones are refused and passed over.
const LINE_BYTES_MAX: usize = 256 << 10;
/// What a file that gzip made begins with.
const GZIP: [u8; 2] = [0x1F, 0x8B];
/// The name of standard input.
const STDIN: &str = "-";

/// Reads lines.
pub struct LineReader {
    source: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
    bytes: Arc<AtomicU64>,
    total: u64,
}

/// The number of a line and its text, or what is wrong with it.
pub type NumberedLine<'a> = (u64, Result<&'a str, &'static str>);

impl LineReader {
    /// Opens a file, or standard input as `-`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == STDIN {
            return Self::new(Box::new(stdin()), 0);
        }
        let file = File::open(path)?;
        let total = file.metadata()?.len();
        Self::new(Box::new(file), total)
    }

    /// Reads what `source` gives, which has `total` bytes; 0 when nobody knows.
    ///
    /// # Errors
    /// Its first bytes cannot be read.
    pub fn new(source: Box<dyn Read + Send>, total: u64) -> io::Result<Self> {
        let bytes = Arc::new(AtomicU64::new(0));
        let mut counted = BufReader::with_capacity(64 << 10, Counted { source, bytes: Arc::clone(&bytes) });
        let is_compressed = counted.fill_buf()?.starts_with(&GZIP);
        let source: Box<dyn BufRead + Send> = if is_compressed { decompressed(counted) } else { Box::new(counted) };
        Ok(Self { source, line: Vec::new(), number: 0, bytes, total })
    }

    /// Bytes of the file that were read.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the file; what was read so far and a little more when nobody knows.
    pub fn total(&self) -> u64 {
        self.total.max(self.bytes())
    }

    /// The next line without its end; `None` when there are no more.
    ///
    /// # Errors
    /// It cannot be read, or what is compressed is damaged.
    pub fn next_line(&mut self) -> io::Result<Option<NumberedLine<'_>>> {
        self.line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        if self.source.by_ref().take(limit).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > LINE_BYTES_MAX {
            self.skip_line()?;
            return Ok(Some((self.number, Err("it is longer than 256 KiB"))));
        }
        Ok(Some((self.number, std::str::from_utf8(&self.line).map_err(|_| "it is not UTF-8"))))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.source.fill_buf()?;
            let (used, is_end) = match buffer.iter().position(|&byte| byte == b'\n') {
                Some(position) => (position + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.source.consume(used);
            if is_end {
                return Ok(());
            }
        }
    }
}

/// What is decompressed is cut into lines of bounded length at once.
#[expect(clippy::disallowed_methods, reason = "nothing of what comes out is kept beyond a line of bounded length")]
fn decompressed(source: impl BufRead + Send + 'static) -> Box<dyn BufRead + Send> {
    Box::new(BufReader::with_capacity(64 << 10, flate2::read::MultiGzDecoder::new(source)))
}

/// Counts what is read.
struct Counted {
    source: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.source.read(buffer)?;
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn lines(bytes: Vec<u8>) -> Vec<(u64, Result<String, &'static str>)> {
        let mut reader = LineReader::new(Box::new(Cursor::new(bytes)), 0).unwrap();
        let mut lines = Vec::new();
        while let Some((number, line)) = reader.next_line().unwrap() {
            lines.push((number, line.map(str::to_owned)));
        }
        lines
    }

    #[test]
    fn lines_have_numbers_also_when_they_are_compressed_in_parts() {
        let text = b"one\n\nthree".to_vec();
        let expected = [(1, Ok("one".to_owned())), (2, Ok(String::new())), (3, Ok("three".to_owned()))];
        assert_eq!(lines(text.clone()), expected);
        let part = |text: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(lines([part(&text[..5]), part(&text[5..])].concat()), expected);
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_is_passed_over() {
        let mut text = vec![b'x'; 600_000];
        text.extend_from_slice(b"\nnext\n\xFF\xFE\nlast\n");
        let lines = lines(text);
        assert_eq!(
            lines.iter().map(|(number, line)| (*number, line.is_ok())).collect::<Vec<_>>(),
            [(1, false), (2, true), (3, false), (4, true)]
        );
        let longest = vec![b'x'; LINE_BYTES_MAX];
        assert!(super::tests::lines(longest)[0].1.is_ok());
    }
}
