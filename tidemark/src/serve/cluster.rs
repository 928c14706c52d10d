//! A store in a FoundationDB cluster, in a program built with the feature `fdb`.

use std::sync::Arc;

use tidemark_kv::Kv;

use crate::config::{FdbStore, Settings, StoreUrl};

/// What can be said about the setting before the cluster is touched.
pub(crate) fn check(settings: &Settings) -> anyhow::Result<()> {
    match &settings.store {
        StoreUrl::Embedded => Ok(()),
        StoreUrl::Fdb(store) => engine::check(store).map_err(|error| anyhow::anyhow!("setting store: {error}")),
    }
}

/// Loads the client library and connects. Does not wait for the cluster.
pub(crate) fn open(store: &FdbStore) -> anyhow::Result<Arc<dyn Kv>> {
    engine::open(store)
}

#[cfg(feature = "fdb")]
mod engine {
    use std::sync::Arc;

    use tidemark_kv::{FdbKv, FdbNetwork, FdbOptions, KeyPrefix, Kv};

    use crate::config::FdbStore;

    pub(super) fn check(store: &FdbStore) -> anyhow::Result<()> {
        options(store).map(drop)
    }

    pub(super) fn open(store: &FdbStore) -> anyhow::Result<Arc<dyn Kv>> {
        let options = options(store)?;
        let network = FdbNetwork::start(store.library.as_deref())?;
        Ok(Arc::new(FdbKv::open(network, store.cluster_file(), options)?))
    }

    fn options(store: &FdbStore) -> anyhow::Result<FdbOptions> {
        let key_prefix = store.prefix.clone().map(KeyPrefix::new).transpose()?.unwrap_or_default();
        Ok(FdbOptions { key_prefix, ..FdbOptions::default() })
    }
}

#[cfg(not(feature = "fdb"))]
mod engine {
    use std::sync::Arc;

    use anyhow::bail;
    use tidemark_kv::Kv;

    use crate::config::FdbStore;

    pub(super) fn check(store: &FdbStore) -> anyhow::Result<()> {
        open(store).map(drop)
    }

    pub(super) fn open(_store: &FdbStore) -> anyhow::Result<Arc<dyn Kv>> {
        bail!("this program was built without FoundationDB; build it with `--features fdb`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let store = StoreUrl::try_from(text.to_owned()).unwrap();
        check(&Settings { store, ..Settings::default() }).unwrap_err().to_string()
    }

    #[test]
    #[cfg(not(feature = "fdb"))]
    fn a_program_without_the_engine_says_how_to_build_one_with_it() {
        let text = refusal("fdb:some.cluster");
        assert_eq!(text, "setting store: this program was built without FoundationDB; build it with `--features fdb`");
    }

    #[test]
    #[cfg(feature = "fdb")]
    fn a_prefix_that_cannot_be_and_a_library_that_is_not_there_are_named() {
        assert_eq!(refusal("fdb:some.cluster?prefix="), "setting store: the key prefix is empty");
        let StoreUrl::Fdb(store) = StoreUrl::try_from("fdb:c?library=/nowhere/libfdb_c.so".to_owned()).unwrap() else {
            panic!("no cluster");
        };
        let text = open(&store).map(drop).unwrap_err().to_string();
        assert!(text.contains("/nowhere/libfdb_c.so") && text.contains("foundationdb-clients"), "{text}");
    }
}
