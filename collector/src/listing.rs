//! Which collectors there are.

use crate::{builtin, own_metrics};

/// Names of the built-in collectors, in the order in which they are listed.
pub(crate) fn builtin_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = builtin::MAKERS.iter().map(|make| make().name()).collect();
    names.push(own_metrics::NAME);
    names
}
