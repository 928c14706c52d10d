//! The connections to one server: dialled again after a failure, but not too often, with explicit time limits.
//!
//! A caller waits for a dial for less than a second. The dial itself goes on for as long as a slow server needs to greet,
//! so that whoever comes later finds the connection.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{RedisError, Value};
use tidemark_model::Clock;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use super::{
    address::Endpoint,
    command::Command,
    dial::{Connection, Dialler, Login},
    sentinels::{Sentinels, check_is_master},
    trouble::{is_broken, is_demoted, meaning_of},
};
use crate::{BrokerError, JobIdSource, record_codec::millis};

/// From the start of one dial to the start of the next, plus up to as much again: at most one dial a second, and not at
/// the same time as everybody else's.
const DIAL_EVERY: Duration = Duration::from_secs(1);
/// How much longer than the connection may take to come up a caller waits for a dial.
const PATIENCE: Duration = Duration::from_millis(100);
/// Connections of one's own that are kept for the next who wants one.
const IDLE_MAX: usize = 32;
/// How long to wait for replicas to confirm.
const REPLICAS_WAIT: Duration = Duration::from_millis(900);
/// Calls at one time that wait for replicas, each on a connection of its own.
const REPLICATED_MAX: usize = 32;

/// Which server.
pub(super) enum Place {
    Fixed(Endpoint),
    /// The master that sentinels name.
    Master(Sentinels),
}

pub(super) struct Link {
    place: Place,
    login: Login,
    dialler: Arc<Dialler>,
    clock: Arc<dyn Clock>,
    random: JobIdSource,
    state: Mutex<State>,
    /// Grows when a dial ends.
    dials: watch::Sender<u64>,
    /// A blocked connection can do nothing else, so blocking calls have their own; and which shared connection there was
    /// when it came up.
    idle: Mutex<Vec<(u64, Connection)>>,
    replicated: Semaphore,
}

#[derive(Default)]
struct State {
    current: Option<Lent>,
    is_dialling: bool,
    not_before: Duration,
    failures: u32,
    last_error: String,
}

/// A connection and which one it is.
#[derive(Clone)]
pub(super) struct Lent {
    pub(super) connection: Connection,
    generation: u64,
}

/// What a look at the state shows.
enum Look {
    Up(Lent),
    Dialling,
    Down(String),
}

impl Link {
    pub(super) fn new(place: Place, login: Login, dialler: Arc<Dialler>, clock: Arc<dyn Clock>) -> Self {
        let random = JobIdSource::random(clock.clone());
        Self {
            place,
            login,
            dialler,
            clock,
            random,
            state: Mutex::default(),
            dials: watch::Sender::new(0),
            idle: Mutex::default(),
            replicated: Semaphore::new(REPLICATED_MAX),
        }
    }

    /// The shared connection. Fails at once while the server is left alone after a failure, and in less than a second
    /// while it is being dialled.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<Lent, BrokerError> {
        let mut dials = self.dials.subscribe();
        match self.look() {
            Look::Up(lent) => return Ok(lent),
            Look::Down(reason) => return Err(BrokerError::Unavailable(reason)),
            Look::Dialling => {}
        }
        let waited = timeout(self.dialler.connect_timeout + PATIENCE, dials.changed()).await;
        let state = self.state.lock();
        match &state.current {
            Some(lent) if lent.connection.is_alive() => Ok(lent.clone()),
            _ if waited.is_err() => Err(BrokerError::Unavailable(format!("{} does not answer so far", self.shown()))),
            _ => Err(BrokerError::Unavailable(state.last_error.clone())),
        }
    }

    /// The connection there is, without dialling.
    pub(super) fn is_up(&self) -> bool {
        self.state.lock().current.as_ref().is_some_and(|lent| lent.connection.is_alive())
    }

    /// Looks at what there is, and starts a dial when it is time for one.
    fn look(self: &Arc<Self>) -> Look {
        let mut state = self.state.lock();
        if let Some(lent) = &state.current {
            if lent.connection.is_alive() {
                return Look::Up(lent.clone());
            }
            state.current = None;
        }
        if state.is_dialling {
            return Look::Dialling;
        }
        let now = self.clock.monotonic();
        if now < state.not_before {
            return Look::Down(state.last_error.clone());
        }
        state.is_dialling = true;
        state.not_before = now + self.pause();
        drop(state);
        let guard = DialGuard(Arc::clone(self));
        self.dialler.tasks.spawn(async move { guard.0.dial_and_note().await });
        Look::Dialling
    }

    fn pause(&self) -> Duration {
        DIAL_EVERY + Duration::from_millis(self.random.next_random() % millis(DIAL_EVERY).max(1))
    }

    async fn dial_and_note(&self) {
        let outcome = self.dial().await;
        let mut state = self.state.lock();
        match outcome {
            Ok(connection) => {
                let redis = connection.endpoint.to_string();
                if state.failures > 0 {
                    tracing::info!(redis, failures = state.failures, "connected to the broker again");
                }
                state.failures = 0;
                state.last_error = format!("the connection to redis at {redis} was lost; trying again");
                state.current = Some(Lent { connection, generation: self.dialler.count() });
            }
            Err(reason) => self.note_failure(&mut state, reason),
        }
    }

    fn note_failure(&self, state: &mut State, reason: String) {
        state.failures = state.failures.saturating_add(1);
        if state.failures == 1 {
            tracing::warn!(reason, "connect to the broker; trying again");
        }
        state.last_error = reason;
    }

    async fn dial(&self) -> Result<Connection, String> {
        match &self.place {
            Place::Fixed(endpoint) => self.dialler.dial(endpoint, &self.login).await,
            Place::Master(sentinels) => {
                let endpoint = sentinels.master(&self.dialler).await?;
                let connection = self.dialler.dial(&endpoint, &self.login).await?;
                check_is_master(&connection).await?;
                Ok(connection)
            }
        }
    }

    fn shown(&self) -> String {
        match &self.place {
            Place::Fixed(endpoint) => format!("redis at {endpoint}"),
            Place::Master(sentinels) => format!("the master `{}`", sentinels.master),
        }
    }

    /// Runs a command on the shared connection.
    pub(super) async fn run(&self, lent: &Lent, command: &impl Command, asking: bool) -> Result<Value, RedisError> {
        let answer = lent.connection.run(command, asking).await;
        if let Err(error) = &answer {
            self.note_error(lent, error);
        }
        answer
    }

    /// A broken connection is not used again, and neither is one to a server that is no master any more. Whoever else
    /// waits for an answer on a broken one learns at once that there will be none.
    fn note_error(&self, lent: &Lent, error: &RedisError) {
        let is_broken = is_broken(error);
        if is_broken || is_demoted(error) {
            self.drop_connection(lent.generation);
        }
        if is_broken {
            lent.connection.give_up();
        }
    }

    fn drop_connection(&self, generation: u64) {
        let mut state = self.state.lock();
        if state.current.as_ref().is_some_and(|current| current.generation == generation) {
            state.current = None;
        }
    }

    /// Asks the sentinels whether the server of the shared connection still is the master. A master that was cut off
    /// from its sentinels takes jobs that will be gone.
    pub(super) async fn check_place(&self) {
        let Place::Master(sentinels) = &self.place else { return };
        let Some(lent) = self.state.lock().current.clone() else { return };
        if let Ok(master) = sentinels.master(&self.dialler).await
            && master != lent.connection.endpoint
        {
            tracing::warn!(from = %lent.connection.endpoint, to = %master, "sentinels name another master; following");
            self.drop_connection(lent.generation);
        }
    }

    /// Runs a command on a connection of its own, and returns how many replicas have confirmed what it wrote: at least
    /// `replicas` of them, or as many as there were after 0.9 s.
    pub(super) async fn run_replicated(
        self: &Arc<Self>,
        command: &impl Command,
        asking: bool,
        replicas: u32,
    ) -> Result<(Value, u32), Failure> {
        let turn = timeout(REPLICAS_WAIT, self.replicated.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or_else(|| {
            BrokerError::Unavailable(format!("{REPLICATED_MAX} calls wait for replicas of {} already", self.shown()))
        })?;
        let (generation, connection) = self.own_connection(self.dialler.response_timeout).await?;
        let failed = |error| self.own_failure(generation, &connection, error);
        let answer = connection.run(command, asking).await.map_err(failed)?;
        let mut wait = redis::cmd("WAIT");
        wait.arg(replicas).arg(millis(REPLICAS_WAIT));
        // IMPORTANT: from here on the command has had its effect, whatever the error says.
        let confirmed = connection.run(&&wait, false).await.map_err(|error| {
            let meaning = meaning_of(&error, &connection.endpoint);
            Failure::Before(BrokerError::Unknown(meaning.to_string()))
        })?;
        self.keep_idle(generation, connection);
        Ok((answer, redis::from_redis_value(confirmed).unwrap_or(0)))
    }

    /// Waits for a token in a list, on a connection of its own.
    pub(super) async fn wait_for_signal(self: &Arc<Self>, signals: &[String], wait: Duration) -> Result<(), Failure> {
        let response_timeout = wait + self.dialler.response_timeout;
        let (generation, connection) = self.own_connection(response_timeout).await?;
        let mut command = redis::cmd("BLPOP");
        command.arg(signals).arg(wait.as_secs_f64());
        let failed = |error| self.own_failure(generation, &connection, error);
        let _token_or_nothing = connection.run(&&command, false).await.map_err(failed)?;
        self.keep_idle(generation, connection);
        Ok(())
    }

    /// A connection that nobody else uses meanwhile, to the server of the shared one.
    async fn own_connection(self: &Arc<Self>, response_timeout: Duration) -> Result<(u64, Connection), BrokerError> {
        // Goes by the shared connection, so that a server that is down is left alone.
        let shared = self.connection().await?;
        let idle = {
            let mut idle = self.idle.lock();
            idle.retain(|(generation, connection)| *generation == shared.generation && connection.is_alive());
            idle.pop()
        };
        let (generation, mut connection) = match idle {
            Some(idle) => idle,
            None => {
                let dialled = self.dialler.dial(&shared.connection.endpoint, &self.login).await;
                (shared.generation, dialled.map_err(BrokerError::Unavailable)?)
            }
        };
        connection.set_response_timeout(response_timeout);
        Ok((generation, connection))
    }

    fn own_failure(&self, generation: u64, connection: &Connection, error: RedisError) -> Failure {
        if is_demoted(&error) {
            self.drop_connection(generation);
        }
        Failure::Redis { error, endpoint: connection.endpoint.clone() }
    }

    fn keep_idle(&self, generation: u64, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push((generation, connection));
        }
    }

    /// Drops all connections.
    pub(super) fn close(&self) {
        self.state.lock().current = None;
        self.idle.lock().clear();
    }
}

/// Why a call on a connection of its own failed.
pub(super) enum Failure {
    /// The call itself was not even made, or its meaning is known.
    Before(BrokerError),
    /// As Redis says.
    Redis { error: RedisError, endpoint: Endpoint },
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        Self::Before(error)
    }
}

impl From<Failure> for BrokerError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Before(error) => error,
            Failure::Redis { error, endpoint } => meaning_of(&error, &endpoint),
        }
    }
}

/// Ends a dial, also one that is aborted with its runtime.
struct DialGuard(Arc<Link>);

impl Drop for DialGuard {
    fn drop(&mut self) {
        self.0.state.lock().is_dialling = false;
        self.0.dials.send_modify(|dials| *dials += 1);
    }
}
