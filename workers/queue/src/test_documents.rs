//! Documents in memory, for tests.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use tidemark_model::{BoxFuture, Document, DocumentError, DocumentStore, ExpectedVersion};

/// Version and bytes by collection and id.
type Held = BTreeMap<(String, String), (u64, Vec<u8>)>;
type Found<T> = Result<T, DocumentError>;

#[derive(Default)]
pub(crate) struct Documents {
    held: Mutex<Held>,
    refuses: AtomicBool,
}

impl Documents {
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    pub(crate) fn len(&self, collection: &str) -> usize {
        self.held.lock().keys().filter(|(held, _)| held == collection).count()
    }

    fn check(&self) -> Found<()> {
        match self.refuses.load(Ordering::SeqCst) {
            true => Err(DocumentError::Unavailable("told to refuse".to_owned())),
            false => Ok(()),
        }
    }
}

impl DocumentStore for Documents {
    fn get<'a>(&'a self, collection: &'a str, id: &'a str) -> BoxFuture<'a, Found<Option<Document>>> {
        Box::pin(async move {
            self.check()?;
            let held = self.held.lock();
            let found = held.get(&(collection.to_owned(), id.to_owned()));
            Ok(found.map(|(version, bytes)| Document { id: id.to_owned(), version: *version, bytes: bytes.clone() }))
        })
    }

    fn put<'a>(
        &'a self,
        collection: &'a str,
        id: &'a str,
        expected: ExpectedVersion,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Found<u64>> {
        Box::pin(async move {
            self.check()?;
            let mut held = self.held.lock();
            let key = (collection.to_owned(), id.to_owned());
            let version = held.get(&key).map(|(version, _)| *version);
            let is_expected = match expected {
                ExpectedVersion::Any => true,
                ExpectedVersion::Absent => version.is_none(),
                ExpectedVersion::Exactly(expected) => version == Some(expected),
            };
            if !is_expected {
                return Err(DocumentError::Conflict { collection: key.0, id: key.1 });
            }
            let next = version.unwrap_or(0) + 1;
            held.insert(key, (next, bytes));
            Ok(next)
        })
    }

    fn delete<'a>(&'a self, collection: &'a str, id: &'a str) -> BoxFuture<'a, Found<()>> {
        Box::pin(async move {
            self.check()?;
            self.held.lock().remove(&(collection.to_owned(), id.to_owned()));
            Ok(())
        })
    }

    fn list<'a>(
        &'a self,
        collection: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Found<Vec<Document>>> {
        Box::pin(async move {
            self.check()?;
            let held = self.held.lock();
            let of_it = held
                .iter()
                .filter(|((held, id), _)| held == collection && after.is_none_or(|after| id.as_str() > after));
            let document = |((_, id), (version, bytes)): (&(String, String), &(u64, Vec<u8>))| Document {
                id: id.clone(),
                version: *version,
                bytes: bytes.clone(),
            };
            Ok(of_it.take(limit).map(document).collect())
        })
    }
}
