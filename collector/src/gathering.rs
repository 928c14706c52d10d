//! Points and what they mean, on their way from one collector to the backlog.

use std::collections::{BTreeMap, btree_map::Entry};

use tidemark_model::{MetricMetadata, NameCharacters, PointBatch, PointBatchBuilder, PointError, TimestampMs, Value};

use crate::{host_tags::HostTags, meaning::Meaning};

/// What one run of a collector has gathered so far.
///
/// Built-in collectors add points at the timestamp of the run; names that come from the kernel (interfaces, mounts)
/// are made legal by replacing each character with `_` that OpenTSDB does not allow by default, so that the same host has the
/// same series whatever is allowed in addition. Points that are refused all the same are counted.
pub(crate) struct Gathering<'a> {
    host_tags: &'a HostTags,
    timestamp: TimestampMs,
    builder: PointBatchBuilder,
    metadata: BTreeMap<String, MetricMetadata>,
    refused: u64,
    first_refusal: Option<PointError>,
}

/// What a run has gathered, ready for the backlog.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Gathered {
    pub(crate) batch: PointBatch,
    pub(crate) metadata: Vec<MetricMetadata>,
    pub(crate) refused: u64,
    pub(crate) first_refusal: Option<PointError>,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(host_tags: &'a HostTags, timestamp: TimestampMs) -> Self {
        Self {
            host_tags,
            timestamp,
            builder: PointBatchBuilder::with_rules(host_tags.point_rules()),
            metadata: BTreeMap::new(),
            refused: 0,
            first_refusal: None,
        }
    }

    /// Adds a point of a built-in collector.
    pub(crate) fn add(&mut self, metric: &str, tags: &[(&str, &str)], value: impl Into<Value>, meaning: Meaning) {
        let cleaned: Vec<(&str, String)> = tags.iter().map(|(key, value)| (*key, legal(value))).collect();
        let tags: Vec<(&str, &str)> = cleaned.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let metric = legal(metric);
        match self.push(&metric, tags, self.timestamp, value.into()) {
            Ok(()) => self.note(metric, |metric| meaning.of(metric)),
            Err(error) => self.refuse(error),
        }
    }

    /// Adds a point as a collector outside this process stated it; nothing is made legal. An empty tag `host` keeps
    /// the agent's own away.
    ///
    /// # Errors
    /// The first rule that the point breaks.
    pub(crate) fn push<'t>(
        &mut self,
        metric: &str,
        mut tags: Vec<(&'t str, &'t str)>,
        timestamp: TimestampMs,
        value: Value,
    ) -> Result<(), PointError>
    where
        'a: 't,
    {
        let host_tags: &'a HostTags = self.host_tags;
        for (key, value) in host_tags.iter() {
            if !tags.iter().any(|(own, _)| *own == key) {
                tags.push((key, value));
            }
        }
        tags.retain(|(key, value)| *key != "host" || !value.is_empty());
        self.builder.push(metric, &mut tags, timestamp, value)
    }

    /// Adds what a collector outside this process says of a metric.
    pub(crate) fn add_metadata(&mut self, entry: MetricMetadata) {
        match self.metadata.entry(entry.metric.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(entry);
            }
            Entry::Occupied(mut known) => merge(known.get_mut(), entry),
        }
    }

    /// The characters that names may have.
    pub(crate) fn characters(&self) -> &'a NameCharacters {
        self.host_tags.characters()
    }

    pub(crate) fn len(&self) -> usize {
        self.builder.len()
    }

    /// Whether there is nothing to hand on.
    pub(crate) fn is_empty(&self) -> bool {
        self.builder.is_empty() && self.metadata.is_empty()
    }

    pub(crate) fn finish(self) -> Gathered {
        Gathered {
            batch: self.builder.finish(),
            metadata: self.metadata.into_values().collect(),
            refused: self.refused,
            first_refusal: self.first_refusal,
        }
    }

    fn note(&mut self, metric: String, meaning: impl FnOnce(&str) -> MetricMetadata) {
        if let Entry::Vacant(vacant) = self.metadata.entry(metric) {
            let entry = meaning(vacant.key());
            vacant.insert(entry);
        }
    }

    fn refuse(&mut self, error: PointError) {
        self.refused += 1;
        self.first_refusal.get_or_insert(error);
    }
}

/// Fields that are set in `newer` replace those of `known`.
pub(crate) fn merge(known: &mut MetricMetadata, newer: MetricMetadata) {
    if !newer.unit.is_empty() {
        known.unit = newer.unit;
    }
    if newer.rate.is_some() {
        known.rate = newer.rate;
    }
    if !newer.description.is_empty() {
        known.description = newer.description;
    }
}

/// A count of the kernel's: an integer as long as it fits one.
pub(crate) fn whole(count: u64) -> Value {
    i64::try_from(count).map_or(Value::Float(count as f64), Value::Int)
}

/// The name with each illegal character replaced; never empty.
pub(crate) fn legal(name: &str) -> String {
    let mut cleaned: String = name
        .chars()
        .map(|character| if NameCharacters::OPENTSDB.has(character) { character } else { '_' })
        .take(tidemark_model::NAME_BYTES_MAX / 4)
        .collect();
    if cleaned.is_empty() {
        cleaned.push('_');
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidemark_model::RateKind;

    use super::*;

    const COUNT: Meaning = Meaning::counter("packets", "Packets.");

    #[test]
    fn points_get_the_host_tags_they_lack_and_their_meaning_once() {
        let tags = HostTags::new("web07", &[("dc".to_owned(), "ams".to_owned())]).unwrap();
        let mut gathering = Gathering::new(&tags, 5_000);
        gathering.add("net.packets", &[("iface", "eth0:1")], 1_i64, COUNT);
        gathering.add("net.packets", &[("iface", "lo"), ("dc", "fra")], 2_i64, COUNT);
        let gathered = gathering.finish();
        assert_eq!(gathered.batch.series_key(0).to_string(), "net.packets{dc=ams,host=web07,iface=eth0_1}");
        assert_eq!(gathered.batch.series_key(1).to_string(), "net.packets{dc=fra,host=web07,iface=lo}");
        assert!(gathered.batch.points().all(|point| point.timestamp == 5_000));
        let [meaning] = &gathered.metadata[..] else { panic!("{:?}", gathered.metadata) };
        assert_eq!((meaning.unit.as_str(), meaning.rate), ("packets", Some(RateKind::Counter)));
    }

    #[test]
    fn a_point_that_is_refused_is_counted_and_the_first_reason_kept() {
        let tags = HostTags::new("web07", &[]).unwrap();
        let mut gathering = Gathering::new(&tags, 5_000);
        gathering.add("load", &[], f64::NAN, COUNT);
        gathering.add("load", &[], 1.0, COUNT);
        let gathered = gathering.finish();
        assert_eq!((gathered.batch.len(), gathered.refused), (1, 1));
        assert_eq!(gathered.first_refusal, Some(PointError::NotFinite));
    }

    #[test]
    fn counts_beyond_63_bits_become_doubles() {
        assert_eq!(whole(7), Value::Int(7));
        assert_eq!(whole(u64::MAX), Value::Float(u64::MAX as f64));
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_legal_name(text in any::<String>()) {
            prop_assert_eq!(NameCharacters::OPENTSDB.check(&legal(&text)), Ok(()));
        }
    }
}
