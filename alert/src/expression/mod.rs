//! The expression language: Bosun's, with its types, operators, joins and functions.
//!
//! A text becomes an [`Expression`] once, when a rule is loaded: everything that can be wrong without data is found
//! then, with line and column. [`Expression::evaluate`] then first reads what the queries ask for, and evaluates on a
//! blocking thread without waiting for anything.
//!
//! Where we deviate from Bosun on purpose: regression is centred, so short windows keep their precision; a number of
//! windows outside 1 to 100 is an error rather than nothing; steps are noted in every evaluation, not only in tests.

mod calendar;
mod duration;
mod error;
mod evaluator;
mod fetch;
mod functions;
mod group;
mod join;
mod lexer;
mod limits;
mod operator;
mod parser;
mod position;
mod syntax;
mod tag_keys;
mod value;
mod value_type;

use std::{collections::BTreeSet, sync::Arc};

use tidemark_model::{SeriesReader, TimestampMs};
use tokio_util::sync::CancellationToken;

pub use duration::parse_duration;
pub use error::{EvaluateError, EvaluateErrorKind, ParseError, ParseErrorKind};
pub use group::Group;
pub use limits::ExpressionLimits;
pub use position::Position;
pub use value::{Computation, Datum, Item, Series};
pub use value_type::ValueType;

use evaluator::{Answers, Evaluator};
use fetch::Fetcher;
use functions::Context;
use syntax::Node;

/// An expression that is known to be well-formed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Expression {
    text: Arc<str>,
    root: Arc<Node>,
}

/// How to evaluate.
#[derive(Clone, Copy, Debug)]
pub struct EvaluateOptions {
    /// The moment that the expression is about; cut to whole seconds.
    pub now_ms: TimestampMs,
    /// Members of a set that find no partner vanish, instead of standing beside NaN (`unjoinedOk`).
    pub unjoined_ok: bool,
    /// What a query of a name that was never written is.
    pub unknown_names: UnknownNames,
    /// How much it may do.
    pub limits: ExpressionLimits,
}

impl EvaluateOptions {
    /// Evaluates at this moment, as Bosun does by default.
    #[must_use]
    pub fn at(now_ms: TimestampMs) -> Self {
        Self { now_ms, unjoined_ok: false, unknown_names: UnknownNames::AreErrors, limits: ExpressionLimits::default() }
    }
}

/// What a query of a metric or tag that was never written is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownNames {
    /// An error: probably a slip of the finger.
    #[default]
    AreErrors,
    /// A query without results: the data may come yet.
    AreEmpty,
}

/// What an expression amounts to at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Its static type.
    pub value_type: ValueType,
    /// The members of the result; a scalar has one, without a group.
    pub items: Vec<Item>,
    /// The result of an expression that yields a text.
    pub text: Option<Arc<str>>,
    /// What was read for it.
    pub queries: Vec<QueryRun>,
}

/// A query that was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryRun {
    /// Its text, as OpenTSDB's `m=`.
    pub text: Arc<str>,
    /// First second of its window.
    pub start: i64,
    /// Last second of its window.
    pub end: i64,
}

impl Expression {
    /// Reads a text.
    ///
    /// # Errors
    /// Names line and column of the first place that is wrong, and what was expected there.
    pub fn parse(text: &str, limits: &ExpressionLimits) -> Result<Self, ParseError> {
        let root = parser::parse(text, limits)?;
        Ok(Self { text: Arc::from(text), root: Arc::new(root) })
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it yields.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        self.root.value_type
    }

    /// The tag keys of its groups.
    ///
    /// # Errors
    /// A function says that its groups are impossible.
    pub fn tag_keys(&self) -> Result<BTreeSet<String>, ParseError> {
        tag_keys::of(&self.root).map_err(|error| ParseError {
            position: Position::of(&self.text, error.span.start),
            reason: ParseErrorKind::Argument { function: error.function, reason: error.reason },
        })
    }

    /// Evaluates at a moment.
    ///
    /// # Errors
    /// Names the operation that failed and why; [`EvaluateError::is_transient`] tells whether to try again.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect on anything; work on a blocking thread ends at its next step.
    pub async fn evaluate(
        &self,
        reader: &dyn SeriesReader,
        options: EvaluateOptions,
    ) -> Result<Evaluation, EvaluateError> {
        let stop = CancellationToken::new();
        let _dropped = stop.clone().drop_guard();
        self.evaluate_until(reader, options, &stop).await
    }

    /// Evaluates at a moment, or ends when `stop` fires: soon, at the next block of a series, step or point, and not before
    /// its work on a blocking thread has ended.
    ///
    /// # Errors
    /// As [`Self::evaluate`]; [`EvaluateErrorKind::Interrupted`] when it was stopped.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect on anything; work on a blocking thread goes on until `stop` fires.
    pub async fn evaluate_until(
        &self,
        reader: &dyn SeriesReader,
        options: EvaluateOptions,
        stop: &CancellationToken,
    ) -> Result<Evaluation, EvaluateError> {
        let now = options.now_ms.div_euclid(1000);
        let context = Context { now, unjoined_ok: options.unjoined_ok, limits: options.limits };
        let (answers, queries) = self.fetch(reader, &options, context, stop).await?;
        let (text, root, stop) = (Arc::clone(&self.text), Arc::clone(&self.root), stop.clone());
        let work = move || Evaluator::new(&text, &answers, context, &stop).evaluate(&root);
        let evaluated = on_blocking_thread(work).await;
        let value =
            evaluated.map_err(|reason| EvaluateError { position: Position { line: 1, column: 1 }, reason })??;
        Ok(self.evaluation(value, queries))
    }

    async fn fetch(
        &self,
        reader: &dyn SeriesReader,
        options: &EvaluateOptions,
        context: Context,
        stop: &CancellationToken,
    ) -> Result<(Answers, Vec<QueryRun>), EvaluateError> {
        let mut answers = Answers::new();
        let mut fetcher = Fetcher::new(reader, options, stop);
        for (start, plan) in self.plans(context, stop)? {
            let sets = fetcher.fetch(&plan).await.map_err(|reason| self.error(start, reason))?;
            answers.insert(start, (plan, sets));
        }
        Ok((answers, fetcher.into_runs()))
    }

    /// What every query function reads, by where its call begins.
    fn plans(
        &self,
        context: Context,
        stop: &CancellationToken,
    ) -> Result<Vec<(usize, functions::QueryPlan)>, EvaluateError> {
        let answers = Answers::new();
        let mut evaluator = Evaluator::new(&self.text, &answers, context, stop);
        let mut plans = Vec::new();
        let mut nodes = vec![&*self.root];
        while let Some(node) = nodes.pop() {
            plans.extend(evaluator.plan(node)?.map(|plan| (node.span.start, plan)));
            nodes.extend(node.children().into_iter().rev());
        }
        Ok(plans)
    }

    fn evaluation(&self, value: value::Value, queries: Vec<QueryRun>) -> Evaluation {
        let text = match &value {
            value::Value::Text(text) => Some(Arc::clone(text)),
            _ => None,
        };
        let mut items = value.into_set().items;
        items.iter_mut().for_each(fill_in_group);
        Evaluation { value_type: self.value_type(), items, text, queries }
    }

    fn error(&self, start: usize, reason: EvaluateErrorKind) -> EvaluateError {
        EvaluateError { position: Position::of(&self.text, start), reason }
    }
}

/// Puts the tags of the group into the texts of its computations: `host=*` becomes `host=web01`.
fn fill_in_group(item: &mut Item) {
    for computation in &mut item.computations {
        if computation.text.contains("=*") {
            let mut text = computation.text.to_string();
            for (key, value) in item.group.iter() {
                text = text.replace(&format!("{key}=*"), &format!("{key}={value}"));
            }
            computation.text = Arc::from(text);
        }
    }
}

/// Runs what costs CPU away from the threads that serve connections.
async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EvaluateErrorKind> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(EvaluateErrorKind::Interrupted),
        },
    }
}
