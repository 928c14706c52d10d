//! Pushes on behalf of clients that are told within a time whether their points are queued.
//!
//! A broker that answers late has what it was asked to queue, and its client sends it again: so a late broker would get
//! the same points over and over, and get later by that. Therefore only one push at a time finds out whether it is in time
//! again; meanwhile the others are refused without being sent.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tidemark_queue::BrokerError;
use tokio::{sync::Semaphore, time::timeout};

/// Gives up late pushes, see the module's text.
pub(crate) struct PromptPush {
    limit: Duration,
    is_late: AtomicBool,
    /// The turn of the one push that finds out.
    trial: Semaphore,
}

impl PromptPush {
    /// Gives pushes up after `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, is_late: AtomicBool::new(false), trial: Semaphore::new(1) }
    }

    /// What a push is answered in time.
    ///
    /// # Errors
    /// [`BrokerError::Unknown`] when the answer is late, [`BrokerError::Unavailable`] when an earlier one was and it is not
    /// known that this has changed; then the push is not begun.
    pub(crate) async fn run<T>(&self, push: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
        let limit = self.limit;
        let _turn = match self.is_late.load(Ordering::Relaxed) {
            true => Some(self.trial.try_acquire().map_err(|_| {
                BrokerError::Unavailable(format!("it did not answer within {limit:?}; nothing is sent until it does"))
            })?),
            false => None,
        };
        let answer = timeout(limit, push).await;
        match &answer {
            Err(_) if !self.is_late.swap(true, Ordering::Relaxed) => {
                tracing::warn!(?limit, "the broker answers late; writes are refused until it does not");
            }
            // That it is not reached says nothing about its answers.
            Err(_) | Ok(Err(BrokerError::Unavailable(_))) => {}
            Ok(_) if self.is_late.swap(false, Ordering::Relaxed) => tracing::info!("the broker answers in time again"),
            Ok(_) => {}
        }
        answer.unwrap_or_else(|_| Err(BrokerError::Unknown(format!("it has not come within {limit:?}"))))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;

    use super::*;

    fn pushes() -> PromptPush {
        PromptPush::new(Duration::from_millis(20))
    }

    async fn late(pushes: &PromptPush) -> Result<u8, BrokerError> {
        pushes.run(pending()).await
    }

    async fn prompt(pushes: &PromptPush) -> Result<u8, BrokerError> {
        pushes.run(ready(Ok(1))).await
    }

    #[tokio::test]
    async fn while_answers_are_late_one_push_at_a_time_finds_out_and_the_others_are_not_sent() {
        let pushes = pushes();
        assert_eq!(prompt(&pushes).await, Ok(1));
        // It is not known yet: both are sent.
        let (one, other) = tokio::join!(late(&pushes), late(&pushes));
        assert!(matches!((one, other), (Err(BrokerError::Unknown(_)), Err(BrokerError::Unknown(_)))));
        let (trial, refused) = tokio::join!(late(&pushes), prompt(&pushes));
        assert!(matches!(trial, Err(BrokerError::Unknown(_))), "{trial:?}");
        assert!(matches!(refused, Err(BrokerError::Unavailable(_))), "{refused:?}");
        // Its turn is free again, and an answer in time lets everybody in.
        assert_eq!(prompt(&pushes).await, Ok(1));
        assert_eq!(tokio::join!(prompt(&pushes), prompt(&pushes)), (Ok(1), Ok(1)));
    }

    #[tokio::test]
    async fn a_broker_that_is_not_reached_is_as_late_as_it_was() {
        let pushes = pushes();
        let away = || ready(Err::<u8, _>(BrokerError::Unavailable("away".to_owned())));
        assert!(pushes.run(away()).await.is_err());
        assert_eq!(tokio::join!(prompt(&pushes), prompt(&pushes)), (Ok(1), Ok(1)));
        assert!(late(&pushes).await.is_err());
        assert!(pushes.run(away()).await.is_err());
        let (trial, refused) = tokio::join!(late(&pushes), prompt(&pushes));
        assert!(trial.is_err() && refused.is_err(), "{trial:?} {refused:?}");
    }

    #[tokio::test]
    async fn a_trial_whose_client_went_away_leaves_its_turn_to_the_next() {
        let pushes = pushes();
        assert!(late(&pushes).await.is_err());
        assert!(late(&pushes).now_or_never().is_none());
        assert_eq!(prompt(&pushes).await, Ok(1));
    }
}
