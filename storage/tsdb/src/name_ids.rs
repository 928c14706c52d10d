//! The ids of names.

use tidemark_model::{
    BoxFuture, CatalogError, NameIds, NameKind, ReadError, RefusalReason, RenameRefusal, WriteRefusal,
};

use crate::{Store, StoreError, tag_metadata::OldTags};

impl NameIds for Store {
    fn id<'a>(&'a self, kind: NameKind, name: &'a str) -> BoxFuture<'a, Result<Option<u32>, CatalogError>> {
        Box::pin(async move {
            self.inner.follower.catch_up_index().await.map_err(ReadError::from)?;
            Ok(self.inner.index.read().names(kind).id(name))
        })
    }

    fn unknown<'a>(&'a self, names: &'a [(NameKind, &'a str)]) -> BoxFuture<'a, Result<Vec<usize>, CatalogError>> {
        Box::pin(async move {
            let unknown = || {
                let index = self.inner.index.read();
                let is_unknown = |(kind, name): &(NameKind, &str)| index.names(*kind).id(name).is_none();
                let positions = names.iter().enumerate().filter(|(_, name)| is_unknown(name));
                positions.map(|(position, _)| position).collect::<Vec<_>>()
            };
            // Names only go away when they are changed: for those alone that this process does not know must others be
            // asked each time.
            self.look_for_renames().await;
            if unknown().is_empty() {
                return Ok(Vec::new());
            }
            self.inner.follower.catch_up_index().await.map_err(ReadError::from)?;
            Ok(unknown())
        })
    }

    fn name(&self, kind: NameKind, id: u32) -> BoxFuture<'_, Result<Option<String>, CatalogError>> {
        Box::pin(async move {
            self.inner.follower.catch_up_index().await.map_err(ReadError::from)?;
            Ok(self.inner.index.read().names(kind).name(id).map(ToString::to_string))
        })
    }

    fn assign<'a>(&'a self, kind: NameKind, name: &'a str) -> BoxFuture<'a, Result<u32, WriteRefusal>> {
        Box::pin(self.inner.creator.assign(kind, name))
    }

    fn rename<'a>(&'a self, kind: NameKind, old: &'a str, new: &'a str) -> BoxFuture<'a, Result<(), RenameRefusal>> {
        let (store, old, new) = (self.clone(), old.to_owned(), new.to_owned());
        Box::pin(async move {
            // In a task, because the index in memory has to follow what was committed.
            let tracker = store.inner.tracker.clone();
            let renamed = tracker.spawn(async move { store.rename_name(kind, &old, &new).await }).await;
            renamed.unwrap_or_else(|error| Err(RenameRefusal::Unknown(error.to_string())))
        })
    }
}

impl Store {
    /// What is known of the things that a tag names is under their names. It is there under the new one before the name is
    /// changed, and under the old one until it was: nothing is lost when the process dies in between.
    async fn rename_name(&self, kind: NameKind, old: &str, new: &str) -> Result<(), RenameRefusal> {
        let failed = |error: StoreError| {
            let message = format!("the name was not changed: {error}");
            RenameRefusal::Store(WriteRefusal::new(RefusalReason::Unavailable, message))
        };
        self.inner.follower.catch_up_index().await.map_err(failed)?;
        self.inner.creator.check_rename(kind, old, new)?;
        self.rename_tag_metadata(kind, old, new, OldTags::Keep).await.map_err(failed)?;
        self.inner.creator.rename(kind, old, new).await?;
        if let Err(error) = self.rename_tag_metadata(kind, old, new, OldTags::Forget).await {
            tracing::warn!(%error, %kind, old, "what is known under the old name was not forgotten");
        }
        Ok(())
    }
}
