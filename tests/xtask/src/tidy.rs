//! `cargo xtask tidy`: the rules that hold the tree together, checked; it is also a test.

mod boundaries;
mod layout;
mod manifests;

use std::path::Path;

use anyhow::bail;

/// Checks everything and fails with every broken rule, not only the first.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let problems = problems(root)?;
    if problems.is_empty() {
        return Ok(());
    }
    bail!("the tree is not tidy:\n  {}", problems.join("\n  "));
}

fn problems(root: &Path) -> anyhow::Result<Vec<String>> {
    let manifests = manifests::read(root)?;
    let mut problems = boundaries::check(&manifests);
    problems.extend(layout::check(root, &manifests)?);
    Ok(problems)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        let problems = super::problems(&crate::repository_root()).unwrap();
        assert!(problems.is_empty(), "{problems:#?}");
    }
}
