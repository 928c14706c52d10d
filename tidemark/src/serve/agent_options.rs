//! What the agent is told to do, in `serve` and as `tidemark agent`.

use std::ffi::OsString;

use anyhow::Context;
use tidemark_collector::{AgentOptions, ExternalOptions, HostTags};

use super::point_rules;
use crate::config::{AgentSettings, Settings};

/// The options of the agent.
pub(crate) fn agent_options(settings: &Settings) -> anyhow::Result<AgentOptions> {
    let agent = &settings.agent;
    let host = if agent.host.is_empty() { HostTags::short_hostname() } else { agent.host.clone() };
    let others: Vec<_> = agent.tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let characters = point_rules(settings)?.characters;
    let host_tags =
        HostTags::with_characters(&host, &others, characters).context("settings agent.host and agent.tags")?;
    let mut options = AgentOptions::new(host_tags);
    options.interval = agent.interval.0;
    options.external = external_options(agent);
    options.seed = seed();
    Ok(options)
}

fn external_options(agent: &AgentSettings) -> Option<ExternalOptions> {
    if agent.collectors.as_os_str().is_empty() {
        return None;
    }
    let mut options = ExternalOptions::in_directory(&agent.collectors);
    options.environment = environment();
    Some(options)
}

/// Our environment without our own settings, tokens among them.
fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("TIDEMARK_")).collect()
}

/// Spreads the agents of a fleet over time.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}
