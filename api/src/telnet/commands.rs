//! Commands other than those that bring values.

use crate::{
    opentsdb::{statistics, version},
    state::AppState,
};

/// What a command does to the connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Sends this text.
    Text(String),
    /// Ends the connection.
    Close,
}

/// Carries out a line that brings no value.
pub(crate) fn carry_out(line: &str, state: &AppState) -> Answer {
    let command = line.split(' ').next().unwrap_or_default();
    Answer::Text(match command {
        "exit" => return Answer::Close,
        "version" => version::lines(&state.options.build),
        "stats" => statistics::lines(state),
        "help" => {
            let writing = if state.options.opentsdb.mode.writes() { "put rollup histogram " } else { "" };
            format!("available commands: stats dropcaches version status exit help {writing}\n")
        }
        "dropcaches" => "Caches dropped.\n".to_owned(),
        "status" => "startup\n".to_owned(),
        other => {
            let shown: String = other.chars().take(256).collect();
            format!("unknown command: {shown}.  Try `help'.\n")
        }
    })
}
