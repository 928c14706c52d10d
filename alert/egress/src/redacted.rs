//! URLs without their secrets.

use std::fmt;

use url::Url;

/// Shows a URL's scheme, host and port only: user and password are secrets, and so are the paths and queries of most
/// web hooks.
///
/// ```
/// let url = tidemark_egress::Url::parse("https://me:secret@hooks.example.com/T0/key?token=1").unwrap();
/// assert_eq!(tidemark_egress::Redacted(&url).to_string(), "https://hooks.example.com/…");
/// ```
#[derive(Clone, Copy)]
pub struct Redacted<'a>(pub &'a Url);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(out, ":{port}")?;
        }
        let more = self.0.path().len() > 1 || self.0.query().is_some();
        out.write_str(if more { "/…" } else { "/" })
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}
