//! The ids of names.

use crate::{BoxFuture, CatalogError, NameKind, WriteRefusal};

/// Knows the ids of names, of which the ids of series are put together. Ids begin at 1 in each kind and never change.
pub trait NameIds: Send + Sync {
    /// The id of a name; none when it was never written nor given one.
    fn id<'a>(&'a self, kind: NameKind, name: &'a str) -> BoxFuture<'a, Result<Option<u32>, CatalogError>>;

    /// The positions of those names that were never written nor given an id.
    fn unknown<'a>(&'a self, names: &'a [(NameKind, &'a str)]) -> BoxFuture<'a, Result<Vec<usize>, CatalogError>>;

    /// The name of an id.
    fn name(&self, kind: NameKind, id: u32) -> BoxFuture<'_, Result<Option<String>, CatalogError>>;

    /// Gives a name an id, durably, before its first point does; the one that it has when it has one. The caller checked
    /// that it is a name.
    ///
    /// # Errors
    /// When all ids are given away, or the store takes no writes now; nothing was changed then.
    fn assign<'a>(&'a self, kind: NameKind, name: &'a str) -> BoxFuture<'a, Result<u32, WriteRefusal>>;
}
