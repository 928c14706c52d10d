//! Days that somebody wants compacted again, with their rows made anew: the days of a range, one by one, so that whoever
//! asks can say how far it is and stop in between.

use tidemark_kv::KvError;
use tidemark_model::{NameKind, TimeRange};

use crate::{
    Bucket, StoreError,
    compaction::{compact_day, days_in},
    rollup::RowsWanted,
    sealer::{CompactionReport, Sealer},
};

/// A day of a metric in one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricDay {
    shard: u16,
    metric: u32,
    day: Bucket,
}

impl Sealer {
    /// The days of a range that have points on the disk, of one metric or of all, oldest first within a metric.
    pub(crate) async fn days(&self, range: TimeRange, metric: Option<&str>) -> Result<Vec<MetricDay>, StoreError> {
        let mut found = Vec::new();
        for shard in self.shards.iter() {
            self.follower.catch_up(shard).await?;
            let wanted = metric.map(|name| self.index.read().names(NameKind::Metric).id(name));
            let catalogue = &shard.state.read().catalogue;
            let metrics = catalogue.metrics().filter(|metric| wanted.is_none_or(|wanted| wanted == Some(*metric)));
            found.extend(metrics.flat_map(|metric| {
                let days = days_in(catalogue, metric, range, self.clock.now_ms());
                days.map(move |day| MetricDay { shard: shard.number, metric, day })
            }));
        }
        Ok(found)
    }

    /// Compacts a day whether or not it looks as if that were needed.
    pub(crate) async fn compact_again(&self, day: MetricDay) -> Result<CompactionReport, StoreError> {
        let _turn = self.merge_turn.lock().await;
        let MetricDay { shard, metric, day } = day;
        let Some(shard) = self.shards.get(usize::from(shard)) else { return Ok(CompactionReport::default()) };
        self.follower.catch_up(shard).await?;
        let wanted = RowsWanted::WhereFasterThanPoints;
        match compact_day(&self.kv, shard, metric, day, &self.compaction, wanted, self.version()).await {
            Ok(None) => Ok(CompactionReport::default()),
            Ok(Some(compacted)) => {
                self.counters.compactions.add(1);
                Ok(CompactionReport { days: 1, points: compacted.points, bytes: compacted.bytes })
            }
            // Another process is at it.
            Err(StoreError::Kv(KvError::Conflict { .. })) if shard.sharing.is_shared() => {
                Ok(CompactionReport::default())
            }
            Err(error) => Err(error),
        }
    }
}
