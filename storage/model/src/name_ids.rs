//! The ids of names.

use thiserror::Error;

use crate::{BoxFuture, CatalogError, NameError, NameKind, WriteRefusal};

/// Knows the ids of names, of which the ids of series are put together. Ids begin at 1 in each kind and never change; what
/// they are called may.
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

    /// Gives what is called `old` another name, durably. Everything that was written stays and is found under the new
    /// name, with the ids that it had; the old name is free, and who writes it again makes something new. Values that a
    /// metric has in other spaces go with it.
    ///
    /// # Errors
    /// Why nothing was changed; [`RenameRefusal::Unknown`] when even that cannot be told.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the change.
    fn rename<'a>(&'a self, kind: NameKind, old: &'a str, new: &'a str) -> BoxFuture<'a, Result<(), RenameRefusal>>;
}

/// Why a name was not changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RenameRefusal {
    /// Nothing has the old name.
    #[error("nothing has the old name")]
    NoSuchName,
    /// Something else has the new name.
    #[error("the new name is taken by id {id}")]
    Taken {
        /// Its id.
        id: u32,
    },
    /// The new name cannot be kept.
    #[error("the new name is not allowed")]
    Illegal(#[source] NameError),
    /// The store takes no changes now.
    #[error("{0}")]
    Store(WriteRefusal),
    /// The name may be changed or not: asking for the old and the new one tells.
    #[error("it is not known whether the name was changed: {0}")]
    Unknown(String),
}
