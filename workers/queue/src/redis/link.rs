//! The connection to the server: dialled again after a failure, but not too often, with explicit time limits.

use std::time::Duration;

use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, ServerErrorKind,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tidemark_model::Clock;

use super::RedisOptions;
use crate::{Backoff, BrokerError, JobIdSource};

/// How long to leave the server alone after a failed dial: at most about one a second.
const DIAL_BACKOFF: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(2) };
/// Connections for blocking calls that are kept for the next one.
const IDLE_MAX: usize = 32;

pub(super) struct Link {
    client: Client,
    options: RedisOptions,
    clock: std::sync::Arc<dyn Clock>,
    random: JobIdSource,
    state: Mutex<State>,
    dialling: tokio::sync::Mutex<()>,
    /// A blocked connection can do nothing else, so blocking calls have their own.
    idle: Mutex<Vec<MultiplexedConnection>>,
}

#[derive(Default)]
struct State {
    connection: Option<(u64, MultiplexedConnection)>,
    generation: u64,
    failures: u32,
    not_before: Duration,
    last_error: String,
}

/// A connection and which one it is.
pub(super) struct Lent {
    pub(super) connection: MultiplexedConnection,
    pub(super) generation: u64,
}

impl Link {
    pub(super) fn new(client: Client, options: RedisOptions, clock: std::sync::Arc<dyn Clock>) -> Self {
        Self {
            client,
            options,
            random: JobIdSource::random(clock.clone()),
            clock,
            state: Mutex::default(),
            dialling: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
        }
    }

    /// The shared connection. Fails at once while the server is left alone after a failure.
    pub(super) async fn connection(&self) -> Result<Lent, BrokerError> {
        if let Some(lent) = self.current()? {
            return Ok(lent);
        }
        let _one_dials = self.dialling.lock().await;
        if let Some(lent) = self.current()? {
            return Ok(lent);
        }
        match self.dial(self.options.response_timeout).await {
            Ok(connection) => {
                let mut state = self.state.lock();
                state.generation += 1;
                state.failures = 0;
                let generation = state.generation;
                state.connection = Some((generation, connection.clone()));
                Ok(Lent { connection, generation })
            }
            Err(error) => Err(self.note_failed_dial(&error)),
        }
    }

    fn current(&self) -> Result<Option<Lent>, BrokerError> {
        let state = self.state.lock();
        if let Some((generation, connection)) = &state.connection {
            return Ok(Some(Lent { connection: connection.clone(), generation: *generation }));
        }
        if self.clock.monotonic() < state.not_before {
            return Err(BrokerError::Unavailable(state.last_error.clone()));
        }
        Ok(None)
    }

    fn note_failed_dial(&self, error: &RedisError) -> BrokerError {
        let mut state = self.state.lock();
        state.failures += 1;
        let delay = DIAL_BACKOFF.delay(state.failures, self.random.next_random());
        state.not_before = self.clock.monotonic() + delay;
        state.last_error = format!("redis at {} cannot be reached: {error}", self.options.shown());
        if state.failures == 1 {
            tracing::warn!(%error, redis = self.options.shown(), "connect to the broker; trying again");
        }
        BrokerError::Unavailable(state.last_error.clone())
    }

    async fn dial(&self, response_timeout: Duration) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(Some(response_timeout));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// What a failed command means. A broken connection is not used again.
    pub(super) fn failed(&self, lent: &Lent, error: &RedisError) -> BrokerError {
        if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() {
            let mut state = self.state.lock();
            if state.connection.as_ref().is_some_and(|(generation, _)| *generation == lent.generation) {
                state.connection = None;
            }
        }
        meaning_of(error)
    }

    /// Waits for a token in a list, on a connection of its own.
    pub(super) async fn wait_for_signal(&self, signals: &[String], wait: Duration) -> Result<(), BrokerError> {
        let timeout = wait + self.options.response_timeout;
        let idle = self.idle.lock().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => {
                // Checks the shared connection first, so that a server that is down is left alone.
                drop(self.connection().await?);
                self.dial(timeout).await.map_err(|error| self.note_failed_dial(&error))?
            }
        };
        connection.set_response_timeout(timeout);
        let mut command = redis::cmd("BLPOP");
        command.arg(signals).arg(wait.as_secs_f64());
        match connection.req_packed_command(&command).await {
            Ok(_token_or_nothing) => {
                let mut idle = self.idle.lock();
                if idle.len() < IDLE_MAX {
                    idle.push(connection);
                }
                Ok(())
            }
            Err(error) => Err(meaning_of(&error)),
        }
    }
}

/// Whether a failed command had no effect, or may have had one.
fn meaning_of(error: &RedisError) -> BrokerError {
    let text = format!("redis: {error}");
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ResponseError) => BrokerError::Corrupt(text),
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => BrokerError::Unavailable(text),
        _ if error.is_connection_refusal() => BrokerError::Unavailable(text),
        _ => BrokerError::Unknown(text),
    }
}
