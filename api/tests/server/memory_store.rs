//! The seams of the server in memory, with outcomes that a test can dictate.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use tidemark_model::{
    Annotation, AnnotationChange, AnnotationStore, AnnotationWrite, AnnotationsOf, BoxFuture, Cardinality,
    CatalogError, DeleteOutcome, DeleteReceipt, DeleteRequest, DescribedMetric, Document, DocumentError, DocumentStore,
    ExpectedVersion, LastPoint, MetadataCatalog, MetadataStore, MetricCardinality, MetricMetadata, NameIds, NameKind,
    Point, PointBatch, PointColumns, PointDeleter, PointSink, ReadError, ReadRequest, ReadStatistics, RenameRefusal,
    SeriesCatalog, SeriesId, SeriesInfo, SeriesKey, SeriesPage, SeriesReader, SeriesSelector, SeriesSet, TagMatch,
    TagMetadata, TimeRange, TimestampMs, Tsuid, Value, WriteOutcome, WriteReceipt, WriteRefusal,
};
use tidemark_queue::{Origin, TraceId};
use tokio::sync::Semaphore;

/// A store in memory.
pub(crate) struct MemoryStore {
    state: Mutex<State>,
    /// Writes wait for a permit each.
    writes: Semaphore,
}

#[derive(Default)]
struct State {
    series: BTreeMap<SeriesKey, BTreeMap<TimestampMs, Value>>,
    names: BTreeMap<(u8, String), u32>,
    metadata: BTreeMap<String, MetricMetadata>,
    tag_metadata: Vec<TagMetadata>,
    annotations: BTreeMap<(Option<Tsuid>, TimestampMs), Annotation>,
    outcomes: VecDeque<WriteOutcome>,
    batches: usize,
    traces: Vec<Option<TraceId>>,
    documents: BTreeMap<(String, String), Document>,
}

impl MemoryStore {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), writes: Semaphore::new(1 << 30) }
    }

    /// The outcomes of the next writes; whatever is not stored then is not stored here.
    pub(crate) fn dictate(&self, outcomes: impl IntoIterator<Item = WriteOutcome>) {
        self.state.lock().unwrap().outcomes.extend(outcomes);
    }

    /// Lets no write finish until [`Self::release`].
    pub(crate) fn hold(&self) {
        self.writes.forget_permits(1 << 30);
    }

    pub(crate) fn release(&self) {
        self.writes.add_permits(1 << 30);
    }

    /// The points of a series, such as `cpu{host=a}`.
    pub(crate) fn points(&self, series: &str) -> Vec<(TimestampMs, Value)> {
        let state = self.state.lock().unwrap();
        let found = state.series.iter().find(|(key, _)| key.to_string() == series);
        found.map(|(_, points)| points.iter().map(|(&at, &value)| (at, value)).collect()).unwrap_or_default()
    }

    /// How many points there are.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().unwrap().series.values().map(BTreeMap::len).sum()
    }

    /// The trace that each write belonged to.
    pub(crate) fn traces(&self) -> Vec<Option<TraceId>> {
        self.state.lock().unwrap().traces.clone()
    }

    /// How many batches were written.
    pub(crate) fn batches(&self) -> usize {
        self.state.lock().unwrap().batches
    }
}

impl State {
    fn store(&mut self, batch: &PointBatch) -> WriteOutcome {
        let dictated = self.outcomes.pop_front();
        let refused: Vec<usize> = match &dictated {
            None => Vec::new(),
            Some(WriteOutcome::Done(receipt)) => receipt.refused.iter().map(|(position, _)| *position).collect(),
            Some(outcome) => return outcome.clone(),
        };
        for (position, point) in batch.points().enumerate() {
            if !refused.contains(&position) {
                let key = batch.series_key(point.series);
                self.info(&key);
                self.series.entry(key).or_default().insert(point.timestamp, point.value);
            }
        }
        let stored = batch.len() - refused.len();
        match dictated {
            Some(WriteOutcome::Done(receipt)) => WriteOutcome::Done(WriteReceipt { stored, ..receipt }),
            _ => WriteOutcome::Done(WriteReceipt { stored, refused: Vec::new() }),
        }
    }

    fn name_id(&mut self, kind: u8, name: &str) -> u32 {
        let next = u32::try_from(self.names.keys().filter(|(of, _)| *of == kind).count()).unwrap() + 1;
        *self.names.entry((kind, name.to_owned())).or_insert(next)
    }

    fn rename(&mut self, kind: NameKind, old: &str, new: &str) -> Result<(), RenameRefusal> {
        let named = |name: &str| (number_of(kind), name.to_owned());
        let id = *self.names.get(&named(old)).ok_or(RenameRefusal::NoSuchName)?;
        if let Some(&id) = self.names.get(&named(new)) {
            return Err(RenameRefusal::Taken { id });
        }
        self.names.remove(&named(old));
        self.names.insert(named(new), id);
        let renamed = |of: NameKind, name: &'_ str| if of == kind && name == old { new } else { name }.to_owned();
        let series = std::mem::take(&mut self.series).into_iter().map(|(key, points)| {
            let tags: Vec<(String, String)> = key
                .tags()
                .map(|(key, value)| (renamed(NameKind::TagKey, key), renamed(NameKind::TagValue, value)))
                .collect();
            let tags: Vec<(&str, &str)> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            (SeriesKey::new(&renamed(NameKind::Metric, key.metric()), &tags), points)
        });
        self.series = series.collect();
        Ok(())
    }

    fn info(&mut self, key: &SeriesKey) -> SeriesInfo {
        let metric = self.name_id(0, key.metric());
        let tags: Vec<_> = key.tags().map(|(key, value)| (self.name_id(1, key), self.name_id(2, value))).collect();
        let tsuid = Tsuid::new(metric, &tags);
        let id = SeriesId(self.series.keys().position(|known| known == key).unwrap_or(self.series.len()) as u64);
        SeriesInfo { id, key: key.clone(), tsuid }
    }

    fn select(&mut self, selector: &SeriesSelector) -> Result<Vec<SeriesInfo>, ReadError> {
        let keys: Vec<SeriesKey> = self.series.keys().cloned().collect();
        let infos: Vec<SeriesInfo> = keys.iter().map(|key| self.info(key)).collect();
        let SeriesSelector::Tags { metric, predicates, exact_keys } = selector else {
            let SeriesSelector::Tsuids(tsuids) = selector else { return Ok(Vec::new()) };
            return Ok(infos.into_iter().filter(|info| tsuids.contains(&info.tsuid)).collect());
        };
        let known = |kind: u8, name: &str| self.names.contains_key(&(kind, name.to_owned()));
        let unknown = |kind, name: &str| Err(ReadError::UnknownName { kind, name: name.to_owned() });
        if let Some(metric) = metric.as_ref().filter(|metric| !known(0, metric)) {
            return unknown(NameKind::Metric, metric);
        }
        for predicate in predicates {
            if !known(1, &predicate.key) {
                return unknown(NameKind::TagKey, &predicate.key);
            }
            if let TagMatch::OneOf(values) = &predicate.matches
                && let Some(value) = values.iter().find(|value| !known(2, value))
            {
                return unknown(NameKind::TagValue, value);
            }
        }
        let holds = |info: &SeriesInfo| {
            predicates.iter().all(|predicate| match (info.key.tag(&predicate.key), &predicate.matches) {
                (None, TagMatch::Absent) | (Some(_), TagMatch::Any) => true,
                (Some(value), TagMatch::OneOf(values)) => values.iter().any(|known| known == value),
                (Some(value), TagMatch::Where(function)) => function(value),
                _ => false,
            })
        };
        let keys_match = |info: &SeriesInfo| {
            !exact_keys
                || predicates.is_empty()
                || info.key.tags().all(|(key, _)| predicates.iter().any(|predicate| predicate.key == key))
        };
        let of_metric = |info: &SeriesInfo| metric.as_ref().is_none_or(|metric| info.key.metric() == metric);
        Ok(infos.into_iter().filter(|info| of_metric(info) && holds(info) && keys_match(info)).collect())
    }
}

impl PointSink for MemoryStore {
    fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
        Box::pin(async move {
            self.writes.acquire().await.unwrap().forget();
            let mut state = self.state.lock().unwrap();
            state.batches += 1;
            state.traces.push(Origin::current().trace);
            state.store(&batch)
        })
    }
}

impl SeriesCatalog for MemoryStore {
    fn suggest<'a>(
        &'a self,
        kind: NameKind,
        prefix: &'a str,
        max: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, CatalogError>> {
        let kind = match kind {
            NameKind::Metric => 0,
            NameKind::TagKey => 1,
            NameKind::TagValue => 2,
        };
        let state = self.state.lock().unwrap();
        let of_kind = state.names.keys().filter(|(of, name)| *of == kind && name.starts_with(prefix));
        let names = of_kind.map(|(_, name)| name.clone()).take(max).collect();
        Box::pin(async { Ok(names) })
    }

    fn lookup<'a>(
        &'a self,
        selector: &'a SeriesSelector,
        offset: usize,
        limit: usize,
    ) -> BoxFuture<'a, Result<SeriesPage, CatalogError>> {
        let selected = self.state.lock().unwrap().select(selector);
        Box::pin(async move {
            let all = selected?;
            Ok(SeriesPage { total: all.len(), series: all.into_iter().skip(offset).take(limit).collect() })
        })
    }

    fn last<'a>(
        &'a self,
        selector: &'a SeriesSelector,
        not_before: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<LastPoint>, CatalogError>> {
        let mut state = self.state.lock().unwrap();
        let selected = state.select(selector);
        let last = |series: SeriesInfo| {
            let (&timestamp, &value) = state.series.get(&series.key)?.last_key_value()?;
            (timestamp >= not_before).then_some(LastPoint { series, point: Point { timestamp, value } })
        };
        let points = selected.map(|selected| selected.into_iter().filter_map(last).collect());
        Box::pin(async move { Ok(points?) })
    }

    fn cardinality(&self, top: usize) -> BoxFuture<'_, Result<Cardinality, CatalogError>> {
        let counted = count(&self.state.lock().unwrap(), top);
        Box::pin(async { Ok(counted) })
    }
}

/// Counts nothing but the series of each metric.
fn count(state: &State, top: usize) -> Cardinality {
    let mut metrics = BTreeMap::<&str, u64>::new();
    state.series.keys().for_each(|key| *metrics.entry(key.metric()).or_default() += 1);
    let metrics = metrics.into_iter().map(|(metric, series)| MetricCardinality {
        metric: metric.to_owned(),
        series,
        new_series: 0,
        fastest_tag_key: None,
    });
    Cardinality { series: state.series.len() as u64, metrics: metrics.take(top).collect(), ..Cardinality::default() }
}

impl MetadataStore for MemoryStore {
    fn put_metadata(&self, entries: Vec<MetricMetadata>) -> BoxFuture<'_, Result<(), DocumentError>> {
        let mut state = self.state.lock().unwrap();
        for entry in entries {
            state.metadata.insert(entry.metric.clone(), entry);
        }
        Box::pin(async { Ok(()) })
    }

    fn metadata<'a>(&'a self, metric: &'a str) -> BoxFuture<'a, Result<Option<MetricMetadata>, DocumentError>> {
        let found = self.state.lock().unwrap().metadata.get(metric).cloned();
        Box::pin(async { Ok(found) })
    }
}

impl MetadataCatalog for MemoryStore {
    fn described_metrics<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<DescribedMetric>, DocumentError>> {
        let state = self.state.lock().unwrap();
        let later = state.metadata.iter().filter(|(metric, _)| after.is_none_or(|after| metric.as_str() > after));
        let found = later.take(limit).map(|(_, metadata)| describe(metadata)).collect();
        Box::pin(async { Ok(found) })
    }

    fn described_metric<'a>(
        &'a self,
        metric: &'a str,
    ) -> BoxFuture<'a, Result<Option<DescribedMetric>, DocumentError>> {
        let found = self.state.lock().unwrap().metadata.get(metric).map(describe);
        Box::pin(async { Ok(found) })
    }

    fn put_tag_metadata(&self, entries: Vec<TagMetadata>) -> BoxFuture<'_, Result<(), DocumentError>> {
        let entries = entries.into_iter().map(|entry| TagMetadata { touched_ms: 1_356_998_400_000, ..entry });
        self.state.lock().unwrap().tag_metadata.extend(entries);
        Box::pin(async { Ok(()) })
    }

    fn tag_metadata<'a>(
        &'a self,
        tags: &'a [(String, String)],
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<TagMetadata>, DocumentError>> {
        let state = self.state.lock().unwrap();
        let has = |entry: &&TagMetadata| entry.tags.iter().any(|tag| tags.contains(tag));
        let found = state.tag_metadata.iter().filter(has).take(limit).cloned().collect();
        Box::pin(async { Ok(found) })
    }

    fn delete_tag_metadata(&self, entries: Vec<TagMetadata>) -> BoxFuture<'_, Result<(), DocumentError>> {
        let is_gone =
            |known: &TagMetadata| entries.iter().any(|gone| (&gone.tags, &gone.name) == (&known.tags, &known.name));
        self.state.lock().unwrap().tag_metadata.retain(|known| !is_gone(known));
        Box::pin(async { Ok(()) })
    }
}

fn describe(metadata: &MetricMetadata) -> DescribedMetric {
    let (touched_ms, tag_keys) = (1_356_998_400_000, vec!["host".to_owned()]);
    DescribedMetric { metadata: metadata.clone(), touched_ms, tag_keys }
}

impl AnnotationStore for MemoryStore {
    fn put_annotations(
        &self,
        changes: Vec<AnnotationChange>,
        write: AnnotationWrite,
    ) -> BoxFuture<'_, Result<Vec<Annotation>, DocumentError>> {
        let mut state = self.state.lock().unwrap();
        let mut put = |change: AnnotationChange| {
            let key = (change.tsuid.clone(), change.start_ms());
            let annotation = change.apply_to(state.annotations.remove(&key), write);
            state.annotations.insert(key, annotation.clone());
            annotation
        };
        let written = changes.into_iter().map(&mut put).collect();
        Box::pin(async { Ok(written) })
    }

    fn annotation<'a>(
        &'a self,
        tsuid: Option<&'a Tsuid>,
        start_ms: TimestampMs,
    ) -> BoxFuture<'a, Result<Option<Annotation>, DocumentError>> {
        let found = self.state.lock().unwrap().annotations.get(&(tsuid.cloned(), start_ms)).cloned();
        Box::pin(async { Ok(found) })
    }

    fn annotations<'a>(
        &'a self,
        of: AnnotationsOf<'a>,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Annotation>, DocumentError>> {
        let state = self.state.lock().unwrap();
        let found = state.annotations.iter().filter(|(key, _)| is_of(of, range, key)).take(limit);
        let found = found.map(|(_, annotation)| annotation.clone()).collect();
        Box::pin(async { Ok(found) })
    }

    fn delete_annotations<'a>(
        &'a self,
        of: AnnotationsOf<'a>,
        range: TimeRange,
    ) -> BoxFuture<'a, Result<usize, DocumentError>> {
        let mut state = self.state.lock().unwrap();
        let before = state.annotations.len();
        state.annotations.retain(|key, _| !is_of(of, range, key));
        let deleted = before - state.annotations.len();
        Box::pin(async move { Ok(deleted) })
    }
}

fn is_of(of: AnnotationsOf<'_>, range: TimeRange, (tsuid, start): &(Option<Tsuid>, TimestampMs)) -> bool {
    range.contains(*start)
        && match (of, tsuid) {
            (AnnotationsOf::Everything, tsuid) => tsuid.is_none(),
            (AnnotationsOf::Series(wanted), Some(tsuid)) => wanted.contains(tsuid),
            (AnnotationsOf::Metrics(wanted), Some(tsuid)) => wanted.contains(&tsuid.metric()),
            (_, None) => false,
        }
}

/// As the ids of names are counted here.
fn number_of(kind: NameKind) -> u8 {
    match kind {
        NameKind::Metric => 0,
        NameKind::TagKey => 1,
        NameKind::TagValue => 2,
    }
}

impl NameIds for MemoryStore {
    fn id<'a>(&'a self, kind: NameKind, name: &'a str) -> BoxFuture<'a, Result<Option<u32>, CatalogError>> {
        let id = self.state.lock().unwrap().names.get(&(number_of(kind), name.to_owned())).copied();
        Box::pin(async move { Ok(id) })
    }

    fn unknown<'a>(&'a self, names: &'a [(NameKind, &'a str)]) -> BoxFuture<'a, Result<Vec<usize>, CatalogError>> {
        let state = self.state.lock().unwrap();
        let is_unknown =
            |(kind, name): &(NameKind, &str)| !state.names.contains_key(&(number_of(*kind), (*name).to_owned()));
        let unknown =
            names.iter().enumerate().filter(|(_, name)| is_unknown(name)).map(|(position, _)| position).collect();
        Box::pin(async move { Ok(unknown) })
    }

    fn name(&self, kind: NameKind, id: u32) -> BoxFuture<'_, Result<Option<String>, CatalogError>> {
        let state = self.state.lock().unwrap();
        let found = state.names.iter().find(|((of, _), known)| *of == number_of(kind) && **known == id);
        let name = found.map(|((_, name), _)| name.clone());
        Box::pin(async move { Ok(name) })
    }

    fn assign<'a>(&'a self, kind: NameKind, name: &'a str) -> BoxFuture<'a, Result<u32, WriteRefusal>> {
        let id = self.state.lock().unwrap().name_id(number_of(kind), name);
        Box::pin(async move { Ok(id) })
    }

    fn rename<'a>(&'a self, kind: NameKind, old: &'a str, new: &'a str) -> BoxFuture<'a, Result<(), RenameRefusal>> {
        let renamed = self.state.lock().unwrap().rename(kind, old, new);
        Box::pin(async move { renamed })
    }
}

impl DocumentStore for MemoryStore {
    fn get<'a>(&'a self, collection: &'a str, id: &'a str) -> BoxFuture<'a, Result<Option<Document>, DocumentError>> {
        let found = self.state.lock().unwrap().documents.get(&(collection.to_owned(), id.to_owned())).cloned();
        Box::pin(async move { Ok(found) })
    }

    fn put<'a>(
        &'a self,
        collection: &'a str,
        id: &'a str,
        expected: ExpectedVersion,
        bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<u64, DocumentError>> {
        let key = (collection.to_owned(), id.to_owned());
        let mut state = self.state.lock().unwrap();
        let before = state.documents.get(&key).map(|document| document.version);
        let fits = match expected {
            ExpectedVersion::Any => true,
            ExpectedVersion::Absent => before.is_none(),
            ExpectedVersion::Exactly(version) => before == Some(version),
        };
        let outcome = if fits {
            let version = before.unwrap_or(0) + 1;
            state.documents.insert(key, Document { id: id.to_owned(), version, bytes });
            Ok(version)
        } else {
            Err(DocumentError::Conflict { collection: key.0, id: key.1 })
        };
        Box::pin(async move { outcome })
    }

    fn delete<'a>(&'a self, collection: &'a str, id: &'a str) -> BoxFuture<'a, Result<(), DocumentError>> {
        self.state.lock().unwrap().documents.remove(&(collection.to_owned(), id.to_owned()));
        Box::pin(async { Ok(()) })
    }

    fn list<'a>(
        &'a self,
        collection: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Document>, DocumentError>> {
        let state = self.state.lock().unwrap();
        let of = state
            .documents
            .iter()
            .filter(|((of, id), _)| of == collection && after.is_none_or(|after| id.as_str() > after));
        let found = of.take(limit).map(|(_, document)| document.clone()).collect();
        Box::pin(async move { Ok(found) })
    }
}

impl PointDeleter for MemoryStore {
    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, DeleteOutcome> {
        let mut state = self.state.lock().unwrap();
        let outcome = match state.select(&request.selector) {
            Ok(infos) => {
                for info in &infos {
                    let points = state.series.get_mut(&info.key).unwrap();
                    points.retain(|&at, _| !request.range.contains(at));
                }
                DeleteOutcome::Done(DeleteReceipt { series: infos.len() })
            }
            Err(error) => DeleteOutcome::Refused(error.into()),
        };
        Box::pin(std::future::ready(outcome))
    }
}

impl SeriesReader for MemoryStore {
    fn open(&self, request: ReadRequest) -> BoxFuture<'_, Result<Box<dyn SeriesSet>, ReadError>> {
        let mut state = self.state.lock().unwrap();
        let opened = state.select(&request.selector).map(|series| {
            let columns = series.iter().map(|info| {
                let points = state.series.get(&info.key).into_iter().flatten();
                let inside = points.filter(|(at, _)| request.range.contains(**at));
                inside.map(|(&at, &value)| (at, value)).collect::<PointColumns>()
            });
            let columns = columns.collect();
            Box::new(MemorySet { series, columns }) as Box<dyn SeriesSet>
        });
        Box::pin(async { opened })
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
        columns.clone_from(&self.columns[index]);
        Ok(())
    }

    fn statistics(&self) -> ReadStatistics {
        let points = self.columns.iter().map(|columns| columns.len() as u64).sum();
        ReadStatistics { series: self.series.len(), blocks: 0, points, bytes: points * 16, rollup_rows: 0 }
    }
}
