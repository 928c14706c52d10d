//! Opening a store that no server has open.

use std::sync::Arc;

use anyhow::{Context, bail};
use tidemark_kv::{Kv, RedbKv, RedbOptions};

use crate::{
    config::{Settings, StoreUrl},
    serve::{DataFolder, STORE_FILE, open_cluster, take_folder},
};

/// Whether there has to be a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// There is one.
    Existing,
    /// It is made when there is none.
    ExistingOrNew,
}

/// An engine that this process has open.
pub(crate) struct OfflineStore {
    /// The engine.
    pub(crate) kv: Arc<dyn Kv>,
    /// The same, when it is a file.
    pub(crate) file: Option<Arc<RedbKv>>,
    /// Where it is, for people.
    pub(crate) shown: String,
    _folder: Option<DataFolder>,
}

/// Opens the engine that the settings name.
///
/// # Errors
/// When a server has it open, or there is none and has to be one.
pub(crate) async fn open(settings: &Settings, wanted: Wanted, options: RedbOptions) -> anyhow::Result<OfflineStore> {
    let shown = match &settings.store {
        StoreUrl::Embedded => settings.data.join(STORE_FILE).display().to_string(),
        StoreUrl::Fdb(store) => store.to_string(),
    };
    let context = || format!("open the store {shown}");
    if let StoreUrl::Fdb(store) = &settings.store {
        let kv = open_cluster(store).with_context(context)?;
        return Ok(OfflineStore { kv, file: None, shown, _folder: None });
    }
    expect_store(settings, wanted)?;
    let folder = DataFolder::take(&settings.data)?;
    let path = folder.file(STORE_FILE);
    let opened = tokio::task::spawn_blocking(move || RedbKv::open(&path, options)).await?;
    let file = Arc::new(opened.with_context(context)?);
    Ok(OfflineStore { kv: Arc::clone(&file) as _, file: Some(file), shown, _folder: Some(folder) })
}

/// Takes the data folder when the store is in it; the jobs that may wait there are nothing to commands about the store.
///
/// # Errors
/// When a server has it.
pub(crate) fn take_folder_of_store(settings: &Settings) -> anyhow::Result<Option<DataFolder>> {
    match settings.store {
        StoreUrl::Embedded => take_folder(settings, false),
        StoreUrl::Fdb(_) => Ok(None),
    }
}

/// Checks that there is a store, if there has to be one. What a cluster holds is seen when it is opened.
///
/// # Errors
/// When there is none.
pub(crate) fn expect_store(settings: &Settings, wanted: Wanted) -> anyhow::Result<()> {
    let path = settings.data.join(STORE_FILE);
    if settings.store == StoreUrl::Embedded && wanted == Wanted::Existing && !path.is_file() {
        bail!("there is no store {}; name its folder with --data", path.display());
    }
    Ok(())
}

/// Threads for one command.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("start the threads")
}
