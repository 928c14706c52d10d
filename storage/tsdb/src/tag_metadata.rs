//! What is known of the things that tags name. Byte map: `docs/format/tag-metadata.md`.

mod renaming;

pub(crate) use self::renaming::OldTags;

use std::collections::BTreeSet;

use bytes::Bytes;
use tidemark_kv::{Commit, CommitOutcome, KeyRange, KvSnapshot};
use tidemark_model::{BoxFuture, DescribedMetric, DocumentError, MetadataCatalog, NameKind, TagMetadata, TimestampMs};

use crate::{
    Scan, Store, StoreError,
    documents::{unavailable, unknown},
    keys, metadata, put_text, put_varint, stored_value,
};

const FORMAT: u8 = 1;
const REFERENCE_FORMAT: u8 = 1;
/// Most bytes of the tags of one entry, of its name and of its value. Keys hold tags and name twice over.
const TAGS_BYTES_MAX: usize = 2_000;
const NAME_BYTES_MAX: usize = 200;
const VALUE_BYTES_MAX: usize = 10_000;
/// Bytes of a commit after which no further entry is added to it; one adds at most 100 KB.
const COMMIT_BYTES: usize = 700_000;
/// What is said again sooner is not written again.
const TOUCH_MS: TimestampMs = 3_600_000;
/// Tag keys that are looked at before the index is let go of.
const KEYS_PER_LOCK: usize = 4_096;
/// What errors call the collection.
const COLLECTION: &str = "metadata of tags";

impl MetadataCatalog for Store {
    fn described_metrics<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<DescribedMetric>, DocumentError>> {
        Box::pin(async move {
            let snapshot = self.inner.kv.snapshot().await.map_err(|error| unavailable(&error))?;
            let known = metadata::list(snapshot.as_ref(), after, limit).await?;
            Ok(known.into_iter().map(|(metadata, touched_ms)| self.describe(metadata, touched_ms)).collect())
        })
    }

    fn described_metric<'a>(
        &'a self,
        metric: &'a str,
    ) -> BoxFuture<'a, Result<Option<DescribedMetric>, DocumentError>> {
        Box::pin(async move {
            let snapshot = self.inner.kv.snapshot().await.map_err(|error| unavailable(&error))?;
            let known = metadata::read(snapshot.as_ref(), metric).await?;
            Ok(known.map(|known| self.describe(known.metadata, known.touched_ms)))
        })
    }

    fn put_tag_metadata(&self, entries: Vec<TagMetadata>) -> BoxFuture<'_, Result<(), DocumentError>> {
        Box::pin(async move {
            entries.iter().try_for_each(check_sizes)?;
            let now = self.inner.clock.now_ms();
            let snapshot = self.inner.kv.snapshot().await.map_err(|error| unavailable(&error))?;
            let mut commit = Commit::new();
            for entry in entries {
                let key = keys::tag_metadata(&entry.tags, &entry.name);
                let known = read(snapshot.as_ref(), &key).await?;
                let is_known = |known: TagMetadata| known.value == entry.value && now < known.touched_ms + TOUCH_MS;
                if known.is_some_and(is_known) {
                    continue;
                }
                for tag in &entry.tags {
                    commit.put(keys::tag_reference(tag, &key), stored_value::build(REFERENCE_FORMAT, |_| {}));
                }
                commit.put(key, encode(&entry.value, now));
                if commit.bytes() > COMMIT_BYTES {
                    self.commit_tag_metadata(std::mem::take(&mut commit)).await?;
                }
            }
            self.commit_tag_metadata(commit).await
        })
    }

    fn tag_metadata<'a>(
        &'a self,
        tags: &'a [(String, String)],
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<TagMetadata>, DocumentError>> {
        Box::pin(async move { Ok(self.find_tag_metadata(tags, limit).await?) })
    }

    fn delete_tag_metadata(&self, entries: Vec<TagMetadata>) -> BoxFuture<'_, Result<(), DocumentError>> {
        Box::pin(async move {
            entries.iter().try_for_each(check_sizes)?;
            let mut commit = Commit::new();
            for entry in entries {
                let key = keys::tag_metadata(&entry.tags, &entry.name);
                for tag in &entry.tags {
                    commit.delete(keys::tag_reference(tag, &key));
                }
                commit.delete(key);
                if commit.bytes() > COMMIT_BYTES {
                    self.commit_tag_metadata(std::mem::take(&mut commit)).await?;
                }
            }
            self.commit_tag_metadata(commit).await
        })
    }
}

impl Store {
    async fn commit_tag_metadata(&self, commit: Commit) -> Result<(), DocumentError> {
        if commit.operations.is_empty() {
            return Ok(());
        }
        match self.inner.kv.commit(commit).await {
            CommitOutcome::Done(_) => Ok(()),
            CommitOutcome::Refused(error) => Err(unavailable(&error)),
            CommitOutcome::Unknown(error) => Err(unknown(COLLECTION, "several", &error)),
        }
    }

    async fn find_tag_metadata(&self, tags: &[(String, String)], limit: usize) -> Result<Vec<TagMetadata>, StoreError> {
        let snapshot = self.inner.kv.snapshot().await?;
        let mut found = BTreeSet::new();
        for tag in tags {
            let prefix = keys::tag_reference(tag, &[]);
            let mut scan = Scan::new(KeyRange::prefix(&prefix));
            while let Some(page) = scan.next(snapshot.as_ref()).await? {
                found.extend(page.iter().filter_map(|(key, _)| Some(key.slice_ref(key.get(prefix.len()..)?))));
                if found.len() >= limit {
                    break;
                }
            }
        }
        let mut entries = Vec::new();
        for key in found.into_iter().take(limit) {
            entries.extend(read(snapshot.as_ref(), &key).await?);
        }
        Ok(entries)
    }

    fn describe(&self, metadata: tidemark_model::MetricMetadata, touched_ms: TimestampMs) -> DescribedMetric {
        let mut tag_keys = Vec::new();
        for from in (1..).step_by(KEYS_PER_LOCK) {
            let index = self.inner.index.read();
            let names = index.names(NameKind::TagKey);
            let entry = index.names(NameKind::Metric).id(&metadata.metric).and_then(|id| index.metric(id));
            let Some(entry) = entry.filter(|_| from <= names.len()) else { break };
            let ids = (from..from + KEYS_PER_LOCK).filter_map(|id| u32::try_from(id).ok());
            let has = |id: &u32| index.postings(*id).is_some_and(|postings| !postings.any.is_disjoint(&entry.slots));
            tag_keys.extend(ids.filter(has).filter_map(|id| Some(names.name(id)?.to_string())));
        }
        DescribedMetric { metadata, touched_ms, tag_keys }
    }
}

async fn read(snapshot: &dyn KvSnapshot, key: &[u8]) -> Result<Option<TagMetadata>, StoreError> {
    let Some(value) = snapshot.get(key).await? else { return Ok(None) };
    decode(key, &value).map(Some)
}

fn encode(value: &str, touched_ms: TimestampMs) -> Bytes {
    stored_value::build(FORMAT, |out| {
        put_varint(out, u64::try_from(touched_ms).unwrap_or(0));
        put_text(out, value);
    })
}

/// Reads a reference and says what is wrong with it.
pub(crate) fn check_reference(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    if keys::referred(key).is_none() {
        return Err(stored_value::damaged(key, "it refers to nothing"));
    }
    stored_value::read(REFERENCE_FORMAT, key, value, |_| Some(()))
}

/// Reads an entry, or says what is wrong with it.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<TagMetadata, StoreError> {
    let (tags, name) =
        keys::described_tags(key).ok_or_else(|| stored_value::damaged(key, "it names no tags and what is known"))?;
    stored_value::read(FORMAT, key, value, |reader| {
        let touched_ms = i64::try_from(reader.varint()?).ok()?;
        Some(TagMetadata { tags, name, value: reader.text()?.to_owned(), touched_ms })
    })
}

fn check_sizes(entry: &TagMetadata) -> Result<(), DocumentError> {
    let tags = entry.tags.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
    let sizes = [(tags, TAGS_BYTES_MAX), (entry.name.len(), NAME_BYTES_MAX), (entry.value.len(), VALUE_BYTES_MAX)];
    match sizes.into_iter().find(|(bytes, limit)| bytes > limit) {
        Some((bytes, limit)) => {
            let id = entry.name.chars().take(80).collect();
            Err(DocumentError::TooLarge { collection: COLLECTION.to_owned(), id, bytes, limit })
        }
        None => Ok(()),
    }
}
