//! Configuration: flags, then `TIDEMARK_…` variables (`__` between levels), then `tidemark.toml`, then defaults.
//!
//! Everything is parsed into validated types here; nothing below the binary reads the environment.

mod layers;
mod quantities;
mod settings;

pub(crate) use layers::{Sources, load};
pub(crate) use quantities::{Bytes, Span};
pub(crate) use settings::{
    AgentSettings, AuthSettings, BrokerUrl, CollectTarget, LimitSettings, LogFormat, Role, Settings, StoreUrl,
};
