//! The handlers of our kinds of jobs, and the producers that belong to them.

pub(crate) mod backtest;
pub(crate) mod collect;
pub(crate) mod evaluate;
pub(crate) mod notify;
mod prompt_push;
mod refusal_log;
pub(crate) mod rollup;
pub(crate) mod time_window;
pub(crate) mod write;
pub(crate) mod write_receipt;
