//! One connection to one server: how it comes up and how it ends.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind, Value,
    aio::MultiplexedConnection, io::tcp::socket2::SockRef,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{address::Endpoint, command::Command, tls::Tls};

/// How long the network may leave what we send unconfirmed, or the server may take nothing: then the other end is gone
/// although nobody said so. Longer than a server is held up by a fork.
#[cfg(target_os = "linux")]
const UNCONFIRMED_MAX: Duration = Duration::from_secs(3);

/// Makes connections.
pub(super) struct Dialler {
    pub(super) tls: Option<Tls>,
    /// For a connection to come up, without TLS and Redis' own greetings.
    pub(super) connect_timeout: Duration,
    /// For an answer, and for each of the greetings.
    pub(super) response_timeout: Duration,
    /// What drives connections, and dials that go on behind their callers' backs.
    pub(super) tasks: TaskTracker,
    /// How many shared connections there ever were.
    pub(super) established: AtomicU64,
}

/// As whom to come, and which settings say so.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) info: RedisConnectionInfo,
    pub(super) settings: &'static str,
}

/// A connection. Cheap to clone; it is closed when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Connection {
    inner: MultiplexedConnection,
    life: Arc<Life>,
    pub(super) endpoint: Endpoint,
}

struct Life {
    ended: CancellationToken,
    driver: AbortHandle,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Runs a command, unless the connection ends before.
    pub(super) async fn run(&self, command: &impl Command, asking: bool) -> RedisResult<Value> {
        let mut inner = self.inner.clone();
        tokio::select! {
            biased;
            answer = command.run(&mut inner, asking) => answer,
            () = self.life.ended.cancelled() => {
                Err(std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the connection was lost").into())
            }
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.life.ended.is_cancelled()
    }

    /// Gives it up: whoever waits for an answer gets an error at once.
    pub(super) fn give_up(&self) {
        self.life.ended.cancel();
    }

    pub(super) fn set_response_timeout(&mut self, response_timeout: Duration) {
        self.inner.set_response_timeout(response_timeout);
    }
}

impl Dialler {
    /// A new connection; the error is a sentence that names the server.
    pub(super) async fn dial(&self, endpoint: &Endpoint, login: &Login) -> Result<Connection, String> {
        match endpoint {
            Endpoint::Unix(path) => {
                let stream = self.connect_unix(path).await?;
                self.greet(endpoint, stream, login).await
            }
            Endpoint::Tcp { host, port } => {
                let stream = self.connect_tcp(endpoint, host, *port).await?;
                match &self.tls {
                    None => self.greet(endpoint, stream, login).await,
                    Some(tls) => {
                        let name = match &tls.server_name {
                            Some(name) => name.clone(),
                            None => ServerName::try_from(host.clone())
                                .map_err(|_| format!("redis at {endpoint}: TLS needs a host name or an IP address"))?,
                        };
                        let connector = TlsConnector::from(Arc::clone(&tls.config));
                        let greeting = timeout(self.response_timeout, connector.connect(name, stream));
                        let stream = greeting
                            .await
                            .map_err(|_| {
                                let silent = self.silent(endpoint, "TLS");
                                format!("{silent}; a server without TLS needs `redis://`")
                            })?
                            .map_err(|error| tls_trouble(endpoint, &error.to_string()))?;
                        self.greet(endpoint, stream, login).await
                    }
                }
            }
        }
    }

    async fn connect_unix(&self, path: &Path) -> Result<UnixStream, String> {
        let shown = path.display();
        timeout(self.connect_timeout, UnixStream::connect(path))
            .await
            .map_err(|_| format!("redis at {shown} did not take the connection within {:?}", self.connect_timeout))?
            .map_err(|error| format!("redis at {shown} cannot be reached: {error}"))
    }

    async fn connect_tcp(&self, endpoint: &Endpoint, host: &str, port: u16) -> Result<TcpStream, String> {
        let stream = timeout(self.connect_timeout, TcpStream::connect((host, port)))
            .await
            .map_err(|_| format!("redis at {endpoint} did not take the connection within {:?}", self.connect_timeout))?
            .map_err(|error| format!("redis at {endpoint} cannot be reached: {error}"))?;
        let trouble = |error: std::io::Error| format!("redis at {endpoint}: set up the connection: {error}");
        stream.set_nodelay(true).map_err(trouble)?;
        #[cfg(target_os = "linux")]
        SockRef::from(&stream).set_tcp_user_timeout(Some(UNCONFIRMED_MAX)).map_err(trouble)?;
        Ok(stream)
    }

    async fn greet<S>(&self, endpoint: &Endpoint, stream: S, login: &Login) -> Result<Connection, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.response_timeout));
        let (inner, driver) = timeout(self.response_timeout, async {
            MultiplexedConnection::new_with_config(&login.info, stream, config).await
        })
        .await
        .map_err(|_| self.silent(endpoint, "the greeting"))?
        .map_err(|error| self.greeting_trouble(endpoint, login, &error))?;
        let ended = CancellationToken::new();
        let at_end = ended.clone().drop_guard();
        let driver = self.tasks.spawn(async move {
            driver.await;
            drop(at_end);
        });
        let life = Arc::new(Life { ended, driver: driver.abort_handle() });
        let connection = Connection { inner, life, endpoint: endpoint.clone() };
        // A server that wants a password, or loads its data, says so only now.
        match connection.run(&&redis::cmd("PING"), false).await {
            Err(error) if error.kind() != ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Err(self.greeting_trouble(endpoint, login, &error))
            }
            _ => Ok(connection),
        }
    }

    fn silent(&self, endpoint: &Endpoint, what: &str) -> String {
        format!("redis at {endpoint} did not answer {what} within {:?}", self.response_timeout)
    }

    fn greeting_trouble(&self, endpoint: &Endpoint, login: &Login, error: &RedisError) -> String {
        let who = login.info.username().map_or("the default user".to_owned(), |name| format!("user `{name}`"));
        match error.kind() {
            _ if error.kind() == ErrorKind::AuthenticationFailed || error.code() == Some("NOAUTH") => {
                format!("redis at {endpoint} refuses {who} or the password: see {}", login.settings)
            }
            ErrorKind::Server(ServerErrorKind::BusyLoading) => format!("redis at {endpoint} loads its data: {error}"),
            ErrorKind::Server(_) | ErrorKind::Extension => format!("redis at {endpoint} refuses {who}: {error}"),
            _ if self.tls.is_some() => tls_trouble(endpoint, &error.to_string()),
            _ => format!(
                "redis at {endpoint} ended the connection: {error}; a server that speaks TLS only needs `rediss://`"
            ),
        }
    }

    /// Counts a shared connection; which one it is.
    pub(super) fn count(&self) -> u64 {
        self.established.fetch_add(1, Ordering::AcqRel) + 1
    }
}

fn tls_trouble(endpoint: &Endpoint, error: &str) -> String {
    let hint = if error.contains("CertificateRequired") || error.contains("HandshakeFailure") {
        "; the server wants a certificate of ours: set `redis.cert_file` and `redis.key_file`"
    } else if error.contains("UnknownIssuer") || error.contains("BadSignature") {
        "; name the CA that signed the server's certificate in `redis.ca_file`"
    } else if error.contains("NotValidForName") || error.contains("not valid for name") {
        "; set `redis.server_name` to a name that the server's certificate has"
    } else if error.contains("UnknownCA") || error.contains("BadCertificate") {
        "; the server does not trust the certificate in `redis.cert_file`"
    } else if error.contains("InvalidContentType") || error.contains("corrupt message") {
        "; a server without TLS needs `redis://`"
    } else {
        ""
    };
    format!("TLS with redis at {endpoint}: {error}{hint}")
}
