//! Rates that all workers of a broker share: of a kind, of each key of a kind, of one key of it.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use tidemark_queue::{JobKind, JobRecord, Rate, RateClaim, RateLimit};

/// Bytes of a key that count.
const KEY_BYTES_MAX: usize = 200;

/// What a rate holds: `notify` all jobs of the kind together, `notify:*` those of each key, `notify:mail` those of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateScope {
    /// The kind of job.
    pub kind: JobKind,
    keys: Keys,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Keys {
    All,
    Each,
    One(String),
}

/// A text is no scope of a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no scope of a rate: it is a kind of job, such as `notify`, or `notify:*` for each key, or `notify:KEY`"
)]
pub struct RateScopeError(String);

impl FromStr for RateScope {
    type Err = RateScopeError;

    fn from_str(text: &str) -> Result<Self, RateScopeError> {
        let wrong = || RateScopeError(text.chars().take(64).collect());
        let (kind, keys) = match text.split_once(':') {
            None => (text, Keys::All),
            Some((kind, "*")) => (kind, Keys::Each),
            Some((_, "")) => return Err(wrong()),
            Some((kind, key)) => (kind, Keys::One(key.to_owned())),
        };
        Ok(Self { kind: kind.parse().map_err(|_| wrong())?, keys })
    }
}

impl fmt::Display for RateScope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.keys {
            Keys::All => write!(out, "{}", self.kind),
            Keys::Each => write!(out, "{}:*", self.kind),
            Keys::One(key) => write!(out, "{}:{key}", self.kind),
        }
    }
}

/// One rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRate {
    /// Which jobs.
    pub scope: RateScope,
    /// How many of them start in a time.
    pub rate: Rate,
}

/// All shared rates. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SharedRates {
    rates: Arc<[SharedRate]>,
}

impl SharedRates {
    /// These rates. Of one key, a rate of that key counts in the place of that of each key.
    #[must_use]
    pub fn new(rates: Vec<SharedRate>) -> Self {
        Self { rates: rates.into() }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }

    /// The rates that a job is held to.
    pub(crate) fn claim_of(&self, job: &JobRecord) -> RateClaim {
        let of_kind = || self.rates.iter().filter(|rate| rate.scope.kind == job.kind);
        let whole = of_kind().find(|rate| rate.scope.keys == Keys::All);
        let keyed = job.rate_key.as_deref().map(shortened).and_then(|key| {
            let is_key = |rate: &&SharedRate| matches!(&rate.scope.keys, Keys::One(one) if shortened(one) == key);
            let rate = of_kind().find(is_key).or_else(|| of_kind().find(|rate| rate.scope.keys == Keys::Each))?;
            Some(RateLimit { name: format!("{}:{key}", job.kind), rate: rate.rate })
        });
        let whole = whole.map(|rate| RateLimit { name: job.kind.to_string(), rate: rate.rate });
        RateClaim { limits: whole.into_iter().chain(keyed).collect() }
    }

    /// The longest time between two jobs that a claim leaves.
    pub(crate) fn step_of(claim: &RateClaim) -> Duration {
        let step = |limit: &RateLimit| limit.rate.period / limit.rate.jobs.get();
        claim.limits.iter().map(step).max().unwrap_or_default()
    }
}

fn shortened(key: &str) -> &str {
    key.get(..key.floor_char_boundary(KEY_BYTES_MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tidemark_queue::NewJob;

    use super::*;

    fn rates(texts: &[(&str, &str)]) -> SharedRates {
        let rate =
            |(scope, rate): &(&str, &str)| SharedRate { scope: scope.parse().unwrap(), rate: rate.parse().unwrap() };
        SharedRates::new(texts.iter().map(rate).collect())
    }

    #[tokio::test]
    async fn a_job_is_held_to_the_rate_of_its_kind_and_of_its_key() {
        use tidemark_queue::{Broker, BrokerOptions, FetchRequest, MemoryBroker, WorkerId};
        let rates = rates(&[("notify", "5/s"), ("notify:*", "2/s"), ("notify:pager", "1/m"), ("collect", "9/s")]);
        let clock = Arc::new(tidemark_model::ManualClock::new(0));
        let broker = MemoryBroker::new(BrokerOptions::default(), clock, 1);
        let job = || NewJob::from_bytes(JobKind::Notify, "x".into());
        let long = "\u{e9}".repeat(150);
        let keyed = ["mail", "pager", long.as_str()].map(|key| job().with_rate_key(key));
        broker.push([vec![job()], keyed.to_vec()].concat()).await.unwrap();
        let queues = vec![JobKind::Notify.default_queue()];
        let request = FetchRequest { worker: WorkerId::new("w"), queues, max: 9, wait: Duration::ZERO };
        let claims: Vec<String> = broker
            .fetch(request)
            .await
            .unwrap()
            .iter()
            .map(|delivery| {
                let claim = rates.claim_of(&delivery.job);
                let limits = claim.limits.iter().map(|limit| format!("{} {}", limit.name, limit.rate));
                limits.collect::<Vec<_>>().join(", ")
            })
            .collect();
        let cut = "\u{e9}".repeat(100);
        assert_eq!(
            claims,
            [
                "notify 5/s".to_owned(),
                "notify 5/s, notify:mail 2/s".to_owned(),
                "notify 5/s, notify:pager 1/m".to_owned(),
                format!("notify 5/s, notify:{cut} 2/s"),
            ]
        );
    }

    #[test]
    fn scopes_are_read_and_shown() {
        for text in ["notify", "notify:*", "collect:shop:8080"] {
            assert_eq!(text.parse::<RateScope>().unwrap().to_string(), text);
        }
        for wrong in ["", "email", "notify:", "*"] {
            assert!(wrong.parse::<RateScope>().is_err(), "{wrong}");
        }
    }
}
