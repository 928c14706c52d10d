//! The handlers of our kinds of jobs, and the producers that belong to them.

pub(crate) mod write;
mod write_receipt;
