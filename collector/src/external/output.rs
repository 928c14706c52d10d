//! What a program prints: points, refused lines and messages, on their way to the backlog and the log.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{line::take_line, line_reader::RawLine};
use crate::{context::Context, gathering::Gathering};

/// Points are handed on when there are so many, or after [`HAND_ON_AFTER`].
const HAND_ON_POINTS: usize = 1000;
const HAND_ON_AFTER: Duration = Duration::from_millis(500);

const MINUTE: Duration = Duration::from_secs(60);

/// Refused lines, and lines of messages, that are logged within a minute; all are counted.
const LOGGED_PER_MINUTE_MAX: u64 = 20;

/// What a program prints, on its way to the backlog.
pub(super) struct Output<'a> {
    context: &'a Arc<Context>,
    name: &'a str,
    gathering: Gathering<'a>,
    hand_on_at: Option<Instant>,
    /// When the latest line came.
    heard_at: Instant,
    minute: Instant,
    lines_in_minute: u64,
    lines_per_minute_max: u64,
    logged_in_minute: u64,
    suppressed: u64,
    last_message: Option<String>,
}

impl<'a> Output<'a> {
    pub(super) fn new(context: &'a Arc<Context>, name: &'a str, lines_per_minute_max: u64) -> Self {
        let now = Instant::now();
        Self {
            context,
            name,
            gathering: Gathering::new(&context.host_tags, 0),
            hand_on_at: None,
            heard_at: now,
            minute: now,
            lines_in_minute: 0,
            lines_per_minute_max: lines_per_minute_max.max(1),
            logged_in_minute: 0,
            suppressed: 0,
            last_message: None,
        }
    }

    pub(super) async fn take(&mut self, line: RawLine) {
        self.heard_at = Instant::now();
        self.begin_minute_when_due(self.heard_at);
        self.lines_in_minute += 1;
        match line {
            RawLine::Text(text) if text.trim().is_empty() => {}
            RawLine::Text(text) => {
                if let Err(error) = take_line(&text, &mut self.gathering) {
                    self.refuse(&format!("refused line `{}`: {error}", shorten(&text)));
                }
            }
            RawLine::TooLong(bytes) => self.refuse(&format!("refused a line of {bytes} bytes")),
            RawLine::NotUtf8 => self.refuse("refused a line that is no UTF-8"),
        }
        if self.gathering.len() >= HAND_ON_POINTS {
            self.hand_on().await;
        } else if self.hand_on_at.is_none() && !self.gathering.is_empty() {
            self.hand_on_at = Some(self.heard_at + HAND_ON_AFTER);
        }
    }

    pub(super) async fn hand_on(&mut self) {
        self.hand_on_at = None;
        let gathering = std::mem::replace(&mut self.gathering, Gathering::new(&self.context.host_tags, 0));
        if !gathering.is_empty() {
            self.context.hand_on(self.name, gathering.finish()).await;
        }
    }

    pub(super) fn log(&mut self, message: RawLine) {
        let text = match message {
            RawLine::Text(text) => text,
            RawLine::TooLong(bytes) => format!("a message of {bytes} bytes"),
            RawLine::NotUtf8 => "a message that is no UTF-8".to_owned(),
        };
        let message = shorten(&text);
        if self.may_log() {
            tracing::warn!(collector = self.name, message, "a collector wrote to its standard error");
        }
        if !message.is_empty() {
            self.last_message = Some(message);
        }
    }

    fn refuse(&mut self, error: &str) {
        self.context.board.failed(self.name, self.context.clock.now_ms(), error);
        if self.may_log() {
            tracing::warn!(collector = self.name, error, "a collector printed something that is no point");
        }
    }

    fn may_log(&mut self) -> bool {
        self.begin_minute_when_due(Instant::now());
        self.logged_in_minute += 1;
        let may = self.logged_in_minute <= LOGGED_PER_MINUTE_MAX;
        self.suppressed += u64::from(!may);
        may
    }

    /// When the latest line came, or the run began.
    pub(super) fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// When the points so far have to be handed on.
    pub(super) fn hand_on_at(&self) -> Option<Instant> {
        self.hand_on_at
    }

    /// What the program last wrote to its standard error.
    pub(super) fn into_last_message(self) -> Option<String> {
        self.last_message
    }

    /// Until when nothing is read because the program printed too much.
    pub(super) fn throttled_until(&self) -> Option<Instant> {
        (self.lines_in_minute >= self.lines_per_minute_max).then(|| self.minute + MINUTE)
    }

    pub(super) fn begin_minute(&mut self) {
        self.report_suppressed();
        self.minute = Instant::now();
        self.lines_in_minute = 0;
        self.logged_in_minute = 0;
    }

    fn begin_minute_when_due(&mut self, now: Instant) {
        if now.duration_since(self.minute) >= MINUTE {
            self.begin_minute();
        }
    }

    pub(super) fn report_suppressed(&mut self) {
        let lines = std::mem::take(&mut self.suppressed);
        if lines > 0 {
            tracing::warn!(collector = self.name, lines, "further messages and refused lines were not logged");
        }
    }
}

/// A line as it is shown.
fn shorten(text: &str) -> String {
    text.trim().chars().take(200).collect()
}
