//! What writers are told when the engine refuses.

use tidemark_kv::KvError;
use tidemark_model::{RefusalReason, WriteRefusal};

/// The refusal that an engine's error means; `what` was not done.
pub(crate) fn refusal_of(what: &str, error: &KvError) -> WriteRefusal {
    let reason = match error {
        KvError::Full(_) => RefusalReason::DiskFull,
        KvError::Closed => RefusalReason::ShuttingDown,
        KvError::Conflict { .. }
        | KvError::TooLarge { .. }
        | KvError::TooOld
        | KvError::InUse(_)
        | KvError::Corrupt(_)
        | KvError::Unavailable(_) => RefusalReason::Unavailable,
    };
    WriteRefusal::new(reason, format!("{what}: {error}"))
}

/// The refusal of a store that is ending.
pub(crate) fn shutting_down() -> WriteRefusal {
    WriteRefusal::new(RefusalReason::ShuttingDown, "the store is shutting down")
}
