//! The socket that keeps a tab live: `dashboards/docs/live-protocol.md`.
//!
//! A tab subscribes to topics; every two seconds the fragments of its topics are rendered, once for all tabs, and those
//! that changed are sent. A tab that reads slowly misses states in between, never holds anybody up, and is dropped when
//! it takes nothing for ten seconds.

use std::{
    collections::{HashMap, VecDeque},
    future::ready,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Payload},
};
use actix_ws::{AggregatedMessage, CloseCode, CloseReason, Session};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tidemark_dashboards::{GraphData, GraphQuery};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Console, asking::QUERIES_MAX, topics::Topic};
use crate::{error::ApiError, http::same_origin::is_same_origin, rest::job_json, state::AppState};

/// The topic of what happens to jobs, which has no fragments.
const EVENTS: &str = "events";
/// Largest message of a browser in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most subscriptions and live queries of one tab.
const SUBSCRIPTIONS_MAX: usize = 64;
/// How often topics are looked at.
const TICK: Duration = Duration::from_secs(2);
/// How often a silent peer is pinged.
const PING: Duration = Duration::from_secs(20);
/// A peer that was silent for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A peer that takes nothing for so long is dropped.
const SEND_MAX: Duration = Duration::from_secs(10);
/// A topic that takes longer to be rendered is left for the next look.
const RENDER_MAX: Duration = Duration::from_secs(30);
/// Least time between two evaluations of a live query.
const QUERY_EVERY_MIN: Duration = Duration::from_secs(1);

/// What a browser says.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Said {
    Sub { id: u64, topic: String },
    Unsub { id: u64 },
    Query(Asked),
    Ping,
}

/// A live query.
#[derive(Debug, Deserialize)]
struct Asked {
    id: u64,
    #[serde(default = "ten_seconds_ms")]
    every_ms: u64,
    from: String,
    #[serde(default)]
    to: String,
    #[serde(default = "default_px")]
    px: u32,
    queries: Vec<GraphQuery>,
}

fn ten_seconds_ms() -> u64 {
    10_000
}

fn default_px() -> u32 {
    800
}

/// What the server says.
#[derive(Debug, Serialize)]
#[serde(tag = "ev", rename_all = "lowercase")]
enum Says<'a> {
    Html {
        id: u64,
        target: &'a str,
        html: &'a str,
    },
    Data {
        id: u64,
        #[serde(flatten)]
        data: &'a GraphData,
    },
    Error {
        id: u64,
        message: &'a str,
    },
    Job {
        id: u64,
        number: u64,
        event: &'a str,
        job: serde_json::Value,
    },
    Pong,
    Drain,
}

/// Takes a browser's socket.
pub(super) async fn socket(
    request: HttpRequest,
    body: Payload,
    console: Data<Console>,
    state: Data<AppState>,
) -> Result<HttpResponse, actix_web::Error> {
    if !is_same_origin(request.headers()) {
        let refused = ApiError::new(StatusCode::FORBIDDEN, "a page of another site may not open this socket");
        return Ok(refused.to_response());
    }
    if !request.headers().contains_key(header::UPGRADE) {
        return Ok(ApiError::new(StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket only").to_response());
    }
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    let messages =
        messages.max_frame_size(MESSAGE_BYTES_MAX).aggregate_continuations().max_continuation_size(MESSAGE_BYTES_MAX);
    let tab = Tab {
        console,
        session,
        topics: HashMap::new(),
        listening: HashMap::new(),
        queries: HashMap::new(),
        waiting: VecDeque::new(),
        hasher: RandomState::new(),
    };
    actix_web::rt::spawn(state.tasks.track_future(tab.serve(messages, state.shutdown.clone())));
    Ok(response)
}

/// One open tab.
struct Tab {
    console: Data<Console>,
    session: Session,
    /// By the tab's id, the topic and a hash of what was sent of each fragment.
    topics: HashMap<u64, (Topic, HashMap<&'static str, u64>)>,
    /// By the tab's id, the number of the next event about jobs; none before the first look.
    listening: HashMap<u64, Option<u64>>,
    queries: HashMap<u64, LiveQuery>,
    /// What is to be looked at, each at most once; what the tab says and pings come between any two.
    waiting: VecDeque<Subject>,
    hasher: RandomState,
}

/// A subscription or a live query, by the tab's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Topic(u64),
    Events(u64),
    Query(u64),
}

/// What a tab does next.
enum Step {
    Hear(AggregatedMessage),
    Tick,
    Ping,
    Look,
}

struct LiveQuery {
    asked: Asked,
    due: Instant,
    sent: Option<u64>,
}

/// The tab is gone or must go.
struct Gone(Option<CloseCode>);

impl Tab {
    async fn serve(
        mut self,
        mut messages: actix_ws::AggregatedMessageStream,
        shutdown: tokio_util::sync::CancellationToken,
    ) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ping = interval(PING);
        let mut heard = Instant::now();
        let gone = loop {
            let next = tokio::select! {
                biased;
                () = shutdown.cancelled() => break self.drain().await,
                message = messages.next() => match message {
                    Some(Ok(message)) => Step::Hear(message),
                    Some(Err(_)) => break Gone(Some(CloseCode::Size)),
                    None => break Gone(None),
                },
                _ = ping.tick() => Step::Ping,
                _ = tick.tick() => Step::Tick,
                () = ready(()), if !self.waiting.is_empty() => Step::Look,
            };
            if matches!(next, Step::Hear(_)) {
                heard = Instant::now();
            }
            let done = tokio::select! {
                biased;
                () = shutdown.cancelled() => break self.drain().await,
                done = self.take_step(next, heard) => done,
            };
            if let Err(gone) = done {
                break gone;
            }
        };
        if let Gone(Some(code)) = gone {
            // The peer may be gone already: then there is nobody to tell.
            drop(timeout(SEND_MAX, self.session.close(Some(CloseReason::from(code)))).await);
        }
    }

    async fn drain(&mut self) -> Gone {
        self.send(&Says::Drain).await.err().unwrap_or(Gone(Some(CloseCode::Away)))
    }

    async fn take_step(&mut self, step: Step, heard: Instant) -> Result<(), Gone> {
        match step {
            Step::Hear(message) => self.heard(message).await,
            Step::Ping if heard.elapsed() < SILENCE_MAX => self.session.ping(b"").await.map_err(|_| Gone(None)),
            Step::Ping => Err(Gone(Some(CloseCode::Away))),
            Step::Tick => {
                self.find_what_is_due();
                Ok(())
            }
            Step::Look => match self.waiting.pop_front() {
                Some(Subject::Topic(id)) => self.look_at(id).await,
                Some(Subject::Events(id)) => self.tell_events(id).await,
                Some(Subject::Query(id)) => self.ask(id).await,
                None => Ok(()),
            },
        }
    }

    async fn heard(&mut self, message: AggregatedMessage) -> Result<(), Gone> {
        match message {
            AggregatedMessage::Text(text) => match serde_json::from_str(&text) {
                Ok(said) => self.take(said).await,
                Err(error) => self.send(&Says::Error { id: 0, message: &format!("not a message: {error}") }).await,
            },
            AggregatedMessage::Ping(bytes) => self.session.pong(&bytes).await.map_err(|_| Gone(None)),
            AggregatedMessage::Pong(_) => Ok(()),
            AggregatedMessage::Binary(_) => Err(Gone(Some(CloseCode::Unsupported))),
            AggregatedMessage::Close(_) => Err(Gone(Some(CloseCode::Normal))),
        }
    }

    async fn take(&mut self, said: Said) -> Result<(), Gone> {
        let full = self.topics.len() + self.listening.len() + self.queries.len() >= SUBSCRIPTIONS_MAX;
        match said {
            Said::Ping => self.send(&Says::Pong).await,
            Said::Unsub { id } => {
                self.topics.remove(&id);
                self.listening.remove(&id);
                self.queries.remove(&id);
                Ok(())
            }
            Said::Sub { id, .. } | Said::Query(Asked { id, .. }) if full => {
                let message = format!("a tab has at most {SUBSCRIPTIONS_MAX} subscriptions");
                self.send(&Says::Error { id, message: &message }).await
            }
            Said::Sub { id, topic } if topic == EVENTS => {
                self.listening.insert(id, None);
                self.wait_for(Subject::Events(id));
                Ok(())
            }
            Said::Sub { id, topic } => match topic.parse() {
                Ok(topic) => {
                    self.topics.insert(id, (topic, HashMap::new()));
                    self.wait_for(Subject::Topic(id));
                    Ok(())
                }
                Err(error) => self.send(&Says::Error { id, message: &format!("{error}") }).await,
            },
            Said::Query(asked) if asked.queries.len() > QUERIES_MAX => {
                let message = format!("a live query has at most {QUERIES_MAX} parts");
                self.send(&Says::Error { id: asked.id, message: &message }).await
            }
            Said::Query(asked) => {
                let id = asked.id;
                self.queries.insert(id, LiveQuery { asked, due: Instant::now(), sent: None });
                self.wait_for(Subject::Query(id));
                Ok(())
            }
        }
    }

    fn find_what_is_due(&mut self) {
        let now = Instant::now();
        let topics = self.topics.keys().map(|id| Subject::Topic(*id));
        let events = self.listening.keys().map(|id| Subject::Events(*id));
        let queries = self.queries.iter().filter(|(_, query)| query.due <= now).map(|(id, _)| Subject::Query(*id));
        for subject in topics.chain(events).chain(queries).collect::<Vec<_>>() {
            self.wait_for(subject);
        }
    }

    fn wait_for(&mut self, subject: Subject) {
        if !self.waiting.contains(&subject) {
            self.waiting.push_back(subject);
        }
    }

    /// Sends what changed of a topic since the last look.
    async fn look_at(&mut self, id: u64) -> Result<(), Gone> {
        let Some((topic, _)) = self.topics.get(&id) else { return Ok(()) };
        let Ok(fragments) = timeout(RENDER_MAX, self.console.fragments(topic)).await else {
            let message = format!("the page's parts took longer than {} s to make", RENDER_MAX.as_secs());
            return self.send(&Says::Error { id, message: &message }).await;
        };
        let fragments = match fragments.as_ref() {
            Ok(fragments) => fragments,
            Err(message) => return self.send(&Says::Error { id, message }).await,
        };
        for (target, html) in fragments {
            let hash = self.hasher.hash_one(html);
            let Some((_, sent)) = self.topics.get_mut(&id) else { return Ok(()) };
            if sent.insert(target, hash) != Some(hash) {
                self.send(&Says::Html { id, target, html }).await?;
            }
        }
        Ok(())
    }

    /// Sends what happened to jobs since the last look.
    async fn tell_events(&mut self, id: u64) -> Result<(), Gone> {
        let Some(from) = self.listening.get(&id).copied() else { return Ok(()) };
        let seams = &self.console.seams;
        let asked = self.console.job_events.since(from, seams.broker.as_ref(), seams.clock.monotonic());
        let news = match timeout(RENDER_MAX, asked).await {
            Ok(Ok(news)) => news,
            Ok(Err(error)) => return self.send(&Says::Error { id, message: &error.to_string() }).await,
            Err(_) => return self.send(&Says::Error { id, message: "the broker does not answer" }).await,
        };
        self.listening.insert(id, Some(news.next_number));
        if news.left_out > 0 {
            let message = format!("{} events were left out: more happened than is looked at", news.left_out);
            self.send(&Says::Error { id, message: &message }).await?;
        }
        for event in news.events {
            let job = job_json(&event.job);
            self.send(&Says::Job { id, number: event.number, event: event.what, job }).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, id: u64) -> Result<(), Gone> {
        let Some(query) = self.queries.get_mut(&id) else { return Ok(()) };
        query.due = Instant::now() + Duration::from_millis(query.asked.every_ms).max(QUERY_EVERY_MIN);
        let window = self.console.asker.window(&query.asked.from, &query.asked.to);
        let answer = match window {
            Ok(window) => self.console.asker.graph_or_empty(&query.asked.queries, window, query.asked.px).await,
            Err(error) => Err(error),
        };
        let data = match answer {
            Ok(data) => data,
            Err(error) => return self.send(&Says::Error { id, message: &error.to_string() }).await,
        };
        let text = serde_json::to_string(&Says::Data { id, data: &data }).unwrap_or_default();
        let hash = self.hasher.hash_one(&text);
        if query.sent.replace(hash) == Some(hash) {
            return Ok(());
        }
        self.send_text(text).await
    }

    async fn send(&mut self, says: &Says<'_>) -> Result<(), Gone> {
        // A value of plain fields always has a text.
        self.send_text(serde_json::to_string(says).unwrap_or_default()).await
    }

    async fn send_text(&mut self, text: String) -> Result<(), Gone> {
        match timeout(SEND_MAX, self.session.text(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone(None)),
        }
    }
}

/// Fragments as they were rendered for all tabs, or why they could not be.
pub(super) type Fragments = Arc<Result<Vec<(&'static str, String)>, String>>;
