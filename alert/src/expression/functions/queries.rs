//! Functions that read series. A row says what to read ([`QueryPlan`]) and what to make of the answers; the reading
//! itself happens once for the whole expression, before anything is evaluated.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidemark_query::SubQuery;

use crate::expression::{
    Group, ValueType,
    duration::{go_text, parse_duration},
    error::EvaluateErrorKind,
    functions::{
        Arguments, Context, Function, Returns, Run, TagRule,
        reductions::{is_reduction, reduce_by_name},
    },
    syntax::Node,
    tag_keys::TagKeys,
    value::{Datum, Item, JoinRules, Series, Set, Value},
    value_type::ArgumentType::{self, Scalar, Text},
};

pub(crate) const FUNCTIONS: &[Function] = &[
    query_function("q", &[Text, Text, Text], ValueType::Series, FROM_TO, plan_from_to, |_, answers| Ok(pool(answers))),
    query_function("change", &[Text, Text, Text], ValueType::Numbers, FROM_TO, plan_from_to, change),
    Function {
        tags: TagRule::None,
        ..query_function("count", &[Text, Text, Text], ValueType::Scalar, FROM_TO, plan_from_to, |_, answers| {
            let groups: usize = answers.iter().map(|set| set.items.len()).sum();
            Ok(Value::Scalar(groups as f64))
        })
    },
    query_function(
        "band",
        &[Text, Text, Text, Scalar],
        ValueType::Series,
        BAND,
        |context, mut arguments| plan_band(context, &mut arguments),
        |_, answers| Ok(unjoined_vanish(pool(answers))),
    ),
    query_function(
        "bandQuery",
        &[Text, Text, Text, Text, Scalar],
        ValueType::Series,
        BAND_FROM,
        plan_band_from,
        |_, answers| Ok(unjoined_vanish(pool(answers))),
    ),
    Function {
        tags: TagRule::Computed(query_keys_and_shift),
        ..query_function(
            "over",
            &[Text, Text, Text, Scalar],
            ValueType::Series,
            BAND,
            |context, mut arguments| Repeat::of(&mut arguments).plan(context, Duration::ZERO, arguments.scalar()?),
            overlay,
        )
    },
    Function {
        tags: TagRule::Computed(query_keys_and_shift),
        ..query_function(
            "overQuery",
            &[Text, Text, Text, Text, Scalar],
            ValueType::Series,
            BAND_FROM,
            plan_band_from,
            overlay,
        )
    },
    Function {
        tags: TagRule::Computed(query_keys_and_shift),
        ..query_function(
            "shiftBand",
            &[Text, Text, Text, Scalar],
            ValueType::Series,
            BAND,
            |context, mut arguments| plan_band(context, &mut arguments),
            overlay,
        )
    },
    query_function(
        "window",
        &[Text, Text, Text, Scalar, Text],
        ValueType::Series,
        WINDOW,
        |context, mut arguments| {
            let mut plan = plan_band(context, &mut arguments)?;
            plan.reduction = arguments.text();
            Ok(plan)
        },
        windows,
    ),
];

/// What to read for one call.
#[derive(Clone, Debug)]
pub(crate) struct QueryPlan {
    /// The text of the query.
    pub(crate) text: Arc<str>,
    pub(crate) query: Arc<SubQuery>,
    pub(crate) windows: Vec<QueryWindow>,
    /// The name of the reduction, for `window`.
    reduction: Arc<str>,
    context: Context,
}

/// A window of time, both ends inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QueryWindow {
    /// Seconds since the epoch.
    pub(crate) start: i64,
    /// Seconds since the epoch.
    pub(crate) end: i64,
    /// How long before now it ends.
    pub(crate) offset: Duration,
}

type Checks = &'static [(usize, super::TextCheck)];
const FROM_TO: Checks = &[(0, check_query), (1, check_duration), (2, check_end)];
const BAND: Checks = &[(0, check_query), (1, check_duration), (2, check_duration)];
const BAND_FROM: Checks = &[(0, check_query), (1, check_duration), (2, check_duration), (3, check_duration)];
const WINDOW: Checks = &[(0, check_query), (1, check_duration), (2, check_duration), (4, check_reduction)];

/// How many windows a call may have.
const WINDOWS_MAX: f64 = 100.0;

const fn query_function(
    name: &'static str,
    arguments: &'static [ArgumentType],
    returns: ValueType,
    checks: Checks,
    plan: fn(&Context, Arguments) -> Result<QueryPlan, EvaluateErrorKind>,
    combine: fn(&QueryPlan, Vec<Set>) -> Result<Value, EvaluateErrorKind>,
) -> Function {
    Function {
        name,
        arguments,
        more: None,
        returns: Returns::Is(returns),
        tags: TagRule::Computed(query_keys),
        checks,
        run: Run::Query { plan, combine },
    }
}

fn check_query(text: &str) -> Result<(), String> {
    SubQuery::parse(text).map(|_| ()).map_err(|error| error.to_string())
}

fn check_duration(text: &str) -> Result<(), String> {
    parse_duration(text).map(|_| ())
}

fn check_end(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { check_duration(text) }
}

fn check_reduction(name: &str) -> Result<(), String> {
    if is_reduction(name) { Ok(()) } else { Err(format!("`{name}` is no reduction function")) }
}

/// Every key in the group-by braces of the query.
fn query_keys(_: &TagKeys, arguments: &[Node]) -> Result<TagKeys, String> {
    let text = arguments.first().and_then(Node::literal_text).unwrap_or_default();
    let query = SubQuery::parse(text).map_err(|error| error.to_string())?;
    Ok(query.group_keys().into_iter().map(str::to_owned).collect())
}

fn query_keys_and_shift(first: &TagKeys, arguments: &[Node]) -> Result<TagKeys, String> {
    let mut keys = query_keys(first, arguments)?;
    keys.insert("shift".to_owned());
    Ok(keys)
}

fn parse_query(text: &str) -> Result<Arc<SubQuery>, EvaluateErrorKind> {
    SubQuery::parse(text).map(Arc::new).map_err(EvaluateErrorKind::function)
}

fn seconds_ago(context: &Context, ago: Duration) -> i64 {
    context.now.saturating_sub(i64::try_from(ago.as_secs()).unwrap_or(i64::MAX))
}

/// `(query, start, end)`: both are durations before now, and no end means now.
fn plan_from_to(context: &Context, mut arguments: Arguments) -> Result<QueryPlan, EvaluateErrorKind> {
    let (text, start, end) = (arguments.text(), arguments.text(), arguments.text());
    let start = parse_duration(&start).map_err(EvaluateErrorKind::Function)?;
    let end = if end.is_empty() { Ok(Duration::ZERO) } else { parse_duration(&end) };
    let end = end.map_err(EvaluateErrorKind::Function)?;
    if start < end {
        return Err(EvaluateErrorKind::function("the start of the query must lie before its end"));
    }
    let window = QueryWindow { start: seconds_ago(context, start), end: seconds_ago(context, end), offset: end };
    let query = parse_query(&text)?;
    Ok(QueryPlan { text, query, windows: vec![window], reduction: Arc::from(""), context: *context })
}

/// `(query, duration, period, count)`: the newest window ends one period before now.
fn plan_band(context: &Context, arguments: &mut Arguments) -> Result<QueryPlan, EvaluateErrorKind> {
    let repeat = Repeat::of(arguments);
    let first_end = repeat.period()?;
    repeat.plan(context, first_end, arguments.scalar()?)
}

/// As [`plan_band`], with the end of the newest window as an argument before the count.
fn plan_band_from(context: &Context, mut arguments: Arguments) -> Result<QueryPlan, EvaluateErrorKind> {
    let repeat = Repeat::of(&mut arguments);
    let first_end = parse_duration(&arguments.text()).map_err(EvaluateErrorKind::Function)?;
    repeat.plan(context, first_end, arguments.scalar()?)
}

/// Windows of one length that recur.
struct Repeat {
    query: Arc<str>,
    duration: Arc<str>,
    period: Arc<str>,
}

impl Repeat {
    /// From the first three arguments.
    fn of(arguments: &mut Arguments) -> Self {
        Self { query: arguments.text(), duration: arguments.text(), period: arguments.text() }
    }

    fn period(&self) -> Result<Duration, EvaluateErrorKind> {
        parse_duration(&self.period).map_err(EvaluateErrorKind::Function)
    }

    /// `count` windows; the first ends `first_end` before now, each other a period before the one before.
    fn plan(self, context: &Context, first_end: Duration, count: f64) -> Result<QueryPlan, EvaluateErrorKind> {
        if !(1.0..=WINDOWS_MAX).contains(&count) {
            return Err(EvaluateErrorKind::function(format_args!("number of windows must be 1 to 100, got {count}")));
        }
        let duration = parse_duration(&self.duration).map_err(EvaluateErrorKind::Function)?;
        let period = self.period()?;
        let window = |index: u32| {
            let offset = first_end.saturating_add(period.saturating_mul(index));
            let start = seconds_ago(context, offset.saturating_add(duration));
            QueryWindow { start, end: seconds_ago(context, offset), offset }
        };
        let windows = (0..count as u32).map(window).collect();
        let query = parse_query(&self.query)?;
        Ok(QueryPlan { text: self.query, query, windows, reduction: Arc::from(""), context: *context })
    }
}

/// The points of equal groups in one series.
fn pool(answers: Vec<Set>) -> Value {
    let mut groups: BTreeMap<Group, Vec<(i64, f64)>> = BTreeMap::new();
    for item in answers.into_iter().flat_map(|set| set.items) {
        if let Datum::Series(series) = item.value {
            groups.entry(item.group).or_default().extend(series.into_points());
        }
    }
    let items = groups.into_iter().map(|(group, points)| Item::new(group, Datum::Series(Series::new(points))));
    Value::Set(Set::from_items(items.collect()))
}

fn unjoined_vanish(value: Value) -> Value {
    let joins = JoinRules { ignore_unjoined: true, ignore_other_unjoined: true, missing: None };
    Value::Set(Set { joins, ..value.into_set() })
}

/// Every window a series of its own, moved so that it ends now, with the distance as tag `shift`.
fn overlay(plan: &QueryPlan, answers: Vec<Set>) -> Result<Value, EvaluateErrorKind> {
    let mut items = Vec::new();
    for (window, set) in plan.windows.iter().zip(answers) {
        let by = i64::try_from(window.offset.as_secs()).unwrap_or(i64::MAX);
        for mut item in set.items {
            let Datum::Series(series) = item.value else { continue };
            let points = series.into_points().into_iter().map(|(stamp, value)| (stamp.saturating_add(by), value));
            item.value = Datum::Series(Series::new(points.collect()));
            item.group.insert("shift", go_text(window.offset));
            items.push(item);
        }
    }
    Ok(unjoined_vanish(Value::Set(Set::from_items(items))))
}

/// One point for each window and group, at the earliest stamp in it.
fn windows(plan: &QueryPlan, answers: Vec<Set>) -> Result<Value, EvaluateErrorKind> {
    let mut groups: BTreeMap<Group, Vec<(i64, f64)>> = BTreeMap::new();
    for item in answers.into_iter().flat_map(|set| set.items) {
        let Datum::Series(series) = item.value else { continue };
        let Some(&(earliest, _)) = series.points().first() else { continue };
        let value = reduce_by_name(&plan.context, &plan.reduction, series)?;
        groups.entry(item.group).or_default().push((earliest, value));
    }
    let items = groups.into_iter().map(|(group, points)| Item::new(group, Datum::Series(Series::new(points))));
    Ok(unjoined_vanish(Value::Set(Set::from_items(items.collect()))))
}

/// The mean rate times the length of the window: how much a counter grew.
fn change(plan: &QueryPlan, answers: Vec<Set>) -> Result<Value, EvaluateErrorKind> {
    let seconds = plan.windows.first().map_or(0, |window| window.end - window.start) as f64;
    let mut items = Vec::new();
    for item in pool(answers).into_set().items {
        let Datum::Series(series) = item.value else { continue };
        if !series.is_empty() {
            let mean = reduce_by_name(&plan.context, "avg", series)?;
            items.push(Item::new(item.group, Datum::Number(mean * seconds)));
        }
    }
    Ok(Value::Set(Set::from_items(items)))
}
