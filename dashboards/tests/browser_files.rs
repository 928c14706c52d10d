//! What browsers load: nothing from elsewhere, nothing that could be made to run, nothing that nobody can account for.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on panics")]

#[path = "../examples/preview/fixtures.rs"]
#[allow(dead_code, reason = "not every test looks at every page")]
mod fixtures;

use std::{collections::BTreeSet, fs, io::Write as _, path::PathBuf, process::Command};

use sha2::{Digest as _, Sha256};
use tidemark_dashboards::*;

/// The one file that may turn text into elements.
const SWAP: &str = "app/swap.js";
/// What turns text into elements or code.
const DANGEROUS: [&str; 9] = [
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "createContextualFragment",
    "parseFromString",
    "setHTMLUnsafe",
    "eval(",
    "new Function",
];
/// What one page may weigh on its first load, compressed: HTML, styles, scripts.
const FIRST_LOAD_BYTES_MAX: usize = 60 * 1024;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(asset: &Asset) -> &str {
    std::str::from_utf8(&asset.bytes).unwrap()
}

/// Our own browser files, by name.
fn own_files(assets: &Assets) -> Vec<(&str, &str)> {
    let own = assets.iter().filter(|(name, _)| !name.starts_with("vendor/"));
    own.map(|(name, asset)| (name, text_of(asset))).collect()
}

#[test]
fn only_one_file_turns_text_into_elements() {
    let assets = Assets::embedded();
    for (name, text) in own_files(&assets) {
        for dangerous in DANGEROUS {
            let allowed = name == SWAP && dangerous == "innerHTML";
            assert!(allowed || !text.contains(dangerous), "{dangerous} in {name}");
        }
    }
    let swap = text_of(assets.find(assets.path_of(SWAP).unwrap()).unwrap());
    assert_eq!(swap.matches(".innerHTML").count(), 1);
}

#[test]
fn no_browser_file_names_another_origin() {
    for (name, text) in own_files(&Assets::embedded()) {
        let text = text.replace("http://www.w3.org/2000/svg", "");
        for start in ["http://", "https://", "url(", "@import", "//cdn"] {
            assert!(!text.contains(start), "{start} in {name}");
        }
    }
}

#[test]
fn every_imported_module_is_in_the_import_map() {
    let assets = Assets::embedded();
    let map: serde_json::Value = serde_json::from_str(&assets.import_map()).unwrap();
    for (name, text) in own_files(&assets) {
        let from = text.lines().filter(|line| line.starts_with("import ") || line.starts_with("} from "));
        for module in from.filter_map(|line| line.split('"').nth(1)) {
            assert!(map["imports"][module].is_string(), "{name} imports {module}");
        }
    }
}

#[test]
fn files_of_others_are_those_in_the_lock() {
    let lock = fs::read_to_string(folder().join("vendor.lock")).unwrap();
    let field =
        |line: &str, name: &str| line.strip_prefix(&format!("{name} = \""))?.strip_suffix('"').map(str::to_owned);
    let paths: Vec<String> = lock.lines().filter_map(|line| field(line, "path")).collect();
    let hashes: Vec<String> = lock.lines().filter_map(|line| field(line, "sha256")).collect();
    assert_eq!(paths.len(), hashes.len());
    for (path, hash) in paths.iter().zip(hashes) {
        let bytes = fs::read(folder().join("static").join(path)).unwrap();
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, hash, "{path}");
    }
    for (name, _) in Assets::embedded().iter().filter(|(name, _)| name.starts_with("vendor/")) {
        assert!(name == "vendor/licenses.txt" || paths.iter().any(|path| path == name), "{name} is not in vendor.lock");
    }
    assert!(fs::read_to_string(folder().join("static/vendor/licenses.txt")).unwrap().contains("Leon Sorokin"));
}

#[test]
fn every_page_loads_within_its_budget() {
    check_weight("overview", &fixtures::overview());
    check_weight("host", &fixtures::host());
    check_weight("explore", &fixtures::explore());
    check_weight("incident", &fixtures::incident());
    check_weight("tasks", &fixtures::tasks());
    check_weight("task", &fixtures::task());
}

fn check_weight(name: &str, page: &impl Page) {
    let assets = Assets::embedded();
    let pages = Pages::new(TemplateSource::Embedded, &assets).unwrap();
    let html = pages.page(&fixtures::context(), page).unwrap();
    let files = files_of(&html, &assets);
    let size = |name: &String| {
        let asset = assets.find(assets.path_of(name).unwrap()).unwrap();
        asset.gzip.as_ref().unwrap_or(&asset.bytes).len()
    };
    let bytes = gzip_len(html.as_bytes()) + files.iter().map(size).sum::<usize>();
    assert!(files.contains("app/swap.js"), "imports of imports count: {files:?}");
    assert!(bytes <= FIRST_LOAD_BYTES_MAX, "{name}: {bytes} bytes");
}

/// The files that a page names, and those that they import.
fn files_of(html: &str, assets: &Assets) -> BTreeSet<String> {
    let head = html.split("</head>").next().unwrap();
    let map: serde_json::Value = serde_json::from_str(&assets.import_map()).unwrap();
    let mut wanted: Vec<String> =
        head.split('"').filter(|part| part.starts_with("/static/") && !part.contains('{')).map(str::to_owned).collect();
    // The import map alone loads nothing.
    let mapped: Vec<&str> = map["imports"].as_object().unwrap().values().map(|path| path.as_str().unwrap()).collect();
    wanted.retain(|path| head.contains(&format!("src=\"{path}\"")) || !mapped.contains(&path.as_str()));
    let mut files = BTreeSet::new();
    while let Some(path) = wanted.pop() {
        let asset = assets.find(&path).unwrap();
        let name = path.splitn(4, '/').nth(3).unwrap().to_owned();
        if name.starts_with("app/") {
            let imports = text_of(asset).lines().filter(|line| line.starts_with("import "));
            wanted.extend(
                imports
                    .filter_map(|line| line.split('"').nth(1))
                    .map(|module| map["imports"][module].as_str().unwrap().to_owned()),
            );
        }
        files.insert(name);
    }
    files
}

fn gzip_len(bytes: &[u8]) -> usize {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().len()
}

/// The browser's rules for numbers, texts and times are those of the server: checked with Node where there is one.
#[test]
fn the_browser_formats_as_the_server_does() {
    if Command::new("node").arg("--version").output().is_err() {
        eprintln!("no `node` here: the browser's rules are not checked");
        return;
    }
    let output = Command::new("node").arg("--test").arg(folder().join("tests/browser")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("# pass") && !said.contains("# pass 0"), "{said}");
}
