//! Filters of every kind, on any values: what they match is matched in time, and the forms that mean the same agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_model::TagMatch;
use tidemark_query::{Filter, FilterKind};

fuzz_target!(|text: &str| {
    let (pattern, value) = text.split_once('\n').unwrap_or((text, "web01"));
    for kind in FilterKind::ALL {
        let named = format!("{}({pattern})", kind.name());
        let (built, written) = (Filter::new(kind, "host", pattern, true), Filter::from_tag_value("host", &named, true));
        assert_eq!(built.is_ok(), written.is_ok(), "{named:?}: {built:?} and {written:?}");
        let (Ok(built), Ok(written)) = (built, written) else { continue };
        for value in [value, "web01", ""] {
            let found = matches(&built, value);
            assert_eq!(found, matches(&written, value), "{named:?} on {value:?}");
            let negated = match kind {
                FilterKind::LiteralOr => Some(FilterKind::NotLiteralOr),
                FilterKind::IliteralOr => Some(FilterKind::NotIliteralOr),
                _ => None,
            };
            if let Some(Ok(negated)) = negated.map(|kind| Filter::new(kind, "host", pattern, true)) {
                assert_ne!(found, matches(&negated, value), "{named:?} and its negation on {value:?}");
            }
        }
    }
    if let Ok(filter) = Filter::from_tag_value("host", text, false) {
        let _found = (matches(&filter, value), filter.predicate());
    }
});

fn matches(filter: &Filter, value: &str) -> bool {
    match filter.predicate().matches {
        TagMatch::Any => true,
        TagMatch::OneOf(values) => values.iter().any(|candidate| candidate == value),
        TagMatch::Where(function) => function(value),
        TagMatch::Absent => false,
    }
}
