//! Asking a running server.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tidemark_egress::{
    Client, ClientOptions, EgressError, Method, OpenResponse, PrivateAddresses, Request, Response, UploadBody, Url,
};

use crate::{cli::ServerOptions, config::masked, usage::UsageError};

/// Most bytes of an answer: a wide query over a long range.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Longest time that a request of our own API takes.
const CALL_MAX: Duration = Duration::from_secs(90);

/// Bytes of an answer that says what is wrong.
const REASON_BYTES_MAX: usize = 64 << 10;

/// Why a server gave no answer that is of use.
pub(crate) struct NoAnswer {
    pub(crate) error: anyhow::Error,
    /// Whether asking again may help.
    pub(crate) is_transient: bool,
}

/// A client of one server, for one command.
pub(crate) struct Server {
    client: Client,
    base: Url,
    token: Option<String>,
}

impl Server {
    /// A client of the server that the options name. The user named it, so it may be anywhere.
    pub(crate) fn new(options: &ServerOptions) -> anyhow::Result<Self> {
        let base = Url::parse(&options.url);
        let base = base.with_context(|| UsageError(format!("option --url `{}`", masked(&options.url))))?;
        let client = Client::new(ClientOptions {
            private_addresses: PrivateAddresses::Allow,
            response_bytes_max: ANSWER_BYTES_MAX,
            ..ClientOptions::default()
        })?;
        Ok(Self { client, base, token: options.token.clone() })
    }

    /// `GET path?parameters`.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut url = self.base.join(path)?;
        url.query_pairs_mut().extend_pairs(parameters);
        self.send(Request::new(Method::GET, url))
    }

    /// `POST path` with a body.
    pub(crate) fn post(&self, path: &str, content_type: &'static str, body: String) -> anyhow::Result<String> {
        let mut request = Request::new(Method::POST, self.base.join(path)?);
        request.headers.insert("content-type", content_type.try_into()?);
        request.body = body.into();
        self.send(request)
    }

    /// A request of our own API: the method and the segments of the path below `/api/tidemark/v1`.
    pub(crate) fn own(&self, method: Method, segments: &[&str]) -> Call<'_> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(["api", "tidemark", "v1"]).extend(segments);
        }
        url.set_query(None);
        Call { server: self, request: Request::new(method, url), wrong: None }
    }

    /// `METHOD path?parameters` without a body, whose answer is read piece by piece.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<OpenResponse, NoAnswer> {
        let lasting = |error: anyhow::Error| NoAnswer { error, is_transient: false };
        let mut url = self.base.join(path).map_err(|error| lasting(error.into()))?;
        url.query_pairs_mut().extend_pairs(parameters);
        let mut request = Request::new(method, url);
        self.authorize(&mut request).map_err(lasting)?;
        let mut answer = self.client.open(request).await.map_err(|error| NoAnswer {
            is_transient: !matches!(error, EgressError::Refused(_)),
            error: anyhow::Error::from(error).context("ask the server"),
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = answer.body_start(REASON_BYTES_MAX).await.unwrap_or_default();
        let text = reason(&String::from_utf8_lossy(&body));
        let error = anyhow::anyhow!("the server answered {status}: {text}");
        Err(NoAnswer { error, is_transient: status.is_server_error() })
    }

    fn authorize(&self, request: &mut Request) -> anyhow::Result<()> {
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").try_into().context("the token has characters that no token has")?;
            request.headers.insert("authorization", value);
        }
        Ok(())
    }

    fn send(&self, mut request: Request) -> anyhow::Result<String> {
        self.authorize(&mut request)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        text_of(&runtime.block_on(self.client.send(request)).context("ask the server")?)
    }
}

/// The text of an answer that is none of an error.
fn text_of(response: &Response) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(&response.body).into_owned();
    if response.truncated {
        bail!("the answer is larger than {ANSWER_BYTES_MAX} bytes; shorten the range");
    }
    if !response.status.is_success() {
        bail!("the server answered {}: {}", response.status, reason(&text));
    }
    Ok(text)
}

/// A request that is being put together.
pub(crate) struct Call<'a> {
    server: &'a Server,
    request: Request,
    /// What could not be put in.
    wrong: Option<anyhow::Error>,
}

impl Call<'_> {
    /// With these parameters.
    pub(crate) fn parameters(mut self, parameters: &[(&str, &str)]) -> Self {
        if !parameters.is_empty() {
            self.request.url.query_pairs_mut().extend_pairs(parameters);
        }
        self
    }

    /// With a JSON body.
    pub(crate) fn body(self, body: &Value) -> Self {
        let mut call = self.header("content-type", "application/json");
        call.request.body = body.to_string().into();
        call
    }

    /// With a header field.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        match value.try_into() {
            Ok(value) => drop(self.request.headers.insert(name, value)),
            Err(_) => self.wrong = Some(UsageError(format!("`{value}` cannot be the value of `{name}`")).into()),
        }
        self
    }

    /// Sends it; the text of the answer.
    pub(crate) fn send(mut self) -> anyhow::Result<String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        // The server waits for the end of a job for a minute at most.
        self.request.timeout = Some(CALL_MAX);
        self.server.send(self.request)
    }

    /// Sends it with a body that comes piece by piece; the text of the answer.
    pub(crate) async fn upload(mut self, body: UploadBody) -> anyhow::Result<String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        self.request.timeout = Some(CALL_MAX);
        self.server.authorize(&mut self.request)?;
        text_of(&self.server.client.upload(self.request, body).await.context("ask the server")?)
    }
}

/// What an error body says: OpenTSDB's error object, or the text as it is.
fn reason(text: &str) -> String {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let field = |name: &str| body.pointer(&format!("/error/{name}")).and_then(Value::as_str);
    match (field("message"), field("details")) {
        (Some(message), Some(details)) if details != message => format!("{message}: {details}"),
        (Some(message), _) => message.to_owned(),
        (None, _) => text.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_error_object_becomes_a_sentence() {
        assert_eq!(super::reason(r#"{"error":{"code":400,"message":"No","details":"why"}}"#), "No: why");
        assert_eq!(super::reason(r#"{"error":{"code":400,"message":"No"}}"#), "No");
        assert_eq!(super::reason("plain\n"), "plain");
    }
}
