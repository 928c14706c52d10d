//! The servers behind an address: one, the master of some sentinels, or a cluster.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::{RedisConnectionInfo, Value};
use tidemark_model::Clock;
use tokio_util::task::TaskTracker;

use super::{
    RedisOptions,
    address::{Address, Arrangement},
    cluster::Cluster,
    command::Command,
    dial::{Dialler, Login},
    link::{Link, Place},
    sentinels::Sentinels,
    slot::slot_of,
    tls::Tls,
    trouble::meaning_of,
};
use crate::BrokerError;

/// Where commands go.
pub(super) struct Servers {
    dialler: Arc<Dialler>,
    kind: Kind,
    /// Replicas that must have what is pushed before it is acknowledged.
    replicas: u32,
}

enum Kind {
    One(Arc<Link>),
    Cluster(Box<Cluster>),
}

impl Servers {
    /// Connects to nothing so far.
    pub(super) fn new(options: &RedisOptions, address: &Address, clock: &Arc<dyn Clock>) -> Result<Self, BrokerError> {
        if !address.tls && options.tls != super::RedisTls::default() {
            return Err(BrokerError::Invalid(
                "files or a server name for TLS are set, but `broker` does not begin with `rediss`".to_owned(),
            ));
        }
        let dialler = Arc::new(Dialler {
            tls: address.tls.then(|| Tls::new(&options.tls)).transpose()?,
            connect_timeout: options.connect_timeout,
            response_timeout: options.response_timeout,
            tasks: TaskTracker::new(),
            established: AtomicU64::new(0),
        });
        let username = address.username.as_ref().or(options.username.as_ref());
        let password = address.password.as_ref().or(options.password.as_ref());
        let settings = "`redis.username`, `redis.password_file` and the user and password in `broker`";
        let info = login(username, password)?.set_db(i64::from(address.database));
        let login = Login { info, settings };
        let link = |place| Arc::new(Link::new(place, login.clone(), Arc::clone(&dialler), Arc::clone(clock)));
        let kind = match &address.arrangement {
            Arrangement::One(endpoint) => Kind::One(link(Place::Fixed(endpoint.clone()))),
            Arrangement::Sentinel { sentinels, master } => Kind::One(link(Place::Master(Sentinels {
                endpoints: sentinels.clone(),
                master: master.clone(),
                login: Login {
                    info: self::login(options.sentinel_username.as_ref(), options.sentinel_password.as_ref())?,
                    settings: "`redis.sentinel_username` and `redis.sentinel_password_file`",
                },
                preferred: AtomicUsize::new(0),
            }))),
            Arrangement::Cluster { seeds } => {
                let cluster = Cluster::new(seeds.clone(), login.clone(), Arc::clone(&dialler), Arc::clone(clock));
                Kind::Cluster(Box::new(cluster))
            }
        };
        Ok(Self { dialler, kind, replicas: options.wait_replicas })
    }

    /// How many shared connections there ever were: with a new one the server may have other data.
    pub(super) fn generation(&self) -> u64 {
        self.dialler.established.load(Ordering::Acquire)
    }

    /// Makes sure that there is a connection, as far as a command needs one.
    pub(super) async fn connect(&self) -> Result<(), BrokerError> {
        match &self.kind {
            Kind::One(link) => link.connection().await.map(drop),
            Kind::Cluster(_) => Ok(()),
        }
    }

    /// Follows a master that changed without a word.
    pub(super) async fn check_place(&self) {
        if let Kind::One(link) = &self.kind {
            link.check_place().await;
        }
    }

    pub(super) async fn run(&self, command: &impl Command) -> Result<Value, BrokerError> {
        match &self.kind {
            Kind::One(link) => {
                let lent = link.connection().await?;
                let answer = link.run(&lent, command, false).await;
                answer.map_err(|error| meaning_of(&error, &lent.connection.endpoint))
            }
            Kind::Cluster(cluster) => Ok(cluster.run(command, 0).await?.0),
        }
    }

    /// Runs what must be on as many replicas as the options say before it counts.
    ///
    /// # Errors
    /// [`BrokerError::Unknown`] when the server has it and too few replicas confirm it in time.
    pub(super) async fn run_replicated(&self, command: &impl Command) -> Result<Value, BrokerError> {
        if self.replicas == 0 {
            return self.run(command).await;
        }
        let (answer, confirmed) = match &self.kind {
            Kind::One(link) => link.run_replicated(command, false, self.replicas).await?,
            Kind::Cluster(cluster) => cluster.run(command, self.replicas).await?,
        };
        if confirmed < self.replicas {
            return Err(BrokerError::Unknown(format!(
                "{confirmed} of the {} replicas that `redis.wait_replicas` asks for have it",
                self.replicas
            )));
        }
        Ok(answer)
    }

    /// Waits until one of some lists has a token, or until the time is over.
    pub(super) async fn wait_for_signal(&self, signals: &[String], wait: Duration) -> Result<(), BrokerError> {
        match &self.kind {
            Kind::One(link) => Ok(link.wait_for_signal(signals, wait).await?),
            Kind::Cluster(cluster) => {
                // A blocking call cannot reach over slots. Those that have waited in vain end with their connection.
                let mut by_slot: BTreeMap<u16, Vec<String>> = BTreeMap::new();
                for signal in signals {
                    by_slot.entry(slot_of(signal.as_bytes())).or_default().push(signal.clone());
                }
                let waits = by_slot
                    .iter()
                    .map(|(slot, signals)| Box::pin(cluster.wait_for_signal(*slot, signals, wait)))
                    .collect::<Vec<_>>();
                if waits.is_empty() {
                    return Ok(());
                }
                futures_util::future::select_all(waits).await.0
            }
        }
    }

    /// Each server that has data of ours.
    pub(super) async fn masters(&self) -> Result<Vec<Arc<Link>>, BrokerError> {
        match &self.kind {
            Kind::One(link) => Ok(vec![Arc::clone(link)]),
            Kind::Cluster(cluster) => cluster.masters().await,
        }
    }

    /// Drops all connections.
    pub(super) fn close(&self) {
        match &self.kind {
            Kind::One(link) => link.close(),
            Kind::Cluster(cluster) => cluster.close(),
        }
    }
}

fn login(username: Option<&String>, password: Option<&String>) -> Result<RedisConnectionInfo, BrokerError> {
    let mut login = RedisConnectionInfo::default().set_lib_name("tidemark", env!("CARGO_PKG_VERSION"));
    if let Some(password) = password {
        login = login.set_password(password);
        if let Some(username) = username {
            login = login.set_username(username);
        }
    } else if let Some(username) = username {
        return Err(BrokerError::Invalid(format!(
            "user `{}` has no password: set one in `redis.password_file`",
            username.escape_debug()
        )));
    }
    Ok(login)
}
