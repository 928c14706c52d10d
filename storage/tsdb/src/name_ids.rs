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

    fn unknown<'a>(&'a self, names: &'a [(NameKind, &'a str)]) -> BoxFuture<'a, Result<Vec<usize>, CatalogError>> {
        Box::pin(async move {
            let unknown = || {
                let index = self.inner.index.read();
                let is_unknown = |(kind, name): &(NameKind, &str)| index.names(*kind).id(name).is_none();
                let positions = names.iter().enumerate().filter(|(_, name)| is_unknown(name));
                positions.map(|(position, _)| position).collect::<Vec<_>>()
            };
            // Names do not go away: only for those that this process does not know must others be asked.
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
}
