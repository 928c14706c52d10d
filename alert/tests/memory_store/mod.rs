//! Points and documents in memory, for tests.

use std::{collections::BTreeMap, sync::Mutex};

use tidemark_model::{
    BoxFuture, Document, DocumentError, DocumentStore, ExpectedVersion, NameKind, PointColumns, ReadError, ReadRequest,
    ReadStatistics, SeriesId, SeriesInfo, SeriesKey, SeriesReader, SeriesSelector, SeriesSet, TagMatch, Tsuid, Value,
};

/// Series with their points: a reader that answers from memory.
#[derive(Default)]
pub(crate) struct MemoryReader {
    series: Mutex<BTreeMap<SeriesKey, BTreeMap<i64, f64>>>,
    /// Refuses every read while set.
    broken: Mutex<bool>,
}

impl MemoryReader {
    /// Adds a point; the time is in seconds.
    pub(crate) fn put(&self, metric: &str, tags: &[(&str, &str)], seconds: i64, value: f64) {
        let mut series = self.series.lock().unwrap();
        series.entry(SeriesKey::new(metric, tags)).or_default().insert(seconds * 1000, value);
    }

    /// Makes every read fail, or work again.
    pub(crate) fn set_broken(&self, broken: bool) {
        *self.broken.lock().unwrap() = broken;
    }

    fn select(&self, request: &ReadRequest) -> Result<MemorySet, ReadError> {
        if *self.broken.lock().unwrap() {
            return Err(ReadError::Unavailable("switched off".to_owned()));
        }
        let SeriesSelector::Tags { metric: Some(metric), predicates, .. } = &request.selector else {
            panic!("only selection by metric is needed here");
        };
        let all = self.series.lock().unwrap();
        let of_metric: Vec<_> = all.iter().filter(|(key, _)| key.metric() == metric).collect();
        if of_metric.is_empty() {
            return Err(ReadError::UnknownName { kind: NameKind::Metric, name: metric.clone() });
        }
        let mut set = MemorySet { series: Vec::new(), columns: Vec::new() };
        for (key, points) in of_metric {
            let holds = predicates.iter().all(|predicate| match (&predicate.matches, key.tag(&predicate.key)) {
                (TagMatch::Absent, value) => value.is_none(),
                (_, None) => false,
                (TagMatch::Any, Some(_)) => true,
                (TagMatch::OneOf(values), Some(value)) => values.iter().any(|candidate| candidate == value),
                (TagMatch::Where(holds), Some(value)) => holds(value),
            });
            if holds {
                let number = u32::try_from(set.series.len()).unwrap();
                let tsuid = Tsuid::new(1, &[(1, number + 1)]);
                set.series.push(SeriesInfo { id: SeriesId(u64::from(number)), key: key.clone(), tsuid });
                let inside = points.iter().filter(|(stamp, _)| request.range.contains(**stamp));
                set.columns.push(inside.map(|(&stamp, &value)| (stamp, Value::Float(value))).collect());
            }
        }
        Ok(set)
    }
}

impl SeriesReader for MemoryReader {
    fn open(&self, request: ReadRequest) -> BoxFuture<'_, Result<Box<dyn SeriesSet>, ReadError>> {
        Box::pin(async move { Ok(Box::new(self.select(&request)?) as Box<dyn SeriesSet>) })
    }
}

struct MemorySet {
    series: Vec<SeriesInfo>,
    columns: Vec<PointColumns>,
}

impl SeriesSet for MemorySet {
    fn series(&self) -> &[SeriesInfo] {
        &self.series
    }

    fn read(&self, index: usize, columns: &mut PointColumns) -> Result<(), ReadError> {
        *columns = self.columns[index].clone();
        Ok(())
    }

    fn statistics(&self) -> ReadStatistics {
        ReadStatistics { series: self.series.len(), ..ReadStatistics::default() }
    }
}

/// Documents with their versions. Every operation lets others run first, so that callers at once really mix.
#[derive(Default)]
pub(crate) struct MemoryDocuments {
    documents: Mutex<BTreeMap<(String, String), Document>>,
    /// Operations that still work; all do when `None`.
    works_for: Mutex<Option<usize>>,
}

impl MemoryDocuments {
    /// Lets this many operations work and then refuses all, as when the process dies; or lets all work again.
    pub(crate) fn set_works_for(&self, operations: Option<usize>) {
        *self.works_for.lock().unwrap() = operations;
    }

    async fn begin(&self) -> Result<(), DocumentError> {
        tokio::task::yield_now().await;
        match &mut *self.works_for.lock().unwrap() {
            None => Ok(()),
            Some(0) => Err(DocumentError::Unavailable("switched off".to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// How many documents a collection has.
    pub(crate) fn count(&self, collection: &str) -> usize {
        self.documents.lock().unwrap().keys().filter(|(candidate, _)| candidate == collection).count()
    }
}

impl DocumentStore for MemoryDocuments {
    fn get<'a>(&'a self, collection: &'a str, id: &'a str) -> BoxFuture<'a, Result<Option<Document>, DocumentError>> {
        let key = (collection.to_owned(), id.to_owned());
        Box::pin(async move {
            self.begin().await?;
            Ok(self.documents.lock().unwrap().get(&key).cloned())
        })
    }

    fn put<'a>(
        &'a self,
        collection: &'a str,
        id: &'a str,
        expected: ExpectedVersion,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<u64, DocumentError>> {
        Box::pin(async move {
            self.begin().await?;
            let mut documents = self.documents.lock().unwrap();
            let key = (collection.to_owned(), id.to_owned());
            let now = documents.get(&key).map(|document| document.version);
            let matches = match expected {
                ExpectedVersion::Any => true,
                ExpectedVersion::Absent => now.is_none(),
                ExpectedVersion::Exactly(version) => now == Some(version),
            };
            if !matches {
                return Err(DocumentError::Conflict { collection: key.0, id: key.1 });
            }
            let version = now.unwrap_or_default() + 1;
            documents.insert(key, Document { id: id.to_owned(), version, bytes });
            Ok(version)
        })
    }

    fn delete<'a>(&'a self, collection: &'a str, id: &'a str) -> BoxFuture<'a, Result<(), DocumentError>> {
        Box::pin(async move {
            self.begin().await?;
            self.documents.lock().unwrap().remove(&(collection.to_owned(), id.to_owned()));
            Ok(())
        })
    }

    fn list<'a>(
        &'a self,
        collection: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Document>, DocumentError>> {
        Box::pin(async move {
            self.begin().await?;
            let documents = self.documents.lock().unwrap();
            let of_collection = documents.iter().filter(|((candidate, id), _)| {
                candidate == collection && after.is_none_or(|after| id.as_str() > after)
            });
            Ok(of_collection.take(limit).map(|(_, document)| document.clone()).collect())
        })
    }
}
