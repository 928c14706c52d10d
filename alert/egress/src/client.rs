//! The client itself.

use std::{fs, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{Certificate, ClientBuilder, Proxy, StatusCode, header::HeaderMap, redirect};
use url::Url;

use crate::{
    ClientOptions, EgressError, OptionsError, PrivateAddresses, Redacted, Redirects, Request, Response, TargetError,
    UploadBody, check_target,
    error::{find_cause, innermost},
    resolver::{GuardedResolver, ResolveError},
};

/// Sends requests. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    options: Arc<ClientOptions>,
}

impl Client {
    /// A client with these options. Reads the file of extra root certificates, if one is named.
    ///
    /// A machine without root certificates still gets a client: it reaches `http` servers, and every `https` server
    /// is refused as untrusted. A warning says so.
    ///
    /// # Errors
    /// Says which option cannot be used.
    pub fn new(options: ClientOptions) -> Result<Self, OptionsError> {
        let roots = read_roots(&options)?;
        let http = match builder(&options)?.tls_certs_merge(roots.clone()).build() {
            Ok(http) => http,
            Err(error) => {
                tracing::warn!(
                    reason = innermost(&error),
                    "no root certificates of the machine can be used, so https servers will not be trusted; \
                     install the package of root certificates (often `ca-certificates`)"
                );
                builder(&options)?
                    .tls_certs_only(roots)
                    .build()
                    .map_err(|error| OptionsError::Setup(innermost(&error)))?
            }
        };
        Ok(Self { http, options: Arc::new(options) })
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// Sends a request and reads the answer, whatever its status.
    ///
    /// A connection that was kept open from an earlier request may be used again; it leads to an address that was
    /// judged then.
    ///
    /// # Errors
    /// [`EgressError::Refused`] when the target is not allowed: nothing was sent. All others are transient;
    /// after [`EgressError::Timeout`] and [`EgressError::Broken`] the server may have acted on the request.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; the server may have acted on the request.
    pub async fn send(&self, request: Request) -> Result<Response, EgressError> {
        check_target(&request.url, self.options.private_addresses).map_err(EgressError::Refused)?;
        let limit = request.timeout.unwrap_or(self.options.total_timeout);
        let context = Exchange { host: host_of(&request.url), connect: self.options.connect_timeout, total: limit };
        let answer = self
            .http
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body)
            .timeout(limit)
            .send()
            .await
            .map_err(|error| context.explain(&error))?;
        self.read(answer, &context).await
    }

    /// Sends a request and hands the answer over piece by piece, however long it is: only the time between two pieces is
    /// limited, by the request's limit or the client's.
    ///
    /// # Errors
    /// As [`Client::send`].
    ///
    /// # Cancel safety
    /// As [`Client::send`].
    pub async fn open(&self, request: Request) -> Result<OpenResponse, EgressError> {
        check_target(&request.url, self.options.private_addresses).map_err(EgressError::Refused)?;
        let limit = request.timeout.unwrap_or(self.options.total_timeout);
        let context = Exchange { host: host_of(&request.url), connect: self.options.connect_timeout, total: limit };
        let sending = self.http.request(request.method, request.url).headers(request.headers).body(request.body).send();
        let answer = context.in_time(sending).await?;
        Ok(OpenResponse { answer, context })
    }

    /// Sends a request with a body that may be of any length, in the place of its own, and reads the answer. Not the whole
    /// takes a limited time but each step: the server has to take something more, or to answer after the end, within the
    /// request's limit or the client's (twice that at most), and its answer has to be whole within that limit.
    ///
    /// # Errors
    /// As [`Client::send`]; [`EgressError::Broken`] also when the body ends too early.
    ///
    /// # Cancel safety
    /// As [`Client::send`].
    pub async fn upload(&self, request: Request, body: UploadBody) -> Result<Response, EgressError> {
        check_target(&request.url, self.options.private_addresses).map_err(EgressError::Refused)?;
        let limit = request.timeout.unwrap_or(self.options.total_timeout);
        let context = Exchange { host: host_of(&request.url), connect: self.options.connect_timeout, total: limit };
        let watch = body.watch();
        let builder = self.http.request(request.method, request.url).headers(request.headers);
        let sending = builder.body(reqwest::Body::wrap(body)).send();
        let answer = tokio::select! {
            answer = sending => answer.map_err(|error| context.explain(&error))?,
            () = watch.stalled(limit) => {
                return Err(EgressError::Timeout { host: context.host, waiting_for: "take the body", limit });
            }
        };
        self.read(answer, &context).await
    }

    async fn read(&self, mut answer: reqwest::Response, context: &Exchange) -> Result<Response, EgressError> {
        let (body, truncated) = context.in_time(read_capped(&mut answer, self.options.response_bytes_max)).await?;
        Ok(Response { status: answer.status(), headers: std::mem::take(answer.headers_mut()), body, truncated })
    }
}

/// An answer whose body is still on its way.
pub struct OpenResponse {
    answer: reqwest::Response,
    context: Exchange,
}

impl OpenResponse {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.answer.status()
    }

    /// Header fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.answer.headers()
    }

    /// The next piece of the body, never decompressed; `None` at its end.
    ///
    /// # Errors
    /// [`EgressError::Timeout`] when none comes in time, [`EgressError::Broken`] when the body ends too early.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        self.context.in_time(self.answer.chunk()).await
    }

    /// The first bytes of the body, for an answer that says what is wrong.
    ///
    /// # Errors
    /// As [`OpenResponse::chunk`].
    pub async fn body_start(&mut self, bytes_max: usize) -> Result<Bytes, EgressError> {
        let read = read_capped(&mut self.answer, bytes_max);
        self.context.in_time(read).await.map(|(body, _)| body)
    }
}

impl std::fmt::Debug for OpenResponse {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("OpenResponse").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// The first `bytes_max` bytes of the body, and whether there are more.
async fn read_capped(answer: &mut reqwest::Response, bytes_max: usize) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = bytes_max - body.len();
        match chunk.get(..room.min(chunk.len())) {
            Some(fits) => body.extend_from_slice(fits),
            None => return Ok((body.freeze(), true)),
        }
        if chunk.len() > room {
            return Ok((body.freeze(), true));
        }
    }
    Ok((body.freeze(), false))
}

#[expect(clippy::disallowed_methods, reason = "this is the client that everybody else is told to use")]
fn builder(options: &ClientOptions) -> Result<ClientBuilder, OptionsError> {
    // The proxy is the operator's choice and the only host that is looked up when there is one.
    let resolved_names = if options.proxy.is_some() { PrivateAddresses::Allow } else { options.private_addresses };
    let builder = reqwest::Client::builder()
        .user_agent(&options.user_agent)
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(options.idle_timeout)
        .pool_max_idle_per_host(if options.idle_timeout.is_zero() { 0 } else { 2 })
        .http1_max_headers(100)
        .no_gzip()
        .referer(false)
        .dns_resolver(GuardedResolver::new(Arc::clone(&options.lookup), resolved_names))
        .redirect(redirect_policy(options));
    match &options.proxy {
        Some(url) => Ok(builder.proxy(proxy(url)?)),
        // Without this the environment would be asked for a proxy.
        None => Ok(builder.no_proxy()),
    }
}

fn redirect_policy(options: &ClientOptions) -> redirect::Policy {
    let Redirects::FollowAtMost(hops_max) = options.redirects else {
        return redirect::Policy::none();
    };
    let private = options.private_addresses;
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > hops_max {
            return attempt.stop();
        }
        match check_target(attempt.url(), private) {
            Ok(()) => attempt.follow(),
            Err(refused) => attempt.error(refused),
        }
    })
}

fn proxy(url: &Url) -> Result<Proxy, OptionsError> {
    let refused = |reason: String| OptionsError::Proxy { url: Redacted(url).to_string(), reason };
    check_target(url, PrivateAddresses::Allow).map_err(|error| refused(error.to_string()))?;
    Proxy::all(url.clone()).map_err(|error| refused(innermost(&error)))
}

fn read_roots(options: &ClientOptions) -> Result<Vec<Certificate>, OptionsError> {
    let Some(path) = &options.extra_roots else {
        return Ok(Vec::new());
    };
    let pem = fs::read(path).map_err(|source| OptionsError::RootsUnreadable { path: path.clone(), source })?;
    let invalid = |reason: String| OptionsError::RootsInvalid { path: path.clone(), reason };
    let roots = Certificate::from_pem_bundle(&pem).map_err(|error| invalid(innermost(&error)))?;
    if roots.is_empty() {
        return Err(invalid("no certificate in PEM form found".to_owned()));
    }
    Ok(roots)
}

fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What an error text needs to know of a request.
struct Exchange {
    host: String,
    connect: Duration,
    total: Duration,
}

impl Exchange {
    /// What a step of the exchange gives, at most after the time limit.
    async fn in_time<T>(&self, step: impl Future<Output = Result<T, reqwest::Error>>) -> Result<T, EgressError> {
        match tokio::time::timeout(self.total, step).await {
            Ok(done) => done.map_err(|error| self.explain(&error)),
            Err(_) => Err(EgressError::Timeout { host: self.host.clone(), waiting_for: "go on", limit: self.total }),
        }
    }

    fn explain(&self, error: &reqwest::Error) -> EgressError {
        if let Some(refused) = find_cause::<TargetError>(error) {
            return EgressError::Refused(refused.clone());
        }
        match find_cause::<ResolveError>(error) {
            Some(ResolveError::Refused(refused)) => return EgressError::Refused(refused.clone()),
            Some(ResolveError::Lookup(reason)) => {
                return EgressError::Lookup { host: self.host.clone(), reason: reason.clone() };
            }
            None => {}
        }
        let host = self.host.clone();
        match (error.is_timeout(), error.is_connect()) {
            (true, true) => EgressError::Timeout { host, waiting_for: "accept the connection", limit: self.connect },
            (true, false) => EgressError::Timeout { host, waiting_for: "answer", limit: self.total },
            (false, true) => EgressError::Connect { host, reason: innermost(error) },
            (false, false) => EgressError::Broken { host, reason: innermost(error) },
        }
    }
}
