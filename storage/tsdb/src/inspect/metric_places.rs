//! Where the points of metrics are, and where they are to be: readers look for a metric in one shard alone.

use bytes::Bytes;
use hashbrown::HashMap;
use tidemark_model::NameKind;

use super::{Finding, FindingKind};
use crate::{
    index::{name_hash, shard_of_hash},
    index_rows::NameRow,
    keys,
};

/// What names and entries say of the shards of metrics.
#[derive(Debug, Default)]
pub(super) struct MetricPlaces {
    named: HashMap<u32, Place>,
    /// A key of each metric in each shard in which it has something.
    used: HashMap<(u32, u16), Bytes>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the shard of its name, which has this hash.
    OfName(u64),
    /// Its name was changed.
    Shard(u16),
}

impl MetricPlaces {
    /// The name of a metric, by its key.
    pub(super) fn note_name(&mut self, key: &[u8], row: NameRow) {
        let of_name = || Place::OfName(name_hash(keys::name_of(key).unwrap_or_default()));
        self.named.insert(row.id, row.shard.map_or_else(of_name, Place::Shard));
    }

    pub(super) fn note_used(&mut self, metric: u32, shard: u16, key: &Bytes) {
        self.used.entry((metric, shard)).or_insert_with(|| key.clone());
    }

    pub(super) fn forget_names(&mut self) {
        self.named.clear();
    }

    /// What is not where its name says, in a store with so many shards.
    pub(super) fn findings(&self, shards: u16) -> Vec<Finding> {
        let shard_of = |place: &Place| match place {
            Place::OfName(hash) => shard_of_hash(*hash, shards),
            Place::Shard(shard) => *shard,
        };
        let mut findings = Vec::new();
        for (&metric, shard) in self.named.iter().map(|(metric, place)| (metric, shard_of(place))) {
            if shard >= shards {
                let problem = format!("metric {metric} is to be in shard {shard}, and the store has {shards} shards");
                let names = keys::names(NameKind::Metric).start;
                findings.push((metric, Finding::new(FindingKind::Contradiction, &names, problem)));
            }
        }
        for (&(metric, shard), key) in &self.used {
            if let Some(place) = self.named.get(&metric).map(shard_of).filter(|place| *place != shard) {
                let problem = format!("it is in shard {shard}, and metric {metric} is to be in shard {place}");
                findings.push((metric, Finding::new(FindingKind::Contradiction, key, problem)));
            }
        }
        findings.sort_by_key(|(metric, _)| *metric);
        findings.into_iter().map(|(_, finding)| finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_another_shard_than_its_name_says_is_found() {
        let shards = 5;
        let of_cpu = shard_of_hash(name_hash("cpu"), shards);
        let key = Bytes::from_static(b"D");
        let check = |row: NameRow, used: u16, findings: usize| {
            let mut places = MetricPlaces::default();
            places.note_name(&keys::name(NameKind::Metric, "cpu"), row);
            places.note_used(row.id, used, &key);
            // Nothing is known of its name, which is a finding of its own.
            places.note_used(9, used, &key);
            assert_eq!(places.findings(shards).len(), findings, "{row:?} {used}");
        };
        let other = (of_cpu + 1) % shards;
        check(NameRow::new(1), of_cpu, 0);
        check(NameRow::new(1), other, 1);
        check(NameRow { id: 1, shard: Some(other) }, other, 0);
        check(NameRow { id: 1, shard: Some(other) }, of_cpu, 1);
        check(NameRow { id: 1, shard: Some(shards) }, shards, 1);
    }
}
