//! The front page.

use tidemark_alert::book::IncidentFilter;
use tidemark_dashboards::{Attention, GraphQuery, HostTable, IngestHealth, OverviewPage, RecentEvent, RecentEvents};

use super::{
    Console,
    asking::{AskError, Window},
    incidents::{events, summary},
    routes::PageError,
};
use crate::figures::gather;

/// Incidents that the front page lists.
const ATTENTION_MAX: usize = 20;
/// Events that it lists.
const EVENTS_MAX: usize = 10;
/// How far back its small line reaches.
const RECENT_MS: i64 = 10 * 60_000;

impl Console {
    /// The page `/`.
    pub(crate) async fn overview_page(&self) -> Result<OverviewPage, PageError> {
        Ok(OverviewPage { hosts: self.host_table("").await?, ..self.beside_hosts().await? })
    }

    /// The page without its hosts, which cost more than the rest and need not be looked at as often.
    pub(super) async fn beside_hosts(&self) -> Result<OverviewPage, PageError> {
        Ok(OverviewPage {
            attention: self.attention().await?,
            hosts: HostTable::default(),
            events: self.recent_events().await?,
            ingest: self.ingest_health().await?,
        })
    }

    async fn attention(&self) -> Result<Attention, PageError> {
        let open = self.open().await?;
        let (waiting, acknowledged): (Vec<_>, Vec<_>) =
            open.iter().partition(|incident| incident.needs_acknowledgement);
        let mut incidents: Vec<_> = waiting.into_iter().map(summary).collect();
        incidents.sort_by_key(|incident| std::cmp::Reverse((incident.current, incident.opened_ms)));
        let left_out = incidents.len().saturating_sub(ATTENTION_MAX);
        incidents.truncate(ATTENTION_MAX);
        let closed = IncidentFilter { open: Some(false), ..IncidentFilter::default() };
        let last_closed = self.seams.incidents.list(&closed, 1).await?.incidents.into_iter().next();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Attention {
            incidents,
            left_out: count(left_out),
            acknowledged_count: count(acknowledged.len()),
            silenced_count: 0,
            rule_count: count(self.seams.rules.rules().count()),
            last_closed_ms: last_closed.and_then(|incident| incident.closed_at),
        })
    }

    async fn recent_events(&self) -> Result<RecentEvents, PageError> {
        let newest = self.seams.incidents.list(&IncidentFilter::default(), EVENTS_MAX).await?;
        let mut recent: Vec<RecentEvent> = Vec::new();
        for incident in &newest.incidents {
            let about = if incident.subject.is_empty() { &incident.key } else { &incident.subject };
            recent.extend(events(incident).into_iter().map(|event| {
                let status = event.status.map(|status| format!("{status:?}").to_lowercase()).unwrap_or_default();
                let parts = [event.who.as_str(), &event.kind, &status, about, &event.text];
                let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                RecentEvent {
                    at_ms: event.at_ms,
                    kind: "incident".to_owned(),
                    text: parts.join(" · "),
                    href: format!("/incidents/{}", incident.id),
                }
            }));
        }
        recent.sort_by_key(|event| std::cmp::Reverse(event.at_ms));
        recent.truncate(EVENTS_MAX);
        Ok(RecentEvents { events: recent })
    }

    /// How the store fares, from our own figures: the newest ones of this process, and rates out of the store.
    async fn ingest_health(&self) -> Result<IngestHealth, AskError> {
        let figures = gather(&self.seams.figures).await;
        let sum = |name: &str| {
            let mut values = figures.iter().filter(|figure| figure.name == name).map(|figure| figure.value).peekable();
            values.peek().is_some().then(|| values.sum::<f64>())
        };
        let whole = |name: &str| sum(name).map(|value| value as u64);
        let oldest = figures.iter().filter(|figure| figure.name == "queue.oldest_seconds").map(|figure| figure.value);
        let written = self.own_rate("tidemark.store.points_written").await?;
        let refused = self.own_rate("tidemark.api.points_rejected").await?;
        Ok(IngestHealth {
            points_per_second: written.iter().rev().find_map(|value| *value),
            recent_points_per_second: written,
            refused_per_second: refused.iter().rev().find_map(|value| *value),
            series: whole("store.series"),
            jobs_waiting: whole("queue.ready"),
            oldest_job_age_ms: oldest.reduce(f64::max).map(|seconds| (seconds * 1000.0) as i64),
            jobs_discarded: whole("queue.discarded"),
            store_bytes: whole("store.disk_bytes"),
            disk_free_bytes: whole("store.disk_free_bytes"),
            ..IngestHealth::default()
        })
    }

    /// The rate of one of our own counters over the last minutes, over all processes.
    pub(super) async fn own_rate(&self, metric: &str) -> Result<Vec<Option<f64>>, AskError> {
        let now_ms = self.seams.clock.now_ms();
        let window = Window { start_ms: now_ms - RECENT_MS, end_ms: now_ms };
        let query = GraphQuery { m: format!("sum:rate{{dropcounter}}:{metric}"), label_tag: None };
        let data = self.asker.graph_or_empty(&[query], window, 600).await?;
        Ok(data.series.into_iter().next().map(|series| series.values).unwrap_or_default())
    }
}
