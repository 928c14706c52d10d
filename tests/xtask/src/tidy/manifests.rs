//! The `Cargo.toml` of every crate.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// What tidy wants to know of a crate.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    /// Its folder, from the root.
    pub(crate) folder: PathBuf,
    /// Its name.
    pub(crate) name: String,
    /// What its library or binary stands on; crates for tests alone are not in here.
    pub(crate) dependencies: BTreeSet<String>,
    /// What its tests and benches stand on besides.
    pub(crate) test_dependencies: BTreeSet<String>,
    /// Whether it takes its lints from the workspace.
    pub(crate) inherits_lints: bool,
}

/// Reads the manifest of every member of the workspace.
pub(crate) fn read(root: &Path) -> anyhow::Result<Vec<Manifest>> {
    let workspace = parse(&root.join("Cargo.toml"))?;
    let members = workspace.get("workspace").and_then(|table| table.get("members")).and_then(toml::Value::as_array);
    let members = members.context("the root Cargo.toml lists no members")?;
    members.iter().filter_map(toml::Value::as_str).map(|folder| read_one(root, folder)).collect()
}

fn read_one(root: &Path, folder: &str) -> anyhow::Result<Manifest> {
    let table = parse(&root.join(folder).join("Cargo.toml"))?;
    let name = table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    Ok(Manifest {
        folder: folder.into(),
        name: name.with_context(|| format!("{folder}/Cargo.toml has no name"))?.to_owned(),
        dependencies: keys(&table, &["dependencies", "build-dependencies"]),
        test_dependencies: keys(&table, &["dev-dependencies"]),
        inherits_lints: table.get("lints").and_then(|lints| lints.get("workspace"))
            == Some(&toml::Value::Boolean(true)),
    })
}

fn parse(path: &Path) -> anyhow::Result<toml::Table> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("parse {}", path.display()))
}

fn keys(table: &toml::Table, sections: &[&str]) -> BTreeSet<String> {
    let tables = sections.iter().filter_map(|section| table.get(*section)?.as_table());
    tables.flat_map(|dependencies| dependencies.keys().cloned()).collect()
}
