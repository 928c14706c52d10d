//! Ranges of keys.

use bytes::Bytes;

/// The keys `start <= key < end`, in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key inside.
    pub start: Bytes,
    /// First key after the range.
    pub end: Bytes,
}

impl KeyRange {
    /// The keys `start <= key < end`.
    #[must_use]
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: end.into() }
    }

    /// Every key that starts with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while let Some(last) = end.pop() {
            if last < 0xFF {
                end.push(last + 1);
                break;
            }
        }
        if end.is_empty() {
            end = vec![0xFF; crate::KEY_BYTES_MAX];
        }
        Self::new(prefix.to_vec(), end)
    }

    /// Whether no key is inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }
}

/// When to stop reading a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLimit {
    /// Most entries.
    pub entries: usize,
    /// Bytes of keys and values after which no further entry is added; the first entry is always returned.
    pub bytes: usize,
    /// From the last key to the first.
    pub reverse: bool,
}

impl RangeLimit {
    /// A page of at most 10,000 entries or 4 MB.
    pub const PAGE: Self = Self { entries: 10_000, bytes: 4_000_000, reverse: false };

    /// At most so many entries, in order.
    #[must_use]
    pub fn entries(entries: usize) -> Self {
        Self { entries, ..Self::PAGE }
    }

    /// The entry with the greatest key.
    #[must_use]
    pub fn last() -> Self {
        Self { entries: 1, reverse: true, ..Self::PAGE }
    }
}

/// A part of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangePage {
    /// Keys and values in the order asked for.
    pub entries: Vec<(Bytes, Bytes)>,
    /// Whether a limit ended the page before the range did.
    pub more: bool,
}

/// A page that is being put together, entry by entry.
#[derive(Debug)]
pub(crate) struct PageBuilder {
    limit: RangeLimit,
    bytes: usize,
    page: RangePage,
}

impl PageBuilder {
    pub(crate) fn new(limit: RangeLimit) -> Self {
        Self { limit, bytes: 0, page: RangePage::default() }
    }

    /// Takes the next entry of the range; false when it is one too many.
    pub(crate) fn push(&mut self, key: Bytes, value: Bytes) -> bool {
        if self.is_full() {
            self.page.more = true;
            return false;
        }
        self.bytes += key.len() + value.len();
        self.page.entries.push((key, value));
        true
    }

    /// Whether the next entry, if there is one, is one too many.
    pub(crate) fn is_full(&self) -> bool {
        let entries = self.page.entries.len();
        entries >= self.limit.entries || (entries > 0 && self.bytes >= self.limit.bytes)
    }

    /// Entries and bytes that still fit.
    #[cfg(feature = "fdb")]
    pub(crate) fn room(&self) -> (usize, usize) {
        let entries = self.limit.entries.saturating_sub(self.page.entries.len());
        (entries, self.limit.bytes.saturating_sub(self.bytes))
    }

    pub(crate) fn finish(self) -> RangePage {
        self.page
    }
}
