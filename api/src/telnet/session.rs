//! What the lines of a connection mean: batches of points to write, and texts to reply, in order.

use tidemark_model::PointBatch;

use super::{
    commands::{Answer, carry_out},
    put_line::PutLines,
    value_line::{LineRefusal, ValueLines},
};
use crate::{
    metrics::{Protocol, RejectReason, printable},
    state::AppState,
};

/// Something to do for a connection, in the order in which its lines came.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Writes points.
    Write(PointBatch),
    /// Replies.
    Reply(String),
    /// Closes the connection.
    Close,
}

/// Reads whole lines. Points of neighbouring `put` lines are gathered into one batch.
pub(crate) fn read_lines(lines: &[u8], state: &AppState) -> Vec<Step> {
    let mut session = Session {
        state,
        steps: Vec::new(),
        points: PutLines::new(&state.options.opentsdb.point_rules),
        values: ValueLines::new(&state.options.opentsdb),
        reply: String::new(),
    };
    session.points.reserve(lines.len());
    // One check for all lines is many times faster than one for each.
    match std::str::from_utf8(lines) {
        Ok(text) => session.read(text.split_terminator('\n').map(Ok)),
        Err(_) => session.read(
            lines
                .split_inclusive(|&byte| byte == b'\n')
                .map(|line| std::str::from_utf8(line).map(|line| line.trim_end_matches('\n')).map_err(|_| line)),
        ),
    }
    session.flush();
    session.steps
}

struct Session<'a> {
    state: &'a AppState,
    steps: Vec<Step>,
    points: PutLines<'a>,
    /// Histograms and rollups.
    values: ValueLines<'a>,
    reply: String,
}

impl<'a> Session<'a> {
    fn read(&mut self, lines: impl Iterator<Item = Result<&'a str, &'a [u8]>>) {
        let writes = self.state.options.opentsdb.mode.writes();
        for line in lines {
            let line = match line {
                Ok(line) => line.strip_suffix('\r').unwrap_or(line),
                Err(bytes) if !writes => {
                    if !self.command(&String::from_utf8_lossy(bytes)) {
                        return;
                    }
                    continue;
                }
                Err(bytes) => {
                    self.reject(&String::from_utf8_lossy(bytes), "put", "illegal argument: the line is no UTF-8");
                    continue;
                }
            };
            if !writes {
                if !self.command(line) {
                    return;
                }
            } else if let Some(words) = line.strip_prefix("put ") {
                if let Err(error) = self.points.add(words) {
                    self.reject(line, "put", &error);
                }
            } else if let Some(needed) = words_of_bare(line) {
                let error = format!("illegal argument: not enough arguments (need least {needed}, got 0)");
                self.reject(line, line, &error);
            } else if let Some(words) = after(line, "histogram") {
                let added = self.values.add_histogram(words);
                self.judge(line, "histogram", added);
            } else if let Some(words) = after(line, "rollup") {
                let added = self.values.add_rollup(words);
                self.judge(line, "rollup", added);
            } else if !self.command(line) {
                return;
            }
        }
    }

    /// Carries out a line that brings no value. False when nothing is to be done after it.
    fn command(&mut self, line: &str) -> bool {
        self.flush();
        match carry_out(line, self.state) {
            Answer::Text(text) => {
                self.steps.push(Step::Reply(text));
                true
            }
            Answer::Close => {
                self.steps.push(Step::Close);
                false
            }
        }
    }

    fn judge(&mut self, line: &str, command: &str, added: Result<(), LineRefusal>) {
        match added {
            Ok(()) => {}
            Err(LineRefusal::Reply(error)) => self.reject(line, command, &error),
            Err(LineRefusal::Silence(error)) => self.count_rejected(line, &error),
        }
    }

    fn reject(&mut self, line: &str, command: &str, error: &str) {
        if self.state.options.opentsdb.telnet_errors {
            self.reply.push_str(command);
            self.reply.push_str(": ");
            self.reply.push_str(error);
            self.reply.push('\n');
        }
        self.count_rejected(line, error);
    }

    fn count_rejected(&self, line: &str, error: &str) {
        let counters = &self.state.counters;
        counters.points.reject(Protocol::Telnet, RejectReason::Invalid, 1);
        counters.rejected_lines.add(self.state.seams.clock.now_ms(), Protocol::Telnet, line, error);
        tracing::debug!(error = printable(error), "rejected a line");
    }

    fn flush(&mut self) {
        if !self.reply.is_empty() {
            self.steps.push(Step::Reply(std::mem::take(&mut self.reply)));
        }
        if self.points.len() > 0 {
            let batch = self.points.take();
            self.steps.push(Step::Write(batch));
        }
        self.steps.extend(self.values.take().map(Step::Write));
    }
}

/// How many words a command needs that brings a value, when the line is nothing but the command.
fn words_of_bare(line: &str) -> Option<u32> {
    match line {
        "put" => Some(4),
        "histogram" => Some(5),
        "rollup" => Some(7),
        _ => None,
    }
}

/// The words behind a command; none for the command alone.
fn after<'a>(line: &'a str, command: &str) -> Option<&'a str> {
    line.strip_prefix(command)?.strip_prefix(' ')
}
