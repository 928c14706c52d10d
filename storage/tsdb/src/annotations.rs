//! Notes about moments. Byte map: `docs/format/annotation.md`.
//!
//! Keys are in order of metric, time, series: what a query needs, the annotations of one metric in a window, is one range.
//! Series before time was turned down: a query of ten thousand series would have to look for each of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use tidemark_kv::{Commit, CommitOutcome, KeyRange, KvError};
use tidemark_model::{
    Annotation, AnnotationChange, AnnotationStore, AnnotationWrite, AnnotationsOf, BoxFuture, DocumentError, TimeRange,
    TimestampMs, Tsuid,
};

use crate::{
    ByteReader, Scan, Store, StoreError,
    documents::{unavailable, unknown},
    keys, put_text, put_varint, stored_value, unzigzag, zigzag,
};

const FORMAT: u8 = 1;
/// Most bytes of all texts of one annotation.
const TEXTS_BYTES_MAX: usize = 50_000;
/// Bytes of a commit after which no further annotation is added to it; one adds at most 105 KB.
const COMMIT_BYTES: usize = 800_000;
/// Annotations of one commit.
const COMMIT_ENTRIES: usize = 200;
/// How often a write starts again because others change the same annotations.
const ATTEMPTS_MAX: usize = 16;
/// What errors call the collection.
const COLLECTION: &str = "annotations";

impl AnnotationStore for Store {
    fn put_annotations(
        &self,
        changes: Vec<AnnotationChange>,
        write: AnnotationWrite,
    ) -> BoxFuture<'_, Result<Vec<Annotation>, DocumentError>> {
        Box::pin(async move {
            changes.iter().try_for_each(check_sizes)?;
            let mut written = Vec::with_capacity(changes.len());
            while let Some(rest) = changes.get(written.len()..).filter(|rest| !rest.is_empty()) {
                written.extend(self.put_some(rest, write).await?);
            }
            Ok(written)
        })
    }

    fn annotation<'a>(
        &'a self,
        tsuid: Option<&'a Tsuid>,
        start_ms: TimestampMs,
    ) -> BoxFuture<'a, Result<Option<Annotation>, DocumentError>> {
        Box::pin(async move {
            let key = keys::annotation(tsuid, start_ms);
            let snapshot = self.inner.kv.snapshot().await.map_err(|error| unavailable(&error))?;
            let value = snapshot.get(&key).await.map_err(|error| unavailable(&error))?;
            Ok(value.map(|value| decode(&key, &value)).transpose()?)
        })
    }

    fn annotations<'a>(
        &'a self,
        of: AnnotationsOf<'a>,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Annotation>, DocumentError>> {
        Box::pin(async move {
            let found = self.find_annotations(of, range, limit).await?;
            Ok(found.into_iter().map(|(_, annotation)| annotation).collect())
        })
    }

    fn delete_annotations<'a>(
        &'a self,
        of: AnnotationsOf<'a>,
        range: TimeRange,
    ) -> BoxFuture<'a, Result<usize, DocumentError>> {
        Box::pin(async move {
            let mut deleted = 0;
            loop {
                let found = self.find_annotations(of, range, COMMIT_ENTRIES).await?;
                if found.is_empty() {
                    return Ok(deleted);
                }
                let mut commit = Commit::new();
                for (key, _) in &found {
                    commit.delete(key.clone());
                }
                match self.inner.kv.commit(commit).await {
                    CommitOutcome::Done(_) => deleted += found.len(),
                    CommitOutcome::Refused(error) => return Err(unavailable(&error)),
                    CommitOutcome::Unknown(error) => return Err(unknown(COLLECTION, "several", &error)),
                }
            }
        })
    }
}

impl Store {
    /// Writes as many of the changes as one commit takes, at least one, and returns what they made.
    async fn put_some(
        &self,
        changes: &[AnnotationChange],
        write: AnnotationWrite,
    ) -> Result<Vec<Annotation>, DocumentError> {
        let mut outcome = None;
        for _ in 0..ATTEMPTS_MAX {
            let (commit, written) = self.plan_annotations(changes, write).await?;
            // Also after an unknown outcome: what was to be written is there.
            if commit.operations.is_empty() {
                return Ok(written);
            }
            match self.inner.kv.commit(commit).await {
                CommitOutcome::Done(_) => return Ok(written),
                CommitOutcome::Refused(KvError::Conflict { .. }) => {}
                CommitOutcome::Refused(error) => return Err(unavailable(&error)),
                CommitOutcome::Unknown(error) => outcome = Some(error),
            }
        }
        let id = changes.first().map_or_else(String::new, |change| change.start_time.to_string());
        match outcome {
            Some(error) => Err(unknown(COLLECTION, &id, &error)),
            None => Err(DocumentError::Conflict { collection: COLLECTION.to_owned(), id }),
        }
    }

    async fn plan_annotations(
        &self,
        changes: &[AnnotationChange],
        write: AnnotationWrite,
    ) -> Result<(Commit, Vec<Annotation>), StoreError> {
        let snapshot = self.inner.kv.snapshot().await?;
        let (mut commit, mut written) = (Commit::new(), Vec::new());
        // What earlier changes of this commit made.
        let mut made = HashMap::<Bytes, Annotation>::new();
        for change in changes.iter().take(COMMIT_ENTRIES) {
            if commit.bytes() > COMMIT_BYTES {
                break;
            }
            let key = keys::annotation(change.tsuid.as_ref(), change.start_ms());
            let known = match made.remove(&key) {
                Some(made) => Some(made),
                None => {
                    let before = snapshot.get(&key).await?;
                    let known = before.as_ref().map(|value| decode(&key, value)).transpose()?;
                    commit.expect(key.clone(), before);
                    known
                }
            };
            let annotation = change.apply_to(known.clone(), write);
            if known.as_ref() != Some(&annotation) {
                commit.put(key.clone(), encode(&annotation));
            }
            made.insert(key, annotation.clone());
            written.push(annotation);
        }
        Ok((commit, written))
    }

    async fn find_annotations(
        &self,
        of: AnnotationsOf<'_>,
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<(Bytes, Annotation)>, StoreError> {
        let mut found = Vec::new();
        let range = TimeRange::new(range.start.max(0), range.end.max(0));
        if range.is_empty() || limit == 0 {
            return Ok(found);
        }
        let (metrics, wanted): (Vec<u32>, Option<HashSet<&Tsuid>>) = match of {
            AnnotationsOf::Everything => (vec![keys::EVERYTHING], None),
            AnnotationsOf::Metrics(metrics) => (metrics.to_vec(), None),
            AnnotationsOf::Series(tsuids) => {
                let mut metrics: Vec<u32> = tsuids.iter().map(Tsuid::metric).collect();
                metrics.sort_unstable();
                metrics.dedup();
                (metrics, Some(tsuids.iter().collect()))
            }
        };
        let snapshot = self.inner.kv.snapshot().await?;
        for metric in metrics {
            let start = keys::annotations_from(metric, range.start);
            let mut scan = Scan::new(KeyRange::new(start, keys::annotations_from(metric, range.end)));
            while let Some(page) = scan.next(snapshot.as_ref()).await? {
                for (key, value) in page {
                    let annotation = decode(&key, &value)?;
                    let is_wanted = |wanted: &HashSet<&Tsuid>| {
                        annotation.tsuid.as_ref().is_some_and(|tsuid| wanted.contains(tsuid))
                    };
                    if wanted.as_ref().is_none_or(is_wanted) {
                        found.push((key, annotation));
                    }
                    if found.len() == limit {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
    }
}

fn encode(annotation: &Annotation) -> Bytes {
    stored_value::build(FORMAT, |out| {
        put_varint(out, zigzag(annotation.start_time));
        put_varint(out, zigzag(annotation.end_time));
        put_text(out, &annotation.description);
        put_text(out, &annotation.notes);
        put_varint(out, annotation.custom.len() as u64);
        for (name, value) in &annotation.custom {
            put_text(out, name);
            put_text(out, value);
        }
    })
}

fn decode(key: &[u8], value: &[u8]) -> Result<Annotation, StoreError> {
    let tsuid = keys::annotated(key).ok_or_else(|| stored_value::damaged(key, "it names no series and moment"))?;
    stored_value::read(FORMAT, key, value, |reader| decode_body(tsuid, reader))
}

/// Reads an entry and says what is wrong with it.
pub(crate) fn check(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    decode(key, value).map(drop)
}

fn decode_body(tsuid: Option<Tsuid>, reader: &mut ByteReader<'_>) -> Option<Annotation> {
    let (start_time, end_time) = (unzigzag(reader.varint()?), unzigzag(reader.varint()?));
    let (description, notes) = (reader.text()?.to_owned(), reader.text()?.to_owned());
    let count = reader.varint()?;
    let custom: Option<BTreeMap<_, _>> =
        (0..count).map(|_| Some((reader.text()?.to_owned(), reader.text()?.to_owned()))).collect();
    Some(Annotation { tsuid, start_time, end_time, description, notes, custom: custom? })
}

fn check_sizes(change: &AnnotationChange) -> Result<(), DocumentError> {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let custom = change.custom.iter().flatten().map(|(name, value)| name.len() + value.len() + 8);
    let bytes = text(&change.description) + text(&change.notes) + custom.sum::<usize>();
    if bytes <= TEXTS_BYTES_MAX {
        return Ok(());
    }
    let (collection, id) = (COLLECTION.to_owned(), change.start_time.to_string());
    Err(DocumentError::TooLarge { collection, id, bytes, limit: TEXTS_BYTES_MAX })
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn an_annotation_survives_its_bytes(
            metric in 0_u32..1 << 24,
            tags in collection::vec((0_u32..1 << 24, 0_u32..1 << 24), 0..4),
            start_time in 0_i64..9_999_999_999_999,
            end_time in any::<i64>(),
            texts in (".{0,20}", ".{0,20}"),
            custom in collection::btree_map(".{0,8}", ".{0,8}", 0..4),
        ) {
            let tsuid = (metric > 0).then(|| Tsuid::new(metric, &tags));
            let (description, notes) = texts;
            let annotation = Annotation { tsuid, start_time, end_time, description, notes, custom };
            let key = keys::annotation(annotation.tsuid.as_ref(), annotation.start_ms());
            prop_assert_eq!(decode(&key, &encode(&annotation)), Ok(annotation));
        }

        #[test]
        fn any_bytes_give_an_annotation_or_nothing(body in collection::vec(any::<u8>(), 0..60)) {
            decode_body(None, &mut ByteReader::new(&body));
        }
    }
}
