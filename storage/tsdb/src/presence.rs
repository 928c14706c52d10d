//! Series whose points are all gone. Byte map: `docs/format/presence.md`.
//!
//! Their names disappear from suggestions and listings, and come back with the next point; ids are never given out again. A
//! name that no series ever had, because it was only given an id, is suggested. Queries look at the points and not at this
//! set, so that it can never hide any.
//!
//! The set is stored. To find it out at the start was turned down: directories say which range of series a group has and
//! not which of them, so every group of every metric would have to be read. A metric is looked at again when points of it
//! were deleted, and while some of its series are hidden; a write shows its series at once.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use parking_lot::RwLock;
use roaring::RoaringBitmap;
use tidemark_kv::{Commit, CommitOutcome, KvError, KvSnapshot};
use tidemark_model::{ReadError, SeriesId, TimestampMs};

use crate::{
    Index, Scan, Shard, Store, StoreError,
    index::{metric_of, number_of, series_id},
    keys,
    reader::Selected,
    shard::LastSealed,
    stored_value,
};

const FORMAT: u8 = 1;
/// Numbers of series in one row: it takes at most 32 KB.
const NUMBERS_PER_ROW: u32 = 1 << 18;
/// Series that are looked at under one lock.
const SERIES_PER_LOCK: usize = 4_096;
/// How often a row is written again because others change it.
const ATTEMPTS_MAX: usize = 16;

impl Store {
    /// Looks for series without points: among those of metrics of which points went away since the last time, and of
    /// metrics that have such series already.
    ///
    /// # Errors
    /// When blocks cannot be read or the result cannot be stored. The metrics that are left are looked at the next time.
    pub(crate) async fn check_presence(&self) -> Result<(), ReadError> {
        self.load_presence().await?;
        let mut metrics = self.inner.index.read().take_doubts();
        while let Some(metric) = metrics.pop_first() {
            if let Err(error) = self.check_presence_of(metric).await {
                let index = self.inner.index.read();
                metrics.into_iter().chain([metric]).for_each(|metric| index.doubt_presence(metric));
                return Err(error);
            }
        }
        Ok(())
    }

    /// After points were written and before they are acknowledged: their series have points.
    pub(crate) async fn show_written(&self, ids: impl Iterator<Item = SeriesId>) {
        let hidden: Vec<SeriesId> = {
            let index = self.inner.index.read();
            if index.hidden().is_empty() {
                return;
            }
            ids.filter(|&id| index.slot_of(id).is_some_and(|slot| index.hidden().contains(slot))).collect()
        };
        let metrics: BTreeSet<u32> = hidden.iter().map(|&id| metric_of(id)).collect();
        if !hidden.is_empty() {
            let mut index = self.inner.index.write();
            for id in hidden {
                if let Some(slot) = index.slot_of(id) {
                    index.show(slot);
                }
            }
        }
        for metric in metrics {
            if let Err(error) = self.store_presence(metric).await {
                tracing::warn!(metric, %error, "that series have points again is not stored yet; the next check does it");
                self.inner.index.read().doubt_presence(metric);
            }
        }
    }

    /// In a shared store, other processes find out which series have points, too, and write series that were hidden
    /// without knowing it. A series that is hidden and has points in a head is shown; once they are sealed, the check that
    /// follows the seal does so.
    ///
    /// # Errors
    /// When the rows or the log cannot be read.
    pub(crate) async fn catch_up_presence(&self) -> Result<(), ReadError> {
        if !self.inner.follower.sharing.is_shared() {
            return Ok(());
        }
        self.load_presence().await?;
        let hidden = self.hidden_by_shard();
        for (number, series) in hidden {
            let Some(shard) = self.inner.shards.get(usize::from(number)) else { continue };
            self.inner.follower.catch_up(shard).await?;
            self.show_written(with_head(shard, &series).into_iter()).await;
        }
        Ok(())
    }

    async fn load_presence(&self) -> Result<(), ReadError> {
        if !self.inner.follower.sharing.is_shared() {
            return Ok(());
        }
        let snapshot = self.inner.kv.snapshot().await.map_err(StoreError::from)?;
        Ok(load(snapshot.as_ref(), &self.inner.index).await?)
    }

    fn hidden_by_shard(&self) -> BTreeMap<u16, Vec<(SeriesId, u32)>> {
        let mut by_shard = BTreeMap::<u16, Vec<(SeriesId, u32)>>::new();
        let index = self.inner.index.read();
        for series in index.hidden().iter().filter_map(|slot| index.series(slot)) {
            by_shard.entry(series.target.shard).or_default().push((series.target.id, series.target.local));
        }
        by_shard
    }

    /// Hides and shows the series of a metric.
    async fn check_presence_of(&self, metric: u32) -> Result<(), ReadError> {
        let (series, shard) = {
            let index = self.inner.index.read();
            let Some(entry) = index.metric(metric) else { return Ok(()) };
            let slots = entry.by_number.iter().filter_map(|&slot| index.series(slot));
            let series: Vec<Selected> = (0..).zip(slots).map(|(at, series)| Selected::new(series.target, at)).collect();
            (series, usize::from(entry.shard))
        };
        let Some(shard) = self.inner.shards.get(shard) else { return Ok(()) };
        self.inner.follower.catch_up(shard).await?;
        self.read_directories_in_peace(shard, &series, TimestampMs::MIN).await?;
        // Rows that stand alone answer for their series.
        let with_rows = shard.state.read().catalogue.rollups.series_alone(metric);
        let gone = without_points(shard, &series) - with_rows;
        {
            let mut index = self.inner.index.write();
            for id in series.iter().map(|series| series.id) {
                match index.slot_of(id) {
                    Some(slot) if gone.contains(number_of(id)) => index.hide(slot),
                    Some(slot) => index.show(slot),
                    None => {}
                }
            }
        }
        // IMPORTANT: after they are hidden. What was written in between is in the heads by now, and what is written from
        // now on is shown by its writer.
        let hidden: Vec<Selected> = series.into_iter().filter(|series| gone.contains(number_of(series.id))).collect();
        let still_gone = without_points(shard, &hidden);
        self.show_written(hidden.iter().map(|series| series.id).filter(|id| !still_gone.contains(number_of(*id))))
            .await;
        Ok(self.store_presence(metric).await?)
    }

    /// Writes the rows of a metric as they are in memory.
    async fn store_presence(&self, metric: u32) -> Result<(), StoreError> {
        let snapshot = self.inner.kv.snapshot().await?;
        let mut rows = BTreeSet::new();
        let mut scan = Scan::new(keys::presence_of(metric));
        while let Some(page) = scan.next(snapshot.as_ref()).await? {
            rows.extend(page.iter().filter_map(|(key, _)| Some(keys::presence_row(key)?.1)));
        }
        rows.extend(self.inner.index.read().hidden_numbers(metric).iter().map(|number| number / NUMBERS_PER_ROW));
        for row in rows {
            self.store_row(metric, row).await?;
        }
        Ok(())
    }

    async fn store_row(&self, metric: u32, row: u32) -> Result<(), StoreError> {
        let key = keys::presence(metric, row);
        let mut error = KvError::Unavailable("others change which series have points all the time".to_owned());
        for _ in 0..ATTEMPTS_MAX {
            let before = self.inner.kv.snapshot().await?.get(&key).await?;
            let first = row.saturating_mul(NUMBERS_PER_ROW);
            let hidden = self.inner.index.read().hidden_numbers(metric);
            let in_row =
                hidden.iter().filter_map(|number| number.checked_sub(first).filter(|rest| *rest < NUMBERS_PER_ROW));
            let in_row: RoaringBitmap = in_row.collect();
            let after = (!in_row.is_empty()).then(|| encode(&in_row));
            if before == after {
                return Ok(());
            }
            let mut commit = Commit::new();
            commit.expect(key.clone(), before);
            match after {
                Some(value) => commit.put(key.clone(), value),
                None => commit.delete(key.clone()),
            };
            match self.inner.kv.commit(commit).await {
                CommitOutcome::Done(_) => return Ok(()),
                CommitOutcome::Refused(KvError::Conflict { .. }) => {}
                CommitOutcome::Refused(refused) => return Err(refused.into()),
                CommitOutcome::Unknown(unknown) => error = unknown,
            }
        }
        Err(error.into())
    }
}

/// Numbers of the series that have no point in a head and, as far as the directories were read, none in a block.
fn without_points(shard: &Shard, series: &[Selected]) -> RoaringBitmap {
    let mut gone = RoaringBitmap::new();
    for some in series.chunks(SERIES_PER_LOCK) {
        let state = shard.state.read();
        let is_gone = |series: &&Selected| {
            state.sealed_last.get(series.local) == LastSealed::Known(None)
                && state.last_in_heads(series.id, series.local).is_none()
        };
        gone.extend(some.iter().filter(is_gone).map(|series| number_of(series.id)));
    }
    gone
}

/// Those of some series that have a point in a head.
fn with_head(shard: &Shard, series: &[(SeriesId, u32)]) -> Vec<SeriesId> {
    let mut found = Vec::new();
    for some in series.chunks(SERIES_PER_LOCK) {
        let state = shard.state.read();
        let written = some.iter().filter(|(id, local)| state.last_in_heads(*id, *local).is_some());
        found.extend(written.map(|(id, _)| *id));
    }
    found
}

/// Hides what the rows say and shows the rest.
pub(crate) async fn load(snapshot: &dyn KvSnapshot, index: &RwLock<Index>) -> Result<(), StoreError> {
    let mut hidden = RoaringBitmap::new();
    let mut scan = Scan::new(keys::all_presence());
    while let Some(page) = scan.next(snapshot).await? {
        for (key, value) in page {
            let (metric, row) =
                keys::presence_row(&key).ok_or_else(|| stored_value::damaged(&key, "it names no metric and row"))?;
            let numbers = decode(&key, &value)?;
            let index = index.read();
            let of_row = numbers.iter().filter_map(|number| row.checked_mul(NUMBERS_PER_ROW)?.checked_add(number));
            hidden.extend(of_row.filter_map(|number| index.slot_of(series_id(metric, number))));
        }
    }
    if *index.read().hidden() == hidden {
        return Ok(());
    }
    let mut index = index.write();
    let known = index.hidden().clone();
    (&known - &hidden).into_iter().for_each(|slot| index.show(slot));
    (&hidden - &known).into_iter().for_each(|slot| index.hide(slot));
    Ok(())
}

/// Reads a row and says what is wrong with it.
pub(crate) fn check(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    if keys::presence_row(key).is_none() {
        return Err(stored_value::damaged(key, "it names no metric and row"));
    }
    decode(key, value).map(drop)
}

fn encode(numbers: &RoaringBitmap) -> Bytes {
    stored_value::build(FORMAT, |out| {
        // Writing to memory does not fail.
        numbers.serialize_into(out).ok();
    })
}

fn decode(key: &[u8], value: &[u8]) -> Result<RoaringBitmap, StoreError> {
    let body = stored_value::open(FORMAT, value).map_err(|reason| stored_value::damaged(key, reason))?;
    RoaringBitmap::deserialize_from(body).map_err(|error| stored_value::damaged(key, error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidemark_kv::{Kv, MemoryKv};
    use tidemark_model::{
        DeleteOutcome, DeleteRequest, ManualClock, NameKind, PointBatch, PointBatchBuilder, PointDeleter, PointSink,
        SeriesCatalog, SeriesSelector, TimeRange, Value, WriteOutcome,
    };

    use super::*;
    use crate::StoreOptions;

    const START: TimestampMs = 1_789_948_800_000;

    async fn open(kv: &Arc<MemoryKv>) -> Store {
        let clock = Arc::new(ManualClock::new(START));
        Store::open(Arc::clone(kv) as Arc<dyn Kv>, clock, StoreOptions::default()).await.unwrap()
    }

    fn batch(points: &[(&str, &str, &str)]) -> PointBatch {
        let mut builder = PointBatchBuilder::default();
        for (metric, key, value) in points {
            builder.push(metric, &mut [(*key, *value)], START, Value::Int(1)).unwrap();
        }
        builder.finish()
    }

    async fn write(store: &Store, points: &[(&str, &str, &str)]) {
        assert!(matches!(store.write(batch(points)).await, WriteOutcome::Done(_)));
    }

    async fn create(store: &Store, points: &[(&str, &str, &str)]) {
        let batch = batch(points);
        let missing: Vec<usize> = (0..batch.series_count()).collect();
        assert_eq!(store.inner.creator.create(&batch, &missing).await, Ok(Vec::new()));
        let index = store.inner.index.read();
        points.iter().for_each(|(metric, ..)| index.doubt_presence(index.names(NameKind::Metric).id(metric).unwrap()));
    }

    async fn names(store: &Store) -> [Vec<String>; 3] {
        let mut found = [const { Vec::new() }; 3];
        for (kind, names) in [NameKind::Metric, NameKind::TagKey, NameKind::TagValue].into_iter().zip(&mut found) {
            *names = store.suggest(kind, "", 100).await.unwrap();
        }
        found
    }

    async fn lookup(store: &Store, metric: &str) -> Vec<String> {
        let page = store.lookup(&SeriesSelector::metric(metric), 0, 100).await.unwrap();
        assert_eq!(page.total, page.series.len());
        page.series.iter().map(|series| series.key.to_string()).collect()
    }

    #[tokio::test]
    async fn names_without_points_disappear_and_come_back_with_a_point() {
        let kv = Arc::new(MemoryKv::new());
        let store = open(&kv).await;
        write(&store, &[("cpu", "host", "a")]).await;
        create(&store, &[("cpu", "host", "b"), ("cpu", "rack", "a"), ("mem", "host", "a")]).await;
        let all = names(&store).await;
        assert_eq!(all.each_ref().map(Vec::len), [2, 2, 2]);
        store.check_presence().await.unwrap();
        let few = [vec!["cpu".to_owned()], vec!["host".to_owned()], vec!["a".to_owned()]];
        assert_eq!(names(&store).await, few);
        assert_eq!(
            (lookup(&store, "cpu").await, lookup(&store, "mem").await),
            (vec!["cpu{host=a}".to_owned()], vec![])
        );
        store.close().await;
        drop(store);

        let store = open(&kv).await;
        assert_eq!(names(&store).await, few);
        store.seal(crate::SealReason::Requested).await.unwrap();
        assert_eq!(names(&store).await, few);
        write(&store, &[("cpu", "host", "b"), ("cpu", "rack", "a"), ("mem", "host", "a")]).await;
        assert_eq!(names(&store).await, all);
        assert_eq!(store.inner.index.read().hidden().len(), 0);
        drop(store);

        let store = open(&kv).await;
        assert_eq!(names(&store).await, all);
        store.check_presence().await.unwrap();
        assert_eq!(names(&store).await, all);
        store.close().await;
    }

    #[tokio::test]
    async fn names_disappear_with_the_last_point_that_is_deleted() {
        let kv = Arc::new(MemoryKv::new());
        let store = open(&kv).await;
        write(&store, &[("cpu", "host", "a"), ("cpu", "host", "b")]).await;
        store.seal(crate::SealReason::Requested).await.unwrap();
        write(&store, &[("cpu", "host", "b"), ("mem", "host", "a")]).await;
        let selector = SeriesSelector::metric("cpu");
        let delete = async |range| {
            let request = DeleteRequest { selector: selector.clone(), range, series_max: 10 };
            assert!(matches!(store.delete(&request).await, DeleteOutcome::Done(_)));
        };
        delete(TimeRange::new(0, START)).await;
        assert_eq!(lookup(&store, "cpu").await, ["cpu{host=a}", "cpu{host=b}"]);
        delete(TimeRange::ALL).await;
        assert_eq!(lookup(&store, "cpu").await, Vec::<String>::new());
        assert_eq!(names(&store).await, [vec!["mem".to_owned()], vec!["host".to_owned()], vec!["a".to_owned()]]);
        write(&store, &[("cpu", "host", "b")]).await;
        assert_eq!(lookup(&store, "cpu").await, ["cpu{host=b}"]);
        store.close().await;
    }

    #[tokio::test]
    async fn a_check_shows_what_another_process_wrote() {
        let kv = Arc::new(MemoryKv::new());
        let store = open(&kv).await;
        write(&store, &[("cpu", "host", "a")]).await;
        let slot = store.inner.index.read().slot_of(series_id(1, 0)).unwrap();
        store.inner.index.write().hide(slot);
        store.store_presence(1).await.unwrap();
        assert_eq!(lookup(&store, "cpu").await, Vec::<String>::new());
        store.check_presence().await.unwrap();
        assert_eq!(lookup(&store, "cpu").await, ["cpu{host=a}"]);
        assert!(kv.snapshot().await.unwrap().get(&keys::presence(1, 0)).await.unwrap().is_none());
        store.close().await;
    }

    #[test]
    fn rows_survive_their_bytes() {
        let numbers: RoaringBitmap = (0..NUMBERS_PER_ROW).step_by(2).collect();
        let value = encode(&numbers);
        assert!(value.len() < 40_000, "{}", value.len());
        assert_eq!(decode(b"P", &value), Ok(numbers));
        assert!(decode(b"P", &stored_value::build(FORMAT, |out| out.extend_from_slice(b"no bitmap"))).is_err());
    }
}
