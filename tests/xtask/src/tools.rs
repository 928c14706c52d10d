//! What the tests need beside Rust: a Redis server, libfaketime, libclang, Chromium, Node.js and `playwright-core`.

use std::path::Path;

use anyhow::bail;

use crate::command;

/// Something to be installed and the Debian package that brings it.
struct Tool {
    is_there: fn() -> bool,
    package: &'static str,
    purpose: &'static str,
}

const TOOLS: [Tool; 6] = [
    Tool { is_there: || starts(&["redis-server"]), package: "redis-server", purpose: "the tests of the Redis broker" },
    Tool { is_there: faketime_is_there, package: "faketime", purpose: "the tests that set the clock of a process" },
    Tool { is_there: libclang_is_there, package: "libclang-dev", purpose: "building the engine foundationdb" },
    Tool {
        is_there: || starts(&["chromium", "chromium-browser", "google-chrome"]),
        package: "chromium",
        purpose: "the browser tests",
    },
    Tool { is_there: || starts(&["node"]), package: "nodejs", purpose: "the browser tests" },
    Tool { is_there: || starts(&["npm"]), package: "npm", purpose: "installing playwright-core for the browser tests" },
];

/// Folder of the browser tests and of their one npm package.
pub(crate) const BROWSER_FOLDER: &str = "tests/browser";

/// Installs what is missing when run as root on a Debian-like system, else says exactly what to install.
pub(crate) fn ensure(root: &Path) -> anyhow::Result<()> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !(tool.is_there)()).collect();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
        if !may_install() {
            let reasons: Vec<_> =
                missing.iter().map(|tool| format!("  {} for {}", tool.package, tool.purpose)).collect();
            bail!(
                "these packages are missing:\n{}\ninstall them and run this again, for instance: sudo apt-get install {}",
                reasons.join("\n"),
                packages.join(" ")
            );
        }
        command::run(root, &["apt-get", "update"])?;
        let mut line = vec!["apt-get", "install", "--yes", "--no-install-recommends"];
        line.extend(packages);
        command::run_with(root, &line, &[("DEBIAN_FRONTEND", "noninteractive")])?;
    }
    let folder = root.join(BROWSER_FOLDER);
    if !folder.join("node_modules/playwright-core").is_dir() {
        command::run(&folder, &["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"])?;
    }
    Ok(())
}

/// Whether one of these programs can be started.
fn starts(programs: &[&str]) -> bool {
    programs.iter().any(|name| command::exists(name))
}

/// Whether libfaketime is where its packages put it: in a folder below that of the machine's libraries.
fn faketime_is_there() -> bool {
    const NAME: &str = "faketime/libfaketimeMT.so.1";
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(Path::new);
    let of_machines = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    folders.iter().any(|folder| folder.join(NAME).exists())
        || of_machines.into_iter().any(|folder| folder.join(NAME).exists())
}

/// Whether libclang is where bindgen looks for it, with its headers: the name without a version comes with them.
fn libclang_is_there() -> bool {
    const NAME: &str = "libclang.so";
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(Path::new);
    let versions = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path().join("lib"));
    std::env::var_os("LIBCLANG_PATH").is_some()
        || folders.iter().any(|folder| folder.join(NAME).exists())
        || versions.into_iter().any(|folder| folder.join(NAME).exists())
}

fn may_install() -> bool {
    let root = command::output(Path::new("/"), &["id", "-u"]).is_ok_and(|id| id.trim() == "0");
    root && command::exists("apt-get")
}
