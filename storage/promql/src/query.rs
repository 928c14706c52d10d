//! A query: an expression and when it is evaluated.

use tidemark_model::{SeriesKey, SeriesSelector, TagMatch, TagPredicate, TimeRange};

use crate::{
    Labels, Matcher,
    control::{Control, Statistics},
    error::QueryError,
    eval,
    matcher::MatchKind,
    selected::SelectedSeries,
    steps::Steps,
    syntax::{At, Expression, ValueType, When},
};

/// How long a point counts as the newest one where nobody says otherwise: five minutes.
pub const LOOKBACK_DEFAULT_MS: i64 = 300_000;
/// The step of subqueries that have none: a minute, Prometheus' default.
const SUBQUERY_STEP_MS: i64 = 60_000;

/// An expression and when it is evaluated.
#[derive(Clone, Debug)]
pub struct Query {
    expression: Expression,
    steps: Steps,
    /// Whether it is about moments of a range, and not about one.
    is_range: bool,
    lookback: i64,
}

/// The series of one selector, and which of their points are needed.
#[derive(Clone, Debug)]
pub struct SeriesRead {
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// The points.
    pub range: TimeRange,
}

/// Which metrics a selector is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricChoice {
    /// This one.
    One(String),
    /// Those for which [`SeriesRead::accepts_metric`] holds.
    Some,
    /// Every metric.
    Every,
}

/// What a query gives.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A number.
    Scalar(f64),
    /// A text.
    Text(String),
    /// One value for each series.
    Vector(Vec<(Labels, f64)>),
    /// Points of each series.
    Matrix(Vec<PointSeries>),
}

/// Points of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct PointSeries {
    /// Its labels.
    pub labels: Labels,
    /// When, in milliseconds since the epoch, and what.
    pub points: Vec<(i64, f64)>,
}

impl Query {
    /// A query about one moment. `lookback` is how long, in milliseconds, a point counts as the newest one.
    #[must_use]
    pub fn instant(expression: Expression, time: i64, lookback: i64) -> Self {
        Self { expression, steps: Steps::one(time), is_range: false, lookback }
    }

    /// A query about moments of a range.
    ///
    /// # Errors
    /// When its expression has no value for a moment: it is a text or has points in ranges.
    pub fn range(expression: Expression, steps: Steps, lookback: i64) -> Result<Self, String> {
        let found = expression.value_type();
        if !matches!(found, ValueType::Scalar | ValueType::Vector) {
            let name = found.name();
            return Err(format!("invalid expression type {name:?} for range query, must be Scalar or instant Vector"));
        }
        Ok(Self { expression, steps, is_range: true, lookback })
    }

    /// What must be read, one for each selector of the expression in order.
    #[must_use]
    pub fn reads(&self) -> Vec<SeriesRead> {
        let mut reads = Vec::new();
        self.add_reads(&self.expression, (self.steps.start(), self.steps.last()), &mut reads);
        reads
    }

    fn add_reads(&self, expression: &Expression, window: (i64, i64), reads: &mut Vec<SeriesRead>) {
        let mut add = |selector: &crate::Selector, back: i64| {
            let (first, last) = self.moments(selector.when, window);
            // The point at the beginning of a range is not in it.
            let range = TimeRange::inclusive(first.saturating_sub(back).saturating_add(1), last);
            reads.push(SeriesRead { matchers: selector.matchers.clone(), range });
        };
        match expression {
            Expression::Selector(selector) => add(selector, self.lookback),
            Expression::Range(selector, range) => add(selector, *range),
            Expression::Subquery(subquery) => {
                let (first, last) = self.moments(subquery.when, window);
                self.add_reads(&subquery.expression, (first.saturating_sub(subquery.range), last), reads);
            }
            other => other.children().into_iter().for_each(|child| self.add_reads(child, window, reads)),
        }
    }

    /// The first and the last moment that something is about which is evaluated in this window.
    fn moments(&self, when: When, (first, last): (i64, i64)) -> (i64, i64) {
        let fixed = when.at.map(|at| self.moment(at));
        let shifted = |moment: i64| fixed.unwrap_or(moment).saturating_sub(when.offset);
        (shifted(first), shifted(last))
    }

    pub(crate) fn moment(&self, at: At) -> i64 {
        match at {
            At::Time(time) => time,
            At::Start => self.steps.start(),
            At::End => self.steps.end(),
        }
    }

    pub(crate) fn lookback(&self) -> i64 {
        self.lookback
    }

    pub(crate) fn subquery_step(step: Option<i64>) -> i64 {
        step.unwrap_or(SUBQUERY_STEP_MS)
    }

    /// Computes the answer from the series that were read, one for each of [`Self::reads`]. Takes CPU alone; on a blocking
    /// thread when there is much to decode.
    ///
    /// # Errors
    /// [`QueryError::Execution`] when the values allow no answer; a `TooMany…` at a limit, [`QueryError::Cancelled`] when
    /// the control says so.
    pub fn evaluate(
        &self,
        series: &[SelectedSeries<'_>],
        control: &Control<'_>,
    ) -> Result<(Answer, Statistics), QueryError> {
        eval::evaluate(self, &self.expression, self.steps, series, control)
    }

    pub(crate) fn is_range(&self) -> bool {
        self.is_range
    }
}

impl SeriesRead {
    /// The conditions of `match[]`, for points in a range.
    #[must_use]
    pub fn new(matchers: Vec<Matcher>, range: TimeRange) -> Self {
        Self { matchers, range }
    }

    /// Which metrics it is about.
    #[must_use]
    pub fn metrics(&self) -> MetricChoice {
        let mut choice = MetricChoice::Every;
        for matcher in self.matchers.iter().filter(|matcher| matcher.is_of_metric()) {
            if matcher.kind == MatchKind::Equal && !matcher.value.is_empty() {
                return MetricChoice::One(matcher.value.clone());
            }
            choice = MetricChoice::Some;
        }
        choice
    }

    /// Whether a metric fulfils all conditions that are about it.
    #[must_use]
    pub fn accepts_metric(&self, metric: &str) -> bool {
        self.matchers.iter().filter(|matcher| matcher.is_of_metric()).all(|matcher| matcher.matches(metric))
    }

    /// Whether a series fulfils all conditions.
    #[must_use]
    pub fn accepts(&self, key: &SeriesKey) -> bool {
        self.accepts_metric(key.metric())
            && self
                .matchers
                .iter()
                .filter(|matcher| !matcher.is_of_metric())
                .all(|matcher| matcher.matches(key.tag(&matcher.name).unwrap_or_default()))
    }

    /// Whether [`Self::selector`] may select series that do not fulfil all conditions: those that a series without the label
    /// fulfils, such as `host!="a"`, are no question to the index.
    #[must_use]
    pub fn is_narrower_than_its_selector(&self) -> bool {
        self.matchers.iter().any(|matcher| !matcher.is_of_metric() && matcher.matches(""))
    }

    /// What the index can tell of the conditions: series that do not fulfil all of them may be among those selected, none
    /// that does is missing. A name that nobody wrote makes the store refuse it, which means that there is no such series.
    #[must_use]
    pub fn selector(&self, metric: Option<String>) -> SeriesSelector {
        let needs_tag = |matcher: &&Matcher| !matcher.is_of_metric() && !matcher.matches("");
        let predicates = self.matchers.iter().filter(needs_tag).map(|matcher| {
            let matches = if matcher.kind == MatchKind::Equal {
                TagMatch::OneOf(vec![matcher.value.clone()])
            } else {
                let matcher = matcher.clone();
                TagMatch::Where(std::sync::Arc::new(move |value: &str| matcher.matches(value)))
            };
            TagPredicate { key: matcher.name.clone(), matches }
        });
        SeriesSelector::Tags { metric, predicates: predicates.collect(), exact_keys: false }
    }
}
