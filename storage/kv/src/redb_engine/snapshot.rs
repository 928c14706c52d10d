//! Reading one state of the file.

use std::{
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use redb::{AccessGuard, ReadOnlyTable, ReadTransaction, ReadableTable, StorageError};

use super::{ENTRIES, failure::Failure};
use crate::{BoxFuture, KeyRange, KvError, KvSnapshot, RangeLimit, RangePage};

/// Entries and bytes that are read on the caller's thread; the rest of a page is read on a blocking thread. A row costs
/// about half a microsecond, so a caller is held up for about a tenth of a millisecond.
const INLINE: RangeLimit = RangeLimit { entries: 256, bytes: 256 << 10, reverse: false };

type Entries = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A read transaction with its table open.
pub(super) struct RedbSnapshot {
    /// Keeps the transaction alive too.
    entries: Arc<Entries>,
}

impl RedbSnapshot {
    pub(super) fn new(transaction: &ReadTransaction) -> Result<Self, Failure> {
        Ok(Self { entries: Arc::new(transaction.open_table(ENTRIES)?) })
    }

    fn get_value(&self, key: &[u8]) -> Result<Option<Bytes>, Failure> {
        no_panic(|| {
            let value = ReadableTable::get(&*self.entries, key)?;
            Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
        })
    }

    async fn read_range(&self, range: KeyRange, limit: RangeLimit) -> Result<RangePage, KvError> {
        let mut reading = PageReading { range, limit, bytes: 0, page: RangePage::default() };
        if reading.read(&self.entries, INLINE).map_err(Failure::into_read_error)? == Progress::Finished {
            return Ok(reading.page);
        }
        let entries = Arc::clone(&self.entries);
        let rest = move || -> Result<RangePage, Failure> {
            reading.read(&entries, limit)?;
            Ok(reading.page)
        };
        let rest = match tokio::runtime::Handle::try_current() {
            Ok(runtime) => match runtime.spawn_blocking(rest).await {
                Ok(rest) => rest,
                Err(error) => return Err(KvError::Unavailable(format!("read a range of the store: {error}"))),
            },
            Err(_) => rest(),
        };
        rest.map_err(Failure::into_read_error)
    }
}

impl KvSnapshot for RedbSnapshot {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, KvError>> {
        Box::pin(async move { self.get_value(key).map_err(Failure::into_read_error) })
    }

    fn range(&self, range: KeyRange, limit: RangeLimit) -> BoxFuture<'_, Result<RangePage, KvError>> {
        Box::pin(self.read_range(range, limit))
    }
}

/// redb trusts the pages of a file that was closed in order: a damaged one may make it panic.
pub(super) fn no_panic<T>(read: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(Failure::Corrupt("its engine cannot make sense of a page".into())))
}

/// A page that is being read, and what is left of its range.
struct PageReading {
    range: KeyRange,
    limit: RangeLimit,
    bytes: usize,
    page: RangePage,
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// The range or the page's own limit ended.
    Finished,
    /// The budget of this call ended first.
    Paused,
}

impl PageReading {
    /// Reads on until the page is finished or holds as much as `budget` allows.
    fn read(&mut self, entries: &Entries, budget: RangeLimit) -> Result<Progress, Failure> {
        no_panic(|| self.read_entries(entries, budget))
    }

    fn read_entries(&mut self, entries: &Entries, budget: RangeLimit) -> Result<Progress, Failure> {
        if self.range.is_empty() {
            return Ok(Progress::Finished);
        }
        let last = self.page.entries.last().map(|(key, _)| key.clone());
        let (start, end) = (&self.range.start[..], &self.range.end[..]);
        let bounds = match last.as_deref() {
            None => (Bound::Included(start), Bound::Excluded(end)),
            Some(last) if self.limit.reverse => (Bound::Included(start), Bound::Excluded(last)),
            Some(last) => (Bound::Excluded(last), Bound::Excluded(end)),
        };
        let found = ReadableTable::range::<&[u8]>(entries, bounds)?;
        if self.limit.reverse { self.take(found.rev(), budget) } else { self.take(found, budget) }
    }

    fn take<'a>(
        &mut self,
        found: impl Iterator<Item = Result<(AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>), StorageError>>,
        budget: RangeLimit,
    ) -> Result<Progress, Failure> {
        for entry in found {
            let (key, value) = entry?;
            if self.is_full(self.limit) {
                self.page.more = true;
                return Ok(Progress::Finished);
            }
            if self.is_full(budget) {
                return Ok(Progress::Paused);
            }
            let (key, value) = (Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value()));
            self.bytes += key.len() + value.len();
            self.page.entries.push((key, value));
        }
        Ok(Progress::Finished)
    }

    /// The first entry always fits the bytes.
    fn is_full(&self, limit: RangeLimit) -> bool {
        let entries = self.page.entries.len();
        entries >= limit.entries || (entries > 0 && self.bytes >= limit.bytes)
    }
}
