//! What every request goes through before and after its handler.

use std::{sync::Arc, time::Duration};

use actix_web::{
    Error, HttpMessage, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ResponseHead, ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode, Uri, Version,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tidemark_queue::Origin;
use tracing::Instrument;

use crate::{
    auth::{self, Role},
    error::ApiError,
    http::{
        callback, compressed_body, cors, normal_path,
        normal_path::NormalPath,
        old_error::OldError,
        own_host,
        query_string::QueryString,
        same_origin,
        trace_context::{TRACE_ID, TRACEPARENT, TraceContext},
        unread_body::UnreadBody,
    },
    metrics::printable,
    prometheus,
    state::AppState,
};

/// The id of a request, for logs; in the extensions of the request.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a request.
const REQUEST_ID_BYTES_MAX: usize = 64;
/// What the paths begin with that understand the switches of the API.
const API: &str = "/api/";
/// Answered to a browser that opens a socket, never to HEAD.
const SOCKET_PATH: &str = "/api/ws";

/// What a path cannot have as it is; percent signs that are left in a decoded path stay.
const NOT_IN_PATHS: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`');

/// Gives the request an id and a trace, judges its host and origin, finds out which endpoint and method it means, lets it in;
/// afterwards wraps, compresses, counts and logs.
pub(crate) async fn pipeline(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<AppState>>().map(|data| Arc::clone(data)) else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let began = state.seams.clock.monotonic();
    let id = request_id(&request, &state);
    request.extensions_mut().insert(RequestId(Arc::from(id.as_str())));
    let described = format!("{} {}", request.method(), printable(request.path()));
    let origin = cors::judge(request.headers(), &state.options.opentsdb);
    let allowed = request.headers().get(header::ORIGIN).filter(|_| origin == cors::Origin::Allowed).cloned();
    let trace = state.traces.of(request.headers());
    let unread = UnreadBody::of(&mut request);
    let mut response = match prepare(&mut request, &state, origin) {
        Ok(plan) => {
            let caused = Origin { trace: Some(trace.trace), job: None };
            let span = tracing::info_span!("request", trace = %trace.trace);
            let handled = caused.scope(next.call(request)).instrument(span);
            plan.wrap(handled.await?.map_into_boxed_body())
        }
        Err(answer) => {
            let function = called_back(&request, &state);
            let response = request.into_response(answer);
            match function {
                Some(function) => call(&function, response),
                None => response,
            }
        }
    };
    if let Some(unread) = unread {
        response = response.map_body(|_, body| unread.held_by(body));
    }
    cors::allow(allowed.as_ref(), response.headers_mut(), &state.options.opentsdb);
    Ok(finish(response, &state, &id, trace, &described, began))
}

/// What is to be done with the answer.
struct Plan {
    callback: Option<String>,
    coding: Option<compressed_body::Coding>,
    /// Of endpoints that have another form of errors.
    old_error: Option<OldError>,
}

#[expect(clippy::result_large_err, reason = "the answer is made once and moved once")]
fn prepare(request: &mut ServiceRequest, state: &AppState, origin: cors::Origin) -> Result<Plan, HttpResponse> {
    let refuse = |error: ApiError| error.to_response();
    let options = &state.options;
    if options.tokens.is_empty() {
        own_host::check(request.headers(), &options.hosts).map_err(refuse)?;
    }
    if origin == cors::Origin::Refused {
        return Err(refuse(
            ApiError::new(StatusCode::OK, "CORS domain not allowed")
                .details("the origin of the page is not in `opentsdb.cors_domains`"),
        ));
    }
    let placed = prometheus::place(options.api_v1, request.method(), routed_path(request), request.query_string());
    match placed.map_or_else(|| normal_path::normal_path(routed_path(request)), NormalPath::Rewritten) {
        NormalPath::AsItIs => {}
        NormalPath::Rewritten(path) => rewrite(request, &path),
        NormalPath::VersionTooHigh(version) => {
            let text = "Requested API version is greater than the max implemented";
            return Err(refuse(
                ApiError::new(StatusCode::NOT_IMPLEMENTED, text)
                    .details(format!("API version [{version}] is greater than the max [1]")),
            ));
        }
        NormalPath::BadVersion => return Err(refuse(ApiError::endpoint_not_found())),
    }
    let of_api = routed_path(request).starts_with(API);
    let is_old = normal_path::is_opentsdb_legacy(routed_path(request));
    // Browsers ask without their user's token whether they may send it.
    let of_prometheus = routed_path(request).starts_with(prometheus::PREFIX);
    if (of_api || is_old || of_prometheus) && request.method() == Method::OPTIONS && origin == cors::Origin::Allowed {
        return Err(HttpResponse::Ok().finish());
    }
    // From here on the method is the one that is routed: nobody is let in as one and served as the other.
    settle_method(request).map_err(refuse)?;
    let (method, path) = (request.method(), routed_path(request));
    let visitor = auth::admit(method, path, request.headers(), &options.tokens).map_err(refuse)?;
    let changes = auth::needed_role(method, path) != Role::Read;
    if changes && origin != cors::Origin::Allowed && !same_origin::is_same_origin(request.headers()) {
        return Err(refuse(
            ApiError::new(StatusCode::FORBIDDEN, "a page of another site may not do this")
                .details("the origin of the page is not in `opentsdb.cors_domains`")
                .closing(),
        ));
    }
    if let Some(visitor) = visitor {
        request.extensions_mut().insert(visitor);
    }
    let coding = compressed_body::wanted_coding(request.headers());
    let callback = if of_api { switches(request, state).map_err(refuse)? } else { None };
    let old_error = is_old.then(|| OldError::of(request.query_string()));
    Ok(Plan { callback, coding, old_error })
}

/// The path that routes are found by: percent-decoded, and in its normal form once that was made.
fn routed_path(request: &ServiceRequest) -> &str {
    request.match_info().get_ref().path()
}

/// Puts the method in place that the request is served as: `method_override` of OpenTSDB's endpoints, which turns a GET
/// into another method, and HEAD elsewhere, which is a GET whose body the connection leaves out.
///
/// # Errors
/// 405 for an override that is no method of OpenTSDB's, 400 for a damaged query string.
fn settle_method(request: &mut ServiceRequest) -> Result<(), ApiError> {
    let path = routed_path(request);
    if !normal_path::is_opentsdb_api(path) {
        let becomes_get = !normal_path::is_opentsdb_legacy(path) && path != SOCKET_PATH;
        if request.method() == Method::HEAD && becomes_get {
            request.head_mut().method = Method::GET;
        }
        return Ok(());
    }
    if request.method() != Method::GET || request.query_string().is_empty() {
        return Ok(());
    }
    let query = QueryString::parse(request.query_string())?;
    let Some(method) = query.get("method_override") else { return Ok(()) };
    request.head_mut().method = match method.to_ascii_lowercase().as_str() {
        "get" => Method::GET,
        "post" => Method::POST,
        "put" => Method::PUT,
        "delete" => Method::DELETE,
        _ => {
            let text = "Unknown or unsupported method override value";
            return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, text));
        }
    };
    Ok(())
}

/// The switches that every endpoint of the API understands.
fn switches(request: &ServiceRequest, state: &AppState) -> Result<Option<String>, ApiError> {
    if request.query_string().is_empty() {
        return Ok(None);
    }
    let query = QueryString::parse(request.query_string())?;
    if let Some(serializer) = query.get("serializer").filter(|name| !name.eq_ignore_ascii_case("json")) {
        let shown: String = serializer.chars().take(64).collect();
        return Err(ApiError::bad_request("Requested serializer was not found")
            .details(format!("Could not find a serializer with the name: {shown}")));
    }
    let callback = callback::callback(&query)?;
    if callback.is_some() && cors::is_cross_site_script(request.headers(), &state.options.opentsdb) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "jsonp from another site is refused")
            .details("set `opentsdb.cors_domains` to `*` to let every page read the answers"));
    }
    Ok(callback)
}

/// The function that a request that is refused before its handler may have its answer wrapped in.
fn called_back(request: &ServiceRequest, state: &AppState) -> Option<String> {
    if !routed_path(request).starts_with(API) {
        return None;
    }
    let query = QueryString::parse(request.query_string()).ok()?;
    let function = callback::callback(&query).ok()??;
    (!cors::is_cross_site_script(request.headers(), &state.options.opentsdb)).then_some(function)
}

/// The answer as the argument of a function. One that has no body gets none: what is sent after a 204 would be read as
/// the next answer.
fn call(function: &str, mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let bare = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bare || matches!(response.response().body().size(), BodySize::None | BodySize::Sized(0)) {
        return response;
    }
    let script = HeaderValue::from_static("application/javascript; charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, script);
    response.map_body(|_, body| compressed_body::WrappedBody::call(function, body).boxed())
}

fn rewrite(request: &mut ServiceRequest, path: &str) {
    let head = request.head_mut();
    let mut parts = head.uri.clone().into_parts();
    let path = utf8_percent_encode(path, NOT_IN_PATHS);
    let target = match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_string(),
    };
    parts.path_and_query = target.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        head.uri = uri.clone();
        request.match_info_mut().get_mut().update(&uri);
    }
}

impl Plan {
    fn wrap(self, mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        if let Some(form) = self.old_error {
            response = form.reword(response);
        }
        if let Some(function) = self.callback {
            response = call(&function, response);
        }
        if let Some(coding) = self.coding
            && compressed_body::is_worth_it(response.headers(), response.response().body().size())
        {
            compressed_body::mark(response.headers_mut(), coding);
            response = response.map_body(|_, body| compressed_body::CompressedBody::new(body, coding).boxed());
        }
        response
    }
}

/// HTTP/1.0 has no chunks: the end of the connection is the end of a body whose length is not known before.
fn end_by_closing(head: &mut ResponseHead) {
    head.no_chunking(true);
    head.set_connection_type(ConnectionType::Close);
}

fn request_id(request: &ServiceRequest, state: &AppState) -> String {
    let sent = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let legal = |id: &&str| {
        !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    sent.filter(legal).map_or_else(|| state.next_request_id(), str::to_owned)
}

fn finish(
    mut response: ServiceResponse<BoxBody>,
    state: &AppState,
    id: &str,
    trace: TraceContext,
    described: &str,
    began: Duration,
) -> ServiceResponse<BoxBody> {
    if response.request().version() < Version::HTTP_11 && response.response().body().size() == BodySize::Stream {
        end_by_closing(response.response_mut().head_mut());
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    for (name, value) in [(TRACE_ID, trace.trace.to_string()), (TRACEPARENT, trace.traceparent())] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let took = state.seams.clock.monotonic().saturating_sub(began);
    let status = response.status().as_u16();
    let endpoint = response.request().match_pattern().unwrap_or_else(|| "unknown".to_owned());
    state.counters.requests.add(endpoint, status, took);
    let took_ms = took.as_secs_f64() * 1000.0;
    if took >= state.options.slow_request {
        tracing::info!(request = id, trace = %trace.trace, status, took_ms, "{described} was slow");
    } else {
        tracing::debug!(request = id, trace = %trace.trace, status, took_ms, "{described}");
    }
    response
}
