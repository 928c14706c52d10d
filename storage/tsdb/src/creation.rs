//! New series: names and rows are durable before the first point of the series is.
//!
//! Creators of all processes meet at one counters row, which each commit expects unchanged. A separate commit before the
//! points, instead of the same one, keeps the flush free of it; a series without points is harmless.

mod renaming;

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use parking_lot::RwLock;
use tidemark_kv::{Commit, CommitOutcome, Kv, KvError};
use tidemark_model::{Clock, NameKind, PointBatch, RefusalReason, Tags, WriteOutcome, WriteRefusal};

use crate::{
    Index, NAME_ID_MAX, SeriesEntry, Sharing, StoreError, StoreOptions,
    creation_limits::{Refused, SeriesLimit, refusals},
    creation_rate::CreationRate,
    index::series_id,
    index_counts::IndexCounts,
    index_log::{self, Created, NewSeries},
    index_rows::{self, NAME_KINDS, NameRow},
    keys,
    refusal::refusal_of,
};

/// Bytes of a commit after which no further series is added to it; a series adds at most 30 KB.
const COMMIT_BYTES: usize = 700_000;
/// Series of a commit.
const COMMIT_SERIES_MAX: usize = 1000;
/// How often a creator starts again because others were faster.
const ATTEMPTS_MAX: usize = 16;

/// Creates series, one creator at a time.
pub(crate) struct SeriesCreator {
    kv: Arc<dyn Kv>,
    clock: Arc<dyn Clock>,
    index: Arc<RwLock<Index>>,
    sharing: Sharing,
    series_max: usize,
    series_per_metric_max: usize,
    turn: tokio::sync::Mutex<CreationRate>,
}

/// What one commit creates.
#[derive(Default)]
struct Plan {
    commit: Commit,
    names: Vec<(NameKind, String, u32)>,
    series: Vec<NewSeries>,
    refused: Vec<(usize, Refused)>,
    /// Entries of the dictionary that were looked at.
    looked_at: usize,
}

impl Plan {
    /// A plan that expects the index as it is, and what that has.
    fn begin(index: &Index) -> (Self, IndexCounts) {
        let mut plan = Self::default();
        let before = IndexCounts::of(index);
        plan.commit.expect(keys::COUNTERS, before.expected());
        (plan, before)
    }
}

impl SeriesCreator {
    pub(crate) fn new(
        kv: Arc<dyn Kv>,
        clock: Arc<dyn Clock>,
        index: Arc<RwLock<Index>>,
        options: &StoreOptions,
    ) -> Self {
        let rate = CreationRate::new(options.new_series_per_minute_max, clock.monotonic());
        index.read().growth().lock().advance(clock.monotonic());
        Self {
            kv,
            clock,
            index,
            sharing: options.sharing,
            series_max: options.series_max,
            series_per_metric_max: options.series_per_metric_max,
            turn: tokio::sync::Mutex::new(rate),
        }
    }

    /// Creates the series of these dictionary entries that do not exist, and says which are refused and why.
    ///
    /// # Errors
    /// The outcome for the whole batch when the store cannot create series now; none of its points is stored then.
    pub(crate) async fn create(
        &self,
        batch: &PointBatch,
        missing: &[usize],
    ) -> Result<Vec<(usize, WriteRefusal)>, WriteOutcome> {
        let mut rate = self.turn.lock().await;
        let mut refused = Vec::new();
        let mut rest = missing;
        let mut attempts = 0;
        while !rest.is_empty() {
            let plan = self.plan(&self.index.read(), batch, rest, &mut rate);
            if !plan.series.is_empty() && !self.commit(&plan).await? {
                attempts += 1;
                if attempts == ATTEMPTS_MAX {
                    let message = "other processes create series all the time; try again";
                    return Err(WriteOutcome::Refused(WriteRefusal::new(RefusalReason::Busy, message)));
                }
                continue;
            }
            rate.take(plan.series.len());
            refused.extend(plan.refused);
            rest = rest.get(plan.looked_at..).unwrap_or_default();
        }
        if refused.is_empty() {
            return Ok(Vec::new());
        }
        Ok(refusals(&self.index.read(), batch, refused))
    }

    /// Gives a name an id before a series does; the one that it has when it has one.
    ///
    /// # Errors
    /// When all ids are given away, or the store cannot create names now.
    pub(crate) async fn assign(&self, kind: NameKind, name: &str) -> Result<u32, WriteRefusal> {
        let _turn = self.turn.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let (plan, id) = self.plan_name(&self.index.read(), kind, name)?;
            if plan.names.is_empty() {
                return Ok(id);
            }
            match self.commit(&plan).await {
                Ok(true) => return Ok(id),
                Ok(false) => {}
                Err(WriteOutcome::Refused(refusal)) => return Err(refusal),
                Err(WriteOutcome::Unknown(_) | WriteOutcome::Done(_)) => break,
            }
        }
        let message = "other processes create series all the time; try again";
        Err(WriteRefusal::new(RefusalReason::Busy, message))
    }

    /// Whether the plan was carried out; when not, the index now has what the store has.
    async fn commit(&self, plan: &Plan) -> Result<bool, WriteOutcome> {
        match self.kv.commit(plan.commit.clone()).await {
            CommitOutcome::Done(_) => {
                apply(&mut self.index.write(), plan);
                Ok(true)
            }
            CommitOutcome::Refused(KvError::Conflict { .. }) | CommitOutcome::Unknown(_) => {
                self.reload().await.map_err(|error| {
                    let message = format!("the index could not be read again: {error}");
                    WriteOutcome::Refused(WriteRefusal::new(RefusalReason::Unavailable, message))
                })?;
                Ok(false)
            }
            CommitOutcome::Refused(error) => {
                Err(WriteOutcome::Refused(refusal_of("the points were not stored", &error)))
            }
        }
    }

    async fn reload(&self) -> Result<(), StoreError> {
        let snapshot = self.kv.snapshot().await?;
        index_rows::catch_up(snapshot.as_ref(), &self.index).await
    }

    /// In a shared store everything is written twice: as a row and into the index log.
    fn commit_bytes(&self) -> usize {
        if self.sharing.is_shared() { COMMIT_BYTES / 2 } else { COMMIT_BYTES }
    }

    fn plan_name(&self, index: &Index, kind: NameKind, name: &str) -> Result<(Plan, u32), WriteRefusal> {
        let (mut plan, before) = Plan::begin(index);
        let id = NewNames { index, added: HashMap::new() }.id_or_new(kind, name, &mut plan)?;
        self.finish(&mut plan, before);
        Ok((plan, id))
    }

    fn plan(&self, index: &Index, batch: &PointBatch, missing: &[usize], rate: &mut CreationRate) -> Plan {
        let now = self.clock.monotonic();
        index.growth().lock().advance(now);
        let available = rate.available(now);
        let (mut plan, before) = Plan::begin(index);
        let mut names = NewNames { index, added: HashMap::new() };
        let mut texts = HashSet::new();
        let mut numbers = HashMap::new();
        for &entry in missing {
            if plan.series.len() == COMMIT_SERIES_MAX || plan.commit.bytes() > self.commit_bytes() {
                break;
            }
            plan.looked_at += 1;
            let text = batch.series_text(entry);
            if index.target(text).is_some() || texts.contains(text) {
                continue;
            }
            let metric = text.split('\0').next().unwrap_or_default();
            if let Some(limit) = self.limit_of(index, &plan, &names, &numbers, metric, (available, rate.per_minute())) {
                plan.refused.push((entry, Refused::Limit(limit)));
                continue;
            }
            match add(index, &mut plan, &mut names, &mut numbers, text) {
                Ok(()) => {
                    texts.insert(text);
                }
                Err(refusal) => plan.refused.push((entry, Refused::Otherwise(refusal))),
            }
        }
        self.finish(&mut plan, before);
        plan
    }

    /// Adds what every creator writes.
    fn finish(&self, plan: &mut Plan, before: IndexCounts) {
        let mut after = before;
        for (count, kind) in after.names.iter_mut().zip(NAME_KINDS) {
            *count += plan.names.iter().filter(|(of, _, _)| *of == kind).count() as u64;
        }
        after.series += plan.series.len() as u64;
        plan.commit.put(keys::COUNTERS, after.encode());
        if self.sharing.is_shared() {
            let created = Created { names: &plan.names, series: &plan.series };
            index_log::note(&mut plan.commit, before.total(), &created);
        }
    }

    /// The limit that keeps one more series of this metric out.
    fn limit_of<'a>(
        &self,
        index: &Index,
        plan: &Plan,
        names: &NewNames<'a>,
        numbers: &HashMap<u32, u32>,
        metric: &'a str,
        (available, per_minute): (usize, u64),
    ) -> Option<SeriesLimit> {
        if index.len() + plan.series.len() >= self.series_max {
            return Some(SeriesLimit::InAll(self.series_max));
        }
        let id = names.id(NameKind::Metric, metric);
        let number = id.map_or(0, |id| numbers.get(&id).map_or_else(|| index.metric_len(id), |&next| next as usize));
        if number >= self.series_per_metric_max {
            return Some(SeriesLimit::OfMetric(self.series_per_metric_max));
        }
        (plan.series.len() >= available).then_some(SeriesLimit::PerMinute(per_minute))
    }
}

/// Adds a series and the names that it needs to a plan.
fn add<'a>(
    index: &Index,
    plan: &mut Plan,
    names: &mut NewNames<'a>,
    numbers: &mut HashMap<u32, u32>,
    text: &'a str,
) -> Result<(), WriteRefusal> {
    let metric = text.split('\0').next().unwrap_or_default();
    let metric = names.id_or_new(NameKind::Metric, metric, plan)?;
    let tags: Result<Box<[_]>, WriteRefusal> = Tags::of_canonical(text)
        .map(|(key, value)| {
            let key = names.id_or_new(NameKind::TagKey, key, plan)?;
            Ok((key, names.id_or_new(NameKind::TagValue, value, plan)?))
        })
        .collect();
    let tags = tags?;
    let next = numbers.entry(metric).or_insert_with(|| u32::try_from(index.metric_len(metric)).unwrap_or(u32::MAX));
    let number = *next;
    *next += 1;
    plan.commit.put(keys::series(metric, number), index_rows::encode_series(&tags));
    plan.series.push((metric, number, tags));
    Ok(())
}

/// Names of the index and those that the plan adds.
struct NewNames<'a> {
    index: &'a Index,
    added: HashMap<(NameKind, &'a str), u32>,
}

impl<'a> NewNames<'a> {
    fn id(&self, kind: NameKind, name: &'a str) -> Option<u32> {
        self.index.names(kind).id(name).or_else(|| self.added.get(&(kind, name)).copied())
    }

    fn id_or_new(&mut self, kind: NameKind, name: &'a str, plan: &mut Plan) -> Result<u32, WriteRefusal> {
        if let Some(id) = self.id(kind, name) {
            return Ok(id);
        }
        let of_kind = plan.names.iter().rev().find(|(of, _, _)| *of == kind).map(|&(_, _, id)| id);
        let before = of_kind.unwrap_or_else(|| u32::try_from(self.index.names(kind).len()).unwrap_or(u32::MAX));
        if before >= NAME_ID_MAX {
            let message = format!(
                "{kind} `{name}` is new and there are {NAME_ID_MAX} already, which is all that ids of 3 bytes can name"
            );
            return Err(WriteRefusal::new(RefusalReason::Limit, message));
        }
        let id = before + 1;
        plan.commit.put(keys::name(kind, name), NameRow::new(id).encode());
        plan.names.push((kind, name.to_owned(), id));
        self.added.insert((kind, name), id);
        Ok(id)
    }
}

/// Adds what was created, but for what somebody who read the store again has added by now. Points of a series that is not
/// in the index after this are refused by the writer.
fn apply(index: &mut Index, plan: &Plan) {
    for (kind, name, id) in &plan.names {
        index.add_name(*kind, name, *id, None);
    }
    for (metric, number, tags) in &plan.series {
        if index.insert(*metric, *number, tags.clone()).is_none()
            && index.by_id(series_id(*metric, *number)).is_none_or(|present| !has_tags(present, tags))
        {
            tracing::error!(metric, number, "a series that was just created could not be added to the index");
        }
    }
}

/// Whether a series has these tags, in whatever order: a key may have got another name meanwhile.
fn has_tags(series: &SeriesEntry, tags: &[(u32, u32)]) -> bool {
    series.tags.len() == tags.len() && tags.iter().all(|tag| series.tags.contains(tag))
}
