//! OpenTSDB's telnet protocol: lines of words, silent when all is well.

mod commands;
mod connection;
mod line_buffer;
pub(crate) mod put_line;
mod refusal;
mod session;
pub(crate) mod value_line;
mod write;

pub(crate) use connection::serve;
pub(crate) use refusal::refuse;
