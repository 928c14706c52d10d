//! Every page, with values, without, and with values that somebody chose to do harm.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../examples/preview/fixtures.rs"]
#[allow(dead_code, reason = "not every test looks at every page")]
mod fixtures;

use fixtures::NOW_MS;
use tidemark_dashboards::*;

fn pages() -> Pages {
    Pages::new(TemplateSource::Embedded, &Assets::embedded()).unwrap()
}

fn render(page: &impl Page) -> String {
    pages()
        .page(&fixtures::context(), page)
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
}

/// Every page, full and empty, by name.
fn every_page() -> Vec<(&'static str, String)> {
    vec![
        ("overview", render(&fixtures::overview())),
        ("overview, empty", render(&fixtures::overview_empty())),
        ("overview, default", render(&OverviewPage::default())),
        ("hosts", render(&fixtures::hosts())),
        ("hosts, default", render(&HostsPage::default())),
        ("host", render(&fixtures::host())),
        ("host, empty", render(&fixtures::host_empty())),
        ("host, default", render(&HostPage::default())),
        ("explore", render(&fixtures::explore())),
        ("explore, start", render(&fixtures::explore_start())),
        ("explore, empty", render(&fixtures::explore_empty())),
        ("incidents", render(&fixtures::incidents())),
        ("incidents, empty", render(&fixtures::incidents_empty())),
        ("incident", render(&fixtures::incident())),
        ("incident, default", render(&IncidentPage::default())),
        ("tasks", render(&fixtures::tasks())),
        ("tasks, empty", render(&fixtures::tasks_empty())),
        ("task", render(&fixtures::task())),
        ("task, default", render(&TaskPage::default())),
        ("worker", render(&fixtures::worker())),
        ("worker, default", render(&WorkerPage::default())),
        ("workflow", render(&fixtures::workflow())),
        ("workflow, default", render(&WorkflowPage::default())),
        ("storage", render(&fixtures::storage())),
        ("storage, default", render(&StoragePage::default())),
        ("error", render(&fixtures::failure())),
        ("not found", render(&MessagePage::not_found("/x"))),
    ]
}

/// The values of an attribute in a page.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    html.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn every_page_is_a_whole_document() {
    for (name, html) in every_page() {
        assert!(html.starts_with("<!doctype html>"), "{name}");
        assert!(html.trim_end().ends_with("</html>"), "{name}");
        for tag in ["main", "section", "table", "ul", "ol", "dl", "form", "svg", "figure", "nav", "div", "span", "p"] {
            let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "<{tag}> of {name}");
        }
    }
}

#[test]
fn no_two_elements_share_an_id() {
    for (name, html) in every_page() {
        let mut ids = attributes(&html, "id");
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{name}");
    }
}

#[test]
fn every_static_file_that_a_page_names_exists() {
    let assets = Assets::embedded();
    for (name, html) in every_page() {
        let paths = [attributes(&html, "href"), attributes(&html, "src")].concat();
        let of_ours: Vec<_> = paths.into_iter().filter(|path| path.starts_with("/static/")).collect();
        assert!(of_ours.len() >= 5, "{name}");
        for path in of_ours {
            assert!(assets.find(path).is_some(), "{path} of {name}");
        }
    }
}

#[test]
fn no_page_loads_anything_from_elsewhere() {
    for (name, html) in every_page() {
        for attribute in ["src", "href", "action", "data-post"] {
            for value in attributes(&html, attribute) {
                assert!(
                    value.starts_with(['/', '?', '#']) && !value.starts_with("//"),
                    "{attribute}={value} of {name}"
                );
            }
        }
    }
}

#[test]
fn no_page_needs_inline_styles_or_handlers() {
    for (name, html) in every_page() {
        assert!(attributes(&html, "style").is_empty(), "{name}");
        assert!(!html.contains("<style"), "{name}");
        assert!(!html.contains(" onclick=") && !html.contains(" onload=") && !html.contains("javascript:"), "{name}");
    }
}

#[test]
fn every_inline_script_carries_the_nonce() {
    for (name, html) in every_page() {
        for script in html.split("<script").skip(1) {
            let tag = script.split('>').next().unwrap();
            assert!(tag.contains(" src=\"/static/") || tag.contains("nonce=\"cHJldmlldy1ub25jZQ\""), "{tag} of {name}");
        }
    }
}

#[test]
fn pages_without_values_say_what_to_do_next() {
    let overview = render(&fixtures::overview_empty());
    assert!(overview.contains("tidemark agent --to http://127.0.0.1:4242"), "{overview}");
    assert!(overview.contains("All quiet"));
    assert!(render(&fixtures::incidents_empty()).contains("There has never been an incident"));
    assert!(render(&fixtures::tasks_empty()).contains("No worker is running"));
    assert!(render(&fixtures::explore_empty()).contains("The store is empty"));
}

#[test]
fn a_page_says_what_its_values_are() {
    let html = render(&fixtures::overview());
    for text in
        ["Disk /var on db03 is 96 % full", "91.3 %", "42.1 k/s", "61.0 GiB", "ada took queue.long", "build-runner-17"]
    {
        assert!(html.contains(text), "{text}");
    }
}

#[test]
fn fragments_are_the_parts_of_their_page() {
    let pages = pages();
    let overview = fixtures::overview();
    let whole = render(&overview);
    for fragment in overview.fragments() {
        let html = pages.fragment(NOW_MS, fragment).unwrap();
        assert!(whole.contains(html.trim_end()), "{}", fragment.name());
        assert!(whole.contains(&format!("data-fragment=\"{}\"", fragment.name())), "{}", fragment.name());
        assert_eq!(pages.fragment_of(NOW_MS, &overview, fragment.name()).unwrap(), Some(html));
    }
    assert_eq!(pages.fragment_of(NOW_MS, &overview, "nothing").unwrap(), None);
}

#[test]
fn every_page_has_a_place_for_each_of_its_fragments() {
    fn check(page: &impl Page) {
        let html = render(page);
        let named: Vec<&str> =
            attributes(&html, "data-fragments").into_iter().flat_map(str::split_whitespace).collect();
        let fragments: Vec<&str> = page.fragments().iter().map(|fragment| fragment.name()).collect();
        assert_eq!(named, fragments, "{}", page.template());
        for name in fragments {
            assert!(html.contains(&format!("data-fragment=\"{name}\"")), "{name}");
        }
    }
    check(&fixtures::overview());
    check(&fixtures::hosts());
    check(&fixtures::host());
    check(&fixtures::incidents());
    check(&fixtures::incident());
    check(&fixtures::tasks());
    check(&fixtures::task());
    check(&fixtures::worker());
    check(&fixtures::workflow());
    check(&fixtures::storage());
    check(&fixtures::explore());
}

#[test]
fn templates_can_be_read_from_their_folder() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let assets = Assets::from_folder(&folder.join("static")).unwrap();
    let from_folder = Pages::new(TemplateSource::Folder(folder.join("templates")), &assets).unwrap();
    assert_eq!(from_folder.page(&fixtures::context(), &fixtures::tasks()).unwrap(), render(&fixtures::tasks()));
}

#[test]
fn a_template_folder_without_templates_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let error = Pages::new(TemplateSource::Folder(folder.path().to_owned()), &Assets::embedded()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("base.html"), "{cause}");
}
