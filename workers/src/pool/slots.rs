//! How many attempts of a queue run at one time. The number may change while they run: what runs goes on, and the next one
//! waits until there is room.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// The slots of one queue.
#[derive(Debug)]
pub(crate) struct Slots {
    limit: AtomicUsize,
    taken: AtomicUsize,
    /// Most that were taken at one time since somebody asked.
    peak: AtomicUsize,
    /// The queue's worker, which alone waits for a slot.
    worker: AtomicWaker,
}

/// The right to run one attempt; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Slots {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit.max(1)),
            taken: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            worker: AtomicWaker::new(),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Acquire)
    }

    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit.max(1), Ordering::Release);
        self.worker.wake();
    }

    /// Whether all are taken.
    pub(crate) fn are_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire) >= self.limit()
    }

    /// Most slots taken at one time since the last call.
    pub(crate) fn take_peak(&self) -> usize {
        self.peak.swap(self.taken.load(Ordering::Acquire), Ordering::AcqRel)
    }

    /// Ready when a slot is free. To be called by one task only.
    pub(crate) fn poll_free(&self, context: &Context<'_>) -> Poll<()> {
        if self.are_taken() {
            // IMPORTANT: register, then look again, or a slot that comes free in between waits for the next one.
            self.worker.register(context.waker());
            if self.are_taken() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Takes a slot, whether or not one is free.
    pub(crate) fn take(self: &Arc<Self>) -> Slot {
        let taken = self.taken.fetch_add(1, Ordering::AcqRel) + 1;
        self.peak.fetch_max(taken, Ordering::AcqRel);
        Slot(Arc::clone(self))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.worker.wake();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;

    #[test]
    fn a_smaller_limit_holds_for_the_next_attempt() {
        let slots = Arc::new(Slots::new(2));
        let waker = noop_waker();
        let context = Context::from_waker(&waker);
        let held: Vec<Slot> = (0..2).map(|_| slots.take()).collect();
        assert!(slots.poll_free(&context).is_pending());
        slots.set_limit(3);
        assert!(slots.poll_free(&context).is_ready());
        slots.set_limit(1);
        let mut held = held;
        held.pop();
        assert!(slots.poll_free(&context).is_pending());
        held.pop();
        assert!(slots.poll_free(&context).is_ready());
        assert_eq!((slots.take_peak(), slots.take_peak()), (2, 0));
    }
}
