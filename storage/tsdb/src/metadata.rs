//! What metrics mean. Byte map: `docs/format/metadata.md`.

use bytes::Bytes;
use tidemark_kv::{Commit, CommitOutcome, KeyRange, KvError, KvSnapshot};
use tidemark_model::{BoxFuture, DocumentError, MetadataStore, MetricMetadata, NAME_BYTES_MAX, RateKind, TimestampMs};

use crate::{
    ByteReader, Scan, Store, StoreError,
    documents::{unavailable, unknown},
    keys, put_text, put_varint,
    scan::after,
    stored_value,
};

const FORMAT: u8 = 2;
/// Without the time of the last word.
const FORMAT_1: u8 = 1;
/// What is said again sooner is not written again.
const TOUCH_MS: TimestampMs = 3_600_000;
/// Entries of one commit.
const COMMIT_ENTRIES: usize = 200;
/// Most bytes of a unit or a description.
const TEXT_BYTES_MAX: usize = 2_000;
/// How often a merge starts again because others write the same metrics.
const ATTEMPTS_MAX: usize = 16;
/// What errors call the collection.
const COLLECTION: &str = "metadata";

impl MetadataStore for Store {
    fn put_metadata(&self, entries: Vec<MetricMetadata>) -> BoxFuture<'_, Result<(), DocumentError>> {
        Box::pin(async move {
            entries.iter().try_for_each(check_sizes)?;
            for entries in entries.chunks(COMMIT_ENTRIES) {
                self.merge_metadata(entries).await?;
            }
            Ok(())
        })
    }

    fn metadata<'a>(&'a self, metric: &'a str) -> BoxFuture<'a, Result<Option<MetricMetadata>, DocumentError>> {
        Box::pin(async move {
            let snapshot = self.inner.kv.snapshot().await.map_err(|error| unavailable(&error))?;
            Ok(read(snapshot.as_ref(), metric).await?.map(|known| known.metadata))
        })
    }
}

impl Store {
    async fn merge_metadata(&self, entries: &[MetricMetadata]) -> Result<(), DocumentError> {
        for _ in 0..ATTEMPTS_MAX {
            let snapshot = self.inner.kv.snapshot().await.map_err(|error| unavailable(&error))?;
            let now = self.inner.clock.now_ms();
            let mut commit = Commit::new();
            for entry in merged(entries) {
                let known = read(snapshot.as_ref(), &entry.metric).await?;
                let is_fresh = known.as_ref().is_some_and(|known| now < known.touched_ms + TOUCH_MS);
                let (before, known) =
                    known.map_or((None, MetricMetadata::default()), |known| (Some(known.value), known.metadata));
                let after = merge(known.clone(), &entry);
                if !is_fresh || after != known {
                    let key = keys::metadata(&entry.metric);
                    commit.expect(key.clone(), before).put(key, encode(&after, now));
                }
            }
            if commit.operations.is_empty() {
                return Ok(());
            }
            match self.inner.kv.commit(commit).await {
                CommitOutcome::Done(_) => return Ok(()),
                CommitOutcome::Refused(KvError::Conflict { .. }) => {}
                CommitOutcome::Refused(error) => return Err(unavailable(&error)),
                CommitOutcome::Unknown(error) => {
                    return Err(unknown(COLLECTION, entries.first().map_or("", |entry| &entry.metric), &error));
                }
            }
        }
        let metric = entries.first().map_or_else(String::new, |entry| entry.metric.clone());
        Err(DocumentError::Conflict { collection: COLLECTION.to_owned(), id: metric })
    }
}

/// One entry per metric: what later entries say wins.
fn merged(entries: &[MetricMetadata]) -> Vec<MetricMetadata> {
    let mut by_metric = std::collections::BTreeMap::<&str, MetricMetadata>::new();
    for entry in entries {
        let known = by_metric.remove(entry.metric.as_str()).unwrap_or_default();
        by_metric.insert(&entry.metric, merge(known, entry));
    }
    by_metric.into_values().collect()
}

fn merge(known: MetricMetadata, entry: &MetricMetadata) -> MetricMetadata {
    let text = |known: String, entry: &str| if entry.is_empty() { known } else { entry.to_owned() };
    MetricMetadata {
        metric: entry.metric.clone(),
        unit: text(known.unit, &entry.unit),
        rate: entry.rate.or(known.rate),
        description: text(known.description, &entry.description),
    }
}

/// What is stored of a metric.
pub(crate) struct Known {
    /// As it is in the store.
    value: Bytes,
    pub(crate) metadata: MetricMetadata,
    /// When it was said last, to the hour; 0 when that is unknown.
    pub(crate) touched_ms: TimestampMs,
}

pub(crate) async fn read(snapshot: &dyn KvSnapshot, metric: &str) -> Result<Option<Known>, StoreError> {
    let key = keys::metadata(metric);
    let Some(value) = snapshot.get(&key).await? else { return Ok(None) };
    let (metadata, touched_ms) = decode_value(&key, &value)?;
    Ok(Some(Known { value, metadata, touched_ms }))
}

/// Adds to a commit what puts what is known of a metric under another name. What is known under that one already stays.
pub(crate) async fn take_along(
    commit: &mut Commit,
    snapshot: &dyn KvSnapshot,
    old: &str,
    new: &str,
) -> Result<(), StoreError> {
    let Some(known) = read(snapshot, old).await? else { return Ok(()) };
    let there = read(snapshot, new).await?;
    let (before, there, touched_ms) = match there {
        Some(there) => (Some(there.value), there.metadata, there.touched_ms.max(known.touched_ms)),
        None => (None, MetricMetadata { metric: new.to_owned(), ..MetricMetadata::default() }, known.touched_ms),
    };
    let after = encode(&merge(known.metadata, &there), touched_ms);
    commit.expect(keys::metadata(old), Some(known.value)).delete(keys::metadata(old));
    commit.expect(keys::metadata(new), before).put(keys::metadata(new), after);
    Ok(())
}

/// At most `limit` metrics in byte order, and when something was said of each.
pub(crate) async fn list(
    snapshot: &dyn KvSnapshot,
    after_metric: Option<&str>,
    limit: usize,
) -> Result<Vec<(MetricMetadata, TimestampMs)>, StoreError> {
    let mut range = KeyRange::prefix(&keys::metadata(""));
    if let Some(metric) = after_metric {
        range.start = after(&keys::metadata(metric));
    }
    let mut found = Vec::new();
    let mut scan = Scan::new(range);
    while let Some(page) = scan.next(snapshot).await? {
        for (key, value) in page {
            if found.len() == limit {
                return Ok(found);
            }
            found.push(decode_value(&key, &value)?);
        }
    }
    Ok(found)
}

fn encode(metadata: &MetricMetadata, now: TimestampMs) -> Bytes {
    stored_value::build(FORMAT, |out| {
        put_text(out, &metadata.unit);
        out.push(match metadata.rate {
            None => 0,
            Some(RateKind::Gauge) => 1,
            Some(RateKind::Counter) => 2,
            Some(RateKind::Rate) => 3,
        });
        put_text(out, &metadata.description);
        put_varint(out, u64::try_from(now).unwrap_or(0));
    })
}

fn decode_value(key: &[u8], value: &[u8]) -> Result<(MetricMetadata, TimestampMs), StoreError> {
    let metric = keys::described_metric(key).ok_or_else(|| stored_value::damaged(key, "it names no metric"))?;
    if value.first() == Some(&FORMAT_1) {
        return stored_value::read(FORMAT_1, key, value, |reader| Some((decode(metric, reader)?, 0)));
    }
    stored_value::read(FORMAT, key, value, |reader| {
        Some((decode(metric, reader)?, i64::try_from(reader.varint()?).ok()?))
    })
}

fn decode(metric: &str, reader: &mut ByteReader<'_>) -> Option<MetricMetadata> {
    let unit = reader.text()?.to_owned();
    let rate = match reader.byte()? {
        0 => None,
        1 => Some(RateKind::Gauge),
        2 => Some(RateKind::Counter),
        3 => Some(RateKind::Rate),
        _ => return None,
    };
    Some(MetricMetadata { metric: metric.to_owned(), unit, rate, description: reader.text()?.to_owned() })
}

fn check_sizes(entry: &MetricMetadata) -> Result<(), DocumentError> {
    let sizes = [
        (entry.metric.len(), NAME_BYTES_MAX),
        (entry.unit.len(), TEXT_BYTES_MAX),
        (entry.description.len(), TEXT_BYTES_MAX),
    ];
    match sizes.into_iter().find(|(bytes, limit)| bytes > limit) {
        Some((bytes, limit)) => {
            let id = entry.metric.chars().take(80).collect();
            Err(DocumentError::TooLarge { collection: COLLECTION.to_owned(), id, bytes, limit })
        }
        None => Ok(()),
    }
}

/// Reads an entry and says what is wrong with it.
pub(crate) fn check(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    decode_value(key, value).map(drop)
}
