//! A server that runs for the length of a test.

use std::{collections::HashMap, net::SocketAddr, num::NonZeroUsize, sync::Arc, thread::JoinHandle, time::Duration};

use actix_web::web;
use tidemark_api::{ApiOptions, ApiSeams, ApiServer, AppState};
use tidemark_model::SystemClock;
use tokio_util::sync::CancellationToken;

use crate::{client::Client, memory_store::MemoryStore};

/// A server that runs until it is dropped.
pub(crate) struct Started {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) state: Arc<AppState>,
    thread: Option<JoinHandle<()>>,
}

impl Started {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut ApiOptions)) -> Self {
        let mut options = ApiOptions { workers: NonZeroUsize::MIN, ..ApiOptions::default() };
        options.limits.shutdown_timeout = Duration::from_secs(2);
        adjust(&mut options);
        let store = Arc::new(MemoryStore::new());
        let seams = ApiSeams {
            clock: Arc::new(SystemClock::new()),
            sink: store.clone(),
            sink_telnet: store.clone(),
            sink_sync: store.clone(),
            reader: store.clone(),
            deleter: store.clone(),
            catalog: store.clone(),
            metadata: store.clone(),
            described: store.clone(),
            names: store.clone(),
            documents: store.clone(),
            annotations: store.clone(),
        };
        let state = AppState::new(seams, options, CancellationToken::new());
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        let of_thread = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(
                async {
                    let server = ApiServer::bind("127.0.0.1:0".parse().unwrap(), of_thread).unwrap();
                    let server = server.configure(Arc::new(|config| {
                        config
                            .route("/own/{Name}", web::get().to(|| async { "own" }))
                            .route("/own/number/{number}", web::get().to(own_number));
                    }));
                    let running = server.start().unwrap();
                    send.send(running.address()).unwrap();
                    running.run().await.unwrap();
                },
            );
        });
        let address = receive.recv().unwrap();
        Self { address, store, state, thread: Some(thread) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Tells the server to stop and waits until it did.
    pub(crate) fn stop(&mut self) {
        self.state.shutdown.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Waits until something holds.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let give_up = std::time::Duration::from_secs(20);
        let clock = self.state.seams.clock.monotonic();
        while !holds(self) {
            assert!(self.state.seams.clock.monotonic() - clock < give_up, "{what} did not come true");
            std::thread::yield_now();
        }
    }
}

/// Adds a number of the path and one of the query string.
async fn own_number(number: web::Path<u64>, query: web::Query<HashMap<String, u64>>) -> String {
    query.values().fold(*number, |sum, value| sum + value).to_string()
}

impl Drop for Started {
    fn drop(&mut self) {
        self.stop();
    }
}
