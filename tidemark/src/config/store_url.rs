//! Where points are kept, as one setting.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::masked;

/// What a store in a cluster is called.
const FDB: &str = "fdb:";
/// Where FoundationDB's packages put the cluster file.
const CLUSTER_FILE: &str = "/etc/foundationdb/fdb.cluster";
/// Shards that a store may have.
const SHARDS_MAX: u16 = 1_024;

/// Where points are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum StoreUrl {
    /// A file in the data folder.
    Embedded,
    /// A FoundationDB cluster, which several processes use.
    Fdb(FdbStore),
}

/// A store in a FoundationDB cluster: `fdb:CLUSTER_FILE[?prefix=…&shards=…&library=…]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FdbStore {
    /// The cluster file; empty for the place where FoundationDB's packages put it.
    pub(crate) cluster_file: PathBuf,
    /// What all keys begin with.
    pub(crate) prefix: Option<String>,
    /// Shards of a new store; one that exists keeps its number.
    pub(crate) shards: Option<u16>,
    /// FoundationDB's client library, when it is not where the system looks for libraries.
    pub(crate) library: Option<PathBuf>,
}

impl FdbStore {
    /// The cluster file, where FoundationDB's packages put it unless the URL names one.
    #[cfg_attr(not(feature = "fdb"), expect(dead_code, reason = "only who opens a cluster asks"))]
    pub(crate) fn cluster_file(&self) -> &Path {
        if self.cluster_file.as_os_str().is_empty() { Path::new(CLUSTER_FILE) } else { &self.cluster_file }
    }
}

impl TryFrom<String> for StoreUrl {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        match text.strip_prefix(FDB) {
            Some(rest) => Ok(Self::Fdb(parse(rest).with_context(|| format!("`{text}`"))?)),
            None if text == "embedded" => Ok(Self::Embedded),
            None => bail!("expected `embedded` or `fdb:CLUSTER_FILE`, got `{}`", masked(&text)),
        }
    }
}

fn parse(rest: &str) -> anyhow::Result<FdbStore> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut store = FdbStore { cluster_file: path.into(), ..FdbStore::default() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("prefix", prefix)) => store.prefix = Some(prefix.to_owned()),
            Some(("library", library)) => store.library = Some(library.into()),
            Some(("shards", shards)) => match shards.parse() {
                Ok(shards) if (1..=SHARDS_MAX).contains(&shards) => store.shards = Some(shards),
                _ => bail!("shards={shards} is out of range: 1 to {SHARDS_MAX}"),
            },
            _ => bail!("`{pair}` is none of prefix=…, shards=…, library=…"),
        }
    }
    Ok(store)
}

impl From<StoreUrl> for String {
    fn from(url: StoreUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => out.write_str("embedded"),
            Self::Fdb(store) => store.fmt(out),
        }
    }
}

impl fmt::Display for FdbStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{FDB}{}", self.cluster_file.display())?;
        let library = self.library.as_deref().map(Path::display);
        let mut separator = '?';
        let mut option = |name: &str, value: Option<String>| -> fmt::Result {
            if let Some(value) = value {
                write!(out, "{separator}{name}={value}")?;
                separator = '&';
            }
            Ok(())
        };
        option("prefix", self.prefix.clone())?;
        option("shards", self.shards.map(|shards| shards.to_string()))?;
        option("library", library.map(|library| library.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_survives_its_text() {
        for text in [
            "embedded",
            "fdb:",
            "fdb:/etc/foundationdb/fdb.cluster",
            "fdb:c?prefix=team/",
            "fdb:c?prefix=a&shards=16&library=/opt/libfdb_c.so",
        ] {
            assert_eq!(StoreUrl::try_from(text.to_owned()).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expect) in [
            ("hbase", "expected `embedded`"),
            ("fdb:c?shards=0", "1 to 1024"),
            ("fdb:c?shard=4", "`shard=4`"),
            ("fdb:c?prefix", "`prefix`"),
        ] {
            let error = format!("{:#}", StoreUrl::try_from(text.to_owned()).unwrap_err());
            assert!(error.contains(expect), "{error}");
        }
    }
}
