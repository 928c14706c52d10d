//! One case on each of the brokers.

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt, StreamExt, future::LocalBoxFuture, stream};
use tidemark_queue::{BrokerOptions, RedisOptions};

use super::{Harness, Kind};

/// Starts the broker that a case is to run on.
pub(crate) struct Start {
    pub(crate) kind: Kind,
    /// A Redis that is there; else one of the case's own.
    reached: Option<RedisOptions>,
    pads: bool,
}

impl Start {
    pub(crate) fn own(kind: Kind) -> Self {
        Self { kind, reached: None, pads: false }
    }

    pub(crate) fn reaching(redis: RedisOptions) -> Self {
        Self { kind: Kind::Redis, reached: Some(redis), pads: false }
    }

    /// Whose payloads are made large.
    pub(crate) fn padding(self) -> Self {
        Self { pads: true, ..self }
    }

    /// `None` when Redis is asked for and not installed.
    pub(crate) async fn harness(&self, options: BrokerOptions) -> Option<Harness> {
        let harness = match &self.reached {
            Some(redis) => Harness::reaching(redis.clone(), options),
            None => Harness::start(self.kind, options).await?,
        };
        Some(Harness { pads: self.pads, ..harness })
    }
}

/// A case and its name.
pub(crate) type Case = (&'static str, LocalBoxFuture<'static, ()>);

/// Runs cases, some at a time, and tells which of them fail.
pub(crate) async fn run_all(cases: Vec<Case>) {
    let running = cases.into_iter().map(|(name, case)| async move {
        let outcome = AssertUnwindSafe(case).catch_unwind().await;
        outcome.is_err().then_some(name)
    });
    let failed: Vec<&str> =
        stream::iter(running).buffer_unordered(4).filter_map(std::future::ready).collect::<Vec<_>>().await;
    assert!(failed.is_empty(), "{failed:?}");
}

/// Makes tests of cases, functions that take a [`Start`]: each on a broker of its own of each kind, on Redis also with large
/// payloads, and all in one cluster.
macro_rules! on_every_broker {
    ($($case:ident,)*) => {
        mod memory {
            use $crate::support::{Kind, every_broker::Start};
            $(#[tokio::test] async fn $case() { super::$case(Start::own(Kind::Memory)).await; })*
        }
        mod embedded {
            use $crate::support::{Kind, every_broker::Start};
            $(#[tokio::test] async fn $case() { super::$case(Start::own(Kind::Embedded)).await; })*
        }
        mod redis {
            use $crate::support::{Kind, every_broker::Start};
            $(#[tokio::test] async fn $case() { super::$case(Start::own(Kind::Redis)).await; })*
        }
        mod redis_large {
            use $crate::support::{Kind, every_broker::Start};
            $(#[tokio::test] async fn $case() { super::$case(Start::own(Kind::Redis).padding()).await; })*
        }

        /// Every case on a Redis that is there, under a prefix of its own; with large payloads if `pads` says so.
        fn cases(redis: &tidemark_queue::RedisOptions, pads: bool) -> Vec<$crate::support::every_broker::Case> {
            use $crate::support::every_broker::Start;
            let prefixed = |name: &str| {
                let prefix = format!("tidemark:{name}:{pads}");
                let start = Start::reaching(tidemark_queue::RedisOptions { prefix, ..redis.clone() });
                if pads { start.padding() } else { start }
            };
            vec![$((stringify!($case), Box::pin($case(prefixed(stringify!($case)))) as _),)*]
        }

        #[tokio::test]
        async fn every_case_holds_in_a_cluster() {
            let Some(cluster) = $crate::support::cluster::RedisCluster::start(0).await else { return };
            for pads in [false, true] {
                $crate::support::every_broker::run_all(cases(&cluster.options(), pads)).await;
            }
        }
    };
}

/// The harness of a case, which ends here when there is none.
macro_rules! start {
    ($start:expr) => {
        start!($start, $crate::support::options())
    };
    ($start:expr, $options:expr) => {
        match $start.harness($options).await {
            Some(harness) => harness,
            None => return,
        }
    };
}

pub(crate) use {on_every_broker, start};
