//! What all collectors of an agent share.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tidemark_model::Clock;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::{DeliveryHandle, gathering::Gathered, host_files::HostFiles, host_tags::HostTags, status::StatusBoard};

pub(crate) struct Context {
    pub(crate) host_tags: HostTags,
    pub(crate) files: HostFiles,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) triggers: Arc<Triggers>,
    pub(crate) tracker: TaskTracker,
    pub(crate) out: DeliveryHandle,
    pub(crate) seed: u64,
}

impl Context {
    /// Hands on what a collector gathered; waits while the batcher is behind.
    pub(crate) async fn hand_on(&self, name: &str, gathered: Gathered) {
        let points = gathered.batch.len();
        self.board.gathered(name, points);
        if let Some(first) = &gathered.first_refusal {
            let refused = gathered.refused;
            self.fail(name, &format!("{refused} points refused, the first because of {first}"));
        }
        self.out.send_gathered(gathered).await;
    }

    pub(crate) fn fail(&self, name: &str, error: &str) {
        tracing::warn!(collector = name, error, "a collector failed");
        self.board.failed(name, self.clock.now_ms(), error);
    }
}

/// Wakes collectors before their time.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    by_name: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Triggers {
    pub(crate) fn register(&self, name: &str) -> Arc<Notify> {
        Arc::clone(self.by_name.lock().entry(name.to_owned()).or_default())
    }

    pub(crate) fn forget(&self, name: &str) {
        self.by_name.lock().remove(name);
    }

    /// Whether there is such a collector.
    pub(crate) fn pull(&self, name: &str) -> bool {
        match self.by_name.lock().get(name) {
            Some(trigger) => {
                trigger.notify_one();
                true
            }
            None => false,
        }
    }
}
