//! The instruments of an application.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use parking_lot::Mutex;
use thiserror::Error;
use tidemark_collector::HostTags;
use tidemark_model::{
    MetricMetadata, PointBatch, PointBatchBuilder, PointError, RateKind, SeriesKey, TimestampMs, Value,
};

use crate::{About, Aggregate, Counter, Events, Gauge, Statistic};

/// Why an instrument is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegisterError {
    /// Its metric or tags break a rule.
    #[error("register `{metric}`: {reason}")]
    Illegal {
        /// The metric.
        metric: String,
        /// The rule.
        reason: PointError,
    },
    /// There is one of another kind under its name.
    #[error("register `{0}`: there is an instrument of another kind with this metric and these tags")]
    OtherKind(SeriesKey),
    /// A function cannot be told from another one.
    #[error("register `{0}`: there is a function with this metric and these tags")]
    Taken(SeriesKey),
    /// There are too many.
    #[error("register `{key}`: a reporter has at most {limit} series")]
    TooMany {
        /// The series.
        key: SeriesKey,
        /// The limit.
        limit: usize,
    },
}

/// Returns the value to report, if there is one.
pub(crate) type Function = Arc<dyn Fn() -> Option<f64> + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Instrument {
    Counter(Counter),
    Gauge(Gauge),
    Aggregate(Aggregate, Arc<[Statistic]>),
    Events(Events),
    Function(Function, RateKind),
}

impl Instrument {
    fn rate(&self) -> RateKind {
        match self {
            Self::Counter(_) => RateKind::Counter,
            Self::Gauge(_) | Self::Aggregate(..) | Self::Events(_) => RateKind::Gauge,
            Self::Function(_, rate) => *rate,
        }
    }

    fn suffixes(&self) -> Vec<String> {
        match self {
            Self::Aggregate(_, statistics) => statistics.iter().map(|statistic| statistic.suffix()).collect(),
            _ => vec![String::new()],
        }
    }
}

pub(crate) struct Registry {
    host_tags: HostTags,
    series_max: usize,
    registered: Mutex<Registered>,
}

#[derive(Default)]
struct Registered {
    instruments: BTreeMap<SeriesKey, Instrument>,
    /// What is known of metrics and was not handed on yet.
    news: Vec<MetricMetadata>,
    /// Metrics of which it was.
    described: BTreeSet<String>,
}

impl Registry {
    pub(crate) fn new(host_tags: HostTags, series_max: usize) -> Self {
        Self { host_tags, series_max, registered: Mutex::default() }
    }

    /// The instrument under this name: the one that is there, or `made`.
    pub(crate) fn register(
        &self,
        metric: &str,
        tags: &[(&str, &str)],
        about: &About,
        made: Instrument,
    ) -> Result<(SeriesKey, Instrument), RegisterError> {
        let key = self.check(metric, tags, &made)?;
        let mut registered = self.registered.lock();
        let series: usize = registered.instruments.values().map(|instrument| instrument.suffixes().len()).sum();
        let room = series + made.suffixes().len() <= self.series_max;
        let instrument = match registered.instruments.entry(key.clone()) {
            Entry::Occupied(known) => return Ok((key, known.get().clone())),
            Entry::Vacant(_) if !room => return Err(RegisterError::TooMany { key, limit: self.series_max }),
            Entry::Vacant(vacant) => vacant.insert(made).clone(),
        };
        for suffix in instrument.suffixes() {
            registered.describe(format!("{metric}{suffix}"), about, &instrument);
        }
        Ok((key, instrument))
    }

    /// One point or more of each instrument that has something to say, and what is new about metrics.
    pub(crate) fn snapshot(&self, now: TimestampMs) -> (PointBatch, Vec<MetricMetadata>) {
        let (instruments, news) = {
            let mut registered = self.registered.lock();
            (registered.instruments.clone(), std::mem::take(&mut registered.news))
        };
        let mut builder = PointBatchBuilder::with_rules(self.host_tags.point_rules());
        for (key, instrument) in &instruments {
            for (suffix, at, value) in values(instrument, now) {
                let metric = format!("{}{suffix}", key.metric());
                let mut tags: Vec<(&str, &str)> = key.tags().collect();
                // Names were checked, and values that are not finite are filtered: only a clock before 1970 is left.
                let _refused_only_by_the_clock = builder.push(&metric, &mut tags, at, value);
            }
        }
        (builder.finish(), news)
    }

    fn check(&self, metric: &str, tags: &[(&str, &str)], made: &Instrument) -> Result<SeriesKey, RegisterError> {
        let mut all: Vec<(&str, &str)> = tags.to_vec();
        all.extend(self.host_tags.iter().filter(|(key, _)| !tags.iter().any(|(own, _)| own == key)));
        let mut builder = PointBatchBuilder::with_rules(self.host_tags.point_rules());
        for suffix in made.suffixes().iter().map(String::as_str).chain([""]) {
            builder
                .push(&format!("{metric}{suffix}"), &mut all, 1, Value::Int(0))
                .map_err(|reason| RegisterError::Illegal { metric: metric.to_owned(), reason })?;
        }
        let checked = builder.finish();
        Ok(checked.series_key(checked.series_count().saturating_sub(1)))
    }
}

impl Registered {
    fn describe(&mut self, metric: String, about: &About, instrument: &Instrument) {
        if self.described.insert(metric.clone()) {
            self.news.push(MetricMetadata {
                metric,
                unit: about.unit.clone(),
                rate: Some(instrument.rate()),
                description: about.description.clone(),
            });
        }
    }
}

/// Suffix of the metric, moment and value of each point.
fn values(instrument: &Instrument, now: TimestampMs) -> Vec<(String, TimestampMs, Value)> {
    let one = |value: Option<f64>| value.map(|value| (String::new(), now, Value::Float(value))).into_iter().collect();
    match instrument {
        Instrument::Counter(counter) => vec![(String::new(), now, Value::Int(counter.total()))],
        Instrument::Gauge(gauge) => one(gauge.level()),
        Instrument::Function(function, _) => one(function().filter(|value| value.is_finite())),
        Instrument::Events(events) => {
            events.take().into_iter().map(|(at, value)| (String::new(), at, Value::Float(value))).collect()
        }
        Instrument::Aggregate(aggregate, statistics) => aggregate
            .take(statistics)
            .into_iter()
            .map(|(statistic, value)| (statistic.suffix(), now, Value::Float(value)))
            .collect(),
    }
}
