//! Reading and writing records one by one, with compare-and-set.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use tidemark_model::{DocumentError, DocumentStore, ExpectedVersion};

use crate::book::{
    BookError,
    codec::{decode, encode},
};

/// Attempts of a compare-and-set before it is given up.
const ATTEMPTS_MAX: usize = 16;
/// Documents read at once.
const PAGE: usize = 500;

/// A collection of records of one type each.
#[derive(Clone)]
pub(crate) struct Records {
    store: Arc<dyn DocumentStore>,
    collection: &'static str,
}

impl Records {
    pub(crate) fn new(store: Arc<dyn DocumentStore>, collection: &'static str) -> Self {
        Self { store, collection }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>, BookError> {
        Ok(self.get_versioned(id).await?.map(|(record, _)| record))
    }

    /// Changes a record until nobody was faster. `change` sees the record as it is and returns what to store, or
    /// `None` to leave it alone, beside its own result.
    pub(crate) async fn update<T, R>(
        &self,
        id: &str,
        mut change: impl FnMut(Option<T>) -> Result<(Option<T>, R), BookError>,
    ) -> Result<R, BookError>
    where
        T: Serialize + DeserializeOwned,
    {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.get_versioned(id).await?;
            let (before, expected) = match found {
                Some((record, version)) => (Some(record), ExpectedVersion::Exactly(version)),
                None => (None, ExpectedVersion::Absent),
            };
            let (after, result) = change(before)?;
            let Some(after) = after else {
                return Ok(result);
            };
            match self.store.put(self.collection, id, expected, encode(&after)?).await {
                Ok(_) => return Ok(result),
                // After an unknown outcome the record is read again, and the change sees whether it was made.
                Err(DocumentError::Conflict { .. } | DocumentError::Unknown { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(BookError::Contended(format!("{}/{id}", self.collection)))
    }

    pub(crate) async fn delete(&self, id: &str) -> Result<(), BookError> {
        Ok(self.store.delete(self.collection, id).await?)
    }

    /// At most `limit` records after an id, with their ids.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, T)>, BookError> {
        let documents = self.store.list(self.collection, after, limit).await?;
        documents.into_iter().map(|document| Ok((document.id, decode(&document.bytes)?))).collect()
    }

    /// All records whose ids begin with `prefix`, with the rest of their ids. Records behind them, which may be of another
    /// type, are not looked into.
    pub(crate) async fn list_prefix<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>, BookError> {
        let mut found = Vec::new();
        let mut after = prefix.to_owned();
        loop {
            let page = self.store.list(self.collection, Some(&after), PAGE).await?;
            let is_last = page.len() < PAGE;
            for document in page {
                let Some(rest) = document.id.strip_prefix(prefix) else { return Ok(found) };
                found.push((rest.to_owned(), decode(&document.bytes)?));
                after = document.id;
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    async fn get_versioned<T: DeserializeOwned>(&self, id: &str) -> Result<Option<(T, u64)>, BookError> {
        match self.store.get(self.collection, id).await? {
            Some(document) => Ok(Some((decode(&document.bytes)?, document.version))),
            None => Ok(None),
        }
    }
}
