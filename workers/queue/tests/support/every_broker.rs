//! One case on each of the brokers.

use tidemark_queue::{BrokerOptions, RedisOptions};

use super::{Harness, Kind};

/// Starts the broker that a case is to run on.
pub(crate) struct Start {
    pub(crate) kind: Kind,
    /// A Redis that is there; else one of the case's own.
    reached: Option<RedisOptions>,
}

impl Start {
    pub(crate) fn own(kind: Kind) -> Self {
        Self { kind, reached: None }
    }

    pub(crate) fn reaching(redis: RedisOptions) -> Self {
        Self { kind: Kind::Redis, reached: Some(redis) }
    }

    /// `None` when Redis is asked for and not installed.
    pub(crate) async fn harness(&self, options: BrokerOptions) -> Option<Harness> {
        match &self.reached {
            Some(redis) => Some(Harness::reaching(redis.clone(), options)),
            None => Harness::start(self.kind, options).await,
        }
    }
}

/// Makes tests of cases, functions that take a [`Start`]: each on a broker of its own of each kind.
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
