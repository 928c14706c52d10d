//! The files that browsers load, each under an address that contains the hash of its bytes.
//!
//! An address never changes its content, so browsers keep files for ever and a new binary is seen at once. Files are
//! committed as they are served: there is no build step between what is read in review and what runs.

use std::{borrow::Cow, collections::BTreeMap, io, io::Write as _, path::Path, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::embedded_files::STATIC_FILES;

/// Where every asset's address starts.
const PREFIX: &str = "/static/";
/// Digits of the hash in an address.
const HASH_DIGITS: usize = 12;
/// Module names that are not file names.
const MODULE_ALIASES: [(&str, &str); 1] = [("uplot", "vendor/uplot.mjs")];

/// The files that browsers load; cheap to clone.
#[derive(Clone, Debug)]
pub struct Assets {
    by_name: Arc<BTreeMap<String, Asset>>,
}

/// One file that browsers load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// Its address: `/static/{hash}/{name}`.
    pub path: String,
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// The file.
    pub bytes: Bytes,
    /// The file compressed, for clients that accept `gzip`; nothing when that would not be shorter.
    pub gzip: Option<Bytes>,
}

impl Asset {
    /// Value of `Cache-Control`: the address changes with the content, so browsers never ask again.
    pub const CACHE_CONTROL: &'static str = "public, max-age=31536000, immutable";
}

/// The files could not be read.
#[derive(Debug, Error)]
pub enum AssetsError {
    /// A file of the folder could not be read.
    #[error("read static file `{name}`")]
    Read {
        /// Name of the file in the folder.
        name: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

impl Assets {
    /// The files in the binary, hashed and compressed now: a few milliseconds, once.
    #[must_use]
    pub fn embedded() -> Self {
        Self::from_files(STATIC_FILES.iter().map(|&(name, bytes)| (name, Bytes::from_static(bytes))))
    }

    /// The same files read from a folder, for work on them.
    ///
    /// # Errors
    /// A file is missing or cannot be read.
    pub fn from_folder(folder: &Path) -> Result<Self, AssetsError> {
        let read = |&(name, _): &(&'static str, &[u8])| match std::fs::read(folder.join(name)) {
            Ok(bytes) => Ok((name, Bytes::from(bytes))),
            Err(source) => Err(AssetsError::Read { name, source }),
        };
        let files = STATIC_FILES.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::from_files(files))
    }

    /// The file at an address such as `/static/0123456789ab/app/live.js`. The hash must be the one of the content:
    /// nothing is found at an old address, so that no cache keeps new bytes under it.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Asset> {
        let (_, name) = path.strip_prefix(PREFIX)?.split_once('/')?;
        self.by_name.get(name).filter(|asset| asset.path == path)
    }

    /// The address of the file `name`, such as `css/base.css`.
    #[must_use]
    pub fn path_of(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(|asset| asset.path.as_str())
    }

    /// Every file, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Asset)> {
        self.by_name.iter().map(|(name, asset)| (name.as_str(), asset))
    }

    /// The import map of every page: module names (`app/live.js`, `uplot`) and their addresses, as JSON.
    #[must_use]
    pub fn import_map(&self) -> String {
        let modules = self.iter().filter(|(name, _)| name.starts_with("app/"));
        let aliases = MODULE_ALIASES.iter().filter_map(|&(alias, name)| Some((alias, self.by_name.get(name)?)));
        let imports: BTreeMap<&str, &str> =
            modules.chain(aliases).map(|(name, asset)| (name, asset.path.as_str())).collect();
        serde_json::json!({ "imports": imports }).to_string()
    }

    fn from_files(files: impl IntoIterator<Item = (&'static str, Bytes)>) -> Self {
        let by_name = files.into_iter().map(|(name, bytes)| (name.to_owned(), asset(name, bytes))).collect();
        Self { by_name: Arc::new(by_name) }
    }
}

fn asset(name: &str, bytes: Bytes) -> Asset {
    let path = format!("{PREFIX}{}/{name}", hash_of(&bytes));
    let gzip = gzip(&bytes).ok().filter(|gzip| gzip.len() < bytes.len());
    Asset { path, content_type: content_type_of(name), bytes, gzip }
}

fn hash_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(HASH_DIGITS / 2).map(|byte| Cow::from(format!("{byte:02x}"))).collect()
}

fn gzip(bytes: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish().map(Bytes::from)
}

fn content_type_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_found_at_its_address_and_nowhere_else() {
        let assets = Assets::embedded();
        for (name, asset) in assets.iter() {
            assert_eq!(assets.find(&asset.path), Some(asset));
            assert_eq!(assets.path_of(name), Some(asset.path.as_str()));
            assert_eq!(assets.find(&format!("/static/000000000000/{name}")), None);
            assert_ne!(asset.content_type, "application/octet-stream", "{name}");
        }
    }

    #[test]
    fn what_is_not_an_address_of_ours_is_not_found() {
        let assets = Assets::embedded();
        for path in ["", "/", "/static/", "/static/x", "/static//app/live.js", "/static/../Cargo.toml", "app/live.js"] {
            assert_eq!(assets.find(path), None, "{path}");
        }
    }

    #[test]
    fn every_address_in_the_import_map_exists() {
        let assets = Assets::embedded();
        let map: serde_json::Value = serde_json::from_str(&assets.import_map()).unwrap();
        let imports = map["imports"].as_object().unwrap();
        assert!(imports.contains_key("app/live.js") && imports.contains_key("uplot"));
        for path in imports.values() {
            assert!(assets.find(path.as_str().unwrap()).is_some(), "{path}");
        }
    }

    #[test]
    fn a_file_that_changes_changes_its_address() {
        let one = asset("app/a.js", Bytes::from_static(b"one"));
        let two = asset("app/a.js", Bytes::from_static(b"two"));
        assert_ne!(one.path, two.path);
        assert_eq!(one.path.len(), "/static//app/a.js".len() + HASH_DIGITS);
    }
}
