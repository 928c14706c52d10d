//! What every request goes through before and after its handler.

use std::{sync::Arc, time::Duration};

use actix_web::{
    Error, HttpMessage, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode, Uri,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};

use crate::{
    auth,
    error::ApiError,
    http::{callback, cors, gzip_body, normal_path, normal_path::NormalPath, query_string::QueryString},
    metrics::printable,
    state::AppState,
};

/// The id of a request, for logs; in the extensions of the request.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a request.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Gives the request an id, finds out which endpoint it means, judges its origin; afterwards wraps, compresses, counts
/// and logs.
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
    let plan = match prepare(&mut request, &state) {
        Ok(plan) => plan,
        Err(answer) => {
            let response = request.into_response(answer);
            return Ok(finish(response, &state, &id, &described, began));
        }
    };
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = next.call(request).await?.map_into_boxed_body();
    if plan.origin == cors::Origin::Allowed {
        cors::allow(origin.as_ref(), response.headers_mut(), &state.options.opentsdb);
    }
    Ok(finish(plan.wrap(response), &state, &id, &described, began))
}

/// What is to be done with the answer.
struct Plan {
    origin: cors::Origin,
    callback: Option<String>,
    gzip: bool,
}

#[expect(clippy::result_large_err, reason = "the answer is made once and moved once")]
fn prepare(request: &mut ServiceRequest, state: &AppState) -> Result<Plan, HttpResponse> {
    let refuse = |error: ApiError| error.to_response();
    let options = &state.options.opentsdb;
    let origin = cors::judge(request.headers(), options);
    if origin == cors::Origin::Refused {
        return Err(refuse(
            ApiError::new(StatusCode::OK, "CORS domain not allowed")
                .details("the origin of the page is not in `opentsdb.cors_domains`"),
        ));
    }
    match normal_path::normal_path(request.path()) {
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
    let visitor =
        auth::admit(request.method(), request.path(), request.headers(), &state.options.tokens).map_err(refuse)?;
    if let Some(visitor) = visitor {
        request.extensions_mut().insert(visitor);
    }
    let gzip = gzip_body::accepts_gzip(request.headers());
    if !request.path().starts_with("/api/") {
        return Ok(Plan { origin, callback: None, gzip });
    }
    if request.method() == Method::OPTIONS && origin == cors::Origin::Allowed {
        let mut answer = HttpResponse::Ok().finish();
        cors::allow(request.headers().get(header::ORIGIN), answer.headers_mut(), options);
        return Err(answer);
    }
    let callback = switches(request, state).map_err(refuse)?;
    Ok(Plan { origin, callback, gzip })
}

/// The switches that every endpoint of the API understands.
fn switches(request: &mut ServiceRequest, state: &AppState) -> Result<Option<String>, ApiError> {
    if request.query_string().is_empty() {
        return Ok(None);
    }
    let query = QueryString::parse(request.query_string())?;
    if let Some(serializer) = query.get("serializer").filter(|name| !name.eq_ignore_ascii_case("json")) {
        let shown: String = serializer.chars().take(64).collect();
        return Err(ApiError::bad_request(format!("Could not find a serializer with the name: {shown}")));
    }
    if request.method() == Method::GET
        && let Some(method) = query.get("method_override")
    {
        request.head_mut().method = match method.to_ascii_lowercase().as_str() {
            "get" => Method::GET,
            "post" => Method::POST,
            "put" => Method::PUT,
            "delete" => Method::DELETE,
            _ => {
                return Err(ApiError::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "Unknown or unsupported method override value",
                ));
            }
        };
    }
    let callback = callback::callback(&query)?;
    if callback.is_some() && cors::is_cross_site_script(request.headers(), &state.options.opentsdb) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "jsonp from another site is refused")
            .details("set `opentsdb.cors_domains` to `*` to let every page read the answers"));
    }
    Ok(callback)
}

fn rewrite(request: &mut ServiceRequest, path: &str) {
    let head = request.head_mut();
    let mut parts = head.uri.clone().into_parts();
    let target = match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    parts.path_and_query = target.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        head.uri = uri.clone();
        request.match_info_mut().get_mut().update(&uri);
    }
}

impl Plan {
    fn wrap(self, mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        if let Some(function) = self.callback {
            let script = HeaderValue::from_static("application/javascript; charset=UTF-8");
            response.headers_mut().insert(header::CONTENT_TYPE, script);
            response = response.map_body(|_, body| gzip_body::WrappedBody::call(&function, body).boxed());
        }
        if self.gzip && gzip_body::is_worth_it(response.headers(), response.response().body().size()) {
            gzip_body::mark(response.headers_mut());
            response = response.map_body(|_, body| gzip_body::GzipBody::new(body).boxed());
        }
        response
    }
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
    described: &str,
    began: Duration,
) -> ServiceResponse<BoxBody> {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let took = state.seams.clock.monotonic().saturating_sub(began);
    let status = response.status().as_u16();
    let endpoint = response.request().match_pattern().unwrap_or_else(|| "unknown".to_owned());
    state.counters.requests.add(endpoint, status, took);
    let took_ms = took.as_secs_f64() * 1000.0;
    if took >= state.options.slow_request {
        tracing::info!(request = id, status, took_ms, "{described} was slow");
    } else {
        tracing::debug!(request = id, status, took_ms, "{described}");
    }
    response
}
