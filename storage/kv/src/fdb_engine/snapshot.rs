//! What a reader holds.

use std::sync::Arc;

use bytes::Bytes;
use foundationdb::{KeySelector, RangeOption, Transaction, future::FdbValues, options::StreamingMode};

use futures_util::TryFutureExt;

use super::cluster::{Cluster, Failed};
use crate::{BoxFuture, KeyRange, KvError, KvSnapshot, RangeLimit, RangePage, range::PageBuilder};

/// Most entries and bytes that are asked for at once.
const BATCH_ENTRIES_MAX: usize = 10_000;
const BATCH_BYTES_MAX: usize = 1_000_000;

/// The state at one version. FoundationDB keeps it for five seconds.
pub(super) struct FdbSnapshot {
    cluster: Arc<Cluster>,
    /// Has its read version and reads without conflicts.
    transaction: Transaction,
}

impl FdbSnapshot {
    pub(super) async fn take(cluster: &Arc<Cluster>) -> Result<Self, KvError> {
        let (transaction, _version) = cluster.begin_reading().await?;
        Ok(Self { cluster: Arc::clone(cluster), transaction })
    }

    async fn get_value(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        let key = self.cluster.options.key_prefix.key(key);
        let get = || self.transaction.get(&key, true).err_into::<Failed>();
        let value = self.cluster.in_time("read a key", get).await?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    async fn read_range(&self, range: KeyRange, limit: RangeLimit) -> Result<RangePage, KvError> {
        if range.is_empty() {
            return Ok(RangePage::default());
        }
        let prefix = &self.cluster.options.key_prefix;
        let mut rest = (prefix.key(&range.start), prefix.key(&range.end));
        let mut page = PageBuilder::new(limit);
        loop {
            let found = self.read_batch(&rest, &page, limit.reverse).await?;
            for entry in &found {
                let key = Bytes::copy_from_slice(prefix.strip(entry.key()));
                if !page.push(key, Bytes::copy_from_slice(entry.value())) {
                    return Ok(page.finish());
                }
            }
            let Some(last) = found.last().filter(|_| found.more()) else { return Ok(page.finish()) };
            if limit.reverse {
                rest.1 = last.key().to_vec();
            } else {
                rest.0 = [last.key(), &[0]].concat();
            }
        }
    }

    /// As much of the rest of the range as fits the page, and one entry more, if there is one: it says that the page is
    /// not the end of the range.
    async fn read_batch(
        &self,
        rest: &(Vec<u8>, Vec<u8>),
        page: &PageBuilder,
        reverse: bool,
    ) -> Result<FdbValues, KvError> {
        let (entries, bytes) = page.room();
        let batch = RangeOption {
            begin: KeySelector::first_greater_or_equal(&rest.0[..]),
            end: KeySelector::first_greater_or_equal(&rest.1[..]),
            limit: Some(if page.is_full() { 1 } else { entries.saturating_add(1).min(BATCH_ENTRIES_MAX) }),
            target_bytes: bytes.clamp(1, BATCH_BYTES_MAX),
            mode: StreamingMode::Exact,
            reverse,
            ..RangeOption::default()
        };
        let read = || self.transaction.get_range(&batch, 1, true).err_into::<Failed>();
        self.cluster.in_time("read a range", read).await
    }
}

impl KvSnapshot for FdbSnapshot {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Bytes>, KvError>> {
        Box::pin(self.get_value(key))
    }

    fn range(&self, range: KeyRange, limit: RangeLimit) -> BoxFuture<'_, Result<RangePage, KvError>> {
        Box::pin(self.read_range(range, limit))
    }
}
