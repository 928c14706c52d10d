//! Texts with places to fill in: subjects and bodies of notifications.
//!
//! Rule files are written by people who may not be trusted with the machine, so a template may cost only so much: it
//! can choose, loop and print but make no new values ([`allowed`]), steps are counted as fuel, and the bytes of output
//! are limited. Filters exist by permission: those that blow a short text up (`format`, `indent`, `center`, `replace`,
//! `join`, …) are not there at all. Names that do not exist are errors, so that a slip of the finger is found when the
//! rule is loaded and not in the night.

mod allowed;

use std::{
    io::{self, Write},
    sync::{Arc, OnceLock},
};

use minijinja::{
    AutoEscape, Environment, ErrorKind, UndefinedBehavior, filters, functions, tests,
    value::{Serde, Value},
};
use serde::Serialize;
use thiserror::Error;

/// Bytes that a template may have.
pub const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// Bytes that a template may render to.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Steps and bytes of intermediate values that a rendering may cost.
const FUEL: u64 = 500_000;
/// Blocks and expressions within each other.
const RECURSION_MAX: usize = 32;

/// A template that is known to be well-formed. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: Arc<str>,
    escape: Escape,
}

/// How values are written into a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As they are.
    None,
    /// As JSON: a text gets its quotes, so that `{"text": {{ subject }}}` is right whatever the subject.
    Json,
    /// With `<`, `>`, `&` and quotes made harmless.
    Html,
}

impl Escape {
    /// What suits a content type.
    #[must_use]
    pub fn for_content_type(content_type: &str) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == "application/json" || kind.ends_with("+json") {
            Self::Json
        } else if kind == "text/html" {
            Self::Html
        } else {
            Self::None
        }
    }
}

/// Why a template is refused or has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// The template is too long.
    #[error("the template has {bytes} bytes, at most {TEMPLATE_BYTES_MAX} are allowed")]
    TooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// It renders to too much.
    #[error("the template renders to more than {OUTPUT_BYTES_MAX} bytes")]
    OutputTooLong,
    /// It computes too long or makes values that are too large.
    #[error("the template costs too much: loops and large texts share {FUEL} steps")]
    TooCostly,
    /// Its syntax is wrong, or a name does not exist.
    #[error("line {line}: {reason}")]
    Invalid {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Says what is wrong and in which line.
    pub fn parse(source: &str, escape: Escape) -> Result<Self, TemplateError> {
        if source.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::TooLong { bytes: source.len() });
        }
        allowed::check(source).map_err(|(line, reason)| TemplateError::Invalid { line, reason })?;
        environment(escape).template_from_str(source).map_err(|error| explain(&error))?;
        Ok(Self { source: Arc::from(source), escape })
    }

    /// Its text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Fills in a context.
    ///
    /// # Errors
    /// A name does not exist, or a limit was reached; there is no partial result.
    pub fn render(&self, context: &impl Serialize) -> Result<String, TemplateError> {
        let environment = environment(self.escape);
        let template = environment.template_from_str(&self.source).map_err(|error| explain(&error))?;
        let mut output = CappedOutput { bytes: Vec::new(), overflowed: false };
        match template.render_captured_to(Value::from(Serde(context)), &mut output) {
            Ok(_) => String::from_utf8(output.bytes).map_err(|_| TemplateError::TooCostly),
            Err(_) if output.overflowed => Err(TemplateError::OutputTooLong),
            Err(error) => Err(explain(&error)),
        }
    }
}

/// Takes no more than [`OUTPUT_BYTES_MAX`].
struct CappedOutput {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl Write for CappedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > OUTPUT_BYTES_MAX {
            self.overflowed = true;
            return Err(io::Error::other("the output is too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn explain(error: &minijinja::Error) -> TemplateError {
    match error.kind() {
        ErrorKind::OutOfFuel => TemplateError::TooCostly,
        kind => {
            let reason = error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}"));
            TemplateError::Invalid { line: error.line().unwrap_or(1), reason }
        }
    }
}

fn environment(escape: Escape) -> &'static Environment<'static> {
    static PLAIN: OnceLock<Environment<'static>> = OnceLock::new();
    static JSON: OnceLock<Environment<'static>> = OnceLock::new();
    static HTML: OnceLock<Environment<'static>> = OnceLock::new();
    match escape {
        Escape::None => PLAIN.get_or_init(|| build(AutoEscape::None)),
        Escape::Json => JSON.get_or_init(|| build(AutoEscape::Json)),
        Escape::Html => HTML.get_or_init(|| build(AutoEscape::Html)),
    }
}

fn build(escape: AutoEscape) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(move |_| escape.clone());
    environment.add_filter("abs", filters::abs);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("d", filters::default);
    environment.add_filter("default", filters::default);
    environment.add_filter("dictsort", filters::dictsort);
    environment.add_filter("e", filters::escape);
    environment.add_filter("escape", filters::escape);
    environment.add_filter("first", filters::first);
    environment.add_filter("int", filters::int);
    environment.add_filter("items", filters::items);
    environment.add_filter("length", filters::length);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("max", filters::max);
    environment.add_filter("min", filters::min);
    environment.add_filter("round", filters::round);
    environment.add_filter("title", filters::title);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("upper", filters::upper);
    environment.add_function("range", functions::range);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("none", tests::is_none);
    environment.add_test("number", tests::is_number);
    environment.add_test("string", tests::is_string);
    environment
}

#[cfg(test)]
mod checks {
    use std::{collections::BTreeMap, time::Duration};

    use tidemark_model::{Clock, SystemClock};

    use super::*;

    fn context() -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("subject", "disk \"/\" <full>".to_owned()),
            ("long", "x".repeat(2000)),
            ("slash", "\\\"".repeat(20)),
        ])
    }

    fn render(source: &str, escape: Escape) -> Result<String, TemplateError> {
        Template::parse(source, escape)?.render(&context())
    }

    #[test]
    fn values_are_escaped_as_the_content_type_needs_it() {
        let check = |content_type: &str, source: &str, expect: &str| {
            assert_eq!(render(source, Escape::for_content_type(content_type)), Ok(expect.to_owned()), "{source}");
        };
        check("text/plain", "{{ subject }}!", "disk \"/\" <full>!");
        check("text/html; charset=utf-8", "<b>{{ subject }}</b>", "<b>disk &quot;&#x2f;&quot; &lt;full&gt;</b>");
        check("application/json", "{\"text\": {{ subject }}}", r#"{"text": "disk \"/\" <full>"}"#);
        check("text/plain", "{% for n in range(3) %}{{ n }}{% endfor %}{{ missing|default('-') }}", "012-");
    }

    #[test]
    fn a_name_that_does_not_exist_is_an_error() {
        let error = render("\n{{ subjet }}", Escape::None).unwrap_err();
        assert!(matches!(error, TemplateError::Invalid { line: 2, .. }), "{error:?}");
        let error =
            Template::parse("{{ subject|indent(3) }}", Escape::None).and_then(|template| template.render(&context()));
        assert!(error.unwrap_err().to_string().contains("filter indent is unknown"));
        assert!(matches!(Template::parse("{% if %}", Escape::None), Err(TemplateError::Invalid { line: 1, .. })));
        let too_long = "x".repeat(TEMPLATE_BYTES_MAX + 1);
        assert_eq!(Template::parse(&too_long, Escape::None), Err(TemplateError::TooLong { bytes: 65_537 }));
    }

    #[test]
    fn no_template_costs_more_than_it_may() {
        let doubling: String = "{% set x = x ~ x %}".repeat(60);
        let chain = "|tojson".repeat(3000);
        let hostile = [
            "{% for a in range(1000000000) %}x{% endfor %}".to_owned(),
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}".to_owned(),
            "{{ 'x' * 1000000000 }}".to_owned(),
            "{{ 'x' * 99999999 }}".to_owned(),
            "{{ ('x' * 60000) * 60000 }}".to_owned(),
            "{{ [1] * 1000000000 }}".to_owned(),
            "{{ ([1] * 100000)|length }}{% for x in [1] * 10000000 %}{% endfor %}".to_owned(),
            format!("{{% set x = 'x' %}}{doubling}{{{{ x }}}}"),
            format!("{{% set x = [1] %}}{}{{{{ x }}}}", "{% set x = x + x %}".repeat(60)),
            format!("{{% set x = subject %}}{}{{{{ x }}}}", "{% set x %}{{ x }}{{ x }}{% endset %}".repeat(60)),
            "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}".to_owned(),
            "{% macro f(x) %}{{ x }}{{ x }}{% endmacro %}".to_owned()
                + "{{ f("
                + &"f(".repeat(40)
                + "long"
                + &")".repeat(41)
                + " }}",
            "{% for x in [1] recursive %}{{ loop([1]) }}{{ loop([1]) }}{% endfor %}".to_owned(),
            format!("{{{{ slash{chain} }}}}"),
            format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000)),
            format!("{{{{ {}1{} }}}}", "[".repeat(5000), "]".repeat(5000)),
            format!("{}x{}", "{% if true %}".repeat(3000), "{% endif %}".repeat(3000)),
            "{{ '%1000000000s'|format(1) }}".to_owned(),
            "{{ subject|indent(1000000000) }}".to_owned(),
            "{{ subject|center(1000000000) }}".to_owned(),
            "{{ subject|replace('', long) }}".to_owned(),
            "{{ range(100000)|join(long) }}".to_owned(),
            "{% for a in range(100) %}{{ long }}{% endfor %}".to_owned(),
            "{{ 9 ** 999999999 }}".to_owned(),
        ];
        let clock = SystemClock::new();
        for source in hostile {
            let started = clock.monotonic();
            let result = render(&source, Escape::None);
            let took = clock.monotonic() - started;
            let shown: String = source.chars().take(80).collect();
            assert!(result.is_err(), "{shown} rendered to {} bytes", result.unwrap_or_default().len());
            // The promise is 10 ms in a release build; a debug build on a busy machine needs more.
            assert!(took < Duration::from_secs(1), "{shown} took {took:?}");
        }
    }
}
