//! How large the store is, about.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use foundationdb::FdbResult;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::cluster::Cluster;

/// How long an estimate is good for.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// FoundationDB's estimate of the bytes of the store's keys and values, from samples it keeps anyway: small stores look
/// empty, and copies on several machines are not counted.
///
/// Nobody waits for an estimate. Asking starts one when the last is a minute old and picks up the one before; the client
/// library does the rest on its own thread.
#[derive(Default)]
pub(super) struct SizeEstimate {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: Option<u64>,
    asked: Option<Instant>,
    under_way: Option<Pin<Box<dyn Future<Output = FdbResult<i64>> + Send>>>,
}

impl SizeEstimate {
    /// The newest estimate, if there is one yet.
    pub(super) fn bytes(&self, cluster: &Cluster) -> Option<u64> {
        let mut state = self.state.lock();
        state.pick_up();
        if state.is_due() {
            state.ask(cluster);
        }
        state.bytes
    }
}

impl State {
    fn pick_up(&mut self) {
        let Some(estimate) = &mut self.under_way else { return };
        if let Poll::Ready(estimate) = estimate.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.under_way = None;
            match estimate {
                Ok(bytes) => self.bytes = u64::try_from(bytes).ok(),
                Err(error) => tracing::debug!(%error, "no estimate of the size of the store"),
            }
        }
    }

    fn is_due(&self) -> bool {
        self.under_way.is_none() && self.asked.is_none_or(|asked| asked.elapsed() >= GOOD_FOR)
    }

    fn ask(&mut self, cluster: &Cluster) {
        self.asked = Some(Instant::now());
        let Ok(transaction) = cluster.begin() else { return };
        let range = cluster.options.key_prefix.whole();
        let estimate = transaction.get_estimated_range_size_bytes(&range.start, &range.end);
        self.under_way = Some(Box::pin(async move {
            let bytes = estimate.await;
            drop(transaction);
            bytes
        }));
    }
}
