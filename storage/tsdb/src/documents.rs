//! Small records with versions. Byte map: `docs/format/document.md`.

use bytes::Bytes;
use tidemark_kv::{Commit, CommitOutcome, KeyRange, KvError, RangeLimit, VALUE_BYTES_MAX};
use tidemark_model::{BoxFuture, Document, DocumentError, DocumentStore, ExpectedVersion};

use crate::{ByteReader, Store, StoreError, keys, put_varint, scan::after, stored_value};

const FORMAT: u8 = 1;
/// Most bytes of a document's contents.
const DOCUMENT_BYTES_MAX: usize = VALUE_BYTES_MAX - 100;
/// Most bytes of a collection's name and of an id.
const NAME_BYTES_MAX: usize = 1_024;
/// How often a write that takes any version starts again because others write the same document.
const ATTEMPTS_MAX: usize = 16;

impl DocumentStore for Store {
    fn get<'a>(&'a self, collection: &'a str, id: &'a str) -> BoxFuture<'a, Result<Option<Document>, DocumentError>> {
        Box::pin(async move {
            let key = key_of(collection, id);
            let Some(value) = self.get_value(&key).await? else { return Ok(None) };
            Ok(Some(decode(&key, id.to_owned(), &value)?))
        })
    }

    fn put<'a>(
        &'a self,
        collection: &'a str,
        id: &'a str,
        expected: ExpectedVersion,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<u64, DocumentError>> {
        Box::pin(self.put_document(collection, id, expected, bytes))
    }

    fn delete<'a>(&'a self, collection: &'a str, id: &'a str) -> BoxFuture<'a, Result<(), DocumentError>> {
        Box::pin(async move {
            let mut commit = Commit::new();
            commit.delete(key_of(collection, id));
            match self.inner.kv.commit(commit).await {
                CommitOutcome::Done(_) => Ok(()),
                CommitOutcome::Refused(error) => Err(unavailable(&error)),
                CommitOutcome::Unknown(error) => Err(unknown(collection, id, &error)),
            }
        })
    }

    fn list<'a>(
        &'a self,
        collection: &'a str,
        after_id: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Document>, DocumentError>> {
        Box::pin(self.list_documents(collection, after_id, limit))
    }
}

impl Store {
    async fn get_value(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.inner.kv.snapshot().await?.get(key).await?)
    }

    async fn put_document(
        &self,
        collection: &str,
        id: &str,
        expected: ExpectedVersion,
        bytes: Vec<u8>,
    ) -> Result<u64, DocumentError> {
        check_sizes(collection, id, &bytes)?;
        let key = key_of(collection, id);
        for _ in 0..ATTEMPTS_MAX {
            let before = self.get_value(&key).await?;
            let version = match &before {
                Some(value) => Some(decode(&key, String::new(), value)?.version),
                None => None,
            };
            if !matches(expected, version) {
                return Err(conflict(collection, id));
            }
            // Not below the time, so that a document that was deleted and made anew does not repeat a version.
            let now = u64::try_from(self.inner.clock.now_ms()).unwrap_or(0);
            let version = version.map_or(1, |version| version + 1).max(now);
            let value = encode(version, &bytes);
            let mut commit = Commit::new();
            commit.expect(key.clone(), before).put(key.clone(), value.clone());
            match self.inner.kv.commit(commit).await {
                CommitOutcome::Done(_) => return Ok(version),
                CommitOutcome::Refused(KvError::Conflict { .. }) => {}
                CommitOutcome::Refused(error) => return Err(unavailable(&error)),
                CommitOutcome::Unknown(error) => match self.get_value(&key).await {
                    Ok(Some(stored)) if stored == value => return Ok(version),
                    _ => return Err(unknown(collection, id, &error)),
                },
            }
        }
        Err(conflict(collection, id))
    }

    async fn list_documents(
        &self,
        collection: &str,
        after_id: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, DocumentError> {
        let prefix = keys::collection(collection);
        let mut range = KeyRange::prefix(&prefix);
        if let Some(id) = after_id {
            range.start = after(&key_of(collection, id));
        }
        let mut documents = Vec::new();
        let snapshot = self.inner.kv.snapshot().await.map_err(|error| unavailable(&error))?;
        while documents.len() < limit && !range.is_empty() {
            let limit = RangeLimit { entries: limit - documents.len(), ..RangeLimit::PAGE };
            let page = snapshot.range(range.clone(), limit).await.map_err(|error| unavailable(&error))?;
            for (key, value) in &page.entries {
                let id = key.get(prefix.len()..).and_then(|id| std::str::from_utf8(id).ok());
                let id = id.ok_or_else(|| stored_value::damaged(key, "its id is not UTF-8"))?;
                documents.push(decode(key, id.to_owned(), value)?);
            }
            match page.entries.last() {
                Some((last, _)) if page.more => range.start = after(last),
                _ => break,
            }
        }
        Ok(documents)
    }
}

fn key_of(collection: &str, id: &str) -> Bytes {
    let mut key = keys::collection(collection);
    key.extend_from_slice(id.as_bytes());
    Bytes::from(key)
}

fn encode(version: u64, bytes: &[u8]) -> Bytes {
    stored_value::build(FORMAT, |out| {
        put_varint(out, version);
        out.extend_from_slice(bytes);
    })
}

fn decode(key: &[u8], id: String, value: &[u8]) -> Result<Document, StoreError> {
    stored_value::read(FORMAT, key, value, |reader| {
        let version = reader.varint()?;
        let bytes = reader.bytes(reader.rest().len())?.to_vec();
        Some(Document { id, version, bytes })
    })
}

fn matches(expected: ExpectedVersion, version: Option<u64>) -> bool {
    match expected {
        ExpectedVersion::Any => true,
        ExpectedVersion::Absent => version.is_none(),
        ExpectedVersion::Exactly(expected) => version == Some(expected),
    }
}

fn check_sizes(collection: &str, id: &str, bytes: &[u8]) -> Result<(), DocumentError> {
    let sizes = [(collection.len(), NAME_BYTES_MAX), (id.len(), NAME_BYTES_MAX), (bytes.len(), DOCUMENT_BYTES_MAX)];
    match sizes.into_iter().find(|(bytes, limit)| bytes > limit) {
        Some((bytes, limit)) => {
            let shorten = |name: &str| name.chars().take(80).collect();
            Err(DocumentError::TooLarge { collection: shorten(collection), id: shorten(id), bytes, limit })
        }
        None => Ok(()),
    }
}

fn conflict(collection: &str, id: &str) -> DocumentError {
    DocumentError::Conflict { collection: collection.to_owned(), id: id.to_owned() }
}

pub(crate) fn unavailable(error: &KvError) -> DocumentError {
    DocumentError::Unavailable(error.to_string())
}

pub(crate) fn unknown(collection: &str, id: &str, error: &KvError) -> DocumentError {
    DocumentError::Unknown { collection: collection.to_owned(), id: id.to_owned(), reason: error.to_string() }
}

/// Reads an entry and says what is wrong with it.
pub(crate) fn check(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let mut reader = ByteReader::new(key.get(1..).unwrap_or_default());
    let bytes = reader.u16_be();
    let collection = bytes.and_then(|bytes| std::str::from_utf8(reader.bytes(usize::from(bytes))?).ok());
    let id = std::str::from_utf8(reader.rest()).ok();
    match collection.zip(id) {
        Some((_, id)) => decode(key, id.to_owned(), value).map(drop),
        None => Err(stored_value::damaged(key, "it is no key of a document")),
    }
}
