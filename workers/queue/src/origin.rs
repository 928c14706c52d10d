//! Who caused a job, carried along by the Tokio task that works on a request or a job, so that no call between the two
//! has to hand it on.

use std::hash::{DefaultHasher, Hash, Hasher};

use tidemark_model::TimestampMs;

use crate::{JobId, TraceId};

tokio::task_local! {
    static ORIGIN: Origin;
}

/// What caused that which runs now. Jobs that are made within [`Origin::scope`] take it over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The request, or the slot of a schedule, that it all began with.
    pub trace: Option<TraceId>,
    /// The job that runs.
    pub job: Option<JobId>,
}

impl Origin {
    /// That of the running Tokio task; nothing outside of a scope.
    #[must_use]
    pub fn current() -> Self {
        ORIGIN.try_with(|origin| *origin).unwrap_or_default()
    }

    /// Runs `future` with this origin. Tasks that it spawns are outside of the scope.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> + use<F> {
        ORIGIN.scope(self, future)
    }
}

impl TraceId {
    /// The trace that begins with a slot of a schedule: the same whoever enqueues it.
    #[must_use]
    pub fn of_slot(schedule: &str, due_ms: TimestampMs) -> Self {
        let half = |half: u8| {
            let mut hasher = DefaultHasher::new();
            (half, schedule, due_ms).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        // All zero means "no trace" to others.
        Self((half(0) << 64 | half(1)).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobKind, NewJob};

    #[tokio::test]
    async fn jobs_made_within_a_scope_know_what_caused_them() {
        let job = || NewJob::from_bytes(JobKind::Notify, bytes::Bytes::new());
        assert_eq!((job().trace, job().parent), (None, None));
        let origin = Origin { trace: Some(TraceId(7)), job: Some(JobId::from_bytes([9; 16])) };
        let made = origin.scope(async { job() }).await;
        assert_eq!((made.trace, made.parent), (origin.trace, origin.job));
        assert_eq!(Origin::current(), Origin::default());
    }

    #[test]
    fn each_slot_begins_a_trace_of_its_own() {
        assert_eq!(TraceId::of_slot("seal", 5), TraceId::of_slot("seal", 5));
        assert_ne!(TraceId::of_slot("seal", 5), TraceId::of_slot("seal", 6));
        assert_ne!(TraceId::of_slot("seal", 5), TraceId::of_slot("sea", 5));
    }
}
