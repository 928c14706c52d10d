//! The agent about itself: `tidemark.agent.*`.

use std::sync::Arc;

use tidemark_model::{Clock, Value};

use crate::{
    collector::{CollectError, Collector},
    counts::Counters,
    gathering::{Gathering, whole},
    host_files::HostFiles,
    meaning::Meaning,
    status::StatusBoard,
};

/// Its name among the collectors.
pub(crate) const NAME: &str = "agent";

pub(crate) struct OwnMetrics {
    pub(crate) counters: Arc<Counters>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) clock: Arc<dyn Clock>,
}

const GATHERED: Meaning = Meaning::counter("points", "Points that the agent's collectors gathered.");
const SENT: Meaning = Meaning::counter("points", "Points of the agent that were acknowledged.");
const SPOOLED: Meaning = Meaning::counter("points", "Points that the agent had to write to its spool.");
const REFUSED: Meaning = Meaning::counter("points", "Points of the agent that were refused for good.");
const DROPPED: Meaning = Meaning::counter("points", "Points that the agent lost: its backlog or spool was full.");
const DAMAGED: Meaning = Meaning::counter("frames", "Batches of the agent's spool that could not be read back.");
const ERRORS: Meaning = Meaning::counter("errors", "Failed attempts of the agent to deliver points.");
const METADATA_ERRORS: Meaning = Meaning::counter("errors", "Failed attempts of the agent to deliver metadata.");
const BACKLOG: Meaning = Meaning::gauge("points", "Points that wait in the agent's memory.");
const SPOOL: Meaning = Meaning::gauge("bytes", "Bytes of the agent's spool.");
const LAST_SUCCESS: Meaning = Meaning::gauge("seconds", "Time since points of the agent were last acknowledged.");
const DURATION: Meaning = Meaning::gauge("seconds", "How long the latest run of the collector took.");
const FAILURES: Meaning = Meaning::counter("errors", "Failed runs and refused lines of the collector.");

impl Collector for OwnMetrics {
    fn name(&self) -> &'static str {
        NAME
    }

    fn collect(&mut self, _files: &HostFiles, out: &mut Gathering<'_>) -> Result<(), CollectError> {
        let counts = self.counters.snapshot();
        let totals = [
            ("points_gathered", counts.gathered, GATHERED),
            ("points_sent", counts.sent, SENT),
            ("points_spooled", counts.spooled, SPOOLED),
            ("points_refused", counts.refused, REFUSED),
            ("points_dropped", counts.dropped, DROPPED),
            ("spool_frames_damaged", counts.spool_frames_damaged, DAMAGED),
            ("send_errors", counts.send_errors, ERRORS),
            ("metadata_errors", counts.metadata_errors, METADATA_ERRORS),
            ("backlog_points", counts.backlog_points, BACKLOG),
            ("spool_bytes", counts.spool_bytes, SPOOL),
        ];
        for (name, count, meaning) in totals {
            out.add(&format!("tidemark.agent.{name}"), &[], whole(count), meaning);
        }
        let now = self.clock.now_ms();
        if let Some(last) = counts.last_success {
            let seconds = now.saturating_sub(last) as f64 / 1000.0;
            out.add("tidemark.agent.last_success_age", &[], Value::Float(seconds), LAST_SUCCESS);
        }
        for status in self.board.snapshot(now) {
            let tags = [("collector", status.name.as_str())];
            out.add("tidemark.agent.collector.errors", &tags, whole(status.errors_total), FAILURES);
            if let Some(took) = status.took {
                out.add("tidemark.agent.collector.duration", &tags, took.as_secs_f64(), DURATION);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidemark_model::ManualClock;

    use super::*;
    use crate::{
        builtin::fixture::{Fixture, NOW_MS, number},
        status::CollectorSource,
    };

    #[test]
    fn counts_and_collectors_become_series() {
        let own = || OwnMetrics {
            counters: Arc::default(),
            board: Arc::default(),
            clock: Arc::new(ManualClock::new(NOW_MS)),
        };
        let mut own = own();
        own.counters.sent.add(7);
        own.counters.succeeded(NOW_MS - 1_500);
        own.board.register("cpu", CollectorSource::Builtin, None);
        own.board.failed("cpu", NOW_MS, "broken");
        own.board.finished("cpu", Duration::from_millis(250));
        let fixture = Fixture::default();
        let gathered = fixture.gather(|out| own.collect(&fixture.files(), out).unwrap());
        assert_eq!(number(&gathered, "tidemark.agent.points_sent{host=h}"), Some(7.0));
        assert_eq!(number(&gathered, "tidemark.agent.last_success_age{host=h}"), Some(1.5));
        assert_eq!(number(&gathered, "tidemark.agent.collector.errors{collector=cpu,host=h}"), Some(1.0));
        assert_eq!(number(&gathered, "tidemark.agent.collector.duration{collector=cpu,host=h}"), Some(0.25));
    }
}
