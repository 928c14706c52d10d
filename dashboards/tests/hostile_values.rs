//! Whoever may write a tag must not be able to attack whoever looks.
//!
//! Every string of every view model is replaced by one that breaks out of text, attributes, addresses and scripts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../examples/preview/fixtures.rs"]
#[allow(dead_code, reason = "not every test looks at every page")]
mod fixtures;

use serde_json::Value;
use tidemark_dashboards::*;

const HOSTILE: &str = "\"'></a></title></script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}{% raw %}javascript:alert(3)";

/// A page whose every text is hostile. Words that templates compare with (statuses, units, states) stay.
struct Poisoned {
    template: &'static str,
    values: Value,
}

impl serde::Serialize for Poisoned {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.values.serialize(serializer)
    }
}

impl Page for Poisoned {
    fn template(&self) -> &'static str {
        self.template
    }
}

fn poison(page: &impl Page) -> Poisoned {
    let mut values = serde_json::to_value(page).unwrap();
    poison_value("", &mut values);
    Poisoned { template: page.template(), values }
}

fn poison_value(key: &str, value: &mut Value) {
    // These are enums of ours, not text that anybody sends.
    let word = matches!(key, "status" | "current" | "worst" | "unit");
    match value {
        Value::String(text) if !word => *text = HOSTILE.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| poison_value(key, item)),
        Value::Object(fields) => fields.iter_mut().for_each(|(key, field)| poison_value(key, field)),
        _ => {}
    }
}

fn check(page: &impl Page) {
    let poisoned = poison(page);
    let pages = Pages::new(TemplateSource::Embedded, &Assets::embedded()).unwrap();
    let mut context = fixtures::context();
    (context.installation, context.csrf_token) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    (context.version, context.base_url) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    let html = pages
        .page(&context, &poisoned)
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
    let name = poisoned.template;
    assert!(html.contains("alert"), "{name} shows nothing of what it was given");
    assert!(!html.contains("<script>alert"), "{name}");
    assert!(!html.contains("<img"), "{name}");
    assert!(!html.contains("49javascript"), "{name} rendered a value as a template");
    for attribute in [" href=\"", " src=\"", " action=\""] {
        for value in html.split(attribute).skip(1) {
            assert!(!value.starts_with("javascript:"), "{name}");
        }
    }
    // Outside of tags and inside attributes alike, no quote or bracket of the hostile text is left as it was.
    assert!(!html.contains("\"'>"), "{name}");
    assert!(!html.contains("></a></title>"), "{name}");
}

#[test]
fn hostile_values_stay_text_on_every_page() {
    check(&fixtures::overview());
    check(&fixtures::overview_empty());
    check(&fixtures::hosts());
    check(&fixtures::host());
    check(&fixtures::host_empty());
    check(&fixtures::explore());
    check(&fixtures::explore_start());
    check(&fixtures::explore_empty());
    check(&fixtures::incidents());
    check(&fixtures::incidents_empty());
    check(&fixtures::incident());
    check(&fixtures::tasks());
    check(&fixtures::task());
    check(&fixtures::worker());
    check(&fixtures::workflow());
    check(&fixtures::storage());
    check(&fixtures::tasks_empty());
    check(&fixtures::failure());
}

#[test]
fn an_event_links_only_to_pages_of_ours() {
    let pages = Pages::new(TemplateSource::Embedded, &Assets::embedded()).unwrap();
    for href in ["javascript:alert(1)", "//elsewhere.example/", "https://elsewhere.example/", "/\\elsewhere.example"] {
        let event = RecentEvent { text: "click".to_owned(), href: href.to_owned(), ..RecentEvent::default() };
        let html = pages.fragment(0, &RecentEvents { events: vec![event] }).unwrap();
        assert!(!html.contains("href"), "{html}");
    }
}
