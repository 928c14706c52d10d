//! `PYTHONPATH`, so that TCollector's programs find the modules of their tree.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// What was there, then the folders of TCollector's tree around `directory` that exist: the one above `collectors`
/// (for `from collectors.lib import utils`), and in it `lib`, `etc` and `enabled`, and those in the directory itself.
pub(super) fn python_path(directory: &Path, inherited: Option<&OsStr>) -> OsString {
    let mut folders: Vec<PathBuf> = inherited.map(|paths| std::env::split_paths(paths).collect()).unwrap_or_default();
    for folder in tree_folders(directory).into_iter().filter(|folder| folder.is_dir()) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    // A folder with a colon in its name cannot be in the path at all.
    folders.retain(|folder| !folder.as_os_str().to_string_lossy().contains(':') && !folder.as_os_str().is_empty());
    std::env::join_paths(folders).unwrap_or_default()
}

fn tree_folders(directory: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(collectors) = directory.ancestors().find(|folder| folder.file_name() == Some(OsStr::new("collectors")))
    {
        folders.extend(collectors.parent().map(Path::to_owned));
        folders.extend(["lib", "etc", "enabled"].map(|name| collectors.join(name)));
    }
    folders.extend(["lib", "etc"].map(|name| directory.join(name)));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_around_the_directory_comes_after_what_was_there() {
        let root = tempfile::tempdir().unwrap();
        let collectors = root.path().join("tcollector/collectors");
        for folder in ["lib", "etc", "enabled/0"] {
            std::fs::create_dir_all(collectors.join(folder)).unwrap();
        }
        let path = python_path(&collectors.join("enabled"), Some(OsStr::new("/opt/mine")));
        let expect = [
            PathBuf::from("/opt/mine"),
            root.path().join("tcollector"),
            collectors.join("lib"),
            collectors.join("etc"),
            collectors.join("enabled"),
        ];
        assert_eq!(std::env::split_paths(&path).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_directory_elsewhere_adds_only_what_it_has() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(python_path(root.path(), None), OsString::new());
        std::fs::create_dir(root.path().join("lib")).unwrap();
        assert_eq!(python_path(root.path(), None), root.path().join("lib").into_os_string());
    }
}
