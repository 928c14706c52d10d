//! How many bytes of request bodies are held at once, over all connections.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::error::ApiError;

/// A number of bytes that all bodies together may hold.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    limit: usize,
    held: AtomicUsize,
}

/// The bytes that one request holds; they go back when it is dropped.
#[derive(Debug)]
pub(crate) struct BodyBytes {
    budget: Arc<BodyBudget>,
    bytes: usize,
}

impl BodyBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: AtomicUsize::new(0) }
    }

    /// A request that holds nothing yet.
    pub(crate) fn begin(self: &Arc<Self>) -> BodyBytes {
        BodyBytes { budget: Arc::clone(self), bytes: 0 }
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }
}

impl BodyBytes {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// 503 when all bodies together would exceed the budget: the others will be done soon.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), ApiError> {
        let budget = &self.budget;
        let taken = budget.held.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |held| {
            held.checked_add(bytes).filter(|&sum| sum <= budget.limit)
        });
        match taken {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(_) => Err(ApiError::unavailable(format!(
                "bodies of requests in flight exceed {} bytes; see `limits.body_bytes_in_flight`",
                budget.limit
            ))
            .closing()),
        }
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_back_when_a_request_is_done() {
        let budget = Arc::new(BodyBudget::new(100));
        let mut first = budget.begin();
        first.take(60).unwrap();
        first.take(40).unwrap();
        assert_eq!(budget.begin().take(1).unwrap_err().status(), 503);
        drop(first);
        assert_eq!(budget.held(), 0);
        budget.begin().take(100).unwrap();
    }
}
