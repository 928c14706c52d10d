//! What the program was built from, as the build script found it.

use tidemark_api::BuildInfo;

/// The version, and of release builds the commit and the time; `build.rs` says when these are known.
pub(crate) fn build_info() -> BuildInfo {
    BuildInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: env!("TIDEMARK_BUILT_REVISION").to_owned(),
        branch: env!("TIDEMARK_BUILT_BRANCH").to_owned(),
        status: env!("TIDEMARK_BUILT_STATUS").to_owned(),
        built_at: env!("TIDEMARK_BUILT_TIME").parse().unwrap_or(0),
    }
}
