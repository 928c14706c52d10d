//! The handle.

use std::{fmt, path::Path, sync::Arc};

use foundationdb::Database;

use super::{
    FdbNetwork, FdbOptions, cluster::Cluster, size_estimate::SizeEstimate, snapshot::FdbSnapshot, transaction,
};
use crate::{BoxFuture, Commit, CommitOutcome, Kv, KvError, KvSnapshot};

/// An ordered key-value store in a FoundationDB cluster. See the [module](super) for how it works.
pub struct FdbKv {
    cluster: Arc<Cluster>,
    size: SizeEstimate,
}

impl FdbKv {
    /// Connects to the cluster that `cluster_file` describes. Does not wait for it: a cluster that does not answer shows at
    /// the first read.
    ///
    /// # Errors
    /// [`KvError::Unavailable`] when the file cannot be read, or the client library makes nothing of it.
    pub fn open(_network: FdbNetwork, cluster_file: &Path, options: FdbOptions) -> Result<Self, KvError> {
        let file = cluster_file.display().to_string();
        let refused =
            |reason: &dyn fmt::Display| KvError::Unavailable(format!("open the cluster file `{file}`: {reason}"));
        // The client library would wait for ever for a file that is not there.
        std::fs::File::open(cluster_file).map_err(|error| refused(&error))?;
        let path = cluster_file.to_str().filter(|path| !path.contains('\0'));
        let path = path.ok_or_else(|| refused(&"its path is not UTF-8 without zero bytes"))?;
        let database = Database::from_path(path).map_err(|error| refused(&error))?;
        Ok(Self { cluster: Arc::new(Cluster { database, file, options }), size: SizeEstimate::default() })
    }
}

impl Kv for FdbKv {
    fn snapshot(&self) -> BoxFuture<'_, Result<Arc<dyn KvSnapshot>, KvError>> {
        Box::pin(async {
            let snapshot = FdbSnapshot::take(&self.cluster).await?;
            Ok(Arc::new(snapshot) as Arc<dyn KvSnapshot>)
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, CommitOutcome> {
        Box::pin(async move { transaction::commit(&self.cluster, &commit).await })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn disk_bytes(&self) -> Option<u64> {
        self.size.bytes(&self.cluster)
    }
}

impl fmt::Debug for FdbKv {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FdbKv").field("file", &self.cluster.file).field("options", &self.cluster.options).finish()
    }
}
