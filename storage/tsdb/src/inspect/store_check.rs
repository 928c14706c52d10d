//! Walks through a whole store.

use std::sync::Arc;

use bytes::Bytes;
use tidemark_kv::{KeyRange, Kv, KvError, KvSnapshot, RangeLimit};

use super::{BlockWindows, CheckReport, Checker, KindTotals, Subject};
use crate::{keys, scan::after};

/// Entries and bytes that are checked in one go on a blocking thread.
const PAGE: RangeLimit = RangeLimit { entries: 10_000, bytes: 4_000_000, reverse: false };

/// Looks at every entry of a store that nobody else changes meanwhile. `progress` hears of what was seen so far.
///
/// # Errors
/// What the engine said. What is wrong with entries is in the report.
///
/// # Cancel safety
/// Dropping the future has no effect on stored data.
pub async fn check_store(kv: &dyn Kv, progress: &mut (dyn FnMut(KindTotals) + Send)) -> Result<CheckReport, KvError> {
    let mut walk = Walk { kv, snapshot: kv.snapshot().await?, checker: Some(Checker::new(Subject::Store)), progress };
    // What others are compared with comes first.
    let first = [keys::all_fences(), keys::all_series(), keys::all_names()];
    for range in &first {
        walk.range(range.clone()).await?;
    }
    walk.blocks().await?;
    for range in keys::ranges_between(&[&first[..], &[keys::all_directories(), keys::all_groups()]].concat()) {
        walk.range(range).await?;
    }
    Ok(walk.checker.take().unwrap_or_else(|| Checker::new(Subject::Store)).finish())
}

struct Walk<'a> {
    kv: &'a dyn Kv,
    snapshot: Arc<dyn KvSnapshot>,
    /// Always there but while a blocking thread has it.
    checker: Option<Checker>,
    progress: &'a mut (dyn FnMut(KindTotals) + Send),
}

impl Walk<'_> {
    async fn range(&mut self, mut range: KeyRange) -> Result<(), KvError> {
        while !range.is_empty() {
            let page = match self.snapshot.range(range.clone(), PAGE).await {
                Err(KvError::TooOld) => {
                    self.snapshot = self.kv.snapshot().await?;
                    continue;
                }
                page => page?,
            };
            range.start = match page.entries.last() {
                Some((last, _)) if page.more => after(last),
                _ => range.end.clone(),
            };
            self.check(page.entries).await?;
        }
        Ok(())
    }

    async fn blocks(&mut self) -> Result<(), KvError> {
        let mut next = Some(BlockWindows::all());
        while let Some(windows) = next {
            let window = match windows.window(self.snapshot.as_ref()).await {
                Err(KvError::TooOld) => {
                    self.snapshot = self.kv.snapshot().await?;
                    next = Some(windows);
                    continue;
                }
                window => window?,
            };
            self.range(window.groups).await?;
            self.check(window.directories).await?;
            if let Some(checker) = &mut self.checker {
                checker.end_window();
            }
            next = window.next.map(BlockWindows::from);
        }
        Ok(())
    }

    async fn check(&mut self, entries: Vec<(Bytes, Bytes)>) -> Result<(), KvError> {
        let Some(mut checker) = self.checker.take() else { return Ok(()) };
        let checked = tokio::task::spawn_blocking(move || {
            entries.iter().for_each(|(key, value)| checker.entry(key, value));
            let totals = checker.totals();
            (checker, totals)
        });
        let (checker, totals) =
            checked.await.map_err(|error| KvError::Unavailable(format!("the check ended early: {error}")))?;
        self.checker = Some(checker);
        (self.progress)(totals);
        Ok(())
    }
}
