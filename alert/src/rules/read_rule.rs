//! A `[[rule]]` of a file becomes a [`Rule`].

use std::time::Duration;

use crate::{
    excerpt::excerpt,
    expression::{Expression, ExpressionLimits, UnknownNames, ValueType},
    rules::{NanPolicy, Routes, Rule, RuleOrigin, UnknownPolicy, Variables, section::Section, variables::expand},
    template::{Escape, Template},
};

const EVERY_DEFAULT: Duration = Duration::from_secs(60);
const EVERY_MIN: Duration = Duration::from_secs(1);
const SUBJECT_DEFAULT: &str = "{{ status }}: {{ key }}";
const NAME_BYTES_MAX: usize = 100;

/// Reads a rule; mistakes go to the section's problems, and then there may be no rule.
pub(crate) fn read_rule(section: Section<'_>, origin: RuleOrigin, limits: &ExpressionLimits) -> Option<Rule> {
    let name = read_name(&section);
    let variables = section.table_of_texts("vars").unwrap_or_default();
    let (warn, crit) =
        (read_expression(&section, "warn", &variables, limits), read_expression(&section, "crit", &variables, limits));
    let enabled = section.flag("enabled").unwrap_or(true);
    if enabled && !section.has("warn") && !section.has("crit") {
        section.problem("", "a rule needs `warn` or `crit`");
    }
    check_expressions(&section, warn.as_ref(), crit.as_ref());
    let every = section.duration("every").unwrap_or(EVERY_DEFAULT);
    if every < EVERY_MIN {
        section.problem("every", format!("must be at least {EVERY_MIN:?}, got {every:?}"));
    }
    let rule = Rule {
        description: section.text("description").unwrap_or_default(),
        origin,
        enabled,
        warn,
        crit,
        labels: section.table_of_texts("labels").unwrap_or_default(),
        every,
        hold: read_hold(&section, every),
        unknown_after: section.duration("unknown_after").unwrap_or(every.saturating_mul(2)),
        unknown: section.choice("unknown", UNKNOWN).unwrap_or_default(),
        nan: section.choice("nan", NAN).unwrap_or_default(),
        unjoined_ok: section.flag("unjoined_ok").unwrap_or_default(),
        unknown_names: section.choice("missing_metric", MISSING).unwrap_or_default(),
        close_after: section.duration("close_after"),
        notify: read_routes(&section),
        subject: read_template(&section, "subject").unwrap_or_else(subject_default),
        body: read_template(&section, "body"),
        name: name.unwrap_or_default(),
        variables,
    };
    section.finish();
    Some(rule).filter(|rule| !rule.name.is_empty())
}

const UNKNOWN: &[(&str, UnknownPolicy)] =
    &[("incident", UnknownPolicy::Incident), ("normal", UnknownPolicy::Normal), ("ignore", UnknownPolicy::Ignore)];
const NAN: &[(&str, NanPolicy)] = &[("abnormal", NanPolicy::Abnormal), ("normal", NanPolicy::Normal)];
const MISSING: &[(&str, UnknownNames)] = &[("error", UnknownNames::AreErrors), ("no_data", UnknownNames::AreEmpty)];

/// The name of a rule or a notification.
pub(crate) fn read_name(section: &Section<'_>) -> Option<String> {
    let name = section.text("name");
    let legal = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-' | '.');
    match &name {
        None => section.problem("name", "a name is missing"),
        Some(name) if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(legal) => {
            section.problem("name", format!("must be 1 to {NAME_BYTES_MAX} bytes of letters, digits, `_`, `-` and `.`"))
        }
        Some(_) => return name,
    }
    None
}

fn read_expression(
    section: &Section<'_>,
    field: &'static str,
    variables: &Variables,
    limits: &ExpressionLimits,
) -> Option<Expression> {
    let text = section.text(field)?;
    let parsed = expand(text.trim(), variables, limits.text_bytes_max).and_then(|text| {
        Expression::parse(&text, limits).map_err(|error| format!("{error} in `{}`", excerpt(&text, 300)))
    });
    parsed.map_err(|reason| section.problem(field, reason)).ok()
}

/// Both must yield a number, and be about the same tag keys.
fn check_expressions(section: &Section<'_>, warn: Option<&Expression>, crit: Option<&Expression>) {
    let mut keys = None;
    for (field, expression) in [("warn", warn), ("crit", crit)] {
        let Some(expression) = expression else { continue };
        if !matches!(expression.value_type(), ValueType::Scalar | ValueType::Numbers) {
            let found = expression.value_type();
            section.problem(
                field,
                format!("must yield a number or a scalar, got {found}; reduce it, for example with `avg`"),
            );
        }
        match expression.tag_keys() {
            Err(error) => section.problem(field, error.to_string()),
            Ok(found) => match &keys {
                Some(before) if *before != found => {
                    section.problem(
                        field,
                        format!(
                            "`warn` is about the tag keys {before:?} and `crit` about {found:?}; they must be equal"
                        ),
                    );
                }
                _ => keys = Some(found),
            },
        }
    }
}

fn read_hold(section: &Section<'_>, every: Duration) -> Duration {
    let hold = section.duration("for").unwrap_or_default();
    if !hold.is_zero() && hold < every {
        section.problem("for", format!("must be at least one evaluation interval ({every:?}), got {hold:?}"));
    }
    hold
}

/// `notify` is for every severity; the others replace it for theirs. Without `unknown_notify` the critical ones hear of
/// the unknown, and the warned ones where there are none: in Bosun a rule with a warning alone told nobody.
fn read_routes(section: &Section<'_>) -> Routes {
    let all = section.texts("notify").unwrap_or_default();
    let warning = section.texts("warn_notify").unwrap_or_else(|| all.clone());
    let critical = section.texts("crit_notify").unwrap_or(all);
    let fallback = if critical.is_empty() { warning.clone() } else { critical.clone() };
    let unknown = section.texts("unknown_notify").unwrap_or(fallback);
    Routes { warning, critical, unknown }
}

fn read_template(section: &Section<'_>, field: &'static str) -> Option<Template> {
    let source = section.text(field)?;
    Template::parse(source.trim(), Escape::None).map_err(|error| section.problem(field, error.to_string())).ok()
}

#[expect(clippy::expect_used, reason = "the text is part of the program, and every test reads it")]
fn subject_default() -> Template {
    Template::parse(SUBJECT_DEFAULT, Escape::None).expect("the built-in subject is well-formed")
}
