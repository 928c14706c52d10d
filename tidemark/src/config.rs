//! Configuration: flags, then `TIDEMARK_…` variables (`__` between levels), then `tidemark.toml`, then defaults.
//!
//! Everything is parsed into validated types here; nothing below the binary reads the environment.

mod layers;
mod masked;
mod quantities;
mod settings;
mod store_url;
mod validate;

pub(crate) use layers::{Sources, load};
pub(crate) use masked::masked;
pub(crate) use quantities::{Bytes, Span};
pub(crate) use settings::{
    AgentSettings, AuthSettings, BrokerUrl, CONCURRENCY_MAX, CollectTarget, LimitSettings, LogFormat, RedisSettings,
    RetentionRuleSettings, RetentionSettings, Role, Settings, WorkerSettings,
};
pub(crate) use store_url::{FdbStore, StoreUrl};
