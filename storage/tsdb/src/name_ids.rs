//! The ids of names.

use tidemark_model::{BoxFuture, CatalogError, NameIds, NameKind, ReadError, WriteRefusal};

use crate::Store;

impl NameIds for Store {
    fn id<'a>(&'a self, kind: NameKind, name: &'a str) -> BoxFuture<'a, Result<Option<u32>, CatalogError>> {
        Box::pin(async move {
            self.inner.follower.catch_up_index().await.map_err(ReadError::from)?;
            Ok(self.inner.index.read().names(kind).id(name))
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
}
