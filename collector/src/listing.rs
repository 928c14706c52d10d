//! Which collectors there are.

use std::time::Duration;

use crate::{AgentError, AgentOptions, CollectorSource, builtin, external, own_metrics};

/// The collectors that an agent with these options runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Built-in ones first, then external ones by name.
    pub collectors: Vec<CollectorListing>,
    /// External ones that are not run, and why.
    pub problems: Vec<String>,
}

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorListing {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub source: CollectorSource,
    /// How often it runs; `None` for one that runs all the time.
    pub interval: Option<Duration>,
}

/// Lists the collectors. Reads the directory of external ones, which blocks.
///
/// # Errors
/// [`AgentError::Directory`] when it cannot be read.
pub fn list(options: &AgentOptions) -> Result<Listing, AgentError> {
    let builtins = builtin_names_and_factors().into_iter().filter(|(name, _)| options.is_enabled(name));
    let mut collectors: Vec<CollectorListing> = builtins
        .map(|(name, every)| CollectorListing {
            name: name.to_owned(),
            source: CollectorSource::Builtin,
            interval: Some(options.interval.saturating_mul(every)),
        })
        .collect();
    let scan = scan_external(options)?;
    collectors.extend(scan.found.into_iter().map(|(name, found)| CollectorListing {
        name,
        source: CollectorSource::External(found.path),
        interval: found.interval,
    }));
    Ok(Listing { collectors, problems: scan.problems })
}

/// The external collectors; none when there is no directory.
pub(crate) fn scan_external(options: &AgentOptions) -> Result<external::Scan, AgentError> {
    match &options.external {
        Some(external) => external::scan(&external.directory)
            .map_err(|source| AgentError::Directory { directory: external.directory.clone(), source }),
        None => Ok(external::Scan::default()),
    }
}

/// Names of the built-in collectors, in the order in which they are listed.
pub(crate) fn builtin_names() -> Vec<&'static str> {
    builtin_names_and_factors().into_iter().map(|(name, _)| name).collect()
}

fn builtin_names_and_factors() -> Vec<(&'static str, u32)> {
    let made = builtin::MAKERS.iter().map(|make| make());
    made.map(|collector| (collector.name(), collector.every())).chain([(own_metrics::NAME, 1)]).collect()
}
