//! Names become addresses here, and addresses that may not be reached end here.

use std::{
    error::Error,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::{AddressKind, PrivateAddresses, TargetError, classify};

/// The future that a [`Lookup`] returns.
pub type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks names up.
pub trait Lookup: Send + Sync {
    /// All addresses of a name, best first.
    fn lookup(&self, name: &str) -> Looking;
}

/// Asks the operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: &str) -> Looking {
        let name = name.to_owned();
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }
}

/// The resolver of the HTTP client: what it returns is what gets connected to, so this is where names are judged.
pub(crate) struct GuardedResolver {
    lookup: Arc<dyn Lookup>,
    private: PrivateAddresses,
}

/// Why a name led nowhere; found again among the causes of the HTTP client's error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error(transparent)]
    Refused(TargetError),
    #[error("{0}")]
    Lookup(String),
}

impl GuardedResolver {
    pub(crate) fn new(lookup: Arc<dyn Lookup>, private: PrivateAddresses) -> Self {
        Self { lookup, private }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let looking = self.lookup.lookup(name.as_str());
        let private = self.private;
        Box::pin(async move {
            let found = looking.await.map_err(|error| boxed(ResolveError::Lookup(error.to_string())))?;
            let allowed = judge(name.as_str(), found, private).map_err(boxed)?;
            let addresses: Addrs = Box::new(allowed.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

fn boxed(error: ResolveError) -> Box<dyn Error + Send + Sync> {
    Box::new(error)
}

/// The addresses that may be reached. Public ones survive beside private ones: a host may have both.
fn judge(name: &str, found: Vec<IpAddr>, private: PrivateAddresses) -> Result<Vec<IpAddr>, ResolveError> {
    if found.is_empty() {
        return Err(ResolveError::Lookup("the name has no address".to_owned()));
    }
    if private == PrivateAddresses::Allow {
        return Ok(found);
    }
    let (public, refused): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|&address| classify(address) == AddressKind::Public);
    match refused.first() {
        Some(&address) if public.is_empty() => Err(ResolveError::Refused(TargetError::PrivateAddress {
            host: name.to_owned(),
            address,
            kind: classify(address),
        })),
        _ => Ok(public),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_answers_survive() {
        let found: Vec<IpAddr> = ["10.0.0.1", "93.184.216.34"].map(|text| text.parse().unwrap()).to_vec();
        let judged = judge("example.com", found.clone(), PrivateAddresses::Refuse).unwrap();
        assert_eq!(judged, ["93.184.216.34".parse::<IpAddr>().unwrap()]);
        assert_eq!(judge("example.com", found.clone(), PrivateAddresses::Allow).unwrap(), found);
        let refused = judge("example.com", found[..1].to_vec(), PrivateAddresses::Refuse);
        assert!(matches!(refused, Err(ResolveError::Refused(TargetError::PrivateAddress { .. }))));
    }
}
