//! Pages that say one thing: what went wrong, or that there is nothing here.

use serde::Serialize;

/// A page that says one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MessagePage {
    /// The HTTP status, such as 404.
    pub code: u16,
    /// A few words, such as `no such incident`.
    pub title: String,
    /// A sentence: what happened and what to do.
    pub text: String,
    /// The id under which the log has more; empty for none.
    pub request_id: String,
}

impl MessagePage {
    /// The page for an address that leads nowhere.
    #[must_use]
    pub fn not_found(path: &str) -> Self {
        Self {
            code: 404,
            title: "nothing here".to_owned(),
            text: format!(
                "There is no page at {path}. It may have been removed, or the address may have a typing error."
            ),
            request_id: String::new(),
        }
    }
}
