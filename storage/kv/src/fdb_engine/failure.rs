//! What FoundationDB's errors mean to us.

use foundationdb::FdbError;

/// The read version is more than five seconds old.
const TRANSACTION_TOO_OLD: i32 = 1007;
/// Committed or not, and no longer in flight: the client library has made sure of that.
pub(super) const COMMIT_UNKNOWN_RESULT: i32 = 1021;
const TRANSACTION_TOO_LARGE: i32 = 2101;
const KEY_TOO_LARGE: i32 = 2102;
const VALUE_TOO_LARGE: i32 = 2103;
/// Errors of a caller: the client library refuses before anything is sent.
const CALLER_ERRORS: std::ops::Range<i32> = 2000..3000;

/// What is known of a commit that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing was written, and another try may succeed.
    TryAgain,
    /// Nothing was written, because of what the transaction is.
    Refused,
    /// It was written or not.
    Unknown,
}

/// What became of a commit that ended with `error`.
pub(super) fn fate(error: FdbError) -> Fate {
    if error.is_retryable_not_committed() { Fate::TryAgain } else { fate_without_retry(error.code()) }
}

/// Whatever is not known to be harmless may have been written.
fn fate_without_retry(code: i32) -> Fate {
    if CALLER_ERRORS.contains(&code) { Fate::Refused } else { Fate::Unknown }
}

/// Whether a read that failed may be tried again on the same snapshot.
pub(super) fn is_passing(error: FdbError) -> bool {
    error.is_retryable() && !is_too_old(error)
}

pub(super) fn is_too_old(error: FdbError) -> bool {
    error.code() == TRANSACTION_TOO_OLD
}

pub(super) fn is_too_large(error: FdbError) -> bool {
    matches!(error.code(), TRANSACTION_TOO_LARGE | KEY_TOO_LARGE | VALUE_TOO_LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_library_refuses_by_itself_is_known_not_to_be_written() {
        for code in [TRANSACTION_TOO_LARGE, KEY_TOO_LARGE, VALUE_TOO_LARGE, 2000, 2004] {
            assert_eq!(fate_without_retry(code), Fate::Refused, "{code}");
        }
        for code in [COMMIT_UNKNOWN_RESULT, 1031, 1039, 1100, 1101, 4000, 4100] {
            assert_eq!(fate_without_retry(code), Fate::Unknown, "{code}");
        }
    }
}
