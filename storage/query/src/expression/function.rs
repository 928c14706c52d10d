//! Functions over series, in Graphite's manner: `scale(sum:os.cpu{host=*},10)`.

use std::fmt;

use super::{formula_value::Operator, highest::Rank, moving_average::Window};
use crate::{Interval, SubQuery};

/// A function with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FunctionCall {
    pub(super) function: Function,
    /// At least one.
    pub(super) arguments: Vec<Argument>,
}

/// What a function is applied to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    Call(FunctionCall),
    SubQuery {
        text: String,
        sub_query: Box<SubQuery>,
        /// Position among the sub-queries that are read.
        source: usize,
    },
}

/// A function with its constants.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Function {
    /// Every value times a factor.
    Scale(f64),
    /// Every value without its sign.
    Absolute,
    /// One value of those of all arguments.
    Combine(Operator),
    /// The highest series, and how many.
    Highest(Rank, usize),
    /// The mean over a window that ends at each point, and the text of the window.
    MovingAverage(Window, String),
    /// Another name, and no tags.
    Alias(String),
    /// Earlier points, shown later.
    TimeShift(Interval),
    /// Every value minus the one before.
    FirstDifference,
}

/// Every name of a function, with a word for which function it is. Of several names of one, the first is written.
pub(super) const NAMES: [(&str, Kind); 17] = [
    ("scale", Kind::Scale),
    ("absolute", Kind::Absolute),
    ("sum", Kind::Combine(Operator::Add)),
    ("sumSeries", Kind::Combine(Operator::Add)),
    ("difference", Kind::Combine(Operator::Subtract)),
    ("diffSeries", Kind::Combine(Operator::Subtract)),
    ("multiply", Kind::Combine(Operator::Multiply)),
    ("multiplySeries", Kind::Combine(Operator::Multiply)),
    ("divide", Kind::Combine(Operator::Divide)),
    ("divideSeries", Kind::Combine(Operator::Divide)),
    ("highestMax", Kind::Highest(Rank::Max)),
    ("highestCurrent", Kind::Highest(Rank::Current)),
    ("movingAverage", Kind::MovingAverage),
    ("alias", Kind::Alias),
    ("timeShift", Kind::TimeShift),
    ("shift", Kind::TimeShift),
    ("firstDiff", Kind::FirstDifference),
];

/// Which function, without its constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scale,
    Absolute,
    Combine(Operator),
    Highest(Rank),
    MovingAverage,
    Alias,
    TimeShift,
    FirstDifference,
}

impl Function {
    fn kind(&self) -> Kind {
        match self {
            Self::Scale(_) => Kind::Scale,
            Self::Absolute => Kind::Absolute,
            Self::Combine(operator) => Kind::Combine(*operator),
            Self::Highest(rank, _) => Kind::Highest(*rank),
            Self::MovingAverage(..) => Kind::MovingAverage,
            Self::Alias(_) => Kind::Alias,
            Self::TimeShift(_) => Kind::TimeShift,
            Self::FirstDifference => Kind::FirstDifference,
        }
    }
}

impl fmt::Display for FunctionCall {
    /// Writes a text that reads as the same call.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.function.kind();
        let name = NAMES.iter().find(|(_, candidate)| *candidate == kind).map_or("", |(name, _)| name);
        write!(out, "{name}(")?;
        for (position, argument) in self.arguments.iter().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            match argument {
                Argument::Call(call) => write!(out, "{comma}{call}")?,
                Argument::SubQuery { text, .. } => write!(out, "{comma}{text}")?,
            }
        }
        match &self.function {
            Function::Scale(factor) => write!(out, ",{factor:?}")?,
            Function::Highest(_, count) => write!(out, ",{count}")?,
            Function::MovingAverage(_, text) | Function::Alias(text) => write!(out, ",{text}")?,
            Function::TimeShift(interval) => write!(out, ",'{interval}'")?,
            Function::Absolute | Function::Combine(_) | Function::FirstDifference => {}
        }
        out.write_str(")")
    }
}
