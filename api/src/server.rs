//! One listener for HTTP and telnet.
//!
//! The first byte of a connection tells the two apart, as OpenTSDB has it: `A` to `Z` begins an HTTP request, anything
//! else a telnet line. The byte is looked at, not taken, so that both protocols read the connection from its start.
//! The alternative, a listener for each, would break every client that was configured with one port.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_http::HttpService;
use actix_server::Server;
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_factory};
use actix_web::{
    App, HttpRequest, HttpResponse,
    dev::AppConfig,
    middleware::from_fn,
    web::{self, Data, PathConfig, Payload, QueryConfig, ServiceConfig},
};
use tokio::net::TcpStream;

use crate::{
    error::ApiError,
    first_byte,
    http::{body::skip_short_body, old_error, pipeline::pipeline},
    opentsdb,
    options::ApiOptions,
    prometheus,
    stalling_stream::StallingStream,
    state::AppState,
    telnet,
};

/// Adds routes to the server, beside OpenTSDB's: called once for each worker thread.
///
/// The routes find the state as `Data<AppState>`; what else they need they add with `ServiceConfig::app_data`.
pub type Configure = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// The server, with its port open and nobody served yet.
pub struct ApiServer {
    state: Arc<AppState>,
    listener: TcpListener,
    address: SocketAddr,
    routes: Vec<Configure>,
}

impl ApiServer {
    /// Opens the port; port 0 picks a free one.
    ///
    /// # Errors
    /// What the operating system says, such as that the address is in use.
    pub fn bind(address: SocketAddr, state: Arc<AppState>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        Ok(Self { state, listener, address, routes: Vec::new() })
    }

    /// The address with the port that was picked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds routes. They come after OpenTSDB's; a `default_service` of theirs answers what nobody else does.
    #[must_use]
    pub fn configure(mut self, routes: Configure) -> Self {
        self.routes.push(routes);
        self
    }

    /// Serves until [`AppState::shutdown`] fires, then takes no more connections, lets open requests finish until
    /// [`crate::ApiLimits::shutdown_timeout`] and returns. Connections are served from before the first poll on.
    ///
    /// Must be called within a Tokio runtime; the connections are served on threads of their own.
    ///
    /// # Errors
    /// When a worker thread cannot start.
    pub fn start(self) -> io::Result<RunningServer> {
        let Self { state, listener, address, routes } = self;
        let limits = state.options.limits;
        let workers = state.options.workers.get();
        let of_worker = Arc::clone(&state);
        let server = Server::build()
            .workers(workers)
            .max_concurrent_connections((limits.connections / workers).max(1))
            .disable_signals()
            .shutdown_timeout(limits.shutdown_timeout.as_secs().max(1))
            .listen("tidemark", listener, move || connection_factory(Arc::clone(&of_worker), routes.clone()))?
            .run();
        Ok(RunningServer { server, state, address })
    }
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ApiServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A server that serves.
pub struct RunningServer {
    server: Server,
    state: Arc<AppState>,
    address: SocketAddr,
}

impl RunningServer {
    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until [`AppState::shutdown`] fires and open requests are finished or their deadline is over.
    ///
    /// # Errors
    /// When the server fails by itself.
    pub async fn run(self) -> io::Result<()> {
        let handle = self.server.handle();
        let stop = async {
            self.state.shutdown.cancelled().await;
            handle.stop(true).await;
            self.state.abandon.cancel();
        };
        let (_, served) = tokio::join!(stop, async {
            let served = self.server.await;
            // A server that ended by itself must not leave the other half waiting.
            self.state.shutdown.cancel();
            served
        });
        self.state.tasks.close();
        let late = tokio::time::timeout(self.state.options.limits.shutdown_timeout, self.state.tasks.wait()).await;
        if late.is_err() {
            tracing::warn!(tasks = self.state.tasks.len(), "tasks of the server are late and were left behind");
        }
        served
    }
}

impl std::fmt::Debug for RunningServer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RunningServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Serves connections of one worker thread.
fn connection_factory(
    state: Arc<AppState>,
    routes: Vec<Configure>,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = (), InitError = ()> {
    fn_factory(move || {
        let state = Arc::clone(&state);
        let http = http_factory(Arc::clone(&state), routes.clone()).new_service(());
        async move {
            let http = Rc::new(http.await.map_err(|_| ())?);
            Ok::<_, ()>(fn_service_of_connections(state, http))
        }
    })
}

fn fn_service_of_connections<H>(state: Arc<AppState>, http: Rc<H>) -> impl Service<TcpStream, Response = (), Error = ()>
where
    H: Service<HttpConnection, Response = ()> + 'static,
    H::Error: std::fmt::Debug,
{
    actix_service::boxed::service(ServiceOfConnections { state, http })
}

/// How long a connection that is being closed may still send, so that its client gets to read the answer.
const LINGER: Duration = Duration::from_secs(1);

/// A connection as actix-http takes it.
type HttpConnection = (StallingStream<TcpStream>, actix_http::Protocol, Option<SocketAddr>);

struct ServiceOfConnections<H> {
    state: Arc<AppState>,
    http: Rc<H>,
}

impl<H> Service<TcpStream> for ServiceOfConnections<H>
where
    H: Service<HttpConnection, Response = ()> + 'static,
    H::Error: std::fmt::Debug,
{
    type Response = ();
    type Error = ();
    type Future = futures_util::future::LocalBoxFuture<'static, Result<(), ()>>;

    actix_service::always_ready!();

    fn call(&self, stream: TcpStream) -> Self::Future {
        let (state, http) = (Arc::clone(&self.state), Rc::clone(&self.http));
        Box::pin(async move {
            serve_connection(stream, &state, &*http).await;
            Ok(())
        })
    }
}

async fn serve_connection<H>(stream: TcpStream, state: &Arc<AppState>, http: &H)
where
    H: Service<HttpConnection, Response = ()>,
    H::Error: std::fmt::Debug,
{
    let _open = state.counters.connections.enter();
    let peer = stream.peer_addr().ok();
    // Answers are small and whole: waiting to fill a packet only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    let limits = state.options.limits;
    match first_byte::protocol(&stream, limits.first_byte_timeout, &state.shutdown).await {
        first_byte::Spoken::Nothing => {}
        first_byte::Spoken::Telnet if may_send_lines(peer, state) => telnet::serve(stream, state).await,
        first_byte::Spoken::Telnet => telnet::refuse(stream).await,
        first_byte::Spoken::Http => {
            let stream = StallingStream::new(stream, limits.response_timeout);
            if let Err(error) = http.call((stream, actix_http::Protocol::Http1, peer)).await {
                tracing::debug!(?error, ?peer, "an HTTP connection ended with an error");
            }
        }
    }
}

/// Lines carry no token: where tokens are asked for, only the address that they come from can let them in.
fn may_send_lines(peer: Option<SocketAddr>, state: &AppState) -> bool {
    let ApiOptions { tokens, telnet_from, .. } = &state.options;
    let from = |peer: SocketAddr| telnet_from.iter().any(|network| network.contains(peer.ip()));
    tokens.is_empty() || peer.is_some_and(from)
}

fn http_factory(
    state: Arc<AppState>,
    routes: Vec<Configure>,
) -> impl ServiceFactory<HttpConnection, Config = (), Response = (), Error = actix_http::error::DispatchError, InitError = ()>
{
    let limits = state.options.limits;
    let shutdown = state.shutdown.clone();
    let data = Data::from(state);
    let app =
        App::new()
            .app_data(data)
            .app_data(QueryConfig::default().error_handler(|error, _| {
                ApiError::bad_request("Invalid query string").details(error.to_string()).into()
            }))
            .app_data(
                PathConfig::default()
                    .error_handler(|error, _| ApiError::endpoint_not_found().details(error.to_string()).into()),
            )
            .wrap(from_fn(pipeline))
            .default_service(web::to(not_found))
            .configure(opentsdb::configure)
            .configure(prometheus::configure)
            .configure(|config| routes.iter().for_each(|configure| configure(config)));
    let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
    HttpService::build()
        .keep_alive(limits.keep_alive)
        .client_request_timeout(limits.head_timeout)
        .client_disconnect_timeout(limits.head_timeout.min(LINGER))
        // A client that closes its side has gone: its query is cancelled.
        .h1_allow_half_closed(false)
        .graceful_shutdown_signal(move || shutdown.clone().cancelled_owned())
        .finish(actix_service::map_config(app, |()| AppConfig::default()))
}

async fn not_found(request: HttpRequest, payload: Payload, state: Data<AppState>) -> HttpResponse {
    skip_short_body(&request, payload, &state.options.limits).await;
    if request.path().starts_with("/api") {
        return ApiError::endpoint_not_found().to_response();
    }
    old_error::not_found(&request)
}
