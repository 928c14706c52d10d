//! Which tag keys the groups of an expression have, told from its text.
//!
//! Used to refuse operations that can never join, and to see that `warn` and `crit` of a rule are about the same keys.

use std::collections::BTreeSet;

use crate::expression::{
    functions::TagRule,
    position::Span,
    syntax::{Node, NodeKind},
};

/// Tag keys.
pub(crate) type TagKeys = BTreeSet<String>;

/// Why the keys cannot be told.
pub(crate) struct TagKeysError {
    pub(crate) span: Span,
    pub(crate) function: &'static str,
    pub(crate) reason: String,
}

/// The tag keys of a node; empty for what has no group.
pub(crate) fn of(node: &Node) -> Result<TagKeys, TagKeysError> {
    match &node.kind {
        NodeKind::Number(_) | NodeKind::Text(_) | NodeKind::Point | NodeKind::Lambda(_) => Ok(TagKeys::new()),
        NodeKind::Unary { operand, .. } => of(operand),
        NodeKind::Binary { left, right, .. } => {
            let (left, right) = (of(left)?, of(right)?);
            Ok(if left.len() >= right.len() { left } else { right })
        }
        NodeKind::Call { function, arguments } => {
            let first = || arguments.first().map_or_else(|| Ok(TagKeys::new()), of);
            let keys = match function.tags {
                TagRule::None => Ok(TagKeys::new()),
                TagRule::OfFirst => return first(),
                TagRule::OfFirstAnd(key) => {
                    let mut keys = first()?;
                    keys.insert(key.to_owned());
                    return Ok(keys);
                }
                TagRule::Computed(compute) => compute(&first()?, arguments),
            };
            keys.map_err(|reason| TagKeysError { span: node.span.clone(), function: function.name, reason })
        }
    }
}

/// The keys of a list `k1,k2`; the empty text is the empty list.
pub(crate) fn of_list(text: &str) -> TagKeys {
    text.split(',').map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect()
}
