//! Where the pages are.

use std::{future::Future, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderValue},
    },
    web::{self, Data, Payload, ServiceConfig},
};
use serde::Deserialize;
use tidemark_alert::book::BookError;
use tidemark_dashboards::{
    Asset, ExplorePage, Graph, GraphQuery, HostsPage, IncidentStateFilter, IncidentsPage, MessagePage, Page,
    PageContext, RenderError, content_security_policy,
};
use tidemark_queue::BrokerError;
use tokio::time::timeout;

use super::{AskError, Console, live, tasks::JobsWanted};
use crate::{
    auth::random_text,
    error::ApiError,
    figures,
    http::{
        body::skip_short_body,
        old_error::{self, OldError},
        pipeline::RequestId,
    },
    state::AppState,
};

/// Width that graphs of pages are made for before the browser says its own.
const EXPLORE_PX: u32 = 1_200;
/// Metrics shown by an empty Explore.
const SOME_METRICS: usize = 20;

/// Adds the pages, their files, their socket and the endpoints for machines.
pub(crate) fn configure(config: &mut ServiceConfig, console: &Arc<Console>) {
    config
        .app_data(Data::from(Arc::clone(console)))
        .route("/", web::get().to(overview))
        .route("/hosts", web::get().to(hosts))
        .route("/hosts/{host}", web::get().to(host))
        .route("/explore", web::get().to(explore))
        .route("/incidents", web::get().to(incidents))
        .route("/incidents/{id}", web::get().to(incident))
        .route("/tasks", web::get().to(tasks))
        .route("/tasks/{id}", web::get().to(task))
        .route("/tasks/workers/{name}", web::get().to(worker))
        .route("/tasks/workflows/{id}", web::get().to(workflow))
        .route("/system/storage", web::get().to(storage))
        .route("/static/{path:.*}", web::get().to(file))
        .route("/favicon.ico", web::get().to(icon))
        .route("/api/ws", web::get().to(live::socket))
        .route("/metrics", web::get().to(metrics))
        .default_service(web::to(nothing_here));
}

/// What a page's address says beside its path.
#[derive(Debug, Default, Deserialize)]
struct Parameters {
    fragment: Option<String>,
    #[serde(default)]
    q: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    before: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Ask(#[from] AskError),
    #[error("{0}")]
    Broker(#[from] BrokerError),
    #[error("{0}")]
    Incidents(#[from] BookError),
    #[error("{0}")]
    Render(#[from] RenderError),
    /// A part that is shared with another topic could not be made.
    #[error("{0}")]
    Part(String),
}

async fn overview(request: HttpRequest, console: Data<Console>, parameters: web::Query<Parameters>) -> HttpResponse {
    answer(&request, &console, &parameters, console.overview_page()).await
}

async fn hosts(request: HttpRequest, console: Data<Console>, parameters: web::Query<Parameters>) -> HttpResponse {
    let page = async { Ok(HostsPage { hosts: console.host_table(&parameters.q).await? }) };
    answer(&request, &console, &parameters, page).await
}

async fn host(
    request: HttpRequest,
    console: Data<Console>,
    host: web::Path<String>,
    parameters: web::Query<Parameters>,
) -> HttpResponse {
    let from = if parameters.from.is_empty() { "1h-ago" } else { &parameters.from };
    let missing = || format!("No metric of a host called {host} has come in for a day.");
    answer_found(&request, &console, &parameters, console.host_page(&host, from), missing).await
}

async fn explore(request: HttpRequest, console: Data<Console>, parameters: web::Query<Parameters>) -> HttpResponse {
    // Several parameters have the same name, which the typed form cannot say.
    let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
    let queries = pairs.map(|pairs| pairs.into_inner()).unwrap_or_default();
    let queries: Vec<String> = queries.into_iter().filter(|(name, _)| name == "m").map(|(_, m)| m).collect();
    answer(&request, &console, &parameters, console.explore_page(queries, &parameters)).await
}

async fn incidents(request: HttpRequest, console: Data<Console>, parameters: web::Query<Parameters>) -> HttpResponse {
    let state = match parameters.state.as_str() {
        "needs_ack" => IncidentStateFilter::NeedsAck,
        "acknowledged" => IncidentStateFilter::Acknowledged,
        "closed" => IncidentStateFilter::Closed,
        "all" => IncidentStateFilter::All,
        _ => IncidentStateFilter::Open,
    };
    let page = async { Ok(IncidentsPage { list: console.incident_list(state, &parameters.q).await? }) };
    answer(&request, &console, &parameters, page).await
}

async fn incident(
    request: HttpRequest,
    console: Data<Console>,
    id: web::Path<u64>,
    parameters: web::Query<Parameters>,
) -> HttpResponse {
    let missing = || format!("There is no incident #{id}.");
    answer_found(&request, &console, &parameters, console.incident_page(*id), missing).await
}

async fn tasks(request: HttpRequest, console: Data<Console>, parameters: web::Query<Parameters>) -> HttpResponse {
    let wanted = JobsWanted { state: &parameters.state, search: &parameters.q, before: &parameters.before };
    let page = async { Ok(console.tasks_page(wanted).await?) };
    answer(&request, &console, &parameters, page).await
}

async fn task(
    request: HttpRequest,
    console: Data<Console>,
    id: web::Path<String>,
    parameters: web::Query<Parameters>,
) -> HttpResponse {
    let missing = || format!("There is no job {id}. Finished jobs are kept for a day at most.");
    answer_found(&request, &console, &parameters, console.task_page(&id), missing).await
}

async fn worker(
    request: HttpRequest,
    console: Data<Console>,
    name: web::Path<String>,
    parameters: web::Query<Parameters>,
) -> HttpResponse {
    let missing = || format!("No worker called {name} was heard of during the last minutes.");
    answer_found(&request, &console, &parameters, console.worker_page(&name), missing).await
}

async fn workflow(
    request: HttpRequest,
    console: Data<Console>,
    id: web::Path<String>,
    parameters: web::Query<Parameters>,
) -> HttpResponse {
    let missing = || format!("There is no workflow {id}. Those that ended are kept for a day at most.");
    answer_found(&request, &console, &parameters, console.workflow_page(&id), missing).await
}

async fn storage(request: HttpRequest, console: Data<Console>, parameters: web::Query<Parameters>) -> HttpResponse {
    let page = async { Ok(console.storage_page().await?) };
    answer(&request, &console, &parameters, page).await
}

impl Console {
    async fn explore_page(&self, queries: Vec<String>, parameters: &Parameters) -> Result<ExplorePage, PageError> {
        let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        let mut page = ExplorePage {
            from: or(&parameters.from, "1h-ago"),
            to: or(&parameters.to, "now"),
            aggregators: tidemark_query::Aggregator::names().map(str::to_owned).collect(),
            base_url: self.base_url(),
            queries,
            ..ExplorePage::default()
        };
        if page.queries.is_empty() {
            let names = self.seams.catalog.suggest(tidemark_model::NameKind::Metric, "", SOME_METRICS).await;
            page.some_metrics = names.map_err(|error| AskError::Read(error.0))?;
            return Ok(page);
        }
        match self.explore_graph(&page).await {
            Ok(graph) => page.graph = Some(graph),
            Err(error) => page.error = error.to_string(),
        }
        Ok(page)
    }

    async fn explore_graph(&self, page: &ExplorePage) -> Result<Graph, AskError> {
        let window = self.asker.window(&page.from, &page.to)?;
        let queries: Vec<_> = page.queries.iter().map(|m| GraphQuery { m: m.clone(), label_tag: None }).collect();
        let data = self.asker.graph(&queries, window, EXPLORE_PX).await?;
        Ok(Graph {
            id: "explore".to_owned(),
            queries,
            from: page.from.clone(),
            to: page.to.clone(),
            start_ms: window.start_ms,
            end_ms: window.end_ms,
            data,
            ..Graph::default()
        })
    }
}

/// As [`answer`], for a page of something that there may not be.
async fn answer_found<P: Page, E: Into<PageError>>(
    request: &HttpRequest,
    console: &Console,
    parameters: &Parameters,
    page: impl Future<Output = Result<Option<P>, E>>,
    missing: impl Fn() -> String,
) -> HttpResponse {
    let page = async { page.await.map_err(Into::into)?.ok_or_else(|| PageError::NotFound(missing())) };
    answer(request, console, parameters, page).await
}

/// A page, or the one part of it that was asked for, or the page that says why there is none.
async fn answer<P: Page>(
    request: &HttpRequest,
    console: &Console,
    parameters: &Parameters,
    page: impl Future<Output = Result<P, PageError>>,
) -> HttpResponse {
    // A page asks many queries one after another, each of which may take as long.
    let limit = console.seams.query_time;
    let page = match timeout(limit, page).await.unwrap_or_else(|_| Err(AskError::TooSlow(limit).into())) {
        Ok(page) => page,
        Err(error) => return failure(request, console, error).await,
    };
    if let Some(name) = &parameters.fragment {
        let now_ms = console.seams.clock.now_ms();
        // The count in the navigation is a part of every page.
        let rendered = match name.as_str() {
            "nav" => console.pages.fragment(now_ms, &console.problem_count().await).map(Some),
            name => console.pages.fragment_of(now_ms, &page, name),
        };
        return match rendered.transpose() {
            Some(Ok(html)) => HttpResponse::Ok().content_type(HTML).insert_header(NO_STORE).body(html),
            Some(Err(error)) => render_failure(&error),
            None => ApiError::new(StatusCode::NOT_FOUND, format!("the page has no part called `{name}`")).to_response(),
        };
    }
    whole(console, &page, StatusCode::OK).await
}

const HTML: &str = "text/html; charset=utf-8";
const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

async fn whole<P: Page>(console: &Console, page: &P, status: StatusCode) -> HttpResponse {
    let Ok(nonce) = random_text() else {
        return ApiError::unavailable("the system gives no random bytes").to_response();
    };
    let context = PageContext {
        nonce,
        csrf_token: console.csrf_token.clone(),
        installation: String::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now_ms: console.seams.clock.now_ms(),
        base_url: console.base_url(),
        problems: console.problem_count().await,
    };
    match console.pages.page(&context, page) {
        Ok(html) => HttpResponse::build(status)
            .content_type(HTML)
            .insert_header(NO_STORE)
            .insert_header((header::CONTENT_SECURITY_POLICY, content_security_policy(&context.nonce)))
            .insert_header((header::REFERRER_POLICY, "same-origin"))
            .insert_header((header::X_FRAME_OPTIONS, "SAMEORIGIN"))
            .body(html),
        Err(error) => render_failure(&error),
    }
}

async fn failure(request: &HttpRequest, console: &Console, error: PageError) -> HttpResponse {
    let (code, title, text) = match error {
        PageError::NotFound(text) => (StatusCode::NOT_FOUND, "nothing here", text),
        PageError::Ask(error @ AskError::Text(_)) => (StatusCode::BAD_REQUEST, "not a query", error.to_string()),
        PageError::Ask(error @ AskError::TooLarge(_)) => (StatusCode::PAYLOAD_TOO_LARGE, "too much", error.to_string()),
        PageError::Ask(error) => (StatusCode::SERVICE_UNAVAILABLE, "no answer", error.to_string()),
        PageError::Part(text) => (StatusCode::SERVICE_UNAVAILABLE, "no answer", text),
        PageError::Broker(error) => (StatusCode::SERVICE_UNAVAILABLE, "the broker does not answer", error.to_string()),
        PageError::Render(error) => return render_failure(&error),
        PageError::Incidents(error) => (StatusCode::SERVICE_UNAVAILABLE, "incidents cannot be read", error.to_string()),
    };
    let request_id = request_id(request);
    let page = MessagePage { code: code.as_u16(), title: title.to_owned(), text, request_id };
    whole(console, &page, code).await
}

fn request_id(request: &HttpRequest) -> String {
    use actix_web::HttpMessage;
    request.extensions().get::<RequestId>().map(|id| id.0.to_string()).unwrap_or_default()
}

fn render_failure(error: &dyn std::error::Error) -> HttpResponse {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::error!(%error, cause, "a page could not be rendered");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be rendered; the log says why").to_response()
}

async fn file(request: HttpRequest, console: Data<Console>) -> HttpResponse {
    let Some(asset) = console.assets.find(request.path()) else {
        return ApiError::new(StatusCode::NOT_FOUND, "no such file; reload the page").to_response();
    };
    let mut response = HttpResponse::Ok();
    response.content_type(asset.content_type);
    response
        .insert_header((header::CACHE_CONTROL, Asset::CACHE_CONTROL))
        .insert_header((header::VARY, "Accept-Encoding"));
    let accepted =
        request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match asset.gzip.as_ref().filter(|_| accepted.contains("gzip")) {
        Some(gzip) => {
            response.insert_header((header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))).body(gzip.clone())
        }
        None => response.body(asset.bytes.clone()),
    }
}

/// Pages name their icon; browsers ask for this one where they show something else, such as an answer in JSON.
async fn icon(console: Data<Console>) -> HttpResponse {
    match console.assets.path_of("icons/favicon.svg") {
        Some(path) => HttpResponse::Found().insert_header((header::LOCATION, path)).finish(),
        None => ApiError::new(StatusCode::NOT_FOUND, "there is no icon").to_response(),
    }
}

async fn metrics(console: Data<Console>) -> HttpResponse {
    let figures = figures::gather(&console.seams.figures).await;
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(figures::to_prometheus(&figures))
}

/// What no route answers: an error object for programs, a page for people.
async fn nothing_here(
    request: HttpRequest,
    payload: Payload,
    console: Data<Console>,
    state: Data<AppState>,
) -> HttpResponse {
    skip_short_body(&request, payload, &state.options.limits).await;
    let for_programs =
        request.path() == "/api" || ["/api/", "/bosun/api/"].iter().any(|of| request.path().starts_with(of));
    if for_programs {
        return ApiError::endpoint_not_found().to_response();
    }
    if OldError::of(request.query_string()) == OldError::Json {
        return old_error::not_found(&request);
    }
    if request.method() != Method::GET {
        return ApiError::method_not_allowed(request.method().as_str()).to_response();
    }
    whole(&console, &MessagePage::not_found(request.path()), StatusCode::NOT_FOUND).await
}
