//! What every page needs besides its own content.

use serde::Serialize;

/// What every page needs besides its own content.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PageContext {
    /// The nonce of [`crate::content_security_policy`], fresh for each answer: at least 128 random bits in base64 or hex.
    pub nonce: String,
    /// The token that the page's scripts send back in `X-Tidemark-Csrf` with every action.
    pub csrf_token: String,
    /// The name of this installation, shown beside the logo; empty shows none.
    pub installation: String,
    /// Version of the binary, for the footer.
    pub version: String,
    /// When the page was rendered, in milliseconds since the epoch; ages are counted from it.
    pub now_ms: i64,
    /// The address that clients reach this server at, such as `http://127.0.0.1:4242`, for commands to copy.
    pub base_url: String,
    /// Problems to count in the navigation bar.
    pub problems: ProblemCount,
}

/// How many open incidents there are, by the worse of their statuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProblemCount {
    /// Open incidents whose current status is critical.
    pub critical: u32,
    /// … warning.
    pub warning: u32,
    /// … unknown.
    pub unknown: u32,
}
