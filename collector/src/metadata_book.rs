//! What the metrics of this agent mean, and which of it the sink does not know yet.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tidemark_model::{MetadataStore, MetricMetadata};
use tokio::{sync::Notify, time};
use tokio_util::sync::CancellationToken;

use crate::{backoff::Backoff, counts::Counters, gathering::merge};

/// Most metrics of which one agent remembers the meaning; those of further ones are not sent.
const METRICS_MAX: usize = 50_000;

/// Most entries that are sent at once.
const ENTRIES_MAX: usize = 500;

#[derive(Debug, Default)]
pub(crate) struct MetadataBook {
    pages: Mutex<Pages>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Pages {
    known: BTreeMap<String, MetricMetadata>,
    unsent: BTreeSet<String>,
}

impl MetadataBook {
    pub(crate) fn learn(&self, entries: Vec<MetricMetadata>) {
        let mut pages = self.pages.lock();
        for entry in entries {
            pages.learn(entry);
        }
        if !pages.unsent.is_empty() {
            self.changed.notify_one();
        }
    }

    /// What is known of a metric.
    pub(crate) fn of(&self, metric: &str) -> Option<MetricMetadata> {
        self.pages.lock().known.get(metric).cloned()
    }

    fn some_unsent(&self) -> Vec<MetricMetadata> {
        let pages = self.pages.lock();
        pages.unsent.iter().take(ENTRIES_MAX).filter_map(|metric| pages.known.get(metric).cloned()).collect()
    }

    /// Entries that changed since they were sent stay unsent.
    fn mark_sent(&self, entries: &[MetricMetadata]) {
        let mut pages = self.pages.lock();
        for entry in entries {
            if pages.known.get(&entry.metric) == Some(entry) {
                pages.unsent.remove(&entry.metric);
            }
        }
    }

    fn mark_all_unsent(&self) {
        let mut pages = self.pages.lock();
        pages.unsent = pages.known.keys().cloned().collect();
    }
}

impl Pages {
    fn learn(&mut self, entry: MetricMetadata) {
        let room = self.known.len() < METRICS_MAX;
        match self.known.entry(entry.metric.clone()) {
            Entry::Vacant(vacant) if room => {
                self.unsent.insert(entry.metric.clone());
                vacant.insert(entry);
            }
            Entry::Vacant(_) => {}
            Entry::Occupied(mut known) => {
                let before = known.get().clone();
                merge(known.get_mut(), entry);
                if before != *known.get() {
                    self.unsent.insert(before.metric);
                }
            }
        }
    }
}

/// Sends what the sink does not know yet, at once, and everything again from time to time, in case it forgot.
pub(crate) struct MetadataCourier {
    pub(crate) book: Arc<MetadataBook>,
    pub(crate) store: Arc<dyn MetadataStore>,
    pub(crate) repeat_after: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) counters: Arc<Counters>,
}

impl MetadataCourier {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut repeat_at = time::Instant::now() + self.repeat_after;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.book.changed.notified() => {}
                () = time::sleep_until(repeat_at) => {
                    self.book.mark_all_unsent();
                    repeat_at = time::Instant::now() + self.repeat_after;
                }
            }
            if stop.run_until_cancelled(self.send_unsent()).await.is_none() {
                return;
            }
        }
    }

    async fn send_unsent(&mut self) {
        loop {
            let entries = self.book.some_unsent();
            if entries.is_empty() {
                return;
            }
            match self.store.put_metadata(entries.clone()).await {
                Ok(()) => {
                    self.backoff.after_success();
                    self.book.mark_sent(&entries);
                }
                Err(error) => {
                    let delay = self.backoff.after_failure();
                    self.counters.metadata_errors.add(1);
                    tracing::warn!(%error, retry_in = ?delay, "metadata could not be sent");
                    time::sleep(delay).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_model::RateKind;

    use super::*;

    fn entry(metric: &str, unit: &str) -> MetricMetadata {
        MetricMetadata { metric: metric.into(), unit: unit.into(), rate: Some(RateKind::Gauge), ..Default::default() }
    }

    #[test]
    fn only_what_is_new_or_changed_is_sent() {
        let book = MetadataBook::default();
        book.learn(vec![entry("a", "bytes"), entry("b", "")]);
        book.mark_sent(&book.some_unsent());
        book.learn(vec![entry("a", "bytes"), entry("b", ""), entry("a", "")]);
        assert_eq!(book.some_unsent(), []);
        book.learn(vec![entry("b", "packets")]);
        assert_eq!(book.some_unsent(), [entry("b", "packets")]);
    }

    #[test]
    fn what_changes_while_it_is_sent_is_sent_again() {
        let book = MetadataBook::default();
        book.learn(vec![entry("a", "bytes")]);
        let under_way = book.some_unsent();
        book.learn(vec![entry("a", "bits")]);
        book.mark_sent(&under_way);
        assert_eq!(book.some_unsent(), [entry("a", "bits")]);
    }

    #[test]
    fn everything_is_sent_again_on_demand_in_pieces() {
        let book = MetadataBook::default();
        book.learn((0..ENTRIES_MAX + 1).map(|at| entry(&format!("m{at}"), "")).collect());
        let first = book.some_unsent();
        assert_eq!(first.len(), ENTRIES_MAX);
        book.mark_sent(&first);
        assert_eq!(book.some_unsent().len(), 1);
        book.mark_all_unsent();
        assert_eq!(book.some_unsent().len(), ENTRIES_MAX);
    }
}
