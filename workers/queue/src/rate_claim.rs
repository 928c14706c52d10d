//! Rates that all processes share.

use crate::{BrokerError, Rate};

/// Longest name of a shared rate, in bytes.
pub const RATE_NAME_BYTES_MAX: usize = 256;
/// Most rates of one claim.
const CLAIM_LIMITS_MAX: usize = 8;

/// A rate that all processes share, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Which; 1 to [`RATE_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// How many jobs in a time.
    pub rate: Rate,
}

/// Asks that one job may start now. All of its rates must allow it, or none of them is touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateClaim {
    /// The rates that it is held to.
    pub limits: Vec<RateLimit>,
}

/// Checks what every broker refuses.
pub(crate) fn check_claims(claims: &[RateClaim]) -> Result<(), BrokerError> {
    for claim in claims {
        if claim.limits.len() > CLAIM_LIMITS_MAX {
            let count = claim.limits.len();
            return Err(BrokerError::Invalid(format!(
                "{count} rates for one job, at most {CLAIM_LIMITS_MAX} are allowed"
            )));
        }
        if claim.limits.iter().any(|limit| !(1..=RATE_NAME_BYTES_MAX).contains(&limit.name.len())) {
            return Err(BrokerError::Invalid(format!("the name of a rate has 1 to {RATE_NAME_BYTES_MAX} bytes")));
        }
    }
    Ok(())
}
