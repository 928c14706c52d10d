//! Expressions as trees.

use std::sync::Arc;

use crate::expression::{
    ValueType,
    functions::Function,
    operator::{BinaryOperator, UnaryOperator},
    position::Span,
};

/// A node of the tree. Its type is known before anything is evaluated.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) span: Span,
    pub(crate) value_type: ValueType,
    /// Levels below and including this node.
    pub(crate) depth: usize,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    Number(f64),
    Text(Arc<str>),
    Unary {
        operator: UnaryOperator,
        operand: Box<Node>,
    },
    Binary {
        operator: BinaryOperator,
        left: Box<Node>,
        right: Box<Node>,
    },
    Call {
        function: &'static Function,
        arguments: Vec<Node>,
    },
    /// `expr(…)`, the second argument of `map`.
    Lambda(Box<Node>),
    /// `v()`, the point that `map` is at.
    Point,
}

impl Node {
    /// The nodes right below, in the order of the text.
    pub(crate) fn children(&self) -> Vec<&Self> {
        match &self.kind {
            NodeKind::Number(_) | NodeKind::Text(_) | NodeKind::Point => Vec::new(),
            NodeKind::Unary { operand, .. } | NodeKind::Lambda(operand) => vec![operand],
            NodeKind::Binary { left, right, .. } => vec![left, right],
            NodeKind::Call { arguments, .. } => arguments.iter().collect(),
        }
    }

    /// The text of a literal argument.
    pub(crate) fn literal_text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Text(text) => Some(text),
            _ => None,
        }
    }
}
