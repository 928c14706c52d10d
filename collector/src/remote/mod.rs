//! The sink of an agent on another host: posts to Tidemark's, Bosun's or OpenTSDB's HTTP API.
//!
//! Batches go as gzip JSON to `/api/put?details`, in requests of bounded size. Points that the server refuses one by
//! one are told apart from points that it could not take now, so that one bad point never blocks the good ones behind
//! it (scollector's #1546), and an outage never loses any. A request that is too large for the server is halved, and
//! the sink remembers the size. Histograms go to `/api/histogram` and what was aggregated before it was written to
//! `/api/rollup`, in requests of their own. Metadata go to `/api/metadata/put` in Bosun's format.

mod answer;
mod datapoints;
mod metadata;
mod wire;

use std::{
    fmt,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use thiserror::Error;
use tidemark_egress::{
    Client, ClientOptions, EgressError, HeaderMap, HeaderValue, Method, OptionsError, PrivateAddresses, Request,
    Response, Url, check_target, header,
};
use tidemark_model::{BoxFuture, PointBatch, PointSink, RefusalReason, WriteOutcome, WriteReceipt, WriteRefusal};
use tokio_util::task::TaskTracker;

use self::{answer::Answer, datapoints::Datapoints};

/// Where a [`RemoteSink`] posts to and how.
#[derive(Clone)]
pub struct RemoteOptions {
    /// The server, such as `https://tidemark.example.com` or, behind a reverse proxy, with a path. User and password
    /// in it become basic authorisation.
    pub url: Url,
    /// The agent's token, sent as `Authorization: Bearer`.
    pub token: Option<String>,
    /// An HTTP proxy; user and password in its URL become `Proxy-Authorization`.
    pub proxy: Option<Url>,
    /// A file of PEM certificates that are trusted besides the machine's own.
    pub extra_roots: Option<PathBuf>,
    /// How long a connection may take. Default 10 s.
    pub connect_timeout: Duration,
    /// How long a request may take until the last byte of its answer. Default 30 s.
    pub total_timeout: Duration,
    /// Most points of one request. Default 5000.
    pub request_points_max: usize,
    /// Most bytes of one request before compression; a single point is sent even when it is longer. Default 1 MiB.
    pub request_bytes_max: usize,
}

impl RemoteOptions {
    /// The defaults, for a server.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            url,
            token: None,
            proxy: None,
            extra_roots: None,
            connect_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
            request_points_max: 5000,
            request_bytes_max: 1024 * 1024,
        }
    }
}

impl fmt::Debug for RemoteOptions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RemoteOptions")
            .field("url", &tidemark_egress::Redacted(&self.url))
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("proxy", &self.proxy.as_ref().map(tidemark_egress::Redacted))
            .field("request_points_max", &self.request_points_max)
            .field("request_bytes_max", &self.request_bytes_max)
            .finish_non_exhaustive()
    }
}

/// Why there is no sink with these options.
#[derive(Debug, Error)]
pub enum RemoteError {
    /// The URL cannot be posted to.
    #[error("set up the connection to `{url}`: {reason}")]
    Url {
        /// The URL without its secrets.
        url: String,
        /// Why.
        reason: String,
    },
    /// The token has characters that no header may have.
    #[error("set up the connection to the server: the token has characters that tokens do not have")]
    Token,
    /// There would be two authorisations.
    #[error("set up the connection to the server: its URL has a user, and a token is given, too; only one can be sent")]
    TwoAuthorisations,
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Client(#[from] OptionsError),
}

/// Answers that list refused points are long.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Requests that one batch may take beyond those it needs for its size; a server that refuses every request without
/// saying why is not asked point by point.
const EXTRA_REQUESTS_MAX: usize = 100;

/// Posts points and metadata to a server.
#[derive(Debug)]
pub struct RemoteSink {
    client: Client,
    base: Url,
    headers: HeaderMap,
    points_max: AtomicUsize,
    bytes_max: usize,
    encoders: TaskTracker,
}

impl RemoteSink {
    /// A sink for a server. Connects at the first write.
    ///
    /// # Errors
    /// Says which option cannot be used.
    pub fn new(options: RemoteOptions) -> Result<Self, RemoteError> {
        let base = base_url(&options.url)?;
        if options.token.is_some() && !base.username().is_empty() {
            return Err(RemoteError::TwoAuthorisations);
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &options.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| RemoteError::Token)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        // The operator named the server, and most are inside.
        let client = Client::new(ClientOptions {
            private_addresses: PrivateAddresses::Allow,
            connect_timeout: options.connect_timeout,
            total_timeout: options.total_timeout,
            response_bytes_max: ANSWER_BYTES_MAX,
            proxy: options.proxy,
            extra_roots: options.extra_roots,
            ..ClientOptions::default()
        })?;
        let points_max = AtomicUsize::new(options.request_points_max.max(1));
        Ok(Self {
            client,
            base,
            headers,
            points_max,
            bytes_max: options.request_bytes_max,
            encoders: TaskTracker::new(),
        })
    }

    async fn write_all(&self, batch: PointBatch) -> WriteOutcome {
        let mut stored = batch.len();
        let mut refused = Vec::new();
        for sent in Datapoints::of(batch) {
            let sent = Arc::new(sent);
            match self.write_objects(&sent).await {
                Ok(of_kind) => refused.extend(of_kind.into_iter().map(|(index, refusal)| {
                    stored = stored.saturating_sub(sent.points_of(index));
                    (sent.position(index), refusal)
                })),
                Err(outcome) => return outcome,
            }
        }
        WriteOutcome::Done(WriteReceipt { stored, refused })
    }

    /// The objects that the server refused one by one; the outcome of all when nobody knows or it took none.
    async fn write_objects(&self, sent: &Arc<Datapoints>) -> Result<Vec<(usize, WriteRefusal)>, WriteOutcome> {
        let mut refused = Vec::new();
        let mut extra_requests = 0;
        // The ranges that are still to be sent; the next one is the last.
        let mut pending: Vec<Range<usize>> = std::iter::once(0..sent.len()).collect();
        while let Some(range) = pending.pop() {
            if range.is_empty() {
                continue;
            }
            let Some(piece) = self.encode(sent, range.clone()).await else {
                return Err(WriteOutcome::Unknown("the points could not be encoded".to_owned()));
            };
            pending.push(piece.range.end..range.end);
            let objects = piece.range.clone();
            let answer = match self.post(&format!("{}?details", sent.kind.path()), piece.body, true).await {
                Ok(response) => answer::of_put(&response, sent, objects.clone()),
                Err(error) => answer::of_error(&error),
            };
            match answer {
                Answer::Stored(part) => refused.extend(part),
                Answer::TooLarge => {
                    self.points_max.store((objects.len() / 2).max(1), Ordering::Relaxed);
                    extra_requests += 1;
                    divide(objects, "one point is too large for the server", &mut pending, &mut refused);
                }
                Answer::RefusedAsAWhole(reason) => {
                    extra_requests += 1;
                    divide(objects, &reason, &mut pending, &mut refused);
                }
                Answer::Failed(outcome) => return Err(outcome),
            }
            if extra_requests > EXTRA_REQUESTS_MAX {
                let rest = pending.drain(..).flatten();
                let refusal = WriteRefusal::new(RefusalReason::Limit, "the server refuses requests without saying why");
                refused.extend(rest.map(|position| (position, refusal.clone())));
            }
        }
        Ok(refused)
    }

    /// Writing and compressing thousands of points takes milliseconds. `None` when the process is about to end.
    async fn encode(&self, sent: &Arc<Datapoints>, range: Range<usize>) -> Option<wire::Piece> {
        let (sent, points_max, bytes_max) = (Arc::clone(sent), self.points_max.load(Ordering::Relaxed), self.bytes_max);
        self.encoders.spawn_blocking(move || wire::encode(&sent, range, points_max, bytes_max)).await.ok()
    }

    async fn post(&self, path: &str, body: Bytes, gzip: bool) -> Result<Response, EgressError> {
        let mut request = self.request(Method::POST, path);
        if gzip {
            request.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        request.body = body;
        self.client.send(request).await
    }

    fn request(&self, method: Method, path: &str) -> Request {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url.set_query(query);
        Request { headers: self.headers.clone(), ..Request::new(method, url) }
    }
}

impl PointSink for RemoteSink {
    fn write(&self, batch: PointBatch) -> BoxFuture<'_, WriteOutcome> {
        Box::pin(self.write_all(batch))
    }
}

/// Sends the two halves of a range instead of it, or refuses its only point.
fn divide(
    range: Range<usize>,
    reason: &str,
    pending: &mut Vec<Range<usize>>,
    refused: &mut Vec<(usize, WriteRefusal)>,
) {
    if range.len() <= 1 {
        refused.extend(range.map(|position| (position, WriteRefusal::new(RefusalReason::Limit, reason))));
        return;
    }
    let middle = range.start + range.len() / 2;
    pending.push(middle..range.end);
    pending.push(range.start..middle);
}

/// The URL with a path that ends in a slash, without query and fragment.
fn base_url(url: &Url) -> Result<Url, RemoteError> {
    check_target(url, PrivateAddresses::Allow).map_err(|error| RemoteError::Url {
        url: tidemark_egress::Redacted(url).to_string(),
        reason: error.to_string(),
    })?;
    let mut base = url.clone();
    base.set_query(None);
    base.set_fragment(None);
    if !base.path().ends_with('/') {
        base.set_path(&format!("{}/", url.path()));
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_of(base: &str, path: &str) -> String {
        let sink = RemoteSink::new(RemoteOptions::new(Url::parse(base).unwrap())).unwrap();
        sink.request(Method::GET, path).url.to_string()
    }

    #[test]
    fn paths_are_appended_to_that_of_the_server() {
        assert_eq!(url_of("http://db:4242", "api/put?details"), "http://db:4242/api/put?details");
        assert_eq!(url_of("https://x/tidemark?a=b#c", "api/put"), "https://x/tidemark/api/put");
        assert_eq!(url_of("https://x/tidemark/", "api/put"), "https://x/tidemark/api/put");
    }

    #[test]
    fn options_that_cannot_work_are_refused_and_secrets_never_shown() {
        let options = |url: &str| RemoteOptions {
            token: Some("tdm_secret".into()),
            ..RemoteOptions::new(Url::parse(url).unwrap())
        };
        assert!(matches!(RemoteSink::new(options("ftp://db/")), Err(RemoteError::Url { .. })));
        assert!(matches!(RemoteSink::new(options("http://me:hunter2@db/")), Err(RemoteError::TwoAuthorisations)));
        let newline = RemoteOptions { token: Some("a\nb".into()), ..options("http://db/") };
        assert!(matches!(RemoteSink::new(newline), Err(RemoteError::Token)));
        let shown = format!("{:?} {:?}", options("http://me:hunter2@db/"), RemoteSink::new(options("http://db/")));
        assert!(!shown.contains("secret") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_range_is_divided_until_one_point_is_left() {
        let (mut pending, mut refused) = (Vec::new(), Vec::new());
        divide(4..9, "why", &mut pending, &mut refused);
        assert_eq!(pending, [6..9, 4..6]);
        divide(4..5, "why", &mut pending, &mut refused);
        assert_eq!(refused, [(4, WriteRefusal::new(RefusalReason::Limit, "why"))]);
    }
}
